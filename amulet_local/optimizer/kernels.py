"""Every Numba kernel of the optimizer: scalar loops over arrays that the caller owns.

Knows nothing about models, prompts or sampling. A kernel is compiled, or loaded from the cache,
when it is first called. All kernels take float32 logits (any additive constant; the softmax
constants cancel) and write into the caller's arrays.

One pass computes the combination of two rows of logits over a vocabulary of V tokens,

    z = l1 + (a - 1) * (l1 - l0)        (= l0 + a * (l1 - l0), exact at a = 1)

with l0 the plain row, l1 the preference row and a the guidance scale (recurrence.py).

The maximum is searched on integer keys: for a float32 with bits b, b ^ ((b >> 31) & 0x7fffffff)
as a signed integer orders all floats, -NaN < -inf < ... < inf < NaN, and integer maxima vectorise
where float maxima don't. Any NaN or infinity in a row makes z NaN or infinite whatever a is, so
the smallest and the largest key of z tell whether everything was finite; only where it wasn't is
a careful pass needed (`combine_checked`).

Guards look at the combination at a = 1, called reference here: the preference row, or that of a
mix. Sums of exponentials run over blocks, with an exponential that vectorises (`exp_block`), and
are exact to about 1e-6 of their value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from amulet_local.common.jit import lazy_njit

BLOCK = 2048
"""Tokens combined at a time; a block of z stays in the first-level cache."""

SMALL_BLOCK = 256
"""Tokens of which `block_peaks` knows the largest z."""

KEY_OF_INFINITY = 0x7F800000
KEY_OF_MINUS_INFINITY = -0x7F800001

FOUND, NAN_OR_INFINITY, NOTHING_LEFT = 0, 1, 2
"""Outcomes of `combine_checked`."""

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_LOWEST_EXPONENT = np.float32(-87.0)
_EXPONENT_BIAS = np.int32(127)
_MANTISSA_BITS = np.int32(23)
_C2, _C3, _C4, _C5, _C6 = (
    np.float32(1.0 / factorial) for factorial in (2.0, 6.0, 24.0, 120.0, 720.0)
)

_SIGN = np.int32(31)
_REST = np.int32(0x7FFFFFFF)
_LOWEST = np.int32(-0x80000000)


@register_jitable
def combine_block(plain: Any, preference: Any, extra: Any, out: Any) -> None:
    """out = preference + extra * (preference - plain); float32[n] each."""
    for j in range(plain.shape[0]):
        out[j] = preference[j] + extra * (preference[j] - plain[j])


@register_jitable
def key_range(bits: Any) -> Any:
    """Smallest and largest order-preserving key of the floats whose bits are int32[n]."""
    low = _REST
    high = _LOWEST
    for j in range(bits.shape[0]):
        b = bits[j]
        key = np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST))
        high = key if key > high else high
        low = key if key < low else low
    return low, high


@lazy_njit
def greedy(plain: Any, preference: Any, extra: Any, scratch: Any) -> Any:
    """First index of the largest z, with the smallest and largest key of all z.

    plain, preference: float32[V]; extra: float32, a - 1; scratch: float32[BLOCK].
    """
    n = plain.shape[0]
    low = _REST
    high = _LOWEST
    best = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        block_low, block_high = key_range(block.view(np.int32))
        low = min(low, block_low)
        if block_high > high:
            high = block_high
            best = start
    stop = min(best + BLOCK, n)
    block = scratch[: stop - best]
    combine_block(plain[best:stop], preference[best:stop], extra, block)
    bits = block.view(np.int32)
    for j in range(bits.shape[0]):
        b = bits[j]
        if np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST)) == high:
            return best + j, low, high
    return best, low, high


@lazy_njit
def fill_candidates(plain: Any, preference: Any, extra: Any, scratch: Any, candidates: Any) -> Any:
    """Write (id, z, 0) for every token; return the smallest and largest key of z.

    candidates: int32[3 * V], the bits of V llama_token_data {int32 id; float logit; float p}.
    Other arguments as in `greedy`.
    """
    n = plain.shape[0]
    low = _REST
    high = _LOWEST
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        bits = block.view(np.int32)
        block_low, block_high = key_range(bits)
        low = min(low, block_low)
        high = max(high, block_high)
        out = candidates[3 * start : 3 * stop]
        for j in range(bits.shape[0]):
            out[3 * j] = np.int32(start + j)
            out[3 * j + 1] = bits[j]
            out[3 * j + 2] = np.int32(0)
    return low, high


@lazy_njit
def block_peaks(plain: Any, preference: Any, extra: Any, scratch: Any, peaks: Any) -> Any:
    """Write the largest key of each small block; return the smallest and largest key of all z.

    peaks: int32[ceil(V / SMALL_BLOCK)]. Other arguments as in `greedy`.
    """
    n = plain.shape[0]
    low = _REST
    high = _LOWEST
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        bits = block.view(np.int32)
        for part in range(0, bits.shape[0], SMALL_BLOCK):
            part_low, part_high = key_range(bits[part : min(part + SMALL_BLOCK, bits.shape[0])])
            peaks[(start + part) // SMALL_BLOCK] = part_high
            low = min(low, part_low)
            high = max(high, part_high)
    return low, high


@lazy_njit
def fill_from(
    plain: Any,
    preference: Any,
    extra: Any,
    floor: Any,
    scratch: Any,
    peaks: Any,
    candidates: Any,
) -> Any:
    """Write (id, z, 0) for the tokens whose key is `floor` or more, in the order of their ids.

    Returns how many there are. floor: int32; peaks: of `block_peaks`. Other arguments as in
    `fill_candidates`.
    """
    n = plain.shape[0]
    written = 0
    for index in range(peaks.shape[0]):
        if peaks[index] < floor:
            continue
        start = index * SMALL_BLOCK
        stop = min(start + SMALL_BLOCK, n)
        block = scratch[: stop - start]
        combine_block(plain[start:stop], preference[start:stop], extra, block)
        bits = block.view(np.int32)
        for j in range(bits.shape[0]):
            b = bits[j]
            if np.int32(b ^ np.int32(np.int32(b >> _SIGN) & _REST)) >= floor:
                candidates[3 * written] = np.int32(start + j)
                candidates[3 * written + 1] = b
                candidates[3 * written + 2] = np.int32(0)
                written += 1
    return written


@lazy_njit
def combine_checked(plain: Any, preference: Any, extra: Any, out: Any) -> Any:
    """Combine rows that may hold -inf: such a token stays -inf, whatever the other row says.

    Returns (index of the largest z, outcome): FOUND; NAN_OR_INFINITY if a row holds a NaN or
    +inf or the combination of finite values overflows; NOTHING_LEFT if every token is -inf.
    out: float32[V], z.
    """
    best = -1
    for j in range(plain.shape[0]):
        l0 = plain[j]
        l1 = preference[j]
        if l0 == -np.inf or l1 == -np.inf:
            if np.isnan(l0) or np.isnan(l1) or l0 == np.inf or l1 == np.inf:
                return j, NAN_OR_INFINITY
            out[j] = -np.inf
            continue
        z = l1 + extra * (l1 - l0)
        if not np.isfinite(z):
            return j, NAN_OR_INFINITY
        out[j] = z
        if best < 0 or z > out[best]:
            best = j
    if best < 0:
        return 0, NOTHING_LEFT
    return best, FOUND


@lazy_njit
def start_mix(plain: Any, preference: Any, weight: Any, mixed: Any) -> None:
    """mixed = plain + weight * (preference - plain); -inf in either row stays -inf."""
    for j in range(plain.shape[0]):
        if plain[j] == -np.inf or preference[j] == -np.inf:
            mixed[j] = -np.inf
        else:
            mixed[j] = plain[j] + weight * (preference[j] - plain[j])


@lazy_njit
def add_to_mix(plain: Any, preference: Any, weight: Any, mixed: Any) -> None:
    """mixed += weight * (preference - plain); -inf in either row stays -inf."""
    for j in range(plain.shape[0]):
        if plain[j] == -np.inf or preference[j] == -np.inf:
            mixed[j] = -np.inf
        else:
            mixed[j] += weight * (preference[j] - plain[j])


@register_jitable
def exp_block(values: Any, powers: Any) -> None:
    """Each of float32[n] <= 0 becomes its exponential; exp(-87) below -87. powers: int32[n].

    x = k ln 2 + r with |r| <= ln 2 / 2, and exp(r) by its Taylor series to the sixth power.
    """
    n = values.shape[0]
    for j in range(n):
        value = values[j] if values[j] > _LOWEST_EXPONENT else _LOWEST_EXPONENT
        k = np.int32(value * _LOG2_E - np.float32(0.5))
        whole = np.float32(k)
        r = value - whole * _LN2_HIGH - whole * _LN2_LOW
        p = _C5 + r * _C6
        p = _C4 + r * p
        p = _C3 + r * p
        p = _C2 + r * p
        values[j] = np.float32(1.0) + r + r * r * p
        powers[j] = np.int32(k + _EXPONENT_BIAS) << _MANTISSA_BITS
    scales = powers.view(np.float32)
    for j in range(n):
        values[j] *= scales[j]


@register_jitable(fastmath={"reassoc", "contract"})  # of sums alone, so that they vectorise
def sum_block(values: Any) -> Any:
    """Sum of float32[n], in float32 (n <= BLOCK)."""
    total = np.float32(0.0)
    for j in range(values.shape[0]):
        total += values[j]
    return total


@register_jitable(fastmath={"reassoc", "contract"})
def moments_block(weights: Any, values: Any) -> Any:
    """Sums of weights * values and of weights * values^2, float32[n] each."""
    first = np.float32(0.0)
    second = np.float32(0.0)
    for j in range(weights.shape[0]):
        product = weights[j] * values[j]
        first += product
        second += product * values[j]
    return first, second


@register_jitable
def exponents_block(plain: Any, preference: Any, extra: Any, peak: Any, block: Any) -> None:
    """block = z - peak; where that is negligible or a token is impossible, what exp makes nothing.

    plain, preference, block: float32[n]; extra, peak: as in `entropy`.
    """
    combine_block(plain, preference, extra, block)
    for j in range(block.shape[0]):
        below = block[j] - peak
        counts = below > _LOWEST_EXPONENT and plain[j] != -np.inf
        block[j] = below if counts else _LOWEST_EXPONENT


@lazy_njit
def log_normaliser(row: Any, peak: Any, scratch: Any, powers: Any) -> Any:
    """log sum_j exp(row_j), float64.

    row: float32[V]; peak: its largest value; scratch: float32[BLOCK]; powers: int32[BLOCK].
    """
    n = row.shape[0]
    total = 0.0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        part = row[start:stop]
        for j in range(block.shape[0]):
            block[j] = part[j] - peak
        exp_block(block, powers)
        total += sum_block(block)
    return np.float64(peak) + np.log(total)


@lazy_njit
def entropy(plain: Any, preference: Any, extra: Any, peak: Any, scratch: Any, powers: Any) -> Any:
    """Entropy of softmax(z) in nats, float64: log S - sum_j e_j x_j / S, x = z - peak, e = exp(x).

    Arguments as in `greedy` and `log_normaliser`; peak: the largest z. A token that is -inf in
    either row doesn't count.
    """
    n = plain.shape[0]
    total, first = 0.0, 0.0
    values = np.empty(BLOCK, dtype=np.float32)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        x = values[: stop - start]
        exponents_block(plain[start:stop], preference[start:stop], extra, peak, block)
        x[:] = block
        exp_block(block, powers)
        total += sum_block(block)
        first += moments_block(block, x)[0]
    return np.log(total) - first / total


@lazy_njit
def divergence(
    plain: Any, preference: Any, extra: Any, peak: Any, scratch: Any, powers: Any
) -> Any:
    """E[extra * d] - log sum_j exp(z_j) in nats, float64, d = l1 - l0: with log Z_1 a divergence.

    Arguments as in `entropy`.
    """
    n = plain.shape[0]
    total, first = 0.0, 0.0
    values = np.empty(BLOCK, dtype=np.float32)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        differences = values[: stop - start]
        part, part_plain = preference[start:stop], plain[start:stop]
        exponents_block(part_plain, part, extra, peak, block)
        for j in range(block.shape[0]):
            counts = block[j] > _LOWEST_EXPONENT
            differences[j] = part[j] - part_plain[j] if counts else np.float32(0)
        exp_block(block, powers)
        total += sum_block(block)
        first += moments_block(block, differences)[0]
    return np.float64(extra) * first / total - np.float64(peak) - np.log(total)


@lazy_njit
def mean_difference(plain: Any, reference: Any, floor: Any) -> Any:
    """Mean of reference - plain over the tokens with reference >= floor, float64.

    plain, reference: float32[V]; floor: float32, at most the largest reference.
    """
    total = 0.0
    count = 0
    for j in range(plain.shape[0]):
        if reference[j] >= floor and plain[j] != -np.inf:
            total += reference[j] - plain[j]
            count += 1
    return total / max(count, 1)


@lazy_njit
def shrink_difference(plain: Any, reference: Any, center: Any, threshold: Any, out: Any) -> None:
    """out = reference - soft(reference - plain - center), soft(x) = sign(x) max(|x| - t, 0).

    So that a combination with `out` in the plain row's place scales the shrunken difference.
    float32[V] each; center, threshold: float32. -inf in either row gives -inf.
    """
    for j in range(plain.shape[0]):
        x = reference[j] - plain[j] - center
        above = x - threshold
        below = x + threshold
        soft = above if above > 0 else (below if below < 0 else np.float32(0.0))
        lost = plain[j] == -np.inf or reference[j] == -np.inf
        out[j] = np.float32(-np.inf) if lost else reference[j] - soft


@lazy_njit
def collect(
    plain: Any,
    reference: Any,
    extra: Any,
    best: Any,
    limit: Any,
    scratch: Any,
    indices: Any,
    logits: Any,
    differences: Any,
) -> Any:
    """Tokens that come within `limit` of token `best` at some scale from 1 to 1 + extra.

    With m the reference and d = reference - plain, token j does if
    m_j - m_best + max(0, extra * (d_j - d_best)) >= limit: its distance is linear in the scale.
    Writes the index, m_j - m_best and d_j - d_best of each; returns how many there are.

    plain, reference: float32[V]; extra, limit: float32, limit <= 0; best: index of the largest m;
    scratch: float32[BLOCK]; indices: int32[V]; logits, differences: float32[V].
    """
    n = plain.shape[0]
    peak = reference[best]
    peak_difference = reference[best] - plain[best]
    zero = np.float32(0.0)
    scratch[0] = limit
    limit_key = key_range(scratch[:1].view(np.int32))[0]
    kept = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        reach = scratch[: stop - start]
        part = reference[start:stop]
        plain_part = plain[start:stop]
        for j in range(reach.shape[0]):
            gain = extra * (part[j] - plain_part[j] - peak_difference)
            reach[j] = part[j] - peak + (gain if gain > zero else zero)
        if not key_range(reach.view(np.int32))[1] >= limit_key:
            continue
        for j in range(reach.shape[0]):
            if reach[j] >= limit and plain_part[j] != -np.inf:
                indices[kept] = start + j
                logits[kept] = part[j] - peak
                differences[kept] = part[j] - plain_part[j] - peak_difference
                kept += 1
    return kept


@register_jitable
def tilt_block(logits: Any, differences: Any, tilt: Any, peak: Any, out: Any) -> None:
    """out = logits + tilt * differences - peak; float32[n] each."""
    for j in range(out.shape[0]):
        out[j] = logits[j] + tilt * differences[j] - peak


@register_jitable
def tilted_moments(logits: Any, differences: Any, tilt: Any, scratch: Any, powers: Any) -> Any:
    """log sum exp(m + t d), and mean and variance of d under that distribution; float64."""
    n = logits.shape[0]
    high = _LOWEST
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        tilt_block(logits[start:stop], differences[start:stop], tilt, np.float32(0.0), block)
        high = max(high, key_range(block.view(np.int32))[1])
    scratch.view(np.int32)[0] = np.int32(high ^ np.int32(np.int32(high >> _SIGN) & _REST))
    peak = scratch[0]
    total, first, second = 0.0, 0.0, 0.0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = scratch[: stop - start]
        tilt_block(logits[start:stop], differences[start:stop], tilt, peak, block)
        exp_block(block, powers)
        total += sum_block(block)
        block_first, block_second = moments_block(block, differences[start:stop])
        first += block_first
        second += block_second
    mean = first / total
    return np.float64(peak) + np.log(total), mean, max(second / total - mean * mean, 0.0)


@lazy_njit
def largest_tilt(
    logits: Any, differences: Any, highest: Any, budget: Any, scratch: Any, powers: Any
) -> Any:
    """Largest t in [0, highest] whose KL(pi_t || pi_0) is at most `budget` nats; float64.

    pi_t is the softmax of m + t d over the n tokens. With A(t) = log sum exp(m + t d) - A_0,
    KL = t A'(t) - A(t) and dKL/dt = t A''(t) = t Var_t(d) >= 0: Newton's method between two
    bounds, until KL is in [0.999 budget, budget].

    logits, differences: float32[n], m and d; highest, budget: float64; scratch: float32[BLOCK];
    powers: int32[BLOCK].
    """
    base, _, spread = tilted_moments(logits, differences, np.float32(0.0), scratch, powers)
    low, high = 0.0, highest
    untried = True  # whether `high` may be within the budget
    t = highest
    if spread > 0:  # KL is about t^2 Var / 2 near 0
        t = min(highest, np.sqrt(2.0 * budget / spread))
    for _ in range(40):
        normaliser, mean, variance = tilted_moments(
            logits, differences, np.float32(t), scratch, powers
        )
        divergence = t * mean - (normaliser - base)
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


@lazy_njit
def published_loop(
    log_p0: Any,
    log_p1: Any,
    alpha: Any,
    lambda_: Any,
    eta: Any,
    num_iterations: Any,
    policy: Any,
    utility_sum: Any,
) -> None:
    """Amulet's iterations as published (arXiv 2502.19148), normalised at each step.

    log_p0, log_p1: log-policies, float32[V] or float64[V]; policy: the result, the same;
    utility_sum: scratch, the same.
    """
    n = log_p0.shape[0]
    for j in range(n):
        policy[j] = log_p1[j]
        utility_sum[j] = 0.0
    for i in range(1, num_iterations + 1):
        inertia = 1.0 / (eta * i)
        largest = -np.inf
        for j in range(n):
            utility_sum[j] += alpha * (policy[j] - log_p0[j])
            x = lambda_ * log_p1[j] + utility_sum[j] / i + policy[j] * inertia
            policy[j] = x / (lambda_ + inertia)
            largest = max(largest, policy[j])
        total = 0.0
        for j in range(n):
            total += np.exp(policy[j] - largest)
        normaliser = largest + np.log(total)
        for j in range(n):
            policy[j] -= normaliser
