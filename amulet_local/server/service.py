"""The state of a server: its model, and what runs on it.

Knows nothing about HTTP but its errors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from amulet_local.server.completion_job import CompletionJob
from amulet_local.server.failures import unavailable
from amulet_local.server.figures import Figures
from amulet_local.server.served_model import ServedModel


class Service:
    """A server's state: loading, ready, or ending.

    Attributes:
        figures: what is counted.
        jobs: completions under way by their ids.
        failure: why loading failed.
    """

    def __init__(self, load: Callable[[Callable[[], bool]], ServedModel]) -> None:
        """Nothing is loaded yet.

        Args:
            load: loads the model; it is given a function that says whether the server ends.
        """
        self.figures = Figures()
        self.jobs: dict[str, CompletionJob] = {}
        self.failure: BaseException | None = None
        self.started_seconds = time.time()
        self._load = load
        self._model: ServedModel | None = None
        self._ending = False
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._model is not None and not self._ending

    @property
    def model(self) -> ServedModel:
        """The model.

        Raises:
            HttpError: 503, it isn't loaded yet, or the server is going down.
        """
        if self._ending:
            raise unavailable("the server is going down", "shutting_down")
        if self._model is None:
            raise unavailable("the model is loading", "loading")
        return self._model

    def load(self) -> None:
        """Load the model; called in a thread of its own.

        Raises:
            AmuletError: it can't be loaded.
        """
        model = self._load(lambda: self._ending)
        with self._lock:
            self._model = model
            if self._ending:
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
