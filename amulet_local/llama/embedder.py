"""Hidden states of text: what embedding models and reward models are built on.

Knows nothing about what is made of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import (
    BackendError,
    EngineClosedError,
    PromptTooLongError,
    UnsupportedModelError,
)
from amulet_local.llama import library, native
from amulet_local.llama.context import Context, ContextSettings, Span
from amulet_local.llama.model import Model, ModelLoadSettings
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Worker, run_together

Vector = NDArray[np.float64]

N_BATCH = 256
"""Tokens computed at once; each may have a row of logits beside it, which nobody reads."""


@dataclass(frozen=True, kw_only=True)
class EmbedderSettings:
    """How texts are embedded.

    Attributes:
        n_ctx: longest text, in tokens; the model's own limit if that is smaller.
        n_threads: None is every core.
        n_gpu_layers: -1 is all.
        pooled: whether `embed` is what is asked for, or `hidden_states`.
        whole: whether `token_states` is; a text's tokens see each other in an encoder, so they are
            computed at once. Of a model for ranking it is `score`.
    """

    n_ctx: int
    n_threads: int | None = None
    n_gpu_layers: int = 0
    pooled: bool = True
    whole: bool = False


class Embedder:
    """A model that is asked for hidden states. One call at a time; Ctrl-C ends it.

    The cache is in float32 and flash attention off, so that F32 weights give what float32 gives.

    Attributes:
        model: the loaded model.
        n_ctx: longest text, in tokens.
        ranks: whether it is a model for ranking: it has a score for a pair of texts, and no states.
    """

    def __init__(self, path: str | os.PathLike[str], settings: EmbedderSettings) -> None:
        """Load the model.

        Raises:
            ModelError: it can't be used, or (pooled) doesn't say how its states are pooled.
            ContextCreationError: no memory.
        """
        self._stop_flag = StopFlag()
        self._context: Context | None = None
        n_gpu_layers = settings.n_gpu_layers if library.supports_gpu_offload() else 0
        self.model = Model.load(
            path, ModelLoadSettings(n_gpu_layers=n_gpu_layers, embeds=True), progress=None
        )
        self._worker = Worker("amulet-embed")
        self.ranks = settings.whole and self._pooling == native.POOLING_RANK
        try:
            self.n_ctx = min(settings.n_ctx, self.model.n_ctx_train)
            if settings.pooled:
                self._check_pooling()
            self._context = Context(
                self.model,
                ContextSettings(
                    n_ctx=self.n_ctx,
                    n_batch=self.n_ctx if settings.pooled or settings.whole else N_BATCH,
                    n_outputs=0,
                    cache_type_k="f32",
                    cache_type_v="f32",
                    flash_attention="off",
                    offload=n_gpu_layers != 0,
                    offload_kqv=n_gpu_layers != 0,
                    embeddings=True,
                    pooled=settings.pooled or self.ranks,
                ),
                self._stop_flag,
            )
            n_threads = settings.n_threads or library.usable_cores()
            self._context.set_threads(n_threads, n_threads)
        except BaseException:
            self.close()
            raise

    def embed(self, text: str) -> Vector:
        """The embedding of a text, float64, shape (n_embd,), of length 1.

        A text of more than `n_ctx` tokens counts as far as it fits.

        Raises:
            InvalidTextError: the text holds a lone surrogate.
            BackendError: llama.cpp failed.
            EngineClosedError: it was closed.
        """
        ids = self.model.vocabulary.tokenize(text, add_special=True, parse_special=False)
        ids = self.fitting(ids)
        vector = self._run(partial(self._pooled, ids)) if ids else np.zeros(self.model.n_embd)
        length = math.sqrt(float(vector @ vector))
        return vector / length if length else vector

    def fitting(self, token_ids: list[int]) -> list[int]:
        """The first tokens of a text, as many as fit, the last one being its last."""
        if len(token_ids) <= self.n_ctx:
            return token_ids
        return [*token_ids[: self.n_ctx - 1], token_ids[-1]]

    def hidden_states(self, token_ids: Sequence[int], positions: Sequence[int]) -> Vector:
        """Hidden states after the model's last norm, float64, shape (len(positions), n_embd).

        Args:
            token_ids: a text, of a causal model.
            positions: of tokens in it, from 0, in rising order.

        Raises:
            PromptTooLongError: more than `n_ctx` tokens.
            BackendError: llama.cpp failed.
            EngineClosedError: it was closed.
        """
        self._check_length(token_ids)
        return self._run(partial(self._at, token_ids, positions))

    def token_states(self, token_ids: Sequence[int]) -> Vector:
        """Hidden states of all tokens, float64, shape (len(token_ids), n_embd); with `whole`.

        Raises:
            PromptTooLongError, BackendError, EngineClosedError: see `hidden_states`.
        """
        self._check_length(token_ids)
        return self._run(partial(self._all, token_ids))

    def score(self, token_ids: Sequence[int]) -> float:
        """How well a document answers a query, of a model that `ranks`; higher is better.

        Args:
            token_ids: both, as the model reads them: see `pair`.

        Raises:
            PromptTooLongError, BackendError, EngineClosedError: see `hidden_states`.
        """
        self._check_length(token_ids)
        return float(self._run(partial(self._scored, token_ids))[0])

    def pair(self, query: str, document: str) -> list[int]:
        """The tokens that a model for ranking reads.

        Raises:
            InvalidTextError: a text holds a lone surrogate.
        """
        template, vocabulary = self.model.ranking_template, self.model.vocabulary
        if template is not None:
            text = template.replace("{query}", query).replace("{document}", document)
            return vocabulary.tokenize(text, add_special=False, parse_special=True)
        parts = (
            vocabulary.tokenize(text, add_special=False, parse_special=False)
            for text in (query, document)
        )
        return vocabulary.pair(*parts)

    @property
    def source(self) -> str:
        """What tells this model from another in a record: its file's name and size."""
        return f"{self.model.path.name} ({os.stat(self.model.path).st_size} bytes)"

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._worker.close()
        if self._context is not None:
            self._context.close()
            self._context = None
        self.model.close()

    def _run(self, task: Callable[[], Vector]) -> Vector:
        self._open()
        self._stop_flag.clear()
        vector: Vector = run_together([self._worker], [task], self._stop_flag.set)[0]
        if not np.isfinite(vector).all():
            raise BackendError(f"{self.model.path.name} gives hidden states that aren't numbers")
        return vector

    def _pooled(self, ids: Sequence[int]) -> Vector:
        context = self._open()
        context.clear()
        context.decode([Span(sequence=0, position=0, tokens=ids, n_outputs=len(ids))])
        return context.pooled_state(0).astype(np.float64)

    def _at(self, ids: Sequence[int], positions: Sequence[int]) -> Vector:
        """Compute up to each wanted token without outputs, and then that token with one."""
        context = self._open()
        context.clear()
        found = []
        done = 0
        for position in positions:
            context.want_embeddings(False)
            for start in range(done, position, context.n_batch):
                tokens = ids[start : min(start + context.n_batch, position)]
                context.decode([Span(sequence=0, position=start, tokens=tokens, n_outputs=0)])
            context.want_embeddings(True)
            last = [ids[position]]
            context.decode([Span(sequence=0, position=position, tokens=last, n_outputs=1)])
            found.append(context.hidden_state())
            done = position + 1
        return np.array(found, dtype=np.float64)

    def _all(self, ids: Sequence[int]) -> Vector:
        context = self._open()
        context.clear()
        context.decode([Span(sequence=0, position=0, tokens=ids, n_outputs=len(ids))])
        return np.array([context.hidden_state(n) for n in range(len(ids))], dtype=np.float64)

    def _scored(self, ids: Sequence[int]) -> Vector:
        context = self._open()
        context.clear()
        context.decode([Span(sequence=0, position=0, tokens=ids, n_outputs=len(ids))])
        return np.array([context.score(0)])

    def _check_length(self, token_ids: Sequence[int]) -> None:
        if len(token_ids) > self.n_ctx:
            raise PromptTooLongError(
                f"the text has {len(token_ids)} tokens and is too large: {self.n_ctx} fit",
                n_prompt_tokens=len(token_ids),
                n_ctx=self.n_ctx,
            )

    def _open(self) -> Context:
        """The context.

        Raises:
            EngineClosedError: it was closed.
        """
        if self._context is None:
            raise EngineClosedError("the model is closed; load it again")
        return self._context

    def _check_pooling(self) -> None:
        if self._pooling not in native.POOLINGS_OF_TEXTS:
            architecture = self.model.header.architecture
            raise UnsupportedModelError(
                f"{self.model.path.name} doesn't say how texts are embedded "
                f"({architecture}.pooling_type is {self._pooling!r}): use an embedding model"
            )

    @property
    def _pooling(self) -> object:
        header = self.model.header
        return header.metadata.get(f"{header.architecture}.pooling_type", 0)
