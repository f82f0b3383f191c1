"""Words, paragraphs and items of lists are counted as a reader counts them."""

from __future__ import annotations

import pytest

from amulet_local.text.layout import count_items, count_paragraphs, count_words, last_item


@pytest.mark.parametrize(
    ("text", "n"),
    [("", 0), ("one", 1), ("one - two", 2), ("don't, twenty-one!", 2), ("1. A\n\n* b", 3)],
)
def test_words_are_what_spaces_part(text: str, n: int) -> None:
    assert count_words(text) == n


@pytest.mark.parametrize(
    ("text", "n"), [("", 0), ("a\nb", 1), ("a\n\nb", 2), ("a\n \n\n\nb\n\n", 2), ("\n\n", 0)]
)
def test_paragraphs_are_what_blank_lines_part(text: str, n: int) -> None:
    assert count_paragraphs(text) == n


@pytest.mark.parametrize(
    ("text", "n", "last"),
    [
        ("", 0, ""),
        ("Text - with a dash.", 0, ""),
        ("- a\n- b", 2, "-"),
        ("Here:\n\n1. **a**: x\n2. b\n", 2, "2."),
        ("* a\n    * inner\n    * inner\n* b", 2, "*"),
        ("- a\n- ", 1, "-"),
        ("1) a\n2) b", 2, "2)"),
        ("In 2024.\n1999 was better.", 0, ""),
    ],
)
def test_items_are_lines_with_a_mark_and_inner_ones_are_none(text: str, n: int, last: str) -> None:
    assert (count_items(text), last_item(text)) == (n, last)
