"""The options of `tune`: flags, environment variables, help.

Knows the words of the command line only; which values are right is said where they are used.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import (
    json_option,
    length_option,
    model_option,
    numbers,
    option,
    preference_option,
)
from amulet_local.params.choices import as_known
from amulet_local.params.option import OUTPUT, some_of
from amulet_local.params.runtime import RuntimeParams

WHAT = "What to measure"
KEPT = "What to recommend and keep"

SWEEPS = ("scale", "target", "kl")

FEWEST_QUESTIONS = 5
"""Of whose answers a recommendation is kept without being told to."""


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Options of `tune`."""

    question: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION",
            help="Questions like yours, each in quotes. Default: 12 of different kinds.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None
    questions: Annotated[
        str | None,
        option(
            "--questions",
            panel=WHAT,
            metavar="FILE",
            help='Read them from FILE: a line each, JSON (a list or lines) with "question", or a '
            "table (.csv) with such a column.",
        ),
    ] = None
    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=WHAT,
            help="A name or a text; give it again for more, each is measured by itself. "
            "Default: creative and concise.",
        ),
    ] = None
    check: Annotated[
        str | None,
        option(
            "--check",
            panel=WHAT,
            metavar="CHECK",
            help="Whether an answer follows the preference: regex:PATTERN, if it is found in it; "
            "python:FILE, by follows(question, answer) in it, which returns True, False or, where "
            "it can't tell, None (FILE is run as it is: it is your own program); bank:NAME, as for "
            "a preference of scripts/study_adherence, e.g. bank:lower-case. Default: a rule, for "
            "preferences that have one.",
        ),
    ] = None
    judge: Annotated[
        str | None,
        option(
            "--judge",
            panel=WHAT,
            metavar="MODEL",
            help="A GGUF file, or a name: where there is neither a check nor a rule, this model "
            "compares each strength's answers with the preference prompt's, in both orders. It is "
            "asked about pairs of known answer first, and left out if it does no better than a "
            "coin. It has to be a large one.",
        ),
    ] = None
    sweep: Annotated[
        str | None,
        option(
            "--sweep",
            panel=WHAT,
            metavar="WHAT",
            help="scale: guidance scales; target: what the presets do, a scale that is moved until "
            "the answer is on average so many nats a token from the prompt's; kl: KL budgets, "
            "which lower the paper's scale token by token. Default: scale.",
        ),
    ] = None
    values: Annotated[
        Any,
        option(
            "--values",
            panel=WHAT,
            metavar="X,X,...",
            parser=numbers,
            help="Which. Default: scales 1.25 to 4, targets 0.03 to 0.3, or budgets 0.1 to 1.2.",
        ),
    ] = None
    predict: Annotated[
        int | None,
        length_option(panel=WHAT, help="Most tokens of an answer. Default: 64."),
    ] = None
    max_broken: Annotated[
        float | None,
        option(
            "--max-broken",
            panel=KEPT,
            metavar="PERCENT",
            help="Broken answers that are put up with, rounded down to whole answers. Default: 2, "
            "which is none of fewer than 50.",
        ),
    ] = None
    keep: Annotated[
        bool,
        option(
            "--keep",
            panel=KEPT,
            help=f"Keep what fewer than {FEWEST_QUESTIONS} questions recommend, too.",
        ),
    ] = False
    dry_run: Annotated[
        bool, option("--dry-run", panel=KEPT, help="Recommend only; write nothing.")
    ] = False
    reset: Annotated[
        bool,
        option(
            "--reset",
            panel=KEPT,
            help="Measure nothing: take out what is kept for the model.",
        ),
    ] = False
    model: Annotated[
        str | None, model_option("Path of a GGUF file, or a name. Default: smollm2.")
    ] = None
    runtime: Given = field(
        default_factory=dict,
        metadata=group(
            some_of(
                RuntimeParams.options,
                *("n_threads", "n_gpu_layers", "flash_attention", "lora", "control_vectors"),
                *("control_vector_layers", "chat_template", "template_arguments"),
            )
        ),
    )
    json: Annotated[bool, json_option("Everything as one JSON object.")] = False
    plot: Annotated[
        str | None,
        option("--plot", panel=OUTPUT, metavar="FILE", help="Draw the plot into FILE.png too."),
    ] = None


def check(options: TuneOptions) -> None:
    """Refuse options that exclude each other.

    Raises:
        typer.BadParameter: see above.
    """
    if options.question and options.questions is not None:
        raise typer.BadParameter("give only one of QUESTION, --questions")
    asked = options.question or []
    if len(asked) > 1 and all(text and " " not in text for text in asked):
        raise typer.BadParameter(
            f"each question is in quotes, e.g. {shlex.quote(' '.join(asked)):.80}"
        )
    others = {
        "QUESTION": options.question,
        "--questions": options.questions,
        "--values": options.values,
        "--check": options.check,
        "--judge": options.judge,
        "--keep": options.keep,
        "--dry-run": options.dry_run,
        "--plot": options.plot,
    }
    if options.reset and (given := [name for name, value in others.items() if value]):
        raise typer.BadParameter(f"--reset measures nothing; leave out {', '.join(given)}")
    if options.keep and options.dry_run:
        raise typer.BadParameter("--keep and --dry-run exclude each other; leave one out")
    if as_known(options.sweep, SWEEPS) not in (None, *SWEEPS):
        raise typer.BadParameter(f"--sweep is {', '.join(SWEEPS)}, not {options.sweep!r}")
