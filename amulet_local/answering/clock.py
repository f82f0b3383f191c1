"""Times one answer: its prompts, its first token, its decoding.

Knows nothing about what is computed.
"""

from __future__ import annotations

import time

from amulet_local.common.results import Timings


class Clock:
    """Times the work; the time in which a consumer holds a chunk doesn't count as decoding."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._prompt_start = self._mark = time.perf_counter()
        self._prompt_seconds: float | None = None
        self._first: float | None = None
        self._decode_seconds = 0.0
        self._n_tokens = 0

    def prompt_starts(self) -> None:
        """The computation of the prompts begins."""
        self._prompt_start = time.perf_counter()

    def prompt_done(self) -> None:
        """The prompts are computed."""
        self._prompt_seconds = time.perf_counter() - self._prompt_start

    def token_done(self) -> None:
        """A token was chosen."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        else:
            self._decode_seconds += now - self._mark
        self._mark = now
        self._n_tokens += 1

    def resumes(self) -> None:
        """The consumer of a chunk is done with it."""
        self._mark = time.perf_counter()

    def timings(self) -> Timings:
        """The times so far."""
        now = time.perf_counter()
        n_steps = self._n_tokens - 1
        rate = n_steps / self._decode_seconds if n_steps > 0 and self._decode_seconds else 0.0
        prompt = self._prompt_seconds
        return Timings(
            prompt_seconds=now - self._prompt_start if prompt is None else prompt,
            time_to_first_token_seconds=(self._first or now) - self._started,
            decode_seconds=self._decode_seconds,
            tokens_per_second=rate,
        )
