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

from amulet_local.common.errors import ContextCreationError, DecodeError, EngineClosedError
from amulet_local.llama import library, native
from amulet_local.llama.adapters import Adapters
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag, StoppedError

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one sequence, to be computed.

    Attributes:
        sequence: which sequence of the context.
        position: position of the first token; everything before it is in memory.
        tokens: token ids.
        n_outputs: how many of the last tokens need logits.
    """

    sequence: int
    position: int
    tokens: Sequence[int]
    n_outputs: int


@dataclass(frozen=True, kw_only=True)
class ContextSettings:
    """What a context is created with.

    Attributes:
        n_ctx: tokens a sequence can hold; `unified`, tokens of all sequences together.
        n_sequences: sequences that share the context.
        n_batch: tokens a `decode` can take.
        n_outputs: rows of logits a `decode` can return.
        cache_type_k, cache_type_v: types of the KV cache.
        flash_attention: "auto", "on" or "off".
        offload: whether a GPU, if the build has one, takes part at all.
        offload_kqv: whether the KV cache lies there.
        embeddings: whether it gives hidden states; then every token that a `decode` computes is an
            output, while `want_embeddings` is on.
        pooled: with `embeddings`: pool a sequence's hidden states to one, as the model says.
        unified: whether sequences share one memory, so that a copy of one takes no room.
        adapters: what changes the weights and the state between layers.
    """

    n_ctx: int
    n_sequences: int = 1
    n_batch: int
    n_outputs: int
    cache_type_k: str
    cache_type_v: str
    flash_attention: str
    offload: bool = False
    offload_kqv: bool = False
    embeddings: bool = False
    pooled: bool = False
    unified: bool = False
    adapters: Adapters | None = None

    @property
    def plain_row_is_bare(self) -> bool:
        """Whether a plain row's context is to be created without the adapters."""
        return self.adapters is not None and not self.adapters.on_plain_rows


class Context:
    """A context with sequences 0 to n_sequences - 1.

    Attributes:
        settings: what it was created with.
        n_batch: most tokens that one `decode` takes.
        n_outputs: most rows of logits that one `decode` returns.
    """

    def __init__(self, model: Model, settings: ContextSettings, stop_flag: StopFlag) -> None:
        """Allocate the memory.

        Raises:
            ContextCreationError: no memory, or settings that this model excludes.
        """
        import llama_cpp

        self._llama_cpp = llama_cpp
        self.settings = settings
        self._stop_flag = stop_flag  # native code reads it as long as the context lives
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = settings.n_ctx * (1 if settings.unified else settings.n_sequences)
        params.kv_unified = settings.unified
        params.n_batch = params.n_ubatch = max(
            min(settings.n_batch, settings.n_ctx), settings.n_sequences
        )
        n_outputs = params.n_batch if settings.embeddings else settings.n_outputs
        params.n_outputs_max = max(min(n_outputs, params.n_batch), settings.n_sequences)
        params.embeddings = settings.embeddings
        if settings.embeddings and not settings.pooled:
            params.pooling_type = native.POOLING_NONE
        params.n_seq_max = settings.n_sequences
        params.type_k = native.CACHE_TYPES[settings.cache_type_k]
        params.type_v = native.CACHE_TYPES[settings.cache_type_v]
        params.flash_attn_type = native.FLASH_ATTENTION[settings.flash_attention]
        params.op_offload = settings.offload
        params.offload_kqv = settings.offload_kqv
        params.abort_callback = llama_cpp.ggml_abort_callback(stop_flag.callback)
        params.abort_callback_data = stop_flag.address
        params.no_perf = True
        library.log.mark()
        self._views: dict[int, Logits] = {}
        self._pointer: Any = llama_cpp.llama_init_from_model(model.pointer, params)
        if not self._pointer:
            raise ContextCreationError(
                f"llama.cpp can't create a context of {settings.n_ctx} tokens (KV cache "
                f"{settings.cache_type_k}/{settings.cache_type_v}, flash attention "
                f"{settings.flash_attention}): {library.log.last_error() or 'no reason given'}; "
                f"try a smaller n_ctx or another cache type"
            )
        if settings.adapters is not None:
            try:
                settings.adapters.apply(self._pointer)
            except BaseException:
                self.close()
                raise
        self._n_vocab = model.vocabulary.n_tokens
        self._n_embd = model.n_embd
        self.n_batch = int(params.n_batch)
        self.n_outputs = int(params.n_outputs_max)
        self._make_batch()

    def _make_batch(self) -> None:
        import llama_cpp

        n = self.n_batch
        self._tokens = np.zeros(n, dtype=np.int32)
        self._positions = np.zeros(n, dtype=np.int32)
        self._n_seq_ids = np.ones(n, dtype=np.int32)
        self._sequences = np.arange(self.settings.n_sequences, dtype=np.int32)
        self._sequences_address = self._sequences.ctypes.data
        self._seq_ids = np.full(n, self._sequences_address, dtype=np.uintp)
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

    def scale_adapters(self, scales: Sequence[float]) -> None:
        """Let the LoRA adapters count so; what is in memory was computed with the scales before.

        Raises:
            ContextCreationError: llama.cpp refuses.
        """
        assert self.settings.adapters is not None
        self.settings.adapters.scale(self.pointer, scales)

    def set_threads(self, n_threads: int, n_threads_batch: int) -> None:
        """Threads for decodes of one token, and of several."""
        import llama_cpp

        llama_cpp.llama_set_n_threads(self.pointer, n_threads, n_threads_batch)

    def decode(self, spans: Sequence[Span]) -> None:
        """Compute some spans at once.

        Args:
            spans: at most `n_batch` tokens and `n_outputs` outputs in all.

        Raises:
            StoppedError: the stop flag ended it. The memory may be in any state: clear it.
            DecodeError: llama_decode failed. The same.
        """
        start = 0
        n_outputs = 0
        address = self._sequences_address
        for span in spans:
            n = len(span.tokens)
            stop = start + n
            assert n >= 1
            assert stop <= self.n_batch
            if n == 1:  # a step of a generation: NumPy is several times as quick without slices
                self._tokens[start] = span.tokens[0]
                self._positions[start] = span.position
                self._seq_ids[start] = address + 4 * span.sequence
                self._wanted[start] = span.n_outputs
            else:
                self._tokens[start:stop] = span.tokens
                self._positions[start:stop] = range(span.position, span.position + n)
                self._seq_ids[start:stop] = address + 4 * span.sequence
                self._wanted[start:stop] = 0
                self._wanted[stop - span.n_outputs : stop] = 1
            n_outputs += span.n_outputs
            start = stop
        assert n_outputs <= self.n_outputs
        self._batch.n_tokens = start
        code = self._llama_cpp.llama_decode(self.pointer, self._batch)
        if code == native.DECODE_STOPPED:
            raise StoppedError
        if code != 0:
            raise DecodeError(_decode_failure(code, start, spans[0].position), code=code)

    def logits(self, index: int = -1) -> Logits:
        """Logits of the last `decode`, float32, shape (n_vocab,): a view, overwritten by the next.

        Args:
            index: which of its tokens, counted over all spans; -1 is the last.
        """
        row = self._llama_cpp.llama_get_logits_ith(self.pointer, index)
        if not row:
            raise DecodeError(f"llama.cpp kept no logits for token {index}", code=0)
        address = ctypes.addressof(row.contents)
        view = self._views.get(address)
        if view is None:
            if len(self._views) > self.n_outputs:  # llama.cpp moved its buffer
                self._views.clear()
            view = self._views[address] = np.ctypeslib.as_array(row, shape=(self._n_vocab,))
        return view

    def want_embeddings(self, wanted: bool) -> None:
        """Whether the next `decode` gives hidden states, of all of its tokens, or none."""
        import llama_cpp

        llama_cpp.llama_set_embeddings(self.pointer, wanted)

    def hidden_state(self, index: int = -1) -> Logits:
        """A token's hidden state after the model's last norm, float32, shape (n_embd,): a copy.

        Args:
            index: which of the tokens of the last `decode`; -1 is the last.
        """
        import llama_cpp

        return self._vector(llama_cpp.llama_get_embeddings_ith(self.pointer, index))

    def pooled_state(self, sequence: int) -> Logits:
        """A sequence's pooled hidden state after the last `decode`, as `hidden_state`."""
        import llama_cpp

        return self._vector(llama_cpp.llama_get_embeddings_seq(self.pointer, sequence))

    def score(self, sequence: int) -> float:
        """What a model for ranking makes of a sequence after the last `decode`."""
        import llama_cpp

        row = llama_cpp.llama_get_embeddings_seq(self.pointer, sequence)
        if not row:
            raise DecodeError("llama.cpp kept no score", code=0)
        return float(row[0])

    def _vector(self, row: Any) -> Logits:
        if not row:
            raise DecodeError("llama.cpp kept no hidden state", code=0)
        return np.ctypeslib.as_array(row, shape=(self._n_embd,)).copy()

    @property
    def _memory(self) -> Any:
        import llama_cpp

        return llama_cpp.llama_get_memory(self.pointer)

    def clear(self) -> None:
        """Forget every token of every sequence."""
        import llama_cpp

        llama_cpp.llama_memory_clear(self._memory, False)

    def drop_from(self, sequence: int, position: int) -> bool:
        """Forget a sequence's tokens at `position` and after. False where the model can't."""
        import llama_cpp

        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1))

    def copy_sequence(self, source: int, target: int) -> None:
        """Replace what is in `target` with all of `source`."""
        import llama_cpp

        llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def export_sequence(self, sequence: int) -> bytes:
        """The serialised state of a sequence; empty where llama.cpp can't."""
        import llama_cpp

        size = llama_cpp.llama_state_seq_get_size(self.pointer, sequence)
        state = (ctypes.c_uint8 * size)()
        if not size:
            return b""
        written = llama_cpp.llama_state_seq_get_data(self.pointer, state, size, sequence)
        return bytes(state) if written == size else b""

    def import_sequence(self, sequence: int, state: bytes) -> bool:
        """Replace a sequence by a state that a context of the same settings exported.

        Returns False, with nothing in the sequence, where llama.cpp refuses it.
        """
        import llama_cpp

        data = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        read = llama_cpp.llama_state_seq_set_data(self.pointer, data, len(state), sequence)
        if read == len(state) > 0:
            return True
        self.drop_from(sequence, -1)
        return False

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
    reason = native.DECODE_FAILURES.get(code, library.log.last_error() or "no reason given")
    return f"llama_decode failed with code {code} on {n} tokens at position {position}: {reason}"
