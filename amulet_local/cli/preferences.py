"""`amulet-local preferences`: what can be given to --preference by name, and names of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from amulet_local.cli.columns import with_remark
from amulet_local.cli.command import add_command, add_group
from amulet_local.cli.flags import json_option
from amulet_local.cli.inputs import check_text, read_preference
from amulet_local.cli.json_format import write_json
from amulet_local.cli.terminal import one_line, stdout_width, write

if TYPE_CHECKING:
    from amulet_local.preferences.preference import Preference

PREFERENCE = "The preference"

HELP = """Preferences with a name: the built-in ones, and your own in a TOML file.

What has a name can be given to --preference and --avoid, in a mix as well."""

LIST_EXAMPLES = """
amulet-local preferences list
amulet-local preferences list --json"""

SHOW_EXAMPLES = """
amulet-local preferences show concise
amulet-local preferences show "in the style of a pirate:0.5\""""

ADD_EXAMPLES = """
amulet-local preferences add teacher "like a patient teacher, with an example"
amulet-local preferences add letters -f how-i-write.txt
amulet-local preferences add rhyme "in rhyme" \\
    --prompt "Write all of the answer {text}."
amulet-local preferences add work --mix formal:0.7 --mix concise:0.5 \\
    --mix teacher --mix sycophantic:-0.5"""

REMOVE_EXAMPLES = """
amulet-local preferences remove teacher"""

IMPORT_EXAMPLES = """
amulet-local preferences import me.toml"""

PATH_EXAMPLES = """
${EDITOR:-nano} "$(amulet-local preferences path)\""""

LONGEST_IN_LIST = 100
"""Characters of a text in the list; `show` has all."""


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Options of `preferences list`."""

    json: Annotated[bool, json_option("The same as one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Options of `preferences show`."""

    preference: Annotated[
        str,
        typer.Argument(
            help="A name, or a text as --preference takes it.",
            metavar="NAME",
            rich_help_panel=PREFERENCE,
        ),
    ]
    json: Annotated[bool, json_option("The same as one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """Options of `preferences add`."""

    name: Annotated[
        str,
        typer.Argument(
            help="Letters, digits, '-' and '_'.", metavar="NAME", rich_help_panel=PREFERENCE
        ),
    ]
    text: Annotated[
        str | None,
        typer.Argument(
            help="What the answer should be like.", metavar="TEXT", rich_help_panel=PREFERENCE
        ),
    ] = None
    file: Annotated[
        str | None,
        typer.Option(
            *("-f", "--file"),
            help="Read the text from FILE.",
            metavar="FILE",
            rich_help_panel=PREFERENCE,
            show_default=False,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="The sentence for the prompt, as it is to be; {text} stands for TEXT. Default: "
            '"Answer ...".',
            metavar="TEMPLATE",
            rich_help_panel=PREFERENCE,
            show_default=False,
        ),
    ] = None
    mix: Annotated[
        list[str] | None,
        typer.Option(
            "--mix",
            help="A part of a mix, with a weight after a colon if it isn't 1. Once for each part.",
            metavar="TEXT",
            rich_help_panel=PREFERENCE,
            show_default=False,
        ),
    ] = None
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what has the name.", rich_help_panel=PREFERENCE),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of `preferences import`."""

    file: Annotated[
        str,
        typer.Argument(
            help="A file as `amulet-local learn` writes it.",
            metavar="FILE",
            rich_help_panel=PREFERENCE,
        ),
    ]
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what has a name.", rich_help_panel=PREFERENCE),
    ] = False


@dataclass(frozen=True, kw_only=True)
class RemoveOptions:
    """Options of `preferences remove`."""

    name: Annotated[
        str,
        typer.Argument(
            help="Of a preference or mix of your own.", metavar="NAME", rich_help_panel=PREFERENCE
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class PathOptions:
    """Options of `preferences path`: none."""


def list_all(options: ListOptions) -> None:
    """Print the built-in preferences and the user's."""
    from amulet_local.preferences.names import BUILT_IN_PREFERENCES
    from amulet_local.preferences.user_settings import read_settings, settings_path

    settings = read_settings()
    models = {
        name: strength for name, model in settings.models.items() if (strength := model.as_written)
    }
    if options.json:
        write_json(
            {
                "built_in": dict(BUILT_IN_PREFERENCES),
                "preferences": dict(settings.preferences),
                "prompts": dict(settings.prompts),
                "mixes": {name: list(members) for name, members in settings.mixes.items()},
                "models": models,
                "path": str(settings_path()),
            }
        )
        return
    mixes = {name: ", ".join(members) for name, members in settings.mixes.items()}
    width = max(map(len, (*BUILT_IN_PREFERENCES, *settings.names)))
    lines = ["Built in:", *_rows(BUILT_IN_PREFERENCES, width), ""]
    if settings.preferences:
        lines += ["Your own:", *_rows(settings.preferences, width), ""]
    if mixes:
        lines += ["Your mixes:", *_rows(mixes, width), ""]
    if models:
        shown = {
            one_line(name): ", ".join(f"{key} {value}" for key, value in strength.items())
            for name, strength in models.items()
        }
        width = max(map(len, shown))
        lines += ["The strength with your models:", *_rows(shown, width), ""]
    if settings.names or models:
        lines.append(f"Yours are in {one_line(settings_path())}")
    else:
        lines.append("None of your own yet; `amulet-local preferences add NAME TEXT` adds one.")
    write("\n".join(lines) + "\n")


def show(options: ShowOptions) -> None:
    """Print a preference, or the parts of a mix, as it goes into the prompt."""
    from amulet_local.preferences.preference import resolve

    wanted = options.preference or ""  # typer makes None of an empty argument
    check_text("NAME", wanted)
    parts = resolve(wanted)
    kind = _kind(wanted)
    if options.json:
        write_json(
            {
                "kind": kind,
                "parts": [
                    {
                        "name": part.name or None,
                        "text": part.text,
                        "weight": part.weight,
                        "instruction": part.instruction,
                    }
                    for part in parts
                ],
            }
        )
        return
    lines = [f"{one_line(wanted)}: {kind}"]
    for part in parts:
        lines += ["", *_described(part)]
    write("\n".join(lines) + "\n")


def _kind(text: str) -> str:
    """What a preference is that can be resolved."""
    from amulet_local.preferences.names import BUILT_IN_PREFERENCES, weighted
    from amulet_local.preferences.user_settings import read_settings

    wanted = weighted(text)
    if not wanted.is_name:
        return "free text"
    if wanted.text.lower() in BUILT_IN_PREFERENCES:
        return "built in"
    settings = read_settings()
    own = settings.own_name(wanted.text)
    if own is None:
        return "free text"
    return "your mix" if own in settings.mixes else "your own"


def _described(part: Preference) -> list[str]:
    lines = [f"text:        {one_line(part.text)}", f"instruction: {one_line(part.instruction)}"]
    if part.name:
        lines.insert(0, f"name:        {part.name}")
    return [*lines, f"weight:      {part.weight:g}"]


def add(options: AddOptions) -> None:
    """Give a text or a mix a name."""
    from amulet_local.preferences.settings_editor import set_mix, set_preference

    name = options.name or ""  # see above
    for text in (name, options.text, options.prompt, *(options.mix or ())):
        check_text("the command line", text)
    if options.mix:
        path = set_mix(name, options.mix, force=options.force)
    else:
        text = read_preference(options.file) if options.file is not None else options.text
        assert text is not None
        path = set_preference(name, text, prompt=options.prompt or "", force=options.force)
    write(f"{name} is in {one_line(path)}\n")


def import_file(options: ImportOptions) -> None:
    """Take over the preferences and mixes of a file."""
    from amulet_local.common import private_files
    from amulet_local.common.errors import SettingsError
    from amulet_local.preferences.settings_editor import merge
    from amulet_local.preferences.user_settings import (
        MAX_FILE_BYTES,
        parse_settings,
        settings_path,
    )

    data = private_files.read(options.file, max_bytes=MAX_FILE_BYTES)
    try:
        other = parse_settings(data)
    except SettingsError as error:
        reason = str(error).removeprefix(f"{settings_path().name}, ")
        raise SettingsError(f"{options.file}, {reason}", line=error.line) from None
    path = merge(other, force=options.force)
    write(f"{one_line(', '.join(other.names))}: in {one_line(path)}\n")


def remove(options: RemoveOptions) -> None:
    """Take a preference or mix out of the user's file."""
    from amulet_local.preferences import settings_editor

    check_text("NAME", options.name)
    path = settings_editor.remove(options.name or "")
    write(f"{options.name} is no longer in {one_line(path)}\n")


def print_path(options: PathOptions) -> None:
    """Print where the user's file is, or would be."""
    from amulet_local.preferences.user_settings import settings_path

    write(f"{settings_path()}\n")


def _rows(texts: Mapping[str, str], width: int) -> list[str]:
    lines = []
    for name, text in texts.items():
        shown = one_line(text)
        if len(shown) > LONGEST_IN_LIST:
            shown = shown[: LONGEST_IN_LIST - 3] + "..."
        lines += with_remark(f"  {name:{width}}  ", shown, stdout_width())
    return lines


def _require_one_content(options: AddOptions) -> None:
    given = [options.text is not None, options.file is not None, bool(options.mix)]
    if sum(given) != 1:
        raise typer.BadParameter("give a TEXT, or -f FILE, or --mix for each part of a mix")
    if options.mix and options.prompt is not None:
        raise typer.BadParameter("--prompt is for a TEXT; the parts of a mix have their own")


def add_to(app: typer.Typer) -> None:
    """Add the command and those below it."""
    examples = "amulet-local preferences" + LIST_EXAMPLES + ADD_EXAMPLES
    group = add_group(app, ListOptions, list_all, name="preferences", help=HELP, examples=examples)
    _add_reading(group)
    _add_changing(group)


def _add_reading(group: typer.Typer) -> None:
    add_command(
        group,
        ListOptions,
        list_all,
        name="list",
        short_help="List the built-in preferences and your own.",
        help="List the built-in preferences and your own.",
        examples=LIST_EXAMPLES,
    )
    add_command(
        group,
        ShowOptions,
        show,
        name="show",
        short_help="What a preference says to the model.",
        help="Show the text of a preference, and the sentence that goes into the prompt.",
        examples=SHOW_EXAMPLES,
    )
    add_command(
        group,
        PathOptions,
        print_path,
        name="path",
        short_help="Where your own are kept.",
        help="Print the path of the file with your settings. It may not exist yet.",
        examples=PATH_EXAMPLES,
        environment=False,
    )


def _add_changing(group: typer.Typer) -> None:
    add_command(
        group,
        AddOptions,
        add,
        check=_require_one_content,
        name="add",
        short_help="Give a preference or a mix a name.",
        help="Give a text or a mix a name of your own, which --preference knows from then on.",
        examples=ADD_EXAMPLES,
        environment=False,
    )
    add_command(
        group,
        ImportOptions,
        import_file,
        name="import",
        short_help="Take over a file that `learn` wrote.",
        help="Take over all preferences and mixes of a file that is written as your own is.",
        examples=IMPORT_EXAMPLES,
        environment=False,
    )
    add_command(
        group,
        RemoveOptions,
        remove,
        name="remove",
        short_help="Remove one of your own.",
        help="Remove a preference or a mix of your own.",
        examples=REMOVE_EXAMPLES,
        environment=False,
    )
