"""The options of `profile` and the commands below it: flags, arguments, help.

Knows the words of the command line only; what is done with them is in profile.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from amulet_local.cli import completions
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import ModelName, json_option, preference_option
from amulet_local.params.option import some_of
from amulet_local.params.runtime import RuntimeParams

WHICH = "The profile"

NAME = typer.Argument(
    help="Of the profile: letters, digits, '-' and '_'.",
    metavar="NAME",
    rich_help_panel=WHICH,
    autocompletion=completions.profiles,
)


@dataclass(frozen=True, kw_only=True)
class ProfileListOptions:
    """Options of `profile list`."""

    json: Annotated[bool, json_option("The same as one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """Options of what takes a profile and nothing else."""

    name: Annotated[str, NAME]


@dataclass(frozen=True, kw_only=True)
class CreateOptions(ProfileOptions):
    """Options of `profile create`."""

    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=WHICH,
            help="What is learned about: a name or a description, once for each, at most 16. "
            "Default: the eight built-in preferences.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ProfileShowOptions(ProfileOptions):
    """Options of `profile show`."""

    json: Annotated[bool, json_option("The same as one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class ProfileImportOptions(ProfileOptions):
    """Options of `profile import`."""

    file: Annotated[
        str,
        typer.Argument(
            help="A file as `amulet-local profile export` writes it.",
            metavar="FILE",
            rich_help_panel=WHICH,
        ),
    ]
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace the profile, if there is one.", rich_help_panel=WHICH
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class RememberOptions(ProfileOptions):
    """Options of `profile remember`."""

    text: Annotated[
        str,
        typer.Argument(
            help="Something about you, in words that your questions have too.",
            metavar="TEXT",
            rich_help_panel=WHICH,
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class ProfileLearnOptions(ProfileOptions):
    """Options of `profile learn`."""

    liked: Annotated[
        str,
        typer.Argument(
            help="Texts as `amulet-local learn` takes them, JSON Lines; see --from.",
            metavar="LIKED",
            rich_help_panel=WHICH,
        ),
    ]
    form: Annotated[
        str,
        typer.Option(
            "--from",
            help="What LIKED is: own, open-webui (the feedback that its administrators export) or "
            "llm (`llm logs path`; it has no ratings, so each answer is shown and asked about).",
            metavar="FORM",
            rich_help_panel=WHICH,
        ),
    ] = "own"
    last: Annotated[
        int,
        typer.Option(
            "--last",
            help="Of llm's log, how many of the last answers.",
            metavar="N",
            min=1,
            rich_help_panel=WHICH,
        ),
    ] = 5
    model: ModelName = None
    runtime: Given = field(
        default_factory=dict,
        metadata=group(
            some_of(
                RuntimeParams.options,
                *("n_ctx", "n_threads", "n_threads_batch", "n_gpu_layers"),
                *("chat_template", "template_arguments", "verbose"),
            )
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ForgetOptions(ProfileOptions):
    """Options of `profile forget`."""

    items: Annotated[
        list[str] | None,
        typer.Argument(
            help="Numbers as `amulet-local profile history` shows them: p1, e1, f1.",
            metavar="[ITEM]...",
            rich_help_panel=WHICH,
        ),
    ] = None
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            help="Everything that has this text in it.",
            metavar="TEXT",
            rich_help_panel=WHICH,
            show_default=False,
        ),
    ] = None


def require_text(options: RememberOptions) -> None:
    """Refuse a blank fact.

    Raises:
        typer.BadParameter: it is one.
    """
    if not (options.text or "").strip():
        raise typer.BadParameter("say what is to be remembered")


def require_something(options: ForgetOptions) -> None:
    """Refuse no entries, and entries named in two ways.

    Raises:
        typer.BadParameter: it is one of both.
    """
    if bool(options.items) == (options.text is not None):
        raise typer.BadParameter("say what is to be forgotten: its numbers, or --text TEXT")
