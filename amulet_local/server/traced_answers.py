"""Answers in OpenAI's shapes with what OpenAI doesn't know: how tokens were chosen, and how fast.

Knows nothing about how answers are asked for; it is told what comes of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from amulet_local.answering.request import Request
from amulet_local.common.results import Alternative, Chunk, Generation, TokenTrace
from amulet_local.llama import library
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.openai.shapes import Answers, ChatAnswers, TextAnswers, finite
from amulet_local.serving.ticket import Ticket


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
    ) -> None:
        """None yet.

        Args:
            model, vocabulary, stream, n_logprobs, n: see Answers.
            trace: alternatives in a token's trace; None gives no traces.
            echo: an answer's text begins with its prompt's.
            is_verbose: the prompt is said, as llama-server does.
        """
        super().__init__(
            model=model, vocabulary=vocabulary, stream=stream, n_logprobs=n_logprobs, n=n
        )
        self.head["system_fingerprint"] = f"b{library.build_version()}"
        self._echo, self._is_verbose = echo, is_verbose
        self._n_alternatives = trace
        self._request: Request | None = None
        self._ticket: Ticket | None = None

    def expect(self, request: Request, ticket: Ticket | None = None) -> None:
        """Take note of what the next answer follows, and of who knows its times."""
        self._request, self._ticket = request, ticket

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts, and how many of the prompts' were in memory."""
        return {**super().usage, "prompt_tokens_details": {"cached_tokens": self._cached_tokens}}

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The first piece says what is followed."""
        pieces = super().begin(index)
        if pieces and self._request is not None:
            pieces[-1]["amulet"] = followed(self._request)
        return pieces

    def take(self, index: int, chunk: Chunk) -> list[dict[str, Any]]:
        """Pieces for what came, with how their tokens were chosen."""
        n_before = len(self._traces)
        pieces = super().take(index, chunk)
        traces = self._traces[n_before:]
        if pieces and traces and self._n_alternatives is not None:
            pieces[-1]["choices"][0]["amulet"] = self._tokens(traces)
        return pieces

    def end(self, index: int, generation: Generation) -> dict[str, Any]:
        """The piece that ends an answer, with its timings and what was followed."""
        piece = super().end(index, generation)
        if self._n_alternatives is not None:
            self._choices[-1]["amulet"] = self._tokens(self._traces)
        is_end = bool(generation.token_ids) and (
            generation.token_ids[-1] in self._vocabulary.end_tokens
        )
        self._end = {
            "stop_type": "eos" if is_end else "word",
            "stopping_word": generation.stop_text or "",
            "timings": _timings(generation, self._ticket),
            "amulet": {
                "warnings": list(generation.warnings),
                "preset": generation.preset,
                "guidance_scale": generation.guidance_scale,
                "applied": generation.applied and dataclasses.asdict(generation.applied),
                "preferences": list(generation.preferences),
                "method": generation.method,
            },
        }
        return {**piece, **self._end}

    def usage_piece(self) -> dict[str, Any]:
        """The piece that a stream with usage ends with."""
        return {**super().usage_piece(), "timings": self._end["timings"]}

    def whole(self) -> dict[str, Any]:
        """All answers."""
        return {**super().whole(), **self._end, **self._verbose()}

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


class TracedTextAnswers(TracedAnswers, TextAnswers):
    """Those of a text completion."""

    def expect(self, request: Request, ticket: Ticket | None = None) -> None:
        """Take note, also of what is to be said again."""
        super().expect(request, ticket)
        if self._echo:
            self.echoed = self._vocabulary.text(request.prompts[0])


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


def _timings(generation: Generation, ticket: Ticket | None) -> dict[str, Any]:
    """As llama-server gives them: milliseconds on the clock, waiting for others' turns included.

    Tokens of the longest prompt of the rows: cache_n were in memory, prompt_n were computed.
    amulet_compute_ms is the time in which this answer's own tokens were computed.
    """
    cache_n, predicted_n = generation.usage.cached_tokens, generation.usage.completion_tokens
    prompt_n = generation.usage.prompt_tokens - cache_n
    prompt_ms = 1000 * generation.timings.prompt_seconds
    predicted_ms = 1000 * generation.timings.decode_seconds
    if ticket is not None and ticket.last_token_seconds and ticket.first_token_seconds:
        predicted_ms = 1000 * (ticket.last_token_seconds - ticket.first_token_seconds)
    return {
        "cache_n": cache_n,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / max(1, prompt_n),
        "prompt_per_second": 1000 * prompt_n / prompt_ms if prompt_ms else 0.0,
        "predicted_n": predicted_n,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / max(1, predicted_n - 1),
        "predicted_per_second": 1000 * (predicted_n - 1) / predicted_ms if predicted_ms else 0.0,
        "amulet_compute_ms": 1000 * generation.timings.decode_seconds,
    }
