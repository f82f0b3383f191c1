"""Completions as HTTP responses: one JSON object, or a stream of pieces.

Knows nothing about models. Notices when the client leaves, and ends the completion then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
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
        """The pieces; while none comes for a while, comments that keep the connection.

        The head goes out when the request has a place.
        """
        line = _EventStream(send, self._wire.media_type)

        async def open_line() -> None:
            await self._job.has_place.wait()
            await line.say()

        company = [
            asyncio.ensure_future(open_line()),
            asyncio.ensure_future(line.keep_company(self._wire.comment)),
        ]
        try:
            async with aclosing(self._job.pieces()) as pieces:
                try:
                    async for piece in pieces:
                        await line.say(*self._wire.piece(piece))
                except Exception as error:
                    if not line.has_begun:
                        raise
                    await line.say(self._wire.error(as_http(error).body))
                else:
                    await line.say(*self._wire.end())
        finally:
            for task in company:
                task.cancel()
            await asyncio.gather(*company, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _EventStream:
    """The connection of a stream. Who watches over silence costs nothing for each piece.

    Attributes:
        has_begun: whether anything was sent.
    """

    def __init__(self, send: Send, media_type: str) -> None:
        """Nothing is sent yet."""
        self.has_begun = False
        self._send = send
        self._media_type = media_type
        self._loop = asyncio.get_running_loop()
        self._said_at = self._loop.time()
        self._one_speaks = asyncio.Lock()

    async def say(self, *data: bytes) -> None:
        """Send these, after the head if nothing was sent."""
        async with self._one_speaks:
            if not self.has_begun:
                self.has_begun = True
                headers = [(b"content-type", self._media_type.encode()), *_STREAMED]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            for part in data:
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
            self._said_at = self._loop.time()

    async def keep_company(self, comment: bytes) -> None:
        """Send a comment whenever nothing has come for PAUSE_SECONDS; without end."""
        while True:
            silent = self._loop.time() - self._said_at
            if silent >= PAUSE_SECONDS:
                await self.say(comment)
            else:
                await asyncio.sleep(PAUSE_SECONDS - silent)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
