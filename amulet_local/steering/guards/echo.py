"""Notices when an answer recites the preference instead of following it.

Knows nothing about logits. A preference in the prompt makes its own words likelier, whatever they
mean, and a large guidance scale strengthens that until the answer spells its instruction out.
`Recital` notices; `EchoGuard` is the guard that goes by it.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.llama.row import common_length
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

HELD_AFTER, REFUSED_AFTER = 2, 3
"""Tokens of the instruction at the answer's end after which the next one isn't strengthened, and
after which it is refused."""


class Recital:
    """Follows the tokens of one answer.

    Tokens count as the same when their texts differ in case and surrounding blanks only.
    """

    def __init__(
        self, plain: Sequence[int], preferences: Sequence[Sequence[int]], vocabulary: Vocabulary
    ) -> None:
        """Find what each preference prompt adds to the plain one.

        Args:
            plain, preferences: the prompts as token ids.
        """
        self._vocabulary = vocabulary
        self._texts: dict[int, str] = {}
        self._end: tuple[str, ...] = ()
        self._next: dict[tuple[str, ...], set[int]] = {}
        for prompt in preferences:
            added = _added(plain, prompt)
            texts = [self._text(token) for token in added]
            for n in (HELD_AFTER, REFUSED_AFTER):
                for i in range(n, len(added)):
                    context = tuple(texts[i - n : i])
                    self._next.setdefault(context, set()).update(self._spellings(added[i]))

    def accept(self, token: int) -> None:
        """Take the answer's next token."""
        self._end = (*self._end, self._text(token))[-REFUSED_AFTER:]

    def held(self) -> list[int]:
        """Tokens that would go on with the instruction, where the answer may be reciting it."""
        return self._following(HELD_AFTER)

    def refused(self) -> list[int]:
        """Tokens that would go on with the instruction, where the answer is reciting it."""
        return self._following(REFUSED_AFTER)

    def _following(self, n_tokens: int) -> list[int]:
        """What follows the last tokens of the answer in an instruction."""
        if len(self._end) < n_tokens:
            return []
        return sorted(self._next.get(self._end[-n_tokens:], ()))

    def _text(self, token: int) -> str:
        text = self._texts.get(token)
        if text is None:
            piece = self._vocabulary.piece(token).decode("utf-8", "replace")
            text = self._texts[token] = piece.strip().lower()
        return text

    def _spellings(self, token: int) -> set[int]:
        word = self._text(token)
        spellings = {token}
        for text in (word, word.capitalize(), " " + word, " " + word.capitalize()):
            ids = self._vocabulary.tokenize(text, add_special=False, parse_special=False)
            if len(ids) == 1:
                spellings.add(ids[0])
        return spellings


class EchoGuard(Guard):
    """Keeps the scale from strengthening a recital, and breaks one off."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with the prompts of these surroundings."""
        super().__init__(around)
        self._recital = _recital(around)

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the echo guard is on and there is an instruction to recite."""
        return around.amulet.echo_guard and len(around.prompts) > 1

    def change(self, around: Surroundings) -> None:
        """Go on with the prompts of these surroundings."""
        super().change(around)
        self._recital = _recital(around)

    def refused(self) -> Sequence[int]:
        """The tokens that would go on with a recital."""
        amulet = self.around.amulet
        is_gated = self.around.text.in_reasoning and amulet.reasoning_gating
        return () if amulet.guidance_scale <= 1 or is_gated else self._recital.refused()

    def act(self, step: Step) -> None:
        """Let the words of what may be a recital gain nothing."""
        held = self._recital.held()
        if held:
            step.restrain(held)

    def accept(self, token: int, step: Step | None) -> None:
        """Take the answer's next token."""
        self._recital.accept(token)


def _recital(around: Surroundings) -> Recital:
    """The recital of these prompts, in an answer that has begun, perhaps."""
    plain, *preferences = around.prompts
    assert around.vocabulary is not None
    recital = Recital(plain, preferences, around.vocabulary)
    for token in around.text.tokens[-REFUSED_AFTER:]:
        recital.accept(token)
    return recital


def _added(plain: Sequence[int], prompt: Sequence[int]) -> Sequence[int]:
    """The part of the prompt between what it begins and what it ends with like the plain one."""
    start = common_length(plain, prompt)
    end = common_length(plain[start:][::-1], prompt[start:][::-1])
    return prompt[start : len(prompt) - end]
