"""The state of a server: its models, and what runs on it.

Knows nothing about HTTP but its errors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from amulet_local.server.completion_job import CompletionJob
from amulet_local.server.failures import HttpError, unavailable
from amulet_local.server.figures import Figures
from amulet_local.server.served_embedder import ServedEmbedder
from amulet_local.server.served_model import ServedModel


class Service:
    """A server's state: loading, ready, or ending.

    Attributes:
        figures: what is counted.
        jobs: completions under way by their ids.
        failure: why loading failed.
    """

    def __init__(
        self,
        load: Callable[[Callable[[], bool]], ServedModel] | None,
        load_embedder: Callable[[], ServedEmbedder] | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            load: loads the model that answers; it is given a function that says whether the server
                ends. None where there is none.
            load_embedder: loads the one that embeds texts.
        """
        self.figures = Figures()
        self.jobs: dict[str, CompletionJob] = {}
        self.failure: BaseException | None = None
        self.started_seconds = time.time()
        self._load, self._load_embedder = load, load_embedder
        self._embedder: ServedEmbedder | None = None
        self._loaded = False
        self._model: ServedModel | None = None
        self._ending = False
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._loaded and not self._ending

    @property
    def model(self) -> ServedModel:
        """The model that answers.

        Raises:
            HttpError: 503, it isn't loaded yet, or the server is going down; 501, there is none.
        """
        self.check_ready()
        if self._model is None:
            raise _missing("no model answers here, one embeds texts; start without --embedding")
        return self._model

    @property
    def embedder(self) -> ServedEmbedder:
        """The model that embeds texts.

        Raises:
            HttpError: as `model`.
        """
        self.check_ready()
        if self._embedder is None:
            raise _missing("no model embeds texts here; start with --embedding-model FILE")
        return self._embedder

    @property
    def embeds_alone(self) -> bool:
        """Whether there is no model that answers."""
        return self._load is None

    def check_ready(self) -> None:
        """Let nobody in before everything is loaded.

        Raises:
            HttpError: 503, something isn't loaded yet, or the server is going down.
        """
        if self._ending:
            raise unavailable("the server is going down", "shutting_down")
        if not self._loaded:
            raise unavailable("the model is loading", "loading")

    def load(self) -> None:
        """Load the models; called in a thread of its own.

        Raises:
            AmuletError: one can't be loaded.
        """
        if self._load_embedder is not None:
            self._embedder = self._load_embedder()
        model = None if self._load is None else self._load(lambda: self._ending)
        with self._lock:
            self._model, self._loaded = model, True
            if self._ending and model is not None:
                model.pool.drain()

    def drain(self) -> None:
        """Take nothing in any more, and end what runs: its clients get what there is."""
        with self._lock:
            self._ending = True
            if self._model is not None:
                self._model.pool.drain()

    def close(self) -> None:
        """Free everything."""
        self.drain()
        if self._model is not None:
            self._model.pool.close()
            self._model.engine.close()
        if self._embedder is not None:
            self._embedder.close()


def _missing(message: str) -> HttpError:
    return HttpError(501, message, kind="not_supported_error", code="not_supported")
