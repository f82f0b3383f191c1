"""Reads a grammar in GBNF, llama.cpp's notation, into rules over bytes.

Knows nothing about tokens or about what text matches. It takes what llama.cpp takes, but for
elements that are tokens (<...>), and refuses what would run away: no rule may call itself before
it has read anything, and sizes are limited. A character outside ASCII becomes the bytes that
spell it, so that a token may end in the middle of one.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar.recursion import looping_rule, rules_that_can_begin
from amulet_local.grammar.utf8 import MAX_CODE_POINT, Ranges, byte_sequences, complement, merged

MAX_CHARACTERS = 256 * 1024
"""Length of a grammar's text."""
MAX_ELEMENTS = 200_000
"""Elements of all rules, repetitions written out."""
MAX_REPETITIONS = 2000
"""As in llama.cpp."""
MAX_DEPTH = 100
"""Parentheses within parentheses."""

END = -(1 << 30)
"""The element after the last one of an alternative."""

_ANY: Ranges = complement(())
_NAME = frozenset(string.ascii_letters + string.digits + "-")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", **{char: char for char in '\\"[]-'}}
_HEX_LENGTHS = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True)
class Grammar:
    """Rules over bytes.

    Attributes:
        elements: all alternatives of all rules, one after the other, each followed by END. An
            element is a rule's number (>= 0) or ~i for any byte of byte_sets[i].
        starts: of each rule, where its alternatives begin in `elements`.
        byte_sets: sets of bytes as integers: bit b says that byte b belongs to it.
        root: number of the rule that the whole text has to match.
    """

    elements: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    byte_sets: tuple[int, ...]
    root: int


def parse(text: str) -> Grammar:
    """The grammar that `text` describes.

    Raises:
        InvalidParameterError: it isn't GBNF, too large, or may call itself without end.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidParameterError(
            f"grammar: it has {len(text)} characters, the limit is {MAX_CHARACTERS}"
        )
    return _Parser(text).grammar()


class _Parser:
    """Recursive descent over the text; `_at` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._rules: list[list[list[int]] | None] = []
        self._names: dict[str, int] = {}
        self._mentioned_at: list[int] = []
        self._owner: list[str] = []
        self._rule_name = ""
        self._byte_sets: dict[int, int] = {}
        self._classes: dict[Ranges, int] = {}
        self._n_elements = 0

    def grammar(self) -> Grammar:
        self._skip_space(lines=True)
        while self._peek():
            self._parse_rule()
        if "root" not in self._names:
            raise InvalidParameterError("grammar: there is no rule called 'root'")
        rules = []
        for number, alternatives in enumerate(self._rules):
            if alternatives is None:
                name = self._owner[number]
                raise self._error(
                    f"there is no rule called {name!r}", at=self._mentioned_at[number]
                )
            rules.append(alternatives)
        looping = looping_rule(rules)
        if looping is not None:
            raise InvalidParameterError(
                f"grammar: the rule {self._owner[looping]!r} may call itself before it has read "
                f"anything (left recursion); write the repetition with * or +"
            )
        if self._names["root"] not in rules_that_can_begin(rules):
            raise InvalidParameterError(
                "grammar: no text is as it wants: 'root' leads to rules alone that only call "
                "themselves"
            )
        elements: list[int] = []
        starts: list[tuple[int, ...]] = []
        for alternatives in rules:
            begins = []
            for alternative in alternatives:
                begins.append(len(elements))
                elements += [*alternative, END]
            starts.append(tuple(begins))
        return Grammar(
            elements=tuple(elements),
            starts=tuple(starts),
            byte_sets=tuple(self._byte_sets),
            root=self._names["root"],
        )

    def _parse_rule(self) -> None:
        started_at = self._at
        self._rule_name = self._name()
        number = self._named_rule(self._rule_name, started_at)
        if self._rules[number] is not None:
            raise self._error(f"a second rule called {self._rule_name!r}", at=started_at)
        self._skip_space(lines=False)
        if not self._text.startswith("::=", self._at):
            raise self._error("expected ::=")
        self._at += 3
        self._skip_space(lines=True)
        self._rules[number] = self._alternatives(depth=0)
        if self._peek() not in ("", "\r", "\n"):
            raise self._error("expected the end of the rule")
        self._skip_space(lines=True)

    def _alternatives(self, depth: int) -> list[list[int]]:
        result = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            self._skip_space(lines=True)
            result.append(self._sequence(depth))
        return result

    def _sequence(self, depth: int) -> list[int]:
        result: list[int] = []
        while True:
            item = self._item(depth)
            if item is None:
                return result
            self._skip_space(lines=depth > 0)
            while self._peek() and self._peek() in "*+?{":
                low, high = self._repetition(lines=depth > 0)
                item = self._repeat(item, low, high) if item else item
            self._count(len(item))
            result += item

    def _item(self, depth: int) -> list[int] | None:
        """The next element or literal; None at the end of the sequence."""
        char = self._peek()
        if char == '"':
            self._at += 1
            encoded = b""
            while self._peek() != '"':
                at, code_point = self._at, self._char()
                if 0xD800 <= code_point <= 0xDFFF:
                    raise self._error("a surrogate is no character", at=at)
                encoded += chr(code_point).encode()
            self._at += 1
            return [self._bytes_element(1 << byte) for byte in encoded]
        if char == "[":
            return [self._class_element(self._char_class())]
        if char == ".":
            self._at += 1
            return [self._class_element(_ANY)]
        if char == "(":
            if depth == MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} parentheses within each other")
            opened_at = self._at
            self._at += 1
            self._skip_space(lines=True)
            group = self._alternatives(depth + 1)
            if not self._peek():
                raise self._error("this parenthesis isn't closed", at=opened_at)
            if self._peek() != ")":
                raise self._error("expected )")
            self._at += 1
            return group[0] if len(group) == 1 else [self._add_rule(group)]
        if char and char in _NAME:
            at = self._at
            return [self._named_rule(self._name(), at)]
        if char and char in "<!":
            raise self._error("elements that are tokens aren't supported; describe text")
        if char and char in "*+?{":
            raise self._error("there is nothing to repeat")
        return None

    def _char_class(self) -> Ranges:
        """The characters of [...], which may be given as all others ([^...])."""
        self._at += 1
        negated = self._peek() == "^"
        self._at += negated
        ranges = []
        while self._peek() != "]":
            at = self._at
            low = high = self._char()
            if self._peek() == "-" and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._char()
            if low > high:
                raise self._error("this range of characters runs backwards", at=at)
            ranges.append((low, high))
        self._at += 1
        if not ranges:
            raise self._error("these brackets are empty")
        found = complement(merged(ranges)) if negated else merged(ranges)
        if not found:
            raise self._error("no character is in these brackets")
        return found

    def _char(self) -> int:
        """The code point of the next character or escape."""
        at = self._at
        char = self._peek()
        if not char:
            raise self._error("the grammar ends within quotes or brackets")
        self._at += 1
        if char != "\\":
            return ord(char)
        escape = self._peek()
        self._at += 1
        if escape in _ESCAPES:
            return ord(_ESCAPES[escape])
        n_digits = _HEX_LENGTHS.get(escape)
        if n_digits is None:
            raise self._error(f"unknown escape \\{escape}", at=at)
        digits = self._text[self._at : self._at + n_digits]
        if len(digits) < n_digits or not set(digits) <= set(string.hexdigits):
            raise self._error(f"\\{escape} needs {n_digits} hexadecimal digits", at=at)
        self._at += n_digits
        code_point = int(digits, 16)
        if code_point > MAX_CODE_POINT:
            raise self._error("there is no such character", at=at)
        return code_point

    def _repetition(self, *, lines: bool) -> tuple[int, int | None]:
        """Least and most times of *, +, ? or {...}."""
        at = self._at
        char = self._peek()
        self._at += 1
        self._skip_space(lines=lines)
        if char != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        low = high = self._integer(lines=lines)
        if low is None:
            raise self._error("expected a number")
        if self._peek() == ",":
            self._at += 1
            self._skip_space(lines=lines)
            high = self._integer(lines=lines)
        if self._peek() != "}":
            raise self._error("expected }")
        self._at += 1
        self._skip_space(lines=lines)
        if max(low, high or 0) > MAX_REPETITIONS:
            raise self._error(f"more than {MAX_REPETITIONS} repetitions", at=at)
        if high is not None and low > high:
            raise self._error(f"at least {low} and at most {high} times can't be", at=at)
        return low, high

    def _integer(self, *, lines: bool) -> int | None:
        start = self._at
        while self._peek() and self._peek() in string.digits:
            self._at += 1
        digits = self._text[start : self._at]
        self._skip_space(lines=lines)
        if not digits:
            return None
        return int(digits) if len(digits) < 10 else MAX_REPETITIONS + 1

    def _repeat(self, item: list[int], low: int, high: int | None) -> list[int]:
        self._count(low * len(item))
        result = item * low
        if high is None:
            number = self._add_rule([[], []])
            self._rules[number] = [[*item, number], []]
            self._count(len(item) + 1)
            return [*result, number]
        rest: list[int] = []
        for _ in range(high - low):  # S S' with S' ::= S S'' | and so on
            rest = [self._add_rule([[*item, *rest], []])]
        return result + rest

    def _named_rule(self, name: str, at: int) -> int:
        if name not in self._names:
            self._names[name] = self._add_rule(None, name, at)
        return self._names[name]

    def _add_rule(
        self, alternatives: list[list[int]] | None, owner: str | None = None, at: int = 0
    ) -> int:
        self._rules.append(alternatives)
        self._owner.append(self._rule_name if owner is None else owner)
        self._mentioned_at.append(at)
        self._count(sum(len(alternative) + 1 for alternative in alternatives or ()))
        return len(self._rules) - 1

    def _bytes_element(self, byte_set: int) -> int:
        return ~self._byte_sets.setdefault(byte_set, len(self._byte_sets))

    def _class_element(self, ranges: Ranges) -> int:
        if ranges not in self._classes:
            single, alternatives = 0, []
            for low, high in ranges:
                for sequence in byte_sequences(low, high):
                    sets = [(2 << last) - (1 << first) for first, last in sequence]
                    if len(sets) == 1:
                        single |= sets[0]
                    else:
                        alternatives.append([self._bytes_element(item) for item in sets])
            if single or not alternatives:
                alternatives.insert(0, [self._bytes_element(single)])
            is_one = len(alternatives) == len(alternatives[0]) == 1
            self._classes[ranges] = alternatives[0][0] if is_one else self._add_rule(alternatives)
        return self._classes[ranges]

    def _name(self) -> str:
        start = self._at
        while self._peek() and self._peek() in _NAME:
            self._at += 1
        if start == self._at:
            raise self._error("expected the name of a rule (letters, digits and -)")
        return self._text[start : self._at]

    def _skip_space(self, *, lines: bool) -> None:
        space = " \t\r\n" if lines else " \t"
        while char := self._peek():
            if char == "#":
                while self._peek() not in ("", "\r", "\n"):
                    self._at += 1
            elif char in space:
                self._at += 1
            else:
                return

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _count(self, n_elements: int) -> None:
        self._n_elements += n_elements
        if self._n_elements > MAX_ELEMENTS:
            raise self._error(f"its rules have more than {MAX_ELEMENTS} elements, too many")

    def _error(self, problem: str, *, at: int | None = None) -> InvalidParameterError:
        before = self._text[: self._at if at is None else at]
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        return InvalidParameterError(f"grammar: line {line}, column {column}: {problem}")
