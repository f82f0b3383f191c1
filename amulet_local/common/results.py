"""What a generation returns: plain data, no behaviour beyond sums.

Knows nothing about how it came about. Times are seconds, token ids are the model's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]
"""The model ended its answer; a limit was reached; somebody cancelled."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Token counts.

    Attributes:
        prompt_tokens: length of the longest prompt (the plain one, or one with a preference).
        completion_tokens: tokens generated, the one that ends the answer included.
        computed_tokens: tokens that went through the model, all rows together.
        cached_tokens: of the longest prompt, tokens that were in memory from before.
        reasoning_tokens: of those generated, the ones of reasoning and of the tags around it.
    """

    prompt_tokens: int
    completion_tokens: int
    computed_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """prompt_tokens + completion_tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where the time went, in seconds.

    Attributes:
        prompt_seconds: computing the prompts.
        time_to_first_token_seconds: from the call to the first token.
        decode_seconds: computing the tokens after the first; what a stream's consumer takes for
            itself is left out.
        tokens_per_second: tokens after the first, per second; 0 if there was one token only.
    """

    prompt_seconds: float
    time_to_first_token_seconds: float
    decode_seconds: float
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A token that might have been chosen.

    Attributes:
        token_id: the token.
        text: its text; U+FFFD where it is part of a character.
        log_probability: natural logarithm, under the row that lists it.
    """

    token_id: int
    text: str
    log_probability: float


@dataclass(frozen=True, kw_only=True)
class TokenTrace:
    """How one token was chosen. Log-probabilities are natural logarithms.

    Attributes:
        token_id, text: the chosen token; U+FFFD in the text where it is part of a character.
        plain: its log-probability under the plain prompt; None if that wasn't computed.
        preferences: under each preference prompt.
        realigned: under the distribution that it was chosen from, before any sampler.
        scale: the guidance scale of this token.
        kl: KL(realigned || combination at scale 1), in nats.
        top_plain, top_preferences, top_realigned: the likeliest tokens under each, best first.
        top_drawn: the same of what the samplers left to draw from, with its own probabilities; the
            chosen token alone where nothing was drawn.
        drawn: the chosen token's log-probability there.
    """

    token_id: int
    text: str
    plain: float | None
    preferences: tuple[float, ...]
    realigned: float
    scale: float
    kl: float
    top_plain: tuple[Alternative, ...]
    top_preferences: tuple[tuple[Alternative, ...], ...]
    top_realigned: tuple[Alternative, ...]
    top_drawn: tuple[Alternative, ...] = ()
    drawn: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AppliedStrength:
    """How strongly an answer's tokens were steered in fact, after the guards.

    Attributes:
        mean_scale, lowest_scale, highest_scale: of the guidance scale, over the tokens.
        mean_kl: of KL(realigned || combination at scale 1), in nats per token.
    """

    mean_scale: float
    lowest_scale: float
    highest_scale: float
    mean_kl: float


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A function that the model wants to be called.

    Attributes:
        id: of the call, nine letters and digits; its result is sent back with it.
        name: of the function.
        arguments: a JSON object, as text; cut where the answer was.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class ToolCallPiece:
    """What a piece of a stream adds to a call.

    Attributes:
        index: of the call in the answer, from 0.
        id, name: in the first piece of a call, which has no arguments; empty in the others.
        arguments: more of their JSON text.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """An answer.

    Attributes:
        text: the answer.
        reasoning: what a thinking model wrote to itself before it; empty for others.
        token_ids: the tokens of both, the one that ended the answer included.
        finish_reason: why it ended.
        stop_text: the stop text that ended it; None if something else did.
        usage, timings: what it cost.
        method: the decoding method's name.
        preset: the preset's name; empty where the caller set the strength, or there is none.
        guidance_scale: the scale a that was asked for; guards lower it and a target moves it, token
            by token.
        applied: what came of it; None without a preference, and after a beam search.
        preferences: what it was to follow.
        seed: the seed of the draws, None if greedy.
        warnings: what the caller should know, one line each.
        trace: how each token was chosen, if that was asked for.
        tool_calls: the functions that it calls.
        announcement: what it said of itself before it began ("Sure, here's a poem:"), which is in
            its tokens and not in its text.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    method: str
    preset: str
    guidance_scale: float
    preferences: tuple[str, ...]
    seed: int | None
    warnings: tuple[str, ...]
    trace: tuple[TokenTrace, ...] | None = None
    reasoning: str = ""
    applied: AppliedStrength | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    stop_text: str | None = None
    announcement: str = ""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        text: text of the answer that is decided now; may be empty (a character may span tokens, a
            stop text may be beginning).
        reasoning: the same of what a thinking model writes to itself.
        is_reasoning: whether the token belongs to that, or to the tags around it.
        token_ids: the tokens it came with; empty in the last chunk.
        finish_reason: None but in the last chunk.
        generation: the whole answer, in the last chunk.
        trace: how the token was chosen, if that was asked for.
        tool_calls: what is decided now of the functions that it calls.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    generation: Generation | None = None
    trace: TokenTrace | None = None
    reasoning: str = ""
    is_reasoning: bool = False
    tool_calls: tuple[ToolCallPiece, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LogRatios:
    """How much likelier preferences' prompts make an answer than the plain one does.

    Attributes:
        means: of log p_k - log p_0 over the answer's tokens, in nats, one for each preference.
        expected: what that would be on average for answers of the plain prompt, at most 0: minus
            the divergence KL(p_0 || p_k), over the same positions.
        n_tokens: of the answer, its end included if that counts.
    """

    means: tuple[float, ...]
    expected: tuple[float, ...]
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """Log-probabilities (natural logarithm) of a given answer, token by token.

    Attributes:
        token_ids: the answer's tokens, n of them.
        plain: under the plain prompt, n values.
        preferences: under each preference prompt, n values each.
        realigned: under the combination at `guidance_scale`, n values; the plain ones if there is
            no preference.
        guidance_scale: the scale a of `realigned`.
    """

    token_ids: tuple[int, ...]
    plain: tuple[float, ...]
    preferences: tuple[tuple[float, ...], ...]
    realigned: tuple[float, ...]
    guidance_scale: float

    @property
    def fluency(self) -> float:
        """Mean plain log-probability per token."""
        return math.fsum(self.plain) / len(self.plain)

    @property
    def margins(self) -> tuple[float, ...]:
        """Mean of log p_k - log p_0 per token, for each preference k."""
        return tuple(
            (math.fsum(row) - math.fsum(self.plain)) / len(self.plain) for row in self.preferences
        )
