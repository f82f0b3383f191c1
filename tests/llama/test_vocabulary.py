"""What is found in a vocabulary without asking about each of its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local import Engine
from amulet_local.llama.all_pieces import all_pieces
from amulet_local.llama.model import Model
from amulet_local.llama.vocabulary import Vocabulary
from tests.gguf_edit import copy_edited
from tests.small_gguf import packed


def every_end(vocabulary: Vocabulary) -> set[int]:
    """The tokens that end an answer by llama.cpp's word, each of them asked about."""
    import llama_cpp

    tokens = range(vocabulary.n_tokens)
    return {t for t in tokens if llama_cpp.llama_vocab_is_eog(vocabulary.pointer, t)}


@pytest.mark.parametrize("name", ["eos", "eot", "eom"])
def test_an_ordinary_token_that_the_file_names_ends_an_answer(
    tiny_path: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "model.gguf"
    copy_edited(tiny_path, path, keys={f"tokenizer.ggml.{name}_token_id": packed(4000)})
    model = Model(path)
    assert 4000 in model.vocabulary.end_tokens
    assert model.vocabulary.end_tokens == every_end(model.vocabulary)
    model.close()


@pytest.mark.parametrize("result", [0, -1, -(2**31)])
def test_texts_are_asked_for_one_by_one_where_llama_cpp_doesnt_give_them_together(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch, result: int
) -> None:
    import llama_cpp

    vocabulary = tiny_engine.model.vocabulary
    n, piece = vocabulary.n_tokens, vocabulary.piece
    monkeypatch.setattr(llama_cpp, "llama_detokenize", lambda *_: result)
    assert all_pieces(vocabulary.pointer, n, piece) == [piece(token) for token in range(n)]
