"""What keeps one thing of a form, and what is seen letter by letter.

Knows nothing about how several of them go together, which guard.py has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache

from amulet_local.llama.token_search import EDGE, Tokens, union
from amulet_local.preferences.form import Case, Count
from amulet_local.steering.guards.form.position import Position
from amulet_local.text.emojis import EMOJI


class Hold:
    """Keeps one thing of a form. By default it keeps nothing."""

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """The tokens that would break it here."""
        return ()

    def required(self, at: Position) -> Sequence[int] | Tokens:
        """The tokens of which one has to come here; none if any may."""
        return ()

    def is_full(self, at: Position) -> bool:
        """Whether the answer has to end here."""
        return False

    def lacks(self, text: str) -> bool:
        """Whether an answer with this text may not end yet."""
        return False

    def more(self, at: Position) -> Sequence[int] | Tokens:
        """What has to come where the answer would end and lacks something; none if any may."""
        return ()

    def accept(self, piece: bytes) -> None:
        """Take note of what comes next."""

    def unmet(self, text: str) -> str:
        """What the whole answer doesn't have as it was wished; empty if it has."""
        return ""


def unmet(n: int, unit: str, count: Count) -> str:
    """How many there are of something, if that isn't as many as were wished; empty if it is."""
    least, most = count
    if n >= (least or 0) and (most is None or n <= most):
        return ""
    units = unit if n == 1 else f"{unit}s"
    return f"the answer has {n} {units}, and the preference says {count.in_words}"


_MARK = rf"[^\w\s{EDGE}\"“„'‘«(¿¡]|[\d_]"
_NO_TEXT = rf"(?:{_MARK}|[ \t]+(?={_MARK}|{EDGE}))"
"""What begins no line of text: a list's mark or number, a heading's, spaces before one."""

PATTERNS = {
    "commas": "[,，、،]",
    "semicolons": "[;；؛]",
    "colons": "[:：]",
    "exclamation marks": "[!！¡]",
    "question marks": "[?？¿؟]",
    "digits": r"\d",
    "emojis": EMOJI.pattern,
    "parentheses": "[()（）]",
    "quotation marks": '["“”„«»「」]',
    "dashes": rf"[—–―]|--|(?<=[ {EDGE}])-(?=[ {EDGE}])",
    "asterisks": r"\*",
    "full stops": "[.。]",
    "punctuation": r"[.,;:!?…。，、；：！？]",
    "bold": r"\*\*|__",
    "markdown": rf"[*`]|__|(?<=\n){_NO_TEXT}",
    "headings": r"(?<=\n)\s*#",
    "bullets": rf"(?<=\n){_NO_TEXT}",
}
"""What tokens of each kind have in their text."""

AT_LINE_BEGIN = {
    "markdown": rf"(?<={EDGE}){_NO_TEXT}",
    "headings": rf"(?<={EDGE})\s*#",
    "bullets": rf"(?<={EDGE}){_NO_TEXT}",
}
"""What they have besides where a line begins."""

PART_OF_MOST_EMOJIS = b"\xf0"


@cache
def parts_of_emojis() -> tuple[bytes, ...]:
    """The first bytes of emojis, with which a token may end."""
    signs = {char.encode()[:2] for char in map(chr, range(0x2000, 0x3000)) if EMOJI.match(char)}
    return (PART_OF_MOST_EMOJIS, *sorted(signs))


@cache
def _letters_of(case: Case) -> str:
    """All letters in that case, as a pattern."""
    is_wanted = str.islower if case == "lower" else str.isupper
    return f"[{''.join(filter(is_wanted, map(chr, range(0x2FFF))))}]"


class NoCharacters(Hold):
    """Keeps an answer free of kinds of characters."""

    def __init__(self, kinds: Collection[str], letters: Iterable[str], case: Case | None) -> None:
        """Take note.

        Args:
            kinds: their names.
            letters: single ones, in lower case.
            case: that of all letters.
        """
        self._has_no_emojis = "emojis" in kinds
        self._patterns = [PATTERNS[kind] for kind in sorted(kinds)]
        self._patterns += [f"(?i:{letter})" for letter in sorted(letters)]
        if case is not None:
            self._patterns.append(_letters_of("upper" if case == "lower" else "lower"))
        self._at_line_begin = [
            AT_LINE_BEGIN[kind] for kind in sorted(kinds) if kind in AT_LINE_BEGIN
        ]
        self._always: Tokens | None = None

    def refused(self, at: Position) -> Tokens:
        """The tokens with such a character."""
        if self._always is None:
            parts = at.ending(parts_of_emojis()) if self._has_no_emojis else ()
            self._always = union([parts, *(at.having(pattern) for pattern in self._patterns)])
        if not (self._at_line_begin and at.begins_line):
            return self._always
        begun = [at.having(pattern) for pattern in self._at_line_begin]
        return union([self._always, *begun])


class NoWords(Hold):
    """Keeps an answer free of some words, in whatever case and split into whatever tokens."""

    def __init__(self, words: Collection[str]) -> None:
        """Take note.

        Args:
            words: in lower case.
        """
        self._words = sorted(words)

    def refused(self, at: Position) -> Sequence[int]:
        """The tokens that would begin one of them."""
        last = at.text[-1:]
        beginning = at.vocabulary.word_starts.beginning
        return sorted(
            token
            for word in self._words
            for token in beginning(word, in_word=last.isalnum(), ends_small=last.islower())
        )
