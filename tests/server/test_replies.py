"""How a reply ends, whatever its answer and its client do at the same moment."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from amulet_local.common.errors import DecodeError
from amulet_local.server import replies


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

        async def wait() -> None:
            waited.set()
            for _ in range(5):  # by now the answer has failed
                await asyncio.sleep(0)
            if ends == "client":
                raise ConnectionResetError

        async def read() -> None:
            async for _ in replies._while_waiting(pieces(), wait):
                pass

        with pytest.raises(ConnectionResetError if ends == "client" else DecodeError):
            await read()

    asyncio.run(run())
    gc.collect()
    assert complaints == []
