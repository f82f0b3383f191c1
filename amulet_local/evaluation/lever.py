"""The lever of a preference: how much the preference prompt changes the logits where it matters.

Knows nothing about strengths. The lever at a token is l1 - l0 over the plausible tokens, less its
mean over them, which changes no probability. What a scale multiplies is that and the model's
rounding noise, so the two are compared: of the lever's mean square, the noise's variance is no
signal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from amulet_local.llama.rows import RowSet
from amulet_local.optimizer.realigner import Logits

PLAUSIBLE = 0.01
"""Probability under the preference prompt from which on a token counts."""


@dataclass(frozen=True, kw_only=True)
class Lever:
    """The differences that a scale works with, in logits.

    Attributes:
        mean_square: of the centred differences, free of the centring's bias; 0 if there are none.
        mean_size: mean of their absolute values.
        n_steps: tokens of text with more than one plausible token.
    """

    mean_square: float
    mean_size: float
    n_steps: int

    def signal_share(self, noise: float) -> float | None:
        """1 - noise^2 / mean square, at least 0; None without any difference.

        Args:
            noise: standard deviation of the rounding noise in l1 - l0, in logits.
        """
        if self.mean_square == 0:
            return None
        return max(0.0, 1.0 - noise**2 / self.mean_square)


def lever_of(steps: Iterable[tuple[Logits, Logits]]) -> Lever:
    """The lever along a text.

    Args:
        steps: plain and preference logits, float32, shape (n_vocab,) each.
    """
    squares, sizes, n_values, n_steps = 0.0, 0.0, 0, 0
    for plain, preference in steps:
        differences = _differences(plain, preference)
        if len(differences) > 1:
            squares += float((differences**2).sum())
            sizes += float(np.abs(differences).sum())
            n_values += len(differences)
            n_steps += 1
    if not n_steps:
        return Lever(mean_square=0.0, mean_size=0.0, n_steps=0)
    return Lever(
        mean_square=squares / (n_values - n_steps),  # a degree of freedom a step is the mean's
        mean_size=sizes / n_values,
        n_steps=n_steps,
    )


def steps_along(
    rows: RowSet, prompts: Sequence[Sequence[int]], text: Sequence[int]
) -> Iterator[tuple[Logits, Logits]]:
    """Both rows' logits at each token of a text; each pair is valid until the next one.

    Raises:
        BackendError: llama.cpp failed.
        StoppedError: the stop flag was set.
    """
    rows.prefill(prompts)
    yield rows.logits(0), rows.logits(1)
    done = 0
    while done < len(text) - 1:
        given = text[done : min(len(text) - 1, done + rows.n_outputs)]
        for plain, preference in rows.extend(given):  # noqa: UP028
            yield plain, preference
        done += len(given)


def _differences(plain: Logits, preference: Logits) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    peak = float(preference.max())
    normaliser = peak + math.log(float(np.exp(preference.astype(np.float64) - peak).sum()))
    kept = np.flatnonzero((preference >= normaliser + math.log(PLAUSIBLE)) & np.isfinite(plain))
    values = preference[kept].astype(np.float64) - plain[kept]
    return values - values.mean() if len(values) else values
