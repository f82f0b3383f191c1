"""A crowd in front of a short queue: nothing is lost, no answer changes, every place returns."""

from __future__ import annotations

import asyncio
import gc
import random
from pathlib import Path

import httpx
import psutil
import pytest

from amulet_local import load
from tests.server.conftest import Server, running

QUESTIONS = ("How do I sleep better?", "What is a heap?", "Why is the sky dark?", "What is tea?")


def asked(number: int, n_tokens: int = 4) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]}],
        "preference": "creative",
        "temperature": 0,
        "max_tokens": n_tokens,
        "ignore_eos": True,
    }


async def visits(server: Server, n_clients: int, *, leavers: float, seed: int) -> list[str]:
    """How each visit ended: its text, "full" or "left"."""
    chance = random.Random(seed)
    limits = httpx.Limits(max_connections=n_clients)

    async def visit(number: int, patience: float | None) -> str:
        try:
            response = await asyncio.wait_for(
                client.post("/v1/chat/completions", json=asked(number)), patience
            )
        except asyncio.TimeoutError:
            return "left"
        if response.status_code == 503:
            assert int(response.headers["retry-after"]) >= 1
            return "full"
        text: str = response.json()["choices"][0]["message"]["content"]
        return text

    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits) as client:
        chosen = [
            chance.uniform(0.01, 2.0) if chance.random() < leavers else None
            for _ in range(n_clients)
        ]
        return await asyncio.gather(*(visit(n, chosen[n]) for n in range(n_clients)))


def crowd(tiny_path: Path, n_rounds: int, n_short: int) -> tuple[int, int]:
    """Rounds of 64 clients; resident bytes after a tenth of many more requests, and after all."""
    process = psutil.Process()
    with load(tiny_path, n_ctx=256, n_batch=64) as engine:
        close, engine.close = engine.close, lambda: None  # type: ignore[method-assign]
        with running(engine, places=4, waiting=8) as server:
            alone = [asyncio.run(visits(server, n, leavers=0, seed=0))[-1] for n in range(1, 5)]
            for seed in range(n_rounds):
                ends = asyncio.run(visits(server, 64, leavers=0.3, seed=seed))
                answered = {n: end for n, end in enumerate(ends) if end not in ("full", "left")}
                assert len(answered) >= 4
                assert "full" in ends
                for number, text in answered.items():
                    assert text == alone[number % 4]
            early = 0
            for done in range(0, n_short, 8):
                asyncio.run(visits(server, 8, leavers=0.5, seed=done))
                gc.collect()  # which the tests' settings put off
                if done <= n_short // 10:
                    early = process.memory_info().rss
            late = process.memory_info().rss
            pool = server.service.model.pool
            assert server.client.get("/health").status_code == 200
            assert pool.n_queued == 0
        engine.close = close  # type: ignore[method-assign]
    return early, late


def test_a_crowd_loses_nothing_and_changes_no_answer(tiny_path: Path) -> None:
    crowd(tiny_path, 1, 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_requests_leave_no_memory_behind(tiny_path: Path) -> None:
    early, late = crowd(tiny_path, 4, 1000)
    print(f"resident: {early / 2**20:.1f} MB after 100 requests, {late / 2**20:.1f} MB after 1000")
    assert late - early < 8 * 2**20
