"""Stands before the endpoints: the model that a request names is loaded and in use until its end.

Knows nothing about what is asked. An ASGI application around another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

from amulet_local.common.errors import AmuletError
from amulet_local.server.access import Application, Message, Receive, Scope, Send
from amulet_local.server.failures import not_loaded
from amulet_local.server.models import CURRENT
from amulet_local.server.service import Service

_ABOUT_ALL = re.compile(
    r"/|/favicon\.ico|/page.*|/openapi\.json|(/v1)?/(health|models(/.*)?)|/metrics|/props|"
    r"/api/(tags|ps|version|embed(dings)?)|(/v1)?/(embeddings?|rerank(ing)?|amulet/control)"
)
"""Addresses that need no particular model."""


class ModelChoice:
    """An ASGI application that sees to it that there is a model for another one."""

    def __init__(self, app: Application, service: Service) -> None:
        """Stand before `app`."""
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whose body comes as a whole."""
        models = self._service.models
        if (
            scope["type"] != "http"
            or models is None
            or not models.may_change
            or not self._service.is_ready
            or _ABOUT_ALL.fullmatch(scope["path"])
        ):
            await self._app(scope, receive, send)
            return
        first: Message | None = await receive()
        asked = _model_of(first.get("body", b"")) if first else None

        async def again() -> Message:
            nonlocal first
            message, first = first, None
            return message if message is not None else await receive()

        try:
            file = await asyncio.to_thread(models.acquire, asked)
        except AmuletError as error:
            raise not_loaded(models.find(asked).names.main, error) from error
        token = CURRENT.set(file.model)
        try:
            await self._app(scope, again, send)
        finally:
            CURRENT.reset(token)
            models.release(file)


def _model_of(body: bytes) -> Any:
    """The name in a body; None where there is none. A body that can't be read is refused later."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(body)
        if isinstance(value, dict):
            return value.get("model", value.get("name"))
    return None
