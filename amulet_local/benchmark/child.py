"""A process that holds one thing to be timed and does as it is told, a line of JSON at a time.

    <- {"kind": "engine", "model": "m.gguf", ...}     what to load
    -> {"result": {...facts}}                         it is loaded and warm
    <- {"do": "decode", "n_tokens": 32}
    -> {"result": 0.19}
    -> {"error": "ModelFileError", "message": "..."}  instead of a result; then the process ends

Between lines it waits without using a core. When its standard input closes, which happens however
the parent ends, it ends at once, in the middle of whatever it does. Knows nothing about the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import Any

from amulet_local.common.errors import AmuletError


class MachineSubject:
    """Holds no model: only its facts are of interest."""

    def __init__(self) -> None:
        from amulet_local.benchmark.subject import machine_facts

        self.facts = machine_facts()


def make_subject(kind: str, spec: dict[str, Any]) -> Any:
    """Load what is to be timed: it has `facts`, and a method for each thing it can do."""
    if kind == "machine":
        return MachineSubject()
    if kind == "engine":
        from amulet_local.benchmark.subject import EngineSubject

        return EngineSubject(**spec)
    if kind == "drafts":
        from amulet_local.benchmark.drafting import DraftSubject

        return DraftSubject(**spec)
    from amulet_local.benchmark import outside

    kinds: dict[str, Any] = {"completion": outside.Completion, "bare": outside.BareContexts}
    return kinds[kind](**spec)


def main() -> None:
    """Serve the parent until it closes the pipe."""
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever native code prints is not a reply
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    subject: Any = None
    while True:
        request = requests.get()
        try:
            if subject is None:
                subject = make_subject(request.pop("kind"), request)
                result = subject.facts
            else:
                result = getattr(subject, request.pop("do"))(**request)
        except AmuletError as error:
            _reply(replies, {"error": type(error).__name__, "message": str(error)})
            os._exit(1)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            _reply(replies, {"error": "BackendError", "message": message})
            os._exit(1)
        _reply(replies, {"result": result})


def _read(requests: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _reply(replies: Any, value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
