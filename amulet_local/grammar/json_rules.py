"""The grammar of JSON's parts: values of each type, numbers within limits, lists.

Knows nothing about schemas. Every function returns an expression in GBNF; names that it mentions
are in PRIMITIVES. White space is bounded, so that an answer can't consist of it.
"""

from __future__ import annotations

import json
from typing import Any

from amulet_local.grammar.schema_keywords import MAX_DIGITS

MAX_OPEN_DIGITS = 9
"""Digits of a limit that numbers must differ from: with six after the point they still do."""

MAX_SHORT = 200
"""Characters of an address with a limit."""

_HEX = "[0-9a-fA-F]"

PRIMITIVES = {
    "ws": r'| " " | "\n" [ \t]{0,20}',
    "char": (
        r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" '
        rf"([0-9a-cA-CefEF] {_HEX}{{3}} | [dD] [0-7] {_HEX}{{2}}))"
    ),
    "string": r'"\"" char* "\""',
    "whole": f'"0" | [1-9] [0-9]{{0,{MAX_DIGITS - 1}}}',
    "fraction": '"." [0-9]{1,6}',
    "no-fraction": '"." "0"{1,6}',
    "some-fraction": '"." "0"{0,5} [1-9] [0-9]{0,5}',
    "integer": '"-"? whole',
    "number": f'"-"? whole ("." [0-9]{{1,{MAX_DIGITS}}})? ([eE] [-+]? [0-9]{{1,2}})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "value": "object | array | string | number | boolean | null",
    "pair": r'string ":" ws value',
    "object": r'"{" ws (pair ("," ws pair)*)? ws "}"',
    "array": r'"[" ws (value ("," ws value)*)? ws "]"',
    "date": '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])',
    "time": (
        '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
        '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
    ),
    "date-time": 'date "T" time',
    "uuid": f'{_HEX}{{8}} ("-" {_HEX}{{4}}){{3}} "-" {_HEX}{{12}}',
    "label": "[a-z0-9] ([a-z0-9-]{0,30} [a-z0-9])?",
    "hostname": 'label ("." label){0,3}',
    "domain": 'label ("." label){0,2} "." [a-z]{2,12}',
    "mailbox": '[A-Za-z0-9] [A-Za-z0-9_+-]{0,30} ("." [A-Za-z0-9] [A-Za-z0-9_+-]{0,30}){0,2}',
    "email": 'mailbox "@" domain',
    "uri": (
        '"http" "s"? "://" domain ("/" [A-Za-z0-9._~-]{0,40}){0,6} '
        '("?" [a-z0-9_]{1,20} "=" [A-Za-z0-9._~-]{0,40})?'
    ),
    "octet": '[0-9] | [1-9] [0-9] | "1" [0-9]{2} | "2" [0-4] [0-9] | "25" [0-5]',
    "ipv-four": 'octet ("." octet){3}',
    "duration": '"P" ([0-9]{1,3} "D" | [0-9]{1,3} "W" | "T" [0-9]{1,3} [HMS])',
}
"""Rules by name."""

FORMATS = {
    **{name: name for name in ("date", "time", "date-time", "uuid")},
    **{name: name for name in ("hostname", "email", "uri", "duration")},
    "ipv4": "ipv-four",
}
"""Formats of strings, and the rules that they have."""


def short(name: str, low: int, high: int | None) -> str | None:
    """The rule of a format for texts of a length within limits; None if there is none.

    Args:
        low, high: characters; None is no limit.
    """
    most = MAX_SHORT if high is None else min(high, MAX_SHORT)
    if name == "email" and most >= max(low, len("a@b.cd")):
        first = max(1, low - len("@b.cd"))
        host = max(1, (most - len("@.cd") - first) // 2)
        last = most - len("@.cd") - host
        return f'[a-z0-9]{{{first},{last}}} "@" [a-z0-9]{{1,{host}}} "." [a-z]{{2}}'
    if name == "uri" and most >= max(low, len("https://a.cd")):
        first = max(1, low - len("https://.cd"))
        host = max(first, (most - len("https://.cd")) // 2)
        rest = most - len("https://.cd") - host
        path = f' ("/" [a-z0-9._~-]{{0,{rest - 1}}})?' if rest > 0 else ""
        return f'"https://" [a-z0-9]{{{first},{host}}} "." [a-z]{{2}}{path}'
    return None


def constant(value: Any) -> str:
    """One JSON value.

    Raises:
        ValueError: it isn't one.
    """
    return quoted(json.dumps(value, ensure_ascii=False, allow_nan=False))


def quoted(text: str) -> str:
    """A literal.

    Raises:
        ValueError: it holds a lone surrogate.
    """
    text.encode()
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def times(expression: str, low: int, high: int | None) -> str:
    """`expression` (a name or in parentheses) from `low` to `high` times."""
    return f"{expression}{{{low},{'' if high is None else high}}}"


def listed(item: str, low: int, high: int | None) -> str:
    """From `low` to `high` of the rule `item`, with commas between them."""
    if high == 0:
        return '""'
    more = times(f'("," ws {item})', max(0, low - 1), None if high is None else high - 1)
    return f"{item} {more}" if low > 0 else f"({item} {more})?"


def integers(low: int | None, high: int | None) -> str:
    """Whole numbers from `low` to `high`; None if there is no such limit.

    Limits have at most MAX_DIGITS digits; low <= high.
    """
    if low is None and high is None:
        return "integer"
    parts = []
    if low is None or low < 0:
        below = None if low is None else -low
        parts.append(f'"-" {magnitudes(max(1, -(0 if high is None else high)), below)}')
    if high is None or high >= 0:
        parts.append(magnitudes(max(0, low or 0), high))
    return " | ".join(parts)


def numbers(
    low: int | None, high: int | None, *, above: bool, below: bool, fraction: str = "fraction"
) -> str:
    """Numbers from `low` to `high`, which are whole; `above` and `below` leave the limits out.

    There has to be such a number. Limits that are left out have at most MAX_OPEN_DIGITS digits.

    Args:
        fraction: the rule of what may stand behind a whole number.
    """
    if low is None and high is None:
        return "number"
    parts = []
    if low is None or low < 0:
        ends = high is not None and high <= 0
        nearest = -high if ends and high is not None else 0
        most = None if low is None else -low
        parts += _signed('"-"', nearest, most, ends and below, above, fraction)
    if high is None or high > 0 or (high == 0 and not below):
        nearest = max(0, low or 0)
        parts += _signed("", nearest, high, above and nearest == low, below, fraction)
    return " | ".join(parts)


def _signed(
    sign: str, low: int, high: int | None, above: bool, below: bool, fraction: str
) -> list[str]:
    """Decimal numbers of one sign whose magnitude is from `low` to `high`."""
    parts = []
    if above:
        parts.append(f"{sign} {quoted(str(low))} some-fraction")
        low += 1
    if high is None or low < high:
        parts.append(f"{sign} {magnitudes(low, None if high is None else high - 1)} {fraction}?")
    if high is not None and not below:
        parts.append(f"{sign} {quoted(str(high))} no-fraction?")
    return [part.strip() for part in parts]


def magnitudes(low: int, high: int | None) -> str:
    """Decimal digits of the numbers from `low` >= 0 to `high`."""
    if low == 0 and high is None:
        return "whole"
    end = "9" * MAX_DIGITS if high is None else str(high)
    start = str(low)
    if len(start) == len(end):
        return same_length(start, end)
    parts = [same_length(start, "9" * len(start))]
    if len(end) - len(start) > 1:
        parts.append(f"[1-9] {times('[0-9]', len(start), len(end) - 2)}")
    parts.append(same_length("1" + "0" * (len(end) - 1), end))
    return f"({' | '.join(parts)})"


def same_length(low: str, high: str) -> str:
    """Digits from `low` to `high`, which have the same number of them."""
    if low == high:
        return quoted(low)
    if low[0] == high[0]:
        return f"{quoted(low[0])} {same_length(low[1:], high[1:])}"
    n_rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    parts = []
    if low[1:] != "0" * n_rest:
        parts.append(f"{quoted(low[0])} {same_length(low[1:], '9' * n_rest)}")
        first += 1
    if high[1:] != "9" * n_rest:
        parts.append(f"{quoted(high[0])} {same_length('0' * n_rest, high[1:])}")
        last -= 1
    if first <= last:
        digits = f"[{first}-{last}]"
        parts.append(digits if n_rest == 0 else f"{digits} {times('[0-9]', n_rest, n_rest)}")
    return f"({' | '.join(parts)})"
