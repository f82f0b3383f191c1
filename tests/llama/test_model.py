"""What llama.cpp is asked for when a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from amulet_local import SamplingParams, load

ONE = SamplingParams(max_tokens=4)


@pytest.mark.parametrize("repack", [True, False])
def test_weights_are_repacked_or_not(
    tiny_f32_path: Path, monkeypatch: pytest.MonkeyPatch, repack: bool
) -> None:
    """Exact weights are in one order only: the answer is the same."""
    with load(tiny_f32_path, isolate="never") as engine:
        expected = engine.generate("Why?", sampling=ONE).token_ids
    asked: list[bool] = []
    real = llama_cpp.llama_model_load_from_file

    def loading(path: bytes, params: Any) -> Any:
        asked.append(params.use_extra_bufts)
        return real(path, params)

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", loading)
    with load(tiny_f32_path, isolate="never", repack=repack) as engine:
        assert engine.generate("Why?", sampling=ONE).token_ids == expected
        assert ("not repacked" in engine.model.identity) is not repack
    assert asked == [repack]
