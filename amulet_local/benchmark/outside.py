"""Everything of the benchmarks that touches llama_cpp itself: yardsticks from outside this package,
a timer around its native calls.

Knows nothing about rows or preferences. The yardsticks load llama.cpp as anybody would, without
this package's start-up, so they belong in a process of their own.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from amulet_local.benchmark.settings import N_CTX
from amulet_local.benchmark.shapes import arbitrary_tokens
from amulet_local.common.errors import BackendError, ContextCreationError

N_PROMPT = 64
N_BATCH = 512
Spans = list[tuple[float, float]]


class Completion:
    """llama-cpp-python's own high-level completion, greedy, on a prompt of arbitrary tokens."""

    def __init__(self, model: str, *, n_threads: int, n_gpu_layers: int) -> None:
        import llama_cpp

        try:
            self._llama = llama_cpp.Llama(
                model,
                n_ctx=N_CTX,
                n_batch=N_BATCH,
                n_threads=n_threads,
                n_threads_batch=n_threads,
                n_gpu_layers=n_gpu_layers,
                verbose=False,
            )
        except (ValueError, OSError, RuntimeError) as error:
            raise BackendError(f"llama-cpp-python can't load {model}: {error}") from error
        self._prompt = arbitrary_tokens("decode", N_PROMPT, self._llama.n_vocab())
        self.facts: dict[str, Any] = {"n_threads": n_threads}
        self.decode(4)

    def decode(self, n_tokens: int) -> float:
        """Seconds from the first token to `n_tokens` later."""
        stream = self._llama.generate(self._prompt, temp=0.0)
        next(stream)
        start = time.perf_counter()
        for _ in range(n_tokens):
            next(stream)
        seconds = time.perf_counter() - start
        stream.close()
        return seconds


class BareContexts:
    """Contexts side by side on one model, a thread each: two answers with nothing in between."""

    def __init__(self, model: str, *, n_contexts: int, n_threads: int) -> None:
        import llama_cpp

        _silence()
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(model), params)
        if not self._model:
            raise BackendError(f"llama.cpp can't load {model}")
        vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        n_vocab = llama_cpp.llama_vocab_n_tokens(vocabulary)
        self._prompt = arbitrary_tokens("decode", N_PROMPT, n_vocab)
        self._contexts = [self._context(n_threads) for _ in range(n_contexts)]
        self.facts: dict[str, Any] = {"n_threads": n_threads, "n_contexts": n_contexts}
        self.decode(4)

    def _context(self, n_threads: int) -> Any:
        import llama_cpp

        params = llama_cpp.llama_context_default_params()
        params.n_ctx = N_CTX
        params.n_batch = params.n_ubatch = N_BATCH
        params.n_threads = params.n_threads_batch = n_threads
        params.flash_attn_type = 0
        params.offload_kqv = params.op_offload = False
        params.no_perf = True
        context = llama_cpp.llama_init_from_model(self._model, params)
        if not context:
            raise ContextCreationError(f"llama.cpp can't create a context of {N_CTX} tokens")
        return context

    def decode(self, n_tokens: int) -> float:
        """Seconds until every context has decoded `n_tokens`, all at once."""
        import llama_cpp

        for context in self._contexts:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)
            _decode(context, self._prompt)
        steps = self._prompt * (n_tokens // N_PROMPT + 1)

        def run(context: Any) -> None:
            for token in steps[:n_tokens]:
                _decode(context, [token])

        threads = [threading.Thread(target=run, args=(item,)) for item in self._contexts]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start


def _decode(context: Any, tokens: Sequence[int]) -> None:
    import llama_cpp

    array = (ctypes.c_int32 * len(tokens))(*tokens)
    batch = llama_cpp.llama_batch_get_one(array, len(tokens))
    code = llama_cpp.llama_decode(context, batch)
    if code != 0:
        raise BackendError(f"llama_decode failed with code {code}")
    llama_cpp.llama_get_logits_ith(context, -1)


@contextmanager
def decode_spans(*, with_waits: bool) -> Iterator[Spans]:
    """Record (start, end) of every llama_decode of this process, in perf_counter's seconds.

    Args:
        with_waits: count fetching logits as well: with layers on a GPU that is where the
            computation is waited for.
    """
    import llama_cpp

    names = ["llama_decode"] + (["llama_get_logits_ith"] if with_waits else [])
    native = {name: getattr(llama_cpp, name) for name in names}
    spans: Spans = []
    for name, function in native.items():
        setattr(llama_cpp, name, _timed(function, spans))
    try:
        yield spans
    finally:
        for name, function in native.items():
            setattr(llama_cpp, name, function)


def _timed(function: Callable[..., Any], spans: Spans) -> Callable[..., Any]:
    clock = time.perf_counter

    def call(*arguments: Any) -> Any:
        start = clock()
        result = function(*arguments)
        spans.append((start, clock()))
        return result

    return call


_callback: Any = None


def _silence() -> None:
    """Keep llama.cpp's log off the terminal."""
    global _callback
    import llama_cpp

    _callback = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))
