"""What a judge says of the study's answers, and how far it is to be believed.

Each method's answers are compared with the first method's to the same prompts, in both orders.
Where by rule one of two answers follows and the other doesn't, it is known which is better: the
share of such pairs that the judge gets right is its agreement, and comes before anything that it
says. It is measured on the bank's known pairs, and on the run's own. Knows nothing about how
answers are made or how a judge decides.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amulet_local.common.json_log import Log, read_log
from amulet_local.evaluation import statistics
from amulet_local.evaluation.adherence.known_pairs import known_pairs
from amulet_local.evaluation.adherence.report import (
    METHOD,
    PAIRED,
    by_method,
    by_prompt,
    method_cells,
    method_of,
    prompt_of,
    with_firsts,
)
from amulet_local.evaluation.judges import Judge

JUDGED = "judged.jsonl"
"""What the log of verdicts is called."""

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
    found = []
    for group, first in with_firsts(by_method(entries)):
        theirs = {prompt_of(entry): entry for entry in first}
        if group is not first:
            found += [
                (entry, theirs[prompt_of(entry)]) for entry in group if prompt_of(entry) in theirs
            ]
    return found


def known_entries() -> list[tuple[Entry, Entry]]:
    """The bank's known pairs in the form of a run's, the answer that follows first."""
    found = []
    for pair in known_pairs():
        prompt = dict.fromkeys(PAIRED, "") | {"wording": pair.wording, "question": pair.question}
        ours, theirs = (
            prompt | dict.fromkeys(METHOD, "") | {"method": f"known, {name}", "text": text}
            for name, text in (("follows", pair.follows), ("doesn't", pair.other))
        )
        found.append((ours, theirs))
    return found


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
            log.append(
                {
                    **_asked(judge.source, (ours, theirs)),
                    "outcome": verdict.outcome,
                    "orders": verdict.orders,
                }
            )
            print(f"\r{n} of {len(missing)} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


class Verdicts:
    """What one judge said, as it is stored.

    Attributes:
        source: the judge's; empty where nothing is stored.
    """

    def __init__(self, path: Path, source: str | None = None) -> None:
        """Read them.

        Args:
            source: the judge's; None for the one that the log ends with.

        Raises:
            FileAccessError: the log can't be read.
        """
        stored = list(read_log(path, _FIELDS))
        self.source = source or (stored[-1]["judge"] if stored else "")
        self._worth = {
            _key(entry): _WORTH[entry["outcome"]]
            for entry in stored
            if entry["judge"] == self.source
        }

    @property
    def name(self) -> str:
        """What the judge is called."""
        return self.source.partition(" (")[0]

    def worth(self, pair: tuple[Entry, Entry]) -> float | None:
        """1 where the first answer won, 0.5 for a tie, 0 where it lost; None if it wasn't asked."""
        return self._worth.get(_key(_asked(self.source, pair)))

    def agreement(self, pairs: Sequence[tuple[Entry, Entry]]) -> str:
        """How often it is right on the known pairs, and on those of a run where the rules know."""
        known = [value for pair in known_entries() if (value := self.worth(pair)) is not None]
        own = [
            value if ours["follows"] else 1 - value
            for ours, theirs in pairs
            if (value := self.worth((ours, theirs))) is not None
            and None not in (ours["follows"], theirs["follows"])
            and ours["follows"] != theirs["follows"]
        ]
        n_tied = sum(value == 0.5 for value in known)
        return (
            f"The judge agrees with the rules in {_share(known)} of known answer ({n_tied} ties), "
            f"and in {_share(own)} of this run where the rules know, a tie counting half."
        )

    def preferred(self, pairs: Sequence[tuple[Entry, Entry]]) -> Mapping[tuple[Any, ...], str]:
        """How often each method's answers are preferred to the first one's, by `method_of`."""
        found: defaultdict[tuple[Any, ...], list[tuple[Entry, float]]] = defaultdict(list)
        for ours, theirs in pairs:
            value = self.worth((ours, theirs))
            if value is not None:
                found[method_of(ours)].append((ours, value))
        return {method: _share(by_prompt(values)) for method, values in found.items()}


def judged_table(source: str, pairs: Sequence[tuple[Entry, Entry]], path: Path) -> str:
    """The judge's agreement with the rules and what it prefers, as Markdown.

    Args:
        source: the judge's.

    Raises:
        FileAccessError: the log can't be read.
    """
    verdicts = Verdicts(path, source)
    preferred = verdicts.preferred(pairs)
    lines = [
        verdicts.agreement(pairs),
        "",
        "| method | preference at | preferred to the first |",
        "|---|---|---|",
    ]
    for group in by_method([ours for ours, _ in pairs]):
        shown = preferred.get(method_of(group[0]), _share([]))
        lines.append(f"| {method_cells(group[0])} | {shown} |")
    return "\n".join(lines)


def _asked(source: str, pair: tuple[Entry, Entry]) -> Entry:
    return {
        "judge": source,
        "methods": [[entry[name] for name in METHOD] for entry in pair],
        "prompt": list(prompt_of(pair[0])),
    }


def _key(entry: Entry) -> tuple[Any, ...]:
    ours, theirs = entry["methods"]
    return entry["judge"], tuple(ours), tuple(theirs), tuple(entry["prompt"])


def _share(values: Sequence[float]) -> str:
    if not values:
        return "none of 0 pairs"
    estimate = statistics.mean(np.array(values), share_of=1.0)
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}] of {len(values)} pairs"
