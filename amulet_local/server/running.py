"""One completion on its way from the places to its client.

Knows nothing about HTTP: it gives pieces as JSON objects. Lives in the event loop; what may take a
while (templates, tokenising) runs in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, QueueFullError
from amulet_local.common.results import Alternative, Chunk, Generation, TokenTrace
from amulet_local.openai.shapes import Answers, ChatAnswers, TextAnswers, finite
from amulet_local.server.figures import Figures
from amulet_local.server.loaded_model import Asked, Loaded
from amulet_local.serving.ticket import Ticket


class _Traced(Answers):
    """Adds what OpenAI doesn't know: how tokens were chosen, timings, what was followed."""

    n_traced: int | None = None
    ticket: Ticket | None = None
    request: Request | None = None

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The first piece says what is followed."""
        pieces = super().begin(index)
        if pieces and self.request is not None:
            pieces[-1]["amulet"] = _followed(self.request)
        return pieces

    def take(self, index: int, chunk: Chunk) -> list[dict[str, Any]]:
        """Pieces for what came, with how their tokens were chosen."""
        n_before = len(self._traces)
        pieces = super().take(index, chunk)
        traces = self._traces[n_before:]
        if pieces and traces and self.n_traced is not None:
            pieces[-1]["choices"][0]["amulet"] = self._tokens(traces)
        return pieces

    def end(self, index: int, generation: Generation) -> dict[str, Any]:
        """The piece that ends an answer, with its timings and what was followed."""
        piece = super().end(index, generation)
        if self.n_traced is not None:
            self._choices[-1]["amulet"] = self._tokens(self._traces)
        self._end = {
            "timings": timings(generation, self.ticket),
            "amulet": {
                "warnings": list(generation.warnings),
                "preset": generation.preset,
                "guidance_scale": generation.guidance_scale,
                "preferences": list(generation.preferences),
                "method": generation.method,
            },
        }
        return {**piece, **self._end}

    def whole(self) -> dict[str, Any]:
        """All answers."""
        return {**super().whole(), **self._end}

    def _tokens(self, traces: Sequence[TokenTrace]) -> dict[str, Any]:
        return {"tokens": [_token(trace, self.n_traced or 0) for trace in traces]}


class _ChatAnswers(_Traced, ChatAnswers):
    pass


class _TextAnswers(_Traced, TextAnswers):
    pass


def _token(trace: TokenTrace, n_top: int) -> dict[str, Any]:
    def top(alternatives: Sequence[Alternative]) -> list[dict[str, Any]]:
        return [
            {"id": item.token_id, "text": item.text, "logprob": finite(item.log_probability)}
            for item in alternatives[:n_top]
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


def _followed(request: Request) -> dict[str, Any]:
    return {
        "preferences": list(request.preferences),
        "preset": request.preset,
        "guidance_scale": request.amulet.guidance_scale,
        "kl_budget": request.amulet.kl_budget,
    }


def timings(generation: Generation, ticket: Ticket | None) -> dict[str, Any]:
    """As llama-server gives them: milliseconds on the clock, waiting for others' turns included.

    prompt_n is the longest prompt of the rows. amulet_compute_ms is the time in which this answer's
    own tokens were computed.
    """
    prompt_n, predicted_n = generation.usage.prompt_tokens, generation.usage.completion_tokens
    prompt_ms = 1000 * generation.timings.prompt_seconds
    predicted_ms = 1000 * generation.timings.decode_seconds
    if ticket is not None and ticket.last_token_seconds and ticket.first_token_seconds:
        predicted_ms = 1000 * (ticket.last_token_seconds - ticket.first_token_seconds)
    return {
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / prompt_n,
        "prompt_per_second": 1000 * prompt_n / prompt_ms if prompt_ms else 0.0,
        "predicted_n": predicted_n,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / max(1, predicted_n - 1),
        "predicted_per_second": 1000 * (predicted_n - 1) / predicted_ms if predicted_ms else 0.0,
        "amulet_compute_ms": 1000 * generation.timings.decode_seconds,
    }


class Running:
    """A completion.

    Attributes:
        answers: what came of it so far.
    """

    def __init__(
        self,
        asked: Asked,
        loaded: Loaded,
        figures: Figures,
        others: dict[str, Running],
        *,
        chat: bool,
    ) -> None:
        """Not begun.

        Args:
            figures: what it is counted in.
            others: completions under way by their ids; it is among them while it runs.
            chat: a chat completion, else a text completion.
        """
        self._asked, self._loaded, self._figures, self._others = asked, loaded, figures, others
        kind = _ChatAnswers if chat else _TextAnswers
        self.answers = kind(
            model=asked.name,
            vocabulary=self._loaded.vocabulary,
            stream=asked.fields.stream,
            n_top=asked.fields.n_top,
        )
        self.answers.n_traced = asked.fields.amulet_trace
        self._index = 0
        self._ticket: Ticket | None = None
        self._cancelled = False
        self._first: Request | None = None

    async def check(self) -> None:
        """Make the first request, so that what is wrong with it is said before anything.

        Raises:
            AmuletError, HttpError: see `pieces`.
        """
        self._first = await asyncio.to_thread(self._asked.request, 0)

    async def pieces(self) -> AsyncGenerator[dict[str, Any], None]:
        """The answers in pieces, to the end. Left early, it ends the computation.

        Raises:
            QueueFullError: every place is taken and as many wait as may.
            AmuletError: it can't be answered, or not to its end.
        """
        self._others[self.answers.id] = self
        try:
            for index in range(self._asked.n_choices):
                request = self._first
                if index or request is None:
                    request = await asyncio.to_thread(self._asked.request, index)
                if self._cancelled and index:
                    break
                self._index = index
                async for piece in self._answer(index, request):
                    yield piece
            if self._asked.fields.include_usage:
                yield self.answers.usage_piece()
        finally:
            self._others.pop(self.answers.id, None)

    async def _answer(self, index: int, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Chunk | AmuletError] = asyncio.Queue()

        def deliver(item: Chunk | AmuletError) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(queue.put_nowait, item)

        figures = self._figures
        try:
            ticket = self._loaded.pool.submit(request, deliver, again=index > 0)
        except QueueFullError:
            figures.rejected()
            raise
        self._ticket = self.answers.ticket = ticket
        self.answers.request = request
        if self._cancelled:
            ticket.cancel()
        begun = False
        try:
            while True:
                item = await queue.get()
                if isinstance(item, AmuletError):
                    figures.failed()
                    raise item
                if not begun:
                    begun = True
                    for piece in self.answers.begin(index):
                        yield piece
                for piece in self.answers.take(index, item):
                    yield piece
                if item.generation is not None:
                    figures.ended(item.generation)
                    yield self.answers.end(index, item.generation)
                    return
        finally:
            if not ticket.done:
                ticket.cancel()
                figures.left()

    async def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with another strength or preference from the next token on; what is followed then.

        Raises:
            AmuletError, HttpError: it can't be done; the answer goes on as it was.
        """
        request = await asyncio.to_thread(self._asked.changed, changes, self._index)
        self._first = request if self._ticket is None else self._first
        if self._ticket is not None:
            self._ticket.change(request)
        return _followed(request)

    def cancel(self) -> None:
        """End it; its client gets what there is."""
        self._cancelled = True
        if self._ticket is not None:
            self._ticket.cancel()
