from __future__ import annotations

import os
from pathlib import Path

import llama_cpp
import pytest

from amulet_local.llama import library, tiled_products
from amulet_local.llama.gguf.tensors import GGUFTensor

Q4_0, Q4_K, Q6_K = 2, 12, 14


def tensors(**bytes_by_kind: int) -> list[GGUFTensor]:
    kinds = {"q4_0": Q4_0, "q4_k": Q4_K, "q6_k": Q6_K}
    weights = [GGUFTensor((256, 8), kinds[name], 0, n) for name, n in bytes_by_kind.items()]
    return [*weights, GGUFTensor((256,), 0, 0, 10**9)]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tiled_products.VARIABLE, "")  # so that it is put back afterwards
    monkeypatch.delenv(tiled_products.VARIABLE)


@pytest.fixture
def _avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "build_features", lambda: ["CPU: AVX2", "CPU: REPACK"])


def test_llama_cpp_reads_this_variable() -> None:
    folder = Path(llama_cpp.__file__).parent / "lib"
    libraries = [path for path in folder.iterdir() if "ggml-cpu" in path.name]
    assert any(tiled_products.VARIABLE.encode() in path.read_bytes() for path in libraries)


@pytest.mark.usefixtures("_avx2")
@pytest.mark.parametrize("weights", [{"q4_k": 800, "q6_k": 300}, {"q4_0": 700, "q6_k": 500}])
def test_tiles_are_off_where_most_weights_are_rearranged(weights: dict[str, int]) -> None:
    tiled_products.choose(tensors(**weights))
    assert int(os.environ[tiled_products.VARIABLE]) == 0


@pytest.mark.usefixtures("_avx2")
def test_they_are_on_where_prompts_gain_by_them() -> None:
    tiled_products.choose(tensors(q4_k=400, q6_k=500))
    assert tiled_products.VARIABLE not in os.environ


@pytest.mark.usefixtures("_avx2")
def test_another_model_has_its_own_choice() -> None:
    tiled_products.choose(tensors(q4_k=500, q6_k=100))
    tiled_products.choose(tensors(q6_k=500))
    assert tiled_products.VARIABLE not in os.environ


@pytest.mark.usefixtures("_avx2")
def test_a_model_that_has_nothing_for_tiles_leaves_the_choice_to_others() -> None:
    tiled_products.choose(tensors(q4_k=500, q6_k=100))
    tiled_products.choose(tensors(q4_0=500))
    assert int(os.environ[tiled_products.VARIABLE]) == 0


@pytest.mark.usefixtures("_avx2")
@pytest.mark.parametrize("value", ["0", "1"])
def test_a_users_own_value_stays(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tiled_products.VARIABLE, value)
    for weights in ({"q4_k": 500, "q6_k": 100}, {"q6_k": 500}):
        tiled_products.choose(tensors(**weights))
        assert os.environ[tiled_products.VARIABLE] == value


@pytest.mark.parametrize(
    "features", [["CPU: NEON", "CPU: REPACK"], ["CPU: AVX2", "CPU: REPACK", "CPU: AVX512_VNNI"]]
)
def test_other_processors_keep_llama_cpps_choice(
    features: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "build_features", lambda: features)
    tiled_products.choose(tensors(q4_k=500, q6_k=100))
    assert tiled_products.VARIABLE not in os.environ


@pytest.mark.parametrize(
    ("value", "is_off"), [(None, False), ("1", False), (" 010", False), ("0", True), ("no", True)]
)
def test_costs_are_kept_apart_by_what_llama_cpp_makes_of_the_value(
    value: str | None, is_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(tiled_products.VARIABLE, value)
    assert tiled_products.are_off() == is_off
