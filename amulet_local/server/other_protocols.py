"""The endpoints of other protocols: llama-server's, Ollama's, Anthropic's, OpenAI's responses.

Knows nothing about how a request is answered: each becomes a chat completion, or a text's.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.vocabulary import FILLS_NO_GAPS
from amulet_local.server import anthropic, ollama, responses
from amulet_local.server.access import json_object
from amulet_local.server.completion_job import CompletionJob
from amulet_local.server.completion_prompt import ChatPrompt, CompletionPrompt, TextPrompt
from amulet_local.server.failures import HttpError
from amulet_local.server.fields import are_several
from amulet_local.server.generation_settings import generation_settings
from amulet_local.server.infill import InfillPrompt, infill_body
from amulet_local.server.llama_server import (
    BothWire,
    CompletionFields,
    LlamaServerPrompt,
    LlamaServerWire,
)
from amulet_local.server.models import ModelFile
from amulet_local.server.replies import CompletionReply
from amulet_local.server.served_model import ServedModel
from amulet_local.server.service import Service
from amulet_local.server.wire import Wire, with_warnings

_ANSWERED = {
    **dict.fromkeys(("/completions", "/completion", "/infill"), "prompt"),
    **dict.fromkeys(("/responses", "/responses/input_tokens"), "input"),
    **dict.fromkeys(("/embeddings", "/embedding"), "input"),
    **dict.fromkeys(("/rerank", "/reranking"), "documents"),
}
"""What is called messages in a chat, by the address."""
_NOTHING: tuple[Any, ...] = (None, False, 0, {}, [])


def add_other_protocols(app: FastAPI, service: Service) -> None:
    """Add them."""
    _add_llama_server(app, service)
    _add_ollama(app, service)
    _add_anthropic(app, service)
    _add_responses(app, service)


def error_body(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The error object of the protocol that an address belongs to, for that of a chat."""
    own = _ANSWERED.get(path.removeprefix("/v1"))
    if own and body["error"]["param"] == "messages":
        said = re.sub("^messages(?=:)", own, body["error"]["message"])
        body = {"error": {**body["error"], "param": own, "message": said}}
    if path.startswith("/api/"):
        return {"error": body["error"]["message"]}
    if path.removeprefix("/v1").startswith("/messages"):
        return anthropic.error_body(body)
    return body


async def _job(
    service: Service,
    body: dict[str, Any],
    kind: type[CompletionPrompt] = ChatPrompt,
    unread: Sequence[str] = (),
) -> CompletionJob:
    job = await _unchecked(service, body, kind, unread)
    await job.check()
    return job


async def _unchecked(
    service: Service,
    body: dict[str, Any],
    kind: type[CompletionPrompt] = ChatPrompt,
    unread: Sequence[str] = (),
) -> CompletionJob:
    return await asyncio.to_thread(
        CompletionJob, body, kind, service.model, service.figures, service.jobs, unread
    )


async def _reply(
    service: Service, body: dict[str, Any], kind: Any, wire: Wire, unread: Sequence[str] = ()
) -> Response:
    return CompletionReply(await _job(service, body, kind, _with_unsaid(body, wire, unread)), wire)


def _with_unsaid(body: dict[str, Any], wire: Wire, unread: Sequence[str]) -> list[str]:
    """The lines, with one for each field that the wire has no place for, which is taken out."""
    unsaid = [name for name in wire.unsaid if body.pop(name, None) not in _NOTHING]
    if body.pop("n", None) not in (None, 1):
        unsaid.append("n")
    return [*unread, *(f"{name}: answers of this protocol have no place for it" for name in unsaid)]


def _name(service: Service, body: Mapping[str, Any]) -> str:
    return str(body.get("model") or service.model.names.main)


def _add_llama_server(app: FastAPI, service: Service) -> None:
    async def complete(
        body: dict[str, Any],
        kind: type[LlamaServerWire] = LlamaServerWire,
        prompt: type[LlamaServerPrompt] = LlamaServerPrompt,
    ) -> Response:
        job = await _job(service, body, prompt)
        fields = cast("CompletionFields", job.fields)
        settings = generation_settings(
            job.sampling,
            service.model,
            n_probs=fields.n_probs,
            stream=fields.stream,
            timings_per_token=fields.timings_per_token,
            post_sampling_probs=fields.post_sampling_probs,
        )
        several = are_several(body.get("prompt"))
        return CompletionReply(job, kind(fields, settings, several=several))

    @app.post("/completion", include_in_schema=False)
    async def completion(request: Request) -> Response:
        """Go on with a text."""
        return await complete(json_object(await request.body()))

    @app.post("/completions", include_in_schema=False)
    async def completions(request: Request) -> Response:
        """Go on with a text, for OpenAI's clients without /v1 and for llama-server's."""
        return await complete(json_object(await request.body()), BothWire)

    @app.post("/infill", include_in_schema=False)
    async def infill(request: Request) -> Response:
        """Fill a gap."""
        body = infill_body(json_object(await request.body()))
        return await complete(body, prompt=InfillPrompt)

    @app.post("/apply-template", include_in_schema=False)
    async def prompt_of(request: Request) -> Response:
        """The prompt that messages become."""
        job = await _unchecked(service, json_object(await request.body()))
        tokens = await job.counted_tokens()
        text = await asyncio.to_thread(service.model.vocabulary.source_text, tokens)
        return JSONResponse(with_warnings({"prompt": text}, job.warnings))

    def count_as(path: str, read: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        async def count(request: Request) -> Response:
            """How many tokens a prompt has."""
            job = await _unchecked(service, read(json_object(await request.body())))
            counted = {"input_tokens": len(await job.counted_tokens())}
            return JSONResponse(with_warnings(counted, job.warnings))

        app.add_api_route(path, count, methods=["POST"], include_in_schema=False)

    count_as("/v1/chat/completions/input_tokens", dict)
    count_as("/v1/responses/input_tokens", lambda body: responses.chat_body(body, [])[0])
    count_as("/v1/messages/count_tokens", anthropic.chat_body)


def _add_ollama(app: FastAPI, service: Service) -> None:
    @app.post("/api/chat", include_in_schema=False)
    async def chat(request: Request) -> Response:
        """Answer messages."""
        body = json_object(await request.body())
        wire = ollama.OllamaWire(_name(service, body), is_chat=True)
        if body.get("messages") == []:
            return JSONResponse(wire.loaded())
        given = ollama.chat_body(body)
        unread = ollama.unread(body, n_ctx=service.model.engine.n_ctx)
        return await _reply(service, given, ChatPrompt, wire, unread)

    @app.post("/api/generate", include_in_schema=False)
    async def generate(request: Request) -> Response:
        """Answer one text, or go on with it."""
        body = json_object(await request.body())
        wire = ollama.OllamaWire(_name(service, body), is_chat=False)
        if body.get("prompt") in (None, "") and not body.get("suffix"):
            return JSONResponse(wire.loaded())
        if body.get("suffix") and not service.model.vocabulary.fills_gaps:
            raise InvalidParameterError(FILLS_NO_GAPS)  # as Ollama; OpenAI's clients get a warning
        given, is_chat = ollama.generate_body(body)
        unread = ollama.unread(body, n_ctx=service.model.engine.n_ctx)
        return await _reply(service, given, ChatPrompt if is_chat else TextPrompt, wire, unread)

    @app.get("/api/tags", include_in_schema=False)
    async def tags() -> Response:
        """The models, also with each preference in their names."""
        service.check_ready()
        names = await asyncio.to_thread(service.models.listed) if service.models else []
        return JSONResponse({"models": [_entry(file, name) for file, name in names]})

    @app.get("/api/ps", include_in_schema=False)
    async def loaded() -> Response:
        """What is loaded."""
        service.check_ready()
        files = service.models.files if service.models else ()
        entries = [
            _entry(file, file.names.main)
            | {"expires_at": ollama.now(), "size_vram": file.model.engine.model.size_bytes}
            for file in files
            if file.model is not None
        ]
        return JSONResponse({"models": entries})

    @app.post("/api/show", include_in_schema=False)
    async def show(request: Request) -> Response:
        """What there is to say about the model."""
        body = json_object(await request.body())
        model = service.model
        model.names.find(body.get("model", body.get("name")))
        about = model.engine.model
        known = {
            key: value
            for key, value in about.header.metadata.items()
            if isinstance(value, str | int | float) and not key.startswith("tokenizer.chat")
        }
        can_fill = model.vocabulary.fills_gaps
        return JSONResponse(
            {
                "modelfile": "",
                "parameters": "",
                "template": about.chat_template or "",
                "details": _details(model),
                "model_info": known,
                "capabilities": ["completion", "tools", *(["insert"] if can_fill else [])],
            }
        )

    @app.get("/api/version", include_in_schema=False)
    async def version() -> Response:
        """Of the protocol."""
        return JSONResponse({"version": ollama.VERSION})


def _add_anthropic(app: FastAPI, service: Service) -> None:
    @app.post("/v1/messages", include_in_schema=False)
    async def messages(request: Request) -> Response:
        """Answer messages."""
        body = json_object(await request.body())
        wire = anthropic.AnthropicWire(uuid.uuid4().hex, _name(service, body))
        given = anthropic.chat_body(body)
        unread = _with_unsaid(given, wire, anthropic.unread(body))
        job = await _job(service, given, unread=unread)
        wire.n_prompt = len(job.prompt_tokens)
        return CompletionReply(job, wire)


def _add_responses(app: FastAPI, service: Service) -> None:
    kept = responses.Conversations()

    @app.post("/v1/responses", include_in_schema=False)
    async def respond(request: Request) -> Response:
        """Answer, perhaps after an earlier response."""
        body = json_object(await request.body())
        if body.get("background"):
            raise InvalidParameterError("background: it isn't supported; use stream")
        before = kept.find(body.get("previous_response_id"))
        given, said = responses.chat_body(body, before)
        wire = responses.ResponsesWire(body, _name(service, body), said, kept)
        return await _reply(service, given, ChatPrompt, wire, responses.unread(body))

    @app.delete("/v1/responses/{key}", include_in_schema=False)
    async def forget(key: str) -> Response:
        """Keep what was said up to a response no longer."""
        kept.forget(key)
        return JSONResponse({"id": key, "object": "response", "deleted": True})

    @app.get("/v1/responses/{key}", include_in_schema=False)
    async def response(key: str) -> Response:
        """Nothing: what was said is kept, not how."""
        raise HttpError(404, "responses aren't kept to be read again", code="not_found")


def _entry(file: ModelFile, name: str) -> dict[str, Any]:
    about = file.model.engine.model if file.model else None
    identity = about.identity if about else file.names.main
    return {
        "name": name,
        "model": name,
        "modified_at": ollama.now(),
        "size": about.size_bytes if about else file.n_bytes,
        "digest": uuid.uuid5(uuid.NAMESPACE_URL, identity).hex * 2,
        "details": _details(file.model) if file.model else {},
    }


def _details(model: ServedModel) -> dict[str, Any]:
    about = model.engine.model
    return ollama.details(about.header.metadata, about.description)
