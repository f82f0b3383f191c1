"""How long an update of a profile takes without a model: scripts/study_profile --speed.

Knows nothing about models or files.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from amulet_local.evaluation.personal.users import BANK, NOW, K
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.posterior import Floats
from amulet_local.profile.taste import USUAL_NATS, Taste, differences

COUNTS = (5, 20, 50, 100, 200)
N_TIMES = 20
TARGET_MILLISECONDS = 5.0


def update_seconds(n_picks: int, n_times: int = N_TIMES) -> Floats:
    """Of the processor, for what is computed anew after so many picks; sorted.

    It is the weights, the mix, and whether the taste has changed.
    """
    taste = Taste(bank=BANK, feedback=_picks(n_picks), at=NOW)
    found = []
    for _ in range(n_times):
        started = time.thread_time()
        _ = replace(taste).mix
        found.append(time.thread_time() - started)
    return np.sort(found)


def speed_table() -> str:
    """The times of updates, as Markdown."""
    lines = [
        f"| picks | an update, least of {N_TIMES} | median | under {TARGET_MILLISECONDS:g} ms |",
        "|---|---|---|---|",
    ]
    for n in COUNTS:
        milliseconds = 1000 * update_seconds(n)
        least, middle = milliseconds[0], float(np.median(milliseconds))
        answer = "yes" if middle < TARGET_MILLISECONDS else "no"
        lines.append(f"| {n} | {least:.1f} ms | {middle:.1f} ms | {answer} |")
    return "\n".join(lines)


def _picks(n: int) -> tuple[Feedback, ...]:
    """Of a user whose taste changes half way, so that a change is looked for and found."""
    rng = np.random.default_rng(0)
    tastes = rng.normal(size=(2, K))
    said = []
    for number in range(n):
        x = USUAL_NATS * rng.normal(size=K)
        x *= np.sign(x @ tastes[number * 2 // n])
        found = dict(differences(BANK, list(x), [0.0] * K))
        said.append(Feedback(at=NOW, kind="pick", origin="speed", differences=found))
    return tuple(said)
