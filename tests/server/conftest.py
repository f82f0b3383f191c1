"""A server in this process, on a free port of this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from amulet_local import Engine, load
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_names import ModelNames
from amulet_local.server.models import ModelFile, Models
from amulet_local.server.profiles import ServedProfiles
from amulet_local.server.run import open_port, serve
from amulet_local.server.served_embedder import ServedEmbedder
from amulet_local.server.served_model import Defaults, ServedModel
from amulet_local.server.service import Service

Serving = Callable[..., Any]


class Server:
    """A running server.

    Attributes:
        port: where it listens.
        url: without a path.
        client: a client for it, without a key.
    """

    def __init__(
        self,
        models: Models | None,
        access: Access,
        limits: Limits,
        load_embedder: Callable[[], ServedEmbedder] | None = None,
        *,
        listening: list[socket.socket] | None = None,
        **more: Any,
    ) -> None:
        self.service = Service(models, load_embedder, **more)
        listening = listening or [open_port("127.0.0.1", 0)]
        self.port = listening[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=120)
        self.ready = threading.Event()
        self._server: Any = None
        self._thread = threading.Thread(
            target=serve,
            args=(self.service, listening),
            kwargs={
                "access": access,
                "limits": limits,
                "version": "0",
                "ready": self.ready.set,
                "on_server": self._take,
            },
        )
        self._thread.start()

    def _take(self, server: Any) -> None:
        self._server = server

    def stop(self) -> None:
        """End it as a signal does."""
        self._server.should_exit = True

    def close(self) -> None:
        self.client.close()
        self.stop()
        self._thread.join()

    def chat(self, **body: Any) -> httpx.Response:
        """Ask, with a short answer unless the body says otherwise."""
        given = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4} | body
        return self.client.post("/v1/chat/completions", json=given)


@contextmanager
def running(
    engine: Engine,
    *,
    places: int = 2,
    waiting: int = 8,
    defaults: dict[str, Any] | None = None,
    access: Access | None = None,
    limits: Limits | None = None,
    hold: threading.Event | None = None,
    scheduler: Any = "auto",
    strict: bool = False,
    profile: str | None = None,
    listening: list[socket.socket] | None = None,
    adapters: Sequence[tuple[str, float]] = (),
    **more: Any,
) -> Iterator[Server]:
    """A server on an engine that stays open after it.

    Args:
        hold: loading waits for it.
        strict: the model is called "mine", and what isn't known here is refused.
        profile: what is learned of whom.
        listening: where it listens, instead of at a free port.
        adapters: those of the engine.
        more: see Service.
    """

    names = ModelNames(["smollm2"], aliases=["mine"] if strict else (), is_strict=strict)

    def make(ending: Callable[[], bool]) -> ServedModel:
        if hold is not None:
            hold.wait()
        pool = engine.pool(places=places, waiting=waiting, scheduler=scheduler)
        given = Defaults(fields=defaults or {}, sources=dict.fromkeys(defaults or {}, "flag"))
        profiles = None if profile is None else ServedProfiles(profile)
        return ServedModel(
            engine,
            pool,
            names,
            given,
            has_strict_fields=strict,
            profiles=profiles,
            adapters=adapters,
        )

    models = Models([ModelFile(names, make)])
    server = Server(models, access or Access(), limits or Limits(), listening=listening, **more)
    try:
        if hold is None:
            assert server.ready.wait(60)
        yield server
    finally:
        server.close()


@contextmanager
def lasting(engine: Engine) -> Iterator[Engine]:
    """An engine that servers don't close."""
    close, engine.close = engine.close, lambda: None  # type: ignore[method-assign]
    yield engine
    engine.close = close  # type: ignore[method-assign]


@pytest.fixture(scope="package")
def engine(tiny_path: Path) -> Iterator[Engine]:
    with load(tiny_path, n_ctx=512, n_batch=64) as loaded, lasting(loaded) as engine:
        yield engine


@pytest.fixture(scope="package")
def server(engine: Engine) -> Iterator[Server]:
    with running(engine) as server:
        yield server
