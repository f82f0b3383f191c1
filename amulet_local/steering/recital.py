"""Notices where the next word would recite the preference.

Knows nothing about tokens or logits. A preference in the prompt makes its own words likelier,
whatever they mean, and a scale above 1 strengthens that until the answer spells its instruction
out. What is decided is whether a word may begin; a word that has begun is let be.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile

from amulet_local.preferences.styles import IN_THE_STYLE
from amulet_local.preferences.wording import (
    EXAMPLE_FRAME,
    FACTS_FRAME,
    INSTRUCTION_WORDS,
    QUALITY_FRAME,
    unframed,
)
from amulet_local.text.quotations import quoted_in, without_said
from amulet_local.text.words import (
    ARTICLES,
    LIKENESS,
    OTHER_ARTICLES,
    GrowingWords,
    is_unspaced,
    word_set,
    words_of,
)

HELD_AFTER, REFUSED_AFTER = 2, 3
"""Words of the instruction at the answer's end after which the next one isn't strengthened, and
after which it is refused. The last of three words is refused; the last of two isn't: an answer that
may not say "en français" says "en anglais", and goes on in English. Where the second of two
is an article of another language, they are enough: what may not follow "wie ein mürrischer" is said
in English, "older"."""

TOLD_AFTER = 6
"""The same for facts, which asked for nothing: a company that may not be called "Blue Kite" is
called "Blue Sky", and who is allergic to peanuts has an allergy to nuts."""

NAME_WORDS = 3
"""Words of a name or a role at most, "grumpy old sailor"."""

_BEHIND_A_NAME = word_set("and as but for from in of on or that to using who with without")

_FIGURE = re.compile(
    r"\b(?:advantages and disadvantages|before and after|do'?s and don'?ts|pros and cons|"
    r"questions? and answers?|strengths and weaknesses)\b",
    re.I,
)
"""What is said of any subject in these words, and recites no wish for it."""

OPENING_WORDS = 16
"""Words of an answer in which it may announce what it is."""

CONTENT_LETTERS = 4
"""Letters from which on a word of the opening says something by itself."""

UNSPACED_LETTERS = 3
"""Letters from which on a run of a script without spaces is a phrase, and not one word."""

UNSPACED_LIKENESS = ("像", "就像", "好像", "如同", "正如", "作为", "作為", "まるで")
"""With which an answer in such a script says what it is like."""

_PHRASE = re.compile(r"[,.;:!?\n]+(?=\s|$)|[、，。；：！？]+")

_STYLE = re.compile(rf"\s*{IN_THE_STYLE} (?:an? )?(?=\w)", re.I)

Next = defaultdict[tuple[str, ...], set[str]]


class Recital:
    """The words that would recite one of several instructions.

    A compound, which has no space in it, counts as one word, and is decided on at its first part.
    What an answer is asked to say, in quotation marks, is left out. What the answer says it is like
    before it begins, "As a pirate,", may have all words: it isn't handed out.
    """

    def __init__(self, instructions: Iterable[str], plain: str) -> None:
        """Find what follows what.

        Args:
            instructions: what each preference adds to the prompt.
            plain: the prompt without it, whose runs of words are no recital.
        """
        self._held: Next = defaultdict(set)
        self._refused: Next = defaultdict(set)
        self._opening: Next = defaultdict(set)
        self._second: Next = defaultdict(set)
        self._first: set[str] = set()
        self._telling: set[str] = set()
        self._likenesses: set[str] = set()
        self._plain = f" {' '.join(words_of(plain))} "
        for instruction in instructions:
            if instruction.lstrip().startswith((FACTS_FRAME, EXAMPLE_FRAME)):
                self._note_told(instruction)
                continue
            self._note_frame(instruction)
            for part in without_said(self._without_style(unframed(instruction))):
                self._note(_FIGURE.sub(",", part))
        runs = (*self._held, *self._refused, *self._opening)
        self._longest = max(map(len, runs), default=0)

    def _note(self, part: str) -> None:
        phrases = [
            units
            for phrase in _PHRASE.split(part)
            if (units := [words for text in phrase.split() if (words := words_of(text))])
        ]
        units = [unit for phrase in phrases for unit in phrase]
        if len(units) == 3 and units[0] == units[2]:
            return  # a figure of speech, such as "step by step"
        n_refused = min(REFUSED_AFTER, max(len(units) - 1, 2))
        for i, unit in enumerate(units):
            for n, following in ((HELD_AFTER, self._held), (n_refused, self._refused)):
                if n <= i:
                    self._follow(following, units[i - n : i], unit)
            if i > 1 and units[i - 1][-1] in OTHER_ARTICLES and _says_something(units, i):
                self._follow(self._refused, units[i - 2 : i], unit)
        for phrase in phrases:
            if len(phrase) > 1 and len(phrase[0]) == 1 and _says_something(phrase, 1):
                self._follow(self._second, phrase[:1], phrase[1])
            for i in range(1, len(phrase)):
                if len(phrase) > 2 and _says_something(phrase, i):
                    self._follow(self._opening, phrase[i - 1 : i], phrase[i])
        if len(units) > 1 or any(map(_is_more_than_a_sign, units)):
            first = {phrase[0][0] for phrase in phrases} - ARTICLES
            first |= {words[0] for quoted in quoted_in(part) if (words := words_of(quoted))}
            first |= {word for phrase in phrases for word in _who_it_is_like(phrase)}
            self._first |= first - {word for word in units[0][:1] if word in INSTRUCTION_WORDS}
        self._first |= {word for word in UNSPACED_LIKENESS if is_unspaced(part)}
        self._likenesses |= LIKENESS.intersection(words_of(part))
        self._telling |= {word for unit in units for word in unit if len(word) >= CONTENT_LETTERS}

    def _note_told(self, instruction: str) -> None:
        """What is told is to be said where it helps, but not at length."""
        units = [words for text in instruction.split() if (words := words_of(text))]
        for i in range(TOLD_AFTER, len(units)):
            self._follow(self._refused, units[i - TOLD_AFTER : i], units[i])

    def _note_frame(self, instruction: str) -> None:
        """What wording.py puts before a quality opens no answer, and recites with what follows."""
        frame, words = words_of(QUALITY_FRAME), words_of(instruction)
        if words[: len(frame)] == frame and len(words) > len(frame):
            self._follow(self._opening, [frame[:-1]], frame[-1:])
            self._follow(self._refused, [frame], [words[len(frame)]])

    def _without_style(self, wish: str) -> str:
        """Whose style a wish is for; no answer opens by saying that it is in it."""
        found = _STYLE.match(wish)
        if not found:
            return wish
        style, whose = words_of(IN_THE_STYLE), wish[found.end() :]
        self._follow(self._opening, [style[:-2]], style[-2:-1])
        self._follow(self._refused, [style], words_of(whose)[:1])
        self._first |= set(_names(words_of(_PHRASE.split(whose)[0])))
        return whose

    def _follow(self, following: Next, before: Sequence[list[str]], unit: Sequence[str]) -> None:
        if unit[0].isdigit():
            return  # "HAL 9000" would be another one
        context = tuple(word for words in before for word in words)
        if f" {' '.join((*context, *unit))} " not in self._plain:
            following[context].add(unit[0])

    def held(self, answer: GrowingWords) -> set[str]:
        """Words that would go on with what may be a recital."""
        return set() if self._is_likened(answer) else self._after(answer, self._held)

    def refused(self, answer: GrowingWords) -> set[str]:
        """Words that would recite."""
        if self._is_likened(answer):
            return set()
        refused = self._after(answer, self._refused)
        if answer.n_words < OPENING_WORDS:
            refused |= self._after(answer, self._opening)
        if answer.last_opens and answer.n_words <= OPENING_WORDS:
            refused |= self._second.get((answer.words[-1],), set())
        return refused

    def openers(self, answer: GrowingWords) -> set[str]:
        """Words with which what the opening says now would begin to recite."""
        if answer.n_words >= OPENING_WORDS:
            return set()
        if answer.last_opens and answer.words[-1] in OTHER_ARTICLES and not answer.in_word:
            return self._telling
        return self._first if answer.begins_phrase or answer.announces else set()

    def _is_likened(self, answer: GrowingWords) -> bool:
        """Whether it says what it is like, in another word than the wish does."""
        return answer.in_likeness and answer.words[0] not in self._likenesses

    def _after(self, answer: GrowingWords, following: Next) -> set[str]:
        words, found = answer.words, set[str]()
        for n in range(1, min(self._longest, len(words)) + 1):
            found |= following.get(tuple(words[-n:]), set())
        return found


def _who_it_is_like(phrase: Sequence[Sequence[str]]) -> Sequence[str]:
    """The words for them, "butler" in "like a butler"; answers begin by speaking to them."""
    words = [word for unit in phrase for word in unit]
    if words[0] not in LIKENESS:
        return ()
    named = words[2:] if words[1:2] and words[1] in ARTICLES else words[1:]
    return _names(list(takewhile(lambda word: word not in _BEHIND_A_NAME, named)))


def _names(words: Sequence[str]) -> Sequence[str]:
    """Those by which somebody can be spoken to; many words are no name."""
    return [word for word in words if not word[0].isdigit()] if len(words) <= NAME_WORDS else ()


def _says_something(phrase: Sequence[Sequence[str]], i: int) -> bool:
    """Whether a word makes a recital together with the one before it: "a funny", but not "a list",
    with which a phrase ends and which any sentence may have, nor "20 minutes": a number needs its
    unit, and gets one of another language where it may not have that."""
    if phrase[i - 1][-1].isdigit():
        return False
    is_noun = phrase[i - 1][-1] in ARTICLES and i == len(phrase) - 1
    is_long = len(phrase[i][0]) >= CONTENT_LETTERS
    return len(phrase[i]) > 1 or (is_long and not is_noun)


def _is_more_than_a_sign(unit: Sequence[str]) -> bool:
    return any(len(word) >= UNSPACED_LETTERS or not is_unspaced(word) for word in unit)
