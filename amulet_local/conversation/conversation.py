"""A conversation: turns that follow a preference, which may change between them and within one.

Knows nothing about prompts, rows or how an engine is loaded; it is given a source of answers. What
was said is a tuple of finished turns that is replaced as a whole, so that it is never half changed,
whatever is interrupted and wherever.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from functools import partial
from typing import Any, NoReturn

from amulet_local.answering.async_stream import AsyncAnswerStream
from amulet_local.common.errors import InvalidParameterError, InvalidRequestError
from amulet_local.common.readable import printable
from amulet_local.common.results import Chunk, Generation
from amulet_local.conversation import conversation_file
from amulet_local.conversation.conversation_file import SavedConversation
from amulet_local.conversation.conversation_settings import KEEP, ConversationSettings, Keep, OnFull
from amulet_local.conversation.turn_draft import AnswerSource, Draft, TurnDrafter, TurnRequest
from amulet_local.conversation.turn_stream import TurnStream
from amulet_local.llama.prefill import Progress
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.stream_lock import StreamLock
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.params.sampling import SamplingParams
from amulet_local.params.where_it_goes import hinting, written
from amulet_local.preferences.preference import PreferencesLike
from amulet_local.prompts.dialogue import Turn

_SETTINGS = tuple(item.name for item in fields(ConversationSettings))
_BUSY = (
    "this conversation is in the middle of another turn; finish or close that one first, or fork "
    "the conversation"
)


def resume(source: AnswerSource, path: str | os.PathLike[str]) -> Conversation:
    """Go on with a conversation that was saved, with whichever model.

    Raises:
        As `Engine.load_conversation`.
    """
    saved = conversation_file.read(path)
    warnings = []
    if saved.model != source.model:
        warnings.append(
            f"this conversation was had with {printable(saved.model[:80])}, and goes on with "
            f"{printable(source.model)}"
        )
    return Conversation(source, saved.settings, saved.turns, warnings=warnings)


class Conversation:
    """Turns with an engine; `Engine.conversation` makes one.

    Threads may share it. One turn runs at a time, by the engine's rule: another thread waits for
    it; the same thread, in the middle of a stream, gets EngineBusyError. Every error leaves it as
    it was before the turn; a cancelled answer stays, as far as it got, unless it has no token.

    A turn computes the new text only. What has to be computed again is said where it happens.

    Attributes:
        warnings: what is to be known about all its answers; they have it in their own.
    """

    @written("engine.conversation(preference='concise'), which makes one")
    def __init__(
        self,
        source: AnswerSource,
        settings: ConversationSettings,
        turns: Sequence[Turn] = (),
        *,
        warnings: Sequence[str] = (),
        drafter: TurnDrafter | None = None,
    ) -> None:
        """Begin, or go on after `turns`.

        Args:
            drafter: of a conversation with these turns; None begins with nothing in memory.
        """
        self.warnings = tuple(warnings)
        self._source = source
        self._settings = settings
        self._turns = tuple(turns)
        self._drafter = drafter or TurnDrafter(source, warnings=self.warnings)
        self._order = StreamLock(StopFlag(), _nothing, busy=_BUSY)
        self._lock = threading.RLock()  # re-entrant: a finalizer may end a stream anywhere
        self._running: Draft | None = None

    def __repr__(self) -> str:
        n = len(self._turns)
        return f"<Conversation with {self._source.model}: {n} turn{'' if n == 1 else 's'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a conversation can't be pickled or copied, because its model can't; `save` writes it "
            "to a file, `fork` makes another one"
        )

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said, oldest first; a turn is there when its answer is complete."""
        return self._turns

    @property
    def settings(self) -> ConversationSettings:
        """The settings of the next turn."""
        return self._settings

    @property
    def n_dropped(self) -> int:
        """How many of the oldest turns the last prompt left out, because the context was full."""
        return self._turns[-1].n_dropped if self._turns else 0

    @property
    def messages(self) -> list[dict[str, str]]:
        """What was said, as OpenAI-style messages; without preferences."""
        system = self._settings.system
        messages = [] if system is None else [{"role": "system", "content": system}]
        for turn in self._turns:
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": turn.answer})
        return messages

    @hinting(_SETTINGS, "; settings are changed with set(...)")
    @written("send('Hello')")
    def send(
        self, text: str, *, trace: int | None = None, prompt_progress: Progress | None = None
    ) -> Generation:
        """Say something and get the answer.

        Args:
            text: what the user says.
            trace, prompt_progress: as for `Engine.generate`.

        Raises:
            ConversationFullError: there is no room for it; see `set`, on_full.
            As `Engine.generate`.
        """
        return self.stream(text, trace=trace, prompt_progress=prompt_progress).whole()

    @hinting(_SETTINGS, "; settings are changed with set(...)")
    @written("stream('Hello')")
    def stream(
        self, text: str, *, trace: int | None = None, prompt_progress: Progress | None = None
    ) -> TurnStream:
        """Say something and get the answer piece by piece; otherwise as `send`."""
        _check_text(text)
        return self._stream(
            TurnRequest(
                place=lambda turns: (turns, text), trace=trace, prompt_progress=prompt_progress
            )
        )

    @written("asend('Hello')")
    async def asend(self, text: str, *, trace: int | None = None) -> Generation:
        """`send` without blocking the event loop; cancelling the task ends the turn."""
        return await self.astream(text, trace=trace).whole()

    @written("astream('Hello')")
    def astream(self, text: str, *, trace: int | None = None) -> AsyncAnswerStream:
        """`stream` as an asynchronous iterator; errors raise at the first piece."""
        return AsyncAnswerStream(partial(self.stream, text, trace=trace))

    def regenerate(
        self,
        *,
        seed: int | None = None,
        trace: int | None = None,
        prompt_progress: Progress | None = None,
    ) -> Generation:
        """Answer the last question anew, in the place of the last answer.

        Args:
            seed: of a sampled answer; None draws another one, whatever the settings have. A greedy
                answer stays the same while the settings do.
            trace, prompt_progress: as for `Engine.generate`.

        Raises:
            InvalidRequestError: there is no turn.
            As `send`.
        """
        return self.stream_regenerate(
            seed=seed, trace=trace, prompt_progress=prompt_progress
        ).whole()

    def stream_regenerate(
        self,
        *,
        seed: int | None = None,
        trace: int | None = None,
        prompt_progress: Progress | None = None,
    ) -> TurnStream:
        """As `regenerate`, piece by piece. The last answer stays until the new one is complete."""
        SamplingParams(seed=seed)  # checks it

        def place(turns: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], str]:
            last = turns[_index(-1, turns)]
            return turns[:-1], last.question

        return self._stream(
            TurnRequest(
                place=place,
                again=True,
                seed=seed,
                trace=trace,
                prompt_progress=prompt_progress,
            )
        )

    @written("edit(-1, 'Hello')")
    def edit(
        self,
        turn: int,
        text: str,
        *,
        trace: int | None = None,
        prompt_progress: Progress | None = None,
    ) -> Generation:
        """Replace a question, forget what follows it, and answer anew.

        Args:
            turn: its place in `turns`, from 0, or from the end: -1 is the last.
            text: the question in its place.
            trace, prompt_progress: as for `Engine.generate`.

        Raises:
            InvalidRequestError: there is no such turn.
            As `send`.
        """
        return self.stream_edit(turn, text, trace=trace, prompt_progress=prompt_progress).whole()

    @written("stream_edit(-1, 'Hello')")
    def stream_edit(
        self,
        turn: int,
        text: str,
        *,
        trace: int | None = None,
        prompt_progress: Progress | None = None,
    ) -> TurnStream:
        """As `edit`, piece by piece. What follows is there until the new answer is complete."""
        _check_text(text)
        return self._stream(
            TurnRequest(
                place=lambda turns: (turns[: _index(turn, turns)], text),
                trace=trace,
                prompt_progress=prompt_progress,
            )
        )

    def undo(self) -> Turn:
        """Take the last turn back; returns it.

        Raises:
            InvalidRequestError: there is no turn.
            EngineBusyError: a turn is running in this thread.
        """
        with self._order.turn():
            last = self._turns[_index(-1, self._turns)]
            self._turns = self._turns[:-1]
            return last

    @written("revise('Hello')")
    def revise(self, text: str) -> None:
        """Put a text of the user's in the place of the last answer; the next turns follow it.

        Raises:
            InvalidRequestError: there is no turn, or no text.
            EngineBusyError: a turn is running in this thread.
        """
        _check_text(text)
        if not text.strip():
            raise InvalidRequestError("an answer can't be replaced by nothing; undo takes it back")
        with self._order.turn():
            last = self._turns[_index(-1, self._turns)]
            revised = replace(
                last, answer=text, reasoning="", token_ids=(), finish_reason="stop", seed=None
            )
            self._turns = (*self._turns[:-1], revised)

    def fork(self) -> Conversation:
        """Another conversation with the same turns and settings, on the same engine.

        From then on neither knows about the other. A turn that is running isn't in it. The engine
        has one of them in memory: taking turns with both computes what they don't share anew.
        """
        with self._lock:
            return Conversation(
                self._source,
                self._settings,
                self._turns,
                warnings=self.warnings,
                drafter=self._drafter.copy(),
            )

    @hinting(_SETTINGS)
    @written("set(preference='concise')")
    def set(
        self,
        *,
        preference: PreferencesLike | Keep = KEEP,
        avoid: PreferencesLike | Keep = KEEP,
        method: str | Keep | None = KEEP,
        amulet: AmuletParams | Keep | None = KEEP,
        preset: str | Keep | None = KEEP,
        sampling: SamplingParams | Keep | None = KEEP,
        system: str | Keep | None = KEEP,
        placement: Placement | Keep | None = KEEP,
        on_full: OnFull | Keep = KEEP,
    ) -> None:
        """Change settings, from the next token on: of the turn that is running, and of the next.

        What isn't named stays as it is. A preference in the system text changes where its prompt
        begins, so that the next turn computes all of that prompt; one with placement "user" is in
        the last question only, and a change costs nothing.

        Args:
            preference, avoid, method, amulet, preset, system, placement: as for `Engine.generate`.
                A preset takes the place of an `amulet`, and the other way round.
            sampling: of the next answer; one that has begun keeps its own.
            on_full: what to do when the prompt and room for the answer exceed the context. Room is
                max_tokens, at most a quarter of the context. "error": ConversationFullError.
                "drop_oldest": leave out whole turns, the older half of those that are still in the
                prompt, more if need be; `turns` keeps them, the result's warnings say so.

        Raises:
            InvalidRequestError: something about them, said in its message; all stay as they were.
            ConversationFullError: the turn that is running has no room for them.
        """
        self._set(
            {
                "preference": preference,
                "avoid": avoid,
                "method": method,
                "amulet": amulet,
                "preset": preset,
                "sampling": sampling,
                "system": system,
                "placement": placement,
                "on_full": on_full,
            }
        )

    @written("save('talk.json')")
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write turns and settings to a file, as JSON, for its owner only.

        The file is written whole or not at all; one that is there is replaced. A turn that is
        running isn't in it. `Engine.load_conversation` reads it.

        Raises:
            FileAccessError: it can't be written; a file that was there is as it was.
            InvalidRequestError: it is too large, or something in it can't be kept as JSON.
        """
        with self._lock:
            saved = SavedConversation(
                model=self._source.model, settings=self._settings, turns=self._turns
            )
        conversation_file.write(path, saved)

    def _set(self, changes: dict[str, Any]) -> None:
        with self._lock:
            settings = self._settings.changed(changes)
            if self._running is not None:
                self._drafter.change(self._running, settings)
            self._settings = settings

    def _stream(self, asked: TurnRequest) -> TurnStream:
        return TurnStream(self._run(asked, self._draft(asked)), self.set, asked.control.cancel)

    def _draft(self, asked: TurnRequest) -> Draft:
        with self._lock:
            return self._drafter.draft(self._turns, asked, self._settings)

    def _run(self, asked: TurnRequest, draft: Draft) -> Generator[Chunk, None, None]:
        with self._order.turn():
            said: list[Chunk] = []
            try:
                with self._lock:
                    if not draft.holds_for(self._turns, self._settings):
                        draft = self._draft(asked)
                    self._running = draft
                with closing(
                    self._source.stream(draft.request, asked.prompt_progress, draft.control)
                ) as pieces:
                    while True:
                        with self._order.using():
                            chunk = next(pieces)
                        said.append(chunk)
                        if chunk.generation is not None:
                            break
                        yield chunk
            except (GeneratorExit, KeyboardInterrupt):
                self._keep(draft, said)
                raise
            else:
                self._keep(draft, said)
            finally:
                self._running = None
        yield chunk

    def _keep(self, draft: Draft, said: Sequence[Chunk]) -> None:
        """Add the turn; one that was cancelled before its first token isn't."""
        complete = said[-1].generation if said else None
        if complete is not None:
            token_ids, finish_reason = complete.token_ids, complete.finish_reason
        else:
            token_ids = tuple(token for chunk in said for token in chunk.token_ids)
            finish_reason = "cancelled"
        if not token_ids:
            return
        turn = Turn(
            question=draft.question,
            answer="".join(chunk.text for chunk in said),
            reasoning="".join(chunk.reasoning for chunk in said),
            token_ids=token_ids,
            finish_reason=finish_reason,
            n_dropped=draft.n_dropped,
            preferences=draft.request.preferences,
            seed=draft.seed,
        )
        self._turns = (*draft.kept, turn)


def _nothing() -> None:
    """There is no memory to free."""


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InvalidRequestError(f"a question must be a text, got {type(text).__name__}")


def _index(turn: int, turns: Sequence[Turn]) -> int:
    n = len(turns)
    if type(turn) is not int:
        raise InvalidParameterError(f"a turn is named by its number, got {turn!r:.60}")
    if not n:
        raise InvalidRequestError("this conversation has no turn yet")
    if not -n <= turn < n:
        there = f"0 to {n - 1}, or -1 for the last"
        raise InvalidRequestError(f"there is no turn {turn} in this conversation; {there}")
    return turn % n
