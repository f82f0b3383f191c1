"""Keeps an answer from reciting the preference instead of following it.

Knows nothing about what a recital is, which recital.py says in words; here words become tokens.
Whatever token could begin a refused word is refused, in any case and any split of the word, and so
is a word of the same root, which a model spells instead ("like a patience teacher"). Where such a
word is what would come, the plain prompt has to find likely what comes in its place. Nothing is
refused within a word but another word that is glued to it, as in "dryBritish". What opens the plain
answer as well is no recital: "In" begins "In Spanish", and "Inflation" too.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.instructions import instructions, text_of
from amulet_local.steering.recital import Recital
from amulet_local.steering.step import Step
from amulet_local.text.words import GrowingWords, is_letter_word

OPENS_ANYHOW_NATS = 1.0
"""A word may open an answer that the preference makes likelier by no more than this. Those that
recited gained 2 to 15 nats on Qwen2.5-Coder-1.5B, those that didn't 0.2 at most."""

RECITED_SHARE = 0.5
"""Share of the preference prompt's probability from which on what is refused is what would come."""

SHARED_SCALE = 0.5
"""Scale at which the token is chosen that comes in its place: what both prompts find likely. What
the preference prompt finds likely besides is often the same in another spelling or language."""


class EchoGuard(Guard):
    """Keeps the scale from strengthening a recital, and the answer from saying one."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with the prompts of these surroundings."""
        super().__init__(around)
        self._relatives: dict[str, tuple[list[int], list[int]]] = {}
        self._would_recite = False
        self.change(around)

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the echo guard is on and there is an instruction to recite."""
        return around.amulet.echo_guard and len(around.prompts) > 1

    def change(self, around: Surroundings) -> None:
        """Go on with the prompts of these surroundings, in an answer that has begun, perhaps."""
        super().change(around)
        plain = text_of(self._vocabulary, around.prompts[0])
        self._recital = Recital(instructions(self._vocabulary, around.prompts), plain)
        self._begin()
        for token in around.text.tokens:
            self._push(token)

    @property
    def _vocabulary(self) -> Vocabulary:
        assert self.around.vocabulary is not None
        return self.around.vocabulary

    def refused(self, step: Step) -> Sequence[int]:
        """The tokens that would begin a word of a recital.

        A letter that is a word may open an answer whatever word it begins: "A", "I".
        """
        self._would_recite = False
        amulet = self.around.amulet
        is_gated = self.around.text.in_reasoning and amulet.reasoning_gating
        if amulet.guidance_scale <= 1 or is_gated:
            return ()
        self._notice_reasoning()
        openers = self._recital.openers(self._answer)
        letters = {word[0] for word in openers if len(word) > 1 and is_letter_word(word[0])}
        free = set(self._beginning(letters))
        refused = set[int]()
        for word in openers:
            opening = set(self._beginning({word})) - free
            if opening and step.reference.gain(sorted(opening)) > OPENS_ANYHOW_NATS:
                refused |= opening
        recited = self._recital.refused(self._answer)
        tokens = self._related(recited).union(self._beginning(recited))
        self._would_recite = bool(tokens) and step.reference.share(sorted(tokens)) > RECITED_SHARE
        return sorted(refused | tokens)

    def act(self, step: Step) -> None:
        """Let the words of what may be a recital gain nothing, and those of one in full less."""
        if self._would_recite:
            step.start_over(SHARED_SCALE)
            return
        held = self._beginning(self._recital.held(self._answer))
        if held:
            step.restrain(held)

    def accept(self, token: int, step: Step | None) -> None:
        """Take the answer's next token."""
        self._notice_reasoning()
        self._push(token)

    def _notice_reasoning(self) -> None:
        """Begin anew where reasoning ends or begins."""
        if self.around.text.in_reasoning != self._in_reasoning:
            self._begin()

    def _begin(self) -> None:
        self._in_reasoning = self.around.text.in_reasoning
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._answer = GrowingWords()

    def _push(self, token: int) -> None:
        self._answer.push(self._decoder.decode(self._vocabulary.piece(token)))

    def _beginning(self, words: set[str]) -> list[int]:
        """The tokens that begin one of these words here."""
        beginning, answer = self._vocabulary.word_starts.beginning, self._answer
        return sorted(
            {
                token
                for word in words
                for token in beginning(word, in_word=answer.in_word, ends_small=answer.ends_small)
            }
        )

    def _related(self, words: set[str]) -> set[int]:
        """The tokens of other words with the same root that begin here."""
        tokens: set[int] = set()
        for word in words:
            found = self._relatives.get(word)
            if found is None:
                found = self._relatives[word] = self._vocabulary.word_starts.related(word)
            tokens.update(found[0], () if self._answer.in_word else found[1])
        return tokens
