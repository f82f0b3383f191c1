"""The child processes of a benchmark, which take turns: started, told what to do, and ended.

Several loaded models in one process disturb each other: OpenMP stops its threads from spinning when
those of all its pools together exceed the cores. So each way is a process of its own; while one
works the others sleep. Knows nothing about what they do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from amulet_local.common import errors
from amulet_local.common.closing import Closing
from amulet_local.common.errors import AmuletError, BackendError

Spec = Mapping[str, Any]
"""The first line of a child: "kind" and what it needs."""
Command = Mapping[str, Any]
"""A later line: "do" and its arguments."""
Progress = Callable[[str], None]

MEMORY_SHARE = 0.8
"""Of the available memory, what all children together may take by estimate."""
OVERHEAD_BYTES = 200 << 20
"""Of a child, beside weights and KV caches."""
N_PASSES = 3
"""How often the children are loaded anew where they are held one at a time."""


def environment() -> dict[str, str]:
    """This process's environment, in which a child finds this very package."""
    folder = str(Path(__file__).parent.parent.parent)
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


class Child(Closing):
    """A process that runs child.py. Use as a context manager.

    Attributes:
        facts: what the process says about what it loaded.
    """

    def __init__(self, spec: Spec) -> None:
        """Start it and wait until it is loaded.

        Raises:
            AmuletError: it can't load that.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "amulet_local.benchmark.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            encoding="utf-8",
        )
        try:
            self.facts: dict[str, Any] = self.ask(spec)
        except BaseException:
            self.close()
            raise

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Send a line and wait for the result.

        Raises:
            AmuletError: what the process reports, or that it has died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._death() from None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise self._death()
        reply = json.loads(line)
        if "error" in reply:
            raise _typed_error(reply["error"], reply["message"])
        return reply["result"]

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was still to be written has no reader
                    stream.close()

    def _death(self) -> BackendError:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")
        how = f"with exit status {code}"
        if code < 0:
            how = f"by {signal.Signals(-code).name}"
        return BackendError(
            f"a process of the benchmark ended {how}: {last} (if memory is short: --one-at-a-time)"
        )


def _typed_error(name: str, message: str) -> AmuletError:
    kind = getattr(errors, name, BackendError)
    try:
        error = kind(message)
    except TypeError:  # one with more than a message
        error = BackendError(message)
    assert isinstance(error, AmuletError)
    return error


@contextmanager
def _loaded(specs: Mapping[str, Spec], progress: Progress) -> Iterator[dict[str, Child]]:
    with ExitStack() as stack:
        children = {}
        for name, spec in specs.items():
            progress(f"loading: {name}")
            children[name] = stack.enter_context(Child(spec))
        yield children


def take_turns(
    specs: Mapping[str, Spec],
    commands: Sequence[Command],
    *,
    rounds: int,
    together: bool,
    progress: Progress,
) -> tuple[dict[str, list[list[Any]]], dict[str, dict[str, Any]]]:
    """Have each child do all commands, `rounds` times, one child after the other.

    Args:
        specs: the children, by name.
        commands: what each does in its turn.
        rounds: turns of each.
        together: hold all children at once; else each is loaded for a third of its turns, dropped,
            and loaded again.
        progress: told what is going on.

    Returns:
        Results by name, round and command; facts by name.

    Raises:
        AmuletError: a child failed. No child is left.
    """
    results: dict[str, list[list[Any]]] = {name: [] for name in specs}
    facts: dict[str, dict[str, Any]] = {}
    groups = [specs] if together else [{name: spec} for name, spec in specs.items()]
    passes = [rounds] if together else _portions(rounds, N_PASSES)
    done = 0
    for portion in passes:
        for group in groups:
            with _loaded(group, progress) as children:
                for turn in range(portion):
                    for name, child in children.items():
                        progress(f"round {done + turn + 1} of {rounds}: {name}")
                        results[name].append([child.ask(command) for command in commands])
                facts |= {name: child.facts for name, child in children.items()}
        done += portion
    return results, facts


def _portions(total: int, parts: int) -> list[int]:
    parts = min(total, parts)
    return [total // parts + (index < total % parts) for index in range(parts)]


def fit_together(n_children: int, child_bytes: int) -> bool:
    """Whether so many children fit into the available memory, each with weights of its own.

    llama.cpp repacks many types into a copy, so that a mapped file isn't shared memory.
    """
    available = available_bytes()
    needed = n_children * (child_bytes + OVERHEAD_BYTES)
    return available is None or needed <= MEMORY_SHARE * available


def available_bytes() -> int | None:
    """Memory that programs can still get; None where the system doesn't say (not Linux)."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
