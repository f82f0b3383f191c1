"""Answers in OpenAI's shapes with what OpenAI doesn't know: how tokens were chosen, and how fast.

Knows nothing about how answers are asked for; it is told what comes of them.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amulet_local.answering.request import Request
from amulet_local.common.results import Alternative, Chunk, Generation, TokenTrace
from amulet_local.llama import library
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.openai.shapes import Answers, ChatAnswers, TextAnswers, finite
from amulet_local.server.said_to_clients import for_clients
from amulet_local.serving.ticket import Ticket


@dataclass(frozen=True)
class PromptProgress:
    """How far the prompts of all rows are.

    Attributes:
        n_done, n_total: tokens; of those done, n_cached were in memory.
        milliseconds: since the first of them was looked at.
    """

    n_done: int
    n_total: int
    n_cached: int
    milliseconds: float

    def as_json(self) -> dict[str, Any]:
        """As llama-server says it."""
        return {
            "total": self.n_total,
            "cache": self.n_cached,
            "processed": self.n_done,
            "time_ms": round(self.milliseconds),
        }


class TracedAnswers(Answers):
    """Answers with traces, timings and what was followed."""

    def __init__(
        self,
        *,
        model: str,
        vocabulary: Vocabulary,
        stream: bool,
        n_logprobs: int | None,
        n: int,
        trace: int | None,
        echo: bool,
        is_verbose: bool = False,
        is_timed: bool = False,
        lists_drawn: bool = False,
    ) -> None:
        """None yet.

        Args:
            model, vocabulary, stream, n_logprobs, n: see Answers.
            trace: alternatives in a token's trace; None gives no traces.
            echo: an answer's text begins with its prompt's.
            is_verbose: the prompt is said, as llama-server does.
            is_timed: each piece has the timings so far.
            lists_drawn: what is listed with a token are probabilities of what the samplers left,
                where a protocol has that.
        """
        super().__init__(
            model=model, vocabulary=vocabulary, stream=stream, n_logprobs=n_logprobs, n=n
        )
        self.head["system_fingerprint"] = f"b{library.build_version()}"
        self._echo, self._is_verbose, self._is_timed = echo, is_verbose, is_timed
        self._lists_drawn = lists_drawn
        self._n_alternatives = trace
        self._request: Request | None = None
        self._ticket: Ticket | None = None
        self._n_taken = 0

    def expect(self, request: Request, ticket: Ticket | None = None) -> None:
        """Take note of what the next answer follows, and of who knows its times."""
        self._request, self._ticket = request, ticket

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts, how many of the prompts' were in memory and how many were reasoning."""
        return {
            **super().usage,
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self._reasoning_tokens},
        }

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The first piece says what is followed."""
        self._n_taken = 0
        pieces = super().begin(index)
        if pieces and self._request is not None:
            pieces[-1]["amulet"] = followed(self._request)
        return pieces

    def progress(self, index: int, progress: PromptProgress) -> dict[str, Any]:
        """A piece that says how far the prompt is."""
        piece = self._piece(self._progress_choice(index))
        piece["prompt_progress"] = progress.as_json()
        if self._is_timed:
            piece["timings"] = _timings(
                cache_n=progress.n_cached,
                prompt_n=progress.n_done - progress.n_cached,
                prompt_ms=progress.milliseconds,
            )
        return piece

    def take(self, index: int, chunk: Chunk) -> list[dict[str, Any]]:
        """Pieces for what came, with how their tokens were chosen."""
        n_before = len(self._traces)
        pieces = super().take(index, chunk)
        self._n_taken += len(chunk.token_ids)
        if self._is_timed and pieces:
            pieces[-1]["timings"] = self._timings_so_far()
        traces = self._traces[n_before:]
        if pieces and traces and self._n_alternatives is not None:
            pieces[-1]["choices"][0]["amulet"] = self._tokens(traces)
        return pieces

    def end(self, index: int, generation: Generation) -> dict[str, Any]:
        """The piece that ends an answer, with its timings and what was followed."""
        piece = super().end(index, generation)
        if self._n_alternatives is not None:
            self._choices[-1]["amulet"] = self._tokens(self._traces)
        return {**piece, **self._verbose()}

    def _ending_of(self, generation: Generation) -> dict[str, Any]:
        is_end = bool(generation.token_ids) and (
            generation.token_ids[-1] in self._vocabulary.end_tokens
        )
        is_full = generation.finish_reason == "length"
        return {
            "stop_type": "limit" if is_full else "eos" if is_end else "word",
            "stopping_word": generation.stop_text or "",
            "timings": _final_timings(generation, self._ticket),
            **super()._ending_of(generation),
        }

    def _in_words(self, warning: str) -> str:
        return for_clients(warning)

    def usage_piece(self) -> dict[str, Any]:
        """The piece that a stream with usage ends with."""
        return {**super().usage_piece(), "timings": self._ending["timings"]}

    def whole(self) -> dict[str, Any]:
        """All answers."""
        return {**super().whole(), **self._verbose()}

    def _timings_so_far(self) -> dict[str, Any]:
        ticket, request = self._ticket, self._request
        assert ticket is not None
        assert request is not None
        cache_n = ticket.control.n_cached
        begun, first = ticket.admitted_seconds or 0.0, ticket.first_token_seconds or 0.0
        return _timings(
            cache_n=cache_n,
            prompt_n=max(map(len, request.prompts)) - cache_n,
            prompt_ms=1000 * (first - begun),
            predicted_n=self._n_taken,
            predicted_ms=1000 * (time.perf_counter() - first) if self._n_taken > 1 else 0.0,
        )

    @abstractmethod
    def _progress_choice(self, index: int) -> dict[str, Any]:
        """The choice of a piece that adds nothing."""

    def _verbose(self) -> dict[str, Any]:
        if not self._is_verbose or self._request is None:
            return {}
        return {"__verbose": {"prompt": self._vocabulary.text(self._request.prompts[0])}}

    def _tokens(self, traces: Sequence[TokenTrace]) -> dict[str, Any]:
        return {"tokens": [_token(trace, self._n_alternatives or 0) for trace in traces]}


class TracedChatAnswers(TracedAnswers, ChatAnswers):
    """Those of a chat completion."""

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The piece with the role; its content is null, as OpenAI and llama-server have it."""
        pieces = super().begin(index)
        pieces[0]["choices"][0]["delta"]["content"] = None
        return pieces

    def _progress_choice(self, index: int) -> dict[str, Any]:
        return self._delta(index, {})

    def _token(self, token: int, text: str, log_probability: float) -> dict[str, Any]:
        """With its id, as llama-server says it."""
        return {"id": token, **super()._token(token, text, log_probability)}


class TracedTextAnswers(TracedAnswers, TextAnswers):
    """Those of a text completion."""

    def expect(self, request: Request, ticket: Ticket | None = None) -> None:
        """Take note, also of what is to be said again."""
        super().expect(request, ticket)
        if self._echo:
            self.echoed = self._vocabulary.text(request.prompts[0])

    def _progress_choice(self, index: int) -> dict[str, Any]:
        return {"index": index, "text": "", "logprobs": None, "finish_reason": None}


def _token(trace: TokenTrace, n_alternatives: int) -> dict[str, Any]:
    def top(alternatives: Sequence[Alternative]) -> list[dict[str, Any]]:
        return [
            {"id": item.token_id, "text": item.text, "logprob": finite(item.log_probability)}
            for item in alternatives[:n_alternatives]
        ]

    return {
        "id": trace.token_id,
        "text": trace.text,
        "plain": None if trace.plain is None else finite(trace.plain),
        "preferences": [finite(value) for value in trace.preferences],
        "realigned": finite(trace.realigned),
        "scale": trace.scale,
        "kl": trace.kl,
        "top_plain": top(trace.top_plain),
        "top_preferences": [top(row) for row in trace.top_preferences],
        "top_realigned": top(trace.top_realigned),
    }


def followed(request: Request) -> dict[str, Any]:
    """Which preferences an answer follows, and how strongly."""
    return {
        "preferences": list(request.preferences),
        "preset": request.preset,
        "guidance_scale": request.amulet.guidance_scale,
        "kl_budget": request.amulet.kl_budget,
        "kl_target": request.amulet.kl_target,
    }


def _final_timings(generation: Generation, ticket: Ticket | None) -> dict[str, Any]:
    """Those of an answer that is complete.

    amulet_compute_ms is the time in which this answer's own tokens were computed.
    """
    cache_n = generation.usage.cached_tokens
    decode_ms = predicted_ms = 1000 * generation.timings.decode_seconds
    if ticket is not None and ticket.last_token_seconds and ticket.first_token_seconds:
        predicted_ms = 1000 * (ticket.last_token_seconds - ticket.first_token_seconds)
    timings = _timings(
        cache_n=cache_n,
        prompt_n=generation.usage.prompt_tokens - cache_n,
        prompt_ms=1000 * generation.timings.prompt_seconds,
        predicted_n=generation.usage.completion_tokens,
        predicted_ms=predicted_ms,
    )
    return {**timings, "amulet_compute_ms": decode_ms}


def _timings(
    *,
    cache_n: int,
    prompt_n: int,
    prompt_ms: float,
    predicted_n: int = 0,
    predicted_ms: float = 0.0,
) -> dict[str, Any]:
    """As llama-server gives them: milliseconds on the clock, waiting for others' turns included.

    Tokens of the longest prompt of the rows: cache_n were in memory, prompt_n were computed.
    """
    further_n = max(0, predicted_n - 1)
    return {
        "cache_n": cache_n,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / max(1, prompt_n),
        "prompt_per_second": 1000 * prompt_n / prompt_ms if prompt_ms else 0.0,
        "predicted_n": predicted_n,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / max(1, further_n),
        "predicted_per_second": 1000 * further_n / predicted_ms if predicted_ms else 0.0,
    }
