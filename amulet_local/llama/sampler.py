"""llama.cpp's samplers, picking from the candidates that the optimizer wrote.

Knows nothing about rows or guidance. The order is llama.cpp's: logit bias, penalties, DRY; then
top-k, typical, top-p, min-p, XTC, temperature and a draw with the seed, or temperature and
mirostat, or the largest at temperature 0. Two things are done here and not there, with the same
result: where there is no top-k, candidates are cut and sorted by a kernel, because llama.cpp sorts
the whole vocabulary; and grammars (amulet_local.grammar).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import BackendError, LogitsError
from amulet_local.grammar.gbnf import Grammar
from amulet_local.grammar.tokens import TokenFilter
from amulet_local.llama import library
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.optimizer import candidate_kernels
from amulet_local.params.sampling import SamplingParams

Candidates = NDArray[np.int32]
"""int32, shape (3 * n,): the bits of n llama_token_data, at the beginning of a buffer."""

Source = Callable[[], Candidates]

GREEDY_BELOW = 1e-6
"""Temperature below which only the largest logit counts; divided by less, logits may overflow."""
MOST_CERTAIN = 0.99
"""Largest top-p that is surely reached without what no float32 sum notices."""
_MIROSTAT_TOKENS = 100
"""Tokens that mirostat 1 estimates with; llama.cpp's constant."""


class SamplerChain:
    """The samplers of one generation. `close` frees them."""

    def __init__(
        self,
        sampling: SamplingParams,
        *,
        vocabulary: Vocabulary,
        n_ctx: int,
        seed: int,
        spelled_rules: Grammar | None = None,
    ) -> None:
        """Build the chain.

        Args:
            sampling: what to build.
            vocabulary: the model's.
            n_ctx: what a `repeat_last_n` or `dry_penalty_last_n` of -1 stands for.
            seed: for the draws.
            spelled_rules: a grammar of the answer with its control tokens as they are written,
                instead of the one in `sampling`.

        Raises:
            InvalidTokenError: `logit_bias` names a token outside the vocabulary.
            BackendError: llama.cpp can't create a sampler.
        """
        check_biases(sampling, vocabulary)
        library.start()
        import llama_cpp

        self._sampling = sampling
        self._array = llama_cpp.llama_token_data_array()
        first = llama_cpp.llama_token_data_array.data.offset  # type: ignore[attr-defined]
        self._data_address = ctypes.c_size_t.from_buffer(self._array, first)
        self._array_reference = ctypes.byref(self._array)
        self._buffer: Candidates | None = None
        self._buffer_address = 0
        self._looks_back = sampling.has_penalties or sampling.has_dry
        self._n_ctx = n_ctx
        self._filter: TokenFilter | None = None
        if spelled_rules is not None:
            self._filter = TokenFilter(spelled_rules, vocabulary.spelled_table)
        elif sampling.rules is not None:
            self._filter = TokenFilter(sampling.rules, vocabulary.token_table)
        self._n_lowered: int | None = None  # tokens, where nothing but lowering them adjusts
        self._sorter = _Sorter.of(sampling, vocabulary.n_tokens)
        with ExitStack() as made:
            self._adjusting = made.enter_context(closing(_NativeChain()))
            self._drawing = made.enter_context(closing(_NativeChain()))
            self._add_adjusting(sampling, vocabulary)
            if sampling.temperature < GREEDY_BELOW:
                self._drawing.add(llama_cpp.llama_sampler_init_greedy())
            elif sampling.mirostat:
                self._add_mirostat(sampling, vocabulary, seed)
            else:
                self._add_drawing(sampling, seed)
            made.pop_all()

    @property
    def which(self) -> candidate_kernels.Which | None:
        """Says which tokens make a difference to what is done first; None where all do."""
        sampling = self._sampling
        n_lowered = 0 if self._adjusting.is_empty else self._n_lowered
        if n_lowered is None or sampling.mirostat:
            return None
        if n_lowered and self._filter is not None:
            return None
        if sampling.temperature < GREEDY_BELOW:
            return partial(candidate_kernels.among_likeliest, 1 + n_lowered) if n_lowered else None
        if sampling.top_k > 0:
            return partial(candidate_kernels.among_likeliest, sampling.top_k + n_lowered)
        if (
            n_lowered
            or self._sorter is None
            or self._sorter.top_p is None
            or self._filter is not None
        ):
            return None
        return candidate_kernels.countable if sampling.top_p <= MOST_CERTAIN else None

    def pick(self, source: Source, others: Callable[[], Sequence[Source]] = tuple) -> int:
        """Choose a token.

        With a grammar, first one is chosen without it; if that token isn't allowed, another one
        is chosen among those that are. (As llama.cpp does: most tokens are allowed, and checking
        one is fast.)

        Args:
            source: writes the candidates and returns them. The array is overwritten, and it may
                be asked again.
            others: gives the sources to ask where the grammar or the biases leave no candidate
                of those before.

        Raises:
            LogitsError: no token is left.
            InvalidParameterError: the grammar is too ambiguous.
        """
        token = self._draw(self._adjusted(source()))
        if token is not None and (self._filter is None or self._filter.allows(token)):
            return token
        for other in (*([] if self._filter is None else [source]), *others()):
            candidates = self._adjusted(other())
            if self._filter is not None:
                candidates = candidates[: 3 * self._filter.keep_allowed(candidates)]
            token = self._draw(candidates) if len(candidates) else None
            if token is not None:
                return token
        raise LogitsError(
            "the samplers left no token to choose from"
            if self._filter is None
            else "no token of this vocabulary continues the answer as the grammar wants it"
        )

    def left(self, n: int) -> tuple[float, list[tuple[int, float]]]:
        """What the last token was drawn from, to be asked before the next one is picked.

        Args:
            n: how many of the likeliest are wanted.

        Returns:
            Its probability, and those of the likeliest that aren't impossible, by their ids, best
            first. Where the largest logit was taken it is alone.
        """
        array = self._array
        chosen = array.data[array.selected]
        if self._sampling.temperature < GREEDY_BELOW:
            return 1.0, [(int(chosen.id), 1.0)][:n]
        if n == 0:
            return float(chosen.p), []
        words = ctypes.cast(array.data, ctypes.POINTER(ctypes.c_int32))
        table = np.ctypeslib.as_array(words, shape=(array.size, 3))
        p = table[:, 2].copy().view(np.float32)
        best = np.argpartition(p, max(0, len(p) - n))[max(0, len(p) - n) :]
        best = best[np.lexsort((best, -p[best]))]
        return float(chosen.p), [(int(table[i, 0]), float(p[i])) for i in best if p[i] > 0][:n]

    def accept(self, token: int) -> None:
        """`token` is now part of the answer."""
        if self._looks_back:
            self._adjusting.accept(token)
        if self._filter is not None:
            self._filter.accept(token)

    def accept_prompt(self, tokens: Iterable[int]) -> None:
        """These tokens come before the answer: penalties and DRY see them, a grammar doesn't."""
        if self._looks_back:
            for token in [*tokens][-self._n_ctx :]:
                self._adjusting.accept(token)

    def close(self) -> None:
        """Free the samplers. May be called twice."""
        self._adjusting.close()
        self._drawing.close()

    def _adjusted(self, candidates: Candidates) -> Candidates:
        """The candidates after what changes single logits."""
        if self._adjusting.is_empty:
            return candidates
        self._set_array(candidates, is_sorted=False)
        self._adjusting.apply(self._array_reference)
        return candidates

    def _draw(self, candidates: Candidates) -> int | None:
        """A token, None if all that could be drawn are impossible. The candidates are spent."""
        if self._sorter is not None:
            candidates = self._sorter.sort(candidates)
            if len(candidates) == 0:
                return None
        self._set_array(candidates, is_sorted=self._sorter is not None)
        self._drawing.apply(self._array_reference)
        chosen = self._array.selected
        if not 0 <= chosen < self._array.size:
            return None
        drawn = self._array.data[chosen]
        return int(drawn.id) if drawn.logit > -math.inf else None

    def _set_array(self, candidates: Candidates, *, is_sorted: bool) -> None:
        buffer = candidates if candidates.base is None else candidates.base
        if buffer is not self._buffer:  # NumPy takes long to say where an array is
            self._buffer, self._buffer_address = buffer, candidates.ctypes.data
        self._data_address.value = self._buffer_address
        self._array.size = len(candidates) // 3
        self._array.selected = -1
        self._array.sorted = is_sorted

    def _add_adjusting(self, sampling: SamplingParams, vocabulary: Vocabulary) -> None:
        import llama_cpp

        add, n_ctx, n_vocab = self._adjusting.add, self._n_ctx, vocabulary.n_tokens
        biases = dict(sampling.logit_bias)
        if sampling.ignore_eos:
            biases.update(dict.fromkeys(vocabulary.end_tokens, -math.inf))
        lowers = max(biases.values(), default=0.0) <= 0
        if lowers and not sampling.has_penalties and not sampling.has_dry:
            self._n_lowered = len(biases)
        if biases:
            items = [llama_cpp.llama_logit_bias(token, bias) for token, bias in biases.items()]
            array = (llama_cpp.llama_logit_bias * len(items))(*items)
            add(llama_cpp.llama_sampler_init_logit_bias(n_vocab, len(items), array))
        if sampling.has_penalties:
            last_n = n_ctx if sampling.repeat_last_n == -1 else min(sampling.repeat_last_n, n_ctx)
            add(
                llama_cpp.llama_sampler_init_penalties(
                    n_vocab,
                    last_n,
                    sampling.repeat_penalty,
                    sampling.frequency_penalty,
                    sampling.presence_penalty,
                )
            )
        if sampling.has_dry:
            last_n = sampling.dry_penalty_last_n
            breakers = [text.encode() for text in sampling.dry_sequence_breakers]
            add(
                llama_cpp.llama_sampler_init_dry(
                    vocabulary.pointer,
                    sampling.dry_multiplier,
                    sampling.dry_base,
                    sampling.dry_allowed_length,
                    n_ctx if last_n == -1 else min(last_n, n_ctx),
                    (ctypes.c_char_p * len(breakers))(*breakers),
                    len(breakers),
                )
            )

    def _add_drawing(self, sampling: SamplingParams, seed: int) -> None:
        import llama_cpp

        add = self._drawing.add
        if sampling.uses("top_k"):
            add(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
        if sampling.uses("typical_p"):
            add(llama_cpp.llama_sampler_init_typical(sampling.typical_p, 1))
        if sampling.uses("top_p") and (self._sorter is None or self._sorter.top_p is None):
            add(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.uses("min_p"):
            add(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
        if sampling.uses("xtc_probability"):
            add(
                llama_cpp.llama_sampler_init_xtc(
                    sampling.xtc_probability, sampling.xtc_threshold, 1, seed
                )
            )
        add(llama_cpp.llama_sampler_init_temp(sampling.temperature))
        add(llama_cpp.llama_sampler_init_dist(seed))

    def _add_mirostat(self, sampling: SamplingParams, vocabulary: Vocabulary, seed: int) -> None:
        import llama_cpp

        tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
        self._drawing.add(llama_cpp.llama_sampler_init_temp(sampling.temperature))
        if sampling.mirostat == 1:
            self._drawing.add(
                llama_cpp.llama_sampler_init_mirostat(
                    vocabulary.n_tokens, seed, tau, eta, _MIROSTAT_TOKENS
                )
            )
        else:
            self._drawing.add(llama_cpp.llama_sampler_init_mirostat_v2(seed, tau, eta))


def check_biases(sampling: SamplingParams, vocabulary: Vocabulary) -> None:
    """Refuse a logit bias for a token that this vocabulary doesn't have.

    Raises:
        InvalidTokenError: there is one.
    """
    for token in sampling.logit_bias:
        vocabulary.check(token)


class _NativeChain:
    """A llama.cpp sampler chain."""

    def __init__(self) -> None:
        import llama_cpp

        self._llama_cpp = llama_cpp
        self.is_empty = True
        self._pointer: Any = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        if not self._pointer:
            raise BackendError("llama.cpp can't create a chain of samplers")

    def add(self, sampler: Any) -> None:
        """Append a sampler, which belongs to the chain from now on."""
        if not sampler:
            raise BackendError("llama.cpp can't create a sampler")
        self.is_empty = False
        self._llama_cpp.llama_sampler_chain_add(self._pointer, sampler)

    def apply(self, array: Any) -> None:
        """Let every sampler change a llama_token_data_array, given as a reference."""
        self._llama_cpp.llama_sampler_apply(self._pointer, array)

    def accept(self, token: int) -> None:
        """Tell every sampler that `token` is part of the text."""
        self._llama_cpp.llama_sampler_accept(self._pointer, token)

    def close(self) -> None:
        """Free the chain. May be called twice."""
        pointer, self._pointer = self._pointer, None
        if pointer:
            self._llama_cpp.llama_sampler_free(pointer)


class _Sorter:
    """Does before the native samplers what they would need a slow sort of the vocabulary for.

    Attributes:
        top_p: the share to keep, None to keep all.
    """

    def __init__(self, n_vocab: int, top_p: float | None) -> None:
        self.top_p = top_p
        self._sorted = np.empty(3 * n_vocab, dtype=np.int32)

    @staticmethod
    def of(sampling: SamplingParams, n_vocab: int) -> _Sorter | None:
        """What these options need: nothing where a top-k comes first or nothing sorts."""
        if sampling.temperature < GREEDY_BELOW:
            return None
        if sampling.mirostat:
            return _Sorter(n_vocab, None)
        if sampling.top_k > 0:
            return None
        if sampling.typical_p < 1:
            return _Sorter(n_vocab, None)
        return _Sorter(n_vocab, sampling.top_p) if sampling.top_p < 1 else None

    def sort(self, candidates: Candidates) -> Candidates:
        """The candidates to draw from, the likeliest first; none if all are impossible."""
        if self.top_p is not None:
            n = candidate_kernels.top_p(candidates, self.top_p, self._sorted)
        else:
            n = candidate_kernels.sort_candidates(candidates, self._sorted)
        return self._sorted[: 3 * n]
