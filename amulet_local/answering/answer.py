"""One answer while it is made: from rows of logits to tokens, text and the reason it ended.

Knows nothing about how rows are computed: it is given their logits and says which token comes next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from amulet_local.answering.request import Request
from amulet_local.answering.tracing import Tracer
from amulet_local.common.results import Chunk, FinishReason, Generation, Timings, TokenTrace, Usage
from amulet_local.llama.sampler import SamplerChain
from amulet_local.llama.vocabulary import TextStream, Vocabulary
from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.steering.steering import Steering
from amulet_local.steering.step import Combination
from amulet_local.text.json_position import JsonPosition
from amulet_local.text.reasoning import Piece, ReasoningSplitter
from amulet_local.text.stop_texts import StopFinder


class Answer:
    """The answer to one request. `close` frees its samplers.

    Attributes:
        steering: how the rows combine.
        tokens: what was chosen so far.
        finish_reason: why it ended; None while it goes on.
        clock: where the time went.
    """

    def __init__(self, request: Request, realigner: Realigner, vocabulary: Vocabulary) -> None:
        """Start."""
        self.steering = Steering(
            request.plan,
            request.amulet,
            realigner,
            prompts=request.prompts,
            end_tokens=vocabulary.end_tokens,
            vocabulary=vocabulary,
            json_position=None if request.sampling.json_schema is None else JsonPosition(),
        )
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.clock = Clock(request.started_seconds)
        self._request = request
        self._vocabulary = vocabulary
        self._picker = Picker(request, realigner, vocabulary)
        self._stream = TextStream(vocabulary)
        self._splitter: ReasoningSplitter | None = None
        if request.sampling.reasoning_format == "separate":
            self._splitter = ReasoningSplitter(request.closing_tag)
            self.steering.in_reasoning = self._splitter.in_reasoning
        self._stops = StopFinder(request.sampling.stop)
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._warnings = list(request.warnings)
        self._room = _room(request)
        self._tracer = None
        if request.n_top is not None:
            self._tracer = Tracer(realigner, vocabulary, request.n_top)
        self._trace: list[TokenTrace] = []

    def take(self, rows: Sequence[Logits]) -> Chunk | None:
        """Choose the next token; its piece of text, None for the token that ends the answer.

        Args:
            rows: the logits of every row of the request's plan.

        Raises:
            LogitsError: the logits allow no token.
        """
        combination = self.steering.combine(rows)
        token = self._picker.pick(combination, self.steering)
        self.clock.token_done()
        self.tokens.append(token)
        trace = None
        if self._tracer is not None:
            trace = self._tracer.trace(rows, self.steering.plan, combination, token)
            self._trace.append(trace)
        if token in self._vocabulary.end_tokens:
            self.finish_reason = "stop"
            return None
        text = self._stream.push(token)
        self.steering.accept(token, text)
        piece = self._decided(text)
        if self._stops.found is not None:
            self.finish_reason = "stop"
        elif len(self.tokens) >= self._request.sampling.max_tokens:
            self.finish_reason = "length"
        else:
            self._end_if_full()
        return Chunk(
            text=piece.answer,
            token_ids=(token,),
            trace=trace,
            reasoning=piece.reasoning,
            is_reasoning=self._splitter is not None and self._splitter.is_before_answer,
        )

    def _decided(self, text: str) -> Piece:
        """What is certain to be reasoning, and answer, now that the model wrote `text`."""
        piece = Piece("", text)
        if self._splitter is not None:
            piece = self._splitter.push(text)
            self.steering.in_reasoning = self._splitter.in_reasoning
        return self._kept(piece.reasoning, self._stops.push(piece.answer))

    def _rest(self) -> Piece:
        """What was held back, at the end."""
        start = self._decided(self._stream.finish())
        held = Piece("", "")
        if self._splitter is not None:
            held = self._splitter.finish()
        answer = self._stops.push(held.answer) + self._stops.finish()
        end = self._kept(held.reasoning, answer)
        return Piece(start.reasoning + end.reasoning, start.answer + end.answer)

    def _kept(self, reasoning: str, answer: str) -> Piece:
        self._reasoning.append(reasoning)
        self._texts.append(answer)
        return Piece(reasoning, answer)

    def change(self, request: Request) -> bool:
        """Go on with the rows, strength and guards of `request`; its sampling is left aside.

        Ends the answer where the new prompts leave no room for it.

        Returns:
            Whether the rows are the same as before.
        """
        before = self._request
        self._request = replace(request, sampling=before.sampling, seed=before.seed)
        self._room = _room(request)
        self._warnings += [text for text in request.warnings if text not in self._warnings]
        same_rows = (
            request.prompts == before.prompts and request.plan.has_plain == before.plan.has_plain
        )
        self.steering.change(request.plan, request.amulet, request.prompts, same_rows=same_rows)
        self._end_if_full()
        return same_rows

    def _end_if_full(self) -> None:
        if len(self.tokens) > self._room:
            self.finish_reason = "length"
            self._warnings.append(
                f"the answer was cut after {len(self.tokens)} tokens, because the context of "
                f"{self._request.n_ctx} is full; use a larger one (n_ctx, -c)"
            )

    def close(self) -> None:
        """Free the samplers."""
        self._picker.close()

    def last_chunk(self, computed_tokens: int) -> Chunk:
        """What is left of the text, with the whole answer.

        Args:
            computed_tokens: for the usage.
        """
        request, rest = self._request, self._rest()
        if self._stops.found is not None:
            self.finish_reason = "stop"
        if self.steering.in_reasoning and self.finish_reason != "cancelled":
            note = f"the model was still reasoning after {len(self.tokens)} tokens: no answer"
            if self.finish_reason == "length":
                note += "; allow more of them (max_tokens, -n)"
            self._warnings.append(note)
        return Chunk(
            text=rest.answer,
            reasoning=rest.reasoning,
            finish_reason=self.finish_reason,
            generation=Generation(
                text="".join(self._texts),
                reasoning="".join(self._reasoning),
                token_ids=tuple(self.tokens),
                finish_reason=self.finish_reason or "cancelled",
                usage=Usage(
                    prompt_tokens=max(len(prompt) for prompt in request.prompts),
                    completion_tokens=len(self.tokens),
                    computed_tokens=computed_tokens,
                ),
                timings=self.clock.timings(),
                method=request.method,
                preset=request.preset,
                guidance_scale=request.amulet.guidance_scale,
                preferences=request.preferences,
                seed=request.seed if request.sampling.temperature > 0 else None,
                warnings=(*self._warnings, *self.steering.warnings),
                trace=None if self._tracer is None else tuple(self._trace),
            ),
        )


def _room(request: Request) -> int:
    """Tokens that the context holds after the prompts."""
    return request.n_ctx - max(len(prompt) for prompt in request.prompts)


class Picker:
    """Draws a token from a combination: the kernel's argmax, or llama.cpp's samplers."""

    def __init__(self, request: Request, realigner: Realigner, vocabulary: Vocabulary) -> None:
        self._realigner = realigner
        self._chain: SamplerChain | None = None
        sampling = request.sampling
        if sampling.temperature == 0 and not sampling.changes_greedy:
            return
        self._chain = SamplerChain(
            sampling, vocabulary=vocabulary, n_ctx=request.n_ctx, seed=request.seed
        )
        self._chain.accept_prompt(request.prompts[0])
        self._n_likeliest = self._chain.n_likeliest

    def pick(self, combination: Combination, steering: Steering) -> int:
        """The next token.

        Args:
            steering: what made the combination; it may have found the best token already, and
                knows what guards rule out where a grammar wants that.

        Raises:
            LogitsError: the logits allow none.
        """
        if self._chain is None:
            return steering.likeliest()
        fill = self._realigner.fill_candidates
        token = self._chain.pick(
            lambda: fill(*combination, n_likeliest=self._n_likeliest),
            lambda: (
                lambda: fill(*combination._replace(tokens=None)),
                lambda: fill(*steering.everything()),
            ),
        )
        self._chain.accept(token)
        return token

    def close(self) -> None:
        """Free the samplers."""
        if self._chain is not None:
            self._chain.close()


class Clock:
    """Times the work; the time in which a consumer holds a chunk doesn't count as decoding."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._prompt_start = self._mark = time.perf_counter()
        self._prompt_seconds: float | None = None
        self._first: float | None = None
        self._decode_seconds = 0.0
        self._n_tokens = 0

    def prompt_starts(self) -> None:
        """The computation of the prompts begins."""
        self._prompt_start = time.perf_counter()

    def prompt_done(self) -> None:
        """The prompts are computed."""
        self._prompt_seconds = time.perf_counter() - self._prompt_start

    def token_done(self) -> None:
        """A token was chosen."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        else:
            self._decode_seconds += now - self._mark
        self._mark = now
        self._n_tokens += 1

    def resumes(self) -> None:
        """The consumer of a chunk is done with it."""
        self._mark = time.perf_counter()

    def timings(self) -> Timings:
        """The times so far."""
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
