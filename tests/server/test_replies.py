"""How a reply ends, whatever its answer and its client do at the same moment."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator, MutableMapping
from types import SimpleNamespace
from typing import Any

import pytest

from amulet_local.common.errors import DecodeError
from amulet_local.server import replies
from amulet_local.server.mailbox import Mailbox


@pytest.mark.parametrize("ends", ["client", "reply"])
def test_an_answer_that_fails_while_its_client_leaves_is_nobody_s_lost_task(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "PAUSE_SECONDS", 0.01)
    complaints: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        waited = asyncio.Event()

        async def pieces() -> AsyncGenerator[dict[str, Any], None]:
            await waited.wait()
            raise DecodeError("llama_decode failed", code=-1)
            yield {}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message.get("body", b"").startswith(b":"):
                waited.set()
                for _ in range(5):  # by now the answer has failed
                    await asyncio.sleep(0)

        async def receive() -> MutableMapping[str, Any]:
            await (waited.wait() if ends == "client" else asyncio.Event().wait())
            return {"type": "http.disconnect"}

        job: Any = SimpleNamespace(stream=True, pieces=pieces)
        sent: list[Any] = []

        async def noting(message: MutableMapping[str, Any]) -> None:
            sent.append(message)
            await send(message)

        await replies.CompletionReply(job)({}, receive, noting)
        if ends == "reply":
            assert b"DecodeError" in sent[-2]["body"]

    asyncio.run(run())
    gc.collect()
    assert complaints == []


def test_what_is_put_into_a_mailbox_comes_in_order_with_one_wake_up() -> None:
    async def run() -> tuple[list[int], list[str]]:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[int]()
        mailbox, wakes, woke = Mailbox.here(), list[str](), threading.Event()
        assert Mailbox.here() is mailbox
        waking = loop.call_soon_threadsafe

        def woken(*call: Any) -> Any:
            wakes.append(threading.current_thread().name)
            woke.set()
            return waking(*call)

        loop.call_soon_threadsafe = woken  # type: ignore[method-assign,assignment]
        again = Mailbox(loop)

        def deliver() -> None:
            for number in range(100):
                again.put(queue, number)

        deliver()
        woke.wait(10)  # the loop has no turn meanwhile
        at_once = [*wakes]
        await asyncio.to_thread(deliver)
        got = [await queue.get() for _ in range(200)]
        return got, at_once

    got, wakes = asyncio.run(run())
    assert got == [*range(100), *range(100)]
    assert wakes == ["amulet-waker"]  # who puts things in waits for no loop


def test_a_mailbox_of_a_loop_that_has_ended_takes_things_in_silence() -> None:
    async def made() -> tuple[Mailbox, asyncio.Queue[int]]:
        return Mailbox.here(), asyncio.Queue()

    mailbox, queue = asyncio.run(made())
    mailbox.put(queue, 1)
