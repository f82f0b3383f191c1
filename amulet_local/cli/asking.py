"""`amulet-local ask` once its command line is read: the question goes out, the answer is written.

Knows nothing about how options are declared. Imports little: a script that asks a model that is
warm waits for this program's start and for nothing else.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping

from amulet_local.cli.exit_codes import EXIT_CUT
from amulet_local.cli.inputs import (
    check_text,
    given,
    read_question,
)
from amulet_local.cli.json_format import write_json
from amulet_local.cli.terminal import StatusLine, note, write
from amulet_local.common.errors import FileAccessError, InvalidParameterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    from typing import Any, Protocol

    from amulet_local.cli.inputs import PromptSource
    from amulet_local.cli.path_http import PathConnection, PathResponse

    Connection = http.client.HTTPConnection | PathConnection
    Response = http.client.HTTPResponse | PathResponse

    class AskedWith(PromptSource, Protocol):
        """What is asked of whom: cli/ask.py says what each is."""

        @property
        def socket(self) -> str: ...
        @property
        def system(self) -> str | None: ...
        @property
        def preference(self) -> list[str] | None: ...
        @property
        def avoid(self) -> list[str] | None: ...
        @property
        def preset(self) -> str | None: ...
        @property
        def api_key(self) -> str | None: ...
        @property
        def json(self) -> bool: ...


_PATH = "/v1/chat/completions"
STARTING_SECONDS = 5.0
"""Within which a server that was started with this command has to be there."""
RETRY_SECONDS = 0.2
_FIELD_SET = re.compile(r" \(\w+=(?:true|false|null)(?:: [^()]*)?\)")


def ask(question: AskedWith, fields: Mapping[str, Any]) -> None:
    """Ask, and write the answer as it comes.

    Args:
        fields: what params has of the strength and the sampling that were given.
    """
    body = _body(question, fields)
    connection = _connection(question.socket)
    try:
        response = _asked(connection, body, question.api_key)
        if question.json:
            answer = json.loads(response.read())
            write_json(answer, has_own_names=True)
            is_cut = _is_cut(answer)
        else:
            is_cut = _write_pieces(response)
    except Exception as error:
        if isinstance(error, BrokenPipeError) or not _is_of_the_connection(error):
            raise
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise FileAccessError(
            f"no answer from {question.socket!r}: {reason}; is `amulet-local serve` there?"
        ) from None
    finally:
        connection.close()
    if is_cut:
        note("the answer was cut; --predict, or the server's --ctx-size, allows more")
        raise SystemExit(EXIT_CUT)


def _body(question: AskedWith, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked, in OpenAI's form."""
    fields = dict(fields)
    schema = fields.get("json_schema")
    if schema is not None:
        try:
            fields["json_schema"] = json.loads(schema)
        except ValueError as error:
            raise InvalidParameterError(f"--json-schema is no JSON: {error}") from None
    check_text("--system", question.system)
    for text in (*(question.preference or ()), *(question.avoid or ())):
        check_text("--preference", text)
    messages = [{"role": "user", "content": read_question(question, with_pipe=True)}]
    if question.system is not None:
        messages.insert(0, {"role": "system", "content": question.system})
    return given(
        messages=messages,
        stream=not question.json,
        preference=question.preference or None,
        avoid=question.avoid or None,
        preset=question.preset,
        **fields,
    )


def _is_of_the_connection(error: Exception) -> bool:
    """Whether what went wrong is between us and the server."""
    if isinstance(error, (OSError, ValueError)):
        return True
    import http.client

    return isinstance(error, http.client.HTTPException)


def check_is_no_question(address: str) -> None:
    """Refuse a question in a server's place.

    Raises:
        InvalidParameterError: it is one.
    """
    if " " in address.strip() and not os.path.exists(address):
        import shlex

        raise InvalidParameterError(
            f"{address!r:.60} is no server: its path or address comes first, e.g. "
            f"amulet-local ask http://127.0.0.1:8080 {shlex.quote(address):.60}"
        )


def _connection(address: str) -> Connection:
    """Where a server is asked.

    Raises:
        InvalidParameterError: it is an address that can't be used, or a question.
    """
    check_is_no_question(address)
    if "://" not in address:
        from amulet_local.cli.path_http import PathConnection

        return PathConnection(address)
    import http.client
    import urllib.parse

    try:
        parts = urllib.parse.urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is not None and parts.scheme == "http":
        return http.client.HTTPConnection(host, port)
    if host is not None and parts.scheme == "https":
        return http.client.HTTPSConnection(host, port)
    raise InvalidParameterError(f"{address!r:.80} isn't like http://127.0.0.1:8080")


def _asked(connection: Connection, body: dict[str, Any], api_key: str | None) -> Response:
    """The response to a question; a server that starts is waited for while it loads its model.

    Raises:
        FileAccessError: the server refuses it.
    """
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    status = StatusLine()
    patience = time.monotonic() + STARTING_SECONDS
    try:
        while True:
            try:
                connection.request("POST", _PATH, json.dumps(body), headers)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > patience:
                    raise
                status.show("waiting for the server")
            else:
                response = connection.getresponse()
                if response.status == 200:
                    return response
                failed = json.loads(response.read())
                if not _is_loading(failed):
                    raise FileAccessError(_message(failed))
                status.show("waiting: the model is loading")
            connection.close()
            time.sleep(RETRY_SECONDS)
    finally:
        status.erase()


def _is_loading(body: Any) -> bool:
    failed = body.get("error") if isinstance(body, dict) else None
    return isinstance(failed, dict) and failed.get("code") == "loading"


def _message(body: Any) -> str:
    failed = body.get("error") if isinstance(body, dict) else None
    return str(failed.get("message")) if isinstance(failed, dict) else "the server refused"


def _is_cut(piece: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") == "length" for choice in piece.get("choices", ()))


def _write_pieces(response: Iterable[bytes]) -> bool:
    """Write the answer as it comes; whether it was cut."""
    last, is_cut = "", False
    warnings: list[str] = []
    for piece in _pieces(response):
        if "error" in piece:
            raise FileAccessError(_message(piece))
        for choice in piece.get("choices", ()):
            text = choice.get("delta", {}).get("content") or ""
            write(text)
            last = text or last
        is_cut = is_cut or _is_cut(piece)
        warnings += piece.get("amulet", {}).get("warnings", ())
    if not last.endswith("\n"):
        write("\n")
    for warning in warnings:
        note(f"warning: {_for_asker(warning)}")
    return is_cut


def _for_asker(warning: str) -> str:
    """What a server says, with the flags of `ask`: it has none for most fields."""
    return _FIELD_SET.sub("", warning.replace("(max_tokens)", "(-n)"))


def _pieces(response: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a stream; a server that takes its time sends comments between them."""
    for line in response:
        name, colon, data = line.strip().partition(b":")
        if name == b"data" and colon and data.strip() != b"[DONE]":
            yield json.loads(data)
