"""The options that commands which answer share: flags, environment variables, help.

Knows the words of the command line only. Which values are right is the business of params: an
option that isn't given isn't here and gets its default there, and a number out of range is an error
of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import typer

from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import (
    json_option,
    option,
    preference_option,
    preset_option,
    profile_option,
    system_option,
)
from amulet_local.cli.model_options import ModelOptions
from amulet_local.params.amulet import HYPER_PARAMETERS, AmuletParams
from amulet_local.params.option import OUTPUT, PREFERENCE, PROMPT, RUNTIME
from amulet_local.params.sampling import SamplingParams

EXCLUSIVE = (
    (("prompt",), ("prompt_option",)),
    (("preference",), ("preference_file",)),
    (("guidance_scale",), HYPER_PARAMETERS),
    (("chat_template",), ("chat_template_file",), ("raw",)),
    (("grammar",), ("grammar_file",), ("json_schema",), ("json_schema_file",)),
    (("data",), ("data_option",)),
    (("limit",), ("sample",)),
    (
        ("report_only",),
        (
            *("data", "data_option", "methods", "preference", "protocol", "limit", "sample"),
            *("predict", "output", "model"),
        ),
    ),
)
"""Options that exclude each other: at most one alternative of each row may be given."""

TOGETHER = (("prompt", "prompt_option", "file"),)
"""Options that say one thing together: if one is typed, those of the environment don't count."""


SYSTEM_HELP = "System text, instead of a short default; '' leaves it out."

SOURCES = {"sources": True}
"""Metadata of a field that holds where each option came from, if it isn't a default."""


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """Where the question comes from."""

    prompt: Annotated[
        str | None,
        typer.Argument(
            help="The question; '-' reads it from standard input.",
            metavar="PROMPT",
            rich_help_panel=PROMPT,
            show_default=False,
        ),
    ] = None
    prompt_option: Annotated[
        str | None,
        option("-p", "--prompt", panel=PROMPT, metavar="TEXT", help="The same, as a flag."),
    ] = None
    file: Annotated[
        str | None,
        option(
            *("-f", "--file"),
            panel=PROMPT,
            metavar="FILE",
            help="Read the question from FILE or, if there is a PROMPT too, what it is about; '-' "
            "is standard input.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AskingOptions(ModelOptions):
    """How a model is to answer, whatever it is asked."""

    sources: Mapping[str, str] = field(default_factory=dict, metadata=SOURCES)
    system: Annotated[
        str | None,
        system_option(panel=PROMPT, help=SYSTEM_HELP),
    ] = None
    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=PREFERENCE,
            help="What the answer should be like: creative, sycophantic, verbose, complex, "
            "formal, pleasant, concise, uplifting, a name of your own (see `amulet-local "
            "preferences`), or a description in your own words. formal:0.7 has a weight. Give it "
            "again to mix several.",
        ),
    ] = None
    avoid: Annotated[
        list[str] | None,
        preference_option(
            "--avoid",
            panel=PREFERENCE,
            help="What the answer should not be like: as --preference, with the weight negated.",
        ),
    ] = None
    preference_file: Annotated[
        str | None,
        option(
            "--preference-file",
            panel=PREFERENCE,
            metavar="FILE",
            help="Read the description from FILE.",
        ),
    ] = None
    profile: Annotated[
        str | None,
        profile_option(
            panel=PREFERENCE,
            help="What was learned of you is the preference, and the strength, where you give "
            "none: see `amulet-local profile`.",
        ),
    ] = None
    placement: Annotated[
        str | None,
        option(
            "--placement",
            panel=PREFERENCE,
            metavar="WHERE",
            help="The preference goes to the end of the 'system' text or of the 'user' question; "
            "'contrast' also puts a neutral sentence there in the plain prompt. Default: the "
            "preset's.",
        ),
    ] = None
    preset: Annotated[
        str | None,
        preset_option(
            panel=PREFERENCE,
            help="Strength and guards: balanced, strong, or paper (the authors' method exactly). "
            "The flags below change single values of it. Default: balanced.",
        ),
    ] = None
    strength: Given = field(default_factory=dict, metadata=group(AmuletParams.options))
    sampling: Given = field(default_factory=dict, metadata=group(SamplingParams.options))


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(AskingOptions, PromptOptions):
    """What all commands that answer a question have in common."""


@dataclass(frozen=True, kw_only=True)
class QuestionOptions(AnswerOptions):
    """What `generate`, `compare` and `explain` have in common: one question, and an end."""

    prompt_cache: Annotated[
        str | None,
        option(
            "--prompt-cache",
            panel=RUNTIME,
            metavar="NAME",
            help="Keep the computed prompt under NAME, and start from it the next time.",
        ),
    ] = None
    raw: Annotated[
        bool | None,
        option(
            "--raw",
            panel=PROMPT,
            help="The model goes on with the text as it is: no chat template, no system text. For "
            "base models; a preference is a paragraph before it.",
        ),
    ] = None
    response_prefix: Annotated[
        str | None,
        option(
            "--response-prefix",
            panel=PROMPT,
            metavar="TEXT",
            help="What the answer begins with; the model goes on from there.",
        ),
    ] = None
    json: Annotated[
        bool, json_option("One JSON object with text, token ids, timings; nothing streams.")
    ] = False
    stats: Annotated[
        bool,
        option("--stats", panel=OUTPUT, help="A line of figures, even if stderr is no terminal."),
    ] = False
