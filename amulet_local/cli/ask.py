"""`amulet-local ask`: one question to a model that another process has loaded.

Declares its options; quick_ask.py reads the usual ones of them without this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from amulet_local.cli.asking import ask, check_is_no_question
from amulet_local.cli.command import add_command
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import (
    json_option,
    option,
    preference_option,
    preset_option,
    system_option,
)
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import require_question
from amulet_local.cli.options import PromptOptions
from amulet_local.common.errors import InvalidParameterError
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
amulet-local ask amulet.sock "How do I sleep better?"
amulet-local ask http://127.0.0.1:8080 "What is yeast?" --preference concise
uptime | amulet-local ask amulet.sock - --system "Is it busy? Yes or no."
amulet-local ask amulet.sock "Name a river." --preference formal --json"""


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
    strength = read(AmuletParams.options, options.strength)
    ask(options, {**strength, **read(SamplingParams.options, options.sampling)})


def _check(options: AskOptions) -> None:
    """Say what is missing before anything is asked.

    Raises:
        typer.BadParameter: the question is in the server's place, or there is none.
    """
    try:
        check_is_no_question(options.socket)
    except InvalidParameterError as error:
        raise typer.BadParameter(str(error)) from None
    require_question(options)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        AskOptions,
        run,
        check=_check,
        name="ask",
        help=HELP,
        examples=EXAMPLES,
    )
