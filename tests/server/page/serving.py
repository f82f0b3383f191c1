"""A server in a process of its own, as `amulet-local serve` starts it, and plain requests to it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120
READY = re.compile(r" is ready at (http://\S+) ")
RUNNING_SECONDS, STOPPED_SECONDS = 0.02, 0.04


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that runs.

    Attributes:
        url: its address, with a slash at the end.
        process: the server's.
    """

    url: str
    process: subprocess.Popen[str]

    def _open(self, path: str, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        return urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's JSON."""
        with self._open(path, body) as response:
            result: dict[str, Any] = json.load(response)
        return result

    def stream(self, path: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The JSON of every event, [DONE] left out."""
        with self._open(path, {**body, "stream": True}) as response:
            lines = [line.decode() for line in response]
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]

    @contextmanager
    def slowed(self) -> Iterator[None]:
        """The server stands still for two thirds of the time while the block runs: a browser that
        gets little of a busy machine is still quicker than its answers."""
        over = threading.Event()

        def stop_and_go() -> None:
            while not over.wait(RUNNING_SECONDS):
                self.process.send_signal(signal.SIGSTOP)
                over.wait(STOPPED_SECONDS)
                self.process.send_signal(signal.SIGCONT)

        thread = threading.Thread(target=stop_and_go)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def serving(model: Path, *flags: str) -> Iterator[Served]:
    """`amulet-local serve` on a free port while the block runs."""
    command = [sys.executable, "-m", "amulet_local", "serve", "-m", str(model), "--port", "0"]
    command += ["--scheduler", "interleaved"]  # answers are to be the same, whoever else asks
    with subprocess.Popen(
        [*command, *flags], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        try:
            for line in process.stderr:
                said += line
                if found := READY.search(line):
                    yield Served(url=f"{found[1]}/", process=process)
                    break
            else:
                raise AssertionError(f"the server ended: {said}")
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)
