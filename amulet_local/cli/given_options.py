"""Values of the command line as params takes them.

Knows kinds of values and no particular option; which values are right is the business of params.
"""

from __future__ import annotations

import json
import re
from typing import Any

from amulet_local.cli.derived_options import Given
from amulet_local.cli.inputs import check_text, read_file
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.params.option import Option, Options

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read(options: Options, given: Given) -> dict[str, Any]:
    """Arguments of the class in params that these are the options of.

    Raises:
        InvalidTextError: a text isn't UTF-8.
        InvalidParameterError: it should be a JSON object and isn't.
        FileAccessError: a file can't be read.
    """
    result: dict[str, Any] = {}
    for name, one in options.items():
        value = given.get(name)
        if value is not None:
            value = _read(one, value)
        if one.file is not None and f"{name}_file" in given:
            value = read_file(given[f"{name}_file"], one.file.what, FileAccessError)
        if value is not None:
            result[name] = value
    return result


def _read(one: Option, value: Any) -> Any:
    """The value that params takes; None is its default."""
    if one.kind in ("text", "texts", "escaped", "words"):
        for text in [value] if isinstance(value, str) else value:
            check_text(one.flag, text)
    if one.kind == "json":
        return _json(one.flag, value)
    if one.kind == "escaped":
        return tuple(_unescaped(text) for text in value if text != "none")
    if one.kind in ("texts", "words"):
        return tuple(value)
    if one.kind == "biases":
        return dict(value)
    if one.kind == "off":
        return False
    return None if one.kind == "seed" and value == -1 else value


def _unescaped(text: str) -> str:
    """A text with escapes, as in llama.cpp: \\n is a line end."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)


def _json(flag: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidParameterError(f"{flag} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidParameterError(
            f"{flag} must be a JSON object, e.g. '{{\"enable_thinking\": false}}'"
        )
    return value
