"""One answer while it is made: from rows of logits to tokens, text and the reason it ended.

Knows nothing about how rows are computed: it is given their logits and says which token comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from amulet_local.answering.answer_reader import AnswerReader
from amulet_local.answering.applied import Applied
from amulet_local.answering.clock import Clock
from amulet_local.answering.picker import Picker
from amulet_local.answering.request import Request
from amulet_local.answering.said_position import SaidPosition
from amulet_local.answering.tracing import Tracer
from amulet_local.common.results import Chunk, FinishReason, Generation, TokenTrace, Usage
from amulet_local.llama.sampler import GREEDY_BELOW
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.preferences.form import ANY_FORM, Form
from amulet_local.steering.steering import Steering
from amulet_local.text.json_position import JsonPosition


class Answer:
    """The answer to one request. `close` frees its samplers.

    Attributes:
        steering: how the rows combine.
        tokens: what was chosen so far.
        finish_reason: why it ended; None while it goes on.
        clock: where the time went.
        n_cached: tokens of the longest prompt that were in memory before.
    """

    def __init__(self, request: Request, realigner: Realigner, vocabulary: Vocabulary) -> None:
        """Start."""
        self._reader = AnswerReader.of(request, vocabulary)
        self.steering = Steering(
            request.plan,
            request.amulet,
            realigner,
            prompts=request.prompts,
            end_tokens=() if request.sampling.ignore_eos else vocabulary.end_tokens,
            vocabulary=vocabulary,
            json_position=self._position(request),
            is_drawn=request.sampling.temperature >= GREEDY_BELOW,
            form=_form(request),
            begun=request.begun,
        )
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.clock = Clock(request.started_seconds)
        self.n_cached = 0
        self._request = request
        self._vocabulary = vocabulary
        self._picker = Picker(request, realigner, vocabulary)
        self.steering.in_reasoning = self._reader.in_reasoning
        self._warnings = list(request.warnings)
        self._room = _room(request)
        self._applied = Applied()
        self._tracer = None
        if request.trace is not None:
            self._tracer = Tracer(realigner, vocabulary, request.trace)
        self._n_top = request.trace or 0
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
        if self.steering.plan.weights:
            self._applied.note(combination.scale, self.steering.divergence())
        trace = None
        if self._tracer is not None:
            trace = self._tracer.trace(
                rows, self.steering.plan, combination, token, self._picker.left(token, self._n_top)
            )
            self._trace.append(trace)
        if token in self._vocabulary.end_tokens:
            self.finish_reason = "stop"
            return None
        piece = self._reader.push(token)
        self.steering.accept(token, self._reader.written)
        self.steering.in_reasoning = self._reader.in_reasoning
        if self._reader.stop_text is not None:
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
            is_reasoning=self._reader.is_before_answer,
            tool_calls=piece.calls,
        )

    def _position(self, request: Request) -> JsonPosition | None:
        """Where the answer is text, if that isn't everywhere."""
        position = None if request.sampling.json_schema is None else JsonPosition()
        if request.calling is None:
            return position
        return SaidPosition(position, lambda: self._reader.in_call)

    def change(self, request: Request) -> bool:
        """Go on with the rows, strength and guards of `request`; its sampling is left aside.

        Ends the answer where the new prompts leave no room for it.

        Returns:
            Whether the rows are the same as before.
        """
        before = self._request
        self._request = replace(
            request, sampling=before.sampling, seed=before.seed, calling=before.calling
        )
        self._room = _room(request)
        self._warnings += [text for text in request.warnings if text not in self._warnings]
        same_rows = (
            request.prompts == before.prompts and request.plan.has_plain == before.plan.has_plain
        )
        self.steering.change(
            request.plan, request.amulet, request.prompts, _form(self._request), same_rows=same_rows
        )
        self._end_if_full()
        return same_rows

    def without_plain(self) -> Request | None:
        """The request with the preference row alone, once the plain one doesn't matter any more.

        None before that, and where the plain row's probabilities are traced.
        """
        if self._tracer is not None or not self.steering.needs_no_plain:
            return None
        request = self._request
        return replace(request, prompts=request.prompts[1:], plan=request.plan.without_plain())

    def _end_if_full(self) -> None:
        if len(self.tokens) > self._room:
            self.finish_reason = "length"
            self._warnings.append(self._request.context_is_full(len(self.tokens)))

    def close(self) -> None:
        """Free the samplers."""
        self._picker.close()

    def last_chunk(self, computed_tokens: int) -> Chunk:
        """What is left of the text, with the whole answer.

        Args:
            computed_tokens: for the usage.
        """
        request, rest = self._request, self._reader.finish()
        if self._reader.stop_text is not None:
            self.finish_reason = "stop"
        if self._reader.in_reasoning and self.finish_reason != "cancelled":
            note = f"the model was still reasoning after {len(self.tokens)} tokens: no answer"
            if self.finish_reason == "length":
                note += "; allow more of them (max_tokens, -n)"
            self._warnings.append(note)
        return Chunk(
            text=rest.answer,
            reasoning=rest.reasoning,
            finish_reason=self.finish_reason,
            tool_calls=rest.calls,
            generation=Generation(
                text=self._reader.text,
                reasoning=self._reader.reasoning,
                tool_calls=self._reader.calls,
                token_ids=tuple(self.tokens),
                finish_reason=self.finish_reason or "cancelled",
                stop_text=self._reader.stop_text,
                announcement=self._reader.announcement,
                usage=Usage(
                    prompt_tokens=max(len(prompt) for prompt in request.prompts),
                    completion_tokens=len(self.tokens),
                    computed_tokens=computed_tokens,
                    cached_tokens=self.n_cached,
                    reasoning_tokens=self._reader.n_before_answer,
                ),
                timings=self.clock.timings(),
                method=request.method,
                preset=request.preset,
                guidance_scale=request.amulet.guidance_scale,
                preferences=request.preferences,
                seed=request.seed if request.sampling.temperature > 0 else None,
                warnings=(*self._warnings, *self.steering.warnings),
                trace=None if self._tracer is None else tuple(self._trace),
                applied=self._applied.strength,
            ),
        )


def _form(request: Request) -> Form:
    """The form that its preferences ask for, where no grammar says what the answer is."""
    return ANY_FORM if request.sampling.grammar else request.form


def _room(request: Request) -> int:
    """Tokens that the context holds after the prompts."""
    return request.n_ctx - max(len(prompt) for prompt in request.prompts)
