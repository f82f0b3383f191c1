"""Finds where a text says what it is going to be before it is that: "Sure, here's a poem:".

Knows nothing about tokens or models. Under a preference that is how a model takes note of a wish:
what follows is the answer. Nothing is handed out while the text may be such an opening, which its
first words decide; an opening that isn't about a wish, such as "Here are three dinners:", stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from amulet_local.text.words import is_unspaced, runs_of, words_of

RUN_WORDS = 4
"""Words in a row of a wish that recite it; all of a shorter one, from two."""

ROOT_LETTERS = 5
"""With which two words of one root begin alike: "capital letters" for "capitals"."""

MOST_LETTERS = 240
"""Of an opening; what is longer is a text of its own."""


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CALLS = _phrases(
    "sure thing|sure|certainly|of course|absolutely|alright|okay|ok|great|bien sûr|d'accord|"
    "claro que sí|por supuesto|claro|seguro|natürlich|klar|gerne|sicher|com certeza|certo|"
    "certamente|natuurlijk|självklart|oczywiście|конечно|当然|好的|もちろん"
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
    "je vais|je peux|je vous|ich werde|ich kann|aquí te|te doy|voy a|vou"
)
"""With which it promises what comes after a colon or in the next sentence."""

_THINGS = _words(
    "answer response reply explanation version summary text list table poem haiku story "
    "réponse explication texte liste poème antwort erklärung fassung zusammenfassung "
    "respuesta explicación versión resumen lista poema resposta explicação versão risposta "
    "spiegazione versione antwoord svar odpowiedź ответ объяснение"
)
"""What an answer calls itself."""

_NO_WISHES = _words("answer make the and for with that this like your you are was")

_SAID = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|'[^'\n]*'")
_LEADING = " \t\n\"'“«¡*_#>"
_BETWEEN = " \t,.!;–—-，、。！"
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
        wished = [words_of(wish) for wish in wishes]
        self._runs = {run for words in wished for run in runs_of(words, min(RUN_WORDS, len(words)))}
        self._roots = {
            word[:ROOT_LETTERS]
            for words in wished
            for word in words
            if len(word) > 2 and word not in _NO_WISHES
        }
        self._is_decided = not wished or any(map(_asks_for_one, wishes))

    def push(self, text: str) -> str:
        """Take more text; returns what is no announcement for sure."""
        if self._is_decided:
            return text
        self._held += text
        while end := self._end():
            self.dropped += self._held[:end]
            self._held = self._held[end:]
        return "" if end is None else self.finish()

    def finish(self) -> str:
        """What is held back, which nothing is left out of any more."""
        held, self._held, self._is_decided = self._held, "", True
        return held

    def _end(self) -> int | None:
        """Where the text after an announcement begins, 0 if there is none, None if that is open."""
        begins, promises = _opening(self._held)
        if not begins:
            return begins
        found = _END.search(self._held, begins)
        if found is None:
            return None if len(self._held) <= MOST_LETTERS else 0
        words = words_of(self._held[: found.start()])
        is_one = self._has_root(words) if found[0] in ":：" else promises and self._recites(words)
        if not is_one or found.start() > MOST_LETTERS:
            return 0
        rest = self._held[found.end() :]
        if "**" in self._held[:begins]:  # the opening is bold, and what ends that is its own
            rest = rest.removeprefix("**") if rest not in ("", "*") else ""
        rest = rest.lstrip()
        return len(self._held) - len(rest) if rest else None

    def _has_root(self, words: Sequence[str]) -> bool:
        roots = {word[:ROOT_LETTERS] for word in words}
        return not (roots.isdisjoint(self._roots) and _THINGS.isdisjoint(words))

    def _recites(self, words: Sequence[str]) -> bool:
        return any(run in runs_of(words, len(run)) for run in self._runs)


def _asks_for_one(wish: str) -> bool:
    """Whether a wish has such an opening in quotation marks: 'begin with "Sure"'."""
    openings = (*_CALLS, *_PRESENTING, *_PROMISING)
    return any(_after(openings, f"{said[1:-1].lower()} ", 0) for said in _SAID.findall(wish))


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
