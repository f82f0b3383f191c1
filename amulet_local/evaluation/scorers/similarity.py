"""Whether an answer is about what was asked: the cosine of two embeddings.

By all-MiniLM-L6-v2 or another embedding model, run by llama.cpp. Knows nothing about what the
answer says: one that contradicts the question's facts is as much on topic as a correct one.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.common.errors import InvalidTextError
from amulet_local.evaluation.conversion.minilm import N_USED_TOKENS, cached_model
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer
from amulet_local.evaluation.scorers.registry import ScorerEntry, ScorerOptions
from amulet_local.llama.embedder import Embedder, EmbedderSettings, Vector
from amulet_local.loading.isolated import loading_safely
from amulet_local.loading.model_store import find_model
from amulet_local.params.model_use import EMBEDDING

N_CTX = 2048
"""Tokens of a text that count with a model that the user names."""


class Similarity(Scorer):
    """Cosine of question and answer."""

    def __init__(self, entry: ScorerEntry, options: ScorerOptions) -> None:
        """Load the embedding model.

        Raises:
            MissingExtraError: none is named, and the package with the default isn't installed.
            ModelError, FileAccessError, BackendError: it can't be used.
        """
        self.name, self.summary, self.better = entry.name, entry.summary, entry.better
        path = options.embedding_model
        model = find_model(path) if path is not None else cached_model()
        settings = EmbedderSettings(
            n_ctx=N_USED_TOKENS if path is None else N_CTX,
            n_threads=options.n_threads,
            n_gpu_layers=options.n_gpu_layers,
        )
        with loading_safely(model, "auto" if path is not None else "never", EMBEDDING):
            self._embedder = Embedder(model, settings)
        self.source = self._embedder.source
        self._questions: dict[str, Vector] = {}

    def scores(self, answers: Sequence[AnsweredQuestion]) -> list[float | None]:
        """The cosines; None where a text is empty."""
        return [self._score(answer) for answer in answers]

    def close(self) -> None:
        """Free the model."""
        self._embedder.close()

    def _score(self, answer: AnsweredQuestion) -> float | None:
        if not answer.question.strip() or not answer.text.strip():
            return None
        try:
            if answer.question not in self._questions:
                self._questions[answer.question] = self._embedder.embed(answer.question)
            other = self._embedder.embed(answer.text)
        except InvalidTextError:
            return None
        return float(self._questions[answer.question] @ other)


def make(entries: Sequence[ScorerEntry], options: ScorerOptions) -> list[Scorer]:
    """The scorers of these entries."""
    return [Similarity(entry, options) for entry in entries]
