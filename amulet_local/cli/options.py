"""The options that commands which answer share: flags, environment variables, help.

Knows the words of the command line only. Which values are right is params/'s business: an option
that isn't given is None here and gets its default there, and a number out of range is an error of
the request. Help texts repeat the defaults; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from amulet_local.cli import completions
from amulet_local.cli.flags import (
    GUARDS,
    OUTPUT,
    PREFERENCE,
    PROMPT,
    RUNTIME,
    SAMPLING,
    json_option,
    numeric,
    option,
    switch,
    token_bias,
)
from amulet_local.cli.model_options import ModelOptions

EXCLUSIVE = (
    (("prompt",), ("prompt_option",), ("file",)),
    (("preference",), ("preference_file",)),
    (("guidance_scale",), ("alpha", "lambda_", "eta", "iterations")),
    (("chat_template",), ("chat_template_file",)),
    (("grammar",), ("grammar_file",), ("json_schema",), ("json_schema_file",)),
)
"""Options that set the same thing: at most one alternative of each row may be given."""


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(ModelOptions):
    """What all commands that answer have in common."""

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
        option("-f", "--file", panel=PROMPT, metavar="FILE", help="Read the question from FILE."),
    ] = None
    system: Annotated[
        str | None,
        option(
            *("-sys", "--system"),
            panel=PROMPT,
            metavar="TEXT",
            help="System text, instead of a short default.",
        ),
    ] = None
    preference: Annotated[
        list[str] | None,
        typer.Option(
            "--preference",
            autocompletion=completions.preferences,
            help="What the answer should be like: creative, sycophantic, verbose, complex, "
            "formal, pleasant, concise, uplifting, a name of your own (see `amulet-local "
            "preferences`), or a description in your own words. formal:0.7 has a weight. Give it "
            "again to mix several.",
            metavar="TEXT",
            rich_help_panel=PREFERENCE,
            show_default=False,
        ),  # its variable is read in command.py: typer would split it at spaces
    ] = None
    avoid: Annotated[
        list[str] | None,
        typer.Option(
            "--avoid",
            autocompletion=completions.preferences,
            help="What the answer should not be like: as --preference, with the weight negated.",
            metavar="TEXT",
            rich_help_panel=PREFERENCE,
            show_default=False,
        ),  # as above
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
    placement: Annotated[
        str | None,
        option(
            "--placement",
            panel=PREFERENCE,
            metavar="WHERE",
            help="The preference goes to the end of the 'system' text or of the 'user' question. "
            "Default: the preset's.",
        ),
    ] = None
    preset: Annotated[
        str | None,
        option(
            "--preset",
            autocompletion=completions.presets,
            panel=PREFERENCE,
            metavar="NAME",
            help="Strength and guards: balanced, strong, or paper (the authors' method exactly). "
            "The flags below change single values of it. Default: balanced.",
        ),
    ] = None
    guidance_scale: Annotated[
        float | None,
        numeric(
            "--guidance-scale",
            panel=PREFERENCE,
            metavar="A",
            help="Strength: 0 is the plain answer, 1 a preference in the prompt, more is "
            "stronger. Default: 5.65, which the presets' KL budgets lower.",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        numeric(
            "--alpha",
            panel=PREFERENCE,
            metavar="X",
            help="The paper's own parameters, which amount to a guidance scale. Default: 2.",
        ),
    ] = None
    lambda_: Annotated[
        float | None, numeric("--lambda", panel=PREFERENCE, metavar="X", help="Default: 2.")
    ] = None
    eta: Annotated[
        float | None, numeric("--eta", panel=PREFERENCE, metavar="X", help="Default: 10.")
    ] = None
    iterations: Annotated[
        int | None,
        numeric("--iterations", panel=PREFERENCE, metavar="T", help="Default: 60."),
    ] = None
    max_guidance: Annotated[
        float | None,
        numeric(
            "--max-guidance",
            panel=GUARDS,
            metavar="A",
            help="No token gets a larger guidance scale, whatever else is set.",
        ),
    ] = None
    min_plausibility: Annotated[
        float | None,
        numeric(
            "--min-plausibility",
            panel=GUARDS,
            metavar="P",
            help="Only tokens with P times the likeliest's probability under the preference "
            "prompt; 0 is off.",
        ),
    ] = None
    nucleus: Annotated[
        float | None,
        numeric(
            "--nucleus",
            panel=GUARDS,
            metavar="P",
            help="Only the preference prompt's likeliest tokens, as few as make up the probability "
            "P; 1 is off.",
        ),
    ] = None
    nucleus_temperature: Annotated[
        float | None,
        numeric(
            "--nucleus-temperature",
            panel=GUARDS,
            metavar="T",
            help="The preference prompt's temperature for --nucleus. Default: 1.",
        ),
    ] = None
    kl_budget: Annotated[
        float | None,
        numeric(
            "--kl-budget",
            panel=GUARDS,
            metavar="NATS",
            help="Lower the scale, token by token, until the distribution is within NATS of the "
            "preference prompt's.",
        ),
    ] = None
    noise_guard: Annotated[
        float | None,
        numeric(
            "--noise-guard",
            panel=GUARDS,
            metavar="C",
            help="Leave out differences between the prompts below C times the model's rounding "
            "noise; 0 is off.",
        ),
    ] = None
    echo_guard: Annotated[
        bool | None,
        switch("--echo-guard", panel=GUARDS, help="Don't strengthen a recital of the preference."),
    ] = None
    end_guard: Annotated[
        bool | None,
        switch(
            "--end-guard",
            panel=GUARDS,
            help="Don't let the strength end the answer in mid-sentence.",
        ),
    ] = None
    region_gating: Annotated[
        bool | None,
        switch("--region-gating", panel=GUARDS, help="Don't strengthen anything inside code."),
    ] = None
    reasoning_gating: Annotated[
        bool | None,
        switch(
            "--reasoning-gating",
            panel=GUARDS,
            help="Don't strengthen anything while a thinking model reasons.",
        ),
    ] = None
    watch: Annotated[
        bool | None,
        switch(
            "--watch",
            panel=GUARDS,
            help="Break loops, and lower the scale after one and in text that strays.",
        ),
    ] = None
    mix: Annotated[
        str | None,
        option(
            "--mix",
            panel=GUARDS,
            metavar="HOW",
            help="Weights of several preferences: fixed, or adaptive (more for those that the "
            "text lags behind on). Default: fixed.",
        ),
    ] = None
    mix_temperature: Annotated[
        float | None,
        numeric(
            "--mix-temperature",
            panel=GUARDS,
            metavar="NATS",
            help="How slowly adaptive weights shift. Default: 10.",
        ),
    ] = None
    predict: Annotated[
        int | None,
        numeric(
            *("-n", "--predict", "--n-predict"),
            panel=SAMPLING,
            help="Most tokens to generate. Default: 512.",
        ),
    ] = None
    temp: Annotated[
        float | None,
        numeric(
            *("--temp", "--temperature"),
            panel=SAMPLING,
            metavar="X",
            help="Temperature. Default: 0, greedy.",
        ),
    ] = None
    top_k: Annotated[
        int | None,
        numeric("--top-k", panel=SAMPLING, help="The likeliest N only, 0 is off. Default: 40."),
    ] = None
    top_p: Annotated[
        float | None,
        numeric(
            "--top-p",
            panel=SAMPLING,
            metavar="P",
            help="The likeliest that make up P only, 1 is off. Default: 0.95.",
        ),
    ] = None
    min_p: Annotated[
        float | None,
        numeric(
            "--min-p",
            panel=SAMPLING,
            metavar="P",
            help="Those with P times the likeliest's probability only, 0 is off. Default: 0.05.",
        ),
    ] = None
    typical: Annotated[
        float | None,
        numeric(
            *("--typical", "--typical-p"),
            panel=SAMPLING,
            metavar="P",
            help="Those nearest to the expected surprise that make up P only, 1 is off. "
            "Default: 1.",
        ),
    ] = None
    xtc_probability: Annotated[
        float | None,
        numeric(
            "--xtc-probability",
            panel=SAMPLING,
            metavar="P",
            help="How often the likeliest are left out, 0 is off. Default: 0.",
        ),
    ] = None
    xtc_threshold: Annotated[
        float | None,
        numeric(
            "--xtc-threshold",
            panel=SAMPLING,
            metavar="P",
            help="Of those with this probability all but the last. Default: 0.1.",
        ),
    ] = None
    repeat_penalty: Annotated[
        float | None,
        numeric("--repeat-penalty", panel=SAMPLING, metavar="X", help="1 is off. Default: 1."),
    ] = None
    presence_penalty: Annotated[
        float | None,
        numeric("--presence-penalty", panel=SAMPLING, metavar="X", help="0 is off. Default: 0."),
    ] = None
    frequency_penalty: Annotated[
        float | None,
        numeric("--frequency-penalty", panel=SAMPLING, metavar="X", help="0 is off. Default: 0."),
    ] = None
    repeat_last_n: Annotated[
        int | None,
        numeric(
            "--repeat-last-n",
            panel=SAMPLING,
            help="Tokens that penalties look back at, -1 is all. Default: 64.",
        ),
    ] = None
    dry_multiplier: Annotated[
        float | None,
        numeric(
            "--dry-multiplier",
            panel=SAMPLING,
            metavar="X",
            help="DRY, against repeated sequences, 0 is off. Default: 0.",
        ),
    ] = None
    dry_base: Annotated[
        float | None,
        numeric(
            "--dry-base",
            panel=SAMPLING,
            metavar="X",
            help="Its penalty grows by this factor with each token. Default: 1.75.",
        ),
    ] = None
    dry_allowed_length: Annotated[
        int | None,
        numeric(
            "--dry-allowed-length",
            panel=SAMPLING,
            help="Sequences of fewer tokens may repeat. Default: 2.",
        ),
    ] = None
    dry_penalty_last_n: Annotated[
        int | None,
        numeric(
            "--dry-penalty-last-n",
            panel=SAMPLING,
            help="Tokens that DRY looks back at, -1 is all. Default: 64.",
        ),
    ] = None
    dry_sequence_breaker: Annotated[
        list[str] | None,
        typer.Option(
            "--dry-sequence-breaker",
            help="A text that ends a sequence, 'none' for no such text; give it again for more. "
            'Default: \\n, :, " and *.',
            metavar="TEXT",
            rich_help_panel=SAMPLING,
            show_default=False,
        ),  # its variable is read in command.py, as that of --preference
    ] = None
    mirostat: Annotated[
        int | None,
        numeric(
            "--mirostat",
            panel=SAMPLING,
            help="Mirostat 1 or 2 instead of top-k to XTC, 0 is off. Default: 0.",
        ),
    ] = None
    mirostat_lr: Annotated[
        float | None,
        numeric("--mirostat-lr", panel=SAMPLING, metavar="X", help="Its rate, eta. Default: 0.1."),
    ] = None
    mirostat_ent: Annotated[
        float | None,
        numeric(
            "--mirostat-ent",
            panel=SAMPLING,
            metavar="X",
            help="Its target, tau, in bits per token. Default: 5.",
        ),
    ] = None
    logit_bias: Annotated[
        list[Any] | None,
        option(
            *("-l", "--logit-bias"),
            panel=SAMPLING,
            metavar="ID(+/-)X",
            parser=token_bias,
            help="Add X to a token's logit, e.g. 15043+1, or 15043-inf for never; give it again "
            "for more.",
        ),
    ] = None
    stop: Annotated[
        list[str] | None,
        option(
            "--stop",
            "-r",
            "--reverse-prompt",
            panel=SAMPLING,
            metavar="TEXT",
            help="End the answer before TEXT, which isn't printed; repeat for more.",
        ),
    ] = None
    ignore_eos: Annotated[
        bool,
        option("--ignore-eos", panel=SAMPLING, help="Never end before --predict tokens."),
    ] = False
    grammar: Annotated[
        str | None,
        option(
            "--grammar",
            panel=SAMPLING,
            metavar="TEXT",
            help="What the answer has to match, in GBNF (as in llama.cpp).",
        ),
    ] = None
    grammar_file: Annotated[
        str | None,
        option("--grammar-file", panel=SAMPLING, metavar="FILE", help="Read it from FILE."),
    ] = None
    json_schema: Annotated[
        str | None,
        option(
            *("-j", "--json-schema"),
            panel=SAMPLING,
            metavar="TEXT",
            help="A JSON Schema that the answer has to validate against; {} is any JSON.",
        ),
    ] = None
    json_schema_file: Annotated[
        str | None,
        option(
            *("-jf", "--json-schema-file"),
            panel=SAMPLING,
            metavar="FILE",
            help="Read it from FILE.",
        ),
    ] = None
    seed: Annotated[
        int | None,
        numeric("-s", "--seed", panel=SAMPLING, help="For the same draws again; -1 is random."),
    ] = None
    reasoning_format: Annotated[
        str | None,
        option(
            "--reasoning-format",
            panel=OUTPUT,
            metavar="NAME",
            help="separate: reasoning is no part of the answer; inline: it stays in it, with its "
            "tags.",
        ),
    ] = None


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
