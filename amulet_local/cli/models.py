"""`amulet-local models`: what can be given to -m, listed and kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from amulet_local.cli.columns import with_remark, wrap
from amulet_local.cli.command import add_command, add_group
from amulet_local.cli.flags import json_option
from amulet_local.cli.json_format import write_json
from amulet_local.cli.model_actions import add_actions
from amulet_local.cli.model_listing import (
    ModelListing,
    from_catalogue,
    inspected,
    of_other_programs,
    size_in_words,
)
from amulet_local.cli.terminal import one_line, stdout_width, write

HELP = """List the models that have a name, or do something with one.

Any GGUF file that generates text can be used: give its path with -m, or put it into ./models,
~/models or a folder that AMULET_MODELS names to give just its name. What llama.cpp, Ollama, LM
Studio, Jan, GPT4All and Hugging Face have downloaded has the name that it has there."""

LIST_EXAMPLES = """
amulet-local models list
amulet-local models list --json"""

EXAMPLES = """
amulet-local models
amulet-local models show smollm2
amulet-local models quantize model-F16.gguf Q4_K_M
AMULET_MODELS=~/gguf:/data/models amulet-local models --json"""


@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """Options of `models`."""

    json: Annotated[bool, json_option("The same as one JSON object.")] = False


def run(options: ModelsOptions) -> None:
    """Print the list."""
    from amulet_local.loading import model_store
    from amulet_local.loading.other_programs import PROGRAMS

    entries = model_store.catalogue().values()
    catalogue = [from_catalogue(entry) for entry in entries]
    files = [inspected(path.stem, path) for path in model_store.local_models()]
    others = of_other_programs()
    folders = [str(folder) for folder in model_store.model_folders()]
    if options.json:
        write_json(
            {
                "catalogue": [asdict(item) for item in catalogue],
                "files": [asdict(item) for item in files],
                "others": [asdict(item) for item in others],
                "folders": folders,
            }
        )
        return
    pullable = {entry.name for entry in entries if entry.repository and entry.path() is None}
    lines = ["In the catalogue:", *_table([i for i in catalogue if i.name not in pullable]), ""]
    if pullable:
        away = [replace(i, kind=i.licence, problem=None) for i in catalogue if i.name in pullable]
        lines += ["To download, with `amulet-local pull NAME`:", *_table(away), ""]
    for folder in folders:
        inside = [item for item in files if Path(item.path or "").is_relative_to(folder)]
        lines += [f"In {one_line(folder)}:", *(_table(inside) or ["  no GGUF files"]), ""]
    for program in dict.fromkeys(item.program for item in others):
        lines += [f"Of {program}:", *_table([i for i in others if i.program == program]), ""]
    lines += wrap(
        "Give a name or the path of any GGUF file with -m. Files in ./models, ~/models and the "
        "folders that AMULET_MODELS names are found by name, and so is what "
        f"{PROGRAMS} have downloaded.",
        stdout_width() or 82,
    )
    write("\n".join(lines) + "\n")


def _table(items: list[ModelListing]) -> list[str]:
    rows = [(one_line(item.name), size_in_words(item.size_bytes), item.kind) for item in items]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = []
    for row, item in zip(rows, items, strict=True):
        cells = f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:{widths[2]}}"
        remark = item.problem or item.description
        lines += with_remark(f"  {cells}  ", one_line(remark), stdout_width())
    return lines


def add_to(app: typer.Typer) -> None:
    """Add the command, which lists, and those below it."""
    group = add_group(app, ModelsOptions, run, name="models", help=HELP, examples=EXAMPLES)
    add_command(
        group,
        ModelsOptions,
        run,
        name="list",
        short_help="List the models that have a name.",
        help="List the models that have a name.",
        examples=LIST_EXAMPLES,
        environment=False,
    )
    add_actions(group)
