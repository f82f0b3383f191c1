"""What is asked of an engine, a server, a batch job and the loader; some of it is broken off.

A visit is a function of a place, a book and a generator of random numbers, which is None on the
first round: then nothing is broken off, so that every question has its whole answer in the book.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from amulet_local import AmuletParams, Engine, SamplingParams, load
from amulet_local.common.errors import AmuletError, CancelledError
from tests.batch.scripted_job import job_model, run_job
from tests.server.conftest import Server
from tests.soak.book import Book

QUESTIONS = ("How do I sleep better?", "What is a heap?", "Why is the sky dark?")
PREFERENCES = ("concise", "creative")
LONG_QUESTION = "Tell me what this is about. " + "One day a tailor lost his thread. " * 8
N_SHORT, N_LONG = 4, 16
SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"]}
N_TRIES = 20_000
"""How often a client comes again that was sent away because the queue is full."""


@dataclass(frozen=True)
class Place:
    """Where visits go.

    Attributes:
        model: the file that is loaded.
        engine: of one answer after the other.
        server: with two names of the same model, each loaded when it is asked for.
        folder: for files.
    """

    model: Path
    engine: Engine
    server: Server
    folder: Path


Visit = Callable[[Place, Book, random.Random | None], None]


def greedy(n_tokens: int) -> SamplingParams:
    """Sampling without chance, of exactly so many tokens."""
    return SamplingParams(max_tokens=n_tokens, ignore_eos=True)


DRAWN = SamplingParams(max_tokens=16, temperature=0.9, top_p=0.9, repeat_penalty=1.1, seed=11)

# ---------------------------------------------------------------------------------- the engine


def short_answers(place: Place, book: Book, chance: random.Random | None) -> None:
    """Greedy ones, one plain and one with each preference."""
    pairs = [
        (question, preference) for question in QUESTIONS for preference in (None, *PREFERENCES)
    ]
    for question, preference in chance.sample(pairs, 3) if chance else pairs:
        answer = place.engine.generate(question, preference=preference, sampling=greedy(N_SHORT))
        book.whole(("short", question, preference), answer.text)


def drawn_answers(place: Place, book: Book, chance: random.Random | None) -> None:
    """With a seed, and with a grammar."""
    answer = place.engine.generate(QUESTIONS[0], preference="creative", sampling=DRAWN)
    book.whole("drawn", answer.token_ids)
    shaped = DRAWN.replace(json_schema=SCHEMA)
    answer = place.engine.generate("Choose.", preference="concise", sampling=shaped)
    book.whole("shaped", answer.text)


def streams(place: Place, book: Book, chance: random.Random | None) -> None:
    """Long ones, of a long prompt too: to their end, left, or cancelled from another thread."""
    questions = (QUESTIONS[1], LONG_QUESTION)
    for question in chance.sample(questions, 1) if chance else questions:
        stream = place.engine.stream_generate(
            question, preference=PREFERENCES, sampling=greedy(N_LONG)
        )
        end = chance.choice(("whole", "left", "cancelled")) if chance else "whole"
        timer = None
        if end == "cancelled" and chance:
            timer = threading.Timer(chance.uniform(0, 1), stream.cancel)
            timer.start()
        leaves_at = chance.randrange(1, N_LONG) if chance and end == "left" else N_LONG + 1
        text, reason = "", None
        with contextlib.suppress(CancelledError):
            for number, chunk in enumerate(stream):
                text, reason = text + chunk.text, chunk.finish_reason
                if number == leaves_at:
                    break
        stream.close()
        if timer is not None:
            timer.cancel()
            timer.join()
        if reason == "length":
            book.whole(("long", question), text)
        else:
            book.part(("long", question), text)


def changed_stream(place: Place, book: Book, chance: random.Random | None) -> None:
    """Another strength and another preference on the way."""
    stream = place.engine.stream_generate(
        QUESTIONS[2], preference="concise", sampling=greedy(N_LONG)
    )
    text = ""
    for number, chunk in enumerate(stream):
        text += chunk.text
        if number == 5:
            stream.change(preference="creative", amulet=AmuletParams(guidance_scale=3.0))
        if number == 12:
            stream.change()
    book.whole("changed", text)


def conversations(place: Place, book: Book, chance: random.Random | None) -> None:
    """Two turns, saved and gone on with."""
    path = place.folder / f"talk-{threading.get_ident()}.json"
    talk = place.engine.conversation(preference="concise", sampling=greedy(N_SHORT))
    said = [talk.send(question).text for question in QUESTIONS[:2]]
    talk.save(path)
    later = place.engine.load_conversation(path)
    later.set(preference="creative")
    said.append(later.send(QUESTIONS[2]).text)
    path.unlink()
    book.whole("talk", tuple(said))


def scores(place: Place, book: Book, chance: random.Random | None) -> None:
    """Of a given answer."""
    found = place.engine.score(QUESTIONS[0], " Go to bed early.", preference="concise")
    book.whole("score", found)


def refusals(place: Place, book: Book, chance: random.Random | None) -> None:
    """What can't be answered."""
    engine = place.engine
    book.refused("empty", lambda: engine.generate(""))
    book.refused("too long", lambda: engine.generate("word " * 5000))
    book.refused("cold", lambda: SamplingParams(temperature=-1))
    book.refused("surrogate", lambda: engine.generate("\ud800"))
    book.refused("outside", lambda: engine.generate_from_tokens([1, 1 << 30]))
    book.refused("unclosed", lambda: engine.generate("a", sampling=DRAWN.replace(grammar="root")))
    book.refused("nobody", lambda: engine.load_conversation(place.folder / "none.json"))


# ---------------------------------------------------------------------------------- the server


def asked(question: str, n_tokens: int, **more: Any) -> dict[str, Any]:
    """A body."""
    body = {"messages": [{"role": "user", "content": question}], "preference": "creative"}
    return {**body, "temperature": 0, "max_tokens": n_tokens, "ignore_eos": True, **more}


@contextlib.contextmanager
def client_of(place: Place) -> Iterator[httpx.Client]:
    """A client with a connection of its own."""
    with httpx.Client(base_url=place.server.url, timeout=None) as client:  # rounds have a limit
        yield client


def post(client: httpx.Client, book: Book, path: str, body: dict[str, Any]) -> httpx.Response:
    """A POST, again and again while the queue is full."""
    for _ in range(N_TRIES):
        response = client.post(path, json=body)
        if response.status_code != 503:
            return response
        if "retry-after" not in response.headers:
            book.fault(f"{path}: 503 without Retry-After")
        book.count("sent away")
        time.sleep(0.1)
    book.fault(f"{path}: 503 {N_TRIES} times")
    return response


def completions(place: Place, book: Book, chance: random.Random | None) -> None:
    """Of both names, in two protocols."""
    names = ["first", "second"]
    if chance:
        chance.shuffle(names)
    with client_of(place) as client:
        for name in names:
            body = asked(QUESTIONS[0], 8, model=name)
            answer = post(client, book, "/v1/chat/completions", body)
            if answer.status_code != 200:
                book.fault(f"{name}: {answer.status_code}: {answer.text:.200}")
                continue
            book.whole("completion", answer.json()["choices"][0]["message"]["content"])
        body = {"prompt": "Once", "max_tokens": 5, "n": 2, "seed": 3, "temperature": 0.8}
        answer = post(client, book, "/v1/completions", body)
        book.whole("texts", [choice["text"] for choice in answer.json()["choices"]])


def event_streams(place: Place, book: Book, chance: random.Random | None) -> None:
    """To the end, left after some events, changed, or cancelled by another request."""
    end = chance.choice(("whole", "left", "cancelled", "changed")) if chance else "whole"
    leaves_at = chance.randrange(N_LONG) if chance else 0
    body = asked(QUESTIONS[1], N_LONG, stream=True)
    text, number, is_whole = "", 0, False
    with client_of(place) as client, client_of(place) as other:
        for _ in range(N_TRIES):
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code == 503:
                    book.count("sent away")
                    time.sleep(0.1)
                    continue
                for line in response.iter_lines():
                    if not line.startswith("data: {"):
                        is_whole = is_whole or line == "data: [DONE]"
                        continue
                    event, number = json.loads(line[6:]), number + 1
                    if event["choices"]:
                        text += event["choices"][0]["delta"].get("content") or ""
                    if number != leaves_at:
                        continue
                    if end == "left":
                        break
                    key = {"id": event["id"]}
                    change = {"cancel": True} if end == "cancelled" else {"preference": "concise"}
                    if end != "whole":
                        other.post("/v1/amulet/control", json={**key, **change})
            break
    if end == "changed" and leaves_at:
        book.count("changed")
    elif is_whole and end == "whole":
        book.whole("events", text)
    else:
        book.part("events", text)


BAD_BODIES: tuple[tuple[str, bytes], ...] = (
    ("/v1/chat/completions", b"{"),
    ("/v1/chat/completions", b'{"messages": []}'),
    ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "a"}], "top_p": 9}'),
    ("/v1/chat/completions", b"[" * 5000),
    ("/v1/completions", json.dumps({"prompt": "word " * 5000}).encode()),
    ("/v1/amulet/control", b'{"id": "none"}'),
    ("/tokenize", b'{"content": 1}'),
    ("/nowhere", b"{}"),
)


def bad_requests(place: Place, book: Book, chance: random.Random | None) -> None:
    """Bodies that are refused, and connections that end in the middle of one."""
    with client_of(place) as client:
        for path, body in BAD_BODIES:
            response = client.post(path, content=body)
            book.whole((path, body), (response.status_code, response.text))
            book.count("refused")
        for path in ("/health", "/v1/models", "/metrics", "/"):
            book.whole(path, client.get(path).status_code)
    request = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", place.server.port)) as connection:
        connection.sendall(request[: chance.randrange(len(request)) if chance else 9])


# ---------------------------------------------------------------------------------- jobs and models


class Broken(Exception):
    """A job is broken off."""


def batch_jobs(place: Place, book: Book, chance: random.Random | None) -> None:
    """Lines of which two are bad; the job is broken off somewhere, and gone on with."""
    folder = place.folder / f"batch-{threading.get_ident()}"
    folder.mkdir()
    source, output = folder / "in.jsonl", folder / "out.jsonl"
    lines = [
        json.dumps({"id": f"{question} {preference}", "prompt": question, "preference": preference})
        for question in QUESTIONS
        for preference in PREFERENCES
    ]
    source.write_text("\n".join([*lines, "{", '{"id": "x"}']) + "\n")
    breaks_at = chance.randrange(len(lines)) if chance else -1
    n_written = 0

    def before_write(record: dict[str, Any]) -> None:
        nonlocal n_written, breaks_at
        if n_written == breaks_at:
            breaks_at = -1
            raise Broken
        n_written += 1

    model = job_model(place.engine, sampling=greedy(N_SHORT))
    with contextlib.suppress(Broken):
        run_job(model, source, output, before_write=before_write)
    run_job(model, source, output, before_write=before_write)
    records = [json.loads(line) for line in output.read_text().splitlines()]
    told = sorted(str((r.get("id"), r.get("text"), r.get("error"))) for r in records)
    book.whole("batch", told)
    shutil.rmtree(folder)


LOADING: tuple[dict[str, Any], ...] = (
    {"schedule": "serial"},
    {"schedule": "parallel", "n_batch": 32},
    {"schedule": "serial", "cache_type_k": "q8_0", "isolate": "always"},
)


def loading(place: Place, book: Book, chance: random.Random | None) -> None:
    """Models that are loaded in several ways, asked and closed, in the middle of an answer too."""
    for way in LOADING:
        if chance and chance.random() < 0.5:
            continue
        with load(place.model, n_ctx=256, n_threads=1, reproducible=True, **way) as engine:
            answer = engine.generate(QUESTIONS[2], preference="concise", sampling=greedy(N_SHORT))
            book.whole(("loaded", *way.items()), answer.text)
            if chance and chance.random() < 0.5:
                next(engine.stream_generate(QUESTIONS[0], sampling=greedy(N_LONG)))
    cut = place.folder / f"cut-{threading.get_ident()}.gguf"
    with place.model.open("rb") as file:
        cut.write_bytes(file.read(5000))
    try:
        load(cut)
    except AmuletError as error:
        book.whole("cut file", type(error))
    else:
        book.fault("a file that was cut can be loaded")
    cut.unlink()


DESKS: tuple[tuple[Visit, ...], ...] = (
    (short_answers, streams, changed_stream, refusals),
    (drawn_answers, conversations, streams, scores),
    (batch_jobs, refusals),
    (loading,),
    (completions, event_streams, bad_requests),
    (event_streams, completions, bad_requests),
    (bad_requests, event_streams, event_streams),
)
"""Who goes at the same time: each a thread, with its visits in any order."""
