"""The passes over rows of logits, in NumPy: formulas on arrays that the caller owns.

Knows nothing about models, prompts or sampling. NumPy's own loops use the processor's vectors, so
nothing has to be compiled; for what every token needs compiled.py has a faster form. All rows are
float32 logits (any additive constant; the softmax constants cancel), of V tokens; `out` and
`scratch` are float32[V], and are overwritten.

The combination of two rows is

    z = l1 + (a - 1) * (l1 - l0)        (= l0 + a * (l1 - l0), exact at a = 1)

with l0 the plain row, l1 the preference row and a the guidance scale (recurrence.py). A token that
is -inf in either row is impossible: its z is -inf, whatever the other row says. That isn't what the
formula gives, so `combine` looks whether everything is finite, and `combine_checked` takes rows
where it isn't.

Guards look at the combination at a = 1, called reference here: the preference row, or that of a
mix. Exponentials are float32 and their sums pairwise, exact to about 1e-6 of their value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Tokens = NDArray[np.int32]

FOUND, NAN_OR_INFINITY, NOTHING_LEFT = 0, 1, 2
"""Outcomes of `combine_checked`."""

_quietly = np.errstate(over="ignore", invalid="ignore")
"""Rows may hold -inf, and differences of two of those are NaN: that is looked for afterwards."""


class Passes(NamedTuple):
    """What every token needs of its rows.

    A largest value is the first of equals, or a NaN whose sign is positive where there is one; a
    smallest one is a NaN where there is any other. `peak` is a row's largest value, and finite; in
    sums an infinity counts nothing. `work`: float32[2, V], overwritten.

    Attributes:
        combine: out = z of (plain, preference, extra, out); the index of the largest z, and the
            smallest z.
        extremes: of (row): the index of the largest value, and the smallest value.
        cap_difference: out = reference - min(reference - plain, most), of (plain, reference, most,
            out); -inf in the plain row stays -inf.
        exponential_sum: of (row, peak, work): sum e, with e = exp(x), x = row - peak.
        moments: of (row, peak, work): sum e, sum e x.
        tilt_sums: of (row, peak, reference, work): sum e, sum e x, sum e reference, for a reference
            that is -inf only where the row is.
    """

    combine: Callable[[Logits, Logits, np.float32, Logits], tuple[int, np.float32]]
    extremes: Callable[[Logits], tuple[int, np.float32]]
    cap_difference: Callable[[Logits, Logits, np.float32, Logits], None]
    exponential_sum: Callable[[Logits, np.float32, Logits], float]
    moments: Callable[[Logits, np.float32, Logits], tuple[float, float]]
    tilt_sums: Callable[[Logits, np.float32, Logits, Logits], tuple[float, float, float]]


def _combine(
    plain: Logits, preference: Logits, extra: np.float32, out: Logits
) -> tuple[int, np.float32]:
    np.subtract(preference, plain, out=out)
    np.multiply(out, extra, out=out)
    np.add(out, preference, out=out)
    return int(out.argmax()), out.min()


def _extremes(row: Logits) -> tuple[int, np.float32]:
    return int(row.argmax()), row.min()


def _cap_difference(plain: Logits, reference: Logits, most: np.float32, out: Logits) -> None:
    np.subtract(reference, most, out=out)
    np.maximum(out, plain, out=out)
    if plain.min() == -np.inf:
        out[np.isneginf(plain)] = -np.inf


@_quietly
def _exponential_sum(row: Logits, peak: np.float32, work: Logits) -> float:
    x = np.subtract(row, peak, out=work[0])
    return float(np.add.reduce(np.exp(x, out=x)))


@_quietly
def _moments(row: Logits, peak: np.float32, work: Logits) -> tuple[float, float]:
    x = np.subtract(row, peak, out=work[0])
    e = np.exp(x, out=work[1])
    return float(np.add.reduce(e)), _sum_of_products(e, x, work[0])


@_quietly
def _tilt_sums(
    row: Logits, peak: np.float32, reference: Logits, work: Logits
) -> tuple[float, float, float]:
    total, first = _moments(row, peak, work)
    return total, first, _sum_of_products(work[1], reference, work[0])


def _sum_of_products(left: Logits, right: Logits, scratch: Logits) -> float:
    """sum left * right, without -inf in the right one; scratch: may be that.

    Not BLAS: cold, as a step finds it, it takes twice as long, and it wakes threads of its own.
    """
    total = float(np.add.reduce(np.multiply(left, right, out=scratch)))
    if np.isfinite(total):
        return total
    scratch[np.isnan(scratch)] = 0
    return float(np.add.reduce(scratch))


NUMPYS = Passes(_combine, _extremes, _cap_difference, _exponential_sum, _moments, _tilt_sums)

passes = NUMPYS
"""Those in use."""


def use(better: Passes) -> None:
    """Let other passes do it from now on."""
    global passes
    passes = better


@_quietly
def combine(plain: Logits, preference: Logits, extra: np.float32, out: Logits) -> tuple[int, bool]:
    """out = z; the first index of the largest z, and whether it is z of sound rows.

    Any NaN or infinity in a row makes z NaN or infinite, whatever `extra`, a - 1, is. Where some z
    are -inf and nothing else is wrong, these are looked at alone; if that isn't enough, False.
    """
    best, lowest = passes.combine(plain, preference, extra, out)
    if not np.isfinite(out[best]) or np.isnan(lowest):
        return best, False
    if lowest == -np.inf:
        ruled_out = np.flatnonzero(out == lowest)
        l0, l1 = plain[ruled_out], preference[ruled_out]
        least, most = np.minimum(l0, l1), np.maximum(l0, l1)
        return best, bool((least == -np.inf).all() and (most < np.inf).all())
    return best, True


def top(row: Logits) -> tuple[int, bool]:
    """The first index of the largest value, and whether a row has neither NaN nor infinity."""
    best, lowest = passes.extremes(row)
    return best, bool(np.isfinite(row[best]) and np.isfinite(lowest))


@_quietly
def combine_checked(
    plain: Logits, preference: Logits, extra: np.float32, out: Logits
) -> tuple[int, int]:
    """out = z of rows that may hold -inf.

    Returns (index of the largest z, outcome): FOUND; NAN_OR_INFINITY if a row holds a NaN or +inf
    or the combination of finite values overflows, with the first such index; NOTHING_LEFT if every
    token is impossible.
    """
    combine(plain, preference, extra, out)
    impossible = np.isneginf(plain) | np.isneginf(preference)
    broken = np.isnan(plain) | np.isnan(preference) | np.isposinf(plain) | np.isposinf(preference)
    broken |= ~(impossible | np.isfinite(out))
    if broken.any():
        return int(broken.argmax()), NAN_OR_INFINITY
    out[impossible] = -np.inf
    best = int(out.argmax())
    return best, NOTHING_LEFT if out[best] == -np.inf else FOUND


@_quietly
def add_to_mix(
    plain: Logits, preference: Logits, weight: np.float32, mixed: Logits, scratch: Logits
) -> None:
    """mixed += weight * (preference - plain); -inf in any row stays -inf."""
    np.subtract(preference, plain, out=scratch)
    np.multiply(scratch, weight, out=scratch)
    np.add(mixed, scratch, out=mixed)
    if not np.isfinite(mixed.min()):
        mixed[np.isneginf(plain) | np.isneginf(preference)] = -np.inf


@_quietly
def mean_difference(plain: Logits, reference: Logits, floor: np.float32) -> float:
    """Mean of reference - plain over the tokens with reference >= floor that are possible.

    floor: at most the largest reference.
    """
    likely = np.flatnonzero(reference >= floor)
    differences = (reference[likely] - plain[likely])[plain[likely] > -np.inf]
    return float(differences.mean(dtype=np.float64)) if len(differences) else 0.0


@_quietly
def shrink_difference(
    plain: Logits, reference: Logits, center: np.float32, threshold: np.float32, out: Logits
) -> None:
    """out = reference - soft(reference - plain - center), soft(x) = sign(x) max(|x| - t, 0).

    So that a combination with `out` in the plain row's place scales the shrunken difference.
    soft(x) = x - x clipped to [-t, t]. -inf in either row gives -inf.
    """
    np.subtract(reference, plain, out=out)
    np.subtract(out, center, out=out)
    np.subtract(out, out.clip(-threshold, threshold), out=out)
    np.subtract(reference, out, out=out)
    if not np.isfinite(out.min()):
        out[np.isneginf(plain) | np.isneginf(reference)] = -np.inf


@_quietly
def collect(
    plain: Logits, reference: Logits, extra: np.float32, best: int, limit: np.float32, out: Logits
) -> Tokens:
    """Tokens that come within `limit` <= 0 of token `best` at some scale from 1 to 1 + extra.

    With m the reference and d = reference - plain, token j does if
    m_j - m_best + max(0, extra * (d_j - d_best)) >= limit: its distance is linear in the scale.
    """
    out = out[: len(plain)]
    if extra > 0:
        np.subtract(reference, plain, out=out)
        np.subtract(out, reference[best] - plain[best], out=out)
        np.multiply(out, extra, out=out)
        np.maximum(out, 0, out=out)
        np.add(out, reference, out=out)
        np.subtract(out, reference[best], out=out)
    else:
        np.subtract(reference, reference[best], out=out)
    near = np.flatnonzero(out >= limit)
    return near[plain[near] > -np.inf].astype(np.int32)


def tilted_moments(
    logits: NDArray[np.float64], differences: NDArray[np.float64], tilt: float
) -> tuple[float, float, float]:
    """log sum exp(m + t d), and mean and variance of d under that distribution."""
    exponents = logits + tilt * differences
    peak = exponents.max()
    weights = np.exp(exponents - peak)
    total = weights.sum()
    average = float((weights * differences).sum() / total)
    square = float((weights * differences**2).sum() / total)
    return float(peak + np.log(total)), average, max(square - average * average, 0.0)


def largest_tilt(logits: Logits, differences: Logits, highest: float, budget: float) -> float:
    """Largest t in [0, highest] whose KL(pi_t || pi_0) is at most `budget` nats.

    pi_t is the softmax of m + t d over the n tokens. With A(t) = log sum exp(m + t d) - A_0,
    KL = t A'(t) - A(t) and dKL/dt = t A''(t) = t Var_t(d) >= 0: Newton's method between two
    bounds, until KL is in [0.999 budget, budget].

    logits, differences: float32[n], m and d.
    """
    m, d = logits.astype(np.float64), differences.astype(np.float64)
    base, _, spread = tilted_moments(m, d, 0.0)
    low, high = 0.0, highest
    untried = True  # whether `high` may be within the budget
    t = highest
    if spread > 0:  # KL is about t^2 Var / 2 near 0
        t = min(highest, (2.0 * budget / spread) ** 0.5)
    for _ in range(40):
        normaliser, average, variance = tilted_moments(m, d, t)
        divergence = t * average - (normaliser - base)
        if divergence <= budget:
            low = t
            if t == highest or divergence >= 0.999 * budget:
                break
        else:
            high = t
            untried = False
        slope = t * variance
        t = t + (0.9995 * budget - divergence) / slope if slope > 0 else high
        if not low < t < high:
            t = high if untried and low > 0.5 * highest else 0.5 * (low + high)
        if high - low <= 1e-6 * highest:
            break
    return low


def published_loop(
    log_p0: NDArray[Any],
    log_p1: NDArray[Any],
    alpha: float,
    lambda_: float,
    eta: float,
    num_iterations: int,
) -> NDArray[Any]:
    """Amulet's iterations as published (arXiv 2502.19148), normalised at each step.

    log_p0, log_p1: log-policies, float32[V] or float64[V].
    """
    policy = log_p1.copy()
    utilities = np.zeros_like(log_p0)
    for i in range(1, num_iterations + 1):
        inertia = 1.0 / (eta * i)
        utilities += alpha * (policy - log_p0)
        policy = (lambda_ * log_p1 + utilities / i + policy * inertia) / (lambda_ + inertia)
        policy -= policy.max()
        policy -= np.log(np.exp(policy).sum())
    return policy
