"""The form of an answer. Knows nothing about how it is said."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple, TypeAlias

from amulet_local.text.scripts import SCRIPTS

Case: TypeAlias = Literal["lower", "upper", "title"]
Questions: TypeAlias = Literal["all", "first", "last"]


class Count(NamedTuple):
    """How many of something there are.

    Attributes:
        least, most: the bounds, themselves allowed; None where there is none.
    """

    least: int | None
    most: int | None

    @property
    def in_words(self) -> str:
        """Both bounds, as "2", "at most 3" or "2 to 4"."""
        if self.least == self.most:
            return f"{self.most}"
        if self.least is None:
            return f"at most {self.most}"
        return f"at least {self.least}" if self.most is None else f"{self.least} to {self.most}"


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of an answer; by default any, and false then.

    Attributes:
        without: kinds of characters that it has none of, by their names in characters.py.
        without_words: words that it doesn't have, in lower case.
        without_letters: letters that it doesn't have, in lower case.
        case: of all its letters; "title" is a capital letter for each word.
        sentences, items, paragraphs, lines: how many it has; an item is a line of a list, and blank
            lines don't count.
        emojis: how many it has.
        words, characters: most that it has.
        about_words: most words that it is likely to mean, where it says none.
        least_words: fewest that it has.
        words_of_sentences: most words of each sentence.
        mentions: texts that it has, each with how often, at least.
        marks: kinds of marks that it has, by their names in parts.py.
        opening, closing: what it begins and ends with.
        is_quoted: whether it stands in double quotation marks as a whole.
        sentence_end: the mark after each sentence, "!" or "?".
        has_line_per_sentence: whether each sentence has a line of its own.
        questions: which of its sentences are questions.
        first_mark: what it begins with where it is a list or a table, "1.", "-", "- [ ]" or "|".
        has_heading: whether it begins with a heading in Markdown.
        below: what stands below it, "P.S." with a text or "#" with a tag.
        script: in which it is written, by its name in text/scripts.py.
        language: in which it is, by its English name, where nothing else is asked for; its words
            can't be counted, so that no form is asked for by that.
        is_all: whether nothing else is asked for, and no strength is needed to keep it.
    """

    without: frozenset[str] = frozenset()
    without_words: frozenset[str] = frozenset()
    without_letters: frozenset[str] = frozenset()
    case: Case | None = None
    sentences: Count | None = None
    items: Count | None = None
    paragraphs: Count | None = None
    lines: Count | None = None
    emojis: Count | None = None
    words: int | None = None
    characters: int | None = None
    about_words: int | None = None
    least_words: int | None = None
    words_of_sentences: int | None = None
    mentions: tuple[tuple[str, int], ...] = ()
    marks: frozenset[str] = frozenset()
    opening: str = ""
    closing: str = ""
    is_quoted: bool = False
    sentence_end: str = ""
    has_line_per_sentence: bool = False
    questions: Questions | None = None
    first_mark: str = ""
    has_heading: bool = False
    below: str = ""
    script: str = ""
    language: str = ""
    is_all: bool = False

    def __bool__(self) -> bool:
        """Whether it asks for anything that can be counted."""
        return replace(self, language="", is_all=False) != ANY_FORM

    @property
    def is_kept_by_itself(self) -> bool:
        """Whether all of it is kept by the tokens that are offered, whatever the strength.

        Lists, headings, marks, emojis, mentions and questions come where the model is inclined to
        them, and "short" says no number.
        """
        return bool(self) and all(
            item.name in _KEPT_BY_ITSELF or getattr(self, item.name) == item.default
            for item in fields(self)
        )

    def with_also(self, other: Form) -> Form:
        """Both at once; where they contradict each other, this one."""
        both = {}
        for item in fields(self):
            ours, theirs = getattr(self, item.name), getattr(other, item.name)
            both[item.name] = ours | theirs if isinstance(ours, frozenset) else ours or theirs
        return Form(**both)

    @property
    def has_length(self) -> bool:
        """Whether it says in numbers how long the answer is."""
        counts = (
            self.sentences,
            self.items,
            self.paragraphs,
            self.lines,
            self.words,
            self.characters,
        )
        return any(count is not None for count in counts)

    @property
    def in_words(self) -> str:
        """What it asks for, as a list."""
        kinds = [f"no {kind}" for kind in sorted(self.without)]
        kinds += [f"not the word {word!r}" for word in sorted(self.without_words)]
        kinds += [f"not the letter {letter!r}" for letter in sorted(self.without_letters)]
        if self.case is not None:
            kinds.append(f"{self.case} case")
        kinds += [
            f"{count.in_words} {unit}"
            for unit in ("sentences", "items", "paragraphs", "lines", "emojis")
            if (count := getattr(self, unit)) is not None
        ]
        kinds += [
            f"at most {most} {unit}"
            for unit in ("words", "characters")
            if (most := getattr(self, unit)) is not None
        ]
        if self.least_words:
            kinds.append(f"at least {self.least_words} words")
        if self.words_of_sentences:
            kinds.append(f"at most {self.words_of_sentences} words in a sentence")
        if self.about_words:
            kinds.append(f"about {self.about_words} words at most")
        kinds += [f"{text!r} in it" + (f" {n} times" if n > 1 else "") for text, n in self.mentions]
        kinds += [f"{kind} in it" for kind in sorted(self.marks)]
        if self.opening:
            kinds.append(f"begins with {self.opening!r}")
        if self.closing:
            kinds.append(f"ends with {self.closing!r}")
        if self.is_quoted:
            kinds.append("in quotation marks")
        if self.sentence_end:
            kinds.append(f"each sentence ends with {self.sentence_end!r}")
        if self.has_line_per_sentence:
            kinds.append("each sentence on a line of its own")
        if self.questions:
            which = {"all": "only questions", "first": "begins with a question"}
            kinds.append(which.get(self.questions, "ends with a question"))
        if self.first_mark:
            made_of = "a table" if self.first_mark == "|" else "a list"
            kinds.append(f"{made_of}, from {self.first_mark!r} on")
        if self.has_heading:
            kinds.append("a heading first")
        if self.below:
            kinds.append(f"{self.below!r} below it")
        if self.script:
            kinds.append(f"in {SCRIPTS[self.script].in_words}")
        return ", ".join(kinds)

    def without_alone(self) -> Form:
        """What of it says what an answer doesn't have."""
        return Form(
            without=self.without,
            without_words=self.without_words,
            without_letters=self.without_letters,
        )


_KEPT_BY_ITSELF = frozenset(
    (
        *("without", "without_words", "without_letters", "case", "is_quoted"),
        *("sentences", "words", "characters", "words_of_sentences"),
        *("opening", "closing", "has_line_per_sentence"),
    )
)

ANY_FORM = Form()
"""Any form."""
