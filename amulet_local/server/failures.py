"""Errors as HTTP responses, in OpenAI's shape, without prompts, paths or keys.

Knows nothing about requests.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from amulet_local.common.errors import (
    AmuletError,
    CancelledError,
    ChatTemplateError,
    ContextCreationError,
    EmptyPromptError,
    EngineClosedError,
    InvalidParameterError,
    InvalidRequestError,
    PromptTooLongError,
    QueueFullError,
    UnknownMethodError,
    UnknownPreferenceError,
)
from amulet_local.server.said_to_clients import for_clients

RETRY_AFTER_SECONDS = 1

_log = logging.getLogger("amulet_local.server")
_PARAMETER = re.compile(r"([a-z_][a-z0-9_]{0,40})(?:\[\d+\])?(?:\.[^:]{0,80})?:")
_PARAMETERS = {
    EmptyPromptError: "messages",
    UnknownMethodError: "method",
    UnknownPreferenceError: "preference",
}
"""What an error is about whose message doesn't begin with it."""


class HttpError(Exception):
    """A response that isn't what was asked for.

    Attributes:
        status: HTTP's number.
        body: OpenAI's error object.
        headers: further ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": kind, "param": param, "code": code, **more}
        }
        self.headers = headers or {}


def unavailable(message: str, code: str) -> HttpError:
    """Try again later."""
    return HttpError(
        503,
        message,
        kind="unavailable_error",
        code=code,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def log_error(error: Exception) -> None:
    """Say that something failed here, by its kind: messages may hold what nobody should read."""
    _log.error("error: %s", type(error).__name__)
    _log.debug("", exc_info=error)


def not_loaded(name: str, error: AmuletError) -> HttpError:
    """What a client is told about a model that can't be loaded; here it is said as well.

    Args:
        name: of the model. The error's message may hold paths.
    """
    failure = as_http(error)
    if failure.status != 500:
        return failure
    message = (
        f"the model {name!r:.100} can't be loaded ({type(error).__name__}); where the server runs, "
        f"`amulet-local models verify` of its file says why"
    )
    _log.error("error: %s", message)
    return HttpError(500, message, kind="server_error", code="backend_error")


def as_http(error: Exception) -> HttpError:
    """What a client is told about an error."""
    if isinstance(error, HttpError):
        return error
    message = for_clients(str(error))
    if isinstance(error, QueueFullError):
        return unavailable(message, "queue_full")
    if isinstance(error, EngineClosedError):
        return unavailable("the server is going down", "shutting_down")
    if isinstance(error, CancelledError):
        return HttpError(409, "the request was cancelled", kind="cancelled", code="cancelled")
    if isinstance(error, PromptTooLongError):
        return HttpError(
            400,
            message,
            kind="exceed_context_size_error",
            param="messages",
            code="context_length_exceeded",
            n_prompt_tokens=error.n_prompt_tokens,
            n_ctx=error.n_ctx,
        )
    if isinstance(error, InvalidRequestError):
        found = _PARAMETER.match(message)
        param = found[1] if found else _PARAMETERS.get(type(error))
        code = None
        if isinstance(error, InvalidParameterError):
            param = error.parameter or param
            code = "unknown_parameter" if "no such parameter" in message else None
        return HttpError(400, message, param=param, code=code)
    if isinstance(error, ChatTemplateError):
        return HttpError(400, message, param="messages", code="chat_template_error")
    if isinstance(error, ContextCreationError):
        return unavailable("no memory for so many preferences at the moment", "no_memory")
    if isinstance(error, AmuletError):  # their messages may hold paths
        return HttpError(
            500,
            f"the server couldn't answer ({type(error).__name__})",
            kind="server_error",
            code="backend_error",
        )
    return HttpError(500, "unexpected error in the server", kind="server_error", code="internal")
