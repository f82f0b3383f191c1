"""Learns the weights of a bank of preferences from what the rows say about texts.

Puts fit, held-out texts, tail check and warnings together. Knows nothing about llama.cpp: it gets
the candidates of each token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.readable import printable
from amulet_local.learning.learned import Learned, LogLikelihoods
from amulet_local.learning.teacher_forcing import ForcedAnswers, FullPosition, GivenAnswer
from amulet_local.optimizer.weights_fit import Choices, Floats, WeightsFit, fit, log_likelihood
from amulet_local.params.learn import LearnParams
from amulet_local.preferences.preference import Preference

VAGUE_ERROR = 0.5
"""Standard error from which on a weight counts as unknown; 1 is a preference's own prompt."""

TAIL_SHIFT = 0.25
"""Standard errors that lumping the tail may move a weight by without a warning."""

TOKENS_PER_WEIGHT = 50
"""Fewer than these get a warning."""


def learn_weights(
    forced: ForcedAnswers,
    answers: Sequence[GivenAnswer],
    preferences: Sequence[Preference],
    params: LearnParams,
    *,
    warnings: Sequence[str] = (),
) -> Learned:
    """The weights under which the answers are likeliest.

    Args:
        forced: the candidates at the answers' tokens.
        preferences: the bank, one for each row but the plain one.
        warnings: what is to be said before this module's own.

    Raises:
        InvalidParameterError: there is no maximum, without a ridge.
    """
    held_out = held_out_of([answer.liked for answer in answers], params.holdout)
    is_held_out = held_out[forced.answer_of]
    seen = forced.choices.at(~is_held_out)
    fitted = fit(seen, ridge=params.ridge)
    singles = [fit(seen.of([k]), ridge=params.ridge) for k in range(len(preferences))]
    judged = forced.choices.at(is_held_out) if held_out.any() else seen
    tail_error, tail_shift = _tail_check(forced, fitted, seen.n_tokens)
    likelihoods = _likelihoods(
        judged,
        fitted,
        singles,
        preferences,
        n_texts=int(held_out.sum()) or len(answers),
        held_out=bool(held_out.any()),
    )
    return Learned(
        preferences=tuple(
            replace(item, weight=float(weight))
            for item, weight in zip(preferences, fitted.weights, strict=True)
        ),
        standard_errors=tuple(map(float, fitted.standard_errors)),
        n_texts=int((~held_out).sum()),
        n_disliked=sum(
            not answer.liked for answer, out in zip(answers, held_out, strict=True) if not out
        ),
        n_tokens=seen.n_tokens,
        ridge=params.ridge,
        log_likelihoods=likelihoods,
        tail_error_nats=tail_error,
        tail_shift=tail_shift,
        warnings=(
            *warnings,
            *_warnings(seen.n_tokens, fitted, preferences, likelihoods, tail_shift, params),
        ),
    )


def held_out_of(liked: Sequence[bool], share: float) -> NDArray[np.bool_]:
    """A mask of the texts to hold out: every n-th of the disliked ones and then the liked.

    Raises:
        InvalidParameterError: a share above 0 of these texts comes to none.
    """
    result = np.zeros(len(liked), dtype=np.bool_)
    places = sorted(range(len(liked)), key=lambda place: liked[place])
    for number, place in enumerate(places):
        result[place] = math.floor((number + 1) * share) > math.floor(number * share)
    if share > 0 and not result.any():
        raise InvalidParameterError(
            f"a share of {share:g} of {len(liked)} texts is less than one text; hold out more, or "
            f"nothing (holdout, --holdout)"
        )
    return result


def _likelihoods(
    judged: Choices,
    fitted: WeightsFit,
    singles: Sequence[WeightsFit],
    preferences: Sequence[Preference],
    *,
    n_texts: int,
    held_out: bool,
) -> LogLikelihoods:
    n = judged.n_tokens
    means = [log_likelihood(judged.of([k]), one.weights) / n for k, one in enumerate(singles)]
    best = max(range(len(means)), key=means.__getitem__)
    return LogLikelihoods(
        plain=log_likelihood(judged, np.zeros(judged.n_weights)) / n,
        single=means[best],
        single_name=preferences[best].name or preferences[best].text,
        single_weight=float(singles[best].weights[0]),
        fitted=log_likelihood(judged, fitted.weights) / n,
        n_texts=n_texts,
        n_tokens=n,
        held_out=held_out,
    )


def _tail_check(forced: ForcedAnswers, fitted: WeightsFit, n_tokens: int) -> tuple[float, float]:
    """What lumping the tail changes: see Learned.tail_error_nats and tail_shift.

    The gradient's error at the maximum, times the covariance of the weights, is how far the
    maximum is off (one Newton step).
    """
    errors, slopes = [], []
    for sample in forced.samples:
        exact, exact_slope = _whole(sample, fitted.weights)
        lumped, lumped_slope = _part(sample.position, forced.choices, fitted.weights)
        errors.append(abs(exact - lumped))
        slopes.append(exact_slope - lumped_slope)
    shift = fitted.covariance @ np.mean(slopes, axis=0) * n_tokens
    finite = np.isfinite(fitted.standard_errors) & (fitted.standard_errors > 0)
    shares = np.abs(shift[finite]) / fitted.standard_errors[finite]
    return math.fsum(errors) / len(errors), float(shares.max(initial=0.0))


def _whole(sample: FullPosition, weights: Floats) -> tuple[float, Floats]:
    """Log-likelihood of one token over the whole vocabulary, and its gradient."""
    rows = sample.rows[:, np.isfinite(sample.rows[0])].astype(np.float64)
    differences = (rows[1:] - rows[0]).T
    chosen = int(np.isfinite(sample.rows[0, : sample.token]).sum())
    return _one(rows[0], differences if sample.liked else -differences, chosen, weights)


def _part(position: int, choices: Choices, weights: Floats) -> tuple[float, Floats]:
    """The same over the candidates."""
    base = choices.base[position].astype(np.float64)
    differences = choices.differences[position].astype(np.float64)
    return _one(base, differences, int(choices.chosen[position]), weights)


def _one(base: Floats, differences: Floats, chosen: int, weights: Floats) -> tuple[float, Floats]:
    scores = base + differences @ weights
    peak = scores.max()
    exponentials = np.exp(scores - peak)
    total = exponentials.sum()
    slope: Floats = differences[chosen] - exponentials @ differences / total
    return float(scores[chosen] - peak - np.log(total)), slope


def _warnings(
    n_tokens: int,
    fitted: WeightsFit,
    preferences: Sequence[Preference],
    likelihoods: LogLikelihoods,
    tail_shift: float,
    params: LearnParams,
) -> list[str]:
    warnings = []
    if n_tokens < TOKENS_PER_WEIGHT * len(preferences):
        warnings.append(
            f"{n_tokens} tokens are little text for {len(preferences)} weights; more texts, or a "
            f"smaller bank, give weights that mean something"
        )
    vague = [
        printable(item.label)
        for item, error in zip(preferences, fitted.standard_errors, strict=True)
        if not error < VAGUE_ERROR
    ]
    if vague:
        warnings.append(
            f"the texts say little about {', '.join(vague)}: standard errors of {VAGUE_ERROR:g} "
            f"and more"
        )
    if likelihoods.held_out and likelihoods.fitted < max(likelihoods.plain, likelihoods.single):
        better = "the plain prompt" if likelihoods.plain > likelihoods.single else "one preference"
        warnings.append(
            f"the held-out texts are likelier under {better} than under the fitted weights: too "
            f"little text, or a bank that doesn't fit it; a larger ridge may help"
        )
    if tail_shift > TAIL_SHIFT:
        warnings.append(
            f"lumping the tail of the vocabulary moves a weight by about {tail_shift:.2f} standard "
            f"errors; raise top_tokens, {params.top_tokens} now"
        )
    return warnings
