"""Measures a running server under load; the figures of docs/server.md come from here.

rate: tokens per second of one stream, then of four at once, in total, and each one's share.
crowd: 64 clients at once against the places and the queue; a third of them leave early.
memory: the server's resident memory over many short requests (with --pid, Linux).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
from pathlib import Path

import httpx

QUESTIONS = ("How do I sleep better?", "What is a heap?", "Why is the sky dark?", "What is tea?")
CHAT = "/v1/chat/completions"


def body(number: int, n_tokens: int, *, stream: bool = True) -> dict[str, object]:
    """A greedy answer of exactly so many tokens, with a preference."""
    messages = [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}]
    asked = {"messages": messages, "preference": "creative", "temperature": 0, "stream": stream}
    return asked | {"max_tokens": n_tokens, "ignore_eos": True}


async def stamps(client: httpx.AsyncClient, number: int, n_tokens: int) -> list[float]:
    """When each piece of one stream came."""
    times = []
    async with client.stream("POST", CHAT, json=body(number, n_tokens)) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line:
                times.append(time.perf_counter())
    return times


async def rates(client: httpx.AsyncClient, n_tokens: int, rounds: int) -> None:
    """One stream alone against four at once, in turn, so that both see the same machine."""
    for number in range(4):
        await stamps(client, number, 4)
    for _ in range(rounds):
        alone = await stamps(client, 0, n_tokens)
        single = (len(alone) - 1) / (alone[-1] - alone[0])
        together = await asyncio.gather(*(stamps(client, n, n_tokens) for n in range(4)))
        start, end = max(times[0] for times in together), min(times[-1] for times in together)
        shares = [sum(start <= t <= end for t in times) / (end - start) for times in together]
        total = sum(shares)
        print(
            f"rate: alone {single:.1f} tokens/s, four {total:.1f} ({total / single:.2f}x); of its "
            f"fair share each has " + " ".join(f"{4 * share / total:.2f}" for share in shares)
        )


async def visitor(client: httpx.AsyncClient, number: int, chance: random.Random) -> str:
    """One client; some leave after a moment."""
    asked = body(number, chance.randrange(2, 24), stream=chance.random() < 0.5)
    patience = chance.uniform(0.05, 1.0) if chance.random() < 1 / 3 else None
    try:
        response = await asyncio.wait_for(client.post(CHAT, json=asked), patience)
    except asyncio.TimeoutError:
        return "left"
    if response.status_code == 503:
        return "503 with Retry-After" if "retry-after" in response.headers else "503 alone"
    complete = b"[DONE]" in response.content or b'"usage"' in response.content
    return "answered" if response.status_code == 200 and complete else "lost"


async def crowd(client: httpx.AsyncClient, rounds: int) -> None:
    """Many at once, some of whom leave."""
    chance = random.Random(0)
    for _ in range(rounds):
        ends = await asyncio.gather(*(visitor(client, n, chance) for n in range(64)))
        print("crowd:", ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends))))
    started = time.perf_counter()
    while True:
        metrics = (await client.get("/metrics")).text
        if re.search(r"requests_processing 0\n", metrics):
            break
        await asyncio.sleep(0.02)
    print(f"crowd: every place free {time.perf_counter() - started:.2f} s after the last answer")


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


async def memory(client: httpx.AsyncClient, pid: int, n_requests: int) -> None:
    """Resident memory over short requests, some of which are left."""
    chance = random.Random(1)
    for number in range(n_requests + 1):
        if number % (n_requests // 5) == 0:
            print(f"memory: {resident_mb(pid):.1f} MB after {number} requests")
        await asyncio.gather(*(visitor(client, number, chance) for _ in range(1)))


async def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    limits = httpx.Limits(max_connections=80)
    async with httpx.AsyncClient(base_url=options.url, timeout=120, limits=limits) as client:
        await rates(client, options.tokens, options.rounds)
        await crowd(client, options.rounds)
        if options.pid:
            await memory(client, options.pid, options.requests)


if __name__ == "__main__":
    asyncio.run(main())
