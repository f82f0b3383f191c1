"""What is fuzzed, by name, and what one case of it has to hold."""

from __future__ import annotations

import gc
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.fuzz.long_texts import Tokens
from tests.fuzz.model_files import AdapterFiles, Headers, Native
from tests.fuzz.profiles import Profiles
from tests.fuzz.target import Target
from tests.fuzz.texts import (
    Bodies,
    Conversations,
    Grammars,
    Lines,
    Schemas,
    Settings,
    Templates,
)

MAX_SECONDS = 1.0
"""Of processor time for one case."""
MAX_GROWTH_BYTES = 256 << 20
"""Of the process over N_TOGETHER cases."""
N_TOGETHER = 200


TARGETS: Mapping[str, type[Target]] = {
    "gguf": Headers,
    "native": Native,
    "adapters": AdapterFiles,
    "templates": Templates,
    "settings": Settings,
    "conversations": Conversations,
    "profiles": Profiles,
    "lines": Lines,
    "bodies": Bodies,
    "grammars": Grammars,
    "schemas": Schemas,
    "tokens": Tokens,
}
SLOW = {"templates": 4.0, "grammars": 2.0, "schemas": 4.0}
"""Seconds where a case may take more: what they do is counted, and takes so long at most."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        word: what the target says; empty where something is wrong.
        fault: what is wrong, else empty.
        seconds: that it took.
    """

    word: str
    fault: str
    seconds: float


def made(target: Target, seed: int, number: int) -> bytes:
    """The case of this number."""
    return target.make(random.Random((seed << 40) + number))


def run(name: str, target: Target, data: bytes) -> Outcome:
    """Run a case, and see whether it was quick."""
    word, fault, seconds = _tried(target, data, time.perf_counter)
    limit = SLOW.get(name, MAX_SECONDS)
    if seconds > limit and not fault:  # on a busy machine what is quick may take long
        word, fault, seconds = _tried(target, data, time.process_time)
        if seconds > limit:
            fault = f"it takes {seconds:.1f} s"
    return Outcome("" if fault else word, fault, seconds)


def _tried(target: Target, data: bytes, clock: Callable[[], float]) -> tuple[str, str, float]:
    """The target's word for a case, what was wrong with it, and how long it took."""
    word = fault = ""
    start = clock()
    try:
        word = target.run(data)
    except Exception as error:
        fault = f"{type(error).__name__}: {str(error)[:300]}"
    return word, fault, clock() - start


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def settle() -> None:
    """Leave what was imported out of every later search for garbage."""
    gc.collect()
    gc.freeze()
