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
from amulet_local.server.models import CURRENT, Models
from amulet_local.server.place_files import PlaceFiles
from amulet_local.server.served_embedder import ServedEmbedder
from amulet_local.server.served_model import ServedModel


class Service:
    """A server's state: loading, ready, or ending.

    Attributes:
        models: those that answer; None where there are none.
        has_page: whether there is a page to try it.
        shows_places: whether /slots says what is being computed.
        place_files: where places are saved; None where they aren't.
        figures: what is counted.
        jobs: completions under way by their ids.
        failure: why loading failed.
    """

    def __init__(
        self,
        models: Models | None,
        load_embedder: Callable[[], ServedEmbedder] | None = None,
        *,
        loads_first: bool = True,
        has_page: bool = True,
        shows_places: bool = True,
        place_files: PlaceFiles | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            models: those that answer; None where there are none.
            load_embedder: loads the one that embeds texts.
            loads_first: whether the first model is loaded before anybody asks for it.
            has_page, shows_places, place_files: see above.
        """
        self.figures = Figures()
        self.jobs: dict[str, CompletionJob] = {}
        self.failure: BaseException | None = None
        self.started_seconds = time.time()
        self.models, self._load_embedder = models, load_embedder
        self.has_page, self.shows_places = has_page, shows_places
        self.place_files = place_files
        self._loads_first = loads_first
        self._embedder: ServedEmbedder | None = None
        self._loaded = False
        self._ending = False
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._loaded and not self._ending

    @property
    def model(self) -> ServedModel:
        """The model that answers the request under way.

        Raises:
            HttpError: 503, it isn't loaded yet, or the server is going down; 501, there is none.
        """
        self.check_ready()
        if self.models is None:
            raise _missing("no model answers here, one embeds texts; start without --embedding")
        model = CURRENT.get() or next(iter(self.models.loaded), None)
        if model is None:
            raise unavailable("no model is loaded", "loading")
        return model

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
        return self.models is None

    @property
    def is_asleep(self) -> bool:
        """Whether no model that answers is loaded at the moment."""
        return self.models is not None and not self.models.loaded

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
        if self.models is not None and self._loads_first:
            self.models.release(self.models.acquire())
        with self._lock:
            self._loaded = True
            if self._ending and self.models is not None:
                self.models.drain()
        if self.models is not None and self.models.may_change:
            threading.Thread(target=self.models.watch, name="amulet-idle", daemon=True).start()

    def drain(self) -> None:
        """Take nothing in any more, and end what runs: its clients get what there is."""
        with self._lock:
            self._ending = True
            if self.models is not None:
                self.models.drain()

    def close(self) -> None:
        """Free everything."""
        self.drain()
        if self.models is not None:
            self.models.close()
        if self._embedder is not None:
            self._embedder.close()


def _missing(message: str) -> HttpError:
    return HttpError(501, message, kind="not_supported_error", code="not_supported")
