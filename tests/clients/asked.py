"""What each client of docs/server.md's table is asked beside llama-server, and what it receives.

Every function of ASKED takes a server's address and gives what its client got, as plain data. It
knows nothing about which server is there.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

Asked = Callable[[str], Any]

MODEL, KEY = "local", "none"
QUESTION = "Name the capital of France in one word."
HI: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
TALK: Any = [
    *HI,
    {"role": "assistant", "content": "Paris"},
    {"role": "user", "content": [{"type": "text", "text": "And of Italy?"}]},
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather of a city", "parameters": SCHEMA}
TOOL: Any = {"type": "function", "function": FUNCTION}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
}
HISTORY: Any = [
    {"role": "user", "content": "How is the weather in Rome?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny, 21 degrees"},
]
COUNTED = "1, 2, 3, 4, 5, 6,"
"""What any model goes on with in one way: rounding doesn't change its likeliest token."""
GREEDY: Any = {"temperature": 0, "max_tokens": 24}

ASKED: dict[str, Asked] = {}


def asked(function: Asked) -> Asked:
    """Put a function into ASKED."""
    ASKED[function.__name__] = function
    return function


class City(BaseModel):
    """A form that a model fills in."""

    city: str


# --------------------------------------------------------------------------------- openai


def openai_client(url: str) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)


@asked
def openai_chat(url: str) -> Any:
    given = {"model": MODEL, "messages": HI, **GREEDY}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_goes_on(url: str) -> Any:
    given = {"model": MODEL, "messages": TALK, **GREEDY}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_is_cut(url: str) -> Any:
    given = {"model": MODEL, "messages": HI, "temperature": 0, "max_completion_tokens": 1}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_stops_at_a_text(url: str) -> Any:
    messages = [{"role": "user", "content": "Count from 1 to 9."}]
    given = {"model": MODEL, "messages": messages, "stop": ["3"], **GREEDY}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_twice(url: str) -> Any:
    given = {"model": MODEL, "messages": HI, "n": 2, **GREEDY}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_with_logprobs(url: str) -> Any:
    given = {"model": MODEL, "messages": HI, "logprobs": True, "top_logprobs": 2, **GREEDY}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_streams(url: str) -> Any:
    given = {"model": MODEL, "messages": HI, "stream": True, **GREEDY}
    stream = openai_client(url).chat.completions.create(
        **given, stream_options={"include_usage": True}
    )
    return [piece.model_dump() for piece in stream]


@asked
def openai_chat_streams_without_usage(url: str) -> Any:
    given = {"model": MODEL, "messages": HI, "stream": True, **GREEDY}
    return [piece.model_dump() for piece in openai_client(url).chat.completions.create(**given)]


@asked
def openai_chat_fills_in_a_form(url: str) -> Any:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "city", "strict": True, "schema": SCHEMA},
    }
    given = {"model": MODEL, "messages": HI, "response_format": form, **GREEDY}
    return openai_client(url).chat.completions.create(**given).model_dump()


@asked
def openai_chat_calls(url: str) -> Any:
    given = {"model": MODEL, "messages": HISTORY[:1], "tools": [TOOL], **GREEDY}
    answer = openai_client(url).chat.completions.create(**given, tool_choice="required")
    return answer.model_dump()


@asked
def openai_chat_streams_a_call(url: str) -> Any:
    given = {"model": MODEL, "messages": HISTORY[:1], "tools": [TOOL], **GREEDY}
    stream = openai_client(url).chat.completions.create(
        **given, tool_choice="required", stream=True
    )
    return [piece.model_dump() for piece in stream]


@asked
def openai_chat_reads_a_result(url: str) -> Any:
    given = {"model": MODEL, "messages": HISTORY, "tools": [TOOL], **GREEDY}
    answer = openai_client(url).chat.completions.create(**given)
    return answer.model_dump()


@asked
def openai_completion(url: str) -> Any:
    given = {"model": MODEL, "prompt": COUNTED, **GREEDY}
    return openai_client(url).completions.create(**given).model_dump()


@asked
def openai_completion_with_logprobs(url: str) -> Any:
    given = {"model": MODEL, "prompt": COUNTED, "logprobs": 2, **GREEDY}
    return openai_client(url).completions.create(**given).model_dump()


@asked
def openai_completion_streams(url: str) -> Any:
    given = {"model": MODEL, "prompt": COUNTED, "stream": True, **GREEDY}
    return _joined([p.model_dump() for p in openai_client(url).completions.create(**given)])


def _joined(pieces: list[Any]) -> Any:
    """A text's stream by its text, a piece and the last one: how it is cut is nobody's business."""
    said = [piece for piece in pieces if piece != "[DONE]"]
    texts = [piece["choices"][0].pop("text") for piece in said]
    return {"text": "".join(texts), "piece": said[0], "last": said[-1], "end": pieces[-1]}


@asked
def openai_response(url: str) -> Any:
    given = {"model": MODEL, "temperature": 0, "max_output_tokens": 24}
    return openai_client(url).responses.create(input=QUESTION, **given).model_dump()


@asked
def openai_response_streams(url: str) -> Any:
    given = {"model": MODEL, "temperature": 0, "max_output_tokens": 24, "stream": True}
    stream = openai_client(url).responses.create(input=QUESTION, **given)
    return [piece.model_dump() for piece in stream]


@asked
def openai_models(url: str) -> Any:
    return openai_client(url).models.list().model_dump()


@asked
def openai_error(url: str) -> Any:
    openai = pytest.importorskip("openai")
    client = openai_client(url).chat.completions
    found = []
    wrong: list[Any] = [
        {"messages": HI, "temperature": "hot"},
        {"messages": "hello"},
        {"messages": [{"role": "user", "content": "hello " * 9000}]},
    ]
    for given in wrong:
        with pytest.raises(openai.APIStatusError) as caught:
            client.create(model=MODEL, **{**given, "max_tokens": 1})
        error = caught.value
        kind = error.body["type"] if isinstance(error.body, dict) else None
        found.append([type(error).__name__, error.status_code, kind])
    return found


# ------------------------------------------------------------------------- JavaScript's openai

_SCRIPT = """
import OpenAI from "openai";
const [url, model, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: question }];
const given = { model, messages, temperature: 0, max_tokens: 24 };
const whole = await client.chat.completions.create(given);
const pieces = [];
const stream = await client.chat.completions.create({ ...given, stream: true });
for await (const piece of stream) pieces.push(piece);
const asked = { model, input: question, temperature: 0, max_output_tokens: 24 };
const response = await client.responses.create(asked);
const models = [];
for await (const item of client.models.list()) models.push(item);
console.log(JSON.stringify({ whole, pieces, response, models: models.slice(0, 1) }));
"""


@asked
def openai_for_javascript(url: str) -> Any:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("needs node and npm")
    folder = Path(tempfile.gettempdir()) / "amulet-openai-js"
    folder.mkdir(exist_ok=True)
    if not (folder / "node_modules" / "openai").is_dir():
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "openai"]
        subprocess.run(install, cwd=folder, check=True, capture_output=True)
    (folder / "talk.mjs").write_text(_SCRIPT)
    told = [node, "talk.mjs", url, MODEL, QUESTION]
    done = subprocess.run(told, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------- anthropic


def anthropic_client(url: str) -> Any:
    return pytest.importorskip("anthropic").Anthropic(base_url=url, api_key=KEY, max_retries=0)


ANTHROPIC: Any = {
    "model": MODEL,
    "max_tokens": 24,
    "messages": HI[1:],
    "extra_body": {"temperature": 0},
}


@asked
def anthropic_message(url: str) -> Any:
    return anthropic_client(url).messages.create(**ANTHROPIC, system="Be brief.").model_dump()


@asked
def anthropic_message_is_cut(url: str) -> Any:
    given = {**ANTHROPIC, "max_tokens": 1}
    return anthropic_client(url).messages.create(**given).model_dump()


@asked
def anthropic_message_streams(url: str) -> Any:
    stream = anthropic_client(url).messages.create(**ANTHROPIC, stream=True)
    return [event.model_dump() for event in stream]


@asked
def anthropic_counts(url: str) -> Any:
    return anthropic_client(url).messages.count_tokens(model=MODEL, messages=HI[1:]).model_dump()


@asked
def anthropic_calls(url: str) -> Any:
    tools: Any = [{"name": "weather", "description": "Of a city", "input_schema": SCHEMA}]
    given = {**ANTHROPIC, "tools": tools, "tool_choice": {"type": "any"}}
    return anthropic_client(url).messages.create(**given).model_dump()


# --------------------------------------------------------------------------------- litellm


def litellm_given(url: str) -> tuple[Any, dict[str, Any]]:
    litellm = pytest.importorskip("litellm")
    given = {"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": KEY}
    return litellm, {**given, "messages": HI, **GREEDY}


@asked
def litellm_chat(url: str) -> Any:
    litellm, given = litellm_given(url)
    return litellm.completion(**given).model_dump()


@asked
def litellm_streams(url: str) -> Any:
    litellm, given = litellm_given(url)
    return [piece.model_dump() for piece in litellm.completion(**given, stream=True)]


@asked
def litellm_calls(url: str) -> Any:
    litellm, given = litellm_given(url)
    return litellm.completion(**given, tools=[TOOL], tool_choice="required").model_dump()


# --------------------------------------------------------------- langchain, llama-index, others


def langchain_model(url: str, **given: Any) -> Any:
    module = pytest.importorskip("langchain_openai")
    return module.ChatOpenAI(model=MODEL, base_url=f"{url}/v1", api_key=KEY, **GREEDY, **given)


@asked
def langchain_talks(url: str) -> Any:
    return langchain_model(url).invoke(QUESTION).model_dump()


@asked
def langchain_streams(url: str) -> Any:
    return [piece.model_dump() for piece in langchain_model(url).stream(QUESTION)]


@asked
def langchain_fills_in_a_form(url: str) -> Any:
    model = langchain_model(url).with_structured_output(City, method="json_schema")
    return model.invoke(QUESTION).model_dump()


@asked
def langchain_calls(url: str) -> Any:
    model = langchain_model(url).bind_tools([TOOL], tool_choice="any")
    return model.invoke("How is the weather in Rome?").model_dump()


@asked
def llama_index_talks(url: str) -> Any:
    module = pytest.importorskip("llama_index.llms.openai_like")
    message = pytest.importorskip("llama_index.core.llms").ChatMessage
    given = {"api_base": f"{url}/v1", "api_key": KEY, "is_chat_model": True}
    model = module.OpenAILike(model=MODEL, **given, **GREEDY)
    whole = model.chat([message(role="user", content=QUESTION)])
    pieces = [piece.text for piece in model.stream_complete(QUESTION)]
    return {"text": whole.message.content, "usage": whole.additional_kwargs, "pieces": pieces}


@asked
def instructor_fills_in_forms(url: str) -> Any:
    instructor = pytest.importorskip("instructor")
    client = instructor.from_openai(openai_client(url), mode=instructor.Mode.JSON_SCHEMA)
    made = client.chat.completions.create(
        model=MODEL, messages=HI, response_model=City, max_retries=0, **GREEDY
    )
    return made.model_dump()


@asked
def instructor_fills_in_forms_by_a_call(url: str) -> Any:
    instructor = pytest.importorskip("instructor")
    client = instructor.from_openai(openai_client(url), mode=instructor.Mode.TOOLS)
    made = client.chat.completions.create(
        model=MODEL, messages=HI, response_model=City, max_retries=0, **GREEDY
    )
    return made.model_dump()


def pydantic_ai_agent(url: str, **given: Any) -> Any:
    chat = pytest.importorskip("pydantic_ai.models.openai").OpenAIChatModel
    provider = pytest.importorskip("pydantic_ai.providers.openai").OpenAIProvider
    model = chat(MODEL, provider=provider(base_url=f"{url}/v1", api_key=KEY))
    return pytest.importorskip("pydantic_ai").Agent(model, model_settings=GREEDY, **given)


@asked
def pydantic_ai_talks(url: str) -> Any:
    run = pydantic_ai_agent(url).run_sync(QUESTION)
    return {"text": run.output, "response": run.all_messages()[-1].finish_reason}


@asked
def pydantic_ai_streams(url: str) -> Any:
    async def streamed() -> list[str]:
        async with pydantic_ai_agent(url).run_stream(QUESTION) as run:
            return [piece async for piece in run.stream_text(delta=True)]

    return "".join(asyncio.run(streamed()))


@asked
def pydantic_ai_fills_in_a_form(url: str) -> Any:
    return pydantic_ai_agent(url, output_type=City).run_sync(QUESTION).output.model_dump()


# ------------------------------------------------------- programs whose requests are written here


def sent(url: str, path: str, body: Any) -> Any:
    """What a program without a package here gets: an object, or the events of a stream."""
    response = httpx.post(url + path, json=body, timeout=300, headers={"Authorization": "Bearer x"})
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        return response.json()
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if "data: " in line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@asked
def open_webui_talks(url: str) -> Any:
    body = {
        "stream": True,
        "model": MODEL,
        "messages": HI,
        "temperature": 0,
        "max_tokens": 24,
        "stream_options": {"include_usage": True},
    }
    return sent(url, "/v1/chat/completions", body)


@asked
def open_webui_has_a_task(url: str) -> Any:
    task = "### Task:\nSay which language this is, in one word.\n### Chat History:\nUSER: Bonjour"
    body = {"model": MODEL, "messages": [{"role": "user", "content": task}], "stream": False}
    return sent(
        url, "/v1/chat/completions", {**body, "max_completion_tokens": 24, "temperature": 0}
    )


@asked
def continue_talks(url: str) -> Any:
    body = {
        "messages": [{"role": "system", "content": "You are in chat mode."}, *HI[1:]],
        "model": MODEL,
        "max_tokens": 24,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return sent(url, "/v1/chat/completions", body)


@asked
def continue_completes_code(url: str) -> Any:
    body = {
        "model": MODEL,
        "max_tokens": 16,
        "temperature": 0,
        "stop": ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "\n\n"],
        "stream": True,
        "prompt": "<|fim_prefix|>def add(a, b):\n    return <|fim_suffix|>\n<|fim_middle|>",
    }
    return _joined(sent(url, "/v1/completions", body))


@asked
def llama_vscode_fills_a_gap(url: str) -> Any:
    body = {
        "input_prefix": "def add(a, b):\n",
        "input_suffix": "\n",
        "input_extra": [],
        "prompt": "    return ",
        "n_predict": 8,
        "temperature": 0,
        "top_k": 40,
        "top_p": 0.99,
        "stream": False,
        "n_indent": 4,
        "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1000,
    }
    return sent(url, "/infill", body)


@asked
def codex_talks(url: str) -> Any:
    text = {"type": "input_text", "text": QUESTION}
    body = {
        "model": MODEL,
        "instructions": "You are a coding agent.",
        "input": [{"type": "message", "role": "user", "content": [text]}],
        "tools": [{**FUNCTION, "type": "function", "strict": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": None,
        "store": False,
        "stream": True,
        "include": [],
        "prompt_cache_key": "a",
        "temperature": 0,
        "max_output_tokens": 24,
    }
    return sent(url, "/v1/responses", body)


@asked
def codex_reads_a_result(url: str) -> Any:
    call = {
        "type": "function_call",
        "name": "weather",
        "arguments": '{"city":"Rome"}',
        "call_id": "c1",
    }
    text = {"type": "input_text", "text": "How is the weather in Rome?"}
    body = {
        "model": MODEL,
        "input": [
            {"type": "message", "role": "user", "content": [text]},
            call,
            {"type": "function_call_output", "call_id": "c1", "output": "sunny, 21 degrees"},
        ],
        "tools": [{**FUNCTION, "type": "function", "strict": False}],
        "store": False,
        "stream": True,
        "temperature": 0,
        "max_output_tokens": 24,
    }
    return sent(url, "/v1/responses", body)


@asked
def claude_code_talks(url: str) -> Any:
    kept = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": "You are an agent for the command line.", **kept}]
    body = {
        "model": "claude-sonnet",
        "system": system,
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION, **kept}]}],
        "tools": [{"name": "weather", "description": "Of a city", "input_schema": SCHEMA}],
        "metadata": {"user_id": "a"},
        "temperature": 0,
        "max_tokens": 24,
        "stream": True,
    }
    return sent(url, "/v1/messages?beta=true", body)


@asked
def claude_code_reads_a_result(url: str) -> Any:
    use = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "sunny, 21 degrees"}
    body = {
        "model": "claude-sonnet",
        "messages": [
            {"role": "user", "content": "How is the weather in Rome?"},
            {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, use]},
            {"role": "user", "content": [result]},
        ],
        "tools": [{"name": "weather", "description": "Of a city", "input_schema": SCHEMA}],
        "temperature": 0,
        "max_tokens": 24,
    }
    return sent(url, "/v1/messages", body)


@asked
def llama_server_completion(url: str) -> Any:
    body = {"prompt": COUNTED, "n_predict": 8, "temperature": 0, "n_probs": 2}
    return sent(url, "/completion", body)
