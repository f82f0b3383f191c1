"""Stands before the application: who may ask, how large, how fast, and how errors look.

Knows nothing about models or about what is asked. An ASGI application around another one. The body
is read here as a whole, within limits, before anybody parses it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from amulet_local.common.json_depth import shallow
from amulet_local.common.readable import visible
from amulet_local.server.failures import HttpError, as_http, log_error
from amulet_local.server.limits import Access, Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: ContextVar[str] = ContextVar("amulet_key", default="")
"""Stands for the API key of the request under way, where there are several."""

OPEN_PATHS = frozenset(
    {"/health", "/v1/health", "/", "/profile", "/page.js", "/page.css", "/favicon.ico"}
)
"""What needs no key: it holds nothing that isn't public."""
PAGE_FOLDER = "/page/"

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_log = logging.getLogger("amulet_local.server")


class AccessMiddleware:
    """An ASGI application that lets through to another one what is in order."""

    def __init__(self, app: Application, access: Access, limits: Limits) -> None:
        """Stand before `app`."""
        self._app = app
        self._access = access
        self._limits = limits
        self._keys = [hashlib.sha256(key.encode()).digest() for key in access.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, complete = 0, False
        headers = _Headers(scope["headers"])
        origin = headers.get("origin")
        cors = self._cors(origin, headers)

        async def send_on(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *cors, *_ALWAYS]
            await send(message)

        try:
            self._check_host(scope, headers)
            if scope["method"] == "OPTIONS" and origin is not None:
                cors = cors or self._cors_with_key(origin)
                await _reply(send_on, 200, b"", _preflight(headers) if cors else [])
                return
            if origin is not None and not cors:
                self._check_same_origin(origin, headers)
            self._check_key(scope["path"], headers)
            body = await self._body(scope, headers, receive)
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._app(asked, _replaying(body, receive), send_on)
        except Exception as error:
            if complete:  # it was answered with an error, and said in the log
                return
            failure = as_http(error)
            if failure.status == 500:
                log_error(error)
            if status == 0:
                await send_error(send_on, failure)
            else:
                raise asyncio.CancelledError from None  # too late for a status: end the connection
        finally:
            took = 1000 * (time.perf_counter() - started)
            _log.info("%s %s %.0f ms", _shown(scope), status or "-", took)

    def _check_host(self, scope: Scope, headers: _Headers) -> None:
        """Refuse names that this server isn't known by: a page may have pointed one here."""
        host = headers.get("host")
        name = _host_name(host) if headers.count("host") == 1 and host else None
        reached = (scope.get("server") or ("",))[0]
        if name is None or (name not in self._access.hosts and name != reached):
            raise HttpError(
                403,
                "this Host isn't served here; start the server with --allowed-host to allow it",
                kind="permission_error",
                code="host_not_allowed",
            )

    def _check_same_origin(self, origin: str, headers: _Headers) -> None:
        try:
            parts = urlsplit(origin)
        except ValueError:
            parts = urlsplit("")
        same = parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "")
        if not same or headers.count("origin") != 1:
            raise HttpError(
                403,
                "this Origin may not ask here; start the server with --cors-origin to allow it, or "
                "with an API key that it sends",
                kind="permission_error",
                code="origin_not_allowed",
            )

    def _cors(self, origin: str | None, headers: _Headers) -> list[tuple[bytes, bytes]]:
        """What lets a page from elsewhere read the answer: it is listed, or was given a key."""
        if origin is None:
            return []
        if self._access.allows(origin):
            return _allowing(origin)
        if self._keys and headers.count("origin") == 1 and self._has_key(headers):
            return self._cors_with_key(origin)
        return []

    def _cors_with_key(self, origin: str) -> list[tuple[bytes, bytes]]:
        """The same for a page with a key, which it may ask for beforehand; nothing without keys."""
        if not self._keys:
            return []
        return [*_allowing(origin), (b"Access-Control-Allow-Credentials", b"true")]

    def _has_key(self, headers: _Headers) -> bool:
        """Whether a request has one of the keys, which is noted."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = headers.get("x-api-key", "")
        given = hashlib.sha256(token.strip().encode("latin-1", "replace")).digest()
        matches = [hmac.compare_digest(given, key) for key in self._keys]  # all: the same time
        KEY.set(given.hex()[:16] if len(self._keys) > 1 else "")
        return any(matches)

    def _check_key(self, path: str, headers: _Headers) -> None:
        if not self._keys or path in OPEN_PATHS or path.startswith(PAGE_FOLDER):
            return
        if not self._has_key(headers):
            raise HttpError(
                401,
                "a valid API key is needed: Authorization: Bearer KEY",
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _body(self, scope: Scope, headers: _Headers, receive: Receive) -> bytes:
        limit = self._limits.body_bytes
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > limit:
            raise _too_large(limit)
        try:
            body = await asyncio.wait_for(_read(receive, limit), timeout=self._limits.body_seconds)
        except asyncio.TimeoutError:
            raise HttpError(
                408,
                f"the body took longer than {self._limits.body_seconds:g} s",
                code="timeout",
                headers={"Connection": "close"},
            ) from None
        if scope["method"] == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json" and _is_of_a_browser(headers):
                raise HttpError(415, "the body has to be application/json", code="content_type")
            if not await asyncio.to_thread(shallow, body, self._limits.json_depth):
                raise HttpError(
                    400,
                    f"the JSON is nested more than {self._limits.json_depth} deep",
                    code="too_deep",
                )
        return body


async def _read(receive: Receive, limit: int) -> bytes:
    """All of a body.

    Raises:
        HttpError: it is longer than `limit` bytes.
    """
    parts: list[bytes] = []
    n_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HttpError(400, "the client left before its request was complete")
        parts.append(message.get("body", b""))
        n_bytes += len(parts[-1])
        if n_bytes > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)


def _is_of_a_browser(headers: _Headers) -> bool:
    """Whether a page may have sent it: a form can send what isn't JSON without asking first."""
    return any(headers.count(name) for name in ("origin", "sec-fetch-site", "cookie", "referer"))


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        f"the body has more than {limit} bytes",
        code="too_large",
        headers={"Connection": "close"},
    )


def _replaying(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives a body which was read already, and then goes on."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def json_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object.

    Raises:
        HttpError: it is something else.
    """
    value = json_value(body)
    if not isinstance(value, dict):
        raise HttpError(400, "the body has to be a JSON object", code="invalid_json")
    return value


def json_value(body: bytes) -> Any:
    """A body as JSON.

    Raises:
        HttpError: it is something else, or has half a character, which no answer could repeat.
    """

    def refuse(text: str) -> None:
        raise ValueError(f"{text} is no JSON")

    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=refuse)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        raise HttpError(400, "the body is no valid JSON in UTF-8", code="invalid_json") from None


async def send_error(send: Send, failure: HttpError) -> None:
    """Answer with an error."""
    headers = [(b"content-type", b"application/json")]
    headers += [(name.lower().encode(), value.encode()) for name, value in failure.headers.items()]
    await _reply(send, failure.status, json.dumps(failure.body).encode(), headers)


async def _reply(
    send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def _allowing(origin: str) -> list[tuple[bytes, bytes]]:
    return [(b"Access-Control-Allow-Origin", origin.encode("latin-1")), (b"Vary", b"Origin")]


def _preflight(headers: _Headers) -> list[tuple[bytes, bytes]]:
    """What a page that may ask is told beforehand: any header, as clients send many."""
    wanted = headers.get("access-control-request-headers", "")
    if not re.fullmatch(r"[A-Za-z0-9_, -]{1,2000}", wanted):
        wanted = "authorization, content-type, x-api-key"
    return [
        (b"Access-Control-Allow-Methods", b"GET, POST, DELETE, OPTIONS"),
        (b"Access-Control-Allow-Headers", wanted.encode()),
        (b"access-control-max-age", b"600"),
    ]


class _Headers:
    """Headers of a request by their names in small letters."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw
        ]

    def get(self, name: str, default: Any = None) -> Any:
        return next((value for own, value in self._raw if own == name), default)

    def count(self, name: str) -> int:
        return sum(own == name for own, _ in self._raw)


def _host_name(host: str) -> str | None:
    """The name in a Host header, without the port; None for something else."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?", host)
    return (found[1] or found[2]).lower() if found else None


def _shown(scope: Scope) -> str:
    """Method and path for the log: as they came, percent signs and all, without the query."""
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    return visible(f"{scope['method']:.20} {path:.100}").replace("\n", "\\n")
