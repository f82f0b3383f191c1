"""One llama.cpp context: the memory (KV cache) and the computation of some sequences of tokens.

Knows nothing about plain and preference rows. A context belongs to one thread at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amulet_local.errors import ContextCreationError, DecodeError, EngineClosedError
from amulet_local.llama import library
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag

Logits = NDArray[np.float32]

DECODE_STOPPED = 2
"""What llama_decode returns when the stop flag ended it."""

_CACHE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}


@dataclass(frozen=True, kw_only=True)
class ContextSettings:
    """What a context is created with.

    Attributes:
        n_ctx: tokens a sequence can hold.
        n_batch: tokens a `decode` can take.
        n_outputs: rows of logits a `decode` can return.
        n_threads, n_threads_batch: threads for one token, and for several.
        cache_type_k, cache_type_v: types of the KV cache.
        flash_attention: "auto", "on" or "off".
    """

    n_ctx: int
    n_batch: int
    n_outputs: int
    n_threads: int
    n_threads_batch: int
    cache_type_k: str
    cache_type_v: str
    flash_attention: str


class Context:
    """A context with one sequence (id 0).

    Attributes:
        settings: what it was created with.
    """

    def __init__(self, model: Model, settings: ContextSettings, stop_flag: StopFlag) -> None:
        """Allocate the memory.

        Raises:
            ContextCreationError: no memory, or settings that this model excludes.
        """
        import llama_cpp

        self.settings = settings
        self._stop_flag = stop_flag  # native code reads it as long as the context lives
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = settings.n_ctx
        params.n_batch = params.n_ubatch = min(settings.n_batch, settings.n_ctx)
        params.n_outputs_max = min(settings.n_outputs, params.n_batch)
        params.n_seq_max = 1
        params.n_threads = settings.n_threads
        params.n_threads_batch = settings.n_threads_batch
        params.type_k = _CACHE_TYPES[settings.cache_type_k]
        params.type_v = _CACHE_TYPES[settings.cache_type_v]
        params.flash_attn_type = _FLASH_ATTENTION[settings.flash_attention]
        params.abort_callback = llama_cpp.ggml_abort_callback(stop_flag.callback)
        params.abort_callback_data = stop_flag.address
        params.no_perf = True
        library.log.mark()
        self._pointer = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self._pointer:
            raise ContextCreationError(
                f"llama.cpp can't create a context of {settings.n_ctx} tokens (KV cache "
                f"{settings.cache_type_k}/{settings.cache_type_v}, flash attention "
                f"{settings.flash_attention}): {library.log.last_error() or 'no reason given'}; "
                f"try a smaller n_ctx or another cache type"
            )
        self._memory = llama_cpp.llama_get_memory(self._pointer)
        self._n_vocab = model.vocabulary.n_tokens
        self._n_batch = int(params.n_batch)
        self._n_outputs = int(params.n_outputs_max)
        self._make_batch()
        self._views: dict[int, Logits] = {}

    def _make_batch(self) -> None:
        import llama_cpp

        n = self._n_batch
        self._tokens = np.zeros(n, dtype=np.int32)
        self._positions = np.zeros(n, dtype=np.int32)
        self._n_seq_ids = np.ones(n, dtype=np.int32)
        self._sequence = np.zeros(1, dtype=np.int32)
        self._seq_ids = np.full(n, self._sequence.ctypes.data, dtype=np.uintp)
        self._wanted = np.zeros(n, dtype=np.int8)

        def pointer(array: NDArray[Any], kind: Any) -> Any:
            return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))

        self._batch = llama_cpp.llama_batch(
            token=pointer(self._tokens, ctypes.c_int32),
            pos=pointer(self._positions, ctypes.c_int32),
            n_seq_id=pointer(self._n_seq_ids, ctypes.c_int32),
            seq_id=pointer(self._seq_ids, ctypes.POINTER(ctypes.c_int32)),
            logits=pointer(self._wanted, ctypes.c_int8),
        )

    @property
    def n_batch(self) -> int:
        """Most tokens that one `decode` takes."""
        return self._n_batch

    @property
    def n_outputs(self) -> int:
        """Most rows of logits that one `decode` returns."""
        return self._n_outputs

    def decode(self, tokens: Sequence[int], position: int, *, outputs: int) -> None:
        """Compute `tokens` at `position` and keep the logits of the last `outputs` of them.

        Args:
            tokens: 1 to n_batch token ids.
            position: position of the first; everything before is in memory.
            outputs: 0 to n_outputs.

        Raises:
            DecodeError: llama_decode failed. Code 2 means that the stop flag ended it. The memory
                may be in any state: clear it.
        """
        import llama_cpp

        n = len(tokens)
        assert 1 <= n <= self._n_batch
        assert 0 <= outputs <= min(n, self._n_outputs)
        self._tokens[:n] = tokens
        self._positions[:n] = range(position, position + n)
        self._wanted[:n] = 0
        if outputs:
            self._wanted[n - outputs : n] = 1
        self._batch.n_tokens = n
        code = llama_cpp.llama_decode(self.pointer, self._batch)
        if code != 0:
            raise DecodeError(_decode_failure(code, n, position), code=code)

    def logits(self, index: int = -1) -> Logits:
        """Logits of the last `decode`, float32, shape (n_vocab,): a view, overwritten by the next.

        Args:
            index: which of its tokens; -1 is the last.
        """
        import llama_cpp

        row = llama_cpp.llama_get_logits_ith(self.pointer, index)
        if not row:
            raise DecodeError(f"llama.cpp kept no logits for token {index}", code=0)
        address = ctypes.addressof(row.contents)
        view = self._views.get(address)
        if view is None:
            if len(self._views) > self._n_outputs:  # llama.cpp moved its buffer
                self._views.clear()
            view = self._views[address] = np.ctypeslib.as_array(row, shape=(self._n_vocab,))
        return view

    def clear(self) -> None:
        """Forget every token."""
        import llama_cpp

        llama_cpp.llama_memory_clear(self._memory, False)

    def drop_from(self, position: int) -> bool:
        """Forget the tokens at `position` and after. False where the model can't (recurrent)."""
        import llama_cpp

        return bool(llama_cpp.llama_memory_seq_rm(self._memory, 0, position, -1))

    @property
    def pointer(self) -> Any:
        """The native llama_context.

        Raises:
            EngineClosedError: the context was closed.
        """
        if not self._pointer:
            raise EngineClosedError("the context is closed; load the model again")
        return self._pointer

    def close(self) -> None:
        """Free the memory."""
        import llama_cpp

        pointer, self._pointer = self._pointer, None
        self._views = {}
        if pointer:
            llama_cpp.llama_free(pointer)


def _decode_failure(code: int, n: int, position: int) -> str:
    if code == DECODE_STOPPED:
        return "the computation was stopped"
    reason = {1: "no room left in the KV cache", -1: "an invalid batch"}.get(
        code, library.log.last_error() or "no reason given"
    )
    return f"llama_decode failed with code {code} on {n} tokens at position {position}: {reason}"
