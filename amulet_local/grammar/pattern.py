"""Regular expressions of JSON Schema's `pattern` to the grammar of a JSON string's inside.

Knows nothing about schemas. Takes what is regular: characters, classes, groups, choices,
repetitions, and anchors at the ends of a choice. What looks around or back is refused. Characters
are those that a JSON string may have as they are, besides escaped quotes, backslashes, line ends
and tabs. Limits of the length are shared out among the parts of a pattern: where several of them
have no length of their own, some texts that would be valid aren't in the grammar, and none that
isn't.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amulet_local.grammar.utf8 import MAX_CODE_POINT, Ranges, complement, merged

MAX_REPETITIONS = 1000
MAX_DEPTH = 30
MAX_CHARS = 10_000  # a grammar has room for no more
_LONGEST = 16
"""Characters of a part that is repeated and has no length of its own, where the whole has one."""

_DIGITS: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 13), (32, 32), (160, 160), (8232, 8233), (65279, 65279))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_LINE_ENDS: Ranges = ((10, 10), (13, 13), (8232, 8233))
_CONTROLS = {"n": 10, "r": 13, "t": 9}
_ESCAPED = {34: r"\\\"", 92: r"\\\\", 10: r"\\n", 13: r"\\r", 9: r"\\t"}
"""Characters that JSON writes with a backslash, and how GBNF writes that."""
_UNWRITTEN: Ranges = ((0, 31), (34, 34), (92, 92), (127, 127), (0xD800, 0xDFFF))


class PatternError(ValueError):
    """A pattern that isn't one, or isn't regular; the message says what about it."""


@dataclass(frozen=True)
class PatternPart:
    """A part of a pattern.

    Attributes:
        text: its grammar, to be put in parentheses.
        low, high: its length in characters; infinity where there is no limit.
        fit: its grammar within narrower lengths; None where it can't be said.
    """

    text: str
    low: int
    high: float
    fit: Callable[[int, float], str | None]


def inside(pattern: str, low: int, high: int | None) -> str:
    """The grammar of texts in which a pattern is found, escaped as in a JSON string.

    Args:
        low, high: their length in characters; None is no limit.

    Raises:
        PatternError: it can't be said so.
    """
    if len(pattern) > MAX_CHARS:
        raise PatternError(f"it has {len(pattern)} characters, the limit is {MAX_CHARS}")
    text = _within(_PatternReader(pattern).read(), low, math.inf if high is None else high)
    if text is None:
        raise PatternError("together with such limits of the length isn't supported")
    return text


def _within(part: PatternPart, low: int, high: float) -> str | None:
    if part.low >= low and part.high <= high:
        return part.text
    low, high = max(part.low, low), min(part.high, high)
    return part.fit(low, high) if low <= high else None


def _either(parts: Sequence[PatternPart]) -> PatternPart:
    """One of some parts."""

    def fit(low: int, high: float) -> str | None:
        texts = [text for text in (_within(part, low, high) for part in parts) if text is not None]
        return " | ".join(f"({text})" for text in texts) or None

    return PatternPart(
        " | ".join(f"({part.text})" for part in parts),
        min(part.low for part in parts),
        max(part.high for part in parts),
        fit,
    )


def _in_a_row(parts: Sequence[PatternPart]) -> PatternPart:
    """Some parts, one after the other."""

    def fit(low: int, high: float) -> str | None:
        lows = [part.low for part in parts]
        for index, part in enumerate(parts):  # the first that can be longer are
            missing = low - sum(lows)
            lows[index] += int(max(0, min(missing, part.high - part.low)))
        if high == math.inf:
            return row_of(lows, [part.high for part in parts])
        room, highs = high - sum(lows), list(map(float, lows))
        spread = [part.high - least for part, least in zip(parts, lows, strict=True)]
        by_spread = sorted(range(len(parts)), key=spread.__getitem__)
        for n_before, index in enumerate(by_spread):  # equal shares, and what others leave of them
            share = min(spread[index], room // (len(parts) - n_before))
            highs[index] += share
            room -= share
        return row_of(lows, highs)

    def row_of(lows: Sequence[int], highs: Sequence[float]) -> str | None:
        texts = [_within(*of_part) for of_part in zip(parts, lows, highs, strict=True)]
        known = [text for text in texts if text is not None]
        return _row(known) if len(known) == len(parts) else None

    low, high = sum(part.low for part in parts), sum(part.high for part in parts)
    return PatternPart(_row([part.text for part in parts]), low, high, fit)


def _row(texts: Sequence[str]) -> str:
    return " ".join(f"({text})" for text in texts) or '""'


def _repeated(part: PatternPart, low: int, high: float) -> PatternPart:
    """A part, so often."""

    def fit(least: int, most: float) -> str | None:
        fewest = max(low, -(-least // part.low)) if part.low else low
        longest, often = part.high, min(high, MAX_REPETITIONS)
        if most == math.inf:
            often = high
        elif part.low < part.high:
            longest = max(part.low, min(part.high, _LONGEST, most // max(fewest, 1)))
        if most != math.inf and longest:
            often = min(often, most // longest)
        text = _within(part, part.low, longest)
        if text is None or not fewest <= min(often, MAX_REPETITIONS):
            return None
        return _counted(text, fewest, often) if fewest * part.low >= least else None

    return PatternPart(
        _counted(part.text, low, high),
        part.low * low,
        part.high * high if part.high and high else 0,
        fit,
    )


def _counted(text: str, low: int, high: float) -> str:
    return f"({text}){{{low},{'' if high == math.inf else int(high)}}}"


class _PatternReader:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def read(self) -> PatternPart:
        part = self._choice(0, is_whole=True)
        if self._at < len(self._pattern):
            raise PatternError("a parenthesis is closed that wasn't opened")
        return part

    def _choice(self, depth: int, *, is_whole: bool = False) -> PatternPart:
        if depth > MAX_DEPTH:
            raise PatternError(f"more than {MAX_DEPTH} groups within each other")
        parts = [self._sequence(depth, is_whole)]
        while self._take("|"):
            parts.append(self._sequence(depth, is_whole))
        return parts[0] if len(parts) == 1 else _either(parts)

    def _sequence(self, depth: int, is_whole: bool) -> PatternPart:
        any_text = _repeated(PatternPart("char", 1, 1, lambda *_: None), 0, math.inf)
        parts = []
        begins = is_whole and self._take("^")
        if is_whole and not begins:
            parts.append(any_text)
        ends = False
        while self._at < len(self._pattern) and self._peek() not in "|)":
            if is_whole and self._peek() == "$" and self._pattern[self._at + 1 :][:1] in ("", "|"):
                self._at += 1
                ends = True
                break
            parts.append(self._quantified(self._atom(depth)))
        if is_whole and not ends:
            parts.append(any_text)
        return parts[0] if len(parts) == 1 else _in_a_row(parts)

    def _quantified(self, part: PatternPart) -> PatternPart:
        low: int
        high: float
        if self._take("*"):
            low, high = 0, math.inf
        elif self._take("+"):
            low, high = 1, math.inf
        elif self._take("?"):
            low, high = 0, 1
        elif self._peek() == "{":
            low, high = self._counts()
        else:
            return part
        self._take("?")  # how much is taken first says nothing about what matches
        if max(low, 0 if high == math.inf else high) > MAX_REPETITIONS or high < low:
            raise PatternError(f"repetitions must be 0 to {MAX_REPETITIONS}, in this order")
        return _repeated(part, low, high)

    def _counts(self) -> tuple[int, float]:
        end = self._pattern.find("}", self._at)
        low, comma, high = self._pattern[self._at + 1 : max(end, self._at)].partition(",")
        if not (low.isdecimal() and len(low) < 6 and (not high or high.isdecimal())):
            raise PatternError("a repetition must be {N}, {N,} or {N,M}")
        self._at = end + 1
        if high:
            return int(low), int(high[:6])
        return int(low), math.inf if comma else int(low)

    def _atom(self, depth: int) -> PatternPart:
        char = self._next()
        if char == "(":
            if self._take("?") and not self._take(":"):
                raise PatternError("groups that look around or have names aren't supported")
            part = self._choice(depth + 1)
            if not self._take(")"):
                raise PatternError("a parenthesis isn't closed")
            return part
        if char == "[":
            return _set(self._class())
        if char == ".":
            return _set(complement(_LINE_ENDS))
        if char == "\\":
            return _set(self._escape())
        if char in "*+?{^$":
            raise PatternError(f"{char} isn't supported here")
        return _set(((ord(char), ord(char)),))

    def _class(self) -> Ranges:
        is_negative = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            low = self._member()
            single = len(low) == 1 and low[0][0] == low[0][1]
            if (
                single
                and self._peek() == "-"
                and self._pattern[self._at + 1 :][:1] not in ("]", "")
            ):
                self._at += 1
                high = self._member()
                if high[0][0] != high[-1][1] or high[0][0] < low[0][0]:
                    raise PatternError("a range in brackets must go up")
                low = ((low[0][0], high[0][0]),)
            ranges += low
        found = merged(ranges)
        return complement(found) if is_negative else found

    def _member(self) -> Ranges:
        char = self._next()
        return self._escape() if char == "\\" else ((ord(char), ord(char)),)

    def _escape(self) -> Ranges:
        char = self._next()
        if char.lower() in _CLASSES:
            ranges = _CLASSES[char.lower()]
            return ranges if char.islower() else complement(ranges)
        if char in _CONTROLS:
            return ((_CONTROLS[char], _CONTROLS[char]),)
        if char in "ux":
            digits = "".join(self._next() for _ in range(4 if char == "u" else 2))
            try:
                return ((int(digits, 16), int(digits, 16)),)
            except ValueError:
                raise PatternError(f"\\{char} needs hexadecimal digits") from None
        if char.isalnum():
            raise PatternError(f"\\{char} isn't supported")
        return ((ord(char), ord(char)),)

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise PatternError("it ends too early")
        self._at += 1
        return char


def _set(ranges: Ranges) -> PatternPart:
    """One of some characters, as JSON writes them."""
    plain = complement(merged([*complement(ranges), *_UNWRITTEN]))
    choices = []
    if plain:
        choices.append("[" + "".join(f"{_hex(a)}-{_hex(b)}" for a, b in plain) + "]")
    choices += [
        f'"{written}"'
        for code, written in _ESCAPED.items()
        if any(low <= code <= high for low, high in ranges)
    ]
    if not choices:
        raise PatternError("it asks for characters that aren't supported")
    return PatternPart(" | ".join(choices), 1, 1, lambda *_: None)


def _hex(code_point: int) -> str:
    return f"\\U{min(code_point, MAX_CODE_POINT):08X}"
