"""Compares `amulet-local serve` with a llama-server binary: several streams at once, in one run.

For each number of streams both servers are started with as many places, and answer in turns: a
round is llama-server plain, ours plain, ours realigned. Tokens a second in all are counted while
every stream is under way, so that prompts are left out; `slowest` is the smallest share of them
that a stream has, times the number of streams. Medians over the rounds. Servers that wait sleep.
Without --llama-server ours is measured alone.

With --batch it is `amulet-local batch` that is measured, against a llama-server with as many places
whose client keeps all of them busy, against one answer after the other, and against a loop of
`generate`. Tokens a second are those of the answers that end after the first ones, one for each
place: so loading, and what is measured at the start, is left out, but for the loop, which has it.

With --documents each question is about a text of its own, a paragraph of docs/, as in most batches;
without, it is one of eight short ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import httpx

CHAT = "/v1/chat/completions"
START_SECONDS = 300.0
QUESTIONS = (
    "How do I sleep better?",
    "What is a heap?",
    "Why is the sky dark at night?",
    "What is tea made of?",
    "How does a bicycle stay upright?",
    "Name three rivers and where they end.",
    "What does a compiler do?",
    "How can I learn to cook?",
)
TASK = "Summarize this text in a few sentences."
DOCUMENT_WORDS = range(80, 161)
PREFERENCE = "creative"
THEIRS, PLAIN, REALIGNED = "llama-server", "plain", "realigned"
ONE_BY_ONE, LOOP = "one at a time", "generate in a loop"
WAVES = 4
"""Answers of a place in a batch; the first isn't counted."""

Stamps = list[float]


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def running(command: list[str], port: int) -> Iterator[str]:
    """A server, when it is ready; its address."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"it doesn't start: {' '.join(command)}")
            try:
                if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@cache
def documents() -> list[str]:
    """The paragraphs of docs/ that are neither short nor long."""
    pages = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
    whole = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    paragraphs = re.sub(r"```.*?```", "", whole, flags=re.DOTALL).split("\n\n")
    texts = [" ".join(text.split()) for text in paragraphs if text[:1].isalpha()]
    return [text for text in texts if len(text.split()) in DOCUMENT_WORDS]


def question(number: int, options: argparse.Namespace) -> str:
    """What is asked; no two are the same."""
    if options.documents:
        return f"{TASK}\n\n{documents()[number % len(documents())]} ({number + 1})"
    return f"{QUESTIONS[number % len(QUESTIONS)]} ({number + 1})"


def body(number: int, options: argparse.Namespace, preference: str | None) -> dict[str, object]:
    """A greedy answer of exactly so many tokens."""
    asked: dict[str, object] = {
        "messages": [{"role": "user", "content": question(number, options)}],
        "temperature": 0,
        "max_tokens": options.tokens,
        "ignore_eos": True,
        "stream": True,
    }
    return asked if preference is None else asked | {"preference": preference}


async def stream(client: httpx.AsyncClient, asked: dict[str, object]) -> Stamps:
    """When each piece of an answer came."""
    times: Stamps = []
    async with client.stream("POST", CHAT, json=asked) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line[6:]).get("choices")
            if choices and choices[0]["delta"].get("content"):
                times.append(time.perf_counter())
    return times


async def round_of(
    url: str, n_streams: int, options: argparse.Namespace, preference: str | None
) -> tuple[float, float]:
    """Tokens a second in all while every stream is under way, and the slowest one's share."""
    limits = httpx.Limits(max_connections=n_streams)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        asked = [body(number, options, preference) for number in range(n_streams)]
        all_times = await asyncio.gather(*(stream(client, one) for one in asked))
    start, end = max(times[0] for times in all_times), min(times[-1] for times in all_times)
    if end <= start:
        raise SystemExit("the streams didn't run at once; ask for more tokens (--tokens)")
    rates = [sum(start < t <= end for t in times) / (end - start) for times in all_times]
    return sum(rates), min(rates) * n_streams / sum(rates)


def commands(options: argparse.Namespace, n_streams: int, ports: list[int]) -> dict[str, list[str]]:
    """How each server is started with as many places as there are streams."""
    n_ctx = options.tokens + (512 if options.documents else 192)
    ours = [
        *(sys.executable, "-m", "amulet_local", "serve", "-m", options.model, "--no-ui"),
        *("-np", str(n_streams), "-c", str(n_ctx), "--port", str(ports[0])),
        *(() if options.scheduler is None else ("--scheduler", options.scheduler)),
    ]
    found = {PLAIN: ours}
    if options.llama_server:
        found[THEIRS] = [
            *(options.llama_server, "-m", options.model, "--port", str(ports[1])),
            *("-np", str(n_streams), "-c", str(n_ctx * n_streams), "--no-webui"),
        ]
    return found


def measure(options: argparse.Namespace, n_streams: int) -> dict[str, tuple[float, float]]:
    """The medians of each way."""
    ports = [free_port(), free_port()]
    with ExitStack() as servers:
        urls = {
            name: servers.enter_context(running(command, ports[name == THEIRS]))
            for name, command in commands(options, n_streams, ports).items()
        }
        urls[REALIGNED] = urls[PLAIN]
        found: dict[str, list[tuple[float, float]]] = {
            name: [] for name in (THEIRS, PLAIN, REALIGNED) if name in urls
        }
        for turn in range(options.rounds + 1):
            for name, values in found.items():
                preference = PREFERENCE if name == REALIGNED else None
                value = asyncio.run(round_of(urls[name], n_streams, options, preference))
                if turn:  # the first one warms up
                    values.append(value)
    return {
        name: (
            statistics.median(rate for rate, _ in values),
            statistics.median(share for _, share in values),
        )
        for name, values in found.items()
    }


def later_rate(stamps: Stamps, n_first: int, n_tokens: int) -> float:
    """Tokens a second of the answers that ended after the first `n_first`."""
    stamps = sorted(stamps)
    return n_tokens * (len(stamps) - n_first) / (stamps[-1] - stamps[n_first - 1])


async def answered(url: str, n_places: int, options: argparse.Namespace, turn: int) -> float:
    """The rate of a server whose places are kept busy."""
    stamps: Stamps = []
    numbers = iter(numbers_of(turn, n_places))
    limits = httpx.Limits(max_connections=n_places)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:

        async def keep_busy() -> None:
            for number in numbers:
                asked = body(number, options, None) | {"stream": False}
                (await client.post(CHAT, json=asked)).raise_for_status()
                stamps.append(time.perf_counter())

        await asyncio.gather(*(keep_busy() for _ in range(n_places)))
    return later_rate(stamps, n_places, options.tokens)


def own_command(command: str, options: argparse.Namespace, *more: str) -> list[str]:
    """A command of this package for answers of exactly so many tokens."""
    length = ("-n", str(options.tokens), "--ignore-eos", "--temp", "0")
    start = (sys.executable, "-m", "amulet_local", command, "-m", options.model)
    return [*start, *length, *more]


def numbers_of(turn: int, n_places: int) -> range:
    """Of the questions of a round; another's would be in the server's memory."""
    n = n_places * WAVES
    return range(turn * n, (turn + 1) * n)


def batch(n_places: int, options: argparse.Namespace, turn: int, *more: str) -> float:
    """The rate of `amulet-local batch`."""
    numbers = numbers_of(turn, n_places)
    asked = (body(number, options, None)["messages"] for number in numbers)
    lines = "".join(json.dumps({"messages": messages}) + "\n" for messages in asked)
    command = own_command("batch", options, "-", "--at-once", str(n_places), *more)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines.encode())
        process.stdin.close()
        stamps = [time.perf_counter() for _ in process.stdout]
    if process.returncode or len(stamps) != n_places * WAVES:
        raise SystemExit(f"it doesn't answer: {' '.join(command)}")
    return later_rate(stamps, n_places, options.tokens)


def loop(options: argparse.Namespace) -> float:
    """The rate of `amulet-local generate`, a process for each question."""
    start = time.perf_counter()
    for number in range(WAVES):
        command = own_command("generate", options, "--prompt", question(number, options))
        # Its status says that the answer was cut, as it was asked to be.
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return options.tokens * WAVES / (time.perf_counter() - start)


def batches(options: argparse.Namespace, n_places: int) -> dict[str, float]:
    """The medians of each way of many answers."""
    port = free_port()
    found: dict[str, list[float]] = {}

    def note(name: str, rate: float) -> None:
        found.setdefault(name, []).append(rate)
        print(f"{name}: {rate:.1f} tokens/s", file=sys.stderr, flush=True)

    with ExitStack() as servers:
        theirs = commands(options, n_places, [0, port]).get(THEIRS)
        url = None if theirs is None else servers.enter_context(running(theirs, port))
        for turn in range(options.rounds):
            if url is not None:
                note(THEIRS, asyncio.run(answered(url, n_places, options, turn)))
            note(PLAIN, batch(n_places, options, turn))
            note(REALIGNED, batch(n_places, options, turn, "--preference", PREFERENCE))
            note(ONE_BY_ONE, batch(1, options, turn))
            note(LOOP, loop(options))
    return {name: statistics.median(rates) for name, rates in found.items()}


def print_batches(options: argparse.Namespace, n_places: int) -> None:
    """Measure and print them, each beside `batch` without a preference."""
    found = batches(options, n_places)
    print(f"{n_places} answers at once{'tokens/s':>25}  of batch")
    for name, rate in found.items():
        label = "batch" if name == PLAIN else f"batch, {name}" if name == REALIGNED else name
        print(f"{label:<22}{rate:>20.1f}{rate / found[PLAIN]:>10.2f}", flush=True)


def with_tokens(options: argparse.Namespace, n_streams: int) -> argparse.Namespace:
    """The options with a length of answers for which all streams run at once for a while."""
    tokens = options.tokens or max(48, 6 * n_streams)
    return argparse.Namespace(**{**vars(options), "tokens": tokens})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--model", default="smollm2")
    parser.add_argument("--llama-server", metavar="PATH", help="a binary to compare with")
    parser.add_argument("--streams", default="1,4,8,16", help="default: 1,4,8,16")
    parser.add_argument(
        "--tokens", type=int, help="of each answer; default: 48, and 6 a stream with more than 8"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--scheduler", help="of ours: auto, batched or interleaved")
    parser.add_argument("--batch", action="store_true", help="of `batch` instead of `serve`")
    parser.add_argument("--documents", action="store_true", help="ask about a text each")
    options = parser.parse_args()
    if options.batch:
        for n_places in map(int, options.streams.split(",")):
            print_batches(with_tokens(options, n_places), n_places)
        return
    print("Tokens a second in all (share of the slowest stream)")
    print(f"{'streams':>7} {THEIRS:>16} {PLAIN:>16} {REALIGNED:>16}  plain/theirs realigned/plain")
    for n_streams in map(int, options.streams.split(",")):
        found = measure(with_tokens(options, n_streams), n_streams)
        cells = [
            f"{found[name][0]:.1f} ({found[name][1]:.2f})" if name in found else "-"
            for name in (THEIRS, PLAIN, REALIGNED)
        ]
        theirs = f"{found[PLAIN][0] / found[THEIRS][0]:.2f}" if THEIRS in found else "-"
        ratio = found[REALIGNED][0] / found[PLAIN][0]
        row = " ".join(f"{cell:>16}" for cell in cells)
        print(f"{n_streams:>7} {row}  {theirs:>12} {ratio:>15.2f}", flush=True)


if __name__ == "__main__":
    main()
