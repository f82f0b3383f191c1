"""Figures and foreign text as people read them: percentages, times, visible control characters.

Knows nothing about where they come from or where they are shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

_ACTING = (
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's Bidi_Control
    "]"
)
_DROPPED = "\r\u061c\u200e\u200f"
"""Shown as nothing: the half of a line end, and marks that right-to-left text is full of."""

MOST_LINES = 16

_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_COUNTED = math.log(1e15)
"""Logarithm of the factor from which on no number is said."""


def visible(text: str) -> str:
    """`text` with every character that would act on its surroundings made visible, or dropped.

    Newlines and tabs stay. The result of two pieces is that of the whole, wherever it was cut.
    """
    return text if text.isprintable() else re.sub(_ACTING, _escape, text)


def printable(text: str) -> str:
    """`text` in one line, with every character that can't be printed as `repr` writes it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def a_line_each(names: Sequence[str], line: Callable[[str], str]) -> list[str]:
    """A line for each name, and one for all behind the first MOST_LINES: a request may have as many
    as there is room for in it."""
    lines = [line(name) for name in names[:MOST_LINES]]
    n_others = len(names) - MOST_LINES
    return [*lines, f"and so it is with {n_others:,} others"] if n_others > 0 else lines


def n_tokens(count: int) -> str:
    """So many tokens: "1 token", "2 tokens"."""
    return f"{count} token{'s' * (count != 1)}"


def cut_after(count: int) -> str:
    """That an answer ended after so many tokens because no more were allowed."""
    return f"the answer was cut after {n_tokens(count)}"


def percent(log_probability: float | None) -> str:
    """exp of a natural logarithm: "38.2%", "0.012%"; "-" for None."""
    if log_probability is None:
        return "-"
    share = 100 * math.exp(log_probability)
    if share == 0:
        return "0%"
    if share < 1e-3:
        return "<0.001%"
    return f"{share:.1f}%" if share >= 1 else f"{share:.2g}%"


def factor(log_ratio: float | None, times: str = "x") -> str:
    """exp of a natural logarithm as a factor: "x12", "x0.33", "x1.9 million"; "-" for None.

    One below a ten-thousandth is said by what it is divided by: "/1.9 million".

    Args:
        times: what stands before it; a "×" goes with "÷".
    """
    if log_ratio is None:
        return "-"
    if math.isinf(log_ratio):
        return f"{times}0" if log_ratio < 0 else "from 0%"
    if abs(log_ratio) >= math.log(1e4):
        by = times if log_ratio > 0 else "÷" if times == "×" else "/"
        is_huge = abs(log_ratio) >= _MOST_COUNTED
        return f">{by}1 quadrillion" if is_huge else f"{by}{_times(abs(log_ratio))}"
    ratio = math.exp(log_ratio)
    if ratio >= 9.5:
        return f"{times}{ratio:,.0f}"
    return f"{times}{ratio:.1f}" if ratio >= 0.95 else f"{times}{ratio:.2g}"


def times_likelier(log_ratio: float | None) -> str:
    """exp of a natural logarithm in words: "12 times likelier than plain"; empty for None."""
    if log_ratio is None:
        return ""
    if math.isinf(log_ratio):
        return "made impossible" if log_ratio < 0 else "impossible under the plain prompt"
    if abs(log_ratio) < math.log(1.05):
        return "as likely as plain"
    direction = "likelier" if log_ratio > 0 else "less likely"
    return f"{_times(abs(log_ratio))} times {direction} than plain"


def _times(log_ratio: float) -> str:
    if log_ratio >= _MOST_COUNTED:
        return "over a quadrillion"
    ratio = math.exp(log_ratio)
    for start, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e4, "thousand")):
        if ratio >= 0.9995 * start:  # 999,600 is rounded to a million
            count = ratio / (1e3 if start == 1e4 else start)
            return f"{count:.1f} {name}" if count < 9.5 else f"{count:.0f} {name}"
    return f"{ratio:,.0f}" if ratio >= 9.5 else f"{ratio:.1f}"


def strip(values: list[float], *, ascii_only: bool = False) -> str:
    """A character for each value of 0 or more: a block of its height, or a digit 0 to 7.

    The largest value has the full height.
    """
    marks = "01234567" if ascii_only else _BLOCKS
    top = max(values, default=0.0) or 1.0
    return "".join(marks[min(7, int(8 * value / top))] for value in values)


def duration(seconds: float) -> str:
    """A time to wait, in the unit that a person would use."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def speed(tokens_per_second: float) -> str:
    """A speed in three digits, or in all that stand before the point: "48.9", "1550"."""
    digits = ".0f" if tokens_per_second >= 1000 else ".3g"
    return f"{tokens_per_second:{digits}}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _DROPPED:
        return ""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
