"""`amulet-local ask`: one question to a model that another process has loaded."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import socket
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from amulet_local.cli.command import add_command
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.exit_codes import EXIT_CUT
from amulet_local.cli.flags import (
    json_option,
    option,
    preference_option,
    preset_option,
    system_option,
)
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import (
    check_text,
    given,
    read_question,
    require_question,
    warn_of_unread_pipe,
)
from amulet_local.cli.json_format import write_json
from amulet_local.cli.options import PromptOptions
from amulet_local.cli.terminal import StatusLine, note, write
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.option import (
    PREFERENCE,
    PROMPT,
    SERVERS_SAMPLING,
    changeable,
    some_of,
    with_help,
    without_defaults,
)
from amulet_local.params.sampling import SamplingParams

WHERE = "Who is asked"

HELP = """Ask a model that is loaded already: by `amulet-local serve`, at its address, or by
`serve --socket PATH`, at that path.

No model is loaded, so that an answer begins at once. What isn't given here is the server's."""

EXAMPLES = """
amulet-local ask /run/user/1000/amulet.sock "How do I sleep better?"
amulet-local ask http://127.0.0.1:8080 "What is yeast?" --preference concise
uptime | amulet-local ask amulet.sock - --system "Is it busy? Yes or no."
amulet-local ask amulet.sock "Name a river." --preference formal --json"""

_PATH = "/v1/chat/completions"
STARTING_SECONDS = 5.0
"""Within which a server that was started with this command has to be there."""
RETRY_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class _Socket:
    """Comes before the question on the command line."""

    socket: Annotated[
        str,
        typer.Argument(
            metavar="SOCKET",
            help="The path that the server listens at, or its address, http://127.0.0.1:8080.",
            rich_help_panel=WHERE,
            show_default=False,
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class AskOptions(PromptOptions, _Socket):
    """Options of `ask`."""

    system: Annotated[
        str | None, system_option(panel=PROMPT, help="System text; none if empty.")
    ] = None
    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=PREFERENCE,
            help="What the answer should be like: a name or a text. Give it again to mix several.",
        ),
    ] = None
    avoid: Annotated[
        list[str] | None,
        preference_option(
            "--avoid", panel=PREFERENCE, help="What the answer should not be like, likewise."
        ),
    ] = None
    preset: Annotated[
        str | None,
        preset_option(panel=PREFERENCE, help="Strength and guards: balanced, strong or paper."),
    ] = None
    strength: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                some_of(AmuletParams.options, *changeable(AmuletParams.options), panel=PREFERENCE),
                guidance_scale="Strength: 0 leaves the preference out, 1 has it in the prompt.",
            )
        ),
    )
    sampling: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                without_defaults(
                    some_of(SamplingParams.options, *SamplingParams.options, panel=SERVERS_SAMPLING)
                ),
                max_tokens="Most tokens of the answer.",
                temperature="0 is greedy.",
            )
        ),
    )
    api_key: Annotated[
        str | None,
        option(
            "--api-key", panel=WHERE, metavar="KEY", help="If it wants one; better AMULET_API_KEY."
        ),
    ] = None
    json: Annotated[bool, json_option("The server's answer, one JSON object.")] = False


def run(options: AskOptions) -> None:
    """Ask, and write the answer as it comes."""
    check_text("--system", options.system)
    for text in (*(options.preference or ()), *(options.avoid or ())):
        check_text("--preference", text)
    warn_of_unread_pipe(options)
    messages = [{"role": "user", "content": read_question(options)}]
    if options.system is not None:
        messages.insert(0, {"role": "system", "content": options.system})
    body = given(
        messages=messages,
        stream=not options.json,
        preference=options.preference or None,
        avoid=options.avoid or None,
        preset=options.preset,
        **read(AmuletParams.options, options.strength),
        **_sampling(options),
    )
    connection = _connection(options.socket)
    try:
        response = _asked(connection, body, options.api_key)
        if options.json:
            answer = json.loads(response.read())
            write_json(answer, has_own_names=True)
            is_cut = _is_cut(answer)
        else:
            is_cut = _write_pieces(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise FileAccessError(
            f"no answer from {options.socket!r}: {reason}; is `amulet-local serve` there?"
        ) from None
    finally:
        connection.close()
    if is_cut:
        note("the answer was cut; --predict, or the server's --ctx-size, allows more")
        raise SystemExit(EXIT_CUT)


def _sampling(options: AskOptions) -> dict[str, Any]:
    """Fields of the sampling that were given, as JSON has them."""
    fields = read(SamplingParams.options, options.sampling)
    schema = fields.get("json_schema")
    if schema is not None:
        try:
            fields["json_schema"] = json.loads(schema)
        except ValueError as error:
            raise InvalidParameterError(f"--json-schema is no JSON: {error}") from None
    return fields


def _connection(address: str) -> http.client.HTTPConnection:
    """Where a server is asked.

    Raises:
        InvalidParameterError: it is an address that can't be used, or a question.
    """
    if " " in address.strip() and not os.path.exists(address):
        raise InvalidParameterError(
            f"{address!r:.60} is no server: its path or address comes first, e.g. "
            f"amulet-local ask http://127.0.0.1:8080 {shlex.quote(address):.60}"
        )
    if "://" not in address:
        return _Connection(address)
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


class _Connection(http.client.HTTPConnection):
    """HTTP through a path of this machine."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def _asked(
    connection: http.client.HTTPConnection, body: dict[str, Any], api_key: str | None
) -> http.client.HTTPResponse:
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


def _write_pieces(response: http.client.HTTPResponse) -> bool:
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
        note(f"warning: {warning}")
    return is_cut


def _pieces(response: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a stream; a server that takes its time sends comments between them."""
    for line in response:
        name, colon, data = line.strip().partition(b":")
        if name == b"data" and colon and data.strip() != b"[DONE]":
            yield json.loads(data)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        AskOptions,
        run,
        check=require_question,
        name="ask",
        help=HELP,
        examples=EXAMPLES,
    )
