"""Reasoning apart from the answer, and stop texts: wherever the pieces are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.reasoning import TAGS, ReasoningSplitter, closing_tag
from amulet_local.text.stop_texts import StopFinder


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def split(parts: list[str], closing: str = "") -> tuple[str, str]:
    splitter = ReasoningSplitter(closing)
    done = [splitter.push(part) for part in parts]
    done.append(splitter.finish())
    return "".join(piece.reasoning for piece in done), "".join(piece.answer for piece in done)


CUTS = st.lists(st.integers(0, 200), max_size=12)
HARMONY = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}"


@given(
    tags=st.sampled_from(list(TAGS.items())),
    thought=st.text("ab <\n/tk>", max_size=20),
    answer=st.text("cd <\n/t>", max_size=20),
    space=st.sampled_from(["", "\n", "  \n"]),
    cuts=CUTS,
)
def test_reasoning_in_tags_is_kept_apart_wherever_it_is_cut(
    tags: tuple[str, str], thought: str, answer: str, space: str, cuts: list[int]
) -> None:
    opening, closing = tags
    text = f"{space}{opening}{thought}{closing}\n\n{answer}"
    assert split(pieces(text, cuts)) == (thought.strip(), answer.lstrip())
    assert split(pieces(f"{thought}{closing}{answer}", cuts), closing) == (
        thought.strip(),
        answer.lstrip(),
    )


@given(thought=st.text("ab <|", max_size=12), answer=st.text("cd <|", max_size=12), cuts=CUTS)
def test_harmony_keeps_its_channels_apart(thought: str, answer: str, cuts: list[int]) -> None:
    parts = pieces(HARMONY.format(thought, answer), cuts)
    assert split(parts) == (thought.strip(), answer.lstrip())


@given(text=st.text("<think>/ ab\n", max_size=30), cuts=CUTS)
def test_text_without_an_opening_tag_stays_as_it_is(text: str, cuts: list[int]) -> None:
    if not text.lstrip().startswith("<think>"):
        assert split(pieces(text, cuts)) == ("", text)


def test_a_tag_inside_the_answer_is_text() -> None:
    assert split(["Use <think>", "x</think>."]) == ("", "Use <think>x</think>.")


def test_reasoning_that_never_ends_is_all_there_is() -> None:
    assert split(["<thi", "nk>\nWell, ", "</thin"]) == ("Well, </thin", "")


@pytest.mark.parametrize(
    ("prompt", "prefix", "expected"),
    [
        ("<|im_start|>assistant\n", "", ""),
        ("<|im_start|>assistant\n<think>\n", "", "</think>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "", ""),
        ("assistant [THINK]", "", "[/THINK]"),
        ("assistant\n", "<think>I", "</think>"),
        ("assistant\n<think>\n", "Well.</think>So", ""),
    ],
)
def test_what_a_prompt_has_opened(prompt: str, prefix: str, expected: str) -> None:
    assert closing_tag(prompt, prefix) == expected


def stopped(parts: list[str], stops: list[str]) -> tuple[str, str | None]:
    finder = StopFinder(stops)
    text = "".join(finder.push(part) for part in parts)
    return text + finder.finish(), finder.found


@given(
    text=st.text("abc", max_size=30),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    cuts=CUTS,
)
def test_the_stop_text_that_is_complete_first_ends_the_text(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    """Against a search through every beginning of the text."""
    expected: tuple[str, str | None] = (text, None)
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            expected = (text[: end - len(longest)], longest)
            break
    assert stopped(pieces(text, cuts), stops) == expected


def test_nothing_of_a_stop_text_is_handed_out_early() -> None:
    finder = StopFinder(["\nUser:"])
    assert [finder.push(part) for part in ("Hi", "\n", "Us", "ual\n", "User", ": x")] == [
        "Hi",
        "",
        "",
        "\nUsual",
        "",
        "",
    ]
    assert finder.found == "\nUser:"
    assert finder.push("more") == ""
