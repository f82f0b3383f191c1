"""`amulet-local serve`: OpenAI's API for programs, and a page for people."""

from __future__ import annotations

import logging
import os
import re
import shlex
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import typer

from amulet_local.cli.command import add_command
from amulet_local.cli.flag_names import in_flags
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import check_text, given, read_file
from amulet_local.cli.llama_server_flags import LlamaServerCommand
from amulet_local.cli.question import runtime_params
from amulet_local.cli.serve_models import load_embedder, models_named, models_of, parts
from amulet_local.cli.serve_options import N_CTX, ServeOptions
from amulet_local.cli.terminal import StatusLine, note
from amulet_local.common.errors import ChatTemplateError, FileAccessError, InvalidParameterError
from amulet_local.common.extras import missing_extra
from amulet_local.common.readable import a_line_each
from amulet_local.common.version import package_version
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.sampling import SamplingParams

if TYPE_CHECKING:
    from amulet_local.params.runtime import RuntimeParams
    from amulet_local.server.limits import Access
    from amulet_local.server.served_model import Defaults, ServedModel

_SWITCH_SECONDS = 0.001
"""How long the thread that computes waits for the one that sends; Python's default is 5 ms."""

HELP = """Serve the model to programs: OpenAI's API, with preferences.

Whatever speaks to OpenAI or to llama-server can use it by changing its base URL. Preferences come
as fields of a request, in the model's name (smollm2+creative), or from here for everybody. A page
to try it is at the address itself. docs/server.md has all of it."""

EXAMPLES = """
amulet-local serve
amulet-local serve --host 0.0.0.0 --api-key-file keys.txt
amulet-local serve -m model.gguf -c 8192 -np 4 --preference concise
amulet-local serve --socket amulet.sock --idle-timeout 600
curl http://127.0.0.1:8080/v1/chat/completions \\
    -H 'Content-Type: application/json' \\
    -d '{"messages": [{"role": "user", "content": "Hi"}],
         "preference": "formal"}'"""


def run(options: ServeOptions) -> None:
    """Serve until Ctrl-C."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise missing_extra("the server needs FastAPI and uvicorn", "server") from None
    from amulet_local.loading.isolated import say
    from amulet_local.server.limits import Limits
    from amulet_local.server.place_files import PlaceFiles
    from amulet_local.server.run import serve
    from amulet_local.server.service import Service

    sys.setswitchinterval(_SWITCH_SECONDS)
    access = _access(options)
    _check_counts(options)
    defaults = _defaults(options)
    saved_at = options.slot_save_path
    place_files = None if saved_at is None else PlaceFiles(saved_at)
    runtime = _with_thinking(runtime_params(options, n_ctx=N_CTX), options.reasoning)
    with ExitStack() as ending:
        listening, urls = _listening(options, access, ending)
        url = urls[0]
        if runtime.verbose:
            _log_requests()
        status = StatusLine(enabled=not runtime.verbose)
        ending.callback(status.erase)
        models = None if options.embedding else models_of(options, runtime, defaults, status)
        embeds = options.embedding or options.embedding_model is not None

        def ready() -> None:
            say("ready", ["--port", str(port)] if (port := _own_port(listening)) else [])
            status.erase()
            loaded = models.loaded if models else []
            for model in loaded:
                _welcome(model, urls, needs_key=bool(access.api_keys))
            if models is not None and (len(models.files) > 1 or not loaded):
                names = ", ".join(a_line_each([file.names.main for file in models.files], str))
                note(f"{url} loads a model when it is asked for: {names}. Ctrl-C ends it.")
            if embeds:
                note(f"{url}/v1/embeddings is ready. Ctrl-C ends it.")

        service = Service(
            models,
            (lambda: load_embedder(options, runtime)) if embeds else None,
            loads_first=bool(options.model) or options.models_dir is None,
            has_page=not options.no_ui,
            shows_places=options.slots,
            place_files=place_files,
        )
        serve(
            service,
            listening,
            access=access,
            limits=Limits(),
            version=package_version(),
            ready=ready,
            idle_seconds=options.idle_timeout,
        )


def _listening(
    options: ServeOptions, access: Access, ending: ExitStack
) -> tuple[list[socket.socket], list[str]]:
    """Where it listens: a socket that systemd hands over, a path, or a port of one address or
    several; and what to call each.

    Args:
        ending: closes it and takes the path away.

    Raises:
        ServerError: it can't listen there.
        InvalidParameterError: others than this machine's own would reach it without a key.
    """
    from amulet_local.server import unix_socket
    from amulet_local.server.run import BACKLOG, check_access, open_port

    listening = unix_socket.inherited_socket()
    if listening is None and options.socket is not None:
        listening = unix_socket.open_path(options.socket, backlog=BACKLOG)
        ending.callback(unix_socket.remove, options.socket)
    if listening is not None:
        ending.callback(listening.close)
        return [listening], [_url(listening, access)]
    hosts, port = _hosts(options), options.port
    if not hosts:
        raise InvalidParameterError("--host is empty; leave it out, or give an address")
    for host in hosts:
        check_access(host, access)
    sockets: list[socket.socket] = []
    for host in hosts:
        sockets.append(open_port(host, port))
        ending.callback(sockets[-1].close)
        port = sockets[0].getsockname()[1]
    return sockets, [_url(one, access) for one in sockets]


def _own_port(listening: list[socket.socket]) -> int | None:
    """Where it listens, if that is a port."""
    name = listening[0].getsockname()
    return int(name[1]) if isinstance(name, tuple) else None


def _hosts(options: ServeOptions) -> list[str]:
    """The addresses to listen on."""
    return [host.strip("[]") for host in parts([options.host])]


def _url(listening: socket.socket, access: Access) -> str:
    """How a client calls it: a URL, or a path.

    Raises:
        InvalidParameterError: others than this machine's own would reach it without a key.
    """
    from amulet_local.server.run import check_access

    if listening.family == socket.AF_UNIX:
        return str(listening.getsockname())
    host, port = listening.getsockname()[:2]
    check_access(host, access)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _welcome(model: ServedModel, urls: Sequence[str], *, needs_key: bool) -> None:
    pool, names, url = model.pool, model.names, urls[0]
    for warning in model.engine.warnings:
        note(f"warning: {in_flags(warning)}")
    path = "/v1/chat/completions"
    fields = '"messages": [{"role": "user", "content": "Hi"}]'
    try:
        model.engine.check_chat()
    except ChatTemplateError as error:
        note(f"warning: {in_flags(str(error))}. Until then /v1/completions alone works.")
        path, fields = "/v1/completions", '"prompt": "Once upon a time"'
    note(
        f"{names.main} is ready at {' and '.join(urls)} ({pool.n_places} requests at once, "
        f"{pool.scheduler}, {model.engine.n_ctx} tokens each). Ctrl-C ends it."
    )
    key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    if not url.startswith("http:"):
        url = f"--unix-socket {shlex.quote(url)} http://localhost"
    note(
        f"curl {url}{path} -H 'Content-Type: application/json'{key} "
        f"""-d '{{{fields}, "preference": "creative"}}'"""
    )


def _access(options: ServeOptions) -> Access:
    """Keys and names.

    Raises:
        AmuletError: one can't be used.
    """
    from amulet_local.server.limits import Access

    keys = list(options.api_key or ())
    if options.api_key_file is not None:
        text = read_file(options.api_key_file, "the key file", FileAccessError)
        found = [line.strip() for line in text.splitlines() if line.strip()]
        if not found:
            raise InvalidParameterError("--api-key-file has no key in it")
        keys += found
    if not all(re.fullmatch(r"[!-~]+", key) for key in keys):
        raise InvalidParameterError("an API key has printable ASCII characters, without spaces")
    known = Access()
    hosts = {host.strip("[]").lower() for host in options.allowed_host or ()}
    origins = parts(options.cors_origin)
    for origin in origins:
        if not re.fullmatch(r"\*|localhost|[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-\[\]:_]+", origin):
            raise InvalidParameterError(
                f"--cors-origin must be like https://chat.example.org, got {origin!r:.80}"
            )
    return Access(
        api_keys=tuple(keys),
        hosts=known.hosts | hosts | {host.lower() for host in _hosts(options)},
        origins=frozenset(origins),
    )


def _check_counts(options: ServeOptions) -> None:
    limits = {
        "--port": (options.port, 0, 65535),
        "--parallel": (options.parallel, 1, 256),
        "--queue": (options.queue, 0, 100_000),
        "--max-preferences": (options.max_preferences or 1, 1, 64),
    }
    if options.idle_timeout is not None and not options.idle_timeout > 0:
        raise InvalidParameterError(f"--idle-timeout must be above 0, got {options.idle_timeout}")
    for flag, (value, low, high) in limits.items():
        if not isinstance(value, int) or not low <= value <= high:
            raise InvalidParameterError(
                f"{flag} must be a whole number from {low} to {high}, got {value}"
            )


def _defaults(options: ServeOptions) -> Defaults:
    """What holds for requests that say nothing, checked.

    Raises:
        AmuletError: they can't be used.
    """
    from amulet_local.preferences.preference import resolve
    from amulet_local.preferences.user_settings import UserModelSettings
    from amulet_local.server.fields import chat_fields
    from amulet_local.server.served_model import Defaults
    from amulet_local.steering.presets import preset_named

    for text in (*(options.preference or ()), *(options.avoid or ())):
        check_text("--preference", text)
    resolve(options.preference or None, avoid=options.avoid or None)
    fields = given(
        preference=options.preference or None,
        avoid=options.avoid or None,
        preset=None if options.preset is None else preset_named(options.preset).name,
        **read(AmuletParams.options, options.strength),
        **_sampling(options),
        verbose=True if "verbose" in options.runtime else None,
    )
    chat_fields(fields).arguments(None, UserModelSettings())
    named = {"n_predict": "max_tokens"}
    sources = {name: options.sources.get(named.get(name, name), "flag") for name in fields}
    return Defaults(fields=fields, sources=sources)


def _sampling(options: ServeOptions) -> dict[str, Any]:
    """Fields of the sampling that were given; the length under llama-server's name, which yields
    to OpenAI's."""
    from amulet_local.server.client_fields import REASONING_FORMATS

    given = read(SamplingParams.options, options.sampling)
    if "reasoning_format" in given:
        name = given["reasoning_format"]
        given["reasoning_format"] = REASONING_FORMATS.get(name, name)
    if "max_tokens" in given:
        given["n_predict"] = given.pop("max_tokens")
    return given


def _with_thinking(runtime: RuntimeParams, when: str) -> RuntimeParams:
    """The runtime with a variable of the chat template for whether to think; as llama-server has
    it, it does where nobody says otherwise.

    Raises:
        InvalidParameterError: `when` is another word.
    """
    when = when.lower()
    if when not in ("on", "off", "auto"):
        raise InvalidParameterError(f"--reasoning must be on, off or auto, got {when!r:.60}")
    thinks = {"enable_thinking": when != "off", **runtime.template_arguments}
    changed: RuntimeParams = runtime.replace(template_arguments=thinks)
    return changed


def _log_requests() -> None:
    """A line a request on stderr."""
    log = logging.getLogger("amulet_local.server")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if os.environ.get("AMULET_DEBUG") else logging.INFO)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        ServeOptions,
        run,
        name="serve",
        help=HELP,
        examples=EXAMPLES,
        cls=LlamaServerCommand,
        models=models_named,
        goes_on=True,
    )
