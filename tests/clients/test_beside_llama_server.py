"""What clients receive of `amulet-local serve` is what they receive of llama-server.

Needs both: BESIDE_LLAMA_SERVER=/path/to/llama-server BESIDE_MODEL=model.gguf scripts/test clients.
The model is asked greedily. Where it is a small one llama-server parses no tool call, so that there
is nothing to compare; what else may differ, and why, is in UNLIKE.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from amulet_local import load
from tests.clients.asked import ASKED, Asked
from tests.server.conftest import running

PROGRAM, MODEL_FILE = os.environ.get("BESIDE_LLAMA_SERVER"), os.environ.get("BESIDE_MODEL")
N_CTX, PLACES = 8192, 2
ROUNDING = 0.15
"""Of a log-probability: the two compute in other orders."""

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(
        PROGRAM is None or MODEL_FILE is None, reason="needs BESIDE_LLAMA_SERVER and BESIDE_MODEL"
    ),
]

VARIES = {
    *("id", "item_id", "call_id", "created", "created_at", "completed_at", "tool_call_id"),
    *("model", "model_name", "system_fingerprint", "timings", "prompt_ms", "predicted_ms"),
}
"""Values that differ from answer to answer, or name the server or the model: types count."""

UNLIKE: dict[str, str] = {
    r"cached_tokens$|cache_read(_input_tokens)?$": "what is in memory of earlier requests",
    r"\.(tokens_cached|id_slot)$": "the same, and where",
    r"^(anthropic|claude).*usage\.(input_tokens|cache_creation_input_tokens)$": (
        "leaves out what was in memory; nothing is written there, which is 0 and not null"
    ),
    r"(completion|output)_tokens_details$": "OpenAI's count of reasoning is always there",
    r"\.owned_by$": "says who serves",
    r"\.aliases$": "a model's own name is no alias of it",
    r"^openai_models\.(data|models)$": (
        "names with preferences as well; the second list, in Ollama's shape, is at /api/tags"
    ),
    r"^openai_chat_twice\.usage\.(completion|total)_tokens$": (
        "those of all answers, as OpenAI's; llama-server counts the last one"
    ),
    r"logprobs\.content$": "the token that ends an answer has no text, and is in no list",
    r"^openai_completion_with_logprobs.*\.logprobs\b": (
        "as OpenAI's text completions have them; llama-server gives what chats have"
    ),
    r"^(openai_completion_streams|continue_completes_code)\.(last|end)\.usage$": (
        "sent to who asks for it (stream_options), as OpenAI's"
    ),
    r"^(openai_response|openai_for_javascript\.response).*": "NULL: what was asked is said again",
    r"generation_settings\.(samplers|min_p|seed)": (
        "samplers that a client leaves out are neutral; llama-server lists the others"
    ),
    r"^llama_vscode_fills_a_gap\.(content|tokens_predicted|stop_type)$": (
        "its sampler `infill` isn't there, which a warning says"
    ),
}
"""Differences that stay, as patterns of their paths, and why. NULL: where there is null there."""

FORM = "llama-server lets a model write a fence before its form, and a small one gets lost in it"
CALL = "llama-server parses no call of a small model, not even one that is forced"
NOT_COMPARED: dict[str, tuple[str, str]] = {
    "openai_chat_fills_in_a_form": (FORM, '{"city": "Paris"}'),
    "langchain_fills_in_a_form": (FORM, "{'city': 'Paris'}"),
    "instructor_fills_in_forms": (FORM, "{'city': 'Paris'}"),
    "instructor_fills_in_forms_by_a_call": (CALL, "{'city': 'Paris'}"),
    "pydantic_ai_fills_in_a_form": (CALL, "{'city': 'Paris'}"),
    "openai_chat_calls": (CALL, "'name': 'weather'"),
    "openai_chat_streams_a_call": (CALL, "'name': 'weather'"),
    "openai_chat_reads_a_result": (CALL, "'name': 'weather'"),
    "anthropic_calls": (CALL, "'name': 'weather'"),
    "litellm_calls": (CALL, "'name': 'weather'"),
    "langchain_calls": (CALL, "'name': 'weather'"),
    "codex_reads_a_result": (CALL, "'name': 'weather'"),
    "claude_code_reads_a_result": (CALL, "'name': 'weather'"),
}
"""Where answers of small models can't be the same: why, and what ours holds."""


def differences(theirs: Any, ours: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where ours lacks a field of theirs, or has another type or value there; and how."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name, value in theirs.items():
            if name not in ours:
                yield f"{path}.{name}", f"{value!r}, missing"
            elif name not in VARIES or type(value) is not type(ours[name]):
                yield from differences(value, ours[name], f"{path}.{name}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            yield path, f"{len(theirs)} items, {len(ours)}"
        for one, other in zip(theirs, ours, strict=False):
            yield from differences(one, other, f"{path}[]")
    elif isinstance(theirs, float) and isinstance(ours, float):
        if abs(theirs - ours) > ROUNDING:
            yield path, f"{theirs}, {ours}"
    elif theirs != ours or type(theirs) is not type(ours):
        yield path, f"{theirs!r:.80}, {ours!r:.80}"


def is_explained(path: str, how: str) -> bool:
    """Whether UNLIKE says why."""
    return any(
        re.search(pattern, path) and ("NULL" not in why or how.startswith("None, "))
        for pattern, why in UNLIKE.items()
    )


@pytest.fixture(scope="module")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a llama-server with the model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = [PROGRAM, "-m", MODEL_FILE, "--port", port, "-c", PLACES * N_CTX, "-np", PLACES]
    log = tmp_path_factory.mktemp("llama-server") / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen([*map(str, told), "--jinja"], stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        while not is_ready(url):
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def is_ready(url: str) -> bool:
    """Whether a server answers there."""
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def ours() -> Iterator[str]:
    """The address of our server with the same model."""
    with load(Path(str(MODEL_FILE)), n_ctx=N_CTX) as engine, running(engine, places=PLACES) as own:
        yield own.url


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_clients_receive_what_llama_server_gives(ask: Asked, llama_server: str, ours: str) -> None:
    name = ask.__name__
    received = ask(ours)
    if name in NOT_COMPARED:
        assert NOT_COMPARED[name][1] in str(received)
        return
    found = [
        f"{path}: {how}"
        for path, how in differences(ask(llama_server), received, name)
        if not is_explained(path, how)
    ]
    assert found == []
