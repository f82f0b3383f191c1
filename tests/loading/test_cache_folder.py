"""The cache folder: versions of the program share it, and it may be deleted at any moment."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from amulet_local import SamplingParams, load

pytestmark = pytest.mark.lengthy

SAMPLING = SamplingParams(max_tokens=6, ignore_eos=True)
OTHERS = [None, 3, "x", [], [[1]], {}, {"1 x 1": 3}, {"1 x 1": {"milliseconds": 1, "new": 2}}]
"""What another version may have kept where this one keeps something else."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answer(model: Path) -> str:
    """Of a run that measures, tries the file and keeps a prompt, if it finds nothing kept."""
    with load(model, n_ctx=256, n_threads=1, isolate="auto", cache_type_k="f32") as engine:
        text = engine.generate("Why?", preference="concise", preset="strong", sampling=SAMPLING)
        return text.text


def test_what_another_version_has_kept_is_no_obstacle(folder: Path, tiny_f32_path: Path) -> None:
    first = answer(tiny_f32_path)
    kept = sorted(folder.glob("*.json"))
    assert len(kept) >= 2
    for other in OTHERS:
        for path in kept:
            entries: dict[str, Any] = json.loads(path.read_text())
            path.write_text(json.dumps({**dict.fromkeys(entries, other), "of another": other}))
        assert answer(tiny_f32_path) == first


def test_the_folder_may_go_at_any_moment(folder: Path, tiny_f32_path: Path) -> None:
    first, done = answer(tiny_f32_path), threading.Event()

    def delete() -> None:
        while not done.wait(0.002):
            shutil.rmtree(folder, ignore_errors=True)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        assert {answer(tiny_f32_path) for _ in range(3)} == {first}
    finally:
        done.set()
        thread.join()
