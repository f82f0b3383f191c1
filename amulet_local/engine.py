"""The runtime: a loaded model that answers under a preference.

Puts the layers together: templates and preferences make prompts, a RowSet computes them, the
Realigner combines the rows, llama.cpp's samplers pick. Knows nothing about who asks.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

from amulet_local.answering.answer_stream import AnswerStream
from amulet_local.answering.async_stream import AsyncAnswerStream
from amulet_local.answering.beam_search import (
    BeamRun,
    beam_search,
    check_beam_request,
    without_beams,
)
from amulet_local.answering.generation import Control, generate
from amulet_local.answering.request import Request, token_ids
from amulet_local.answering.request_maker import RequestMaker
from amulet_local.answering.scoring import score
from amulet_local.common.errors import (
    CancelledError,
    EmptyPromptError,
    EngineClosedError,
    InvalidParameterError,
)
from amulet_local.common.results import Chunk, Generation, Score
from amulet_local.conversation import conversation_file
from amulet_local.conversation.conversation import Conversation
from amulet_local.conversation.conversation_settings import ConversationSettings, OnFull
from amulet_local.conversation.turn_draft import AnswerSource
from amulet_local.learning.fitting import held_out_of, learn_weights
from amulet_local.learning.learned import Learned, bank_of
from amulet_local.learning.liked_answers import answers_to
from amulet_local.learning.liked_texts import LikedText
from amulet_local.learning.teacher_forcing import force
from amulet_local.llama import library
from amulet_local.llama.adapters import Adapter
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.rows import Progress, RowSet
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.loading import model_store, prompt_cache
from amulet_local.loading.engine_parts import EngineParts, load_parts
from amulet_local.loading.runtime_setup import (
    MAX_BATCHED_ROWS,
    MAX_ROWS,
    check_memory,
    scheduler_for,
)
from amulet_local.loading.schedule_choice import ScheduleChoice, choose_schedule
from amulet_local.loading.stream_lock import StreamLock
from amulet_local.openai.chat_completion import (
    ChatCompletionFields,
    ChatSource,
    choices,
    create_chat_completion,
)
from amulet_local.optimizer.realigner import Realigner
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement, Scheduler
from amulet_local.params.learn import LearnParams
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import PreferencesLike
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.prompts.prompter import Messages, Prompter
from amulet_local.serving.batched import BatchedPlaces
from amulet_local.serving.interleaved import InterleavedPlaces
from amulet_local.serving.places import Places
from amulet_local.serving.pool import Pool
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS


def load(
    model: str | os.PathLike[str] = model_store.DEFAULT_MODEL,
    *,
    load_progress: Callable[[float], None] | None = None,
    **runtime: Any,
) -> Engine:
    """Load a model.

    Args:
        model: a path, the name of a file in a models folder, or a name of the catalogue.
        load_progress: called with the share of the weights that is loaded, 0 to 1.
        **runtime: the fields of RuntimeParams.

    Raises:
        InvalidParameterError: a runtime field is unknown or out of range.
        ModelNotFoundError, ModelFileError, UnsupportedModelError: the model can't be used.
        AdapterFileError: a LoRA adapter or control vector can't be used with this model.
        ContextCreationError: no memory for the context, or settings that exclude each other.
    """
    return Engine(model, RuntimeParams(**runtime), load_progress=load_progress)


class Engine:
    """A loaded model. Use as a context manager, or call `close`.

    One generation runs at a time: another thread waits for its turn; the same thread, in the
    middle of a stream, gets EngineBusyError.

    Attributes:
        runtime: the options it was loaded with.
        model: the loaded model.
        n_ctx: context length of each row, in tokens.
        own_settings: what the user's settings have for this model.
        warnings: what the user should know about this model and these options.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        runtime: RuntimeParams,
        *,
        load_progress: Callable[[float], None] | None = None,
    ) -> None:
        self._take(load_parts(model, runtime, progress=load_progress))

    @classmethod
    def from_parts(cls, parts: EngineParts) -> Engine:
        """An engine of ready-made parts, which are the engine's from then on.

        Raises:
            InvalidParameterError: a schedule that the adapters exclude.
            ContextCreationError: no memory for the context. The parts are freed in both cases.
        """
        engine = cls.__new__(cls)
        engine._take(parts)
        return engine

    def _take(self, parts: EngineParts) -> None:
        self._parts = parts
        self.runtime, self.model = parts.runtime, parts.model
        self.n_ctx = parts.settings.n_ctx
        self.own_settings, self.warnings = parts.own_settings, parts.warnings
        self._settings = parts.settings
        self._stop_flag = StopFlag()
        try:
            self._rows = parts.new_rows(self.model, self._settings, self._stop_flag, parts.plan)
        except BaseException:
            parts.close()
            raise
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self._schedule_choices: dict[int, ScheduleChoice] = {}
        self._prompter = Prompter(
            self.model, self.runtime.chat_template, self.runtime.template_arguments
        )
        self._requests = RequestMaker(
            self.model.vocabulary,
            self._prompter,
            n_ctx=self.n_ctx,
            own_settings=self.own_settings,
            warnings=self.warnings,
        )
        self._lock = StreamLock(self._stop_flag, partial(_free, self._rows, parts))
        weakref.finalize(self, self._lock.close, timeout_seconds=5)
        try:
            self._rows.reserve(1)
            self._realigner = Realigner(self.model.vocabulary.n_tokens)
        except BaseException:
            self.close()
            raise

    def generate(
        self,
        messages: Messages,
        *,
        preference: PreferencesLike = None,
        method: str | None = None,
        avoid: PreferencesLike = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
        sampling: SamplingParams | None = None,
        system: str | None = None,
        placement: Placement | None = None,
        trace: int | None = None,
        response_prefix: str = "",
        template_arguments: Mapping[str, Any] | None = None,
        prompt_progress: Progress | None = None,
    ) -> Generation:
        """Answer.

        Args:
            messages: a question, or OpenAI-style messages.
            preference: what the answer should follow.
            method: a name from METHODS; "amulet" with a preference, else "base".
            avoid: what it should not be like: preferences whose weights count negative.
            amulet: strength and guards, instead of a preset.
            preset: a name from presets.PRESETS; "balanced" if None.
            sampling: length and sampling; greedy if None.
            system: system text of a conversation that brings none; a short default if None.
            placement: the preference goes to the end of the "system" text or of the last "user"
                question; where the preset puts it if None.
            trace: record how each token was chosen, with so many alternatives (0 to 100).
            response_prefix: what the answer begins with; `text` has what follows it.
            template_arguments: variables of the chat template, such as {"enable_thinking": False}.
            prompt_progress: called with (tokens computed, tokens in all) during prefill.

        Raises:
            InvalidRequestError: something about the request, said in its message.
            ChatTemplateError: the model has no usable chat template.
            BackendError: llama.cpp failed; the engine stays usable.
            EngineClosedError, EngineBusyError: see there.
        """
        return _last(
            self.stream_generate(
                messages,
                preference=preference,
                method=method,
                avoid=avoid,
                amulet=amulet,
                preset=preset,
                sampling=sampling,
                system=system,
                placement=placement,
                trace=trace,
                response_prefix=response_prefix,
                template_arguments=template_arguments,
                prompt_progress=prompt_progress,
            )
        )

    def stream_generate(
        self,
        messages: Messages,
        *,
        preference: PreferencesLike = None,
        method: str | None = None,
        avoid: PreferencesLike = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
        sampling: SamplingParams | None = None,
        system: str | None = None,
        placement: Placement | None = None,
        trace: int | None = None,
        response_prefix: str = "",
        template_arguments: Mapping[str, Any] | None = None,
        prompt_progress: Progress | None = None,
    ) -> AnswerStream:
        """Answer piece by piece; the last chunk has the whole answer.

        Arguments and errors are those of `generate`; a bad request raises here, not at the first
        chunk. Closing the stream (or leaving its loop and dropping it) ends the generation; its
        `change` sets another strength or preference from the next token on.
        """
        make = partial(
            self._request,
            messages,
            method=method,
            sampling=sampling,
            system=system,
            placement=placement,
            n_top=trace,
            response_prefix=response_prefix,
            template_arguments=template_arguments,
        )
        request = make(preference=preference, avoid=avoid, amulet=amulet, preset=preset)
        control = Control()
        return AnswerStream(self._stream(request, prompt_progress, control), control, make)

    def generate_choices(
        self,
        messages: Messages,
        n: int,
        *,
        sampling: SamplingParams | None = None,
        **arguments: Any,
    ) -> list[Generation]:
        """Several answers to the same; the prompts are computed once.

        Args:
            messages, sampling, **arguments: as for `generate`.
            n: how many, 1 to 128. The seeds are `sampling.seed` and those after it; without one,
                each answer draws its own. Greedy answers are all the same.

        Raises:
            As `generate`.
        """
        samplings = choices(sampling, n)
        return [self.generate(messages, sampling=each, **arguments) for each in samplings]

    async def agenerate(self, messages: Messages, **arguments: Any) -> Generation:
        """`generate` without blocking the event loop; cancelling the task ends the generation.

        Args and Raises: as for `generate`.
        """
        return await self.astream(messages, **arguments).whole()

    def astream(self, messages: Messages, **arguments: Any) -> AsyncAnswerStream:
        """`stream_generate` as an asynchronous iterator, which never blocks the event loop.

        Args and Raises: as for `generate`; errors raise at the first piece.
        """
        return AsyncAnswerStream(partial(self.stream_generate, messages, **arguments))

    def create_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], **fields: Any
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """An answer in the shape of OpenAI's API, as llama-cpp-python's method of this name.

        Args:
            messages: OpenAI-style messages.
            **fields: of ChatCompletionFields: those of llama-cpp-python with their defaults, more
                of OpenAI's, and this package's own (`preference`, `guidance_scale`, ...).

        Returns:
            A `chat.completion`; with stream=True an iterator over `chat.completion.chunk`.

        Raises:
            As `generate`.
        """
        self._lock.check_open()
        source = ChatSource(
            stream=self.stream_generate,
            n_ctx=self.n_ctx,
            model=self.model.path.name,
            own_settings=self.own_settings,
            vocabulary=self.model.vocabulary,
        )
        return create_chat_completion(source, messages, ChatCompletionFields(**fields))

    def generate_from_tokens(
        self,
        plain_ids: Sequence[int] | None,
        preference_ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        *,
        method: str | None = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
        sampling: SamplingParams | None = None,
        weights: Sequence[float] | None = None,
        trace: int | None = None,
    ) -> Generation:
        """Answer prompts that are given as token ids; no template, no system text.

        Args:
            plain_ids: the plain prompt; None where the method doesn't need it.
            preference_ids: the preference prompt, or a list of one per preference.
            method: as for `generate`.
            amulet: strength and guards, instead of a preset.
            preset: a name from presets.PRESETS; "paper" if None.
            sampling: length and sampling; greedy if None.
            weights: one per preference; all 1 if None.
            trace: as for `generate`.

        Raises:
            As `generate`, and InvalidTokenError for an id outside the vocabulary.
        """
        self._lock.check_open()
        request = self._requests.from_tokens(
            plain_ids,
            preference_ids,
            method=method,
            amulet=amulet,
            preset=preset,
            sampling=sampling,
            weights=weights,
            n_top=trace,
        )
        if request.n_beams > 1:
            check_beam_request(request)
        return _last(self._stream(request, None, Control()))

    def score(
        self,
        messages: Messages,
        response: str | Sequence[int],
        *,
        preference: PreferencesLike = None,
        avoid: PreferencesLike = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
        system: str | None = None,
        placement: Placement | None = None,
    ) -> Score:
        """Log-probabilities of a given answer, token by token, under each row.

        Args:
            messages, preference, avoid, amulet, preset, system, placement: as for `generate`.
            response: the answer, as text or as token ids.

        Raises:
            As `generate`; PromptTooLongError counts prompt and answer together.
            CancelledError: `cancel` was called, or the engine closed, meanwhile.
        """
        vocabulary = self.model.vocabulary
        if isinstance(response, str):
            with self._lock.using():
                response = vocabulary.tokenize(response, add_special=False, parse_special=False)
            if not response:
                raise EmptyPromptError("there is no answer to score")
        answer = token_ids(response, vocabulary)
        request = self._request(
            messages,
            preference=preference,
            avoid=avoid,
            amulet=amulet,
            preset=preset,
            system=system,
            placement=placement,
            n_answer=len(answer),
        )
        with self._lock.turn(), self._lock.using():
            try:
                noise = self._prepare(request)
                return score(request, answer, self._rows, self._realigner, vocabulary, noise=noise)
            except StoppedError:
                raise CancelledError("the scoring was cancelled") from None

    def learn(
        self,
        texts: Sequence[LikedText],
        *,
        bank: PreferencesLike = None,
        system: str | None = None,
        placement: Placement | None = None,
        progress: Progress | None = None,
        **params: Any,
    ) -> Learned:
        """Weights of a bank of preferences under which some texts are likeliest.

        Args:
            texts: answers that the user likes, and some that they don't if there are any.
            bank: the preferences, without weights; the eight built-in ones and the user's own if
                None.
            system, placement: as for `generate`; the placement is that of the default preset.
            progress: called with (answer tokens computed, answer tokens in all).
            **params: the fields of LearnParams: ridge, holdout, fast, top_tokens, tail_tokens.

        Raises:
            LikedTextError: a text that can't be used.
            InvalidParameterError: a parameter or the bank can't be used, or without a ridge there
                are no best weights.
            CancelledError: `cancel` was called, or the engine closed, meanwhile.
            Otherwise as `generate`.
        """
        settings = LearnParams(**params)
        preferences = bank_of(bank)
        placement = placement or PRESETS[DEFAULT_PRESET].placement
        vocabulary = self.model.vocabulary
        with self._lock.using():
            answers, notes = answers_to(
                texts,
                ["", *(item.instruction for item in preferences)],
                self._prompter,
                vocabulary,
                system=system,
                placement=placement,
                n_ctx=self.n_ctx,
            )
        held_out_of([answer.liked for answer in answers], settings.holdout)
        with self._lock.turn(), self._lock.using():
            try:
                self._settle_schedule(len(preferences) + 1)
                forced = force(
                    answers,
                    self._rows,
                    n_vocab=vocabulary.n_tokens,
                    end_tokens=vocabulary.end_tokens,
                    n_top=settings.top_tokens,
                    n_tail=settings.tail_tokens,
                    fast=settings.fast,
                    progress=progress,
                )
            except StoppedError:
                raise CancelledError("the learning was cancelled") from None
        return learn_weights(
            forced, answers, preferences, settings, warnings=(*self.warnings, *notes)
        )

    def conversation(
        self,
        *,
        preference: PreferencesLike = None,
        avoid: PreferencesLike = None,
        method: str | None = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
        sampling: SamplingParams | None = None,
        system: str | None = None,
        placement: Placement | None = None,
        on_full: OnFull = "error",
    ) -> Conversation:
        """Begin a conversation.

        Args:
            preference, avoid, method, amulet, preset, sampling, system, placement: as for
                `generate`; `Conversation.set` changes them.
            on_full: what to do when the context is full: "error", or "drop_oldest" turns.

        Raises:
            As `generate`, for what doesn't depend on what is said.
        """
        conversation = Conversation(self._answer_source(), ConversationSettings())
        conversation.set(
            preference=preference,
            avoid=avoid,
            method=method,
            amulet=amulet,
            preset=preset,
            sampling=sampling,
            system=system,
            placement=placement,
            on_full=on_full,
        )
        return conversation

    def load_conversation(self, path: str | os.PathLike[str]) -> Conversation:
        """Go on with a conversation that `Conversation.save` wrote.

        One that was had with another model goes on with this one; its `warnings` say so.

        Raises:
            FileAccessError: it can't be read.
            ConversationFileError: it is damaged, or of a newer version; it stays as it is.
        """
        self._lock.check_open()
        saved = conversation_file.read(path)
        warnings = []
        if saved.model != self.model.path.name:
            warnings.append(
                f"this conversation was had with {saved.model:.80}, and goes on with "
                f"{self.model.path.name}"
            )
        return Conversation(self._answer_source(), saved.settings, saved.turns, warnings=warnings)

    def save_prompt_cache(self, name: str) -> None:
        """Keep what the last generation has in memory, in the user's cache folder.

        Args:
            name: letters, digits, '.', '_' and '-'.

        Raises:
            InvalidParameterError: not a name, or the engine was loaded with reproducible=True.
            FileAccessError: it can't be written, or not into a folder that is the user's alone.
            EngineClosedError, EngineBusyError: see there.
        """
        self._check_reuse()
        with self._lock.turn(), self._lock.using():
            rows = [
                prompt_cache.SavedRow(tokens=tuple(tokens), state=state, bare=bare)
                for tokens, state, bare in self._rows.export()
            ]
            prompt_cache.save(name, self._fingerprint(), rows)

    def load_prompt_cache(self, name: str) -> bool:
        """Take over what `save_prompt_cache` kept; False if there is nothing of that name.

        Raises:
            InvalidParameterError: not a name, or the engine was loaded with reproducible=True.
            FileAccessError: it is damaged, not private, or made with another model, adapter,
                llama.cpp build or cache type; the engine is as it was.
            EngineClosedError, EngineBusyError: see there.
        """
        self._check_reuse()
        with self._lock.turn(), self._lock.using():
            rows = prompt_cache.load(name, self._fingerprint())
            if not rows or any(len(row.tokens) > self.n_ctx for row in rows):
                return False
            self._settle_schedule(len(rows))
            return self._rows.restore([(row.tokens, row.state, row.bare) for row in rows])

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """LoRA adapters and control vectors in use; `runtime.adapters_on` says on which rows."""
        adapters = self._settings.adapters
        return () if adapters is None else adapters.items

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
                "auto": batched with layers on a GPU.
            max_rows: most rows of a request, the plain one and one for each preference; 9, and 4
                of a batched scheduler, if None.
            chunk: tokens of a prompt computed at once on a CPU, instead of n_batch: what the other
                places wait for.

        Raises:
            InvalidParameterError: settings that exclude each other.
            ContextCreationError: no memory for so many.
        """
        with self._lock.turn(), self._lock.using():
            self._rows.close()
        chosen = scheduler_for(self.runtime, scheduler, on_gpu=self._settings.offload)
        n_rows = max_rows or (MAX_BATCHED_ROWS if chosen == "batched" else MAX_ROWS)
        settings = self._settings
        if chunk is not None and not settings.offload:
            settings = replace(settings, n_batch=chunk)
        made: Places
        if chosen == "batched":
            check_memory(self.model, settings, n_rows=places * n_rows)
            made = BatchedPlaces(
                self.model,
                settings,
                n_places=places,
                max_rows=n_rows,
                n_threads=self.plan.n_threads,
                noise=self._noise,
            )
        else:
            check_memory(self.model, settings, n_rows=places * min(2, n_rows))
            made = InterleavedPlaces(
                self.model,
                replace(settings, n_outputs=1),
                replace(self.plan, exact_reuse=True),
                n_places=places,
                max_rows=n_rows,
                noise=self._noise,
                new_rows=self._parts.new_rows,
                check_memory=partial(check_memory, self.model, settings),
            )
        pool = Pool(made, n_waiting=waiting)
        self._pools.add(pool)
        return pool

    def request(self, messages: Messages, **arguments: Any) -> Request:
        """A checked request of the arguments of `generate` (n_top instead of trace), for a pool.

        Raises:
            As `generate`.
        """
        open_arguments = ("preference", "avoid", "amulet", "preset", "system", "placement")
        request = self._request(messages, **{**dict.fromkeys(open_arguments), **arguments})
        return without_beams(request)

    def request_from_tokens(
        self,
        plain_ids: Sequence[int] | None,
        preference_ids: Sequence[Sequence[int]] | None,
        **arguments: Any,
    ) -> Request:
        """A checked request of the arguments of `generate_from_tokens`, for a pool.

        Raises:
            As there.
        """
        self._lock.check_open()
        request = self._requests.from_tokens(plain_ids, preference_ids, **arguments)
        return without_beams(request)

    @property
    def plan(self) -> ExecutionPlan:
        """Schedule and threads of the rows."""
        return self._rows.plan

    def forget(self) -> None:
        """Forget all prompts and answers, so that what comes next is computed from its beginning.

        Raises:
            EngineClosedError, EngineBusyError: see there.
        """
        self._lock.check_open()
        with self._lock.turn(), self._lock.using():
            self._rows.discard()

    def cancel(self) -> None:
        """End the generation that is running, from any thread.

        Its stream ends with finish_reason "cancelled" and keeps what was generated. Without a
        generation nothing happens.
        """
        self._stop_flag.set()

    def close(self) -> None:
        """Free the model and its contexts; a running generation ends first. May be called twice."""
        for pool in list(self._pools):
            pool.close()
        self._lock.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _request(self, messages: Messages | Dialogue, **arguments: Any) -> Request:
        with self._lock.using():
            request = self._requests.from_messages(messages, **arguments)
        if request.n_beams > 1:
            check_beam_request(request)
        return request

    def _stream(
        self, request: Request, prompt_progress: Progress | None, control: Control
    ) -> Generator[Chunk, None, None]:
        self._lock.check_open()
        with self._lock.turn(), control.running(self._stop_flag):
            pieces: Generator[Chunk | None, None, None]
            if request.n_beams > 1:
                pieces = self._searched(request, prompt_progress)
            else:
                pieces = generate(
                    request,
                    self._rows,
                    self._realigner,
                    self.model.vocabulary,
                    control,
                    prepare=self._prepare,
                    prompt_progress=prompt_progress,
                )
            try:
                while True:
                    chunk = self._next(pieces)
                    if chunk.generation is not None:
                        break
                    yield chunk
            finally:
                pieces.close()
        yield chunk

    def _searched(
        self, request: Request, prompt_progress: Progress | None
    ) -> Generator[Chunk | None, None, None]:
        """An answer by beam search, which is known at its end only; changes come too late."""
        run = BeamRun(
            model=self.model,
            settings=self._settings,
            stop_flag=self._stop_flag,
            n_threads=self.plan.n_threads,
            n_threads_batch=self.plan.n_threads_batch,
        )
        generation = beam_search(run, request, prompt_progress)
        yield Chunk(
            text=generation.text,
            reasoning=generation.reasoning,
            token_ids=generation.token_ids,
            finish_reason=generation.finish_reason,
            generation=generation,
        )

    def _next(self, pieces: Generator[Chunk | None, None, None]) -> Chunk:
        """The next piece; the last one, cancelled, if the engine was closed meanwhile."""
        try:
            try:  # `using`, without what a context manager costs at every token
                self._lock.enter()
                while (chunk := next(pieces)) is None:
                    pass
                return chunk
            finally:
                self._lock.leave()
        except EngineClosedError as closed:
            try:
                last = pieces.throw(StoppedError())
            except StoppedError:  # it had not begun
                raise closed from None
            assert last is not None
            return last

    def _answer_source(self) -> AnswerSource:
        self._lock.check_open()
        return AnswerSource(
            request=self._request, stream=self._stream, n_ctx=self.n_ctx, model=self.model.path.name
        )

    def _check_reuse(self) -> None:
        self._lock.check_open()
        if self.runtime.reproducible:
            raise InvalidParameterError(
                "a prompt cache reuses earlier work, which reproducible=True (--reproducible) "
                "rules out; leave one of them out"
            )

    def _fingerprint(self) -> str:
        settings = self._settings
        parts = [
            self.model.identity,
            f"llama.cpp {library.build_version()}",
            f"flash attention {settings.flash_attention}",
            f"{settings.cache_type_k}/{settings.cache_type_v}",
        ]
        if settings.adapters is not None:
            parts += [settings.adapters.fingerprint, f"on {self.runtime.adapters_on} rows"]
        return "; ".join(parts)

    def _prepare(self, request: Request) -> float:
        """Settle the schedule, and measure the rounding noise where the guards need it."""
        self._settle_schedule(request.plan.n_rows)
        return self._noise(request, self._stop_flag)

    def _noise(self, request: Request, stop_flag: StopFlag) -> float:
        if request.amulet.noise_guard == 0:
            return 0.0
        return self._parts.measure_noise(self.model, self._settings, stop_flag)

    def _settle_schedule(self, n_rows: int) -> None:
        """Measure, where it pays, which schedule is fastest for so many rows."""
        if not self._parts.chooses_schedule or n_rows < 2:
            return
        if n_rows not in self._schedule_choices:
            self._schedule_choices[n_rows] = choose_schedule(
                self.model,
                self._settings,
                self._stop_flag,
                self.plan,
                n_rows,
                retune=self.runtime.retune,
            )
        self._rows.change_plan(replace(self.plan, schedule=self._schedule_choices[n_rows].schedule))


def _free(rows: RowSet, parts: EngineParts) -> None:
    rows.close()
    parts.close()


def _last(stream: Iterator[Chunk]) -> Generation:
    generation = None
    for chunk in stream:
        generation = chunk.generation
    assert generation is not None
    return generation
