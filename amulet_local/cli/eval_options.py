"""The options of `eval`: flags, environment variables, help.

Knows the words of the command line only; which values are right is said where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import (
    METHOD_NAMES,
    json_option,
    length_option,
    model_option,
    number,
    option,
    preference_option,
    preset_option,
)
from amulet_local.params.option import some_of, with_help
from amulet_local.params.runtime import RuntimeParams

WHAT = "What to compare"
SCORES = "How to score"
RUN = "The run"


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Options of `eval`."""

    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Files of questions: a JSON list, JSON lines, or CSV. Default: 12 questions of "
            "this package.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None
    data_option: Annotated[
        list[str] | None,
        typer.Option("--data", hidden=True),  # AMULET_DATA is a folder's variable
    ] = None
    methods: Annotated[
        str | None,
        option(
            *("--methods", "--method"),
            panel=WHAT,
            metavar="NAMES",
            help=f"Which methods: {METHOD_NAMES}, with a preset or strength after a colon as in "
            f"amulet:strong or amulet:scale=2.5. Default: base,pref,linear_alignment,"
            f"amulet:paper,amulet:balanced.",
        ),
    ] = None
    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=WHAT,
            help="A name or a text; give it again for more, each is evaluated by itself; all for "
            "the eight built-in ones. Default: creative and concise.",
        ),
    ] = None
    preset: Annotated[
        str | None,
        preset_option(
            panel=WHAT,
            help="Strength of methods that take one and name none. Default: balanced.",
        ),
    ] = None
    protocol: Annotated[
        str | None,
        option(
            "--protocol",
            panel=WHAT,
            metavar="NAME",
            help="paper: the Amulet paper's methods, preferences and length; with its prompts in "
            "--prompts.",
        ),
    ] = None
    prompts: Annotated[
        str | None,
        option(
            "--prompts",
            panel=WHAT,
            metavar="FILE",
            help='JSON with a "system" text and "preferences" by name, each as it is to stand in '
            "the prompt.",
        ),
    ] = None
    limit: Annotated[
        Any,
        option(
            "--limit",
            panel=WHAT,
            metavar="N",
            parser=number,
            help="The first N questions of each file.",
        ),
    ] = None
    sample: Annotated[
        Any,
        option(
            "--sample",
            panel=WHAT,
            metavar="N",
            parser=number,
            help="N questions of each file, drawn at random.",
        ),
    ] = None
    seed: Annotated[
        Any,
        option(
            *("-s", "--seed"),
            panel=WHAT,
            metavar="N",
            parser=number,
            help="Of that draw. Default: 1.",
        ),
    ] = None
    predict: Annotated[
        Any,
        length_option(panel=WHAT, help="Most tokens of an answer. Default: 64."),
    ] = None
    scorers: Annotated[
        str | None,
        option(
            "--scorers",
            panel=SCORES,
            metavar="NAMES",
            help="Which scores; --scorers list shows all. Default: margin,fluency,tokens,"
            "repetition,broken.",
        ),
    ] = None
    embedding_model: Annotated[
        str | None,
        option(
            "--embedding-model",
            panel=SCORES,
            metavar="FILE",
            help="A GGUF that embeds text, for similarity.",
        ),
    ] = None
    armorm: Annotated[
        str | None,
        option(
            "--armorm",
            panel=SCORES,
            metavar="FILE",
            help="The GGUF of scripts/convert_armorm, for armorm scores.",
        ),
    ] = None
    judge: Annotated[
        str | None,
        option(
            "--judge",
            panel=SCORES,
            metavar="MODEL",
            help="A GGUF, or a model's name at --judge-url, that rates each answer and compares "
            "it with the preference prompt's.",
        ),
    ] = None
    judge_url: Annotated[
        str | None,
        option(
            "--judge-url",
            panel=SCORES,
            metavar="URL",
            help="An OpenAI-compatible endpoint, like http://127.0.0.1:8080/v1.",
        ),
    ] = None
    judge_key_env: Annotated[
        str | None,
        option(
            "--judge-key-env",
            panel=SCORES,
            metavar="NAME",
            help="The environment variable that holds its key.",
        ),
    ] = None
    judge_prompt: Annotated[
        str | None,
        option(
            "--judge-prompt",
            panel=SCORES,
            metavar="FILE",
            help="The judge's prompts, instead of the package's own.",
        ),
    ] = None
    output: Annotated[
        str | None,
        option(
            *("-o", "--output"),
            panel=RUN,
            metavar="DIR",
            help="Where runs are kept; the same command goes on with its run. Default: "
            "amulet-eval.",
        ),
    ] = None
    report_only: Annotated[
        str | None,
        option(
            "--report-only",
            panel=RUN,
            metavar="DIR",
            help="Make no answers: score and report the run in DIR, of several the last.",
        ),
    ] = None
    model: Annotated[
        str | None,
        model_option("Path of a GGUF file, or a name; several with commas. Default: smollm2."),
    ] = None
    runtime: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                some_of(
                    RuntimeParams.options,
                    *("n_ctx", "n_threads", "n_gpu_layers", "flash_attention", "lora"),
                    *("control_vectors", "control_vector_layers", "adapters_on"),
                    *("chat_template", "template_arguments"),
                ),
                n_ctx="Context of a row, in tokens. Default: 2048.",
            )
        ),
    )
    json: Annotated[bool, json_option("Where the report is and its main figures, as JSON.")] = False


def check(options: EvalOptions) -> None:
    """Refuse options that exclude each other.

    Raises:
        typer.BadParameter: see above.
    """
    if options.protocol not in (None, "paper"):
        raise typer.BadParameter(f"--protocol is paper, not {options.protocol!r}")
    if options.judge is None and (
        options.judge_url or options.judge_key_env or options.judge_prompt
    ):
        raise typer.BadParameter("--judge-... are for a judge: name its model with --judge")
