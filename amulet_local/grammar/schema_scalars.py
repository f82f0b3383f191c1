"""The strings and numbers of a JSON Schema as rules, and limits of how often something is there.

Knows nothing about schemas within schemas. What isn't enforced is a format without a rule;
`open_formats` says which.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from amulet_local.grammar import json_rules as rules
from amulet_local.grammar.decimals import DecimalError, decimals
from amulet_local.grammar.multiples import MakeRule, MultipleError, multiples
from amulet_local.grammar.pattern import PatternError, inside
from amulet_local.grammar.schema_keywords import (
    MAX_DIGITS,
    SUGGESTED_BY,
    is_of,
    limit,
    refuse,
    shown,
    unsupported,
    within_digits,
)

MAX_REPETITIONS = 2000
"""Items of an array."""
BLOCK = 1000
MAX_LENGTH = 1_000_000
"""Characters of a string, and how many are one rule."""

_LOOKING_AROUND = {
    "duration": (
        r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?"
        r"(\d+([.,]\d+)?S)?)?)$"
    ),
    "hostname": (
        r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
        r"(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$"
    ),
}
"""Patterns that zod writes beside a format, and that every text of the format's rule matches."""

_AFTER_THE_NAME = r"[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
_WITHOUT_LOOKING = {
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)" + _AFTER_THE_NAME: (
        r"^([A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*" + _AFTER_THE_NAME
    )
}
"""Patterns of zod's earlier versions -> others for the same texts: addresses without two dots in a
row."""


def open_formats(schema: Any) -> list[str]:
    """Formats in a schema that its grammar doesn't enforce."""
    found: dict[str, None] = {}
    waiting = [json.loads(schema) if isinstance(schema, str) else schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, Mapping):
            waiting += item.values()
            name = item.get("format")
            if isinstance(name, str) and item.get("type", "string") == "string":
                low, high = item.get("minLength", 0), item.get("maxLength")
                is_limited = "pattern" in item or bool(low) or high is not None
                if name not in rules.FORMATS or (
                    is_limited and ("pattern" in item or rules.short(name, low, high) is None)
                ):
                    found[name] = None
    return list(found)


def string(flat: Mapping[str, Any], path: str, rule: MakeRule) -> str:
    """A text.

    Args:
        rule: gives a part of it a name.
    """
    low, high = limits(flat, "minLength", "maxLength", path, MAX_LENGTH)
    if "pattern" in flat:
        if not isinstance(flat["pattern"], str):
            refuse(path, "pattern must be a text")
        try:
            pattern = _WITHOUT_LOOKING.get(flat["pattern"], flat["pattern"])
            return f'"\\"" ({inside(pattern, low, high)}) "\\""'
        except PatternError as error:
            known = str(flat.get("format"))
            if flat["pattern"] != _LOOKING_AROUND.get(known) or (low, high) != (0, None):
                unsupported(path, f"'pattern': {error}")
            return f'"\\"" {rules.FORMATS[known]} "\\""'
    if (low, high) != (0, None):
        brief = rules.short(str(flat.get("format")), low, high)
        if brief is not None:
            return f'"\\"" {brief} "\\""'
        return f'"\\"" {_characters(low, high, rule)} "\\""'
    name = flat.get("format")
    if isinstance(name, str) and name in rules.FORMATS:
        return f'"\\"" {rules.FORMATS[name]} "\\""'
    return "string"


def integer(flat: Mapping[str, Any], path: str, rule: MakeRule) -> str:
    """A whole number."""
    low, above = limit(flat, "minimum", "exclusiveMinimum", max, path)
    high, below = limit(flat, "maximum", "exclusiveMaximum", min, path)
    first = None if low is None else math.floor(low) + 1 if above else math.ceil(low)
    last = None if high is None else math.ceil(high) - 1 if below else math.floor(high)
    divisor = _divisor(flat, path)
    step = 1 if divisor is None else Fraction(divisor).numerator  # of the whole multiples
    if step != 1:
        return _multiples(Decimal(step), _exact(first), _exact(last), path, rule)
    return rules.integers(*within_digits(first, last, path))


def number(flat: Mapping[str, Any], path: str, rule: MakeRule) -> str:
    """A number."""
    low, above = limit(flat, "minimum", "exclusiveMinimum", max, path)
    high, below = limit(flat, "maximum", "exclusiveMaximum", min, path)
    divisor = _divisor(flat, path)
    if divisor is not None:
        least, most = _exact(low), _exact(high)
        if least is not None and above:
            least = divisor * (math.floor(Fraction(least) / Fraction(divisor)) + 1)
        if most is not None and below:
            most = divisor * (math.ceil(Fraction(most) / Fraction(divisor)) - 1)
        return _multiples(divisor, least, most, path, rule)
    if any(value is not None and value != int(value) for value in (low, high)):
        low, high = within_digits(low, high, path)
        try:
            return decimals(_exact(low), _exact(high), above=above, below=below)
        except DecimalError as error:
            unsupported(path, f"limits of a number: {error}")
    for value, is_open in ((low, above), (high, below)):
        if value is not None and is_open and abs(value) >= 10**rules.MAX_OPEN_DIGITS:
            refuse(path, f"a limit left out has {rules.MAX_OPEN_DIGITS} digits at most")
    if low is not None and low == high and (above or below):
        refuse(path, "no number is within these limits")
    first, last = within_digits(
        None if low is None else int(low), None if high is None else int(high), path
    )
    largest = 10**MAX_DIGITS - 1  # an exponent would lead beyond a limit that has more digits
    first = -largest if low is not None and first is None else first
    last = largest if high is not None and last is None else last
    return rules.numbers(first, last, above=above, below=below)


def _exact(value: float | None) -> Decimal | None:
    """A number as its JSON says it."""
    return None if value is None else Decimal(str(value))


def is_within(value: Any, flat: Mapping[str, Any], path: str) -> bool:
    """Whether a value of `enum` or `const` is one that the keywords beside it allow.

    Raises:
        UnsupportedError: that can't be told.
    """
    kind = next((name for name in SUGGESTED_BY if is_of(value, name)), "")
    beside = (set(SUGGESTED_BY.get(kind, ())) & flat.keys()) - {"format"}
    if kind != "number":
        if beside:
            unsupported(path, f"{min(beside)!r} beside enum or const isn't supported")
        return True
    low, above = limit(flat, "minimum", "exclusiveMinimum", max, path)
    high, below = limit(flat, "maximum", "exclusiveMaximum", min, path)
    divisor = _divisor(flat, path)
    return (
        (low is None or (value > low if above else value >= low))
        and (high is None or (value < high if below else value <= high))
        and (divisor is None or (Fraction(str(value)) / Fraction(divisor)).denominator == 1)
    )


def _divisor(flat: Mapping[str, Any], path: str) -> Decimal | None:
    value = flat.get("multipleOf")
    if value is None:
        return None
    if not is_of(value, "number") or not 0 < value < math.inf:
        refuse(path, f"multipleOf must be a number above 0, not {shown(value)}")
    return _exact(value)


def _multiples(
    divisor: Decimal, first: Decimal | None, last: Decimal | None, path: str, rule: MakeRule
) -> str:
    try:
        return multiples(divisor, first, last, rule)
    except MultipleError as error:
        unsupported(path, f"'multipleOf': {error}")


def limits(
    flat: Mapping[str, Any],
    least: str,
    most: str,
    path: str,
    largest: int = MAX_REPETITIONS,
) -> tuple[int, int | None]:
    """How often something may be there: at least, and at most (None without a limit)."""
    for name in (least, most):
        value = flat.get(name, 0)
        if not is_of(value, "integer") or value < 0:
            refuse(path, f"{name} must be a whole number, 0 or more, not {shown(value)}")
        if value > largest and (name == least or largest < MAX_LENGTH):
            refuse(path, f"{name} is {shown(value)}, the limit is {largest}")
    low, high = int(flat.get(least, 0)), min(int(flat[most]), largest) if most in flat else None
    if high is not None and low > high:
        refuse(path, f"{least} {low} is above {most} {high}")
    return low, high


def _characters(low: int, high: int | None, rule: MakeRule) -> str:
    """So many characters; thousands are blocks of a thousand."""

    def exactly(n: int) -> str:
        block = rule(rules.times("char", BLOCK, BLOCK)) if n >= BLOCK else ""
        blocks = f"{rules.times(block, n // BLOCK, n // BLOCK)} " if block else ""
        return blocks + rules.times("char", n % BLOCK, n % BLOCK)

    if high is None or high <= MAX_REPETITIONS:
        return (
            rules.times("char", low, high) if low <= MAX_REPETITIONS else (f"{exactly(low)} char*")
        )
    more = high - low
    if more <= MAX_REPETITIONS:
        return f"{exactly(low)} {rules.times('char', 0, more)}"
    block = rule(rules.times("char", BLOCK, BLOCK))
    tail = rules.times("char", 0, BLOCK + more % BLOCK)
    return f"{exactly(low)} {rules.times(block, 0, more // BLOCK - 1)} {tail}"
