"""Asynchronous answers: the loop goes on meanwhile, and a cancelled task ends its generation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams, errors, load

LONG = SamplingParams(max_tokens=3900, ignore_eos=True)
SHORT = SamplingParams(max_tokens=6)


@pytest.fixture(scope="module")
def engine(tiny_path: Any) -> Iterator[Engine]:
    with load(tiny_path, n_ctx=4096, schedule="serial") as loaded:
        yield loaded


def test_an_asynchronous_answer_is_the_same(engine: Engine) -> None:
    expected = engine.generate("What is yeast?", preference="concise", sampling=SHORT)

    async def main() -> list[str]:
        asked = [
            engine.agenerate("What is yeast?", preference="concise", sampling=SHORT)
            for _ in range(3)
        ]
        texts = [answer.text for answer in await asyncio.gather(*asked)]
        stream = engine.astream("What is yeast?", preference="concise", sampling=SHORT)
        texts.append("".join([chunk.text async for chunk in stream]))
        return texts

    assert asyncio.run(main()) == [expected.text] * 4


def test_the_loop_goes_on_while_an_answer_is_made(engine: Engine) -> None:
    async def main() -> tuple[int, set[int]]:
        beats, threads = 0, set()
        task = asyncio.create_task(engine.agenerate("Tell me a story.", sampling=LONG))
        while not task.done():
            beats += 1
            threads.add(threading.get_ident())
            await asyncio.sleep(0.001)
        await task
        return beats, threads

    beats, threads = asyncio.run(main())
    assert beats > 20
    assert threads == {threading.get_ident()}


def test_a_cancelled_task_ends_its_generation(engine: Engine) -> None:
    async def main() -> str:
        task = asyncio.create_task(engine.agenerate("Tell me a story.", sampling=LONG))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await engine.agenerate("Hi", sampling=SHORT)).finish_reason

    assert asyncio.run(main()) in ("length", "stop")


def test_leaving_a_stream_early_frees_the_engine(engine: Engine) -> None:
    async def main() -> tuple[int, list[Any]]:
        n = 0
        async with engine.astream("Tell me a story.", sampling=LONG) as stream:
            async for _ in stream:
                n += 1
                if n == 3:
                    break
        after = [chunk async for chunk in stream]
        await stream.aclose()
        assert (await engine.agenerate("Hi", sampling=SHORT)).text
        return n, after

    assert asyncio.run(main()) == (3, [])


def test_a_stream_may_be_cancelled_and_changed_from_the_loop(engine: Engine) -> None:
    async def main() -> tuple[list[Any], Any]:
        stream = engine.astream("Tell me a story.", sampling=LONG)
        chunks = []
        async for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == 3:
                await stream.change(preference="formal")
            if len(chunks) == 6:
                stream.cancel()
        return chunks, chunks[-1].generation

    chunks, generation = asyncio.run(main())
    assert len(chunks) < 20
    assert generation.finish_reason == "cancelled"
    assert generation.preferences == ("formal",)


def test_errors_raise_at_the_first_piece(engine: Engine) -> None:
    async def main() -> None:
        with pytest.raises(errors.EmptyPromptError):
            await engine.agenerate("")
        with pytest.raises(errors.UnknownMethodError):
            async for _ in engine.astream("Hi", method="nothing"):
                pass

    asyncio.run(main())


def test_a_conversation_has_asynchronous_turns(engine: Engine) -> None:
    async def main() -> list[str]:
        talk = engine.conversation(sampling=SHORT)
        await talk.asend("Hi")
        texts = [chunk.text async for chunk in talk.astream("And you?")]
        assert talk.turns[-1].answer == "".join(texts)
        return [turn.question for turn in talk.turns]

    assert asyncio.run(main()) == ["Hi", "And you?"]
