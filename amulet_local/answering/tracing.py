"""Records how a token was chosen: its probability under every row, and what else was likely.

Knows nothing about how rows are computed or how the token was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from amulet_local.common.results import Alternative, TokenTrace
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.step import Combination

Drawn = tuple[float, Sequence[tuple[int, float]]]
"""A token's probability, and those of the likeliest by their ids."""


class Tracer:
    """Makes a TokenTrace of each token."""

    def __init__(self, realigner: Realigner, vocabulary: Vocabulary, n_alternatives: int) -> None:
        """Take note.

        Args:
            n_alternatives: how many alternatives to list under each row.
        """
        self._realigner = realigner
        self._vocabulary = vocabulary
        self._n_alternatives = n_alternatives

    def trace(
        self,
        rows: Sequence[Logits],
        plan: RowPlan,
        combination: Combination,
        token: int,
        drawn: Drawn = (1.0, ()),
    ) -> TokenTrace:
        """How `token` stands in the rows and in their combination.

        Args:
            rows: the logits of every row of `plan`.
            combination: what the token was chosen from.
            drawn: the token's probability in what the samplers left, and the likeliest there.
        """
        realigner = self._realigner
        normalisers = [realigner.log_normaliser(row) for row in rows]
        log_p = [float(row[token]) - n for row, n in zip(rows, normalisers, strict=True)]
        tops = [self._top(row, n) for row, n in zip(rows, normalisers, strict=True)]
        realigned, kl, top_realigned = log_p[0], 0.0, tops[0]
        if plan.weights:
            combined = realigner.combine(*combination)
            normaliser = realigner.log_normaliser(combined)
            realigned = float(combined[token]) - normaliser
            top_realigned = self._top(combined, normaliser)
            kl = realigner.divergence(*combination)
        return TokenTrace(
            token_id=token,
            text=self._text(token),
            plain=log_p[0] if plan.has_plain else None,
            preferences=tuple(log_p[plan.has_plain :]),
            realigned=realigned,
            scale=combination.scale,
            kl=kl,
            top_plain=tops[0] if plan.has_plain else (),
            top_preferences=tuple(tops[plan.has_plain :]),
            top_realigned=top_realigned,
            top_drawn=tuple(
                Alternative(token_id=one, text=self._text(one), log_probability=math.log(p))
                for one, p in drawn[1]
            ),
            drawn=math.log(drawn[0]),
        )

    def _top(self, row: Logits, normaliser: float) -> tuple[Alternative, ...]:
        n = min(self._n_alternatives, len(row))
        if n == 0:
            return ()
        best = np.argpartition(row, len(row) - n)[len(row) - n :]
        best = best[np.lexsort((best, -row[best]))]
        return tuple(
            Alternative(
                token_id=int(token),
                text=self._text(int(token)),
                log_probability=float(row[token]) - normaliser,
            )
            for token in best
            if row[token] > -math.inf
        )

    def _text(self, token: int) -> str:
        return self._vocabulary.piece(token).decode("utf-8", "replace")
