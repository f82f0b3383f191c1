"""Local OpenAI-shaped endpoints for tests: a real HTTP server around a function.

One answers with this package's own engine; one judges by a rule that the test can check.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from amulet_local import AmuletError, Engine

Reply = tuple[int, dict[str, str], Any]
"""Status, headers, and the body: what becomes JSON, or bytes."""
Answer = Callable[[dict[str, Any]], Reply]


class Endpoint:
    """A running server.

    Attributes:
        base_url: of its API.
        requests: bodies of what it was sent, in order.
        keys: the Authorization headers.
        headers: all headers of the last request, names in lower case.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.headers: dict[str, str] = {}


@contextmanager
def serving(answer: Answer) -> Iterator[Endpoint]:
    """A server on this machine, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append(body)
            endpoint.keys.append(self.headers.get("Authorization", ""))
            endpoint.headers = {name.lower(): value for name, value in self.headers.items()}
            status, headers, reply = answer(body)
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_engine(engine: Engine) -> Answer:
    """Answers with a model."""
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> Reply:
        messages = body.pop("messages")
        try:
            with lock:
                return 200, {}, engine.create_chat_completion(messages, **body)
        except AmuletError as error:
            return 400, {}, {"error": {"message": str(error), "type": "invalid_request_error"}}

    return answer


def completion(text: str, listed: dict[str, float] | None = None) -> Reply:
    """A chat completion, with log-probabilities of its one token if there are any."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    if listed is not None:
        top = [{"token": token, "logprob": value, "bytes": None} for token, value in listed.items()]
        choice["logprobs"] = {
            "content": [{"token": text, "logprob": 0.0, "bytes": None, "top_logprobs": top}]
        }
    whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, {}, {**whole, "choices": [choice]}


def shown(body: dict[str, Any], what: str) -> str:
    """A text between its marks, as a judge reads it: the fence of the system text tells them."""
    fence = re.search(r"the word ([0-9a-f]{10})\.", body["messages"][0]["content"])
    assert fence is not None
    text = body["messages"][1]["content"]
    start, end = f"[{what} {fence[1]}]\n", f"\n[end of {what} {fence[1]}]"
    assert text.count(start) == text.count(end) == 1
    return str(text[text.index(start) + len(start) : text.index(end)])
