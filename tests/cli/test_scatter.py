"""The scatter plot in plain characters."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.cli.scatter import CHOSEN, MARK, ScatterPoint, scatter

numbers = st.floats(-1e6, 1e6, allow_nan=False)
labels = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
points = st.lists(
    st.builds(ScatterPoint, x=numbers, y=numbers, label=labels), min_size=1, max_size=20
)


def drawn(*found: ScatterPoint, **size: int) -> list[str]:
    return scatter(found, x_name="across", y_name="up", **size)


def inside(lines: list[str]) -> list[str]:
    """What is in the frame."""
    top, bottom = (n for n, line in enumerate(lines) if re.match(r" +\+-+\+$", line))
    return [re.fullmatch(r".{9}\|(.*)\|", line)[1] for line in lines[top + 1 : bottom]]  # type: ignore[index]


def place(lines: list[str], text: str) -> tuple[int, int]:
    """Row and column of a text in the frame."""
    ((row, column),) = (
        (row, line.index(text)) for row, line in enumerate(inside(lines)) if text in line
    )
    return row, column


def test_right_is_more_and_up_is_more() -> None:
    lines = drawn(
        ScatterPoint(x=0, y=0, label="low"),
        ScatterPoint(x=1, y=5, label="mid"),
        ScatterPoint(x=3, y=2, label="right"),
        ScatterPoint(x=2, y=9, label="high"),
    )
    rows = {name: place(lines, name)[0] for name in ("low", "mid", "right", "high")}
    assert rows["high"] < rows["mid"] < rows["right"] < rows["low"]
    columns = {name: place(lines, f"{MARK} {name}")[1] for name in ("low", "mid", "high")}
    assert columns["low"] < columns["mid"] < columns["high"]
    assert f"right {MARK}" in "\n".join(lines)  # no room at its right


def test_places_are_proportional() -> None:
    lines = drawn(*(ScatterPoint(x=i, y=0, label=f"n{i}") for i in range(5)), width=80)
    columns = [place(lines, f"n{i}")[1] for i in range(4)]
    gaps = [right - left for left, right in itertools.pairwise(columns)]
    assert max(gaps) - min(gaps) <= 1


def test_the_chosen_point_stands_out() -> None:
    lines = drawn(
        ScatterPoint(x=0, y=0, label="a"), ScatterPoint(x=1, y=1, label="b", is_chosen=True)
    )
    text = "\n".join(inside(lines))
    assert text.count(CHOSEN) == text.count(MARK) == 1
    assert f"b {CHOSEN}" in text or f"{CHOSEN} b" in text


def test_points_in_one_place_share_a_label_and_the_chosen_mark() -> None:
    lines = drawn(
        ScatterPoint(x=1, y=1, label="a"),
        ScatterPoint(x=1, y=1, label="b", is_chosen=True),
        ScatterPoint(x=9, y=9, label="c"),
    )
    assert f"{CHOSEN} a, b" in "\n".join(inside(lines))


def test_a_label_without_room_is_listed_with_its_numbers() -> None:
    crowd = [
        ScatterPoint(x=x, y=y, label="long" * 4 + f"{x}{y}") for x in range(3) for y in range(3)
    ]
    lines = drawn(*crowd, width=30, height=3)
    assert "".join(inside(lines)).count(MARK) == 9
    for point in crowd:
        assert any(point.label in line for line in lines)
    assert "(at 1, 2: longlonglonglong12)" in lines


def test_the_axes_have_names_and_numbers() -> None:
    lines = drawn(ScatterPoint(x=0, y=-5, label="a"), ScatterPoint(x=10, y=5, label="b"))
    assert lines[0] == "up"
    assert lines[-1].strip() == "across"
    low, middle, high = (float(number) for number in lines[-2].split())
    assert low < 0 < middle < 10 < high
    left = [float(line[:9]) for line in lines[1:-2] if line[:9].strip()]
    assert left == sorted(left, reverse=True)
    assert left[-1] < -5 < 5 < left[0]


@pytest.mark.parametrize(("width", "height"), [(30, 3), (60, 16), (100, 40)])
@given(found=points)
def test_whatever_the_points_it_fits_and_every_label_is_there(
    width: int, height: int, found: list[ScatterPoint]
) -> None:
    lines = drawn(*found, width=width, height=height)
    listed = [line for line in lines if line.startswith("(at ")]
    for line in lines:
        assert line.isascii()
        assert line in listed or len(line) <= width
    assert len(inside(lines)) == height
    assert {len(line) for line in inside(lines)} == {width - 11}
    text = "\n".join(lines)
    assert all(point.label in text for point in found)
