"""The compiled pass against NumPy's, and when it takes over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amulet_local.optimizer import compiled, kernels
from amulet_local.optimizer.numba_pass import BLOCK
from amulet_local.optimizer.realigner import Realigner

pytestmark = pytest.mark.lengthy

SIZES = (1, 7, BLOCK, BLOCK + 1, 3 * BLOCK + 5)
LOGITS = st.floats(-1e4, 1e4, width=32) | st.sampled_from(
    [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 3e38, -3e38]
)


@pytest.fixture(scope="module")
def one_pass(tmp_path_factory: pytest.TempPathFactory) -> kernels.Pass:
    """The pass, compiled here."""
    return compiled.loaded(tmp_path_factory.mktemp("numba"))


@pytest.fixture
def numpys() -> Iterator[None]:
    """NumPy's passes are back in their place afterwards."""
    yield
    kernels.replace_pass(kernels.numpy_passes)


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("extra", [0.0, -1.0, 0.5, 4.648699])
def test_it_gives_numpys_bits(one_pass: kernels.Pass, n_vocab: int, extra: float) -> None:
    rng = np.random.default_rng(n_vocab)
    plain, preference = rng.normal(scale=4, size=(2, n_vocab)).astype(np.float32).round(1)
    outs = np.empty((2, n_vocab), dtype=np.float32)
    found = one_pass(plain, preference, np.float32(extra), outs[0])
    assert found == kernels.numpy_passes(plain, preference, np.float32(extra), outs[1])
    np.testing.assert_array_equal(*outs)


@given(rows=hnp.arrays(np.float32, (2, 9), elements=LOGITS), extra=st.floats(-3, 20, width=32))
def test_whatever_the_rows_hold_the_same_is_found(
    one_pass: kernels.Pass, rows: np.ndarray, extra: float
) -> None:
    def found(combining: kernels.Pass) -> tuple[object, ...]:
        out = np.empty(9, dtype=np.float32)
        kernels.replace_pass(combining)
        try:
            best, is_sound = kernels.combine(*rows, np.float32(extra), out)
        finally:
            kernels.replace_pass(kernels.numpy_passes)
        return (is_sound, best, out.tolist()) if is_sound else (is_sound,)

    assert found(one_pass) == found(kernels.numpy_passes)


def test_after_enough_steps_it_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, numpys: None
) -> None:
    monkeypatch.setattr(compiled, "kernel_cache_folder", lambda: tmp_path)
    assert kernels._pass is kernels.numpy_passes
    assert compiled.take_over()
    assert kernels._pass is not kernels.numpy_passes
    assert [*tmp_path.rglob("*.nbc")]
    plain, preference = np.random.default_rng(0).normal(size=(2, 999)).astype(np.float32)
    token = Realigner(999).greedy(plain, preference, 3.0)
    assert token == int((plain + 3.0 * (preference - plain)).argmax())


def test_it_begins_once_and_beside_the_answer(tmp_path: Path) -> None:
    code = """
import threading, time
import numpy as np
from amulet_local.optimizer import compiled, kernels
from amulet_local.optimizer.numba_pass import BLOCK
from amulet_local.optimizer.realigner import Realigner
compiled.ENOUGH_LOGITS = 3 * 9
row = np.zeros(9, dtype=np.float32)
realigner = Realigner(9)
for n in range(3):
    assert "amulet-compiler" not in {thread.name for thread in threading.enumerate()}
    realigner.greedy(row, row, 2.0)
while kernels._pass is kernels.numpy_passes:
    realigner.greedy(row, row, 2.0)
    time.sleep(0.01)
print("taken over")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "taken over\n", done.stderr


def test_without_a_folder_to_trust_or_a_compiler_numpys_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "kernel_cache_folder", lambda: None)
    assert not compiled.take_over()
    monkeypatch.setattr(compiled, "kernel_cache_folder", lambda: tmp_path)
    for interpreter in ("", "/nowhere/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", interpreter)
        assert not compiled.take_over()
    assert kernels._pass is kernels.numpy_passes
