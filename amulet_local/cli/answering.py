"""From options to a loaded engine and streamed answers, for the commands that answer.

Knows the engine's public names and nothing below them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from amulet_local.cli.flag_names import in_flags
from amulet_local.cli.json_format import FORMAT
from amulet_local.cli.loading import loaded
from amulet_local.cli.question import Question
from amulet_local.cli.settings_used import settings_of_answer
from amulet_local.cli.terminal import (
    ReasoningNote,
    StatusLine,
    note,
    separator,
    stdout_is_terminal,
    write,
)
from amulet_local.common.errors import FileAccessError
from amulet_local.common.readable import n_tokens, speed
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.sampling import SamplingParams

if TYPE_CHECKING:
    from amulet_local.common.results import AppliedStrength, Chunk, Generation
    from amulet_local.engine import Engine
    from amulet_local.llama.vocabulary import Vocabulary

_UNSTRENGTHENED = "nothing is strengthened (--no-settled-gating strengthens it all the same)"


class Session:
    """A loaded engine, and what was said about it on stderr so far."""

    def __init__(self, engine: Engine, question: Question) -> None:
        self._engine = engine
        self._question = question
        self._warned: set[str] = set()
        self._has_said_what_is_added = False
        self.warn(engine.warnings)

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's tokens."""
        return self._engine.model.vocabulary

    def answer(
        self,
        method: str | None,
        *,
        question: Question | None = None,
        sampling: SamplingParams | None = None,
        stream: bool,
        show: Callable[[Chunk], None] | None = None,
        progress: str = "",
        trace: int | None = None,
    ) -> Generation:
        """Answer with one method.

        Args:
            method: a name from METHODS, None for the default.
            question: the same at another strength.
            sampling: instead of the question's own.
            stream: write the text to stdout as it comes, then a newline.
            show: writes a piece of that text, which may be empty, in a way of its own.
            progress: what to call the answer on stderr while it is made and not streamed.
            trace: see Engine.generate.

        Raises:
            AmuletError: see Engine.generate. What was written so far ends with a newline.
        """
        question = self._fitting(question)
        sampling = sampling or question.sampling
        show = show or _write_chunk
        status = StatusLine(enabled=not question.runtime.verbose)

        def show_progress(done: int, total: int) -> None:
            status.show(f"reading the prompt: {done} of {total} tokens")

        status.show("getting ready")
        chunks = self._engine.stream_generate(
            question.text,
            preference=question.preferences or None,
            method=method,
            amulet=question.amulet,
            preset=question.preset,
            sampling=sampling,
            system=question.system,
            placement=question.placement,
            response_prefix=question.response_prefix,
            prompt_progress=show_progress,
            trace=trace,
        )
        last = ""
        reasoning = ReasoningNote(enabled=stream)
        try:
            for n_chunks, chunk in enumerate(chunks):
                self._say_what_is_added(method)
                if stream or not progress:
                    status.erase()
                else:
                    status.show(f"{progress}: {n_chunks} of at most {sampling.max_tokens} tokens")
                reasoning.show(chunk.reasoning)
                if stream:
                    if chunk.text:
                        reasoning.end()
                    show(chunk)
                    last = chunk.text[-1:] or last
            status.erase()
        except BaseException:
            status.erase()
            reasoning.end()
            if stream and last != "\n" and (last or stdout_is_terminal()):
                write("\n")
            raise
        reasoning.end()
        if stream and last != "\n":
            write("\n")
        assert chunk.generation is not None
        self.warn(chunk.generation.warnings)
        return chunk.generation

    def _say_what_is_added(self, method: str | None) -> None:
        """Say it once, below llama.cpp's log, where it can be read."""
        from amulet_local.preferences.preference import wished_form

        if self._question.runtime.verbose and not self._has_said_what_is_added:
            self._has_said_what_is_added = True
            for line in what_is_added(self._question):
                note(line)
            form = wished_form(self._question.preferences)
            amulet = self.strength(method or "amulet", self._question)
            if form and amulet.form_guard:
                note(f"form that is kept (--no-form-guard leaves it to the model): {form.in_words}")
            if not amulet.settled_gating:
                return
            if form.language:
                note(f"once the answer is in {form.language}, {_UNSTRENGTHENED}")
            elif form.is_all and amulet.form_guard:
                note(f"nothing else is wished, so that {_UNSTRENGTHENED}")

    def strength(self, method: str, question: Question) -> AmuletParams:
        """The strength that `answer` asks for with these, before any guard lowers it."""
        from amulet_local.steering.methods import method_named
        from amulet_local.steering.presets import choose_strength

        chosen = choose_strength(
            method, question.amulet, question.preset, own=self._engine.own_settings
        )
        return method_named(method).settings(chosen.amulet)

    def json_of(self, generation: Generation, question: Question | None = None) -> dict[str, Any]:
        """Everything of a generation as JSON values, and what it was made with.

        Args:
            question: the same at another strength.
        """
        question = self._fitting(question)
        return {
            "format": FORMAT,
            "model": {"name": question.model, "path": str(self._engine.model.path)},
            **generation_json(generation),
            "settings": settings_of_answer(question, generation, self._engine),
        }

    def _fitting(self, question: Question | None) -> Question:
        return (question or self._question).with_memory_that_fits(self.vocabulary.count)

    def load_prompt_cache(self) -> None:
        """Start from the prompt cache that was asked for; one that can't be used is no error."""
        if self._question.prompt_cache is not None:
            try:
                self._engine.load_prompt_cache(self._question.prompt_cache)
            except FileAccessError as error:
                self.warn([str(error)])

    def save_prompt_cache(self) -> None:
        """Keep what was computed, if that was asked for."""
        if self._question.prompt_cache is not None:
            self._engine.save_prompt_cache(self._question.prompt_cache)

    def warn(self, warnings: Iterable[str]) -> None:
        """Write each warning to stderr, once."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                note(f"warning: {in_flags(warning)}")


def _write_chunk(chunk: Chunk) -> None:
    if chunk.text:
        write(chunk.text)


@contextmanager
def session(question: Question) -> Iterator[Session]:
    """Load the model, and free it in the end.

    Raises:
        AmuletError: see `load`.
    """
    with loaded(question.model, question.runtime) as engine:
        engine.check_chat()
        opened = Session(engine, question)
        if question.amulet is not None and question.preferences:
            opened.warn(question.amulet.warnings)
        opened.load_prompt_cache()
        yield opened
        opened.save_prompt_cache()


def what_is_added(question: Question) -> list[str]:
    """Lines about what the prompts have besides the question."""
    from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
    from amulet_local.steering.presets import placement_of

    if question.system is None:
        lines = [f"system text (the default; --system '' leaves it out): {DEFAULT_SYSTEM_TEXT}"]
    else:
        lines = [f"system text: {question.system or 'none'}"]
    placement = question.placement or placement_of(question.preset)
    return lines + [
        f"preference, placement {placement}, weight {item.weight:g}: {item.instruction}"
        for item in question.preferences
    ]


def generation_json(generation: Generation) -> dict[str, Any]:
    """Everything of a generation as JSON values."""
    values = dataclasses.asdict(generation)
    if generation.trace is None:
        del values["trace"]
    values["usage"]["total_tokens"] = generation.usage.total_tokens
    return values


def rate(generation: Generation) -> str:
    """Tokens per second; empty where there weren't several."""
    measured = generation.timings.tokens_per_second
    return f"{speed(measured)} tokens/s" if measured else ""


def figures(generation: Generation) -> str:
    """A line about a generation."""
    timings, usage = generation.timings, generation.usage
    cut = " (cut off)" if generation.finish_reason == "length" else ""
    parts = [
        f"{n_tokens(usage.completion_tokens)}{cut}",
        rate(generation),
        f"first token after {timings.time_to_first_token_seconds:.2f} s",
    ]
    if generation.applied is not None:
        parts.insert(0, applied_in_words(generation.applied))
    if generation.seed is not None:
        parts.append(f"seed {generation.seed}")
    return separator(sys.stderr).join(filter(None, parts))


def applied_in_words(applied: AppliedStrength) -> str:
    """How strongly an answer was steered in fact."""
    low, high = (f"{scale:.3g}" for scale in (applied.lowest_scale, applied.highest_scale))
    if low == high:
        scale = f"guidance scale {high}"
    else:
        scale = f"guidance scale {applied.mean_scale:.3g} ({low} to {high})"
    return f"{scale}, KL {applied.mean_kl:.2g} nats a token" if applied.mean_kl else scale
