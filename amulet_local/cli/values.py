"""How values are written on the command line: numbers, biases of tokens, texts with escapes, JSON.

Knows kinds of values and no particular option. Imports little: `ask` reads its command line with
nothing else.
"""

from __future__ import annotations

import json
import re

from amulet_local.common.errors import InvalidParameterError, InvalidTextError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class UnreadableValueError(ValueError):
    """A text on the command line that isn't of its option's kind: wrong usage."""


def number(text: str) -> int | float:
    """Any number, whole or not, in range or not.

    Raises:
        UnreadableValueError: it isn't one.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise UnreadableValueError(f"{text!r} is not a number") from None


def numbers(text: str) -> tuple[int | float, ...]:
    """Numbers with commas between them.

    Raises:
        UnreadableValueError: one isn't.
    """
    return tuple(number(part) for part in text.split(","))


def token_bias(text: str) -> tuple[int, float]:
    """A token id and what is added to its logit: 15043+1, 15043-0.5, 15043-inf.

    Raises:
        UnreadableValueError: it isn't that.
    """
    token, sign, bias = re.fullmatch(r"(\d*)([+-]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if not token or not sign:
        raise UnreadableValueError(f"{text!r} is not a token id and a bias, like 15043-1")
    return int(token), number(bias) * (-1 if sign == "-" else 1)


def gpu_layers(text: str) -> int | float | str:
    """A number of layers, "auto", or "all".

    Raises:
        UnreadableValueError: it isn't that.
    """
    if text == "all":
        return -1
    return text if text == "auto" else number(text)


PARSERS = {
    "number": number,
    "seed": number,
    "numbers": numbers,
    "layers": gpu_layers,
    "biases": token_bias,
}
"""Of the kinds of values that are more than their text; of several values, each is read alone."""


SEVERAL = ("texts", "escaped", "words", "biases")
"""Kinds of values that may be given again, so that there are several."""


def as_params(kind: str, flag: str, value: Any) -> Any:
    """What params takes for a value of such a kind; None is its default.

    Raises:
        InvalidTextError: a text isn't UTF-8.
        InvalidParameterError: it should be a JSON object and isn't.
    """
    if kind in ("text", "texts", "escaped", "words"):
        for text in [value] if isinstance(value, str) else value:
            check_text(flag, text)
    if kind == "json":
        return _json(flag, value)
    if kind == "escaped":
        return tuple(_unescaped(text) for text in value if text != "none")
    if kind in ("texts", "words"):
        return tuple(value)
    if kind == "biases":
        return dict(value)
    if kind == "off":
        return False
    return None if kind == "seed" and value == -1 else value


def check_text(place: str, text: str | None) -> None:
    """Refuse what the shell passed on and isn't UTF-8; Python makes lone surrogates of it.

    Raises:
        InvalidTextError: it is such a text.
    """
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"{place} isn't UTF-8 text (character {error.start}): check the terminal's encoding"
        ) from None


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
