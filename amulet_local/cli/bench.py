"""`amulet-local bench`: measure speed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from amulet_local.cli.answering import write_json
from amulet_local.cli.command import add_command
from amulet_local.cli.options import json_option
from amulet_local.cli.terminal import StatusLine, write
from amulet_local.errors import InvalidParameterError

HELP = """Measure speed on this machine.

WHAT is 'kernels': the optimizer alone, one pass over the logits of both prompts, against NumPy
and against the 60 iterations of the published method.

Close other programs first: figures of a busy machine say little."""

EXAMPLES = """
amulet-local bench kernels
amulet-local bench kernels --json"""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of `bench`."""

    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="kernels", rich_help_panel="What to measure", show_default=False
        ),
    ]
    json: Annotated[bool, json_option("The figures as one JSON object.")] = False


def run(options: BenchOptions) -> None:
    """Measure and print."""
    if options.what != "kernels":
        raise InvalidParameterError(f"bench can measure: kernels; not {options.what!r}")
    from amulet_local.benchmark.kernels import (
        VOCABULARY_SIZES,
        kernel_table,
        measure_kernels,
    )

    status = StatusLine(enabled=True)
    rows = []
    for n_vocab in VOCABULARY_SIZES:
        status.show(f"measuring at V = {n_vocab:,}")
        rows.append(measure_kernels(n_vocab))
    status.erase()
    if options.json:
        write_json({"kernels": [asdict(row) for row in rows]})
    else:
        write(kernel_table(rows) + "\n")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        BenchOptions,
        run,
        name="bench",
        short_help="Measure speed on this machine.",
        help=HELP,
        examples=EXAMPLES,
    )
