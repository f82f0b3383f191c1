"""Where string values are in a JSON text, against the places where a writer of JSON put them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.json_position import JsonPosition

TEXTS = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from('"\\{}[]:,'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)
SPACE = st.text(" \t\r\n", max_size=2)


class Writer:
    """Writes a JSON value with white space anywhere, and notes where string values are."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.text = ""
        self.inside: set[int] = set()

    def write(self, value: Any) -> None:
        self._space()
        if isinstance(value, str):
            encoded = json.dumps(value, ensure_ascii=self._draw(st.booleans()))
            start = len(self.text)
            self.inside.update(range(start + 1, start + len(encoded)))
            self.text += encoded
        elif isinstance(value, dict):
            self._write_all("{", value.items(), "}")
        elif isinstance(value, list):
            self._write_all("[", [(None, item) for item in value], "]")
        else:
            self.text += json.dumps(value)
        self._space()

    def _write_all(self, opening: str, items: Any, closing: str) -> None:
        self.text += opening
        self._space()
        for index, (name, item) in enumerate(items):
            self.text += "," if index else ""
            if name is not None:
                self._space()
                self.text += json.dumps(name)
                self._space()
                self.text += ":"
            self.write(item)
        self.text += closing

    def _space(self) -> None:
        self.text += self._draw(SPACE)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, set[int]]:
    value = draw(VALUES)
    writer = Writer(draw)
    writer.write(value)
    assert json.loads(writer.text) == value
    return writer.text, writer.inside


@given(documents(), st.data())
@pytest.mark.lengthy
def test_characters_of_string_values_and_their_closing_quotes_are_inside(
    document: tuple[str, set[int]], data: st.DataObject
) -> None:
    text, inside = document
    position = JsonPosition()
    place = 0
    while place < len(text):
        assert position.in_string_value == (place in inside), (text, place)
        step = data.draw(st.integers(1, 4))
        position.push(text[place : place + step])
        place += step
    assert not position.in_string_value


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("", False),
        ('{"key', False),
        ('{"key": "', True),
        ('{"key": "a\\"', True),
        ('{"key": "a\\\\"', False),
        ('{"key": ["a", "', True),
        ('{"key": ["a"], "', False),
        ('[{"a": 1}, "', True),
        ('"', True),
    ],
)
def test_examples(text: str, inside: bool) -> None:
    position = JsonPosition()
    position.push(text)
    assert position.in_string_value == inside


@given(st.text(st.sampled_from('{}[]:,"\\a')))
def test_text_that_is_no_json_is_taken_as_well(text: str) -> None:
    whole, pieces = JsonPosition(), JsonPosition()
    whole.push(text)
    for char in text:
        pieces.push(char)
    assert whole.in_string_value == pieces.in_string_value
