"""A model file's trial: loaded and run in a process of its own, whose death is an error here.

No check of a header foresees every file that llama.cpp aborts on: it has over a hundred
architectures, each with assertions of its own. So a file from a stranger is read, given a context,
a prompt and a token in a child first. Knows nothing about which files need that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from amulet_local.common.errors import AmuletError, ModelFileError
from amulet_local.params.model_use import TEXT, ModelUse
from amulet_local.params.scaled_files import ScaledFile

SAMPLE = "Hello, world! 1 + 1 = 2 \n\tÄpfel 好 🦙"
N_CTX, N_BATCH = 64, 8
REFUSED = 64
"""Exit status of a child in which the file, or a context for it, ended in an ordinary error."""
_PYTHONS_OWN = (1, 2)
"""Of a Python that couldn't begin: nothing is known of the file then."""
BASE_SECONDS, BYTES_PER_SECOND = 120, 20_000_000
"""A file is given up after so long, and as long as a slow disk takes to read it."""

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from amulet_local.llama.trial import main; main(*sys.argv[2:])"
)
_PLACE = re.compile(r"\S*/(?=[\w.-]+:\d+: )")
"""Where llama.cpp's sources lay on the machine that compiled it."""


def try_out(path: str | os.PathLike[str], use: ModelUse = TEXT) -> str | None:
    """Load and run a file: why that isn't possible, None if it ran.

    Args:
        path: a GGUF file whose header was checked.
        use: what it is for.

    Raises:
        ModelFileError: the child died of it, or took too long.
    """
    name = Path(path).name
    command = [sys.executable, "-W", "ignore", "-c", _START, json.dumps(sys.path)]
    command += [os.fspath(path), json.dumps(asdict(use))]
    limit = seconds_for(path)
    with tempfile.TemporaryFile() as log:
        status = _status_of(command, limit, log)
        log.seek(0)
        said = log.read(1 << 20).decode("utf-8", "replace")
    if status is None:
        raise still_busy(name, limit)
    if status == 0:
        return None
    if status in (REFUSED, *_PYTHONS_OWN):
        return said.strip().rpartition("\n")[2] or "it couldn't be tried"
    raise killed(name, ending(status, reason_in(said)))


def seconds_for(path: str | os.PathLike[str]) -> float:
    """How long a file may take to load."""
    return BASE_SECONDS + os.stat(path).st_size / BYTES_PER_SECOND


def still_busy(name: str, limit: float) -> ModelFileError:
    """The error of a file that llama.cpp doesn't come to an end with."""
    return ModelFileError(
        f"{name} can't be used: llama.cpp was still busy with it after {limit:.0f} s"
    )


def killed(name: str, ending: str) -> ModelFileError:
    """The error of a file that a process died of.

    Args:
        ending: see `ending`.
    """
    return ModelFileError(
        f"{name} can't be used: llama.cpp ends the process over it ({ending}). The file is "
        f"damaged, hostile or of a kind that this llama.cpp doesn't know"
    )


def _status_of(command: list[str], limit: float, log: IO[bytes]) -> int | None:
    """The exit status of a child, None if it didn't end in time; its input is open until then."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    ) as child:
        try:
            return child.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            child.kill()


def ending(status: int, reason: str) -> str:
    """How a process ended, in a line: the signal's name, and llama.cpp's reason if there is one.

    Args:
        status: its exit status, negative for a signal.
    """
    try:
        how = signal.Signals(-status).name
    except ValueError:
        how = f"status {status}"
    reason = _PLACE.sub("", reason.strip())[:200]
    reason = "".join(c if c.isprintable() else "?" for c in reason)
    return f"{how}: {reason}" if reason else how


def reason_in(log: str) -> str:
    """The last line of a log that says why a process ended; empty if none does."""
    lines = [line for line in log.splitlines() if re.search(r"assert|abort|error", line, re.I)]
    return lines[-1] if lines else ""


def main(path: str, use: str) -> None:
    """The child: exits with 0, with REFUSED, or as native code makes it."""
    _last_in_line()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run(path, ModelUse(**json.loads(use)))
    except AmuletError as error:
        sys.stderr.write(f"{error}\n")
        os._exit(REFUSED)
    os._exit(0)


def run(path: str, use: ModelUse) -> None:
    """Load a file with its adapters, and run it on a prompt and a token.

    Raises:
        AmuletError: it can't be loaded or run.
    """
    from amulet_local.llama import library
    from amulet_local.llama.adapters import Adapters, AdapterSettings
    from amulet_local.llama.context import Context, ContextSettings, Span
    from amulet_local.llama.model import Model, ModelLoadSettings
    from amulet_local.llama.stop_flag import StopFlag

    class NeverStopped(StopFlag):
        """The parent kills this process instead, and nothing has to be compiled."""

        def __init__(self) -> None:
            self.address, self.callback = 0, 0

    model = Model(path, ModelLoadSettings(embeds=use.embeds))
    lora, vectors = (tuple(map(ScaledFile, files)) for files in (use.lora, use.control_vectors))
    adapters = Adapters(model, AdapterSettings(lora=lora, control_vectors=vectors))
    vocabulary = model.vocabulary
    prompt = vocabulary.tokenize(SAMPLE, add_special=True, parse_special=True)[:N_BATCH] or [0]
    for token in prompt:
        vocabulary.piece(token)
    settings = ContextSettings(
        n_ctx=N_CTX,
        n_batch=N_BATCH,
        n_outputs=1,
        cache_type_k="f16",
        cache_type_v="f16",
        flash_attention="off",
        embeddings=use.embeds,
        adapters=adapters if use.adapters else None,
    )
    context = Context(model, settings, NeverStopped())
    context.set_threads(library.usable_cores(), library.usable_cores())
    for position, tokens in ((0, prompt), (len(prompt), prompt[:1])):
        context.decode([Span(0, position, tokens, len(tokens) if use.embeds else 1)])
        if not use.embeds:
            context.logits()
    context.close()
    adapters.close()
    model.close()


def _last_in_line() -> None:
    """Have the system take this process first where memory runs out, and write no core file."""
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    write_no_core()


def write_no_core() -> None:
    """Have the system write no core file where this process dies."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limits: Any = resource  # not there on Windows
        limits.setrlimit(limits.RLIMIT_CORE, (0, 0))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
