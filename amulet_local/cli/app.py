"""The command line: what commands there are.

Knows nothing about what they do; their modules load the engine when they run, so that help comes
at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from amulet_local.cli import (
    bench,
    chat,
    compare,
    doctor,
    eval,
    explain,
    generate,
    learn,
    models,
    preferences,
    serve,
    tune,
)
from amulet_local.cli.terminal import write
from amulet_local.cli.version import package_version

app = typer.Typer(
    name="amulet-local",
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


for command in (
    *(generate, chat, compare, explain, serve, tune, learn, eval),
    *(preferences, models, doctor, bench),
):
    command.add_to(app)
