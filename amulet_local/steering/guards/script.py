"""Keeps letters of another script out of an answer, "Der Himmel ist蓝", where nobody wrote any.

A multilingual model finds a word of another language a little likely everywhere, and the strength
may make it the likeliest. A script that a prompt or the answer has is free, and so is what an
answer begins with, which decides its language, and a place where either prompt by itself goes on in
another script. Greek letters are free as signs. What is looked at is what may be chosen: the
likeliest token, or those that the draw guard leaves; all tokens of other scripts are looked up
where one is among them, which is rare. Knows nothing about languages.
"""

from __future__ import annotations

import numpy as np

from amulet_local.llama.token_search import Tokens, union
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.instructions import text_of
from amulet_local.steering.step import Step
from amulet_local.text.scripts import SCRIPTS, letters_but_of, scripts_in

MEANT_SHARE = 0.5
"""Of either row's probability, from which on another script is what comes there."""

SIGNS = frozenset(("greek",))
"""Scripts of which letters stand in any text."""


class ScriptGuard(Guard):
    """Refuses scripts that neither the prompts nor the answer has."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with the prompts of these surroundings."""
        super().__init__(around)
        self._found: dict[frozenset[str], Tokens] = {}
        self._in_answer: frozenset[str] = frozenset()
        self._n_read = 0
        self.change(around)

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether it is switched on and there are two prompts."""
        amulet = around.amulet
        return amulet.script_guard and len(around.prompts) > 1 and around.vocabulary is not None

    def change(self, around: Surroundings) -> None:
        """Go on with the prompts of these surroundings."""
        super().change(around)
        texts = (text_of(self._vocabulary, prompt) for prompt in around.prompts)
        wished = [around.form.script] if around.form.script else []
        self._in_prompts = SIGNS.union(*map(scripts_in, texts), wished)

    @property
    def _vocabulary(self) -> Vocabulary:
        assert self.around.vocabulary is not None
        return self.around.vocabulary

    def act(self, step: Step) -> None:
        """Refuse them, unless one of the rows goes on in one of them."""
        answer = self.around.text.answer
        self._in_answer |= scripts_in(answer[self._n_read :])
        self._n_read = len(answer)
        if not (self._in_answer or answer.strip()):
            return
        free = self._in_prompts | self._in_answer
        likely = [step.likeliest()] if step.tokens is None else step.tokens
        foreign = [token for token in likely if self._has_others(int(token), free)]
        if not foreign:
            return
        others = self._but_of(free)
        if max(step.reference.share(others), step.reference.plain_share(others)) >= MEANT_SHARE:
            return
        if step.tokens is None:
            step.refuse(others)
        elif len(foreign) < len(step.tokens):
            step.tokens = np.setdiff1d(step.tokens, foreign).astype(np.int32)

    def _has_others(self, token: int, free: frozenset[str]) -> bool:
        """Whether a token has a letter of another script, or the beginning of one."""
        piece = self._vocabulary.piece(token)
        if piece.isascii():
            return False
        text = piece.decode("utf-8", "ignore")
        begun = piece[len(text.encode()) :][:1]
        of_free = {byte for name in free for byte in SCRIPTS[name].first_bytes}
        of_others = {byte for script in SCRIPTS.values() for byte in script.first_bytes} - of_free
        return bool(scripts_in(text) - free) or begun in of_others

    def _but_of(self, free: frozenset[str]) -> Tokens:
        """The tokens with letters of any other scripts, or with parts of them."""
        found = self._found.get(free)
        if found is None:
            search = self._vocabulary.token_search
            first_bytes = set().union(*(script.first_bytes for script in SCRIPTS.values()))
            first_bytes.difference_update(*(SCRIPTS[name].first_bytes for name in free))
            parts = search.ending(tuple(sorted(first_bytes)))
            found = self._found[free] = union([search.having(letters_but_of(*free)), parts])
        return found
