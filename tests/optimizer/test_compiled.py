"""The compiled passes against NumPy's and float64, and when they take over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amulet_local import SamplingParams, load
from amulet_local.optimizer import compiled, kernels
from amulet_local.optimizer.numba_passes import BLOCK, PASSES
from amulet_local.optimizer.realigner import Realigner

pytestmark = pytest.mark.lengthy

PATIENCE_SECONDS = 60.0
SIZES = (1, 7, BLOCK, BLOCK + 1, 3 * BLOCK + 5)
LOGITS = st.floats(-1e4, 1e4, width=32) | st.sampled_from(
    [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 3e38, -3e38]
)


@pytest.fixture(scope="module")
def folder_of_numbas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are kept."""
    return tmp_path_factory.mktemp("numba")


@pytest.fixture(scope="module")
def numbas(folder_of_numbas: Path) -> kernels.Passes:
    """The passes, compiled here."""
    return compiled.loaded(folder_of_numbas)


@pytest.fixture
def numpys() -> Iterator[None]:
    """NumPy's passes are back in their place afterwards."""
    yield
    kernels.use(kernels.NUMPYS)


def made_rows(n_vocab: int) -> np.ndarray:
    """Two rows with many equals, and some tokens that either or both rule out."""
    rng = np.random.default_rng(n_vocab)
    rows = rng.normal(scale=4, size=(2, n_vocab)).astype(np.float32).round(1)
    rows[rng.random(rows.shape) < 0.1] = -np.inf
    rows[:, rng.random(n_vocab) < 0.1] = -np.inf
    rows[:, n_vocab // 2] = 9.0
    return rows


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("extra", [0.0, -1.0, 0.5, 4.648699])
def test_a_combination_has_numpys_bits(numbas: kernels.Passes, n_vocab: int, extra: float) -> None:
    plain, preference = made_rows(n_vocab).clip(-30)
    outs = np.empty((2, n_vocab), dtype=np.float32)
    found = numbas.combine(plain, preference, np.float32(extra), outs[0])
    assert found == kernels.NUMPYS.combine(plain, preference, np.float32(extra), outs[1])
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("n_vocab", SIZES)
def test_extremes_and_capped_rows_have_numpys_bits(numbas: kernels.Passes, n_vocab: int) -> None:
    plain, preference = made_rows(n_vocab)
    assert numbas.extremes(plain) == kernels.NUMPYS.extremes(plain)
    outs = np.empty((2, n_vocab), dtype=np.float32)
    for passes, out in zip((numbas, kernels.NUMPYS), outs, strict=True):
        passes.cap_difference(plain, preference, np.float32(1.5), out)
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("which", ["numba", "numpy"])
@pytest.mark.parametrize("n_vocab", [*SIZES, 151_936])
def test_sums_are_those_of_float64(numbas: kernels.Passes, which: str, n_vocab: int) -> None:
    passes = numbas if which == "numba" else kernels.NUMPYS
    row, reference = made_rows(n_vocab)
    reference[np.isneginf(reference) & (row > -np.inf)] = -20.0
    row[n_vocab // 3] = -95.0  # the exponential of this less the peak is no normal float32
    row[n_vocab // 2] = peak = np.float32(9.0)
    work = np.empty((2, n_vocab), dtype=np.float32)
    possible = row > -np.inf
    x = row[possible].astype(np.float64) - float(peak)
    e = np.exp(x)
    total, first = e.sum(), (e * x).sum()
    weighed = (e * reference[possible]).sum()
    assert passes.exponential_sum(row, peak, work) == pytest.approx(total, rel=1e-6)
    sums = pytest.approx((total, first, weighed), rel=2e-6, abs=2e-6 * total)
    assert passes.tilt_sums(row, peak, reference, work) == sums
    assert (*passes.moments(row, peak, work), weighed) == sums


@given(rows=hnp.arrays(np.float32, (2, 9), elements=LOGITS), extra=st.floats(-3, 20, width=32))
def test_whatever_the_rows_hold_the_same_is_found(
    numbas: kernels.Passes, rows: np.ndarray, extra: float
) -> None:
    def found(passes: kernels.Passes) -> tuple[object, ...]:
        out = np.empty(9, dtype=np.float32)
        kernels.use(passes)
        try:
            best, is_sound = kernels.combine(rows[0], rows[1], np.float32(extra), out)
            tops = [top if top[1] else top[1] for top in map(kernels.top, rows)]
        finally:
            kernels.use(kernels.NUMPYS)
        return (tops, is_sound, best, out.tolist()) if is_sound else (tops, is_sound)

    assert found(numbas) == found(kernels.NUMPYS)


def test_after_enough_steps_it_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, numpys: None
) -> None:
    monkeypatch.setattr(compiled, "kernel_cache_folder", lambda: tmp_path)
    assert kernels.passes is kernels.NUMPYS
    assert compiled.take_over()
    assert kernels.passes is not kernels.NUMPYS
    assert [*tmp_path.rglob("*.nbc")]
    plain, preference = np.random.default_rng(0).normal(size=(2, 999)).astype(np.float32)
    token = Realigner(999).greedy(plain, preference, 3.0)
    assert token == int((plain + 3.0 * (preference - plain)).argmax())


def test_what_cant_be_used_of_the_cache_is_compiled_anew(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    numpys: None,
    folder_of_numbas: Path,
    numbas: kernels.Passes,
) -> None:
    folder = tmp_path / "numba"
    shutil.copytree(folder_of_numbas, folder)
    torn = [path for path in folder.rglob("*.nbi") if path.is_file()]
    assert len(torn) == len(PASSES)
    for path in torn:
        os.truncate(path, path.stat().st_size // 2)
    monkeypatch.setattr(compiled, "kernel_cache_folder", lambda: folder)
    assert compiled.take_over()
    assert kernels.passes is not kernels.NUMPYS


def test_it_begins_once_and_beside_the_answer(tmp_path: Path) -> None:
    code = """
import threading, time
import numpy as np
from amulet_local import SamplingParams, load
from amulet_local.optimizer import compiled, kernels
from amulet_local.optimizer.realigner import Realigner
compiled.ENOUGH_LOGITS = 3 * 9
row = np.zeros(9, dtype=np.float32)
realigner = Realigner(9)
for n in range(3):
    assert "amulet-compiler" not in {thread.name for thread in threading.enumerate()}
    realigner.greedy(row, row, 2.0)
while kernels.passes is kernels.NUMPYS:
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
    assert kernels.passes is kernels.NUMPYS


@pytest.mark.parametrize(
    ("low_memory", "reproducible"), [(False, False), (True, False), (False, True)]
)
def test_numpys_stay_where_memory_is_short_or_every_bit_counts(
    monkeypatch: pytest.MonkeyPatch, tiny_path: Path, low_memory: bool, reproducible: bool
) -> None:
    begun = threading.Event()
    monkeypatch.setattr(compiled, "take_over", begun.set)
    monkeypatch.setattr(compiled, "_numpys_stay", False)
    monkeypatch.setattr(compiled, "_n_logits", 0)
    monkeypatch.setattr(compiled, "ENOUGH_LOGITS", 1)
    with load(tiny_path, n_ctx=128, low_memory=low_memory, reproducible=reproducible) as engine:
        engine.generate("Hi", preference="concise", sampling=SamplingParams(max_tokens=1))
    takes_over = not (low_memory or reproducible)
    assert begun.wait(PATIENCE_SECONDS if takes_over else 0) == takes_over
