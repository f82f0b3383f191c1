"""Numbers that are multiples of one, as rules: `multipleOf` of a JSON Schema.

Knows nothing about schemas. A decimal number is read digit by digit, and what counts of the digits
so far is their remainder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from amulet_local.grammar import json_rules as rules

MakeRule = Callable[[str], str]
"""Gives a rule's body a name."""

MAX_DIGITS = 12
MAX_REMAINDERS = 16
"""Of a divisor without the tens in it: each is a rule for each digit."""
MAX_LISTED = 200
"""Numbers between two limits that are listed one by one."""
MAX_PLACES = 9


class MultipleError(ValueError):
    """There is no rule for these multiples."""


def multiples(divisor: Decimal, low: Decimal | None, high: Decimal | None, rule: MakeRule) -> str:
    """The multiples of a number, from `low` to `high`.

    Args:
        divisor: above 0.

    Raises:
        MultipleError: there are too many remainders, or limits that aren't simple.
    """
    if low is not None and high is not None and (high - low) / divisor < MAX_LISTED:
        first, last = (
            math.ceil(Fraction(low) / Fraction(divisor)),
            math.floor(Fraction(high) / Fraction(divisor)),
        )
        listed = [f"{(divisor * n).normalize():f}" for n in range(first, last + 1)]
        if not listed:
            raise MultipleError("no multiple is within these limits")
        return " | ".join(f'"{value}"' for value in listed)
    if divisor != divisor.to_integral_value():
        return _decimals(divisor, low, high, rule)
    n = int(divisor)
    sign = _sign(low, high)
    zeros = ""
    while n % 10 == 0:
        n, zeros = n // 10, zeros + "0"
    if n > MAX_REMAINDERS:
        raise MultipleError(f"more than {MAX_REMAINDERS} remainders")
    step = _Steps(n, rule)
    begins = " | ".join(step.alternatives(MAX_DIGITS, 0, "123456789"))
    return f'"0" | {sign}({begins})' + (f' "{zeros}"' if zeros else "")


class _Steps:
    """Rules for the digits that may come after others with a remainder."""

    def __init__(self, n: int, rule: MakeRule) -> None:
        self._n, self._rule = n, rule
        self._names: dict[tuple[int, int], str] = {}

    def alternatives(self, n_digits: int, remainder: int, digits: str) -> list[str]:
        """What may come, at most so many digits, the first of them among `digits`."""
        by_rest: dict[int, str] = {}
        for digit in digits:
            rest = (10 * remainder + int(digit)) % self._n
            by_rest[rest] = by_rest.get(rest, "") + digit
        found = []
        for rest, group in by_rest.items():
            follows = self._name(n_digits - 1, rest)
            if rest == 0:
                found.append(f"[{group}] {follows}?" if follows else f"[{group}]")
            elif follows:
                found.append(f"[{group}] {follows}")
        return found

    def _name(self, n_digits: int, remainder: int) -> str:
        """The rule for at most so many digits; none if there is no way on."""
        if n_digits == 0:
            return ""
        key = n_digits, remainder
        if key not in self._names:
            more = self.alternatives(n_digits, remainder, "0123456789")
            self._names[key] = self._rule(" | ".join(more)) if more else ""
        return self._names[key]


def _decimals(divisor: Decimal, low: Decimal | None, high: Decimal | None, rule: MakeRule) -> str:
    """Multiples of 0.5, 0.01 and so on, of which every whole number is one."""
    exponent = divisor.normalize().as_tuple().exponent
    places = -exponent if isinstance(exponent, int) else MAX_PLACES + 1
    if places > MAX_PLACES or 10**places % (n := int(divisor.scaleb(places))):
        raise MultipleError("a divisor that is no whole number has to divide 1: 0.5, 0.01")
    largest = 10 ** (MAX_DIGITS - places) - 1
    first, last = _whole(low, -largest), _whole(high, largest)
    if first > last:
        raise MultipleError("limits that are no whole numbers are too near to each other")
    fraction = rule(f'"." ({_fractions(n, 10**places - 1, places)})')
    parts = [rules.numbers(first, last, above=False, below=False, fraction=fraction)]
    for limit, end, sign in ((high, last, ""), (low, -first, "-")):
        if limit is None or limit == limit.to_integral_value():
            continue
        if end < 0:
            raise MultipleError("limits that are no whole numbers have to be on both sides of 0")
        rest = int((abs(limit) - end).scaleb(places))
        if rest >= n:
            parts.append(f'"{sign}{end}." ({_fractions(n, rest, places)})')
    return " | ".join(parts)


def _whole(limit: Decimal | None, largest: int) -> int:
    """The whole number nearest to a limit within it, at most the largest."""
    if limit is None or abs(limit) > abs(largest):
        return largest
    return math.floor(limit) if largest > 0 else math.ceil(limit)


def _fractions(n: int, most: int, places: int) -> str:
    """Digits behind a point: multiples of n up to `most`, which have so many places or fewer."""
    if n == 1 and most == 10**places - 1:
        return f"[0-9]{{1,{places}}}"
    if most // n >= MAX_LISTED:
        raise MultipleError(f"more than {MAX_LISTED} fractions")
    found = {"0": f'"0"{{1,{places}}}'}
    for value in range(n, most + 1, n):
        digits = str(value).zfill(places).rstrip("0")
        n_zeros = places - len(digits)
        found[digits] = f'"{digits}"' + (f' "0"{{0,{n_zeros}}}' if n_zeros else "")
    return " | ".join(found.values())


def _sign(low: Decimal | None, high: Decimal | None) -> str:
    if high is not None or low not in (None, 0):
        raise MultipleError("limits have to be few multiples apart, or the lowest 0")
    return "" if low == 0 else '"-"? '
