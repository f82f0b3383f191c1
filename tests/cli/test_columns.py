"""Text in columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.cli.columns import (
    GAP,
    cells,
    column_width,
    cut,
    pad,
    side_by_side,
    table,
    with_remark,
    wrap,
)

texts = st.text(st.one_of(st.characters(exclude_categories=["Cc", "Cs"]), st.sampled_from(" \n日")))


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("abc", 3),
        ("", 0),
        ("日本語", 6),
        ("ｱ", 1),
        ("e\u0301", 1),  # a letter and its accent
        ("😀", 2),
        ("👩‍👩‍👧", 2),  # three people, joined
        ("❤", 1),
        ("❤\ufe0f", 2),
        ("한국", 4),
        ("שלום", 4),
    ],
)
def test_cells_are_those_of_a_terminal(text: str, width: int) -> None:
    assert cells(text) == width


def test_lines_break_between_words() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("one two three", 13) == ["one two three"]
    assert wrap("", 7) == [""]
    assert wrap("a\n\nb\n", 7) == ["a", "", "b", ""]


def test_a_word_that_is_too_long_is_broken() -> None:
    assert wrap("see incomprehensible", 8) == ["see", "incompre", "hensible"]
    assert wrap("日本語です", 5) == ["日本", "語で", "す"]


def test_a_word_that_is_too_long_may_stay_whole() -> None:
    shown = wrap("see incomprehensible things", 8, breaks_words=False)
    assert shown == ["see", "incomprehensible", "things"]


def test_indentation_stays() -> None:
    assert wrap("    indented words", 12) == ["    indented", "words"]
    assert wrap("- a\n  - b\n\tc", 12) == ["- a", "  - b", "    c"]


@given(texts, st.integers(2, 40))
def test_no_line_is_too_wide_and_no_word_is_lost(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert max(map(cells, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(texts.map(lambda text: text.replace("\n", "")), st.integers(5, 20))
def test_what_is_cut_fits(text: str, width: int) -> None:
    short = cut(text, width)
    assert cells(short) <= width
    assert short == text or text.startswith(short.removesuffix("..."))
    assert cells(pad(short, width)) == cells(pad(short, width, right=True)) == width


@given(st.lists(texts, min_size=1, max_size=4), st.integers(2, 20))
def test_columns_start_at_the_same_cell_on_every_line(columns: list[str], width: int) -> None:
    stride = width + len(GAP)
    wrapped = [wrap(text, width) for text in columns]
    for n_line, line in enumerate(side_by_side(columns, width).split("\n")):
        expected = [column[n_line] if n_line < len(column) else "" for column in wrapped]
        padded = [pad(text, stride) for text in expected]
        assert line == "".join(padded).rstrip(" ")


def test_columns_and_gaps_fill_the_terminal() -> None:
    for n_columns in range(1, 6):
        width = column_width(n_columns, 120)
        assert n_columns * width + (n_columns - 1) * len(GAP) <= 120
        assert n_columns * (width + 1) + (n_columns - 1) * len(GAP) > 120


@pytest.mark.parametrize("width", [30, 50, 80, None])
def test_a_remark_is_whole_at_any_width(width: int | None) -> None:
    lines = with_remark("  name    1.0 GB  ", "what somebody says of a model in many words", width)
    assert " ".join(" ".join(lines).split()) == (
        "name 1.0 GB what somebody says of a model in many words"
    )
    assert max(map(cells, lines)) <= (width or 80)
    assert (len(lines) == 1) == (width in (80, None))


def test_a_table_has_columns_below_one_another_where_they_do_not_fit() -> None:
    rows = {"base": ["0.1", "-"], "amulet:balanced": ["0.25 [0.1, 0.4]", "2%"]}
    wide = table(["margin", "broken"], rows, None)
    assert [line.split() for line in wide] == [
        ["margin", "broken"],
        ["base", "0.1", "-"],
        ["amulet:balanced", "0.25", "[0.1,", "0.4]", "2%"],
    ]
    assert len({cells(line) for line in wide}) == 1
    narrow = table(["margin", "broken"], rows, 40)
    assert max(map(cells, narrow)) <= 40
    assert narrow[3:5] == ["", narrow[4]]
    assert [line.split()[-1] for line in (narrow[0], narrow[4])] == ["margin", "broken"]
    assert [line.split()[0] for line in narrow if line.strip()].count("base") == 2
