"""Answers the lines of a job with workers that may be lost at any moment.

A worker has a bounded number of lines. The lines of a lost one are made again, and another one is
started in its place. A line that was with two workers when they were lost is made by a worker that
has no other line; if that costs three more, the line has an error instead of an answer, and so no
line can take all workers with it. Knows nothing about clusters, models, or what is in a line.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from amulet_local.batch.line_answers import KeyedLine, LineOutcome
from amulet_local.batch.workers import Came, Event, Lost, Ready, Workers
from amulet_local.common.errors import ClusterError

SUSPECT_AFTER = 2
"""Workers that are lost with a line before it is made alone."""

GIVE_UP_AFTER = 5
"""Workers that are lost with a line before it is asked no more."""

MOST_UNSTARTED = 3
"""Workers that can't start, with none that does among them, before the job ends."""

MOST_USELESS = 10
"""Workers that are lost before they have answered, with no answer between, before the job ends."""

LONGEST_PAUSE_SECONDS = 60.0
"""Between two such workers; the pause is 1 s at first and doubles."""

SILENCE_SECONDS = 900.0
"""A worker with lines that makes no token for so long is taken for lost."""

EXCHANGES_PER_SECOND = 1000
"""With more workers than this their replies have several outcomes, which cost less together."""

_GATHER_SECONDS = 0.02
_WAIT_SECONDS = 0.2
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How many workers may be lost: see the constants above."""

    suspect_after: int = SUSPECT_AFTER
    give_up_after: int = GIVE_UP_AFTER
    most_useless: int = MOST_USELESS


@dataclass
class _Hand:
    """A worker that is ready.

    Attributes:
        where: the machine that it is on.
        lines: those that it has, by turn.
        is_alone: whether it has a line that is made alone.
        n_done: lines that it has answered.
        n_running_tokens, n_tokens: see Came.
        heard: when it last made a token or ended a line, or got lines after it had none.
    """

    where: str
    heard: float
    lines: dict[int, KeyedLine] = field(default_factory=dict)
    is_alone: bool = False
    n_done: int = 0
    n_running_tokens: int = 0
    n_tokens: int = 0


class CrewAnswers:
    """Answers lines with workers: a LineAnswerer.

    Attributes:
        n_lost: workers that were lost so far.
        n_again: lines that were with them, and were made again.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        n_workers: int | None,
        n_lines_each: int,
        warn: Callable[[str], None],
        patience: Patience = Patience(),
    ) -> None:
        """Nothing is started yet.

        Args:
            n_workers: how many there are; None is as many as there is room for.
            n_lines_each: most lines that a worker has.
            warn: takes what the user should know.
            patience: how many workers may be lost.
        """
        self._patience = patience
        self._workers, self._n_workers, self._n_each = workers, n_workers, n_lines_each
        self._warn, self._warned = warn, set[str]()
        self._hands: dict[int, _Hand] = {}
        self._starting: set[int] = set()
        self._heard_from: dict[int, None] = {}
        self._idle: dict[int, None] = {}
        self._draining: set[int] = set()
        self._losses: Counter[int] = Counter()
        self._again: deque[KeyedLine] = deque()
        self._suspects: deque[KeyedLine] = deque()
        self._n_unstarted = self._n_useless = self._n_in_flight = 0
        self._n_running_tokens = 0
        self._hire_at = self._look_at = 0.0
        self._source: Iterator[KeyedLine | None] = iter(())
        self._more = True
        self.n_lost = self.n_again = 0

    @property
    def n_ready(self) -> int:
        """Workers that have loaded their model."""
        return len(self._hands)

    def run(
        self,
        lines: Iterator[KeyedLine | None],
        end: Callable[[LineOutcome], None],
        came: Callable[[int], None],
    ) -> None:
        """See LineAnswerer.

        Raises:
            ClusterError: no worker starts, or all are lost at once.
        """
        self._source, self._more = lines, True
        while True:
            self._hire()
            self._feed()
            if not (self._more or self._again or self._suspects or self._n_in_flight):
                return
            for event in self._workers.wait(_WAIT_SECONDS):
                self._hear(event, end)
            self._drop_silent()
            came(self._n_running_tokens)

    def _hire(self) -> None:
        wanted = self._workers.room() if self._n_workers is None else self._n_workers
        if self._workers.now() >= self._hire_at:
            for _ in range(wanted - len(self._hands) - len(self._starting)):
                self._starting.add(self._workers.start())

    def _feed(self) -> None:
        """Give lines to workers with which no exchange is under way, as far as there are some."""
        for worker in list(self._heard_from):
            lines = self._lines_for(worker, self._hands[worker])
            del self._heard_from[worker]
            self._exchange(worker, lines)
        while self._idle and (self._more or self._again or self._suspects):
            worker = next(iter(self._idle))
            lines = self._lines_for(worker, self._hands[worker])
            if not lines:
                return
            del self._idle[worker]
            self._hands[worker].heard = self._workers.now()
            self._exchange(worker, lines)

    def _exchange(self, worker: int, lines: list[KeyedLine]) -> None:
        hand = self._hands[worker]
        hand.lines.update((line.turn, line) for line in lines)
        self._n_in_flight += len(lines)
        if not hand.lines:
            self._idle[worker] = None
            return
        self._workers.exchange(
            worker,
            lines,
            ends=hand.is_alone,
            gather_seconds=max(_GATHER_SECONDS, len(self._hands) / EXCHANGES_PER_SECOND),
        )

    def _lines_for(self, worker: int, hand: _Hand) -> list[KeyedLine]:
        if hand.is_alone and hand.lines:
            return []
        hand.is_alone = False
        if self._suspects:
            if not hand.lines:
                hand.is_alone = True
                self._draining.discard(worker)
                return [self._suspects.popleft()]
            if worker in self._draining or len(self._draining) < max(1, len(self._hands) // 10):
                self._draining.add(worker)
                return []
        else:
            self._draining.clear()
        lines: list[KeyedLine] = []
        while len(lines) + len(hand.lines) < self._n_each:
            line = self._again.popleft() if self._again else self._next()
            if line is None:
                break
            lines.append(line)
        return lines

    def _next(self) -> KeyedLine | None:
        """The next line that was given to nobody; None if there is none at present."""
        if not self._more:
            return None
        line = next(self._source, self._source)
        if isinstance(line, KeyedLine) or line is None:
            return line
        self._more = False
        return None

    def _hear(self, event: Event, end: Callable[[LineOutcome], None]) -> None:
        if isinstance(event, Lost):
            self._lose(event.worker, event.reason)
        elif isinstance(event, Ready):
            self._starting.discard(event.worker)
            self._n_unstarted = 0
            self._hands[event.worker] = _Hand(event.where, self._workers.now())
            self._idle[event.worker] = None
            for warning in event.warnings:
                self._warn_once(warning)
        elif event.worker in self._hands:
            self._take(event, end)

    def _take(self, event: Came, end: Callable[[LineOutcome], None]) -> None:
        hand = self._hands[event.worker]
        if event.outcomes or event.n_tokens != hand.n_tokens:
            hand.heard = self._workers.now()
        self._n_running_tokens += event.n_running_tokens - hand.n_running_tokens
        hand.n_tokens, hand.n_running_tokens = event.n_tokens, event.n_running_tokens
        self._heard_from[event.worker] = None
        for outcome in event.outcomes:
            del hand.lines[outcome.turn]
            self._losses.pop(outcome.turn, None)
            hand.n_done += 1
            self._n_in_flight -= 1
            if outcome.error is None:
                self._n_useless = 0
            end(outcome)

    def _drop_silent(self) -> None:
        now = self._workers.now()
        if now < self._look_at:
            return
        self._look_at, limit = now + _LOOK_SECONDS, now - SILENCE_SECONDS
        silent = [n for n, hand in self._hands.items() if hand.lines and hand.heard < limit]
        for worker in silent:
            self._workers.stop(worker)
            self._lose(worker, f"it made no token in {SILENCE_SECONDS:.0f} seconds")

    def _lose(self, worker: int, reason: str) -> None:
        self.n_lost += 1
        self._idle.pop(worker, None)
        self._draining.discard(worker)
        hand = self._hands.pop(worker, None)
        if hand is None:
            self._starting.discard(worker)
            self._n_unstarted += 1
            self._warn_once(f"a worker can't start: {reason}")
            self._pause(self._n_unstarted, MOST_UNSTARTED, reason)
            return
        self._heard_from.pop(worker, None)
        self._n_in_flight -= len(hand.lines)
        self._n_running_tokens -= hand.n_running_tokens
        self.n_again += len(hand.lines)
        for line in hand.lines.values():
            self._ask_again(line)
        self._warn(
            f"a worker on {hand.where} was lost with {len(hand.lines)} lines, which are made "
            f"again: {reason}"
        )
        if not hand.n_done:
            self._n_useless += 1
            self._pause(self._n_useless, self._patience.most_useless, reason)

    def _pause(self, n_lost: int, most: int, reason: str) -> None:
        """Start no worker for a while, or give up."""
        if n_lost >= most and not (self._hands or self._starting):
            raise ClusterError(f"no worker answers; {n_lost} were lost, the last one so: {reason}")
        self._hire_at = self._workers.now() + min(LONGEST_PAUSE_SECONDS, 2.0 ** (n_lost - 1))

    def _ask_again(self, line: KeyedLine) -> None:
        self._losses[line.turn] += 1
        n_lost = self._losses[line.turn]
        if n_lost >= self._patience.give_up_after:
            reason = f"{n_lost} workers were lost with this line, the last ones with it alone"
            self._again.append(replace(line, given_up=reason))
        elif n_lost >= self._patience.suspect_after:
            self._suspects.append(line)
        else:
            self._again.append(line)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)
