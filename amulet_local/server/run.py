"""Runs the server until it is told to end: the port, the signals, loading in the background.

Knows nothing about requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import uvicorn

from amulet_local.common.errors import InvalidParameterError, ServerError
from amulet_local.server.access import AccessMiddleware
from amulet_local.server.app import make_app
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_choice import ModelChoice
from amulet_local.server.protocol import protocol_with
from amulet_local.server.service import Service

GRACE_SECONDS = 3.0
"""For what runs when the server is told to end; it has been ended, and only has to be sent."""

BACKLOG = 128

SEND_BUFFER_BYTES = 128 * 1024
"""What the system holds for a client that doesn't read; its own default grows to megabytes."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, access: Access) -> None:
    """Refuse to serve a network without a key.

    Raises:
        InvalidParameterError: that is asked for.
    """
    if not is_loopback(host) and not access.api_keys:
        raise InvalidParameterError(
            f"--host {host:.60} can be reached from other machines, so a key is needed: --api-key, "
            f"--api-key-file or AMULET_API_KEY"
        )


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ServerError: the address can't be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "not an address"
        raise ServerError(
            f"can't listen on {host:.60}, port {port}: {reason}; choose another --port or --host"
        ) from None
    return listening


class _Server(uvicorn.Server):
    """uvicorn's server; signals end what runs first, and don't end the process themselves."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        ready: Callable[[], None],
        idle_seconds: float | None,
    ) -> None:
        super().__init__(config)
        self._idle_seconds = idle_seconds
        self._busy_at = time.monotonic()
        self.signal: int | None = None
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        threading.Thread(target=self._load, name="amulet-load", daemon=True).start()

    async def on_tick(self, counter: int) -> bool:
        if self.server_state.tasks or self._service.jobs or not self._service.is_ready:
            self._busy_at = time.monotonic()
        idle = time.monotonic() - self._busy_at
        if self._idle_seconds is not None and idle > self._idle_seconds:
            self.should_exit = True
        return await super().on_tick(counter)

    def _load(self) -> None:
        try:
            self._service.load()
        except BaseException as error:  # said where the server was started
            self._service.failure = error
            self.should_exit = True
        else:
            if not self.should_exit:
                self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, self.handle_exit) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.signal = self.signal or sig
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._service.drain)
        await super().shutdown(sockets)


def serve(
    service: Service,
    listening: Sequence[socket.socket],
    *,
    access: Access,
    limits: Limits,
    version: str,
    ready: Callable[[], None],
    on_server: Callable[[uvicorn.Server], None] | None = None,
    idle_seconds: float | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, or until nobody has asked for some time.

    Args:
        listening: are closed in the end.
        ready: called once the model is loaded, in a thread.
        on_server: is given the server before it runs; its `should_exit` ends it.
        idle_seconds: that time, from when the model is loaded; None is for ever.

    Raises:
        AmuletError: the model can't be loaded.
        KeyboardInterrupt: it was ended by SIGINT.
    """
    reached = {one.getsockname()[0].lower() for one in listening if one.family != socket.AF_UNIX}
    access = replace(access, hosts=access.hosts | reached)
    app = make_app(service, version=version)
    config = uvicorn.Config(
        AccessMiddleware(ModelChoice(app, service), access, limits),
        http=protocol_with(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.head_seconds),
        timeout_graceful_shutdown=int(GRACE_SECONDS),
        h11_max_incomplete_event_size=limits.head_bytes,
        backlog=BACKLOG,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # tracebacks hold paths
    server = _Server(config, service, ready, idle_seconds)
    if on_server is not None:
        on_server(server)
    try:
        server.run(sockets=[*listening])
    finally:
        for one in listening:
            one.close()
        service.close()
    if service.failure is not None:
        raise service.failure
    if server.signal == signal.SIGINT:
        raise KeyboardInterrupt
