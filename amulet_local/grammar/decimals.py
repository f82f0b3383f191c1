"""Numbers between limits that are decimals, as rules: `"minimum": 0.5` of a JSON Schema.

Knows nothing about schemas. A magnitude is its whole part and a fraction of so many places as the
limits have; behind them more digits may follow where every number that begins so is within.
"""

from __future__ import annotations

from decimal import Decimal

from amulet_local.grammar import json_rules as rules
from amulet_local.grammar.schema_keywords import MAX_DIGITS

MAX_PLACES = 9
"""Digits of a limit behind its point."""
_MORE = 6
"""Digits that may follow those."""


class DecimalError(ValueError):
    """There is no rule for numbers within these limits."""


def decimals(low: Decimal | None, high: Decimal | None, *, above: bool, below: bool) -> str:
    """Numbers from `low` to `high`; `above` and `below` leave the limits out.

    Raises:
        DecimalError: there is none, or a limit has too many digits.
    """
    places = max(1, *(_places(value) for value in (low, high) if value is not None))
    whole = max(len(str(int(abs(value)))) for value in (low, high) if value is not None)
    room = MAX_DIGITS if above or below else MAX_DIGITS + MAX_PLACES
    if places > MAX_PLACES or whole + places + _MORE > room:
        raise DecimalError("one has too many digits")  # or a double is both it and what is nearest
    if low is not None and high is not None and (low > high or (low == high and (above or below))):
        raise DecimalError("no number is within these limits")
    parts = []
    if low is None or low < 0:
        ends = high is not None and high <= 0
        nearest = -high if ends and high is not None else Decimal(0)
        farthest = None if low is None else -low
        if not (farthest == 0 and above):
            parts += _magnitudes('"-" ', nearest, farthest, places, ends and below, above)
    if high is None or high > 0 or (high == 0 and not below):
        starts = low is not None and low >= 0
        nearest = low if starts and low is not None else Decimal(0)
        parts += _magnitudes("", nearest, high, places, starts and above, below)
    return " | ".join(parts)


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else MAX_PLACES + 1


def _magnitudes(
    sign: str, low: Decimal, high: Decimal | None, places: int, above: bool, below: bool
) -> list[str]:
    """Alternatives for numbers of one sign whose magnitude is from `low` to `high`."""
    first, begin = _parted(low, places)
    if high is None:
        begun = _with_fraction(first, begin, None, places, above, False)
        return [
            f"{sign}{part}" for part in (*begun, f"{rules.magnitudes(first + 1, None)} fraction?")
        ]
    last, end = _parted(high, places)
    if first == last:
        return [sign + part for part in _with_fraction(first, begin, end, places, above, below)]
    parts = _with_fraction(first, begin, None, places, above, False)
    if first + 1 < last:
        parts.append(f"{rules.magnitudes(first + 1, last - 1)} fraction?")
    parts += _with_fraction(last, 0, end, places, False, below)
    return [sign + part for part in parts]


def _parted(value: Decimal, places: int) -> tuple[int, int]:
    """The whole part, and so many places behind the point as a whole number."""
    scaled, unit = int(value.scaleb(places)), int(10**places)
    return scaled // unit, scaled % unit


def _with_fraction(
    whole: int, begin: int, end: int | None, places: int, above: bool, below: bool
) -> list[str]:
    """A whole number with a fraction from `begin` to `end` units of its last place; None is all.

    Fewer places may be written, and more where the number stays within.
    """
    number = rules.quoted(str(whole))
    parts = []
    if begin == 0 and not above and not (end == 0 and below):
        parts.append(number)
    for n in range(1, places):
        unit = 10 ** (places - n)
        lowest = begin // unit + 1 if above else -(-begin // unit)
        highest = 10**n - 1 if end is None else (end - 1) // unit if below else end // unit
        if lowest <= highest:
            parts.append(f"{number} {_digits(lowest, highest, n)}")
    lowest = begin + 1 if above else begin
    highest = 10**places - 1 if end is None else end - 1
    if lowest <= highest:
        parts.append(f"{number} {_digits(lowest, highest, places)} [0-9]{{0,{_MORE}}}")
    if above and (end is None or begin < end):
        more = f'"0"{{0,{_MORE - 1}}} [1-9] [0-9]{{0,{_MORE - 1}}}'
        parts.append(f"{number} {_digits(begin, begin, places)} {more}")
    if end is not None and not below and (begin < end or not above):
        parts.append(f'{number} {_digits(end, end, places)} "0"{{0,{_MORE}}}')
    return parts


def _digits(low: int, high: int, n: int) -> str:
    """A point, and n digits from `low` to `high`."""
    return f'"." {rules.same_length(str(low).zfill(n), str(high).zfill(n))}'
