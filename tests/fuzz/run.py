"""Fuzzes for as long as one likes: python -m tests.fuzz.run, which scripts/fuzz starts.

Each target runs in a child, which notes the number of the case that it begins: one that dies or
hangs is known by it, and the next child goes on behind it. What was found is written to
tests/fuzz/found/TARGET/, where the test suite tries it again from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import pickle
import re
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.targets import (
    MAX_GROWTH_BYTES,
    N_TOGETHER,
    TARGETS,
    made,
    peak_bytes,
    run,
    settle,
)

FOUND = Path(__file__).parent / "found"
HANGS_SECONDS = 30.0
"""A case that takes so long, on however busy a machine, hangs."""
LOOK_SECONDS = 1.0
"""Between two looks at a child more doesn't count: this process was stopped as well."""
REPORT_SECONDS = 10.0
_COUNTS = struct.Struct("<QQ")
"""The number of a child's case, and how many it began."""


@dataclass
class Tally:
    """What came of a target's cases.

    Attributes:
        words: how often each outcome was had.
        faults: what was wrong, by number.
        seconds: that it took.
        slowest: seconds of the slowest case, and its number.
    """

    words: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)

    def add(self, other: Tally) -> None:
        """Take over a child's."""
        self.words += other.words
        self.faults |= other.faults
        self.slowest = max(self.slowest, other.slowest)

    def line(self) -> str:
        """All of it in a line."""
        n_cases = self.words.total() + len(self.faults)
        words = ", ".join(f"{count} {word}" for word, count in self.words.most_common())
        rate = n_cases / self.seconds if self.seconds else 0
        return (
            f"{n_cases} cases ({words}), {len(self.faults)} found, {self.seconds:.0f} s, "
            f"{rate:.0f} a second, slowest {self.slowest[0]:.2f} s (case {self.slowest[1]})"
        )


def work(name: str, seed: int, first: int, last: int, until: float, place: mmap.mmap) -> Tally:
    """The cases from `first` to before `last`, in this process; `place` has the number of each."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="amulet-fuzz-", dir=quick_folder()) as folder:
        target = TARGETS[name](Path(folder))
        settle()
        before = peak_bytes()
        for number in range(first, last):
            if time.monotonic() > until:
                break
            _COUNTS.pack_into(place, 0, number, number - first + 1)
            outcome = run(name, target, made(target, seed, number))
            if outcome.fault:
                tally.faults[number] = outcome.fault
            else:
                tally.words[outcome.word] += 1
            tally.slowest = max(tally.slowest, (outcome.seconds, number))
            if number % N_TOGETHER == 0:
                n_bytes, before = peak_bytes() - before, peak_bytes()
                if n_bytes > MAX_GROWTH_BYTES:
                    tally.faults[number] = f"it or one just before takes {n_bytes >> 20} MiB"
        else:
            number = last
        _COUNTS.pack_into(place, 0, number, number - first + 1)
    return tally


class Fuzzing:
    """One target's run, in children."""

    def __init__(self, name: str, seed: int, first: int, last: int, until: float) -> None:
        self.name, self.seed = name, seed
        self.tally = Tally()
        self._next, self._last, self._until = first, last, until
        self._place = mmap.mmap(-1, _COUNTS.size)

    def run(self) -> Tally:
        """All of it, with a line of progress now and then."""
        start = time.monotonic()
        while self._next < self._last and time.monotonic() < self._until:
            self._child()
        self.tally.seconds = time.monotonic() - start
        return self.tally

    def _child(self) -> None:
        """One child to its end; its death or its hanging is a case that was found."""
        _COUNTS.pack_into(self._place, 0, self._next, 0)
        sys.stdout.flush()
        with tempfile.TemporaryFile() as results:
            child = os.fork()
            if child == 0:
                self._as_child(results.fileno())
            status = self._watched(child)
            number, n_begun = _COUNTS.unpack_from(self._place, 0)
            if status == 0:
                results.seek(0)
                self.tally.add(pickle.load(results))
                self._next = number
                return
        how = "it hangs" if status is None else f"it ends the process with status {status}"
        self.tally.faults[number] = how
        self.tally.words["before a death"] += max(n_begun - 1, 0)
        print(f"{self.name}: case {number}: {how}", flush=True)
        self._next = number + 1

    def _as_child(self, results: int) -> None:
        os.environ["GGML_NO_BACKTRACE"] = "1"
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        status = 1
        try:
            tally = work(self.name, self.seed, self._next, self._last, self._until, self._place)
            os.write(results, pickle.dumps(tally))
            status = 0
        finally:
            os._exit(status)

    def _watched(self, child: int) -> int | None:
        """The child's exit status, None if it hangs."""
        last, waited, looked, reported = -1, 0.0, time.monotonic(), time.monotonic()
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.1)
            now, (number, n_begun) = time.monotonic(), _COUNTS.unpack_from(self._place, 0)
            waited += min(now - looked, LOOK_SECONDS)
            looked = now
            if number != last or n_begun == 0:  # it isn't the case that takes long
                last, waited = number, 0.0
            if waited > HANGS_SECONDS:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None
            if now - reported > REPORT_SECONDS:
                reported = now
                print(f"{self.name}: at case {number}", flush=True)


def quick_folder() -> str | None:
    """A folder in memory, where the system has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def keep(name: str, seed: int, tally: Tally) -> None:
    """Write a case of each kind that was found, so that the tests try it from now on."""
    by_kind = {re.sub(r"\d+", "n", fault)[:80]: number for number, fault in tally.faults.items()}
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[name](Path(folder))
        for number in by_kind.values():
            data = made(target, seed, number)
            path = FOUND / name / hashlib.sha256(data).hexdigest()[:12]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"{name}: case {number}: {path}: {tally.faults[number]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if anything was found."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Fuzz what takes files, requests and settings."
    )
    parser.add_argument("target", nargs="*", help=f"of: {', '.join(TARGETS)}. Default: all")
    parser.add_argument("--runs", type=int, metavar="N", help="so many cases of each target")
    parser.add_argument("--minutes", type=float, metavar="N", help="so long for each target")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the cases. Default: 0")
    parser.add_argument(
        "--start", type=int, default=0, metavar="N", help="go on at the case of this number"
    )
    given = parser.parse_args(arguments)
    unknown = set(given.target) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}: {', '.join(TARGETS)}")
    n_runs = given.runs or (1 << 39 if given.minutes else 10_000)
    n_found = 0
    for name in given.target or TARGETS:
        until = time.monotonic() + (60 * given.minutes if given.minutes else 1e9)
        tally = Fuzzing(name, given.seed, given.start, given.start + n_runs, until).run()
        print(f"{name}: {tally.line()}", flush=True)
        keep(name, given.seed, tally)
        n_found += len(tally.faults)
    return 1 if n_found else 0


if __name__ == "__main__":
    sys.exit(main())
