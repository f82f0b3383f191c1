"""What the table of clients in docs/server.md says: text, streams, functions, forms, preferences.

Each client is its authors' own, and is told nothing but an address, a key and a model's name.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.clients.conftest import SAID
from tests.server.conftest import Server

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("default")]

MODEL, KEY = "smollm2", "none"
QUESTION = "What is bread made of?"
HI: Any = [{"role": "user", "content": QUESTION}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather of a city", "parameters": SCHEMA}
TOOL: Any = {"type": "function", "function": FUNCTION}
PREFERRED = f"{MODEL}+formal"


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: sunny"


class Bread(BaseModel):
    """A form that any model can be held to."""

    has_salt: bool


# ------------------------------------------------------------------------------------ anthropic


def anthropic_client(server: Server) -> Any:
    return pytest.importorskip("anthropic").Anthropic(
        base_url=server.url, api_key=KEY, max_retries=0
    )


def test_anthropic_talks_and_streams(talker: Server) -> None:
    client = anthropic_client(talker)
    given: Any = {"model": MODEL, "max_tokens": 50, "messages": HI}
    whole = client.messages.create(**given, system="Be kind.")
    assert whole.content[0].text == SAID
    assert whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens > 0
    with client.messages.stream(**given) as stream:
        assert "".join(stream.text_stream) == SAID
        assert stream.get_final_message().stop_reason == "end_turn"
    assert client.messages.count_tokens(model=MODEL, messages=HI).input_tokens > 3
    assert client.models.list().data[0].id == MODEL


def test_anthropic_calls_functions(caller: Server) -> None:
    client = anthropic_client(caller)
    tools: Any = [{"name": "weather", "description": "Of a city", "input_schema": SCHEMA}]
    given: Any = {"model": MODEL, "max_tokens": 100, "tools": tools}
    answer = client.messages.create(**given, messages=HI)
    call = answer.content[-1]
    assert (answer.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Rome"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    history = [*HI, {"role": "assistant", "content": answer.content}]
    again = client.messages.create(
        **given, messages=[*history, {"role": "user", "content": [result]}]
    )
    assert again.content


def test_anthropic_gets_preferences(steered: Server) -> None:
    client = anthropic_client(steered)

    def text(model: str = MODEL, **extra: Any) -> str:
        answer = client.messages.create(
            model=model, max_tokens=8, messages=HI, extra_body={"temperature": 0, **extra}
        )
        return str(answer.content[0].text)

    assert text() != text(preference="formal") == text(PREFERRED)


# --------------------------------------------------------------------------------------- ollama


def ollama_client(server: Server) -> Any:
    return pytest.importorskip("ollama").Client(host=server.url)


def test_ollama_talks_and_streams(talker: Server) -> None:
    client = ollama_client(talker)
    assert client.chat(MODEL, messages=HI).message.content == SAID
    pieces = client.chat(MODEL, messages=HI, stream=True)
    assert "".join(piece.message.content or "" for piece in pieces) == SAID
    assert client.generate(MODEL, QUESTION).response == SAID
    assert client.list().models[0].model == MODEL
    assert client.show(MODEL).modelinfo
    assert client.ps().models[0].model == MODEL


def test_ollama_calls_python_functions(caller: Server) -> None:
    answer = ollama_client(caller).chat(MODEL, messages=HI, tools=[weather])
    [call] = answer.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Rome"})


def test_ollama_fills_in_forms_and_gets_preferences(steered: Server) -> None:
    client = ollama_client(steered)
    form = client.chat(MODEL, messages=HI, format=Bread.model_json_schema())
    assert Bread.model_validate_json(form.message.content)
    options = {"temperature": 0, "num_predict": 8}
    plain, formal = (
        client.chat(model, messages=HI, options=options).message.content
        for model in (MODEL, PREFERRED)
    )
    assert plain != formal


# -------------------------------------------------------------------------------------- litellm


def litellm_given(server: Server) -> tuple[Any, dict[str, Any]]:
    litellm = pytest.importorskip("litellm")
    return litellm, {"model": f"openai/{MODEL}", "api_base": f"{server.url}/v1", "api_key": KEY}


def test_litellm_talks_streams_and_calls(talker: Server, caller: Server) -> None:
    litellm, given = litellm_given(talker)
    assert litellm.completion(**given, messages=HI).choices[0].message.content == SAID
    pieces = litellm.completion(**given, messages=HI, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == SAID
    _, given = litellm_given(caller)
    answer = litellm.completion(**given, messages=HI, tools=[TOOL])
    [call] = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Rome"}


def test_litellm_gets_preferences(steered: Server) -> None:
    litellm, given = litellm_given(steered)

    def text(**more: Any) -> str:
        answer = litellm.completion(**{**given, **more}, messages=HI, temperature=0, max_tokens=8)
        return str(answer.choices[0].message.content)

    assert text() != text(extra_body={"preference": "formal"})
    assert text() != text(model=f"openai/{PREFERRED}")


# ------------------------------------------------------------------------------------ langchain


def langchain_model(server: Server, **given: Any) -> Any:
    module = pytest.importorskip("langchain_openai")
    defaults = {"model": MODEL, "base_url": f"{server.url}/v1", "api_key": KEY}
    return module.ChatOpenAI(**{**defaults, **given})


def test_langchain_talks_streams_and_calls(talker: Server, caller: Server) -> None:
    model = langchain_model(talker)
    assert model.invoke(QUESTION).content == SAID
    assert "".join(piece.content for piece in model.stream(QUESTION)) == SAID
    [call] = langchain_model(caller).bind_tools([weather]).invoke(QUESTION).tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Rome"})


def test_langchain_fills_in_forms_and_gets_preferences(steered: Server) -> None:
    model = langchain_model(steered, temperature=0, max_tokens=60)
    for method in ("json_schema", "function_calling"):
        made = model.with_structured_output(Bread, method=method).invoke(QUESTION)
        assert isinstance(made, Bread), method
    plain = langchain_model(steered, temperature=0, max_tokens=8).invoke(QUESTION).content
    formal = langchain_model(
        steered, temperature=0, max_tokens=8, extra_body={"preference": "formal"}
    )
    assert formal.invoke(QUESTION).content != plain


# ---------------------------------------------------------------------------------- llama-index


def llama_index_model(server: Server, **given: Any) -> Any:
    module = pytest.importorskip("llama_index.llms.openai_like")
    return module.OpenAILike(
        model=MODEL, api_base=f"{server.url}/v1", api_key=KEY, is_chat_model=True, **given
    )


def test_llama_index_talks_streams_and_calls(talker: Server, caller: Server) -> None:
    model = llama_index_model(talker)
    message = pytest.importorskip("llama_index.core.llms").ChatMessage
    assert model.chat([message(role="user", content=QUESTION)]).message.content == SAID
    assert [piece.text for piece in model.stream_complete(QUESTION)][-1] == SAID
    tools = pytest.importorskip("llama_index.core.tools")
    calling = llama_index_model(caller, is_function_calling_model=True)
    answer = calling.chat_with_tools([tools.FunctionTool.from_defaults(weather)], QUESTION)
    [call] = calling.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Rome"})


# ---------------------------------------------------------------------- instructor, pydantic-ai


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_instructor_fills_in_forms(steered: Server, mode: str) -> None:
    instructor, openai = pytest.importorskip("instructor"), pytest.importorskip("openai")
    raw = openai.OpenAI(base_url=f"{steered.url}/v1", api_key=KEY, max_retries=0)
    client = instructor.from_openai(raw, mode=instructor.Mode[mode])
    made = client.chat.completions.create(
        model=MODEL, messages=HI, response_model=Bread, max_retries=0, max_tokens=300
    )
    assert isinstance(made, Bread)


def test_pydantic_ai_talks_streams_and_fills_in_forms(talker: Server, steered: Server) -> None:
    pydantic_ai = pytest.importorskip("pydantic_ai")
    chat = pytest.importorskip("pydantic_ai.models.openai").OpenAIChatModel
    provider = pytest.importorskip("pydantic_ai.providers.openai").OpenAIProvider

    def agent(server: Server, **given: Any) -> Any:
        place = provider(base_url=f"{server.url}/v1", api_key=KEY)
        return pydantic_ai.Agent(chat(MODEL, provider=place), **given)

    assert agent(talker).run_sync(QUESTION).output == SAID

    async def streamed() -> str:
        async with agent(talker).run_stream(QUESTION) as run:
            return "".join([piece async for piece in run.stream_text(delta=True)])

    assert asyncio.run(streamed()) == SAID
    assert isinstance(agent(steered, output_type=Bread).run_sync(QUESTION).output, Bread)


# ------------------------------------------------------------------------------------- JavaScript

SCRIPT = """
import OpenAI from "openai";
const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is bread made of?" }];
const whole = await client.chat.completions.create({ model, messages });
let streamed = "";
const stream = await client.chat.completions.create({ model, messages, stream: true });
for await (const piece of stream) streamed += piece.choices[0]?.delta?.content ?? "";
const response = await client.responses.create({ model, input: "What is bread made of?" });
const names = [];
for await (const item of client.models.list()) names.push(item.id);
const text = whole.choices[0].message.content;
console.log(JSON.stringify([text, streamed, response.output_text, names]));
"""


def test_openai_for_javascript_talks_and_streams(talker: Server, tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("needs node and npm")
    subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "openai"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (tmp_path / "talk.mjs").write_text(SCRIPT)
    done = subprocess.run(
        [node, "talk.mjs", talker.url, MODEL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    whole, streamed, response, names = json.loads(done.stdout)
    assert [whole, streamed, response] == [SAID] * 3
    assert names[0] == MODEL
