"""The runtime: a loaded model that answers under a preference.

Puts the layers together: templates and preferences make prompts, a RowSet computes them, the
Realigner combines the rows, llama.cpp's samplers pick. Knows nothing about who asks.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias

from amulet_local import model_store, prompt_cache
from amulet_local.chat_template import Placement
from amulet_local.decoding import DecodingMethod
from amulet_local.errors import (
    CancelledError,
    EmptyPromptError,
    EngineClosedError,
    InvalidParameterError,
)
from amulet_local.generation import (
    Request,
    RowPlan,
    as_list,
    build_request,
    checked_weights,
    choose_method,
    generate,
    token_ids,
)
from amulet_local.llama import library
from amulet_local.llama.model import Model
from amulet_local.llama.rows import Plan, Progress, RowSet, StoppedError
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.optimizer.realigner import Realigner
from amulet_local.params import AmuletParams, RuntimeParams, SamplingParams
from amulet_local.preferences import Preference, PreferenceLike, resolve
from amulet_local.prompting import Messages, Prompter
from amulet_local.results import Chunk, Generation, Score
from amulet_local.runtime_setup import (
    check_memory,
    context_settings,
    kernels_loading,
    model_settings,
    resolve_gpu_layers,
    row_plan,
    runtime_warnings,
)
from amulet_local.scoring import score
from amulet_local.tuning import Tuning, tune
from amulet_local.turns import Turns

Preferences: TypeAlias = PreferenceLike | Sequence[PreferenceLike] | None
"""A built-in name, free text, a Preference, or a list of them."""


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
        warnings: what the user should know about this model and these options.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        runtime: RuntimeParams,
        *,
        load_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.runtime = runtime
        library.log.verbose = runtime.verbose
        with kernels_loading():
            library.start()
            n_gpu_layers = resolve_gpu_layers(runtime)
            self.model = Model.load(
                model_store.find_model(model),
                model_settings(runtime, n_gpu_layers),
                progress=load_progress,
            )
        self.n_ctx = runtime.n_ctx or self.model.n_ctx_train
        self.warnings = runtime_warnings(runtime, self.n_ctx, self.model.n_ctx_train)
        self._stop_flag = StopFlag()
        self._settings = context_settings(runtime, self.n_ctx, n_gpu_layers)
        self._rows = RowSet(
            self.model, self._settings, self._stop_flag, row_plan(runtime, n_gpu_layers)
        )
        self._tunings: dict[int, Tuning] = {}
        self._tunes = runtime.schedule == "auto" and n_gpu_layers == 0
        self._prompter = Prompter(self.model, runtime.chat_template)
        self._turns = Turns(self._stop_flag, partial(_free, self._rows, self.model))
        weakref.finalize(self, self._turns.close, timeout_seconds=5)
        try:
            check_memory(self.model, self._settings, n_rows=2)
            self._rows.reserve(1)
            self._realigner = Realigner(self.model.vocabulary.n_tokens)
        except BaseException:
            self.close()
            raise

    def generate(
        self,
        messages: Messages,
        *,
        preference: Preferences = None,
        method: str | None = None,
        amulet: AmuletParams | None = None,
        sampling: SamplingParams | None = None,
        system: str | None = None,
        placement: Placement = "system",
        prompt_progress: Progress | None = None,
    ) -> Generation:
        """Answer.

        Args:
            messages: a question, or OpenAI-style messages.
            preference: what the answer should follow.
            method: a name from decoding.METHODS; "amulet" with a preference, else "base".
            amulet: the strength; the paper's if None.
            sampling: length and sampling; greedy if None.
            system: system text of a conversation that brings none; a short default if None.
            placement: the preference goes to the end of the system text or of the last question.
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
                amulet=amulet,
                sampling=sampling,
                system=system,
                placement=placement,
                prompt_progress=prompt_progress,
            )
        )

    def stream_generate(
        self,
        messages: Messages,
        *,
        preference: Preferences = None,
        method: str | None = None,
        amulet: AmuletParams | None = None,
        sampling: SamplingParams | None = None,
        system: str | None = None,
        placement: Placement = "system",
        prompt_progress: Progress | None = None,
    ) -> Iterator[Chunk]:
        """Answer piece by piece; the last chunk has the whole answer.

        Arguments and errors are those of `generate`; a bad request raises here, not at the first
        chunk. Closing the iterator (or leaving its loop and dropping it) ends the generation.
        """
        preferences = resolve(preference)
        chosen = choose_method(method, has_preference=bool(preferences))
        prompts, notes = self._prompts(chosen, messages, preferences, system, placement)
        request = build_request(
            chosen,
            prompts,
            weights=[item.weight for item in preferences],
            amulet=amulet,
            sampling=sampling,
            n_ctx=self.n_ctx,
            preferences=[item.name or item.text for item in preferences],
            warnings=(*self.warnings, *notes),
        )
        return self._stream(request, prompt_progress)

    def generate_from_tokens(
        self,
        plain_ids: Sequence[int] | None,
        preference_ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        *,
        method: str | None = None,
        amulet: AmuletParams | None = None,
        sampling: SamplingParams | None = None,
        weights: Sequence[float] | None = None,
    ) -> Generation:
        """Answer prompts that are given as token ids; no template, no system text.

        Args:
            plain_ids: the plain prompt; None where the method doesn't need it.
            preference_ids: the preference prompt, or a list of one per preference.
            method: as for `generate`.
            amulet: the strength; the paper's if None.
            sampling: length and sampling; greedy if None.
            weights: one per preference; all 1 if None.

        Raises:
            As `generate`, and InvalidTokenError for an id outside the vocabulary.
        """
        preference_prompts = self._prompt_list(preference_ids)
        weights = checked_weights(weights, len(preference_prompts))
        chosen = choose_method(method, has_preference=bool(preference_prompts))
        plan = RowPlan.of(chosen, weights, 0.0)
        prompts = list(preference_prompts) if plan.weights else []
        if plan.has_plain:
            if plain_ids is None:
                raise InvalidParameterError(f"the method {chosen.name!r} needs plain_ids")
            prompts.insert(0, token_ids(plain_ids, self.model.vocabulary))
        request = build_request(
            chosen,
            prompts,
            weights=weights,
            amulet=amulet,
            sampling=sampling,
            n_ctx=self.n_ctx,
            warnings=self.warnings,
        )
        return _last(self._stream(request, None))

    def score(
        self,
        messages: Messages,
        response: str | Sequence[int],
        *,
        preference: Preferences = None,
        amulet: AmuletParams | None = None,
        system: str | None = None,
        placement: Placement = "system",
    ) -> Score:
        """Log-probabilities of a given answer, token by token, under each row.

        Args:
            messages, preference, amulet, system, placement: as for `generate`.
            response: the answer, as text or as token ids.

        Raises:
            As `generate`; PromptTooLongError counts prompt and answer together.
            CancelledError: `cancel` was called, or the engine closed, meanwhile.
        """
        preferences = resolve(preference)
        chosen = choose_method(None, has_preference=bool(preferences))
        vocabulary = self.model.vocabulary
        if isinstance(response, str):
            with self._turns.using():
                response = vocabulary.tokenize(response, add_special=False, parse_special=False)
            if not response:
                raise EmptyPromptError("there is no answer to score")
        answer = token_ids(response, vocabulary)
        prompts, _ = self._prompts(chosen, messages, preferences, system, placement)
        request = build_request(
            chosen,
            prompts,
            weights=[item.weight for item in preferences],
            amulet=amulet,
            sampling=None,
            n_ctx=self.n_ctx,
            n_answer=len(answer),
        )
        with self._turns.turn(), self._turns.using():
            try:
                self._settle_schedule(request.plan.n_rows)
                return score(request, answer, self._rows, self._realigner)
            except StoppedError:
                raise CancelledError("the scoring was cancelled") from None

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
        with self._turns.turn(), self._turns.using():
            rows = [
                prompt_cache.SavedRow(tokens=tuple(tokens), state=state)
                for tokens, state in self._rows.export()
            ]
            prompt_cache.save(name, self._fingerprint(), rows)

    def load_prompt_cache(self, name: str) -> bool:
        """Take over what `save_prompt_cache` kept; False if there is nothing of that name.

        Raises:
            InvalidParameterError: not a name, or the engine was loaded with reproducible=True.
            FileAccessError: it is damaged, not private, or made with another model, llama.cpp
                build or cache type; the engine is as it was.
            EngineClosedError, EngineBusyError: see there.
        """
        self._check_reuse()
        with self._turns.turn(), self._turns.using():
            rows = prompt_cache.load(name, self._fingerprint())
            if not rows or any(len(row.tokens) > self.n_ctx for row in rows):
                return False
            self._settle_schedule(len(rows))
            return self._rows.restore([(row.tokens, row.state) for row in rows])

    @property
    def plan(self) -> Plan:
        """Schedule and threads of the rows."""
        return self._rows.plan

    def cancel(self) -> None:
        """End the generation that is running, from any thread.

        Its stream ends with finish_reason "cancelled" and keeps what was generated. Without a
        generation nothing happens.
        """
        self._stop_flag.set()

    def close(self) -> None:
        """Free the model and its contexts; a running generation ends first. May be called twice."""
        self._turns.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _stream(
        self, request: Request, prompt_progress: Progress | None
    ) -> Generator[Chunk, None, None]:
        self._turns.check_open()
        with self._turns.turn():
            pieces = generate(
                request,
                self._rows,
                self._realigner,
                self.model.vocabulary,
                prompt_progress=prompt_progress,
                prepare=partial(self._settle_schedule, request.plan.n_rows),
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

    def _next(self, pieces: Generator[Chunk, None, None]) -> Chunk:
        """The next piece; the last one, cancelled, if the engine was closed meanwhile."""
        try:
            with self._turns.using():
                return next(pieces)
        except EngineClosedError as closed:
            try:
                return pieces.throw(StoppedError())
            except StoppedError:  # it had not begun
                raise closed from None

    def _check_reuse(self) -> None:
        self._turns.check_open()
        if self.runtime.reproducible:
            raise InvalidParameterError(
                "a prompt cache reuses earlier work, which reproducible=True (--reproducible) "
                "rules out; leave one of them out"
            )

    def _fingerprint(self) -> str:
        settings = self._settings
        return (
            f"{self.model.identity}; "
            f"llama.cpp {library.build_version()}; flash attention {settings.flash_attention}; "
            f"{settings.cache_type_k}/{settings.cache_type_v}"
        )

    def _settle_schedule(self, n_rows: int) -> None:
        """Measure, where it pays, which schedule is fastest for so many rows."""
        if not self._tunes or n_rows < 2:
            return
        if n_rows not in self._tunings:
            self._tunings[n_rows] = tune(
                self.model,
                self._settings,
                self._stop_flag,
                self.plan,
                n_rows,
                retune=self.runtime.retune,
            )
        self._rows.change_plan(replace(self.plan, schedule=self._tunings[n_rows].schedule))

    def _prompts(
        self,
        method: DecodingMethod,
        messages: Messages,
        preferences: Sequence[Preference],
        system: str | None,
        placement: Placement,
    ) -> tuple[list[tuple[int, ...]], list[str]]:
        plan = RowPlan.of(method, [item.weight for item in preferences], 0.0)
        instructions = [""] if plan.has_plain else []
        if plan.weights:
            instructions += [item.instruction for item in preferences]
        with self._turns.using():
            return self._prompter.prompts(
                messages, instructions, system=system, placement=placement
            )

    def _prompt_list(
        self, ids: Sequence[int] | Sequence[Sequence[int]] | None
    ) -> list[tuple[int, ...]]:
        self._turns.check_open()
        if ids is None:
            return []
        prompts: list[Any] = as_list(ids)
        if not (prompts and hasattr(prompts[0], "__len__")):
            prompts = [prompts]
        return [token_ids(prompt, self.model.vocabulary) for prompt in prompts]


def _free(rows: RowSet, model: Model) -> None:
    rows.close()
    model.close()


def _last(stream: Iterator[Chunk]) -> Generation:
    generation = None
    for chunk in stream:
        generation = chunk.generation
    assert generation is not None
    return generation
