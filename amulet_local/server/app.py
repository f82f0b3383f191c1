"""The endpoints.

Knows nothing about how a request gets here (access.py) or is answered (completion_job.py).
"""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import PurePath
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute

from amulet_local.common.errors import AmuletError, InvalidParameterError
from amulet_local.common.html_page import SHARED_ASSETS, shared_asset
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.server import openapi
from amulet_local.server.access import json_object
from amulet_local.server.client_fields import HABITS, unread
from amulet_local.server.completion_job import CompletionJob
from amulet_local.server.completion_prompt import (
    ChatPrompt,
    CompletionPrompt,
    TextPrompt,
    tokens_of,
)
from amulet_local.server.embeddings import add_embeddings
from amulet_local.server.failures import HttpError, as_http, log_error
from amulet_local.server.feedback import add_feedback
from amulet_local.server.fields import STRENGTH
from amulet_local.server.near_addresses import done_elsewhere, near_address
from amulet_local.server.other_protocols import add_other_protocols, error_body
from amulet_local.server.places import add_places
from amulet_local.server.replies import CompletionReply
from amulet_local.server.service import Service
from amulet_local.server.state import add_state
from amulet_local.server.wire import with_warnings

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


def make_app(service: Service, *, version: str) -> FastAPI:
    """The application on a service."""
    app = FastAPI(
        title="amulet-local",
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    for kind in (404, 405):
        app.add_exception_handler(kind, _no_such_thing)
    for error in (HttpError, AmuletError, Exception):
        app.add_exception_handler(error, _failed)
    _add_completions(app, service)
    _add_tokens(app, service)
    add_state(app, service, version)
    add_places(app, service)
    add_embeddings(app, service)
    add_feedback(app, service)
    add_other_protocols(app, service)
    _add_page(app, service)
    _add_short_paths(app)
    openapi.describe(app)
    return app


def _add_completions(app: FastAPI, service: Service) -> None:
    async def complete(request: Request, kind: type[CompletionPrompt]) -> Response:
        body = json_object(await request.body())
        job = await asyncio.to_thread(
            CompletionJob, body, kind, service.model, service.figures, service.jobs
        )
        await job.check()
        return CompletionReply(job)

    @app.post("/v1/chat/completions", openapi_extra=openapi.CHAT, responses=openapi.ERRORS)
    async def chat_completions(request: Request) -> Response:
        """Answer messages."""
        return await complete(request, ChatPrompt)

    @app.post("/v1/completions", openapi_extra=openapi.TEXT, responses=openapi.ERRORS)
    async def completions(request: Request) -> Response:
        """Go on with a text."""
        return await complete(request, TextPrompt)

    @app.post("/v1/amulet/control", openapi_extra=openapi.CONTROL, responses=openapi.ERRORS)
    async def control(request: Request) -> Response:
        """Change or end a completion while it is made."""
        body = json_object(await request.body())
        key = body.pop("id", None)
        job = service.jobs.get(key) if isinstance(key, str) else None
        if job is None:
            raise HttpError(
                404, "no completion of this id is under way", param="id", code="not_found"
            )
        cancel = body.pop("cancel", False)
        if not isinstance(cancel, bool):
            raise InvalidParameterError("cancel: must be true or false")
        if cancel:
            job.cancel()
            return JSONResponse({"id": key, "cancelled": True})
        changes = {name: value for name, value in body.items() if name not in HABITS}
        unknown = sorted(set(changes) - {"preference", "avoid", *STRENGTH})
        if unknown:
            raise InvalidParameterError(f"{unknown[0]:.40}: no such parameter")
        return JSONResponse({"id": key, "amulet": await job.change(changes)})


def _add_tokens(app: FastAPI, service: Service) -> None:
    @app.post("/tokenize", openapi_extra=openapi.TOKENIZE, responses=openapi.ERRORS)
    async def tokenize(request: Request) -> Response:
        """Token ids of a text."""
        body = json_object(await request.body())
        vocabulary = service.model.vocabulary
        content = body.get("content")
        parts: list[Any] = content if isinstance(content, list) else [content]
        if type(content) is int or not all(type(part) in (int, str) for part in parts):
            raise InvalidParameterError("content: must be a text, or a list of texts and token ids")
        add_special = _flag(body, "add_special", False)
        parse_special = _flag(body, "parse_special", True)
        tokens = await asyncio.to_thread(
            tokens_of, vocabulary, parts, add_special=add_special, parse_special=parse_special
        )
        warnings = unread(body, ("content", "add_special", "parse_special", "with_pieces"))
        if not _flag(body, "with_pieces", False):
            return JSONResponse(with_warnings({"tokens": tokens}, warnings))
        pieces = await asyncio.to_thread(lambda: [_piece(vocabulary, t) for t in tokens])
        listed = [{"id": t, "piece": piece} for t, piece in zip(tokens, pieces, strict=True)]
        return JSONResponse(with_warnings({"tokens": listed}, warnings))

    @app.post("/detokenize", openapi_extra=openapi.DETOKENIZE, responses=openapi.ERRORS)
    async def detokenize(request: Request) -> Response:
        """The text of token ids."""
        body = json_object(await request.body())
        vocabulary = service.model.vocabulary
        tokens = body.get("tokens")
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise InvalidParameterError("tokens: must be a list of token ids")
        for token in tokens:
            vocabulary.check(token)
        text = await asyncio.to_thread(vocabulary.text, tokens)
        return JSONResponse(with_warnings({"content": text}, unread(body, ("tokens",))))


def _add_short_paths(app: FastAPI) -> None:
    """The same addresses without /v1, for clients whose base URL has none."""
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    known = {route.path for route in routes}
    for route in routes:
        short = route.path.removeprefix("/v1")
        if short not in known:
            app.add_api_route(
                short, route.endpoint, methods=sorted(route.methods or ()), include_in_schema=False
            )


def _page_file(name: str) -> bytes | None:
    """A file of the page, one that it shares with other pages among them; None for any other."""
    if name in SHARED_ASSETS:
        return shared_asset(name).encode()
    folder = resources.files("amulet_local.server") / "page"
    found = (item for item in folder.iterdir() if item.name == name and item.is_file())
    return next((item.read_bytes() for item in found), None)


def _add_page(app: FastAPI, service: Service) -> None:
    def send(name: str) -> Response:
        if not service.has_page:
            raise HttpError(404, "the server was started with --no-ui", code="not_found")
        kind, content = _TYPES.get(PurePath(name).suffix), _page_file(name)
        if kind is None or content is None:
            raise HttpError(404, "there is no such page", code="not_found")
        return Response(
            content,
            headers={
                "content-type": kind,
                "content-security-policy": PAGE_POLICY,
                "cache-control": "no-cache",
            },
        )

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return send("index.html")

    @app.get("/profile", include_in_schema=False)
    async def profile() -> Response:
        return send("profile.html")

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        return send("page.js")

    @app.get("/page.css", include_in_schema=False)
    async def style() -> Response:
        return send("page.css")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return send(name)


async def _failed(request: Request, error: Exception) -> Response:
    failure = as_http(error)
    if failure.status == 500:
        log_error(error)
    body = error_body(request.url.path, failure.body)
    return JSONResponse(body, status_code=failure.status, headers=failure.headers)


async def _no_such_thing(request: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 404), getattr(error, "headers", None)
    if status == 404:
        message = f"no such address{near_address(request.url.path, _addresses(request.app))}"
    else:
        allowed = _methods_at(request.url.path, request.app)
        instead = done_elsewhere(request.url.path)
        message = f"not with {request.method}, with {' or '.join(allowed)}{instead}"
    failure = HttpError(status, message, code="not_found")
    body = error_body(request.url.path, failure.body)
    return JSONResponse(body, status_code=status, headers=headers)


def _addresses(app: FastAPI) -> dict[str, str]:
    """The addresses that have no part of their own in them and are no files, with a method each."""
    return {
        route.path: max(route.methods or ("GET",))
        for route in app.routes
        if isinstance(route, APIRoute) and not set("{.").intersection(route.path)
    }


def _methods_at(path: str, app: FastAPI) -> list[str]:
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    found = (route.methods or () for route in routes if route.path_regex.match(path))
    return sorted({method for methods in found for method in methods} - {"HEAD"})


def _flag(body: dict[str, Any], name: str, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise InvalidParameterError(f"{name}: must be true or false")
    return value


def _piece(vocabulary: Vocabulary, token: int) -> str | list[int]:
    """A token's text; bytes where they are no text by themselves."""
    piece = vocabulary.piece(token) or vocabulary.spelling(token).encode()
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return list(piece)
