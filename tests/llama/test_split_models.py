"""Models in several files, as llama.cpp's gguf-split writes them: metadata in the first alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local import SamplingParams, errors, load
from tests.llama_server_suite.standins import write_story


def answer(path: Path) -> str:
    with load(path, n_ctx=64, n_threads=1, n_threads_batch=1) as engine:
        prompt = engine.model.vocabulary.tokenize("Once", add_special=True, parse_special=False)
        sampling = SamplingParams(temperature=0, max_tokens=8)
        return engine.generate_from_tokens(prompt, None, sampling=sampling).text


def test_a_split_model_answers_as_the_whole_one(tmp_path: Path) -> None:
    write_story(tmp_path / "whole.gguf")
    write_story(tmp_path / "split.gguf", n_split=8)
    first, second, *_ = sorted(tmp_path.glob("split-*.gguf"))
    assert answer(first) == answer(tmp_path / "whole.gguf") != ""
    with pytest.raises(errors.ModelFileError, match="give the first one"):
        answer(second)
    second.write_bytes((tmp_path / "whole.gguf").read_bytes())
    with pytest.raises(errors.ModelFileError, match="no part of a split model"):
        answer(first)
