"""How a token is picked, how long an answer is, and what ends it.

Knows nothing about llama.cpp's samplers, which carry it out.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, PrivateAttr

from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.json_schema import has_short_sets
from amulet_local.grammar.schema_scalars import open_formats
from amulet_local.params.base import Finite, NonNegative, Probability, Share, StrictParams
from amulet_local.params.choices import ReasoningFormat
from amulet_local.params.option import OUTPUT, SAMPLING, FromFile, Option
from amulet_local.params.sampling_values import (
    MAX_BREAKERS,
    biases,
    breaker,
    checked_rules,
    schema,
    schema_rules,
    stop_texts,
)

UpTo100 = Annotated[NonNegative, Field(le=100)]
Penalty = Annotated[Finite, Field(ge=-100, le=100)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
LookBack = Annotated[int, Field(ge=-1, le=2**31 - 1)]
"""Tokens; -1 is the context."""


class SamplingParams(StrictParams):
    """How a token is picked from the combined distribution, by llama.cpp's samplers.

    Names and defaults are llama.cpp's, but for `temperature`: 0 (greedy), as in the paper. The
    order is llama.cpp's as well: logit_bias, grammar, penalties, DRY, top_k, typical_p, top_p,
    min_p, XTC, temperature, the draw.

    Attributes:
        max_tokens: most tokens to generate, >= 1.
        temperature: 0 is greedy; then what comes after DRY has nothing to choose from.
        top_k: keep the k likeliest tokens; 0 is off.
        typical_p: keep the tokens whose surprise is nearest to the expected one (the entropy) that
            make up this probability; 1 is off.
        top_p: keep the likeliest tokens that make up this probability; 1 is off.
        min_p: keep tokens with at least this share of the top probability; 0 is off.
        xtc_probability: how often, per token, all but the least likely of the tokens with at least
            `xtc_threshold` are left out; 0 is off.
        xtc_threshold: a probability; above 0.5 no two tokens can have it, so XTC is off.
        repeat_penalty: divides the positive logits of recent tokens, multiplies the negative, 0.01
            to 100; 1 is off.
        presence_penalty, frequency_penalty: subtracted once, and per occurrence; 0 is off.
        repeat_last_n: how many recent tokens the penalties look at; 0 is none, -1 the context.
        dry_multiplier: of the penalty, in logits, for a token that would continue a sequence which
            occurred before: dry_multiplier * dry_base^(its length - dry_allowed_length). 0 is off.
        dry_base: >= 1.
        dry_allowed_length: tokens; shorter sequences may repeat.
        dry_penalty_last_n: how many recent tokens DRY looks at; 0 is none, -1 the context.
        dry_sequence_breakers: texts at which a sequence ends; at most 64 of 40 bytes.
        mirostat: 1 or 2 hold the surprise of the text at a target instead of top_k, typical_p,
            top_p, min_p and XTC; 0 is off.
        mirostat_tau: the target, in bits per token.
        mirostat_eta: how fast it is approached.
        logit_bias: token id -> what is added to its logit, -100 to 100, or -inf (False) for never.
        ignore_eos: the tokens that end an answer are never chosen.
        grammar: what the answer has to match, in GBNF, llama.cpp's notation, with a rule `root`.
        json_schema: the JSON Schema that the answer has to validate against, as a mapping or as
            JSON text, instead of a grammar.
        stop: texts that end the answer, which doesn't have them; at most 64 of 1,000 characters.
            The first that is complete counts. Reasoning isn't searched for them.
        reasoning_format: "separate" keeps what a thinking model writes in its tags apart from the
            answer; "inline" leaves it in the text, tags and all.
        seed: 0 to 2^32 - 2; None draws one, reported in the result.
    """

    is_in_python: ClassVar[bool] = True

    max_tokens: Annotated[
        int,
        Field(ge=1, le=2**31 - 1),
        Option(
            "-n --predict --n-predict --max-tokens",
            SAMPLING,
            "Most tokens to generate; -1 is as many as fit. Default: 512.",
            chat=("n", "num_predict", "max_tokens"),
            plugin="most tokens of the answer",
        ),
    ] = 512
    temperature: Annotated[
        UpTo100,
        Option(
            "--temp --temperature",
            SAMPLING,
            "Temperature. Default: 0, greedy.",
            metavar="X",
            chat=("temp",),
            plugin="0 is greedy",
        ),
    ] = 0.0
    top_k: Annotated[
        Count,
        Option(
            "--top-k",
            SAMPLING,
            "The likeliest N only, 0 is off. Default: 40.",
            chat=("top_k",),
            plugin="keep the k likeliest tokens",
            neutral=0,
        ),
    ] = 40
    top_p: Annotated[
        Share,
        Option(
            "--top-p",
            SAMPLING,
            "The likeliest that make up P only, 1 is off. Default: 0.95.",
            metavar="P",
            chat=("top_p",),
            plugin="keep this share of probability",
            neutral=1,
        ),
    ] = 0.95
    min_p: Annotated[
        Probability,
        Option(
            "--min-p",
            SAMPLING,
            "Those with P times the likeliest's probability only, 0 is off. Default: 0.05.",
            metavar="P",
            chat=("min_p",),
            plugin="keep this share of the likeliest",
            neutral=0,
        ),
    ] = 0.05
    typical_p: Annotated[
        Share,
        Option(
            "--typical --typical-p",
            SAMPLING,
            "Those nearest to the expected surprise that make up P only, 1 is off. Default: 1.",
            metavar="P",
            neutral=1,
        ),
    ] = 1.0
    xtc_probability: Annotated[
        Probability,
        Option(
            "--xtc-probability",
            SAMPLING,
            "How often the likeliest are left out, 0 is off. Default: 0.",
            metavar="P",
            neutral=0,
        ),
    ] = 0.0
    xtc_threshold: Annotated[
        Probability,
        Option(
            "--xtc-threshold",
            SAMPLING,
            "Of those with this probability all but the last. Default: 0.1.",
            metavar="P",
        ),
    ] = 0.1
    repeat_penalty: Annotated[
        Finite,
        Field(ge=0.01, le=100),
        Option(
            "--repeat-penalty",
            SAMPLING,
            "1 is off. Default: 1.",
            metavar="X",
            chat=("repeat_penalty",),
            plugin="1 is off",
            neutral=1,
        ),
    ] = 1.0
    presence_penalty: Annotated[
        Penalty,
        Option(
            "--presence-penalty",
            SAMPLING,
            "0 is off. Default: 0.",
            metavar="X",
            chat=("presence_penalty",),
            neutral=0,
        ),
    ] = 0.0
    frequency_penalty: Annotated[
        Penalty,
        Option(
            "--frequency-penalty",
            SAMPLING,
            "0 is off. Default: 0.",
            metavar="X",
            chat=("frequency_penalty",),
            neutral=0,
        ),
    ] = 0.0
    repeat_last_n: Annotated[
        LookBack,
        Option(
            "--repeat-last-n",
            SAMPLING,
            "Tokens that penalties look back at, -1 is all. Default: 64.",
        ),
    ] = 64
    dry_multiplier: Annotated[
        UpTo100,
        Option(
            "--dry-multiplier",
            SAMPLING,
            "DRY, against repeated sequences, 0 is off. Default: 0.",
            metavar="X",
            neutral=0,
        ),
    ] = 0.0
    dry_base: Annotated[
        Finite,
        Field(ge=1, le=100),
        Option(
            "--dry-base",
            SAMPLING,
            "Its penalty grows by this factor with each token. Default: 1.75.",
            metavar="X",
        ),
    ] = 1.75
    dry_allowed_length: Annotated[
        Count,
        Option(
            "--dry-allowed-length", SAMPLING, "Sequences of fewer tokens may repeat. Default: 2."
        ),
    ] = 2
    dry_penalty_last_n: Annotated[
        LookBack,
        Option(
            "--dry-penalty-last-n",
            SAMPLING,
            "Tokens that DRY looks back at, -1 is all. Default: 64.",
        ),
    ] = 64
    dry_sequence_breakers: Annotated[
        tuple[Annotated[str, AfterValidator(breaker)], ...],
        Field(max_length=MAX_BREAKERS),
        Option(
            "--dry-sequence-breaker",
            SAMPLING,
            "A text that ends a sequence, 'none' for no such text; give it again for more. "
            'Default: \\n, :, " and *.',
            kind="escaped",
            metavar="TEXT",
        ),
    ] = ("\n", ":", '"', "*")
    mirostat: Annotated[
        int,
        Field(ge=0, le=2),
        Option(
            "--mirostat",
            SAMPLING,
            "Mirostat 1 or 2 instead of top-k to XTC, 0 is off. Default: 0.",
            neutral=0,
        ),
    ] = 0
    mirostat_eta: Annotated[
        UpTo100,
        Option("--mirostat-lr", SAMPLING, "Its rate, eta. Default: 0.1.", metavar="X"),
    ] = 0.1
    mirostat_tau: Annotated[
        UpTo100,
        Option(
            "--mirostat-ent",
            SAMPLING,
            "Its target, tau, in bits per token. Default: 5.",
            metavar="X",
        ),
    ] = 5.0
    logit_bias: Annotated[
        dict[int, float],
        BeforeValidator(biases),
        Option(
            "-l --logit-bias",
            SAMPLING,
            "Add X to a token's logit, e.g. 15043+1, or 15043-inf for never; give it again for "
            "more.",
            kind="biases",
            metavar="ID(+/-)X",
        ),
    ] = Field(default={})
    stop: Annotated[
        tuple[str, ...],
        BeforeValidator(stop_texts),
        Option(
            "--stop -r --reverse-prompt",
            SAMPLING,
            "End the answer before TEXT, which isn't printed; repeat for more.",
            kind="words",
            metavar="TEXT",
            plugin="text that ends the answer",
        ),
    ] = ()
    ignore_eos: Annotated[
        bool, Option("--ignore-eos", SAMPLING, "Never end before --predict tokens.", kind="flag")
    ] = False
    grammar: Annotated[
        str | None,
        Option(
            "--grammar",
            SAMPLING,
            "What the answer has to match, in GBNF (as in llama.cpp).",
            kind="text",
            metavar="TEXT",
            file=FromFile("--grammar-file", "the grammar file"),
        ),
    ] = None
    json_schema: Annotated[
        dict[str, Any] | str | None,
        PlainValidator(schema),
        Option(
            "-j --json-schema",
            SAMPLING,
            "A JSON Schema that the answer has to validate against; {} is any JSON.",
            kind="text",
            metavar="TEXT",
            file=FromFile("-jf --json-schema-file", "the JSON schema file"),
        ),
    ] = None
    seed: Annotated[
        Annotated[int, Field(ge=0, le=2**32 - 2)] | None,
        Option(
            "-s --seed",
            SAMPLING,
            "For the same draws again; -1 is random.",
            kind="seed",
            chat=("seed",),
            plugin="of the draws",
        ),
    ] = None
    reasoning_format: Annotated[
        ReasoningFormat,
        Option(
            "--reasoning-format",
            OUTPUT,
            "separate: reasoning is no part of the answer; inline: it stays in it, with its tags.",
            kind="text",
            metavar="NAME",
        ),
    ] = "separate"
    _rules: gbnf.Grammar | None = PrivateAttr(default=None)

    def _check_together(self) -> None:
        given = [name for name in ("grammar", "json_schema") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InvalidParameterError("grammar and json_schema exclude each other; give only one")
        if given and self.ignore_eos:
            raise InvalidParameterError(
                f"ignore_eos and {given[0]} exclude each other: the latter says where the answer "
                f"ends"
            )
        if self.grammar is not None:
            self._rules = checked_rules(self.grammar)
        elif self.json_schema is not None:
            self._rules = schema_rules(self.json_schema)

    @property
    def rules(self) -> gbnf.Grammar | None:
        """What the answer has to match, None if it is free."""
        return self._rules

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of it isn't done."""
        lines = [
            f"json_schema: the format {name!r:.40} isn't enforced"
            for name in open_formats(self.json_schema)
        ]
        if self.json_schema is not None and has_short_sets(self.json_schema):
            lines.append(
                "json_schema: no grammar can say that items differ (uniqueItems), so such an array "
                "has one at most"
            )
        return tuple(lines)

    @property
    def has_penalties(self) -> bool:
        """Whether the penalties change anything."""
        return self.repeat_last_n != 0 and (
            self.uses("repeat_penalty")
            or self.uses("presence_penalty")
            or self.uses("frequency_penalty")
        )

    @property
    def has_dry(self) -> bool:
        """Whether DRY changes anything."""
        return self.uses("dry_multiplier") and self.dry_penalty_last_n != 0

    @property
    def changes_greedy(self) -> bool:
        """Whether the samplers are needed even at temperature 0."""
        return (
            self.has_penalties
            or self.has_dry
            or bool(self.logit_bias)
            or self.ignore_eos
            or self.rules is not None
        )

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again."""
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**kept, **changes})
