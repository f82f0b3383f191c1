"""The method's strength and its guards.

Knows nothing about how they are carried out.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field

from amulet_local.common.errors import InvalidParameterError
from amulet_local.optimizer import recurrence
from amulet_local.params.base import Finite, NonNegative, Positive, Probability, StrictParams
from amulet_local.params.choices import Mix
from amulet_local.params.option import GUARDS, PREFERENCE, Option

MAX_ITERATIONS = 100_000
"""Largest T; the recurrence costs about 0.1 microseconds a step."""
STEEP_SCALE = 20.0
"""Guidance scale from which on noise is amplified 28 times and more (docs/mathematics.md)."""
HYPER_PARAMETERS = ("alpha", "lambda_", "eta", "num_iterations")
"""Fields of AmuletParams that the guidance scale comes from where it isn't given itself."""
SETS_SCALE = ("guidance_scale", *HYPER_PARAMETERS)
"""What sets the scale: it takes the place of a target that a preset or the settings file has."""


MOVES_SCALE = ("kl_target", "settled_gating")
"""What a preset moves its scale by; one of the user's own holds for every token."""


class AmuletParams(StrictParams):
    """The method's strength, and what keeps it in bounds.

    The strength is four hyper-parameters, or the guidance scale that they amount to.
    `AmuletParams()` is the paper (arXiv 2502.19148): alpha 2, lambda 2, eta 10, T 60, no guards.
    `AmuletParams(guidance_scale=3.0)` sets the scale itself and leaves those four unused.
    Guards look at the combination at scale 1, called reference: the preference prompt's
    distribution, or that of a mix. They act on scales above 1.

    Attributes:
        alpha: weight of the utility, >= 0.
        lambda_: weight of the anchor at the preference policy, > 0.
        eta: learning rate, > 0.
        num_iterations: T, 1 to 100,000. A knob for strength; nothing converges unless
            alpha < lambda_.
        guidance_scale: a; 0 is the plain prompt, 1 the preference prompt.
        max_guidance: an upper bound for the scale, whatever it comes from; None is none. With a
            `kl_budget` and no strength given it is the scale itself.
        max_gain: nats, >= 0.01; a token that the preference makes likelier by more than that
            (log p1 - log p0) counts as if it were by that much; the first of an answer is free. In
            a mix no token gets more than that above the row that likes it best. None is off.
        min_plausibility: beta, 0 to 1; a token may be chosen only if the reference gives it at
            least beta times the probability of its likeliest token. 0 is off.
        nucleus: a probability; of these tokens only the reference's likeliest ones may be chosen,
            as few as make it up. 1 is off. Unlike `top_p`, it doesn't depend on the scale.
        nucleus_temperature: the temperature that the reference has for it, > 0.
        kl_budget: most nats of KL(realigned || reference) per token; the scale is lowered, token
            by token, until it holds. None is off.
        kl_target: nats of KL(realigned || reference) per token, on average over the answer: the
            scale starts as given and is moved from token to token, between half its excess over 1
            and twice the scale, at most `max_guidance`. None is off, and so is it where a strength
            is given without it.
        noise_guard: c, >= 0; differences between the rows below c times the model's rounding noise
            don't count, and larger ones count less by that much. 0 is off.
        echo_guard: the words of the preference itself gain nothing from the scale, so that the
            answer follows the preference instead of reciting it, and what it announces of itself
            isn't in its text.
        decline_guard: an answer doesn't begin by declining ("I'm sorry, but I can't ...") where the
            plain one wouldn't begin like that.
        script_guard: letters of a script that neither the prompts nor the answer has don't come,
            unless a row by itself goes on in one.
        form_guard: what the preferences ask for that can be counted ("in lower case", "without
            commas", "in at most 40 words") is kept, at any scale: the tokens that would
            break it aren't offered. Off where a grammar or schema says what the answer is.
        draw_guard: where tokens are drawn, only those are that have at least a tenth of the
            largest probability under the reference.
        end_guard: in the middle of a sentence the answer doesn't end, unless the reference gives
            its end at least half of the probability; nor behind a question that is all of it,
            unless the plain row gives it as much.
        mix: "fixed" weights, or "adaptive" ones, which shift towards the preferences that the
            text so far lags behind on (MATO, arXiv 2605.25342).
        mix_temperature: tau of adaptive weights, in nats: large is nearly fixed.
        region_gating: scale 1 inside code, fenced or inline.
        settled_gating: scale 1 where the preferences ask for nothing but a language that the answer
            has begun in, or a form that the form guard keeps whatever the scale.
        reasoning_gating: scale 1, and no echo guard, while a thinking model reasons.
        watch: refuse tokens that would go on with a loop, and lower the scale after one, where the
            entropy collapses, and while the text is one that the reference would hardly write.

    Raises:
        InvalidParameterError: a value is out of range, both ways are mixed, or the scale overflows.
    """

    is_in_python: ClassVar[bool] = True

    alpha: Annotated[
        NonNegative,
        Option(
            "--alpha",
            PREFERENCE,
            "The paper's own parameters, which amount to a guidance scale. Default: 2.",
            metavar="X",
            eval="alpha",
        ),
    ] = 2.0
    lambda_: Annotated[
        Positive, Option("--lambda", PREFERENCE, "Default: 2.", metavar="X", eval="lambda")
    ] = 2.0
    eta: Annotated[
        Positive, Option("--eta", PREFERENCE, "Default: 10.", metavar="X", eval="eta")
    ] = 10.0
    num_iterations: Annotated[
        int,
        Field(ge=1, le=MAX_ITERATIONS),
        Option("--iterations", PREFERENCE, "Default: 60.", metavar="T", eval="iterations"),
    ] = 60
    fixed_scale: Annotated[
        Finite | None,
        Option(
            "--guidance-scale",
            PREFERENCE,
            "Strength: 0 leaves the preference out, 1 has it in the prompt, more is "
            "stronger. Default: 1.5, where the preset begins; it is moved as the answer needs "
            "it.",
            metavar="A",
            is_changeable=True,
            eval="scale",
            plugin="0 the plain prompt, 1 the preference prompt, 5.65 the paper",
            place=-1,
        ),
    ] = Field(default=None, alias="guidance_scale", ge=-1000, le=1000)
    max_guidance: Annotated[
        Finite | None,
        Field(ge=0, le=1000),
        Option(
            "--max-guidance",
            GUARDS,
            "No token gets a larger guidance scale, whatever else is set.",
            metavar="A",
            is_changeable=True,
            eval="max",
            plugin="a ceiling for the scale",
        ),
    ] = None
    max_gain: Annotated[
        Finite | None,
        Field(ge=0.01, le=1000),
        Option(
            "--max-gain",
            GUARDS,
            "A token that the preference makes likelier by more than NATS counts as if it were by "
            "that much; an answer's first word is free.",
            metavar="NATS",
            is_changeable=True,
            eval="gain",
            plugin="nats that a token's gain by the preference counts for at most",
        ),
    ] = None
    min_plausibility: Annotated[
        Probability,
        Option(
            "--min-plausibility",
            GUARDS,
            "Only tokens with P times the likeliest's probability under the preference "
            "prompt; 0 is off.",
            metavar="P",
            is_changeable=True,
            eval="mask",
            plugin="least share of the likeliest token's probability",
            neutral=0,
        ),
    ] = 0.0
    nucleus: Annotated[
        Probability,
        Option(
            "--nucleus",
            GUARDS,
            "Only the preference prompt's likeliest tokens, as few as make up the probability "
            "P; 1 is off.",
            metavar="P",
            eval="nucleus",
            neutral=1,
        ),
    ] = 1.0
    nucleus_temperature: Annotated[
        Finite,
        Field(ge=0.01, le=100),
        Option(
            "--nucleus-temperature",
            GUARDS,
            "The preference prompt's temperature for --nucleus. Default: 1.",
            metavar="T",
            eval="nucleus_temperature",
        ),
    ] = 1.0
    kl_budget: Annotated[
        NonNegative | None,
        Field(le=1000),
        Option(
            "--kl-budget",
            GUARDS,
            "Lower the scale, token by token, until the distribution is within NATS of the "
            "preference prompt's.",
            metavar="NATS",
            is_changeable=True,
            eval="kl",
            plugin="nats that a token's distribution may move by",
        ),
    ] = None
    kl_target: Annotated[
        NonNegative | None,
        Field(le=1000),
        Option(
            "--kl-target",
            PREFERENCE,
            "Raise and lower the scale from token to token until the answer is on average NATS a "
            "token from the preference prompt's.",
            metavar="NATS",
            is_changeable=True,
            eval="target",
            plugin="nats that an answer's tokens move by on average",
        ),
    ] = None
    noise_guard: Annotated[
        NonNegative,
        Field(le=100),
        Option(
            "--noise-guard",
            GUARDS,
            "Leave out differences between the prompts below C times the model's rounding "
            "noise; 0 is off.",
            metavar="C",
            eval="noise",
            neutral=0,
        ),
    ] = 0.0
    echo_guard: Annotated[
        bool,
        Option(
            "--echo-guard", GUARDS, "Don't strengthen a recital of the preference.", kind="switch"
        ),
    ] = False
    decline_guard: Annotated[
        bool,
        Option(
            "--decline-guard",
            GUARDS,
            "Don't let the preference make the model decline what it answers plainly.",
            kind="switch",
        ),
    ] = False
    script_guard: Annotated[
        bool,
        Option(
            "--script-guard",
            GUARDS,
            "Don't let the strength slip a word of another script into the answer.",
            kind="switch",
        ),
    ] = False
    form_guard: Annotated[
        bool,
        Option(
            "--form-guard",
            GUARDS,
            "Keep to what the preference says of the answer's form that can be counted: no commas, "
            "lower case, two sentences, at most 40 words.",
            kind="switch",
            eval="form",
        ),
    ] = False
    draw_guard: Annotated[
        bool,
        Option(
            "--draw-guard",
            GUARDS,
            "Draw no token that the preference prompt alone finds implausible.",
            kind="switch",
            eval="draw",
        ),
    ] = False
    end_guard: Annotated[
        bool,
        Option(
            "--end-guard",
            GUARDS,
            "Don't let the strength end the answer in mid-sentence, or with only a question.",
            kind="switch",
        ),
    ] = False
    mix: Annotated[
        Mix,
        Option(
            "--mix",
            GUARDS,
            "Weights of several preferences: fixed, or adaptive (more for those that the "
            "text lags behind on). Default: fixed.",
            kind="text",
            metavar="HOW",
            place=1,
        ),
    ] = "fixed"
    mix_temperature: Annotated[
        Finite,
        Field(ge=0.01, le=1e6),
        Option(
            "--mix-temperature",
            GUARDS,
            "How slowly adaptive weights shift. Default: 10.",
            metavar="NATS",
            place=1,
        ),
    ] = 10.0
    region_gating: Annotated[
        bool,
        Option("--region-gating", GUARDS, "Don't strengthen anything inside code.", kind="switch"),
    ] = False
    settled_gating: Annotated[
        bool,
        Option(
            "--settled-gating",
            GUARDS,
            "Don't strengthen anything where all that is wished is a language that the answer has "
            "begun in, or a form that is kept anyhow.",
            kind="switch",
            eval="settled",
        ),
    ] = False
    reasoning_gating: Annotated[
        bool,
        Option(
            "--reasoning-gating",
            GUARDS,
            "Don't strengthen anything while a thinking model reasons.",
            kind="switch",
        ),
    ] = False
    watch: Annotated[
        bool,
        Option(
            "--watch",
            GUARDS,
            "Break loops, and lower the scale after one and in text that strays.",
            kind="switch",
        ),
    ] = False

    def _check_together(self) -> None:
        others = self.model_fields_set & set(HYPER_PARAMETERS)
        if self.fixed_scale is not None and others:
            raise InvalidParameterError(
                f"guidance_scale sets the strength by itself; leave out {', '.join(sorted(others))}"
            )
        if not abs(self.guidance_scale) <= 1000:
            raise InvalidParameterError(
                f"these hyper-parameters amount to a guidance scale of {self.guidance_scale:g}, "
                f"above 1000; lower num_iterations or alpha/lambda_"
            )

    @property
    def sets_strength(self) -> bool:
        """Whether the scale or any of the four hyper-parameters was given."""
        return self.fixed_scale is not None or not self.model_fields_set.isdisjoint(
            HYPER_PARAMETERS
        )

    @property
    def mask(self) -> tuple[float, ...]:
        """min_plausibility, nucleus and its temperature; nothing where both let all pass."""
        if not (self.uses("min_plausibility") or self.uses("nucleus")):
            return ()
        return self.min_plausibility, self.nucleus, self.nucleus_temperature

    @cached_property
    def guidance_scale(self) -> float:
        """a: the given one, or a_T of the recurrence; at most `max_guidance`."""
        if self.fixed_scale is not None:
            scale = self.fixed_scale
        else:
            scale = recurrence.guidance_scale(
                self.alpha, self.lambda_, self.eta, self.num_iterations
            )
        if self.max_guidance is None:
            return scale
        if self.kl_budget is not None and not self.sets_strength:
            return self.max_guidance
        return min(scale, self.max_guidance)

    @property
    def in_words(self) -> str:
        """The scale that is asked for, and what moves it."""
        scale = f"{self.guidance_scale:.3g}"
        if self.guidance_scale <= 1:
            return f"guidance scale {scale}"
        if self.kl_target is not None:
            return f"guidance scale {scale}, then towards {self.kl_target:g} nats a token"
        if self.kl_budget is not None:
            return f"guidance scale up to {scale}, at most {self.kl_budget:g} nats a token"
        return f"guidance scale up to {scale}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about this strength."""
        if abs(self.guidance_scale) <= STEEP_SCALE or self.kl_budget is not None:
            return ()
        cure = "use a smaller one"
        if self.fixed_scale is None:
            cure = (
                "lower num_iterations or alpha/lambda_ (num_iterations is a strength, not a "
                "convergence setting)"
            )
        return (
            f"guidance scale {self.guidance_scale:.3g} is above {STEEP_SCALE:g}: the answer will "
            f"mostly be noise; {cure}",
        )

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again; a new strength replaces the old one."""
        kept = self.model_dump(exclude_unset=True, by_alias=True)
        if any(changes.get(name) is not None for name in SETS_SCALE):
            is_moved = changes.get("kl_target") is not None
            for name in (*SETS_SCALE, *(() if is_moved else MOVES_SCALE)):
                kept.pop(name, None)
        return type(self)(**{**kept, **changes})
