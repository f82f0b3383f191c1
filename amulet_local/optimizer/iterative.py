"""The optimisation as Amulet's authors publish it: T iterations over the whole vocabulary.

Kept to show what the method does and to check the closed form; generation never runs it
(realigner.py does the same in one pass). Knows nothing about models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import InvalidParameterError
from amulet_local.optimizer.kernels import published_loop


def iterate(
    log_p0: NDArray[np.floating],
    log_p1: NDArray[np.floating],
    *,
    alpha: float = 2.0,
    lambda_: float = 2.0,
    eta: float = 10.0,
    num_iterations: int = 60,
) -> NDArray[np.floating]:
    """Log-policy after T iterations of Amulet (arXiv 2502.19148).

    Args:
        log_p0: log-probabilities under the plain prompt, shape (V,), float32 or float64.
        log_p1: log-probabilities under the preference prompt, same shape and dtype.
        alpha, lambda_, eta, num_iterations: the method's hyper-parameters.

    Returns:
        The normalised log-policy, shape (V,), dtype of `log_p0`.

    Raises:
        InvalidParameterError: shapes or dtypes differ.
    """
    if log_p0.shape != log_p1.shape or log_p0.ndim != 1 or log_p0.dtype != log_p1.dtype:
        raise InvalidParameterError(
            f"log_p0 and log_p1 must be vectors of one length and dtype, got "
            f"{log_p0.dtype}{list(log_p0.shape)} and {log_p1.dtype}{list(log_p1.shape)}"
        )
    return published_loop(log_p0, log_p1, alpha, lambda_, eta, num_iterations)
