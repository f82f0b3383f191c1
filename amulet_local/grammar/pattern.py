"""Regular expressions of JSON Schema's `pattern` to the grammar of a JSON string's inside.

Knows nothing about schemas. Takes what is regular: characters, classes, groups, choices,
repetitions, and anchors at the ends of a choice. What looks around or back is refused. Characters
are those that a JSON string may have as they are, besides escaped quotes, backslashes, line ends
and tabs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from amulet_local.grammar.utf8 import MAX_CODE_POINT, Ranges, complement, merged

MAX_REPETITIONS = 1000
MAX_DEPTH = 30
MAX_CHARS = 10_000  # a grammar has room for no more

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
        repeated: of one character in a class, repeated: the class's grammar.
    """

    text: str
    low: int
    high: float
    repeated: str = ""


def inside(pattern: str, low: int, high: int | None) -> str:
    """The grammar of texts in which a pattern is found, escaped as in a JSON string.

    Args:
        low, high: their length in characters; None is no limit.

    Raises:
        PatternError: it can't be said so.
    """
    if len(pattern) > MAX_CHARS:
        raise PatternError(f"it has {len(pattern)} characters, the limit is {MAX_CHARS}")
    found = _PatternReader(pattern).read()
    most = math.inf if high is None else high
    if found.low >= low and found.high <= most:
        return found.text
    least, most = max(found.low, low), min(found.high, most)
    if found.repeated and least <= most and most != math.inf and most <= MAX_REPETITIONS:
        return f"{found.repeated}{{{least},{int(most)}}}"
    raise PatternError("together with such limits of the length isn't supported")


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
        if len(parts) == 1:
            return parts[0]
        return PatternPart(
            " | ".join(f"({part.text})" for part in parts),
            min(part.low for part in parts),
            max(part.high for part in parts),
        )

    def _sequence(self, depth: int, is_whole: bool) -> PatternPart:
        any_text = PatternPart("char*", 0, math.inf)
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
        if len(parts) == 1:
            return parts[0]
        text = " ".join(f"({part.text})" for part in parts) or '""'
        return PatternPart(text, sum(part.low for part in parts), sum(part.high for part in parts))

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
        most = "" if high == math.inf else f"{int(high)}"
        is_character = part.low == part.high == 1
        return PatternPart(
            f"({part.text}){{{low},{most}}}",
            part.low * low,
            part.high * high if part.high and high else 0,
            f"({part.text})" if is_character else "",
        )

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
            return PatternPart(part.text, part.low, part.high)
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
    return PatternPart(" | ".join(choices), 1, 1)


def _hex(code_point: int) -> str:
    return f"\\U{min(code_point, MAX_CODE_POINT):08X}"
