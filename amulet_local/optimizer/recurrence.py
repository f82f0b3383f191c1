"""The closed form of Amulet's optimisation: four hyper-parameters -> one guidance scale.

Knows nothing about tokens, logits or models. Plain Python on plain floats.

Amulet (ICLR 2025, arXiv 2502.19148) runs T iterations per token, starting from x_0 = log p1:

    Q_i = alpha * (x_{i-1} - log p0)
    x_i = (lambda * log p1 + mean(Q_1..Q_i) + x_{i-1} / (eta*i)) / (lambda + 1 / (eta*i))

and normalises. Every step is linear in the two log-policies, so
x_i = log p0 + a_i * (log p1 - log p0) + const, where a_i follows the same recurrence with x -> a,
log p0 -> 0, log p1 -> 1. a_T is what classifier-free guidance calls a guidance scale: 0 is the
plain prompt, 1 the preference prompt.
"""

from __future__ import annotations


def guidance_scale(alpha: float, lambda_: float, eta: float, num_iterations: int) -> float:
    """Guidance scale a_T that `num_iterations` steps of Amulet's optimisation amount to.

    Args:
        alpha: weight of the utility, >= 0.
        lambda_: weight of the anchor at the preference policy, > 0.
        eta: learning rate, > 0.
        num_iterations: T, >= 1.

    Returns:
        a_T, dimensionless. Infinite where the recurrence overflows a float.
    """
    scale = 1.0
    sum_of_scales = 0.0
    for i in range(1, num_iterations + 1):
        sum_of_scales += scale
        inertia = 1.0 / (eta * i)
        scale = (lambda_ + alpha * sum_of_scales / i + scale * inertia) / (lambda_ + inertia)
    return scale


def from_cfg_gamma(gamma: float) -> float:
    """Guidance scale of classifier-free guidance with strength `gamma` (arXiv 2306.17806).

    There log p = log p0 + gamma * (log p1 - log p0): the same notion.
    """
    return gamma


def to_cfg_gamma(scale: float) -> float:
    """Inverse of `from_cfg_gamma`."""
    return scale


def from_linear_alignment_ratio(ratio: float) -> float:
    """Guidance scale of Linear Alignment (arXiv 2401.11458): log p1 + ratio * (log p1 - log p0)."""
    return 1.0 + ratio


def to_linear_alignment_ratio(scale: float) -> float:
    """Inverse of `from_linear_alignment_ratio`."""
    return scale - 1.0


def from_context_steering_lambda(lambda_: float) -> float:
    """Guidance scale of Context Steering (arXiv 2405.01768) on the preference side.

    There log p = log p1 + lambda * (log p1 - log p0).
    """
    return 1.0 + lambda_


def to_context_steering_lambda(scale: float) -> float:
    """Inverse of `from_context_steering_lambda`."""
    return scale - 1.0
