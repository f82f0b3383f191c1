"""Long texts, whose tokens have to be those of one call of llama.cpp's."""

from __future__ import annotations

import random
from pathlib import Path

import llama_cpp

from tests.fuzz.mutation import changed_text
from tests.fuzz.target import Target
from tests.long_text_making import (
    SPECIAL,
    WORDS,
    assert_equal_tokens,
    long_text,
    write_vocabulary,
)
from tests.prompts.conftest import load_vocabulary


class Tokens(Target):
    """Texts of special tokens that overlap, and of their parts."""

    def __init__(self, folder: Path) -> None:
        """Write the vocabulary."""
        path = write_vocabulary(folder / "vocabulary.gguf", "gpt-2", SPECIAL)
        self._model, self._vocabulary = load_vocabulary(path)

    def make(self, rng: random.Random) -> bytes:
        """A text of some thousand characters, with changes."""
        text = long_text(rng, WORDS)
        return changed_text(text, rng, WORDS, [text]).encode("utf-8", "replace")

    def run(self, data: bytes) -> str:
        """Tokenised in one call and in parts, in each way of treating special tokens."""
        assert_equal_tokens(self._vocabulary, data.decode(errors="replace"))
        return "equal"

    def close(self) -> None:
        """Free the vocabulary."""
        self._vocabulary.close()
        llama_cpp.llama_model_free(self._model)
