"""One answer by beam search: the beams are sequences of one context, computed together.

Knows nothing about chat templates or about which beams win (beams.py). The context is made for the
answer and freed with it; its sequences share the prompt, and what beams have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from amulet_local.answering.answer_reader import AnswerReader
from amulet_local.answering.beams import Beams, Extension
from amulet_local.answering.clock import Clock
from amulet_local.answering.request import Request
from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.results import Chunk, FinishReason, Generation, Usage
from amulet_local.llama.context import Context, ContextSettings, Logits
from amulet_local.llama.model import Model
from amulet_local.llama.prefill import Progress
from amulet_local.llama.sequences import Part, Sequences
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.llama.worker import Worker, run_together
from amulet_local.loading.runtime_setup import check_memory

Result = TypeVar("Result")


def check_beam_request(request: Request) -> None:
    """Refuse what beam search has no use for.

    Raises:
        InvalidParameterError: it draws, has penalties, a grammar or biases, is to be traced, or has
            several rows.
    """
    sampling = request.sampling
    if sampling.temperature > 0 or sampling.changes_greedy or request.calling is not None:
        raise InvalidParameterError(
            f"{request.method} takes the likeliest answer: it goes with temperature 0 and without "
            f"penalties, biases, grammar, tools or ignore_eos"
        )
    if len(request.prompts) > 1:
        raise InvalidParameterError(
            f"{request.method} takes one preference of weight 1; a mix has no prompt of its own"
        )
    if request.trace is not None:
        raise InvalidParameterError(
            f"{request.method} can't be traced; score its answer instead (Engine.score)"
        )


def without_beams(request: Request) -> Request:
    """The request, where a pool can answer it beside others.

    Raises:
        InvalidParameterError: it is one for beam search, which has a context to itself.
    """
    if request.n_beams > 1:
        raise InvalidParameterError(
            f"{request.method} isn't served beside other requests; use it in "
            f"`amulet-local generate` or Engine.generate"
        )
    return request


@dataclass(frozen=True, kw_only=True)
class BeamRun:
    """What a search runs on.

    Attributes:
        model: the loaded model.
        settings: of the engine's contexts; the search's own has the same cache types.
        stop_flag: ends it.
        n_threads, n_threads_batch: for a step of all beams, and for the prompt.
    """

    model: Model
    settings: ContextSettings
    stop_flag: StopFlag
    n_threads: int
    n_threads_batch: int


def beam_search(run: BeamRun, request: Request, progress: Progress | None = None) -> Generation:
    """Answer.

    Args:
        progress: called with (tokens computed, tokens in all) of the prompt.

    Raises:
        ContextCreationError: no memory.
        DecodeError: llama.cpp failed.
    """
    prompt = request.prompts[0]
    room = request.n_ctx - len(prompt) + 1
    n_tokens = min(request.sampling.max_tokens, room)
    vocabulary = run.model.vocabulary
    beams = Beams(request.n_beams, end_tokens=vocabulary.end_tokens, max_tokens=n_tokens)
    clock = Clock(request.started_seconds)
    clock.prompt_starts()
    cancelled = False
    sequences = _Memory(run, request.n_beams, len(prompt) + request.n_beams * n_tokens)
    try:
        logits = [sequences.prefill(prompt, progress)]
        clock.prompt_done()
        while extensions := beams.advance(logits):
            clock.token_done()
            logits = sequences.extend(extensions)
        clock.token_done()
    except StoppedError:
        cancelled = True
    finally:
        sequences.close()
    tokens = beams.best().tokens
    ended = bool(tokens) and tokens[-1] in vocabulary.end_tokens
    reader = AnswerReader.of(request, vocabulary)
    for token in tokens[: len(tokens) - ended]:
        reader.push(token)
    reader.finish()
    ended = ended or reader.stop_text is not None
    reason: FinishReason = "cancelled" if cancelled else "stop" if ended else "length"
    warnings = list(request.warnings)
    if reason == "length" and len(tokens) < request.sampling.max_tokens:
        warnings.append(request.context_is_full(len(tokens)))
    return Generation(
        text=reader.text,
        reasoning=reader.reasoning,
        token_ids=tokens,
        finish_reason=reason,
        stop_text=reader.stop_text,
        announcement=reader.announcement,
        usage=Usage(
            prompt_tokens=len(prompt),
            completion_tokens=len(tokens),
            computed_tokens=sequences.n_decoded,
            reasoning_tokens=reader.n_before_answer,
        ),
        timings=clock.timings(),
        method=request.method,
        preset=request.preset,
        guidance_scale=request.amulet.guidance_scale,
        preferences=request.preferences,
        seed=None,
        warnings=tuple(warnings),
    )


def searched(
    run: BeamRun, request: Request, progress: Progress | None
) -> Generator[Chunk | None, None, None]:
    """The answer as a stream of one piece.

    Args and Raises: as `beam_search`.
    """
    generation = beam_search(run, request, progress)
    yield Chunk(
        text=generation.text,
        reasoning=generation.reasoning,
        token_ids=generation.token_ids,
        finish_reason=generation.finish_reason,
        generation=generation,
    )


class _Memory:
    """The beams' memory: a sequence each, whose tokens are shared where they are the same."""

    def __init__(self, run: BeamRun, n_beams: int, n_cells: int) -> None:
        settings = replace(
            run.settings, n_ctx=n_cells, n_sequences=n_beams, n_outputs=n_beams, unified=True
        )
        check_memory(run.model, settings, n_rows=1)
        self.n_decoded = 0
        self._stop_flag = run.stop_flag
        self._worker = Worker("amulet-beams")
        self._n_beams = n_beams
        self._places = [0]
        """The sequence of each running beam."""
        try:
            context = self._native(partial(Context, run.model, settings, run.stop_flag))
        except BaseException:
            self._worker.close()
            raise
        context.set_threads(run.n_threads, run.n_threads_batch)
        self._sequences = Sequences(context, can_drop=run.model.can_drop_tokens)

    def prefill(self, prompt: Sequence[int], progress: Progress | None) -> Logits:
        """Compute the prompt in the first sequence; the logits after it."""
        while (n_done := len(self._sequences.held(0))) < len(prompt):
            (output,) = self._decode(self._sequences.pack([(0, prompt[n_done:])]))
            if progress is not None:
                progress(len(self._sequences.held(0)), len(prompt))
        return self._sequences.logits(output).copy()

    def extend(self, extensions: Sequence[Extension]) -> list[Logits]:
        """Go on with these beams; the logits of each, views until the next call.

        A beam's first child stays in its sequence; the others get a copy in one that is free.
        """
        parents = [self._places[extension.parent] for extension in extensions]
        free = [place for place in range(self._n_beams) if place not in parents]
        places: list[int] = []
        for parent in parents:
            place = parent
            if parent in places:
                place = free.pop()
                self._sequences.copy(parent, place)
            places.append(place)
        for place in free:
            self._sequences.forget(place)
        self._places = places
        outputs = self._decode(
            [
                Part(place, (extension.token,))
                for place, extension in zip(places, extensions, strict=True)
            ]
        )
        return [self._sequences.logits(output) for output in outputs]

    def close(self) -> None:
        """Free the memory."""
        self._sequences.close()
        self._worker.close()

    def _decode(self, parts: Sequence[Part]) -> list[int]:
        if self._stop_flag.is_set():
            raise StoppedError
        outputs = self._native(partial(self._sequences.decode, parts))
        self.n_decoded += sum(len(part.tokens) for part in parts)
        return outputs

    def _native(self, task: Callable[[], Result]) -> Result:
        result: Result = run_together([self._worker], [task], self._stop_flag.set)[0]
        return result
