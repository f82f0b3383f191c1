"""Finds where a text says what it is going to be before it is that: "Sure, here's a poem:".

Knows nothing about tokens or models. Under a preference that is how a model takes note of a wish:
what follows is the answer. An announcement is one of these, at a text's beginning:

- it presents or promises something, ends in a colon, and has a word of the wish or says what it is
  ("Here's a list:", "Bien sûr, je peux vous expliquer cela en français :"), or how it explains
  ("Let me explain it in a way a child might understand:");
- it promises something, ends as a sentence does, and has the wish's words in a row;
- it is a title, words of wishes and of what an answer calls itself alone, which is no single wish's
  ("Numbered pirate list:"), or the name of the language that is wished ("Het Nederlands:");
- it says what the answer is like, in the wish's words ("As a drunk Viking,", "Texting a friend,").
  What follows begins with a capital letter then.

Nothing is handed out while the text may be one, which its first words decide. An opening that isn't
about a wish, such as "Here are three dinners:", stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from amulet_local.text.languages import in_itself, named
from amulet_local.text.quotations import to_say
from amulet_local.text.words import (
    ARTICLES,
    LIKENESS,
    MOST_LIKENESS_WORDS,
    WORD,
    is_unspaced,
    runs_of,
    word_set,
    words_of,
)

RUN_WORDS = 4
"""Words in a row of a wish that recite it; all of a shorter one, from two."""

ROOT_LETTERS = 5
"""With which two words of one root begin alike: "capital letters" for "capitals"."""

MOST_LETTERS = 240
"""Of an opening; what is longer is a text of its own."""


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_CALLS = _phrases(
    "sure thing|sure|certainly|of course|absolutely|alright|okay|ok|great|bien sûr|d'accord|"
    "claro que sí|por supuesto|claro|seguro|natürlich|klar|gerne|gern|sicher|ja, bitte|ja bitte|"
    "bitte|com certeza|certo|certamente|volentieri|natuurlijk|självklart|oczywiście|конечно|当然|"
    "好的|もちろん"
)
"""With which an opening may begin."""

_PRESENTING = _phrases(
    "here's|here is|here are|here you|this is|below is|the following is|voici|hier ist|hier sind|"
    "hier kommt|aquí tienes|aquí está|aqui está|aqui vai|ecco|hier is|här är|här kommer|oto|вот|"
    "以下是|下面是|这是|以下は"
)
"""With which it presents what comes after a colon."""

_PROMISING = _phrases(
    "i'll|i will|i shall|i can|i'm going to|i am going to|let me|let's|allow me to|"
    "je vais|je peux|je vous|ich werde|ich kann|aquí te|te doy|voy a|puedo|te puedo|vou|posso|"
    "ti spiego|ik kan|ik zal|jag kan|jag ska|mogę|я могу|я объясню|我可以|我将|我会|"
    "日本語で回答|日本語で答え|日本語でお答え|日本語で説明"
)
"""With which it promises what comes after a colon or in the next sentence."""

_THINGS = word_set(
    "answer response reply explanation version summary translation text list table poem haiku "
    "story réponse explication traduction texte liste poème antwort erklärung fassung übersetzung "
    "zusammenfassung respuesta explicación traducción versión resumen lista poema resposta "
    "explicação tradução versão risposta spiegazione traduzione versione antwoord svar odpowiedź "
    "ответ объяснение перевод"
)
"""What an answer calls itself."""

_NO_WISHES = word_set(
    "answer make the and for with that this like your you are was "
    "auf der die das ein eine und mit het een les des une par pour con los las una por che per "
    "på на"
)
"""Words that a wish may have and any sentence too."""

_SMALL = word_set(
    "a an the my your this is in as der die das ein eine ist auf un une la le les est en el una es "
    "o os em il lo è het på po"
)
"""Words that a title may have besides."""

_NOT_BEHIND = word_set(
    "of in on with for who that from to at and von mit aus der die und de du d qui que avec et di "
    "con che y e van en met som med"
)
"""What goes on with such a phrase: "As a drunk Viking of the North"."""

_LEADING = " \t\n\"'“«¡*_#>"
_BETWEEN = " \t,.!;–—-，、。！"
_SENTENCE_ENDS = ".!?;…"
_LIKE_END = re.compile(rf"[,:](?=\s)|\n|[{_SENTENCE_ENDS}]")
_EXPLAINS = re.compile(
    r"\b(?:explain|describe|put|say|tell|break) (?:it|this|that)\b|"
    r"\bexplain\b.*\b(?:to you|in a)\b",
    re.I,
)
_END = re.compile(r"[:：](?=[\s*\"“«])|[.!?。！？…]+(?=\s)|[。！？]|\n")


class AnnouncementFilter:
    """Leaves an announcement out of one text.

    Attributes:
        dropped: what was left out, with the space after it; empty if nothing was.
    """

    def __init__(self, wishes: Sequence[str]) -> None:
        """Start.

        Args:
            wishes: what the text may announce to follow, in a user's words; none leaves all in.
        """
        self.dropped = ""
        self._held = ""
        self._wished = [words_of(wish) for wish in wishes]
        own = [phrase for words in self._wished for phrase in in_itself(words)]
        said = [*self._wished, *map(words_of, own)]
        self._runs = {run for words in said for run in runs_of(words, min(RUN_WORDS, len(words)))}
        self._roots = {_root(word) for words in said for word in words if _is_telling(word)}
        self._likening = LIKENESS | {
            word for words in said for word in words if word.endswith("ing") and _is_telling(word)
        }
        self._unspaced = [phrase for phrase in own if is_unspaced(phrase)]
        languages = {name for words in said for word in words if (name := named(word))}
        self._language = languages.pop() if len(languages) == 1 else None
        self._is_decided = not wishes or any(map(_asks_for_one, wishes))

    def push(self, text: str) -> str:
        """Take more text; returns what is no announcement for sure."""
        if self._is_decided:
            return text
        self._held += text
        while end := self._end():
            self._drop(end)
        if end == 0 and (end := self._likeness_end()):
            is_capital = self._held.lstrip(_LEADING)[0].isupper()
            self._drop(end)
            if is_capital:
                self._held = self._held[0].upper() + self._held[1:]
        return "" if end is None else self.finish()

    def _drop(self, end: int) -> None:
        self.dropped += self._held[:end]
        self._held = self._held[end:]

    def finish(self) -> str:
        """What is held back, which nothing is left out of any more."""
        held, self._held, self._is_decided = self._held, "", True
        return held

    def _end(self) -> int | None:
        """Where the text after an announcement begins, 0 if there is none, None if that is open."""
        begins, promises = _opening(self._held)
        if begins is None:
            return None
        is_title = not begins
        if is_title and not self._may_be_title():
            return 0
        found = _END.search(self._held, begins)
        if found is None:
            return None if len(self._held) <= MOST_LETTERS else 0
        text, has_colon = self._held[: found.start()], found[0] in ":："
        if is_title:
            is_one = has_colon and self._is_title(words_of(text))
        else:
            explains = promises and _EXPLAINS.search(text) is not None
            is_about = explains or self._is_about_wish(text)
            is_one = is_about if has_colon else promises and self._recites(text)
        if not is_one or len(text) > MOST_LETTERS:
            return 0
        rest = self._held[found.end() :]
        if "**" in self._held[: begins or len(text)]:  # what ends a bold opening is its own
            rest = rest.removeprefix("**") if rest not in ("", "*") else ""
        rest = rest.lstrip()
        return len(self._held) - len(rest) if rest else None

    def _likeness_end(self) -> int | None:
        """Where the text after "As a pirate," begins, as for `_end`."""
        text = self._held.lstrip(_LEADING)
        words = words_of(text)
        if len(words) == 1 and text[-1].isalnum():
            may_be = any(word.startswith(words[0]) for word in self._likening)
            return None if may_be else 0
        if not words or words[0] not in self._likening:
            return 0
        found = _LIKE_END.search(text)
        if found is None and len(words) <= MOST_LIKENESS_WORDS:
            return None
        end = self._phrase_end(text, found) or self._wish_end(text)
        rest = text[end:].lstrip()
        return end and (len(self._held) - len(rest) if rest else None)

    def _phrase_end(self, text: str, found: re.Match[str] | None) -> int:
        """Where "As a pirate," ends: up to a pause it has the wish's words, at least by half."""
        if found is None or found[0] in _SENTENCE_ENDS:
            return 0
        what = [word for word in words_of(text[: found.start()])[1:] if word not in ARTICLES]
        n_known = sum(_root(word) in self._roots for word in what)
        return found.end() if n_known and 2 * n_known >= len(what) else 0

    def _wish_end(self, text: str) -> int:
        """Where "As a drunk Viking" of "As a drunk Viking I'd say" ends: two words of the wish."""
        end, n_known = 0, 0
        for found in islice(WORD.finditer(text), 1, None):
            if _root(word := found[0].lower()) in self._roots:
                end, n_known = found.end(), n_known + 1
            elif word not in ARTICLES:
                return end if n_known > 1 and text[end] == " " and word not in _NOT_BEHIND else 0
        return 0

    def _is_about_wish(self, text: str) -> bool:
        words = words_of(text)
        has_root = any(_root(word) in self._roots for word in words)
        return has_root or not _THINGS.isdisjoint(words) or self._has_unspaced(text)

    def _recites(self, text: str) -> bool:
        words = words_of(text)
        return any(run in runs_of(words, len(run)) for run in self._runs) or self._has_unspaced(
            text
        )

    def _has_unspaced(self, text: str) -> bool:
        return any(phrase in text for phrase in self._unspaced)

    def _may_be_title(self) -> bool:
        """Whether the text's first line has a title's words alone, the last perhaps in part."""
        line = _END.split(self._held, maxsplit=1)[0]
        words = words_of(line)
        grows = line == self._held and line[-1:].isalnum()
        part = words.pop() if grows else ""
        known = (*self._roots, *_THINGS, *_SMALL)
        return all(word in _SMALL or self._is_of_title(word) for word in words) and (
            self._is_of_title(part) or any(word.startswith(part) for word in known)
        )

    def _is_title(self, words: Sequence[str]) -> bool:
        """Whether a text of such words says what follows, and isn't what one wish asks for."""
        telling = [word for word in words if word not in _SMALL]
        if telling and all(map(self._is_language, telling)):
            return True
        roots = set(map(_root, telling))
        is_wishs_own = any(roots <= {_root(word) for word in wish} for wish in self._wished)
        return not (is_wishs_own or roots.isdisjoint(self._roots) or _THINGS.isdisjoint(words))

    def _is_language(self, word: str) -> bool:
        return self._language is not None and named(word) == self._language

    def _is_of_title(self, word: str) -> bool:
        return _root(word) in self._roots or word in _THINGS


def is_call(text: str) -> bool:
    """Whether it is nothing but what an announcement may begin with, such as "Certainly"."""
    return text.strip().lower().replace("’", "'") in _CALLS


def _root(word: str) -> str:
    return word[:ROOT_LETTERS]


def _is_telling(word: str) -> bool:
    return len(word) > 2 and word not in _NO_WISHES


def _asks_for_one(wish: str) -> bool:
    """Whether a wish has such an opening in quotation marks: 'begin with "Sure"'."""
    openings = (*_CALLS, *_PRESENTING, *_PROMISING)
    return any(
        _after(openings, f"{said.lower()} ", 0) or not LIKENESS.isdisjoint(words_of(said)[:1])
        for said in to_say(wish)
    )


def _opening(text: str) -> tuple[int | None, bool]:
    """Where a text goes on after the words that open an announcement, and whether they promise.

    0 if it opens none, None if that depends on what comes.
    """
    lowered = text.lower().replace("’", "'")
    start = len(lowered) - len(lowered.lstrip(_LEADING))
    called = _after(_CALLS, lowered, start)
    if called:
        start = len(lowered) - len(lowered[called:].lstrip(_BETWEEN))
    presented, promised = (_after(phrases, lowered, start) for phrases in (_PRESENTING, _PROMISING))
    if presented or promised:
        return presented or promised, bool(promised)
    is_open = None in (called, presented, promised)
    return None if is_open else 0, False


def _after(phrases: Iterable[str], text: str, start: int) -> int | None:
    """Where the longest of some phrases ends that a text has at a place.

    0 if it has none, None if it may yet have one.
    """
    rest = text[start:]
    if any(len(phrase) >= len(rest) and phrase.startswith(rest) for phrase in phrases):
        return None
    ends = (
        start + len(phrase)
        for phrase in phrases
        if rest.startswith(phrase) and (is_unspaced(phrase) or not rest[len(phrase)].isalnum())
    )
    return max(ends, default=0)
