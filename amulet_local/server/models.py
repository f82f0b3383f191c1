"""The models that answer: files, of which those are loaded that are asked for.

Knows nothing about HTTP but its errors. With one model and nothing to unload it is loaded once. A
model is in use from `acquire` to `release`, and is never unloaded then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from amulet_local.server.failures import unavailable
from amulet_local.server.model_names import ModelNames
from amulet_local.server.served_model import ServedModel

CURRENT: ContextVar[ServedModel | None] = ContextVar("amulet_current_model", default=None)
"""The model that the request under way asks for; None where it may be any."""

Load = Callable[[Callable[[], bool]], ServedModel]
"""Loads a model; is given a function that says whether the server ends."""


@dataclass
class ModelFile:
    """A model that may be loaded.

    Attributes:
        names: what it is called.
        load: loads it.
        n_bytes: of its file.
        model: it, while it is loaded.
        n_users: requests that are using it.
        used_seconds: time.monotonic() when the last of them was done.
    """

    names: ModelNames
    load: Load
    n_bytes: int = 0
    model: ServedModel | None = None
    n_users: int = 0
    used_seconds: float = field(default_factory=time.monotonic)


class Models:
    """Models by their names.

    Attributes:
        files: all of them; the first is the one that is meant where none is named.
    """

    def __init__(
        self,
        files: Sequence[ModelFile],
        *,
        memory_bytes: int | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        """None is loaded yet.

        Args:
            files: at least one.
            memory_bytes: most bytes of files that are loaded at once; None is no limit. The least
                recently used go first.
            idle_seconds: after so long without a request a model is unloaded; None is never.
        """
        self.files = tuple(files)
        self._memory_bytes, self._idle_seconds = memory_bytes, idle_seconds
        self._lock = threading.Lock()
        """For who uses which; held for moments."""
        self._changing = threading.Lock()
        """Held while a model is loaded or unloaded."""
        self._ending = threading.Event()

    @property
    def may_change(self) -> bool:
        """Whether which models are loaded depends on the requests."""
        return len(self.files) > 1 or self._idle_seconds is not None

    @property
    def loaded(self) -> list[ServedModel]:
        """Those that are."""
        return [file.model for file in self.files if file.model is not None]

    def listed(self) -> list[tuple[ModelFile, str]]:
        """All names, also those with a preference, each with its file."""
        return [(file, name) for file in self.files for name in file.names.listed()]

    def find(self, asked: object) -> ModelFile:
        """The file that a name means, with a preference in it or not; the first for any other."""
        return next((file for file in self.files if file.names.knows(asked)), self.files[0])

    def acquire(self, asked: object = None) -> ModelFile:
        """Load what a name means, if it isn't, and take it into use. May take a while.

        Raises:
            HttpError: 503, what is loaded is in use, and there is no memory for another one.
            AmuletError: it can't be loaded.
        """
        file = self.find(asked)
        if self._taken(file):
            return file
        with self._changing:
            if not self._taken(file):
                self._make_room(file)
                model = file.load(self._ending.is_set)
                with self._lock:
                    file.model, file.n_users = model, 1
                if self._ending.is_set():
                    model.pool.drain()
        return file

    def release(self, file: ModelFile) -> None:
        """One request less uses it."""
        with self._lock:
            file.n_users -= 1
            file.used_seconds = time.monotonic()

    def unload_idle(self, now_seconds: float) -> None:
        """Unload those that nobody has asked for in the time that was set.

        Args:
            now_seconds: as of time.monotonic().
        """
        idle = self._idle_seconds
        if idle is None:
            return
        with self._changing:
            for file in self.files:
                if now_seconds - file.used_seconds >= idle:
                    self._unload(file)

    def watch(self) -> None:
        """Unload what is idle, until the end; in a thread of its own."""
        while self._idle_seconds is not None and not self._ending.wait(
            min(1.0, self._idle_seconds / 4)
        ):
            self.unload_idle(time.monotonic())

    def drain(self) -> None:
        """Take nothing in any more, and end what runs."""
        self._ending.set()
        for model in self.loaded:
            model.pool.drain()

    def close(self) -> None:
        """Free everything."""
        self.drain()
        with self._changing:
            for model in self.loaded:
                _close(model)

    def _taken(self, file: ModelFile) -> bool:
        with self._lock:
            file.n_users += file.model is not None
            return file.model is not None

    def _make_room(self, wanted: ModelFile) -> None:
        limit = self._memory_bytes
        if limit is None:
            return
        for file in sorted(self.files, key=lambda file: file.used_seconds):
            held = sum(other.n_bytes for other in self.files if other.model is not None)
            if held + wanted.n_bytes <= limit:
                return
            self._unload(file)
        if any(file.model is not None for file in self.files):
            raise unavailable("the memory is taken by models that are in use", "no_memory")

    def _unload(self, file: ModelFile) -> None:
        """Unload it, unless somebody uses it."""
        with self._lock:
            if file.n_users or file.model is None:
                return
            model, file.model = file.model, None
        _close(model)


def _close(model: ServedModel) -> None:
    model.pool.close()
    model.engine.close()
