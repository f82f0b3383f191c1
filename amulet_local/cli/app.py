"""The command line: what commands there are.

Knows nothing about what they do: a command's module is imported when it is asked for, so that help
comes at once.
"""

from __future__ import annotations

import difflib
import shlex
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from amulet_local.cli.meant import MEANT, NEEDLESS, near_flags
from amulet_local.cli.terminal import note, noted, write
from amulet_local.common.version import package_version
from amulet_local.params.choices import as_known

COMMANDS = {
    "generate": "Answer one question, following a preference.",
    "chat": "Talk with a model; the preference may change at any time.",
    "compare": "Answers of several methods to one question.",
    "explain": "One answer, and what moved each of its tokens.",
    "batch": "Answer every line of a file; can be stopped and gone on with.",
    "serve": "Serve the model: OpenAI's API, with preferences.",
    "ask": "Ask a model that `serve` has loaded.",
    "tune": "Find the strength that suits your model, and keep it.",
    "learn": "Learn a mix of preferences from texts you like.",
    "eval": "Compare methods on your model, with scores and a report.",
    "models": "List models; show, pull, verify, quantize and remove one.",
    "doctor": "Check the installation and this machine.",
    "bench": "Measure speed and memory on this machine.",
    "preferences": "List, show, add, import and remove preferences.",
    "profile": "What was learned of you: show, change, forget it.",
}
"""Modules beside this one, and what the help says of their commands, in its order."""


ANSWERS = {
    "run": '`amulet-local run MODEL` talks with it, `amulet-local run MODEL "question"` answers; '
    "`amulet-local models` lists what is on this machine, `amulet-local chat --help` the flags",
    **dict.fromkeys(
        ("cli", "llama-cli"),
        "to talk with a model: amulet-local chat -m MODEL; for one answer: "
        'amulet-local generate -m MODEL "question"',
    ),
    **dict.fromkeys(
        ("ps", "stop"),
        "no program runs in the background. A server is `amulet-local serve`, in the foreground; "
        "its GET /metrics says what it does, Ctrl-C ends it",
    ),
    **dict.fromkeys(
        ("show", "info", "inspect"),
        "`amulet-local models show MODEL` says what a model is, `amulet-local preferences show "
        "NAME` what a preference is",
    ),
    **dict.fromkeys(
        ("complete", "completion"),
        "`amulet-local generate --raw TEXT` goes on with a text; `amulet-local "
        "--install-completion` has the shell complete commands",
    ),
    **dict.fromkeys(
        ("rm", "cp", "push", "create"),
        "models are files that you keep yourself: `amulet-local models` says where they are, "
        "`amulet-local models remove MODEL` deletes one; a "
        "system text is --system, settings of a model stand in the settings file",
    ),
    **dict.fromkeys(
        ("quantize", "llama-quantize"),
        "`amulet-local models quantize MODEL TYPE` writes a model in another type",
    ),
    **dict.fromkeys(
        ("embed", "embedding", "llama-embedding", "tokenize", "llama-tokenize"),
        "a server does it: `amulet-local serve --embedding` at POST /v1/embeddings, "
        "`amulet-local serve` at POST /tokenize",
    ),
    "llama-bench": "`amulet-local bench` measures",
    "verify": "`amulet-local models verify MODEL` says whether a model's file is whole",
    "approve": "`amulet-local models approve FILE` says that you trust a file",
    "remove": "`amulet-local models remove MODEL` deletes a model's file, `amulet-local "
    "preferences remove NAME` a preference",
    **dict.fromkeys(
        ("server", "llama-server", "start"),
        "the server is `amulet-local serve`",
    ),
    **dict.fromkeys(
        ("web", "webui", "ui", "gui"),
        "`amulet-local serve` has a page, at http://127.0.0.1:8080",
    ),
}
"""Commands of other programs -> the one that does it here."""


VERBS = (
    *("show", "create", "push", "start", "stop", "verify", "approve", "remove"),
    *("inspect", "complete"),
)
"""Of these what a question may begin with: "create a poem"."""

ALSO = ("help", "list", "ls", "pull", "download", "run")
"""Words of other programs that are understood."""

TYPED = "amulet_local.typed"
"""Key of a context's meta: which of these words stood where a command is."""


def in_own_words(args: list[str]) -> list[str]:
    """Arguments that another program would understand, as this one does.

    `run MODEL`, or a model's file alone, is a chat; `run MODEL QUESTION`, or a question alone, one
    answer, also without quotes; `list` lists models, `pull` downloads one; `help COMMAND` is its
    help.
    """
    first, *others = args
    if first == "help":
        return [*others[:1], "--help"]
    if first in ("list", "ls"):
        return ["models", *others]
    if first in ("pull", "download"):
        return ["models", "pull", *others]
    if first == "run" and others and not others[0].startswith("-"):
        model, *rest = others
        asks = (rest and not rest[0].startswith("-")) or not sys.stdin.isatty()
        return ["generate" if asks else "chat", *rest, "-m", model]
    if first.lower().endswith(".gguf") and first not in COMMANDS:
        return ["chat", *others, "-m", first]
    if len(first.split()) > 1 or _is_question(args):
        return ["generate", *args]
    return args


def _is_question(args: list[str]) -> bool:
    """Whether a question without quotes was asked: words, more than a misspelt command takes."""
    n_words = _n_words(args)
    if args[0] in VERBS:
        return n_words > 2 and not any(word.endswith(".gguf") for word in args)
    if args[0] in (*COMMANDS, *ANSWERS) or _meant(args):
        return False
    return n_words > 2 or args[:n_words][-1].endswith("?")


def _n_words(args: list[str]) -> int:
    return next((i for i, word in enumerate(args) if word.startswith("-")), len(args))


def _meant(args: list[str]) -> str | None:
    """The command that a first word is near, or begins; before many words it has to be nearer."""
    word, are_few = args[0].lower(), _n_words(args) < 3
    begun = [name for name in COMMANDS if name.startswith(word)]
    if are_few and len(begun) == 1:
        return begun[0]
    close = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.6 if are_few else 0.8)
    return close[0] if close else None


def unknown(args: list[str]) -> str:
    """What to say of arguments whose first word is no command."""
    text = args[0]
    if meant := _meant(args):
        return f"there is no command {text!r:.60}; did you mean {meant!r}?"
    asked = shlex.quote(" ".join(args[: _n_words(args)]))
    return (
        f"there is no command {text!r:.60}. To ask: amulet-local generate {asked:.80}; "
        f"to talk: amulet-local chat. `amulet-local --help` lists the commands."
    )


OWN_FLAGS = ("-h", "--help", "--version", "--install-completion", "--show-completion")


def without_a_command(args: list[str]) -> list[str]:
    """Arguments that begin with a flag of a command, or with one that is like it, after the command
    that they are for: an answer where there is a question, else a chat."""
    flag = args[0].partition("=")[0].replace("_", "-")
    if args in (["-v"], ["-V"], ["version"]):
        return ["--version"]
    if not flag.startswith("-") or flag in OWN_FLAGS:
        return args
    from amulet_local.cli.llama_server_flags import asks_for_a_chat, is_others_flag

    generate = command_named("generate")
    if all(flag not in param.opts for param in generate.params) and not is_others_flag(flag):
        return ["generate", *args] if _is_near(flag, generate) else args
    if asks_for_a_chat(args):
        return ["chat", *args]
    try:
        given = generate.make_context("generate", list(args), resilient_parsing=True).params
    except typer.BadParameter:
        return ["generate", *args]  # which says what is wrong
    asks = any(given.get(name) for name in ("prompt", "prompt_option", "file"))
    return ["generate" if asks or not sys.stdin.isatty() else "chat", *args]


def _is_near(flag: str, command: Any) -> bool:
    """Whether a command, and no other, can say what is meant by a flag that isn't there."""
    near = near_flags(flag, [*OWN_FLAGS, *_long_flags(command)])
    is_its = bool(near) and near[0] not in OWN_FLAGS
    return flag in MEANT or flag in NEEDLESS or (is_its and not _having(flag))


def _having(flag: str) -> str:
    """What to say of a flag that another command has, or that is one; empty for another."""
    if flag.lstrip("-") in COMMANDS:
        return f"it is a command: `amulet-local {flag.lstrip('-')}`"
    names = [name for name in COMMANDS if flag in _long_flags(command_named(name))]
    return f"it is a flag of `amulet-local {'`, `'.join(names)}`" if names else ""


def _long_flags(command: Any) -> list[str]:
    flags = [flag for param in command.params for flag in (*param.opts, *param.secondary_opts)]
    return [flag for flag in flags if flag.startswith("--")]


_UsageError: Any = typer.BadParameter.__base__
"""click's, or what newer typers have of it."""


def _said(error: Any) -> str:
    """What is wrong with a command line; a flag that is not there is another's, or like one."""
    if error.ctx is not None and hasattr(error, "possibilities"):
        flag = error.option_name
        if having := _having(flag):
            return f"No such option: {flag}; {having}"
        error.possibilities = near_flags(flag, _long_flags(error.ctx.command))
    message: str = error.format_message()
    return message


class Commands(TyperGroup):
    """Commands that are names until one of them is asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the flags before the command.

        Raises:
            typer.BadParameter: one of them isn't there.
        """
        if not args:
            return list(super().parse_args(ctx, args))  # the help, which is no error's words
        try:
            rest: list[str] = super().parse_args(ctx, without_a_command(args))
        except _UsageError as error:
            raise _UsageError(_said(error), error.ctx) from None
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; on a terminal the line that says what is wrong with its command line
        breaks between words.

        Raises:
            typer.BadParameter: something is wrong with it.
        """
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            where = error.ctx
            message = _said(error)
            if typed := ctx.meta.get(TYPED):
                command = where.command_path
                message = (
                    f"{message.rstrip('.')}; `{ctx.info_name} {typed}` is `{command}` here, and "
                    f"`{command} --help` lists its flags"
                )
                where = None  # no usage of a command that wasn't typed
            said = noted(f"Error: {message}").removeprefix("Error: ")
            raise _UsageError(said, where) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that the arguments begin with, and the other arguments."""
        typed = as_known(args[0], (*COMMANDS, *ANSWERS, *ALSO))
        args = in_own_words([typed, *args[1:]])
        if typed in ALSO and typed != "help":
            ctx.meta[TYPED] = typed
        if args[0] not in COMMANDS and args[0] in ANSWERS:
            called = f"`amulet-local {args[0]}`"
            wrong = f"{called} needs a model" if args[0] in ALSO else f"there is no {called}"
            note(f"Error: {wrong}: {ANSWERS[args[0]]}.")
            raise typer.Exit(2)
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            note(f"Error: {unknown(args)}")
            raise typer.Exit(2)
        name, command, others = super().resolve_command(ctx, args)
        return name, command and command_named(args[0]), others


def command_named(name: str) -> Any:
    """The command with its options."""
    alone = typer.Typer(rich_markup_mode=None)
    import_module(f"amulet_local.cli.{name}").add_to(alone)
    return typer.main.get_group(alone).commands[name]


app = typer.Typer(
    name="amulet-local",
    cls=Commands,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        write(f"amulet-local {package_version()}\n")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Make a GGUF model's answer follow your own preference while it decodes.

    No training and no network: llama.cpp asks the model for every token twice, with and without
    your preference, and this program strengthens the difference. Start with

        amulet-local generate "How do I sleep better?" --preference concise
    """


def _name() -> None:
    """Stands for a command that is imported later."""


for name, short_help in COMMANDS.items():
    app.command(name, short_help=short_help)(_name)
