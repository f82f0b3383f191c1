"""An answer is read the same however tokens cut it, and nothing undecided is handed out."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.answering.answer_reader import AnswerReader
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.text.reasoning import TAGS


class Bytes:
    """A vocabulary whose tokens are pieces of a given text, in order."""

    def __init__(self, text: str, cuts: list[int]) -> None:
        data = text.encode()
        places = sorted({cut % (len(data) + 1) for cut in cuts})
        ends = zip([0, *places], [*places, len(data)], strict=True)
        self._pieces = [data[start:end] for start, end in ends]
        self.reasoning_markers: dict[int, bytes] = {}
        self.tokens = range(len(self._pieces))

    def spelled(self, markers: object) -> dict[int, bytes]:
        return {}

    def piece(self, token: int) -> bytes:
        return self._pieces[token]


def read(text: str, cuts: list[int], **how: object) -> tuple[AnswerReader, list[tuple[str, str]]]:
    """The reader at the end, and all that it handed out."""
    spelled = Bytes(text, cuts)
    reader = AnswerReader(cast(Vocabulary, spelled), **how)  # type: ignore[arg-type]
    handed_out = []
    written = ""
    for token in spelled.tokens:
        handed_out.append(tuple(reader.push(token)[:2]))
        written += reader.written
        assert text.startswith(written)
    handed_out.append(tuple(reader.finish()[:2]))
    return reader, handed_out


CUTS = st.lists(st.integers(0, 200), max_size=12)
TEXTS = st.text("ab é€😀<\n/", max_size=20)


@given(
    tags=st.sampled_from(list(TAGS.items())),
    thought=TEXTS,
    answer=TEXTS,
    after=TEXTS,
    cuts=CUTS,
)
def test_reasoning_answer_and_stop_text_are_told_apart_wherever_tokens_cut(
    tags: tuple[str, str], thought: str, answer: str, after: str, cuts: list[int]
) -> None:
    opening, closing = tags
    text = f"{opening}{thought}{closing}{answer}STOP{after}"
    reader, handed_out = read(text, cuts, stop=["STOP"])
    assert reader.reasoning == thought.strip()
    assert reader.text == answer.lstrip()
    assert reader.stop_text is not None
    assert not reader.in_reasoning
    assert "".join(reasoning for reasoning, _ in handed_out) == reader.reasoning
    assert "".join(answer for _, answer in handed_out) == reader.text


@given(text=TEXTS, cuts=CUTS)
def test_without_splitting_all_text_is_answer(text: str, cuts: list[int]) -> None:
    reader, _ = read(f"<think>{text}", cuts, splits=False)
    assert (reader.reasoning, reader.text) == ("", f"<think>{text}")
    assert not reader.in_reasoning
    assert not reader.is_before_answer
    assert reader.stop_text is None


@given(thought=TEXTS, cuts=CUTS)
def test_reasoning_that_the_prompt_opened_goes_on_until_its_tag(
    thought: str, cuts: list[int]
) -> None:
    reader, _ = read(f"{thought}.", cuts, closing_tag="</think>")
    assert reader.in_reasoning
    assert reader.is_before_answer
    assert (reader.reasoning, reader.text) == (f"{thought}.".strip(), "")


def test_a_stop_text_in_the_reasoning_ends_nothing() -> None:
    reader, _ = read("<think>STOP</think>on", [9], stop=["STOP"])
    assert reader.stop_text is None
    assert reader.text == "on"


@pytest.mark.parametrize(
    ("text", "cut", "first"),
    [
        ("é", 1, ""),
        ("one STO", 6, "one "),
        ("<thi", 4, ""),
    ],
)
def test_what_is_undecided_is_held_back_and_handed_out_at_the_end(
    text: str, cut: int, first: str
) -> None:
    reader, handed_out = read(text, [cut], stop=["STOP"])
    assert handed_out[0] == ("", first)
    assert reader.text == text
    assert reader.stop_text is None


def test_an_answer_that_ends_inside_a_character_ends_before_it() -> None:
    spelled = Bytes("aé", [2])
    reader = AnswerReader(cast(Vocabulary, spelled))
    reader.push(0)
    reader.finish()
    assert reader.text == "a"
