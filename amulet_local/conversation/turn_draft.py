"""Prepares a turn: from what was said, a question and settings to a request that fits the context.

Knows nothing about when a turn runs or about what becomes of its answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.errors import ConversationFullError, PromptTooLongError
from amulet_local.common.results import Chunk
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.llama.prefill import Progress
from amulet_local.params.sampling import SamplingParams
from amulet_local.prompts.dialogue import Dialogue, PromptMemory, Turn

ROOM_SHARE = 4
"""A turn keeps room for max_tokens of answer, at most this fraction of the context."""


@dataclass(frozen=True, kw_only=True)
class AnswerSource:
    """What a conversation needs of an engine.

    Attributes:
        request: makes a checked request of a dialogue and the arguments of `Engine.generate`.
        stream: answers it.
        n_ctx: context length of each row, in tokens.
        model: the name of the model's file.
    """

    request: Callable[..., Request]
    stream: Callable[[Request, Progress | None, Control], Generator[Chunk, None, None]]
    n_ctx: int
    model: str


@dataclass(frozen=True, kw_only=True)
class TurnRequest:
    """A turn that somebody asks for.

    Attributes:
        place: from the turns that there are, those to keep and the question that comes then.
        again: whether sampled answers take another seed than the settings have.
        seed: which one; None draws it.
        trace, prompt_progress: as for `Engine.generate`.
        control: changes and ends it while it runs.
    """

    place: Callable[[tuple[Turn, ...]], tuple[tuple[Turn, ...], str]]
    again: bool = False
    seed: int | None = None
    trace: int | None = None
    prompt_progress: Progress | None = None
    control: Control = field(default_factory=Control)


@dataclass(kw_only=True)
class Draft:
    """A turn that is ready to begin, or has begun.

    Attributes:
        before: all turns when it was made.
        kept, question: see `TurnRequest.place`.
        n_dropped: how many turns its prompt leaves out.
        settings, request: what it runs with.
        sampling: of its answer, to the end.
        seed: of its draws, None if greedy.
        control: changes and ends it.
    """

    before: tuple[Turn, ...]
    kept: tuple[Turn, ...]
    question: str
    n_dropped: int
    settings: ConversationSettings
    request: Request
    sampling: SamplingParams
    seed: int | None
    control: Control

    def holds_for(self, turns: tuple[Turn, ...], settings: ConversationSettings) -> bool:
        """Whether nothing changed since it was made."""
        return self.before is turns and self.settings is settings


class TurnDrafter:
    """Prepares the turns of one conversation. Not to be used by two threads at once."""

    def __init__(
        self,
        source: AnswerSource,
        *,
        warnings: Sequence[str] = (),
        now: datetime | None = None,
        memory: PromptMemory | None = None,
    ) -> None:
        """Begin.

        Args:
            warnings: for every result.
            now: what a template takes for the present; None for the time of this call.
            memory: what was made for the prompts before, if any were.
        """
        self._source = source
        self._warnings = tuple(warnings)
        self._now = datetime.now() if now is None else now
        self._memory = PromptMemory() if memory is None else memory

    def copy(self) -> TurnDrafter:
        """Another one that starts with the same."""
        return TurnDrafter(
            self._source, warnings=self._warnings, now=self._now, memory=self._memory.copy()
        )

    def draft(
        self, turns: tuple[Turn, ...], turn_request: TurnRequest, settings: ConversationSettings
    ) -> Draft:
        """The turn that somebody asks for.

        Raises:
            ConversationFullError: it doesn't fit the context, and nothing may or can be left out.
            As `Engine.generate`.
        """
        kept, question = turn_request.place(turns)
        sampling = settings.sampling
        if turn_request.again and sampling.temperature > 0:
            seed = secrets.randbelow(2**32 - 1) if turn_request.seed is None else turn_request.seed
            sampling = sampling.replace(seed=seed)
        arguments = {**settings.arguments(), "sampling": sampling, "trace": turn_request.trace}
        n_dropped = kept[-1].n_dropped if kept else 0
        while True:
            request, n_tokens = self._request(kept[n_dropped:], question, arguments)
            n_over = n_tokens + self._room(sampling) - 1 - self._source.n_ctx
            if request is not None and n_over <= 0:
                break
            if settings.on_full == "error" or n_dropped == len(kept):
                raise self._full(n_tokens, sampling, n_turns=len(kept) - n_dropped)
            n_dropped += self._memory.turns_to_drop(n_over)
        return Draft(
            before=turns,
            kept=kept,
            question=question,
            n_dropped=n_dropped,
            settings=settings,
            request=self._with_warnings(request, n_dropped, len(kept)),
            sampling=sampling,
            seed=request.seed if sampling.temperature > 0 else None,
            control=turn_request.control,
        )

    def change(self, draft: Draft, settings: ConversationSettings) -> None:
        """Let a turn that runs go on with these settings, but for its sampling.

        Raises:
            ConversationFullError: it doesn't fit the context with them; it goes on as it was.
            As `Engine.generate`.
        """
        arguments = {**settings.arguments(), "sampling": draft.sampling}
        turns = draft.kept[draft.n_dropped :]
        request, n_tokens = self._request(turns, draft.question, arguments)
        if request is None or n_tokens + self._room(draft.sampling) - 1 > self._source.n_ctx:
            raise self._full(n_tokens, draft.sampling, n_turns=len(turns))
        draft.settings = settings
        draft.request = self._with_warnings(request, draft.n_dropped, len(draft.kept))
        draft.control.change(draft.request)

    def _request(
        self, turns: tuple[Turn, ...], question: str, arguments: dict[str, Any]
    ) -> tuple[Request | None, int]:
        """A request and the length of its longest prompt; no request if it exceeds the context."""
        dialogue = Dialogue(turns=turns, question=question, now=self._now, memory=self._memory)
        try:
            request = self._source.request(dialogue, **arguments)
        except PromptTooLongError as error:
            return None, error.n_prompt_tokens
        return request, max(map(len, request.prompts))

    def _room(self, sampling: SamplingParams) -> int:
        """Tokens that the answer has to have room for; the last of them needs none."""
        return max(1, min(sampling.max_tokens, self._source.n_ctx // ROOM_SHARE))

    def _with_warnings(self, request: Request, n_dropped: int, n_turns: int) -> Request:
        notes = list(self._warnings)
        if n_dropped:
            notes.append(
                f"the oldest {n_dropped} of {n_turns} turns don't fit the context of "
                f"{self._source.n_ctx} any more and were left out"
            )
        return replace(request, warnings=(*request.warnings, *notes))

    def _full(
        self, n_tokens: int, sampling: SamplingParams, *, n_turns: int
    ) -> ConversationFullError:
        n_ctx, room = self._source.n_ctx, self._room(sampling)
        cure = "shorten it"
        if n_turns:
            cure = "take turns back (undo), set on_full='drop_oldest'"
        return ConversationFullError(
            f"with this question the prompt has {n_tokens} tokens, the answer needs room for "
            f"{room}, and the context holds {n_ctx}; {cure}, or use a larger context (n_ctx, -c "
            f"{n_tokens + room})",
            n_prompt_tokens=n_tokens,
            n_ctx=n_ctx,
            n_answer_tokens=room,
        )
