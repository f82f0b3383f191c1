"""A loaded model that makes checked requests, and answers several of them at once.

Knows nothing about one answer after the other, conversations or who asks; `Engine` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typing_extensions import Unpack

from amulet_local.answering.ask import Ask, AskMessages, AskTokens
from amulet_local.answering.beam_search import without_beams
from amulet_local.answering.request import Request
from amulet_local.answering.request_maker import RequestMaker
from amulet_local.common.errors import AmuletError
from amulet_local.loading.costs import Costs
from amulet_local.loading.engine_parts import EngineParts
from amulet_local.loading.kept_opening import KeptOpening
from amulet_local.loading.open_model import OpenModel
from amulet_local.params.choices import Scheduler
from amulet_local.params.where_it_goes import AN_ANSWER, hinting, written
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.prompts.prompter import Messages, Prompter
from amulet_local.serving.continuous import N_AHEAD, Pieces, Width, stream_all
from amulet_local.serving.opening import open_pool
from amulet_local.serving.pool import Pool
from amulet_local.serving.together import AllProgress, Answered, Outcome, answer_all


class ConcurrentModel(OpenModel):
    """A loaded model that makes checked requests, and answers several of them at once."""

    def _take(self, parts: EngineParts) -> None:
        super()._take(parts)
        try:
            runtime = self.runtime
            self._prompter = Prompter(self.model, runtime.chat_template, runtime.template_arguments)
            self._requests = RequestMaker(
                self.model.vocabulary,
                self._prompter,
                n_ctx=self.n_ctx,
                own_settings=self.own_settings,
                warnings=self.warnings,
            )
            if parts.settings.adapters is None:
                self._rows.prefiller.opening = KeptOpening(parts, self._prompter.two_short_ones)
        except BaseException:
            self.close()
            raise

    def check_chat(self) -> None:
        """Whether the model can be asked at all, before the first question.

        Raises:
            ChatTemplateError: it has no chat template, or one that can't be used.
            InvalidParameterError: no built-in template has the name that was given.
        """
        self._prompter.check()

    @property
    def template_abilities(self) -> Mapping[str, bool]:
        """What the chat template can say, in llama-server's words.

        Raises:
            As `check_chat`.
        """
        return self._prompter.abilities

    @written("pool(places=2, waiting=4)")
    def pool(
        self,
        *,
        places: int,
        waiting: int,
        scheduler: Scheduler = "auto",
        max_rows: int | None = None,
        chunk: int | None = None,
    ) -> Pool:
        """Answer several requests at once, in memory of its own; the engine's own rows are freed.

        Closing the engine closes the pool first.

        Args:
            places: requests at once.
            waiting: most requests that wait for a place.
            scheduler: "interleaved" (places take turns), "batched" (all in one computation), or
                "auto": batched with layers on a GPU, and where the costs on this CPU say that it
                makes more tokens; a realigned answer that is alone then has a place of its own.
            max_rows: most rows of a request, the plain one and one for each preference; if None 9,
                of a batched scheduler two for each place, 4 at least and 9 at most.
            chunk: tokens of a prompt computed at once on a CPU, instead of n_batch: what the other
                places wait for.

        Raises:
            InvalidParameterError: settings that exclude each other.
            ContextCreationError: no memory for so many.
        """
        return self._open_pool(
            places=places, waiting=waiting, scheduler=scheduler, max_rows=max_rows, chunk=chunk
        )

    def _open_pool(self, **settings: Any) -> Pool:
        """The pool that has these arguments of `pool`."""
        return open_pool(self._shared, **settings)

    @hinting(Ask.__annotations__, "; each request has its own: {'messages': ..., 'sampling': ...}")
    @written("answer_all(['What is yeast?', 'What is malt?'], at_once=2)")
    def answer_all(
        self,
        requests: Iterable[Request | AskMessages | str],
        *,
        at_once: int | None = None,
        scheduler: Scheduler = "batched",
        answered: Answered | None = None,
        progress: AllProgress | None = None,
    ) -> list[Outcome]:
        """Answer many requests, by default all in one context, in memory of its own.

        It is this engine's turn until the end: other threads wait. `cancel` ends it: what is under
        way keeps what was generated, what waits gets a CancelledError.

        Args:
            requests: a question, or the arguments of `generate` as a mapping, `messages` among
                them, or what `request` and `request_from_tokens` make. All are checked before the
                first answer.
            at_once: most answers under way; as many as half of the free memory holds, 16 at most,
                if None.
            scheduler: as for `pool`. "interleaved" gives the answers of `generate`, to the bit with
                reproducible=True; "batched" those of another rounding.
            answered: called with a request's number, from 0, and its outcome, as soon as it is
                there, in the thread of the caller.
            progress: called with (answers done, tokens of those under way) when something has come,
                in the same thread.

        Returns:
            What came of each request, in the order of the requests: its answer, or the AmuletError
            that ended it or kept it from being asked. One that fails leaves the others.

        Raises:
            InvalidParameterError: `at_once` is no number, or the scheduler isn't for this engine.
            ContextCreationError: no memory for so many.
            EngineClosedError, EngineBusyError: see there.
            What a callback raises; everything under way is lost then.
        """
        self._lock.check_open()
        return answer_all(
            self._shared,
            [self._checked(request) for request in requests],
            at_once=at_once,
            scheduler=scheduler,
            answered=answered,
            progress=progress,
        )

    @written("stream_all(requests, at_once=2), each made by request('What is yeast?')")
    def stream_all(
        self,
        requests: Iterable[Request | AmuletError | None],
        *,
        at_once: int | Width | None = None,
        scheduler: Scheduler = "batched",
        n_ahead: int = N_AHEAD,
    ) -> Pieces:
        """Answer any number of requests as `answer_all` does, and give every piece as it comes.

        Args:
            requests: taken as they are needed, in the caller's thread; an error is its own outcome,
                None says that there is none at present.
            at_once: as for `answer_all`, or a function of the rows of an answer and the tokens of a
                row.
            scheduler: as for `answer_all`.
            n_ahead: how many requests, beside those under way, are looked at for the size of the
                memory that is taken.

        Returns:
            Lists of (a request's number, from 0, and a Chunk, the last one with the whole answer,
            or the AmuletError that ended it); empty ones while nothing comes. Closing it ends
            everything that is under way.

        Raises:
            As `answer_all`, at the first piece.
        """
        self._lock.check_open()
        return stream_all(
            self._shared, requests, at_once=at_once, scheduler=scheduler, n_ahead=n_ahead
        )

    def suitable_width(self, n_rows: int, n_ctx: int) -> int:
        """How many answers at once this machine computes best: measured once, and remembered.

        Args:
            n_rows: of an answer, the plain one and one for each preference.
            n_ctx: tokens of a row; memory limits the number elsewhere.

        Raises:
            BackendError: llama.cpp failed.
        """
        return max(1, self._shared.meter.know_batches().batch_width() // n_rows)

    def measure_costs(self) -> Costs:
        """Measure what computing costs here, and remember it; some seconds of this engine's turn.

        Raises:
            BackendError: llama.cpp failed.
        """
        with self._shared.cancellable("the measurement"):
            return self._shared.meter.know_all()

    @written(f"request{AN_ANSWER}")
    def request(self, messages: Messages, **ask: Unpack[Ask]) -> Request:
        """A checked request, for a pool or `answer_all`.

        Args:
            messages, **ask: as for `generate`.

        Raises:
            As `generate`.
        """
        return without_beams(self._request(messages, **ask))

    @written(f"prompts{AN_ANSWER}")
    def prompts(self, messages: Messages, **ask: Unpack[Ask]) -> list[tuple[int, ...]]:
        """The prompt of each row, the plain one's first, even where the context doesn't hold it.

        Args:
            messages, **ask: as for `generate`.

        Raises:
            As `generate`.
        """
        with self._lock.using():
            return self._requests.prompts(messages, ask)

    @written("request_from_tokens([1, 4093], [[1, 4093, 57]])")
    def request_from_tokens(
        self,
        plain_ids: Sequence[int] | None,
        preference_ids: Sequence[Sequence[int]] | None,
        *,
        labels: Sequence[str] = (),
        default: str = "paper",
        own: UserModelSettings | None = None,
        **ask: Unpack[AskTokens],
    ) -> Request:
        """A checked request, for a pool or `answer_all`.

        Args:
            plain_ids, preference_ids, **ask: as for `generate_from_tokens`.
            labels: what results call the preferences.
            default: the preset where none is given, with the strength `own`.

        Raises:
            As there.
        """
        self._lock.check_open()
        request = self._requests.from_tokens(
            plain_ids, preference_ids, ask, labels=labels, default=default, own=own
        )
        return without_beams(request)

    def _checked(self, request: Request | AskMessages | str) -> Request | AmuletError:
        try:
            if isinstance(request, Request):
                return without_beams(request)
            return self.request(request) if isinstance(request, str) else self.request(**request)
        except AmuletError as error:
            return error

    def _request(
        self,
        messages: Messages | Dialogue,
        *,
        answer: Sequence[int] | None = None,
        **ask: Unpack[Ask],
    ) -> Request:
        with self._lock.using():
            return self._requests.from_messages(messages, ask, answer=answer)
