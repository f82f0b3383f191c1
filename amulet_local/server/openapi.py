"""What the generated OpenAPI document says of bodies and errors.

The bodies are read by fields.py, whose limits this repeats from the same classes; a field that is
null is a field that isn't there.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from amulet_local.openai.chat_completion import CHANGEABLE
from amulet_local.server.fields import ServedFields, TextFields

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR}}}


ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error("Something about the request can't be done"),
    401: _error("A key is needed"),
    403: _error("Host or Origin aren't allowed"),
    404: _error("There is no such thing"),
    408: _error("The body came too slowly"),
    409: _error("The request was cancelled"),
    413: _error("The body is too large"),
    415: _error("The body isn't JSON"),
    500: _error("llama.cpp failed"),
    501: _error("There is no model for it"),
    503: _error("Loading, going down, or the queue is full; see Retry-After"),
}


_TEXT = {"type": "string"}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": [required], "properties": properties}


def _fields(name: str, extra: str, schema: dict[str, Any]) -> dict[str, Any]:
    own = {"type": "object", "required": [extra], "properties": {extra: schema}}
    return _body({"allOf": [{"$ref": f"#/components/schemas/{name}"}, own]})


CHAT = _fields(
    "ServedFields",
    "messages",
    {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
                "content": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "null"},
                        {
                            "type": "array",
                            "items": _object("text", type={"const": "text"}, text=_TEXT),
                        },
                    ]
                },
                "tool_calls": {"type": "array", "items": {"type": "object"}},
                "tool_call_id": _TEXT,
            },
        },
    },
)
TEXT = _fields(
    "TextFields",
    "prompt",
    {
        "anyOf": [
            _TEXT,
            {"type": "array", "items": {"type": "integer"}},
            {"type": "array", "items": _TEXT},
        ]
    },
)
TOKENIZE = _body(
    _object(
        "content",
        content={"type": "string"},
        add_special={"type": "boolean"},
        parse_special={"type": "boolean"},
        with_pieces={"type": "boolean"},
    )
)
EMBEDDINGS = _body(
    _object("input", input={}, encoding_format={"enum": ["float", "base64"]}, model=_TEXT)
)
DETOKENIZE = _body(_object("tokens", tokens={"type": "array", "items": {"type": "integer"}}))
CONTROL = _body(
    _object(
        "id",
        id={"type": "string"},
        cancel={"type": "boolean"},
        preference={},
        avoid={},
        preset={"type": "string"},
        **{name: {"type": "number"} for name in CHANGEABLE},
    )
)
FEEDBACK = _body(
    _object(
        "messages",
        messages={"type": "array", "minItems": 1, "items": _object("role", role=_TEXT, content={})},
        response=_TEXT,
        rating={"enum": [1, -1]},
        edited=_TEXT,
        chosen=_TEXT,
        rejected=_TEXT,
        like=_TEXT,
        user=_TEXT,
        model=_TEXT,
    )
)


def describe(app: FastAPI) -> None:
    """Let the application's document know the fields."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = make().setdefault("components", {}).setdefault("schemas", {})
            for fields in (ServedFields, TextFields):
                schema = fields.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(schema.pop("$defs", {}))
                schema.pop("additionalProperties", None)  # messages are no part of it
                schemas[fields.__name__] = schema
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
