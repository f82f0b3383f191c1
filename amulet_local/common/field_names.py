"""What requests call options, in messages about options of the library.

A message names Python's argument and, beside it, the command line's flag: `(watch=False,
--no-watch: left alone)`. Who sends fields can't give a flag. Knows no particular option.
"""

from __future__ import annotations

import re

_BESIDE = re.compile(r"\b(\w+(?:=\w*)?), --?[a-z][\w-]*")
_IN_BRACKETS = re.compile(r"\([^()]*\)")
_IN_JSON = {"=False": "=false", "=True": "=true", "=None": "=null"}


def without_flags(message: str) -> str:
    """A message that names an argument of Python's and a flag, with the argument alone."""
    return _IN_BRACKETS.sub(lambda part: _BESIDE.sub(r"\1", part[0]), message)


def in_json(message: str) -> str:
    """The same with a field of a request in the argument's place: `watch=false`."""
    return _IN_BRACKETS.sub(lambda part: _fields(part[0]), message)


def _fields(part: str) -> str:
    def field(beside: re.Match[str]) -> str:
        name, equals, value = beside[1].partition("=")
        return name + _IN_JSON.get(equals + value, equals + value)

    return _BESIDE.sub(field, part)
