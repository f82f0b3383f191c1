"""Draws the tokens of one answer: the kernel's argmax, or llama.cpp's samplers.

Knows nothing about how rows combine to what it draws from, or about text.
"""

from __future__ import annotations

from amulet_local.answering.request import Request
from amulet_local.llama.sampler import SamplerChain
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.optimizer.realigner import Realigner
from amulet_local.steering.steering import Steering
from amulet_local.steering.step import Combination


class Picker:
    """Draws tokens from combinations. `close` frees its samplers."""

    def __init__(self, request: Request, realigner: Realigner, vocabulary: Vocabulary) -> None:
        self._realigner = realigner
        self._chain: SamplerChain | None = None
        sampling = request.sampling
        if sampling.temperature == 0 and not sampling.changes_greedy and request.calling is None:
            return
        self._chain = SamplerChain(
            sampling,
            vocabulary=vocabulary,
            n_ctx=request.n_ctx,
            seed=request.seed,
            spelled_rules=None if request.calling is None else request.calling.rules,
        )
        self._chain.accept_prompt(request.prompts[0])
        self._which = self._chain.which

    def pick(self, combination: Combination, steering: Steering) -> int:
        """The next token.

        Args:
            steering: what made the combination; it may have found the best token already, and
                knows what guards rule out where a grammar wants that.

        Raises:
            LogitsError: the logits allow none.
        """
        if self._chain is None:
            return steering.likeliest()
        fill = self._realigner.fill_candidates
        token = self._chain.pick(
            lambda: steering.candidates(self._which),
            lambda: (
                lambda: fill(*combination._replace(tokens=None)),
                lambda: fill(*steering.everything()),
            ),
        )
        self._chain.accept(token)
        return token

    def left(self, token: int, n: int) -> tuple[float, list[tuple[int, float]]]:
        """What the last token was drawn from: see SamplerChain.

        Args:
            token: that one.
        """
        return (1.0, [(token, 1.0)][:n]) if self._chain is None else self._chain.left(n)

    def close(self) -> None:
        """Free the samplers."""
        if self._chain is not None:
            self._chain.close()
