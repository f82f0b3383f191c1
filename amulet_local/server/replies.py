"""Completions as HTTP responses: one JSON object, or a stream of pieces.

Knows nothing about models. Notices when the client leaves, and ends the completion then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from amulet_local.server.completion_job import CompletionJob
from amulet_local.server.failures import as_http
from amulet_local.server.wire import Wire

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PAUSE_SECONDS = 5.0
"""Silence in a stream after which something is sent: proxies and clients give up after more."""

_STREAMED = [
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class CompletionReply(Response):
    """The response to a request for a completion."""

    def __init__(self, job: CompletionJob, wire: Wire | None = None) -> None:
        """Not sent yet.

        Args:
            wire: how it goes over the wire; OpenAI's way if None.
        """
        super().__init__()
        self._job = job
        self._wire = wire or Wire()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer, until all is said or the client leaves."""
        work = asyncio.ensure_future(self._events(send) if self._job.stream else self._whole(send))
        left = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, left):
                task.cancel()
            results = await asyncio.gather(work, left, return_exceptions=True)
        error = results[0]
        if isinstance(error, Exception):
            raise error

    async def _whole(self, send: Send) -> None:
        async with aclosing(self._job.pieces()) as pieces:
            async for _ in pieces:
                pass
        body = json.dumps(self._wire.whole(self._job.answers.whole())).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _events(self, send: Send) -> None:
        """The pieces; while none comes for a while, comments that keep the connection."""
        begun = False

        async def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                headers = [(b"content-type", self._wire.media_type.encode()), *_STREAMED]
                await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def wait() -> None:
            await begin()
            await send(_part(self._wire.comment))

        async with aclosing(self._job.pieces()) as pieces:
            try:
                async for piece in _while_waiting(pieces, wait):
                    await begin()
                    for data in self._wire.piece(piece):
                        await send(_part(data))
            except Exception as error:
                if not begun:
                    raise
                await send(_part(self._wire.error(as_http(error).body)))
            else:
                for data in self._wire.end():
                    await send(_part(data))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _while_waiting(
    pieces: AsyncGenerator[dict[str, Any], None], wait: Callable[[], Awaitable[None]]
) -> AsyncIterator[dict[str, Any]]:
    """The pieces; `wait` is called whenever none has come for PAUSE_SECONDS."""
    coming: asyncio.Future[dict[str, Any]] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(pieces))
            while not (await asyncio.wait({coming}, timeout=PAUSE_SECONDS))[0]:
                await wait()
            try:
                piece = coming.result()
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if coming is not None:  # it may have failed in the moment in which the client left
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _part(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
