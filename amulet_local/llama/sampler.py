"""llama.cpp's sampler chain, picking from the candidates that the optimizer wrote.

Knows nothing about rows or guidance. The chain's order is llama.cpp's: penalties, top-k, top-p,
min-p, temperature, then a draw with the seed; at temperature 0 penalties, then the largest.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amulet_local.errors import BackendError, LogitsError
from amulet_local.llama import library
from amulet_local.params import SamplingParams


class SamplerChain:
    """A chain for one generation. `close` frees it."""

    def __init__(self, sampling: SamplingParams, *, n_vocab: int, n_ctx: int, seed: int) -> None:
        """Build the chain.

        Args:
            sampling: what to build.
            n_vocab: V.
            n_ctx: what a `repeat_last_n` of -1 stands for.
            seed: for the draw.
        """
        library.start()
        import llama_cpp

        self._chain: Any = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        if sampling.has_penalties:
            last_n = n_ctx if sampling.repeat_last_n == -1 else min(sampling.repeat_last_n, n_ctx)
            self._add(
                llama_cpp.llama_sampler_init_penalties(
                    n_vocab,
                    last_n,
                    sampling.repeat_penalty,
                    sampling.frequency_penalty,
                    sampling.presence_penalty,
                )
            )
        if sampling.temperature == 0:
            self._add(llama_cpp.llama_sampler_init_greedy())
        else:
            if sampling.top_k > 0:
                self._add(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
            if sampling.top_p < 1:
                self._add(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                self._add(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
            self._add(llama_cpp.llama_sampler_init_temp(sampling.temperature))
            self._add(llama_cpp.llama_sampler_init_dist(seed))
        self._array = llama_cpp.llama_token_data_array()

    def pick(self, candidates: NDArray[np.int32]) -> int:
        """Choose a token.

        Args:
            candidates: int32, shape (3 * V,): the bits of V llama_token_data. Overwritten.

        Raises:
            LogitsError: the chain left no token.
        """
        import llama_cpp

        self._array.data = ctypes.cast(  # type: ignore[assignment]
            candidates.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data)
        )
        self._array.size = len(candidates) // 3
        self._array.selected = -1
        self._array.sorted = False
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(self._array))
        chosen = self._array.selected
        if not 0 <= chosen < self._array.size:
            raise LogitsError("the samplers left no token to choose from")
        return int(self._array.data[chosen].id)

    def accept(self, token: int) -> None:
        """Tell the chain (its penalties) that `token` is now part of the text."""
        import llama_cpp

        llama_cpp.llama_sampler_accept(self._chain, token)

    def close(self) -> None:
        """Free the chain."""
        import llama_cpp

        chain, self._chain = self._chain, None
        if chain:
            llama_cpp.llama_sampler_free(chain)

    def _add(self, sampler: Any) -> None:
        import llama_cpp

        if not sampler:
            raise BackendError("llama.cpp can't create a sampler")
        llama_cpp.llama_sampler_chain_add(self._chain, sampler)
