"""`amulet-local serve` as a process: its address, its errors, its end."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, environment

pytestmark = pytest.mark.usefixtures("model_path")


@contextmanager
def serving(*arguments: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server in a process of its own, its address, and what it said."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "-c", "512", *arguments],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=environment(**env),
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline() + process.stderr.readline()
        found = re.search(r"http://[0-9.:]+", said)
        assert found, said
        yield process, found[0], said
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_streams_cleanly_and_the_server(kind: signal.Signals, code: int) -> None:
    with serving("--preference", "concise") as (process, url, said):
        assert "smollm2 is ready" in said
        assert "curl" in said
        body = {
            "messages": [{"role": "user", "content": "Tell me a story"}],
            "stream": True,
            "ignore_eos": True,
        }
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as response:
            lines = (line for line in response.iter_lines() if line[:1] not in ("", ":"))
            assert '"preferences": ["concise"]' in next(lines)
            process.send_signal(kind)
            rest = list(lines)
        assert rest[-1] == "data: [DONE]"
        assert process.wait(30) == code
        assert process.stderr is not None
        assert "error" not in process.stderr.read()


def test_a_key_from_the_environment_is_needed() -> None:
    with serving(AMULET_API_KEY="abc") as (process, url, _):
        assert httpx.get(f"{url}/v1/models", timeout=60).status_code == 401
        headers = {"Authorization": "Bearer abc"}
        assert httpx.get(f"{url}/v1/models", headers=headers, timeout=60).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.parametrize("where", ["--port", "--socket"])
def test_a_model_that_is_not_there_is_one_line_and_leaves_no_socket(
    call: CallCli, tmp_path: Path, where: str
) -> None:
    path = tmp_path / "socket"
    outcome = call("serve", where, path if where == "--socket" else "0", "-m", "no such model")
    assert "no model" in outcome.error_line
    assert not path.exists()
    gc.collect()  # a socket that is still open is a warning, and that an error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--api-key"),
        (["--port", "99999"], "--port"),
        (["--parallel", "0"], "--parallel"),
        (["--queue", "-1"], "--queue"),
        (["--api-key", "two words"], "API key"),
        (["--cors-origin", "chat.example.org"], "--cors-origin"),
        (["--preference", "formall"], "did you mean"),
        (["--preset", "none"], "no preset"),
        (["--api-key-file", "/none"], "key file"),
    ],
)
def test_what_can_not_be_served_is_said_before_anything_is_loaded(
    call: CallCli, arguments: list[str], said: str
) -> None:
    assert said in call("serve", *arguments).error_line


def test_a_port_that_is_taken_is_one_line(call: CallCli, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = call("serve", "--port", str(taken.getsockname()[1]))
    assert "in use" in outcome.error_line
