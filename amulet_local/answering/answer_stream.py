"""A streamed answer: an iterator over its pieces that can be steered while it runs.

Knows nothing about models; it holds what the engine gave it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.common.results import Chunk
from amulet_local.params.amulet import AmuletParams
from amulet_local.preferences.preference import PreferencesLike


class AnswerStream(Iterator[Chunk]):
    """The pieces of one answer; the last one has all of it in `generation`."""

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

    def change(
        self,
        *,
        preference: PreferencesLike = None,
        avoid: PreferencesLike = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
    ) -> None:
        """Go on with this preference and strength from the next token on.

        From any thread, before or while the stream runs. What is left out is as for
        `Engine.stream_generate`: without preference the answer goes on plain.

        Raises:
            As `Engine.stream_generate`; the answer then goes on as it was.
        """
        self._control.change(
            self._make_request(preference=preference, avoid=avoid, amulet=amulet, preset=preset)
        )

    def cancel(self) -> None:
        """End this generation, from any thread, whether it runs or waits for its turn.

        The stream goes on to a last chunk with finish_reason "cancelled" and what was generated.
        """
        self._control.cancel()

    def close(self) -> None:
        """End the generation; what was generated so far is lost but for the pieces handed out."""
        self._chunks.close()
