"""Where an answer is code, told while it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.code_regions import CodeRegions


def in_code_after(text: str) -> bool:
    regions = CodeRegions()
    regions.push(text)
    return regions.in_code


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        ("", False),
        ("plain words\n\nmore of them", False),
        # inline spans
        ("a `", True),
        ("a `b", True),
        ("a `b`", False),
        ("`b` and `c", True),
        ("``a`", True),
        ("``a` b``", False),
        ("`a``", True),
        ("`a`` b`", False),
        ("`a\nb", True),
        ("`a\nb`", False),
        ("`never closed\n\nnext paragraph", False),
        ("`never closed\n  \nnext paragraph", False),
        ("`a\n\n`b", True),
        (r"\`a", False),
        (r"\\`a", True),
        (r"\`a `b", True),
        (r"\``a", True),
        (r"`a\`", False),
        ("`a`\\", False),
        # fenced blocks
        ("```", True),
        ("```py", True),
        ("```\n", True),
        ("```\nx\n", True),
        ("```\nx\n\n\ny", True),
        ("```\nx\n```\n", False),
        ("```\nx\n```\nafter", False),
        ("```py\nx = '`'\n```\nafter", False),
        ("```\nx\n``` \t\nafter", False),
        ("```\nx\n``` y\n", True),
        ("```\nx ```\n", True),
        ("```\nx\n``\n", True),
        ("```\nx\n~~~\n", True),
        ("````\nx\n```\n", True),
        ("````\nx\n````\nafter", False),
        ("```\nx\n`````\nafter", False),
        ("~~~\n```\n~~~\nafter", False),
        ("~~~ a `b\nx\n~~~\nafter", False),
        ("~~~~\nx\n~~~\n", True),
        ("   ```\nx\n  ```\nafter", False),
        ("```\r\nx\r\n```\r\nafter", False),
        ("words\n```\nx\n```\nafter", False),
        ("`open\n```\nx\n```\nafter", False),
        ("```\na\n```\n```\nb\n", True),
        # what looks like a fence
        ("a ``` b", True),
        ("a ``` b ``` c", False),
        ("a ~~~\n", False),
        ("~~\n", False),
        ("``` a ``` b\n", False),
        ("``` a `b\n\nafter", False),
        ("\t```\n\nafter", False),
    ],
)
def test_code_is_told_as_commonmark_has_it(text: str, is_code: bool) -> None:
    assert in_code_after(text) is is_code


@given(st.text("`~ \\\na", max_size=60), st.data())
def test_pieces_of_a_text_are_told_like_the_whole(text: str, data: st.DataObject) -> None:
    regions = CodeRegions()
    start = 0
    while start < len(text):
        stop = data.draw(st.integers(start + 1, len(text)))
        regions.push(text[start:stop])
        assert regions.in_code is in_code_after(text[:stop])
        start = stop


# Documents whose code is known, because they are put together from it.
words = st.text("ab .,-(", min_size=1, max_size=8).map(lambda text: f"w{text}w")
code_lines = st.text("x= `~", max_size=8).map(lambda line: f"x{line}")


@st.composite
def documents(draw: st.DrawFn) -> list[tuple[str, bool | None]]:
    """Pieces of text and whether they are code; None for the markers."""
    pieces: list[tuple[str, bool | None]] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            marker = draw(st.sampled_from("`~")) * draw(st.integers(3, 5))
            pieces.append((" " * draw(st.integers(0, 3)) + marker + "\n", None))
            for line in draw(st.lists(code_lines, max_size=3)):
                pieces.append((line + "\n", True))
            pieces.append((marker + draw(st.sampled_from(["", marker[0], "  "])) + "\n", None))
        else:
            for _ in range(draw(st.integers(1, 3))):
                text, code, n = draw(st.tuples(words, words, st.integers(1, 4)))
                run = "`" * n
                pieces += [(text, False), (run, None), (code, True), (run, None)]
            pieces.append((draw(words), False))
            pieces.append(("\n\n", None))
    return pieces


@given(documents())
def test_every_character_of_a_document_is_told_as_it_was_put_together(
    pieces: list[tuple[str, bool | None]],
) -> None:
    regions = CodeRegions()
    for text, is_code in pieces:
        for character in text:
            assert is_code is None or regions.in_code is is_code
            regions.push(character)
