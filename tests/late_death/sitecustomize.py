"""Has llama.cpp end the process at a decode of its own choosing, as a hostile file may.

Python imports this at its start where the folder is on PYTHONPATH. It stands for a file that runs
well at first: at the n-th call of llama_decode (DIE_AT_DECODE), or at the first one of a prompt
with a certain token in it (DIE_AT_TOKEN), ggml's own assertion fails. SYSTEM_LIKE takes away what
another system doesn't have.
"""

from __future__ import annotations

import os
import socket


def _install() -> None:
    at_decode = int(os.environ.get("DIE_AT_DECODE", "0"))
    at_token = int(os.environ.get("DIE_AT_TOKEN", "-1"))
    if not at_decode and at_token < 0:
        return
    import llama_cpp
    from llama_cpp import _ggml

    real, n_calls = llama_cpp.llama_decode, 0

    def decode(context: object, batch: object) -> int:
        nonlocal n_calls
        n_calls += 1
        tokens = [batch.token[i] for i in range(batch.n_tokens)]  # type: ignore[attr-defined]
        if n_calls == at_decode or at_token in tokens:
            _ggml.libggml.ggml_abort(b"/src/late.cpp", 7, b"GGML_ASSERT(%s) failed", b"n < 40")
        return int(real(context, batch))

    llama_cpp.llama_decode = decode


class _NoSocket(socket.socket):
    """One that can't be had by its number."""

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        if fileno is not None and family == -1:
            raise OSError("no such socket")
        super().__init__(family, type, proto, fileno)


_install()
if "NO_SOCKET" in os.environ:
    socket.socket = _NoSocket  # type: ignore[misc]
if "SYSTEM_LIKE" in os.environ:
    import other_systems

    other_systems.become(os.environ["SYSTEM_LIKE"])
