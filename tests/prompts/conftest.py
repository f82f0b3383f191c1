"""Vocabularies: the embedded model's, and those that llama.cpp tests its own tokenizers with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine
from amulet_local.llama import library
from amulet_local.llama.vocabulary import Vocabulary
from tests.conftest import missing
from tests.llama_cpp_source import SourceMissingError, models_folder

VOCABULARIES = [
    "aquila", "baichuan", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4",
    "gpt-2", "gpt-neox", "llama-bpe", "llama-spm", "mpt", "phi-3", "qwen2", "qwen35", "refact",
    "starcoder",
]  # fmt: skip


def load_vocabulary(path: Path) -> tuple[Any, Vocabulary]:
    """A native model, which the caller frees, and its vocabulary."""
    library.start()
    import llama_cpp

    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    assert model, path
    return model, Vocabulary(model)


@pytest.fixture(scope="module")
def smollm2(tiny_engine: Engine) -> tuple[Vocabulary, str]:
    """SmolLM2's vocabulary and its own chat template."""
    source = tiny_engine.model.chat_template
    assert source is not None
    return tiny_engine.model.vocabulary, source


@pytest.fixture(scope="module")
def sdist_models() -> Path:
    """llama.cpp's folder of vocabularies and templates."""
    try:
        return models_folder()
    except SourceMissingError as error:
        missing(str(error))
        raise


@pytest.fixture(scope="module", params=VOCABULARIES)
def real_vocabulary(request: pytest.FixtureRequest, sdist_models: Path) -> Iterator[Vocabulary]:
    """Each of llama.cpp's in turn."""
    import llama_cpp

    model, vocabulary = load_vocabulary(sdist_models / f"ggml-vocab-{request.param}.gguf")
    yield vocabulary
    llama_cpp.llama_model_free(model)
