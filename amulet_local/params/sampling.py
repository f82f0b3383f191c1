"""How a token is picked, how long an answer is, and what ends it.

Knows nothing about llama.cpp's samplers, which carry it out.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, PrivateAttr

from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.json_schema import to_gbnf
from amulet_local.params.base import Finite, NonNegative, StrictParams
from amulet_local.params.choices import ReasoningFormat
from amulet_local.params.option_table import SAMPLING_OPTIONS
from amulet_local.params.sampling_values import (
    MAX_BREAKERS,
    biases,
    breaker,
    checked_rules,
    schema,
    stop_texts,
)


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

    options = SAMPLING_OPTIONS

    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] = 512
    temperature: Annotated[NonNegative, Field(le=100)] = 0.0
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] = 40
    typical_p: Annotated[Finite, Field(gt=0, le=1)] = 1.0
    top_p: Annotated[Finite, Field(gt=0, le=1)] = 0.95
    min_p: Annotated[Finite, Field(ge=0, le=1)] = 0.05
    xtc_probability: Annotated[Finite, Field(ge=0, le=1)] = 0.0
    xtc_threshold: Annotated[Finite, Field(ge=0, le=1)] = 0.1
    repeat_penalty: Annotated[Finite, Field(ge=0.01, le=100)] = 1.0
    presence_penalty: Annotated[Finite, Field(ge=-100, le=100)] = 0.0
    frequency_penalty: Annotated[Finite, Field(ge=-100, le=100)] = 0.0
    repeat_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] = 64
    dry_multiplier: Annotated[NonNegative, Field(le=100)] = 0.0
    dry_base: Annotated[Finite, Field(ge=1, le=100)] = 1.75
    dry_allowed_length: Annotated[int, Field(ge=0, le=2**31 - 1)] = 2
    dry_penalty_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] = 64
    dry_sequence_breakers: Annotated[
        tuple[Annotated[str, AfterValidator(breaker)], ...], Field(max_length=MAX_BREAKERS)
    ] = ("\n", ":", '"', "*")
    mirostat: Annotated[int, Field(ge=0, le=2)] = 0
    mirostat_tau: Annotated[NonNegative, Field(le=100)] = 5.0
    mirostat_eta: Annotated[NonNegative, Field(le=100)] = 0.1
    logit_bias: Annotated[dict[int, float], BeforeValidator(biases)] = Field(default={})
    ignore_eos: bool = False
    grammar: str | None = None
    json_schema: Annotated[dict[str, Any] | str | None, PlainValidator(schema)] = None
    stop: Annotated[tuple[str, ...], BeforeValidator(stop_texts)] = ()
    reasoning_format: ReasoningFormat = "separate"
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None
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
            text = to_gbnf(self.json_schema)
            try:
                self._rules = checked_rules(text)
            except InvalidParameterError:
                raise InvalidParameterError(
                    "json_schema: it is too large or too ambiguous"
                ) from None

    @property
    def rules(self) -> gbnf.Grammar | None:
        """What the answer has to match, None if it is free."""
        return self._rules

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
