"""Numbers that are multiples of one, as rules: `multipleOf` of a JSON Schema.

Knows nothing about schemas. A decimal number is read digit by digit, and what counts of the digits
so far is their remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

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


def multiples(divisor: Decimal, low: int | None, high: int | None, rule: MakeRule) -> str:
    """The multiples of a number, from `low` to `high`.

    Args:
        divisor: above 0.

    Raises:
        MultipleError: there are too many remainders, or limits that aren't simple.
    """
    if divisor != divisor.to_integral_value():
        return _decimals(divisor, low, high)
    n = int(divisor)
    if low is not None and high is not None and (high - low) // n < MAX_LISTED:
        listed = [str(value) for value in range(-(-low // n) * n, high + 1, n)]
        if not listed:
            raise MultipleError("no multiple is within these limits")
        return " | ".join(f'"{value}"' for value in listed)
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


def _decimals(divisor: Decimal, low: int | None, high: int | None) -> str:
    """Multiples of 0.1, 0.01 and so on: so many decimals at most."""
    _, digits, exponent = divisor.normalize().as_tuple()
    if digits != (1,) or not isinstance(exponent, int) or -exponent > MAX_PLACES:
        raise MultipleError("a divisor that is no whole number has to be 0.1, 0.01 or the like")
    whole = f'("0" | [1-9] [0-9]{{0,{MAX_DIGITS - 1}}})'
    return f'{_sign(low, high)}{whole} ("." [0-9]{{1,{-exponent}}})?'


def _sign(low: int | None, high: int | None) -> str:
    if high is not None or low not in (None, 0):
        raise MultipleError("limits have to be few multiples apart, or the lowest 0")
    return "" if low == 0 else '"-"? '
