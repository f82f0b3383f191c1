"""The embedding model behind the server: what clients may give as a text, and what comes of it.

Knows nothing about HTTP.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amulet_local.common.errors import InvalidParameterError, UnsupportedModelError
from amulet_local.llama.embedder import Embedder, Vector
from amulet_local.params.choices import as_known

POOLINGS = ("none", "mean", "cls", "last", "rank")
"""How a text's states become one; of models for ranking, a score of two texts."""
_BY_NUMBER = {1: "mean", 2: "cls", 3: "last"}
"""As GGUF files say it."""


@dataclass(frozen=True)
class Embedded:
    """What came of a text.

    Attributes:
        vector: its embedding, of length 1; without pooling a row for each token, as it is.
        n_tokens: of the text.
    """

    vector: Vector
    n_tokens: int

    def shortened(self, n_wanted: int | None) -> Vector:
        """Its first numbers, of length 1 again, as of models that were trained for that."""
        if n_wanted is None or n_wanted == len(self.vector):
            return self.vector
        first = self.vector[:n_wanted]
        length = math.sqrt(float(first @ first))
        return first / length if length else first


class ServedEmbedder:
    """An embedding model; one text at a time, from any thread.

    Attributes:
        name: what it is called in answers.
        pooling: one of POOLINGS.
    """

    def __init__(self, embedder: Embedder, name: str, pooling: str | None = None) -> None:
        """Take it in.

        Args:
            embedder: with `whole`; is closed here.
            pooling: the model's own if None.

        Raises:
            UnsupportedModelError: the model doesn't say, or says what isn't done here.
            InvalidParameterError: `pooling` is another word.
        """
        header = embedder.model.header
        own = header.metadata.get(f"{header.architecture}.pooling_type", 0)
        pooling = as_known(pooling, POOLINGS)
        if pooling not in (None, *POOLINGS):
            raise InvalidParameterError(
                f"--pooling must be one of {', '.join(POOLINGS)}, got {pooling!r:.60}"
            )
        if embedder.ranks or pooling == "rank":
            if not embedder.ranks or pooling not in (None, "rank"):
                raise InvalidParameterError(
                    f"{embedder.model.path.name} is {'' if embedder.ranks else 'not '}a model for "
                    f"ranking: leave out --pooling {pooling}"
                )
            pooling = "rank"
        if pooling is None:
            pooling = _BY_NUMBER.get(own) if isinstance(own, int) else None
        if pooling is None:
            raise UnsupportedModelError(
                f"{embedder.model.path.name} doesn't say how the states of a text become its "
                f"embedding: give --pooling mean or --pooling last"
            )
        self.name, self.pooling = name, pooling
        self._embedder = embedder
        self._lock = threading.Lock()

    @property
    def n_embd(self) -> int:
        """How many numbers an embedding has."""
        return self._embedder.model.n_embd

    def token_ids(self, value: Any) -> list[int]:
        """The tokens of a text: a text, token ids with texts between them, or an object with one.

        Raises:
            InvalidParameterError: it is something else.
        """
        if isinstance(value, Mapping):
            value = _text_of(value)
        if isinstance(value, str):
            return self._tokenized(value, add_special=True)
        if not isinstance(value, list) or not value:
            raise InvalidParameterError("input: must be a text, token ids, or a list of these")
        found: list[int] = []
        for part in value:
            if type(part) is int:
                self._embedder.model.vocabulary.check(part)
                found.append(part)
            elif isinstance(part, str):
                found += self._tokenized(part, add_special=False)
            else:
                raise InvalidParameterError("input: a token must be an id")
        return found

    def fitting(self, token_ids: list[int]) -> list[int]:
        """The first tokens of a text, as many as fit, the last one being its last."""
        return self._embedder.fitting(token_ids)

    def embed(self, token_ids: list[int]) -> Embedded:
        """What comes of a text; an empty one is zero.

        Raises:
            PromptTooLongError: the text is longer than the model's context.
            InvalidParameterError: the model is one for ranking.
            BackendError, EngineClosedError: see Embedder.
        """
        if self.pooling == "rank":
            raise InvalidParameterError(
                "the model is one for ranking, which gives a text no vector; use /rerank"
            )
        n_embd = self._embedder.model.n_embd
        if not token_ids:
            return Embedded(np.zeros((0, n_embd) if self.pooling == "none" else n_embd), 0)
        with self._lock:
            states = self._embedder.token_states(token_ids)
        if self.pooling == "none":
            return Embedded(states, len(token_ids))
        pooled = {"mean": states.mean(axis=0), "cls": states[0], "last": states[-1]}[self.pooling]
        length = math.sqrt(float(pooled @ pooled))
        return Embedded(pooled / length if length else pooled, len(token_ids))

    def relevances(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """How well each document answers a query, and how many tokens were read for it.

        A model for ranking reads the query with each document; of another one it is the cosine of
        the embeddings.

        Raises:
            PromptTooLongError, BackendError, EngineClosedError: see `embed`.
        """
        if self.pooling == "rank":
            pairs = [self._embedder.pair(query, document) for document in documents]
            with self._lock:
                scores = [self._embedder.score(pair) for pair in pairs]
            return scores, sum(map(len, pairs))
        asked, *found = (self.embed(self.token_ids(text)) for text in (query, *documents))
        n_tokens = asked.n_tokens + sum(one.n_tokens for one in found)
        return [float(asked.vector @ one.vector) for one in found], n_tokens

    def close(self) -> None:
        """Free the model."""
        self._embedder.close()

    def _tokenized(self, text: str, *, add_special: bool) -> list[int]:
        vocabulary = self._embedder.model.vocabulary
        return vocabulary.tokenize(text, add_special=add_special, parse_special=False)


def _text_of(value: Mapping[str, Any]) -> str:
    """The text of {"prompt_string": ...}, or of {"content": [{"type": "text", ...}, ...]}."""
    if isinstance(value.get("prompt_string"), str):
        return str(value["prompt_string"])
    parts = value.get("content")
    if isinstance(parts, list) and parts:
        texts = [
            part["text"]
            for part in parts
            if isinstance(part, Mapping)
            and part.get("type") == "text"
            and isinstance(part.get("text"), str)
        ]
        if len(texts) == len(parts):
            return "".join(texts)
    raise InvalidParameterError("input: an object needs a prompt_string, or content of texts")
