"""An answer in the pieces that checks look at: prose, lines, items, sentences, words.

Knows nothing about preferences. Markdown is read as far as it matters here: fenced code is no
prose, a heading is no sentence, and marks of items and emphasis aren't part of one. What stands
after the last whole sentence or line of an answer that was cut off at a limit is left out of the
whole ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from amulet_local.text.emojis import EMOJI

_FENCED = re.compile(r"^ {0,3}(```|~~~)[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.M | re.S)
_INLINE_CODE = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]+)\1(?!`)")
_ITEM = re.compile(r"\s*(?:[-*•+]|\d{1,3}[.)])\s+(?=\S)")
_BULLET = re.compile(r"\s*(?:\*[^*]|-(?!--)|•)")
_NUMBERED = re.compile(r"\s*(?:\*\*|#+ )?(\d{1,3})[.)]\s*\S")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+\S")
_BOLD_LINE = re.compile(r"\s*(\*\*|__)[^*_]+\1:?\s*$")
_TABLE_ROW = re.compile(r"\s*\|.*\|\s*$")
_RULE = re.compile(r"\s*([-*_=])(?:\s*\1){2,}\s*$")
_QUOTE = re.compile(r"\s*(?:>\s?)+")
_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_CLOSED_BY = "\"'”’»)*_]`」』"
_CLOSING = re.escape(_CLOSED_BY)
_END = re.compile(
    rf"[.!?…]{{1,9}}[{_CLOSING}]{{0,9}}(?=\s|$|{EMOJI.pattern})|[。！？]{{1,9}}[{_CLOSING}]{{0,9}}"
)
_EMOJIS = re.compile(rf"(?:\s*(?:{EMOJI.pattern}))*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:e\.g|i\.e|etc|vs|cf|mr|mrs|ms|dr|prof|st|jr|sr|no|fig|approx|ca|al|inc|ltd"
    r"|dept|p\.s|[a-z]|(?:[a-z]\.)+[a-z])\.$",
    re.I,
)
_NEVER_LAST = re.compile(r"(?:e\.g|i\.e|vs|cf|mr|mrs|ms|dr|prof|fig|approx|p\.s)\.$", re.I)


@dataclass(frozen=True)
class Sentence:
    """A sentence, or what stands like one.

    Attributes:
        text: with its mark at the end and emojis after it, without marks of Markdown at its start.
        mark: the marks that it ends with, e.g. "." or "?!"; empty without.
        is_item: it is an item of a list, or the end of one.
    """

    text: str
    mark: str
    is_item: bool


@dataclass(frozen=True)
class AnswerText:
    """A question and the text of an answer to it.

    Attributes:
        question: what was asked.
        text: the answer.
        cut: it was cut off, at a limit of tokens for instance.
    """

    question: str
    text: str
    cut: bool = False

    @cached_property
    def prose(self) -> str:
        """The text without fenced code, and without the marks of code in a line."""
        return _INLINE_CODE.sub(r"\2", _FENCED.sub("\n", self.text)).strip()

    @cached_property
    def lines(self) -> list[str]:
        """All lines that have something in them."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    @cached_property
    def whole_lines(self) -> list[str]:
        """The lines without the last one of a cut answer, unless a line break ends it."""
        return self.lines[:-1] if self.cut and not self.text.endswith("\n") else self.lines

    @cached_property
    def words(self) -> list[str]:
        """Words of the prose in lower case; what an apostrophe or a hyphen joins is one."""
        return words_of(self.prose)

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Sentences and items of the prose, headings and rows of tables left out.

        The last one of a cut answer is left out, unless it has its mark.
        """
        found = [part for block in _blocks(self.prose) for part in _split(*block)]
        if found and self.cut and not found[-1].mark:
            found.pop()
        return found

    @cached_property
    def paragraphs(self) -> list[str]:
        """Stretches of the text between blank lines."""
        return [part.strip() for part in re.split(r"\n\s*\n", self.text) if part.strip()]

    @cached_property
    def bullets(self) -> list[str]:
        """Lines that begin with *, - or a bullet."""
        return [line for line in self.lines if _BULLET.match(line) and not _RULE.match(line)]

    @cached_property
    def numbers(self) -> list[int]:
        """Numbers that lines begin with, as in "2. Rest"."""
        return [int(match[1]) for line in self.lines if (match := _NUMBERED.match(line))]

    @cached_property
    def headings(self) -> list[str]:
        """Lines with the mark of a heading."""
        return [line for line in self.prose.splitlines() if _HEADING.match(line)]

    @cached_property
    def readable(self) -> str:
        """The whole sentences, a line each, for formulas of readability."""
        return "\n".join(sentence.text for sentence in self.sentences)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, with straight apostrophes."""
    return [match[0].lower().replace("’", "'") for match in _WORD.finditer(text)]


def is_heading(line: str) -> bool:
    """Whether a line is a heading, by its mark or as a line in bold."""
    return bool(_HEADING.match(line) or _BOLD_LINE.match(line))


def is_item(line: str) -> bool:
    """Whether a line is an item of a list."""
    return bool(_ITEM.match(line))


def _blocks(prose: str) -> list[tuple[str, bool]]:
    """Runs of lines that may share a sentence, and whether each is an item."""
    blocks: list[tuple[list[str], bool]] = []
    open_block = False
    for line in prose.splitlines():
        line = _QUOTE.sub("", line, count=1)
        if not line.strip() or is_heading(line) or _RULE.match(line) or _TABLE_ROW.match(line):
            open_block = False
        elif is_item(line):
            blocks.append(([_ITEM.sub("", line, count=1)], True))
            open_block = True
        elif open_block:
            blocks[-1][0].append(line)
        else:
            blocks.append(([line], False))
            open_block = True
    return [("\n".join(lines).strip(), item) for lines, item in blocks]


def _split(block: str, item: bool) -> list[Sentence]:
    """The sentences of a block; its rest without a mark is one as well."""
    has_capitals = any(character.isupper() for character in block)
    found = []
    start = 0
    for match in _END.finditer(block):
        if match.start() < start or _goes_on(block, match, has_capitals):
            continue
        end = match.end()
        emojis = _EMOJIS.match(block, end)
        end = emojis.end() if emojis else end
        if words_of(block[start:end]):
            mark = match[0].rstrip(_CLOSED_BY)
            found.append(Sentence(block[start:end].strip(), mark, item))
            start = end
    rest = block[start:].strip()
    if words_of(rest):
        found.append(Sentence(rest, "", item))
    return found


def _goes_on(block: str, end: re.Match[str], has_capitals: bool) -> bool:
    """Whether the sentence goes on after the mark: after an abbreviation, or after speech."""
    before = block[max(0, end.start() - 20) : end.start() + 1]
    after = block[end.end() : end.end() + 20].lstrip()
    if not after:
        return False
    if end[0][0] == "." and _NEVER_LAST.search(before):
        return True
    if not has_capitals or not after[0].islower():
        return False
    return bool(_ABBREVIATION.search(before)) or len(end[0]) > 1
