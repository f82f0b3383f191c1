"""The line that a key is on."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.common.toml_lines import line_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = '''\
# [a] in a comment, with a " and [ brackets

top = 1
[a] # x = "not a key"
x = """
[a]
y = 1 \\""" ""\\\\"""
y = \'\'\'it's ['\'\'\'
  "z z" = [ # ]
    "one", 'two]', # "three"

    """
four""", 4,
]
a.b.c = "]"
[a."d.e".f]
g = { h = "}", i = ["j"] }
[[list]]
k = 1
[[list]]
k = 2
'''


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (["top"], 3),
        (["a"], 4),
        (["a", "x"], 5),
        (["a", "y"], 8),
        (["a", "z z"], 9),
        (["a", "z z", 0], 10),
        (["a", "z z", 1], 10),
        (["a", "z z", 2], 12),
        (["a", "z z", 9], 9),
        (["a", "a"], 15),
        (["a", "a", "b", "c"], 15),
        (["a", "d.e"], 16),
        (["a", "d.e", "f", "g"], 17),
        (["a", "d.e", "f", "g", "i", 0], 17),
        (["list"], 18),
        (["a", "missing"], 4),
        (["missing"], 1),
        ([], 1),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_keys_are_found(keys: list[str | int], line: int, newline: str) -> None:
    tomllib.loads(TEXT)
    assert line_of(TEXT.replace("\n", newline), keys) == line


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


scalars = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.one_of(
    scalars.map(quoted),
    st.lists(scalars.map(quoted), max_size=3).map(lambda items: "[\n" + ",\n".join(items) + "]"),
    scalars.filter(lambda text: "'''" not in text and text.isprintable()).map(
        lambda text: f"'''\n{text.rstrip(chr(39))}'''"
    ),
    st.sampled_from(['"""\n"a""\n""""', "{ a = 1, 'b' = ']' }", '"\\"["', "1 # ["]),
)


@given(st.lists(st.tuples(scalars, values), unique_by=lambda pair: pair[0], max_size=8))
def test_every_key_of_a_table_is_found(entries: list[tuple[str, str]]) -> None:
    text, lines = "# first\n[table]\n", {}
    for key, value in entries:
        lines[key] = text.count("\n") + 1
        text += f"{quoted(key)} = {value}\n"
    assert set(tomllib.loads(text)["table"]) == set(lines)
    for key, line in lines.items():
        assert line_of(text, ["table", key]) == line
