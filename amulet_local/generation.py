"""One generation: from prompts as token ids to an answer, token by token.

Knows nothing about chat templates or about who may use the engine when; engine.py does.
"""

from __future__ import annotations

import operator
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from amulet_local.decoding import DecodingMethod, method_named
from amulet_local.errors import EmptyPromptError, InvalidParameterError, PromptTooLongError
from amulet_local.llama.rows import Progress, RowSet, StoppedError
from amulet_local.llama.sampler import SamplerChain
from amulet_local.llama.vocabulary import TextStream, Vocabulary
from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.params import AmuletParams, SamplingParams
from amulet_local.preferences import Preference
from amulet_local.results import Chunk, FinishReason, Generation, Timings, Usage


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """Which rows a generation computes, and how they combine.

    Attributes:
        has_plain: whether row 0 is the plain prompt's; the others are the preferences'.
        weights: one per preference row.
        guidance_scale: the scale a.
    """

    has_plain: bool
    weights: tuple[float, ...]
    guidance_scale: float

    @staticmethod
    def of(method: DecodingMethod, weights: Sequence[float], scale: float) -> RowPlan:
        """The rows that `method` needs for preferences of these weights."""
        if not method.needs_preference:
            return RowPlan(has_plain=True, weights=(), guidance_scale=scale)
        is_mix = tuple(weights) != (1.0,)
        return RowPlan(
            has_plain=method.needs_plain or is_mix, weights=tuple(weights), guidance_scale=scale
        )

    @property
    def n_rows(self) -> int:
        """Rows to compute."""
        return self.has_plain + len(self.weights)

    def pair(self, rows: Sequence[Logits], realigner: Realigner) -> tuple[Logits, Logits]:
        """The two rows that the scale combines: plain and (mixed) preference.

        Where a method needs one row only, it is both, and the combination is that row.
        """
        plain = rows[0]
        if not self.weights:
            return plain, plain
        preference = realigner.mix(plain, rows[self.has_plain :], self.weights)
        return (plain if self.has_plain else preference), preference


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything a generation needs, checked.

    Attributes:
        prompts: token ids of each row's prompt.
        plan: which rows these are.
        method: the method's name.
        sampling: length and sampling.
        seed: for the draws.
        n_ctx: most tokens a row can hold.
        started_seconds: time.perf_counter() when it was asked for.
        preferences, warnings: for the result.
    """

    prompts: tuple[tuple[int, ...], ...]
    plan: RowPlan
    method: str
    sampling: SamplingParams
    seed: int
    n_ctx: int
    started_seconds: float
    preferences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_method(name: str | None, *, has_preference: bool) -> DecodingMethod:
    """The method called `name`; without one, "amulet" with a preference and "base" without.

    Raises:
        UnknownMethodError: there is no such method.
        InvalidParameterError: the method needs a preference and there is none.
    """
    method = method_named(name or ("amulet" if has_preference else "base"))
    if method.needs_preference and not has_preference:
        raise InvalidParameterError(
            f"the method {method.name!r} needs a preference, e.g. preference='concise'"
        )
    return method


def token_ids(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Token ids as plain integers of this vocabulary.

    Raises:
        EmptyPromptError: there are none.
        InvalidTokenError: one isn't an id of this vocabulary.
        InvalidParameterError: not a sequence of integers.
    """
    try:
        checked = tuple(
            token if isinstance(token, bool) else operator.index(token) for token in as_list(ids)
        )
    except TypeError:
        raise InvalidParameterError("token ids must be a list of integers") from None
    if not checked:
        raise EmptyPromptError("the list of prompt token ids is empty")
    for token in checked:
        vocabulary.check(token)
    return checked


def as_list(values: Any) -> list[Any]:
    """A caller's sequence as a list.

    Raises:
        InvalidParameterError: it isn't one.
    """
    if isinstance(values, str | bytes | Mapping | Set):
        raise InvalidParameterError(f"expected a list of numbers, got {type(values).__name__}")
    try:
        return list(values)
    except TypeError:
        raise InvalidParameterError(
            f"expected a list of numbers, got {type(values).__name__}"
        ) from None


def checked_weights(weights: Sequence[float] | None, n_preferences: int) -> list[float]:
    """One weight per preference, all 1 for None.

    Raises:
        InvalidParameterError: another number of them, one out of range, or all zero.
    """
    if weights is None:
        return [1.0] * n_preferences
    weights = as_list(weights)
    if len(weights) != n_preferences:
        raise InvalidParameterError(
            f"{len(weights)} weights for {n_preferences} preference prompts; give one for each"
        )
    checked = [Preference(text="weight", weight=weight).weight for weight in weights]
    if n_preferences and not any(checked):
        raise InvalidParameterError("every preference has weight 0, so there is nothing to follow")
    return checked


def build_request(
    method: DecodingMethod,
    prompts: Sequence[tuple[int, ...]],
    *,
    weights: Sequence[float],
    amulet: AmuletParams | None,
    sampling: SamplingParams | None,
    n_ctx: int,
    n_answer: int = 1,
    preferences: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Request:
    """Check the request as a whole.

    Args:
        prompts: one per row of the method's plan.
        n_answer: tokens that have to follow the prompt; the last of them needs no room.

    Raises:
        InvalidParameterError: `amulet` or `sampling` is something else.
        PromptTooLongError: a prompt has more tokens than a row can hold.
    """
    if not isinstance(amulet, AmuletParams | None):
        raise InvalidParameterError(f"amulet must be AmuletParams, got {type(amulet).__name__}")
    if not isinstance(sampling, SamplingParams | None):
        raise InvalidParameterError(
            f"sampling must be SamplingParams, got {type(sampling).__name__}"
        )
    sampling = sampling or SamplingParams()
    longest = max(len(prompt) for prompt in prompts)
    needed = longest + n_answer - 1
    if needed > n_ctx:
        counted = f"the prompt has {longest} tokens"
        if n_answer > 1:
            counted += f", the answer {n_answer},"
        raise PromptTooLongError(
            f"{counted} and the context holds {n_ctx}; shorten it or use a larger context "
            f"(n_ctx, -c {needed + sampling.max_tokens})",
            n_prompt_tokens=longest,
            n_ctx=n_ctx,
        )
    scale = method.guidance_scale(amulet)
    strength_warnings = amulet.warnings if amulet and method.needs_plain else ()
    return Request(
        prompts=tuple(prompts),
        plan=RowPlan.of(method, weights, scale),
        method=method.name,
        sampling=sampling,
        seed=secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed,
        n_ctx=n_ctx,
        started_seconds=time.perf_counter(),
        preferences=tuple(preferences) if method.needs_preference else (),
        warnings=(*warnings, *strength_warnings),
    )


class Picker:
    """Chooses the next token from the rows: the kernel's argmax, or llama.cpp's samplers."""

    def __init__(self, request: Request, realigner: Realigner) -> None:
        self._plan = request.plan
        self._realigner = realigner
        self._chain: SamplerChain | None = None
        sampling = request.sampling
        if sampling.temperature == 0 and not sampling.has_penalties:
            return
        self._chain = SamplerChain(
            sampling, n_vocab=realigner.n_vocab, n_ctx=request.n_ctx, seed=request.seed
        )
        if sampling.has_penalties:
            for token in request.prompts[0]:
                self._chain.accept(token)

    def pick(self, rows: Sequence[Logits]) -> int:
        """The next token.

        Raises:
            LogitsError: the logits allow none.
        """
        plain, preference = self._plan.pair(rows, self._realigner)
        scale = self._plan.guidance_scale
        if self._chain is None:
            return self._realigner.greedy(plain, preference, scale)
        self._realigner.fill_candidates(plain, preference, scale)
        token = self._chain.pick(self._realigner.candidates)
        self._chain.accept(token)
        return token

    def close(self) -> None:
        """Free the samplers."""
        if self._chain is not None:
            self._chain.close()


def generate(
    request: Request,
    rows: RowSet,
    realigner: Realigner,
    vocabulary: Vocabulary,
    *,
    prompt_progress: Progress | None = None,
    prepare: Callable[[], None] | None = None,
) -> Generator[Chunk, None, None]:
    """Run a generation; the last chunk has the whole answer.

    Args:
        prompt_progress: called with (tokens done, tokens in all) during prefill.
        prepare: called before the prefill; cancelling ends it too.

    Raises:
        BackendError: llama.cpp failed. The rows are empty and usable.
    """
    clock = _Clock(request.started_seconds)
    picker: Picker | None = None
    warnings = list(request.warnings)
    stream = TextStream(vocabulary)
    texts: list[str] = []
    tokens: list[int] = []
    finish_reason: FinishReason | None = None
    computed_before = rows.n_decoded
    try:
        picker = Picker(request, realigner)
        if prepare is not None:
            prepare()
        clock.prompt_starts()
        rows.prefill(request.prompts, prompt_progress)
        clock.prompt_done()
        room = request.n_ctx - max(rows.n_tokens)
        while True:
            token = picker.pick([rows.logits(row) for row in range(request.plan.n_rows)])
            clock.token_done()
            tokens.append(token)
            if token in vocabulary.end_tokens:
                finish_reason = "stop"
                break
            texts.append(stream.push(token))
            yield Chunk(text=texts[-1], token_ids=(token,))
            clock.resumes()
            if len(tokens) >= request.sampling.max_tokens:
                finish_reason = "length"
                break
            if len(tokens) > room:
                finish_reason = "length"
                warnings.append(
                    f"the answer was cut after {len(tokens)} tokens, because the context of "
                    f"{request.n_ctx} is full; use a larger one (n_ctx, -c)"
                )
                break
            rows.step(token)
    except StoppedError:
        finish_reason = "cancelled"
    finally:
        if picker is not None:
            picker.close()
    texts.append(stream.finish())
    yield Chunk(
        text=texts[-1],
        finish_reason=finish_reason,
        generation=Generation(
            text="".join(texts),
            token_ids=tuple(tokens),
            finish_reason=finish_reason,
            usage=Usage(
                prompt_tokens=max(len(prompt) for prompt in request.prompts),
                completion_tokens=len(tokens),
                computed_tokens=rows.n_decoded - computed_before,
            ),
            timings=clock.timings(),
            method=request.method,
            guidance_scale=request.plan.guidance_scale,
            preferences=request.preferences,
            seed=request.seed if request.sampling.temperature > 0 else None,
            warnings=tuple(warnings),
        ),
    )


class _Clock:
    """Times the work; the time in which a consumer holds a chunk doesn't count as decoding."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._prompt_start = self._mark = time.perf_counter()
        self._prompt_seconds: float | None = None
        self._first: float | None = None
        self._decode_seconds = 0.0
        self._n_tokens = 0

    def prompt_starts(self) -> None:
        self._prompt_start = time.perf_counter()

    def prompt_done(self) -> None:
        self._prompt_seconds = time.perf_counter() - self._prompt_start

    def token_done(self) -> None:
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        else:
            self._decode_seconds += now - self._mark
        self._mark = now
        self._n_tokens += 1

    def resumes(self) -> None:
        self._mark = time.perf_counter()

    def timings(self) -> Timings:
        now = time.perf_counter()
        n_steps = self._n_tokens - 1
        rate = n_steps / self._decode_seconds if n_steps > 0 and self._decode_seconds else 0.0
        prompt = self._prompt_seconds
        return Timings(
            prompt_seconds=now - self._prompt_start if prompt is None else prompt,
            time_to_first_token_seconds=(self._first or now) - self._started,
            decode_seconds=self._decode_seconds,
            tokens_per_second=rate,
        )
