"""The answer of a conversation's turn, piece by piece.

Knows nothing about conversations; it holds what the conversation gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from amulet_local.common.closing import Closing
from amulet_local.common.results import Chunk, Generation


class TurnStream(Iterator[Chunk], Closing):
    """The pieces of one answer; the last one has all of it in `generation`.

    The turn begins with the first piece. Use as a context manager, or `close` it, to leave it
    early: what was handed out stays in the conversation, as a cancelled answer.
    """

    def __init__(
        self,
        chunks: Generator[Chunk, None, None],
        change: Callable[..., None],
        cancel: Callable[[], None],
    ) -> None:
        self._chunks = chunks
        self._change = change
        self._cancel = cancel

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def change(self, **settings: Any) -> None:
        """Go on with other settings, from the next token on: `Conversation.set`.

        From any thread. They stay the conversation's after this turn; the sampling of an answer
        that has begun stays as it is.

        Raises:
            As `Conversation.set`; the answer then goes on as it was.
        """
        self._change(**settings)

    def cancel(self) -> None:
        """End this turn's answer, from any thread, whether it runs or waits for its turn.

        The stream goes on to a last chunk with finish_reason "cancelled"; the turn stays in the
        conversation unless it has no token.
        """
        self._cancel()

    def close(self) -> None:
        """End the turn."""
        self._chunks.close()

    def whole(self) -> Generation:
        """The answer, when it is complete. Whatever interrupts it ends the turn."""
        generation = None
        with self:
            for chunk in self:
                generation = chunk.generation
        assert generation is not None
        return generation
