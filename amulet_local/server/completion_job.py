"""One request for a completion, from its body to its last piece.

Knows nothing about HTTP but its errors: it gives pieces as JSON objects. Lives in the event loop;
what may take a while (templates, tokenising) runs in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from amulet_local.answering.request import Request
from amulet_local.answering.settings_used import Asked
from amulet_local.common.errors import AmuletError, InvalidParameterError, QueueFullError
from amulet_local.common.results import Chunk
from amulet_local.llama.prefill import Progress
from amulet_local.openai.chat_completion import MAX_CHOICES, REQUEST, choices
from amulet_local.params.sampling import SamplingParams
from amulet_local.server.completion_prompt import CompletionPrompt
from amulet_local.server.fields import STRENGTH, ServedFields
from amulet_local.server.figures import Figures
from amulet_local.server.mailbox import Mailbox
from amulet_local.server.served_model import ServedModel
from amulet_local.server.traced_answers import PromptProgress, followed
from amulet_local.serving.ticket import Ticket

Arrivals = asyncio.Queue[Chunk | PromptProgress | AmuletError]
"""What comes of one answer's request."""


class CompletionJob:
    """A completion that is asked for, then made, and may be changed or ended meanwhile.

    Attributes:
        fields: what was asked for.
        stream: whether its client wants pieces.
        answers: what came of it so far.
        has_place: set once it has a place, if its client wants pieces.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        kind: type[CompletionPrompt],
        model: ServedModel,
        figures: Figures,
        jobs: dict[str, CompletionJob],
        unread: Sequence[str] = (),
    ) -> None:
        """Read and check the body; may take a while.

        Args:
            kind: what the body has to answer.
            model: answers it.
            figures: what it is counted in.
            jobs: those under way, by their ids; it is among them while it runs.
            unread: a line for each thing that a client asked for and that isn't in the body.

        Raises:
            AmuletError, HttpError: it can't be done.
        """
        user = body.get("user")
        body, unknown = model.understood(body, kind.known, unread)
        self._model, self._figures, self._jobs = model, figures, jobs
        self._prompt = kind(body)
        self._warnings = (*unknown, *self._prompt.unread)
        model_name = model.names.find(body.get("model"))
        fills_gap = self._prompt.fills_gap(body, model.vocabulary)
        self._body, self._sources = model.completed(body, model_name, user, fills_gap=fills_gap)
        self.fields = fields = self._prompt.fields(self._body)
        self._warnings += tuple(_unfollowed(body, fields))
        self._place = self._chosen_place(fields.id_slot)
        is_scaled = fields.lora not in (None, [])
        self._scales = model.scales(fields.lora) if is_scaled else model.adapter_scales
        self._samplings = choices(fields.sampling(model.engine.n_ctx), fields.n)
        self._n_answers = len(self._samplings) * self._prompt.n_prompts
        if self._n_answers > MAX_CHOICES:
            raise InvalidParameterError(
                f"n: must not be more than {MAX_CHOICES} answers for all prompts together"
            )
        self.stream = fields.stream
        self.has_place = asyncio.Event()
        self.answers = kind.answers(
            model=model_name.name,
            vocabulary=model.vocabulary,
            stream=fields.stream,
            n_logprobs=fields.n_logprobs,
            n=fields.n,
            trace=fields.amulet_trace,
            echo=getattr(fields, "echo", False),
            is_verbose=fields.verbose,
            is_timed=fields.timings_per_token,
            lists_drawn=getattr(fields, "post_sampling_probs", False),
        )
        self._first: Request | None = None
        self._index = 0
        self._ticket: Ticket | None = None
        self._cancelled = False
        self._one_request = asyncio.Lock()
        """Held while a request is made of the fields and handed over: none misses a change."""

    async def check(self) -> None:
        """Make the first request, so that what is wrong with it is said before anything.

        Raises:
            AmuletError, HttpError: see `pieces`.
        """
        self._first = await asyncio.to_thread(self._request, self.fields, 0)

    @property
    def warnings(self) -> Sequence[str]:
        """What its client asked for and doesn't get, as far as that is known before."""
        return self._warnings

    @property
    def prompt_tokens(self) -> tuple[int, ...]:
        """The plain prompt; after `check`."""
        assert self._first is not None
        return self._first.prompts[0]

    async def counted_tokens(self) -> Sequence[int]:
        """The plain prompt of a job that isn't answered, even where the context doesn't hold it.

        Raises:
            AmuletError, HttpError: there is none.
        """
        return await asyncio.to_thread(self._plain_prompt)

    def _plain_prompt(self) -> Sequence[int]:
        engine = self._model.engine
        arguments = self.fields.arguments(self._samplings[0], engine.own_settings)
        return self._prompt.rows(engine, self.fields, arguments)[0]

    @property
    def sampling(self) -> SamplingParams:
        """Length and sampling of the first answer."""
        return self._samplings[0]

    async def pieces(self) -> AsyncGenerator[dict[str, Any], None]:
        """The answers in pieces, to the end. Left early, it ends the computation.

        Raises:
            QueueFullError: every place is taken and as many wait as may.
            AmuletError: it can't be answered, or not to its end.
        """
        self._jobs[self.answers.id] = self
        try:
            for index in range(self._n_answers):
                arrivals: Arrivals = asyncio.Queue()
                ticket = await self._submit(index, arrivals)
                if ticket is None:
                    break
                async with contextlib.aclosing(self._answer(index, ticket, arrivals)) as pieces:
                    async for piece in pieces:
                        yield piece
            if self.fields.include_usage:
                yield self.answers.usage_piece()
        finally:
            self._jobs.pop(self.answers.id, None)

    async def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with another strength or preference from the next token on; what is followed then.

        Args:
            changes: fields. A strength replaces all of the one before; preferences that aren't
                mentioned stay, None is none.

        Raises:
            AmuletError, HttpError: it can't be done; the answer goes on as it was.
        """
        async with self._one_request:
            body = dict(self._body)
            if set(changes) & set(STRENGTH):
                body = {name: value for name, value in body.items() if name not in STRENGTH}
            body |= changes
            fields, request = await asyncio.to_thread(self._changed, body)
            self._body, self.fields = body, fields
            self._sources |= dict.fromkeys(changes, REQUEST)
            self.answers.asked = self._asked()
            if self._ticket is not None:
                self._ticket.change(request)
        return followed(request)

    def cancel(self) -> None:
        """End it; its client gets what there is."""
        self._cancelled = True
        if self._ticket is not None:
            self._ticket.cancel()

    def _request(self, fields: ServedFields, index: int) -> Request:
        """The checked request for one of the answers."""
        engine = self._model.engine
        which, choice = divmod(index, len(self._samplings))
        arguments = fields.arguments(self._samplings[choice], engine.own_settings)
        request = replace(
            self._prompt.request(engine, fields, arguments, which),
            place=self._place,
            reuses_memory=fields.cache_prompt,
            adapter_scales=self._scales,
        )
        self._model.pool.check(request)
        own = self._model.with_scales(request.warnings, self._scales)
        return replace(request, warnings=(*own, *self._warnings))

    def _chosen_place(self, wanted: int | None) -> int | None:
        """The place that a client names; any where there is no such one, with a warning."""
        if wanted is None or wanted < 0:
            return None
        pool = self._model.pool
        if pool.has_named_places and wanted < pool.n_places:
            return wanted
        there = f"there is no place {wanted}, they are 0 to {pool.n_places - 1}"
        shared = "places share memory, but where a server starts with --scheduler interleaved"
        problem = there if pool.has_named_places else shared
        self._warnings += (f"id_slot: {problem}; any one answers",)
        return None

    def _changed(self, body: Mapping[str, Any]) -> tuple[ServedFields, Request]:
        fields = self._prompt.fields(body)
        return fields, self._request(fields, self._index)

    async def _submit(self, index: int, arrivals: Arrivals) -> Ticket | None:
        """Ask for one of the answers; None if the job was cancelled before."""
        mailbox = Mailbox.here()

        def deliver(item: Chunk | PromptProgress | AmuletError) -> None:
            mailbox.put(arrivals, item)

        async with self._one_request:
            request, self._first = self._first, None
            if request is None:
                request = await asyncio.to_thread(self._request, self.fields, index)
            if self._cancelled:
                return None
            try:
                ticket = self._model.pool.submit(
                    request,
                    deliver,
                    progress=self._reporting(deliver) if self.stream else None,
                    again=index > 0,
                )
            except QueueFullError:
                self._figures.rejected()
                raise
            self._index, self._ticket = index, ticket
            self.answers.expect(request, ticket)
            self.answers.asked = self._asked()
            return ticket

    def _asked(self) -> Asked:
        """What the answer under way is asked for."""
        sampling = self._samplings[self._index % len(self._samplings)]
        sources = {name: self._sources[name] for name in self._body}
        return self.fields.asked(sampling, self._model.engine.own_settings, sources)

    def _reporting(self, deliver: Callable[[PromptProgress], None]) -> Progress:
        """What hands over how far the prompts are; the first call says what is in memory.

        That one comes when the request has a place, the others where they are asked for.
        """
        first: tuple[int, float] | None = None

        def report(n_done: int, n_total: int) -> None:
            nonlocal first
            if first is not None and not self.fields.return_progress:
                return
            now = time.perf_counter()
            first = first or (n_done, now)
            n_cached, started = first
            deliver(PromptProgress(n_done, n_total, n_cached, 1000 * (now - started)))

        return report

    async def _answer(
        self, index: int, ticket: Ticket, arrivals: Arrivals
    ) -> AsyncGenerator[dict[str, Any], None]:
        """One of the answers in pieces."""
        begun = False
        try:
            while True:
                item = await arrivals.get()
                if isinstance(item, AmuletError):
                    self._figures.failed()
                    raise item
                self.has_place.set()
                if isinstance(item, PromptProgress):
                    if self.fields.return_progress:
                        yield self.answers.progress(index, item)
                    continue
                if self.fields.is_prompt_only:
                    item = _without_text(item)
                if not begun:
                    begun = True
                    for piece in self.answers.begin(index):
                        yield piece
                for piece in self.answers.take(index, item):
                    yield piece
                if item.generation is not None:
                    self._figures.ended(item.generation)
                    yield self.answers.end(index, item.generation)
                    return
        finally:
            if not ticket.done:
                ticket.cancel()
                self._figures.left()


def _unfollowed(body: Mapping[str, Any], fields: ServedFields) -> list[str]:
    """A line for each thing of `body` that needs a preference to follow, where none is followed."""
    if fields.method == "base":
        given = [name for name in ("preference", "avoid") if body.get(name)]
        return [f"{name}: the method base follows none" for name in given]
    if fields.preference or fields.avoid:
        return []
    given = [name for name in STRENGTH if name in body]
    return [f"{name}: without a preference there is nothing to strengthen" for name in given]


def _without_text(chunk: Chunk) -> Chunk:
    """A piece of an answer of which no token is wanted."""
    whole = chunk.generation
    if whole is not None:
        usage = replace(whole.usage, completion_tokens=0, reasoning_tokens=0)
        whole = replace(
            whole, text="", reasoning="", token_ids=(), finish_reason="length", usage=usage
        )
    return Chunk(text="", finish_reason=None if whole is None else "length", generation=whole)
