"""The words of single options: panels of the help, types of values, and flags of several commands.

Knows no command.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from amulet_local.cli import completions, values
from amulet_local.params.option import OUTPUT, PREFERENCE, RUNTIME, Option
from amulet_local.params.sampling import SamplingParams
from amulet_local.steering.methods import METHODS

_Value = TypeVar("_Value")

METHOD_NAMES = ", ".join(METHODS)
STEERING_NAMES = ", ".join(
    name for name, method in METHODS.items() if method.needs_plain and method.needs_preference
)
"""Methods, and those of them that move tokens, for help texts."""


def environment_variable(flag: str) -> str:
    """The variable that sets a long flag: --ctx-size -> AMULET_CTX_SIZE."""
    return "AMULET_" + flag.removeprefix("--").upper().replace("-", "_")


def _usage(parser: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """A parser whose complaints are typer's."""

    @functools.wraps(parser)
    def read(text: str) -> _Value:
        try:
            return parser(text)
        except values.UnreadableValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


number = _usage(values.number)
numbers = _usage(values.numbers)
"""As typer wants them: what isn't a number is wrong usage."""


def option(*flags: str, panel: str, help: str, **more: Any) -> Any:
    """An option that has a variable of the environment too."""
    long = next(flag for flag in flags if flag.startswith("--")).split("/")[0]
    return typer.Option(
        *flags,
        help=help,
        rich_help_panel=panel,
        envvar=environment_variable(long),
        show_envvar=False,
        show_default=False,
        **more,
    )


def preference_option(flag: str, *, panel: str, help: str) -> Any:
    """An option of names and texts of preferences, given once for each.

    Its variable is read in command.py: typer would split it at spaces.
    """
    return typer.Option(
        flag,
        autocompletion=completions.preferences,
        help=help,
        metavar="TEXT",
        rich_help_panel=panel,
        show_default=False,
    )


def system_option(*, panel: str, help: str) -> Any:
    """-sys, with what it is for."""
    return option("-sys", "--system", "--system-prompt", panel=panel, metavar="TEXT", help=help)


def preset_option(*, panel: str, help: str) -> Any:
    """--preset, with what it is for."""
    return option(
        "--preset", autocompletion=completions.presets, panel=panel, metavar="NAME", help=help
    )


def profile_option(*, panel: str, help: str) -> Any:
    """--profile, with what it is for."""
    return option(
        "--profile", autocompletion=completions.profiles, panel=panel, metavar="NAME", help=help
    )


def numeric(*flags: str, panel: str, help: str, metavar: str = "N") -> Any:
    """An option that takes a number; whether it is in range is said where it is used."""
    return option(*flags, panel=panel, help=help, metavar=metavar, parser=number)


def length_option(*, panel: str, help: str) -> Any:
    """-n, under all the names that it has where an answer is asked for."""
    flags = SamplingParams.options["max_tokens"].flags.split()
    return numeric(*flags, panel=panel, help=help)


def switch(flag: str, *opposites: str, panel: str, help: str) -> Any:
    """A switch with its opposite: --flag/--no-flag, and other names of that."""
    both = f"{flag}/--no-{flag.removeprefix('--')}"
    return option(both, *(f" /{name}" for name in opposites), panel=panel, help=help)


READ_WHOLE = ("texts", "escaped")
"""Kinds whose variable is read in command.py: typer would split it at spaces."""


def declared(of: Option) -> Any:
    """A field's option as typer takes it."""
    flags = of.flags.split()
    if of.kind == "switch":
        return switch(*flags, panel=of.panel, help=of.help)
    if of.kind in ("flag", "off"):
        return option(*flags, panel=of.panel, help=of.help)
    if of.kind in READ_WHOLE:
        return typer.Option(
            *flags,
            help=of.help,
            metavar=of.metavar,
            rich_help_panel=of.panel,
            show_default=False,
        )
    parser = values.PARSERS.get(of.kind)
    more = {"parser": _usage(parser)} if parser is not None else {}
    return option(*flags, panel=of.panel, help=of.help, metavar=of.metavar, **more)


def json_option(help: str) -> Any:
    """--json, with what it prints."""
    return option("--json", panel=OUTPUT, help=help)


def model_option(help: str) -> Any:
    """-m, with what it is for."""
    return option(
        *("-m", "--model"),
        panel=RUNTIME,
        metavar="MODEL",
        help=help,
        autocompletion=completions.models,
    )


ModelName = Annotated[
    str | None,
    model_option(
        "Path of a GGUF file, or a name that `amulet-local models` lists. Default: smollm2."
    ),
]

MethodName = Annotated[
    str | None,
    option(
        "--method",
        autocompletion=completions.methods,
        panel=PREFERENCE,
        metavar="NAME",
        help=f"One of {METHOD_NAMES}, a preset, or one with its strength, e.g. amulet:scale=2. "
        f"Default: amulet with a preference, base without.",
    ),
]
