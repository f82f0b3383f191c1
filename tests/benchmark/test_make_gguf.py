"""Models with random weights: they load, they answer, they are of the type that was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from amulet_local import SamplingParams, errors, load
from amulet_local.benchmark import random_model
from amulet_local.benchmark.random_model import SHAPES, ModelShape, main, write_model
from amulet_local.llama.gguf import read_header
from amulet_local.llama.quantising import quantisation_type
from tests.test_scripts import Checkout

TINY = ModelShape(n_layers=2, width=256, feed_forward=512, n_heads=4, n_kv_heads=2)
UNTIED = ModelShape(
    n_layers=1, width=256, feed_forward=256, n_heads=4, n_kv_heads=4, tied=False, rope_base=5e5
)


def write(shape: ModelShape, type_name: str, path: Path) -> Path:
    write_model(shape, type_name, path, name="tiny", progress=lambda _: None)
    return path


@pytest.mark.parametrize(
    ("type_name", "file_type", "tensor_type"),
    [("q4_k_m", 15, "Q4_K"), ("F16", 1, "F16")],
)
def test_a_model_answers_and_has_the_type_that_was_asked_for(
    tmp_path: Path, model_path: Path, type_name: str, file_type: int, tensor_type: str
) -> None:
    import gguf

    path = write(TINY, type_name, tmp_path / "tiny.gguf")
    assert os.listdir(tmp_path) == ["tiny.gguf"]
    assert read_header(path).metadata["general.file_type"] == file_type
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert types["blk.0.ffn_gate.weight"] == tensor_type
    with load(path, n_ctx=256, n_threads=1, n_threads_batch=1, schedule="serial") as engine:
        answer = engine.generate(
            "Hi", preference="concise", sampling=SamplingParams(max_tokens=3, temperature=1, seed=1)
        )
        assert 1 <= len(answer.token_ids) <= 3
        embedded = read_header(model_path).metadata
        assert engine.model.chat_template == embedded["tokenizer.chat_template"]
        assert engine.model.vocabulary.n_tokens == 49_152


@pytest.mark.lengthy
def test_an_output_of_its_own_and_other_positions_are_written(tmp_path: Path) -> None:
    import gguf

    path = write(UNTIED, "F32", tmp_path / "tiny.gguf")
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert "output.weight" in tensors
    assert reader.fields["llama.rope.freq_base"].contents() == 5e5
    weights = tensors["token_embd.weight"].data
    assert weights.dtype == np.float32
    assert np.std(weights) == pytest.approx(random_model.WEIGHT_SCALE, rel=0.02)
    assert len(np.unique(weights[:, 0])) > 40_000  # rows differ
    assert np.all(tensors["output_norm.weight"].data == 1)


def test_named_shapes_have_the_sizes_that_their_names_say() -> None:
    billions = {name: shape.n_weights(49_152) / 1e9 for name, shape in SHAPES.items()}
    expected = {"135M": 0.1345, "0.5B": 0.40, "1B": 1.07, "8B": 7.38}
    assert billions == {name: pytest.approx(value, abs=0.01) for name, value in expected.items()}


@pytest.mark.parametrize(
    "change", [{"n_layers": 0}, {"n_heads": 3}, {"n_kv_heads": 3}, {"width": 300}]
)
def test_a_shape_that_can_not_be_is_refused(change: dict[str, int]) -> None:
    values = {"n_layers": 2, "width": 256, "feed_forward": 512, "n_heads": 4, "n_kv_heads": 2}
    with pytest.raises(errors.InvalidParameterError):
        ModelShape(**{**values, **change})  # type: ignore[arg-type]


@pytest.mark.lengthy
def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_text("mine")
    with pytest.raises(errors.FileAccessError, match="exists"):
        write(TINY, "Q8_0", path)
    assert path.read_text() == "mine"


@pytest.mark.lengthy
def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(errors.FileAccessError, match=r"1\.0 GB free, 22\.9 GB needed"):
        write(SHAPES["8B"], "Q4_K_M", tmp_path / "a.gguf")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [errors.BackendError("no"), KeyboardInterrupt(), OSError(28, "full")]
)
@pytest.mark.lengthy
def test_nothing_is_left_of_a_model_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(random_model, "quantise", fail)
    with pytest.raises((errors.AmuletError, KeyboardInterrupt)):
        write(TINY, "Q8_0", tmp_path / "a.gguf")
    assert os.listdir(tmp_path) == []


@pytest.mark.lengthy
def test_a_type_that_llama_cpp_can_not_make_is_its_error(tmp_path: Path) -> None:
    with pytest.raises(errors.BackendError):
        write(TINY, "IQ1_S", tmp_path / "a.gguf")  # needs an importance matrix
    assert os.listdir(tmp_path) == []


def test_types_are_found_in_any_case() -> None:
    assert quantisation_type("q4_k_m") == ("Q4_K_M", 15)
    with pytest.raises(errors.InvalidParameterError, match="Q4_K_M"):
        quantisation_type("Q4_X")


def test_without_gguf_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_model.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.MissingExtraError, match=r"amulet-local\[tools\]"):
        write(TINY, "Q8_0", tmp_path / "a.gguf")


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["2B"], 2, "invalid choice"),
        ([], 2, "required"),
        (["1B", "--type", "Q4_X"], 1, "error: no type 'Q4_X'"),
        (["1B", "-o", "no/such/folder/a.gguf"], 1, "error: there is no folder"),
    ],
)
def test_the_script_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err


@pytest.mark.lengthy
def test_the_script_prints_where_the_model_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(random_model.SHAPES, "135M", TINY)
    path = tmp_path / "a.gguf"
    main(["135M", "--type", "Q8_0", "-o", str(path)])
    captured = capsys.readouterr()
    assert captured.out == f"{path}\n"
    assert "quantising" in captured.err
    assert path.stat().st_size > 10_000_000


def test_the_wrapper_runs_it_with_the_tools_installed(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    assert checkout.run("scripts/make_gguf", "1B", "-o", "a b.gguf").returncode == 0
    assert any("[tools]" in line for line in checkout.installs())
    assert checkout.recorded("-m amulet_local") == [
        "-m amulet_local.benchmark.random_model 1B -o a b.gguf"
    ]


@pytest.mark.lengthy
def test_sigterm_leaves_nothing_of_a_model_that_was_begun(tmp_path: Path) -> None:
    target = tmp_path / "a.gguf"
    process = subprocess.Popen(
        [sys.executable, "-m", random_model.__name__, "1B", "-o", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (tmp_path / "a.gguf.weights").exists():
        time.sleep(0.02)
    process.terminate()
    assert process.communicate() == (b"", None)
    assert process.returncode == 143
    assert os.listdir(tmp_path) == []
