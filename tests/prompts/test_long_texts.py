"""Long texts have llama.cpp's own tokens, in time that grows with them, and end no process."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from amulet_local.llama.long_texts import WITHOUT_REGEX
from amulet_local.llama.vocabulary import Vocabulary
from tests.long_text_making import (
    CONTROL,
    SPECIAL,
    WORDS,
    assert_equal_tokens,
    long_text,
    write_vocabulary,
)
from tests.prompts.conftest import load_vocabulary


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vocabulary]:
    """A vocabulary whose special tokens overlap, begin alike and are white space."""
    path = tmp_path_factory.mktemp("vocabulary") / "hostile.gguf"
    model, vocabulary = load_vocabulary(write_vocabulary(path, "gpt-2", SPECIAL))
    yield vocabulary
    vocabulary.close()
    llama_cpp.llama_model_free(model)


@pytest.mark.parametrize("seed", range(40))
def test_a_long_text_has_the_tokens_of_one_call(hostile: Vocabulary, seed: int) -> None:
    assert_equal_tokens(hostile, long_text(random.Random(seed), WORDS))


def test_a_token_that_takes_the_white_space_before_it_does_so_in_a_long_text(
    tmp_path: Path,
) -> None:
    """In these vocabularies <mask> does."""
    special = dict.fromkeys(("<unk>", "<s>", "</s>", "<mask>"), CONTROL)
    model, vocabulary = load_vocabulary(
        write_vocabulary(tmp_path / "a.gguf", "jina-v2-code", special)
    )
    assert_equal_tokens(vocabulary, "word \t<mask>  word</s> \n <mask><mask> x" * 60)
    vocabulary.close()
    llama_cpp.llama_model_free(model)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_text_has_the_tokens_of_one_call_in_every_vocabulary(
    real_vocabulary: Vocabulary, seed: int
) -> None:
    """With tokens that take white space from beside them (Phi-3), SentencePiece's space, lines."""
    rng = random.Random(seed)
    special = rng.sample([*real_vocabulary.special_tokens], k=1) * 3
    special += [word for word in real_vocabulary.special_tokens if not word.strip()][:5]
    assert_equal_tokens(real_vocabulary, long_text(rng, [*special, *WORDS[-12:], "\n", " "]))


@pytest.mark.parametrize(
    ("word", "special", "parse_special"),
    [
        ("<b>", "<b>", False),
        ("<b>", "<b>", True),
        (" <s> ", "<s>", True),
        ("\n", "\n" * 7, False),
        ("a line\n", "\n", True),
        ("      ", " " * 8, False),
        (">>TITLE<<", ">>TITLE<<", False),
    ],
)
def test_llama_cpp_looks_for_few_special_tokens_at_once(
    hostile: Vocabulary,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    special: str,
    parse_special: bool,
) -> None:
    """Its time grows with the square of their number: 100,000 took minutes."""
    given: list[bytes] = []
    real = llama_cpp.llama_tokenize

    def noted(vocabulary: Any, part: bytes, *others: Any) -> int:
        given.append(part)
        return int(real(vocabulary, part, *others))

    monkeypatch.setattr(llama_cpp, "llama_tokenize", noted)
    hostile.tokenize(word * 8000, add_special=False, parse_special=parse_special)
    assert max((part.count(special.encode()) for part in given), default=0) < 1100


CHILD = """
import sys
from pathlib import Path
import llama_cpp
from tests.long_text_making import whole, write_vocabulary
from tests.prompts.conftest import load_vocabulary

how, folder, *names = sys.argv[1:]
for name in names:
    path = write_vocabulary(Path(folder) / "a.gguf", name, {"</s>": 3})
    model, vocabulary = load_vocabulary(path)
    for word in ("a", "aB", chr(233), "7", " ", "\\n", " \\n", "!", "a "):
        text = word * (60_000 // len(word))
        if how == "whole":
            whole(vocabulary, text, add_special=False, parse_special=False)
        else:
            ids = vocabulary.tokenize(text, add_special=False, parse_special=False)
            assert b"".join(map(vocabulary.piece, ids)).decode() == text, (name, word)
    llama_cpp.llama_model_free(model)
"""


def in_a_child(tmp_path: Path, how: str, *pre_tokenizers: str) -> int:
    """The exit status of a process that tokenises texts without breaks."""
    command = [sys.executable, "-W", "ignore", "-c", CHILD, how, str(tmp_path), *pre_tokenizers]
    return subprocess.run(command, capture_output=True, timeout=600).returncode


@pytest.mark.lengthy
def test_a_text_without_a_break_ends_no_process(tmp_path: Path) -> None:
    names = ("default", "gpt-4o", "tekken", "deepseek-llm", "bloom", "exaone-moe")
    assert in_a_child(tmp_path, "cut", *names) == 0


@pytest.mark.lengthy
def test_what_is_cut_would_have_ended_the_process(tmp_path: Path) -> None:
    assert in_a_child(tmp_path, "whole", "gpt-4o") < 0


@pytest.mark.slow
def test_the_pre_tokenizers_that_get_whole_texts_stand_them(tmp_path: Path) -> None:
    assert in_a_child(tmp_path, "whole", *sorted(WITHOUT_REGEX)) == 0
