"""A streamed answer: an iterator over its pieces that can be steered while it runs.

Knows nothing about models; it holds what the engine gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from typing_extensions import Unpack

from amulet_local.answering.ask import AskChange, check_names
from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.closing import Closing
from amulet_local.common.results import Chunk


class AnswerStream(Iterator[Chunk], Closing):
    """The pieces of one answer; the last one has all of it in `generation`.

    Use as a context manager, or `close` it, to leave it early.
    """

    def __init__(
        self,
        chunks: Generator[Chunk, None, None],
        control: Control,
        make_request: Callable[..., Request],
    ) -> None:
        self._chunks = chunks
        self._control = control
        self._make_request = make_request

    def __next__(self) -> Chunk:
        return next(self._chunks)

    def change(self, **arguments: Unpack[AskChange]) -> None:
        """Go on with this preference and strength from the next token on.

        From any thread, before or while the stream runs. What is left out is as for
        `Engine.stream_generate`: without preference the answer goes on plain.

        Args:
            preference, avoid, amulet, preset: as for `Engine.stream_generate`.

        Raises:
            As `Engine.stream_generate`; the answer then goes on as it was.
        """
        check_names(AskChange, arguments)
        self._control.change(self._make_request(**arguments))

    def cancel(self) -> None:
        """End this generation, from any thread, whether it runs or waits for its turn.

        The stream goes on to a last chunk with finish_reason "cancelled" and what was generated.
        """
        self._control.cancel()

    def close(self) -> None:
        """End the generation; what was generated so far is lost but for the pieces handed out."""
        self._chunks.close()
