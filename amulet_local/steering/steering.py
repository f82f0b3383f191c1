"""Decides, token by token, how the rows of a generation combine.

Knows nothing about how rows are computed or how a token is drawn. A `Steering` keeps what a
generation needs to remember: the text's code regions, the running log-ratios of adaptive weights,
the watch. Its settings may change between two tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from amulet_local.optimizer.realigner import Logits, Realigner, Tokens
from amulet_local.params.amulet import AmuletParams
from amulet_local.steering.loop_watch import Watch
from amulet_local.steering.methods import DecodingMethod
from amulet_local.steering.recital import Recital
from amulet_local.text.code_regions import CodeRegions
from amulet_local.text.json_position import JsonPosition
from amulet_local.text.sentences import ends_sentence

LIKELY_END = 0.5
"""Probability from which on the end of an answer is likely."""

TAIL_CHARACTERS = 16
"""Of the text, to see whether a sentence ends there."""


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """Which rows a generation computes.

    Attributes:
        has_plain: whether row 0 is the plain prompt's; the others are the preferences'.
        weights: one per preference row.
    """

    has_plain: bool
    weights: tuple[float, ...]

    @staticmethod
    def of(method: DecodingMethod, weights: Sequence[float]) -> RowPlan:
        """The rows that `method` needs for preferences of these weights."""
        if not method.needs_preference:
            return RowPlan(has_plain=True, weights=())
        is_mix = tuple(weights) != (1.0,)
        return RowPlan(has_plain=method.needs_plain or is_mix, weights=tuple(weights))

    @property
    def n_rows(self) -> int:
        """Rows to compute."""
        return self.has_plain + len(self.weights)


class Combination(NamedTuple):
    """l1 + (scale - 1) * (l1 - l0), for the tokens that may be chosen: a Realigner's arguments.

    Attributes:
        plain, preference: l0 and l1, float32, shape (n_vocab,).
        scale: a.
        tokens: ids of the tokens that may be chosen, None for all.
    """

    plain: Logits
    preference: Logits
    scale: float
    tokens: Tokens | None


class Steering:
    """How the rows of one generation combine.

    Attributes:
        plan: the rows.
        amulet: strength and guards.
        noise: standard deviation of the model's rounding noise in l1 - l0, in logits.
        in_reasoning: whether the next token is what a thinking model writes to itself.
    """

    def __init__(
        self,
        plan: RowPlan,
        amulet: AmuletParams,
        realigner: Realigner,
        *,
        end_tokens: Iterable[int] = (),
        recital: Recital | None = None,
        json_position: JsonPosition | None = None,
    ) -> None:
        """Start a generation.

        Args:
            end_tokens: what the end guard holds back.
            recital: what the echo guard goes by.
            json_position: for an answer that is JSON: only its string values are steered.
        """
        self.plan = plan
        self.amulet = amulet
        self.noise = 0.0
        self.in_reasoning = False
        self._realigner = realigner
        self._end_tokens = sorted(end_tokens)
        self._recital = recital
        self._json_position = json_position
        self._regions = CodeRegions()
        self._watch = Watch()
        self._ratios = [0.0] * len(plan.weights)
        self._rows: Sequence[Logits] = ()
        self._tail = ""
        self._everything: Combination | None = None
        self._reference_normaliser: float | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the watch did."""
        return self._watch.warnings

    def change(
        self, plan: RowPlan, amulet: AmuletParams, recital: Recital | None, *, same_rows: bool
    ) -> None:
        """Go on with other rows, another strength or other guards.

        Args:
            same_rows: whether the rows are those of the same prompts as before.
        """
        if not same_rows:
            self._ratios = [0.0] * len(plan.weights)
        self.plan, self.amulet = plan, amulet
        self._recital = recital

    def weights(self) -> tuple[float, ...]:
        """The weights of the next token.

        Adaptive ones are w_k = W * w0_k exp(-R_k / tau) / sum_j w0_j exp(-R_j / tau), with W the
        sum of the initial weights w0 and R_k = sum_t log p_k(y_t) - log p_0(y_t) over the text so
        far (MATO, arXiv 2605.25342).
        """
        initial = self.plan.weights
        if self.amulet.mix == "fixed" or len(initial) < 2:
            return initial
        lag = [-ratio / self.amulet.mix_temperature for ratio in self._ratios]
        top = max(lag)
        shares = [w * math.exp(value - top) for w, value in zip(initial, lag, strict=True)]
        return tuple(math.fsum(initial) * share / math.fsum(shares) for share in shares)

    def combine(self, rows: Sequence[Logits]) -> Combination:
        """How to choose the next token.

        Args:
            rows: the logits of every row of the plan; valid until `accept`.

        Raises:
            LogitsError: a row holds a NaN or +inf, or no token is left.
        """
        self._rows = rows
        self._reference_normaliser = None
        realigner = self._realigner
        plain = rows[0]
        if not self.plan.weights:
            self._everything = Combination(plain, plain, 1.0, None)
            plain = self._without_refused(plain)
            return Combination(plain, plain, 0.0, None)
        preference = realigner.mix(plain, rows[self.plan.has_plain :], self.weights())
        self._everything = Combination(preference, preference, 1.0, None)
        chosen = self._guarded(plain, self._without_refused(preference))
        if self.amulet.watch and chosen.scale > 1:
            reference = Combination(chosen.preference, chosen.preference, 1.0, None)
            self._watch.note_entropies(realigner.entropy(*chosen), realigner.entropy(*reference))
        return chosen

    def everything(self) -> Combination:
        """What `combine` started from: the reference, with the tokens that guards refuse."""
        assert self._everything is not None
        return self._everything

    def _guarded(self, plain: Logits, preference: Logits) -> Combination:
        amulet, realigner = self.amulet, self._realigner
        if not self.plan.has_plain:
            return Combination(preference, preference, 1.0, None)
        scale = amulet.guidance_scale
        if scale <= 1:
            return Combination(plain, preference, scale, None)
        if self._on_structure():
            return Combination(plain, preference, 1.0, None)
        if amulet.watch:
            scale = 1.0 + (scale - 1.0) * self._watch.factor
            if scale <= 1:
                return Combination(plain, preference, scale, None)
        if amulet.end_guard:
            preference = self._without_early_end(preference)
        if amulet.noise_guard > 0:
            plain = realigner.shrink(plain, preference, amulet.noise_guard * self.noise)
        held = [] if self._recital is None else self._recital.held()
        if held:
            plain = realigner.restrain(plain, preference, np.array(held, dtype=np.int32))
        tokens = realigner.plausible(plain, preference, *amulet.mask) if amulet.mask else None
        if amulet.kl_budget is not None:
            scale = realigner.scale_within(plain, preference, scale, amulet.kl_budget, tokens)
        return Combination(plain, preference, scale, tokens)

    def _on_structure(self) -> bool:
        """Whether the next token is reasoning, code, or JSON outside of string values."""
        if self.in_reasoning:
            return self.amulet.reasoning_gating
        if self._json_position is not None:
            return not self._json_position.in_string_value
        return self.amulet.region_gating and self._regions.in_code

    def _without_refused(self, row: Logits) -> Logits:
        """The row without tokens that would go on with a loop or a recital."""
        refused = self._watch.refused() if self.amulet.watch else []
        if refused and (self._regions.in_code or self._json_position is not None):
            refused = []
        recites = self._recital is not None and self.amulet.guidance_scale > 1
        if recites and not (self.in_reasoning and self.amulet.reasoning_gating):
            assert self._recital is not None
            refused = [*refused, *self._recital.refused()]
        if not refused:
            return row
        row = row.copy()
        row[refused] = -np.inf
        return row

    def _without_early_end(self, row: Logits) -> Logits:
        """In the middle of a sentence, the row without the end, unless that is likely."""
        if not self._end_tokens or ends_sentence(self._tail):
            return row
        if sum(math.exp(self._reference_log_p(token)) for token in self._end_tokens) >= LIKELY_END:
            return row
        row = row.copy()
        row[self._end_tokens] = -np.inf
        return row

    def _reference_log_p(self, token: int) -> float:
        """Of a token under the combination at scale 1, with what guards refuse in it."""
        row = self.everything().preference
        if self._reference_normaliser is None:
            self._reference_normaliser = self._realigner.log_normaliser(row)
        return float(row[token]) - self._reference_normaliser

    def accept(self, token: int, text: str) -> None:
        """Take note of the chosen token and of the text that it completed."""
        amulet = self.amulet
        self._tail = (self._tail + text)[-TAIL_CHARACTERS:]
        if not self.in_reasoning:
            self._regions.push(text)
            if self._json_position is not None:
                self._json_position.push(text)
        if self._recital is not None:
            self._recital.accept(token)
        if amulet.watch:
            self._watch.accept(token)
            if self._everything is not None and self.plan.weights:
                self._watch.note_log_p(self._reference_log_p(token))
        if amulet.mix == "adaptive" and len(self.plan.weights) > 1:
            plain, *preferences = (
                float(row[token]) - self._realigner.log_normaliser(row) for row in self._rows
            )
            for k, log_p in enumerate(preferences):
                self._ratios[k] += log_p - plain
