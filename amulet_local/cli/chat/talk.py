"""A chat: a conversation whose turns are shown and kept.

Knows nothing about commands or about where questions come from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from amulet_local.cli.chat import settings as words
from amulet_local.cli.chat.screen import AnswerDisplay, Screen
from amulet_local.cli.chat.slash import SlashLine, parsed
from amulet_local.cli.columns import cells, cut
from amulet_local.cli.kept_chats import Keeper
from amulet_local.cli.terminal import one_line
from amulet_local.common.errors import AmuletError, ConversationFullError
from amulet_local.common.readable import speed

if TYPE_CHECKING:
    from amulet_local.common.results import Generation
    from amulet_local.conversation.conversation import Conversation
    from amulet_local.conversation.conversation_settings import ConversationSettings
    from amulet_local.conversation.turn_stream import TurnStream
    from amulet_local.engine import Engine
    from amulet_local.llama.prefill import Progress

RETRY_TEMPERATURE = 0.7
"""Of an answer that is to be another one, where answers are greedy."""
_SEPARATOR = " | "
_LEAST_CELLS = 12
"""What stays of a name that gives way to others."""


class Chat:
    """What a chat's commands work on.

    Attributes:
        engine, conversation, screen, keeper: its parts.
        model: what to call the model.
        last: the last answer that was made here, for as long as it is the last one.
        last_is_steady: whether its settings held from its beginning to its end.
        question: what to put into the next prompt, for the user to change.
        is_editing: whether the next question takes the place of the last one.
        waiting: lines that were typed while an answer came.
        has_failed: whether a turn or a command ended with an error.
        was_cut: whether an answer was cut.
    """

    def __init__(
        self,
        engine: Engine,
        conversation: Conversation,
        screen: Screen,
        keeper: Keeper,
        *,
        model: str,
    ) -> None:
        self.engine = engine
        self.conversation = conversation
        self.screen = screen
        self.keeper = keeper
        self.model = model
        self.last: Generation | None = None
        self.last_is_steady = False
        self.question = ""
        self.is_editing = False
        self.waiting: list[str] = []
        self.has_failed = self.was_cut = False
        self.change_live: Callable[[SlashLine], str | None] = lambda said: None
        self.before_turn: Callable[[str], None] = lambda question: None
        self.after_turn: Callable[[], None] = lambda: None
        self.takes: Callable[[str], bool] = lambda text: False  # a text that is no question
        self._asked_with: ConversationSettings | None = None
        self._warned: set[str] = set()

    def say(self, text: str) -> None:
        """Ask, or ask anew in the place of the last question, and show the answer.

        Raises:
            AmuletError: there is none; the question is offered again.
        """
        self.before_turn(text)
        editing, self.is_editing = self.is_editing, False
        conversation = self.conversation
        trace = self._trace()

        def begin(progress: Progress) -> TurnStream:
            if editing:
                return conversation.stream_edit(-1, text, trace=trace, prompt_progress=progress)
            return conversation.stream(text, trace=trace, prompt_progress=progress)

        self._turn(begin, text)

    def retry(self) -> None:
        """Answer the last question anew.

        Raises:
            AmuletError: there is none, or no answer; what there was stays.
        """
        conversation = self.conversation
        sampling = conversation.settings.sampling
        is_same = self.last is not None and conversation.settings == self._asked_with
        with contextlib.ExitStack() as stack:
            if conversation.turns and sampling.temperature == 0 and is_same:
                self.screen.remark(
                    f"greedy, it would be the same again: drawn at temperature "
                    f"{RETRY_TEMPERATURE} this once (/set temp keeps one)"
                )
                conversation.set(sampling=sampling.replace(temperature=RETRY_TEMPERATURE))
                stack.callback(conversation.set, sampling=sampling)
            trace = self._trace()
            generation = self._turn(
                lambda progress: conversation.stream_regenerate(
                    trace=trace, prompt_progress=progress
                ),
                "",
            )
        if generation is not None:
            self._asked_with = conversation.settings
            self.keep()  # with the settings that hold from here on

    def show(self, stream: TurnStream, display: AnswerDisplay) -> Generation:
        """Show a stream; Ctrl-C ends it."""
        with stream, self.screen.interrupted_by(stream.cancel):
            return display.run(stream)

    def keep(self) -> None:
        """Write the chat to its file; where that fails it is said, and the chat goes on."""
        if not self.keeper.keeps:
            return
        try:
            if self.keeper.path is None:
                self.keeper.begin()
            assert self.keeper.path is not None
            self.conversation.save(self.keeper.path)
        except AmuletError as error:
            self.warn([f"this chat isn't kept: {error}"])

    def changed(self) -> None:
        """The last turn is another one now."""
        self.last = None
        self.keep()

    def warn(self, warnings: Iterable[str]) -> None:
        """Say each warning once."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self.screen.complain(f"warning: {words.in_chat(warning)}")

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Say what fails inside the block; the chat goes on."""
        try:
            yield
        except ConversationFullError as error:
            self.has_failed = True
            self.screen.complain(
                f"error: the context is full: the prompt has {error.n_prompt_tokens} tokens, the "
                f"answer needs room for {error.n_answer_tokens}, and there are {error.n_ctx}; "
                f"/undo takes turns back, /new begins afresh, a shorter question may fit, or "
                f"start with -c {error.n_prompt_tokens + error.n_answer_tokens}"
            )
        except AmuletError as error:
            self.has_failed = True
            self.screen.complain(f"error: {words.in_chat(str(error))}")

    @property
    def n_used(self) -> int:
        """Tokens of the context that the last turn took; 0 before the first one."""
        if self.last is None:
            return 0
        return self.last.usage.prompt_tokens + self.last.usage.completion_tokens

    def status(self, width: int | None = None) -> str:
        """Model, preference, strength, context and speed, on one line.

        Args:
            width: cells that it may take; the model's name and the preferences are cut for it.
        """
        settings = self.conversation.settings
        wanted = words.preferences_in_words(settings)
        parts = [
            self.model,
            wanted or "no preference",
            *([words.strength_in_words(settings)] if wanted else []),
        ]
        if self.last is not None:
            parts.append(f"context {self.n_used / self.engine.n_ctx:.0%}")
            measured = self.last.timings.tokens_per_second
            parts += [f"{speed(measured)} tok/s"] if measured else []
        return _fitted([one_line(part) for part in parts], width)

    def _trace(self) -> int | None:
        """One alternative a token is what /explain needs."""
        settings = self.conversation.settings
        return 1 if settings.preference or settings.avoid else None

    def _turn(self, begin: Callable[[Progress], TurnStream], question: str) -> Generation | None:
        """Run a turn, show it, keep it; None if it was stopped before its first token."""
        display = AnswerDisplay(self.screen, self._typed)
        self._changed_live = False
        asked_with = self.conversation.settings
        before = self.conversation.turns
        generation = None
        try:
            generation = self.show(begin(display.progress), display)
        except AmuletError:
            self.question = question if self.screen.is_full else ""
            raise
        finally:
            if self.conversation.turns is not before:  # finished, or cut short by an exception
                self.last, self.last_is_steady = generation, not self._changed_live
                self._asked_with = asked_with
                self.keep()
            lines, begun = display.ahead
            self.waiting += lines
            self.question = self.question or begun
        if not generation.token_ids:
            self.screen.remark("(stopped before the answer began)")
            self.question = self.question or question
            return None
        self._comment(generation)
        self.after_turn()
        return generation

    def _comment(self, generation: Generation) -> None:
        if generation.finish_reason == "cancelled":
            self.screen.remark("(stopped)")
        elif generation.finish_reason == "length":
            self.was_cut = True
            limit = self.conversation.settings.sampling.max_tokens
            if generation.usage.completion_tokens >= limit:
                self.screen.remark(f"(cut off at {limit} tokens; /set n {2 * limit} allows more)")
        for warning in generation.warnings:
            if warning not in self._warned:  # such as that the chat was had with another model
                self.screen.remark(f"({words.in_chat(warning)})")

    def _typed(self, line: str) -> str | None:
        """A line that came while an answer comes."""
        said = parsed(line)
        if said is None or said.command is None or not said.command.is_live or not said.argument:
            return None
        try:
            answer = self.change_live(said)
        except AmuletError as error:
            return f"error: {error}"
        self._changed_live = True
        return answer


def _fitted(parts: list[str], width: int | None) -> str:
    """The parts with bars between them; the first two give way to the figures after them."""
    for place in (0, 1):
        excess = 0 if width is None else cells(_SEPARATOR.join(parts)) - width
        if excess > 0:
            parts[place] = cut(parts[place], max(cells(parts[place]) - excess, _LEAST_CELLS))
    line = _SEPARATOR.join(parts)
    return line if width is None else cut(line, width)
