"""What a judge says of the study's answers, and how far it is to be believed.

Each method's answers are compared with the first method's to the same prompts, in both orders.
Where by rule one of two answers follows and the other doesn't, it is known which is better: the
share of these pairs that the judge gets right is its agreement, and comes before anything that it
says. Knows nothing about how answers are made or how a judge decides.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amulet_local.common.json_log import Log, read_log
from amulet_local.evaluation import statistics
from amulet_local.evaluation.adherence.report import METHOD, PAIRED, by_method, method_cells
from amulet_local.evaluation.judges import Judge

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "judge": str,
    "methods": list,
    "prompt": list,
    "outcome": str,
}
_WORTH = {"win": 1.0, "tie": 0.5, "lose": 0.0}

Entry = dict[str, Any]


def pairs_of(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Each answer of another method than the first, and the first one's to the same prompt."""
    first, *others = by_method(entries)
    theirs = {tuple(entry[name] for name in PAIRED): entry for entry in first}
    prompts = (
        (entry, tuple(entry[name] for name in PAIRED)) for group in others for entry in group
    )
    return [(entry, theirs[prompt]) for entry, prompt in prompts if prompt in theirs]


def judge_all(judge: Judge, pairs: Sequence[tuple[Entry, Entry]], path: Path) -> None:
    """Compare the pairs that aren't stored yet, store each, and say how far that is.

    Raises:
        JudgeError: the judge gave no verdict.
        FileAccessError: the log can't be read or written.
    """
    there = {_key(entry) for entry in read_log(path, _FIELDS)}
    missing = [pair for pair in pairs if _key(_asked(judge.source, pair)) not in there]
    with Log(path) as log:
        for n, (ours, theirs) in enumerate(missing, 1):
            verdict = judge.compare(ours["question"], ours["wording"], ours["text"], theirs["text"])
            log.append({**_asked(judge.source, (ours, theirs)), "outcome": verdict.outcome})
            print(f"\r{n} of {len(missing)} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def judged_table(source: str, pairs: Sequence[tuple[Entry, Entry]], path: Path) -> str:
    """The judge's agreement with the rules and what it prefers, as Markdown.

    Args:
        source: the judge's.

    Raises:
        FileAccessError: the log can't be read.
    """
    worth = {_key(entry): _WORTH[entry["outcome"]] for entry in read_log(path, _FIELDS)}
    stored = [(pair, worth.get(_key(_asked(source, pair)))) for pair in pairs]
    known = [
        value if ours["follows"] else 1 - value
        for (ours, theirs), value in stored
        if value is not None
        and None not in (ours["follows"], theirs["follows"])
        and ours["follows"] != theirs["follows"]
    ]
    lines = [
        f"The judge agrees with the rules in {_share(known)}, a tie counting half.",
        "",
        "| method | preference at | preferred to the first |",
        "|---|---|---|",
    ]
    for group in by_method([ours for ours, _ in pairs]):
        members = {id(entry) for entry in group}
        values = [value for (ours, _), value in stored if id(ours) in members and value is not None]
        lines.append(f"| {method_cells(group[0])} | {_share(values)} |")
    return "\n".join(lines)


def _asked(source: str, pair: tuple[Entry, Entry]) -> Entry:
    return {
        "judge": source,
        "methods": [[entry[name] for name in METHOD] for entry in pair],
        "prompt": [pair[0][name] for name in PAIRED],
    }


def _key(entry: Entry) -> tuple[Any, ...]:
    ours, theirs = entry["methods"]
    return entry["judge"], tuple(ours), tuple(theirs), tuple(entry["prompt"])


def _share(values: Sequence[float]) -> str:
    if not values:
        return "none of 0 pairs"
    estimate = statistics.mean(np.array(values), share_of=1.0)
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}] of {len(values)} pairs"
