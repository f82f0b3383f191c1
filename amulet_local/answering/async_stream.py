"""Streamed answers for asyncio: the work is done in a thread of its own, the loop never waits.

Knows nothing about models; it is given a function that makes a stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, TypeVar

from amulet_local.common.results import Chunk, Generation

Value = TypeVar("Value")


class Stream(Iterator[Chunk], Protocol):
    """What an AnswerStream and a TurnStream have in common."""

    def cancel(self) -> None: ...

    def close(self) -> None: ...

    @property
    def change(self) -> Callable[..., None]: ...


class AsyncAnswerStream(AsyncIterator[Chunk]):
    """The pieces of one answer; the last one has all of it in `generation`.

    Use as an asynchronous context manager, or await `aclose`, to leave it early. Cancelling the
    task that waits for a piece ends the generation.
    """

    def __init__(self, make: Callable[[], Stream]) -> None:
        """Take note; the answer begins with the first piece.

        Args:
            make: called in the thread, once.
        """
        self._make = make
        self._stream: Stream | None = None
        self._cancelled = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="amulet-stream")
        self._closed = False

    def __aiter__(self) -> AsyncAnswerStream:
        return self

    async def __anext__(self) -> Chunk:
        if self._closed:
            raise StopAsyncIteration
        try:
            chunk = await self._in_thread(self._next)
        except BaseException:
            await self.aclose()
            raise
        if chunk is None:
            await self.aclose()
            raise StopAsyncIteration
        return chunk

    async def whole(self) -> Generation:
        """The answer, when it is complete."""
        generation = None
        async with self:
            async for chunk in self:
                generation = chunk.generation
        assert generation is not None
        return generation

    async def change(self, **settings: Any) -> None:
        """Go on with another preference or strength: `AnswerStream.change`.

        Raises:
            As there; the answer then goes on as it was.
        """
        stream = self._stream
        if stream is None:
            stream = await self._in_thread(self._opened)
        await asyncio.to_thread(stream.change, **settings)

    def cancel(self) -> None:
        """End the generation; the stream goes on to its last chunk."""
        self._cancelled = True
        if self._stream is not None:
            self._stream.cancel()

    async def aclose(self) -> None:
        """End the generation and free what it holds. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self.cancel()
        closing = self._executor.submit(self._close)
        self._executor.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closing))

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _in_thread(self, work: Callable[[], Value]) -> Value:
        running: Future[Value] = self._executor.submit(work)
        return await asyncio.wrap_future(running)

    def _opened(self) -> Stream:
        if self._stream is None:
            self._stream = self._make()
            if self._cancelled:
                self._stream.cancel()
        return self._stream

    def _next(self) -> Chunk | None:
        return next(self._opened(), None)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
