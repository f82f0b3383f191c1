"""The tables of the adherence study: what each method does, and what it adds to the first of them.

Knows nothing about how answers are made or kept.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from amulet_local.evaluation import statistics
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer

Group = list[dict[str, Any]]

METHOD = ("method", "placement", "examples")
"""What answers of one method have in common, beside how they are drawn."""

PAIRED = ("preference", "wording", "question", "max_tokens", "sampling", "seed")
"""What answers of several methods to one prompt have in common."""


def with_topics(entries: Sequence[dict[str, Any]], scorer: Scorer) -> list[dict[str, Any]]:
    """The entries, each with its answer's score as `topic`: None where it has none.

    Raises:
        AmuletError: the scorer's model can't be used.
    """
    answers = [AnsweredQuestion(question=item["question"], text=item["text"]) for item in entries]
    return [
        {**item, "topic": score}
        for item, score in zip(entries, scorer.scores(answers), strict=True)
    ]


def table(
    entries: Sequence[dict[str, Any]],
    names: Sequence[str],
    preferred: Mapping[tuple[Any, ...], str] | None = None,
) -> str:
    """What each method does to the preferences with these names, as Markdown.

    An answer is whole if it isn't broken and doesn't recite its instruction. `gain` is the
    difference of the share that follows and is whole to that of the first method, over the answers
    to the same prompts that can be judged of both, with its interval. Answers that are drawn are
    rows of their own, against the first method's that are drawn in the same way; several draws of
    one prompt count as one answer, their mean.

    Args:
        preferred: by `method_of`, how often a judge prefers a method's answers to the first
            one's; a column of its own, if given.
    """
    judge = "" if preferred is None else " judge |"
    lines = [
        "| method | preference at | follows | and whole | gain | broken | recites | opens "
        f"| on topic | KL | tokens | n |{judge}",
        f"|---|---|---|---|---|---|---|---|---|---|---|---|{'---|' if judge else ''}",
    ]
    chosen = [entry for entry in entries if entry["preference"] in names]
    for group, first in with_firsts(by_method(chosen)):
        row = _row(group, "" if group is first else _gain(group, first))
        if preferred is not None:
            row = f"{row} {preferred.get(method_of(group[0]), '')} |"
        lines.append(row)
    return "\n".join(lines)


def by_method(entries: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The answers of each method, in the order in which methods first come."""
    groups: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        groups[method_of(entry)].append(entry)
    return list(groups.values())


def with_firsts(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Each group with the first one whose answers are drawn in the same way, perhaps itself."""
    firsts: dict[str, Group] = {}
    for group in groups:
        yield group, firsts.setdefault(group[0]["sampling"], group)


def method_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What says in which row an answer counts: the values of METHOD, and how it is drawn."""
    return tuple(entry[name] for name in (*METHOD, "sampling"))


def prompt_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What says which prompt and draw an answer is of: the values of PAIRED."""
    return tuple(entry[name] for name in PAIRED)


def method_cells(entry: dict[str, Any]) -> str:
    """The cells of a row that say which method it is, and where it put the preference."""
    parts = [f"`{entry['method']}`", *(["examples"] if entry["examples"] else [])]
    parts += [f"{name} {value:g}" for name, value in json.loads(entry["sampling"]).items()]
    return f"{', '.join(parts)} | {entry['placement']}"


def by_prompt(values: Iterable[tuple[dict[str, Any], float]]) -> list[float]:
    """The mean of each prompt's draws."""
    draws: defaultdict[tuple[Any, ...], list[float]] = defaultdict(list)
    for entry, value in values:
        draws[tuple(entry[name] for name in PAIRED if name != "seed")].append(value)
    return [fmean(found) for found in draws.values()]


def follows_whole(entry: dict[str, Any]) -> float:
    """1 for an answer that follows, isn't broken and doesn't recite its instruction, else 0."""
    return float(entry["follows"] and not _broken(entry) and not entry["recites"])


def _row(entries: Sequence[dict[str, Any]], gain: str) -> str:
    told = [entry for entry in entries if entry["follows"] is not None]
    follows = _share(by_prompt((entry, float(entry["follows"])) for entry in told))
    whole = _share(by_prompt((entry, follows_whole(entry)) for entry in told))
    topics = [entry["topic"] for entry in entries if entry["topic"] is not None]
    topic = f"{np.mean(topics):.3f}" if topics else "-"
    kls = [entry["kl"] for entry in entries if entry["kl"] is not None]
    kl = f"{np.mean(kls):.2f}" if kls else "-"

    def percentage(values: Sequence[bool]) -> str:
        return f"{np.mean(values):.1%}"

    return (
        f"| {method_cells(entries[0])} | {follows} | {whole} | {gain} "
        f"| {percentage([_broken(entry) for entry in entries])} "
        f"| {percentage([entry['recites'] for entry in entries])} "
        f"| {percentage([entry['opens'] for entry in entries])} | {topic} | {kl} "
        f"| {np.mean([entry['n_tokens'] for entry in entries]):.0f} | {len(entries)} |"
    )


def _gain(entries: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]]) -> str:
    others = {prompt_of(entry): entry for entry in first}
    gains = by_prompt(
        (entry, follows_whole(entry) - follows_whole(other))
        for entry in entries
        if (other := others.get(prompt_of(entry)))
        and None not in (entry["follows"], other["follows"])
    )
    if not gains:
        return "-"
    estimate = statistics.mean(np.array(gains))
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}] of {len(gains)}"


def _broken(entry: dict[str, Any]) -> bool:
    return bool(entry["loops"] or entry["falls_apart"])


def _share(values: Sequence[float]) -> str:
    if not values:
        return "-"
    estimate = statistics.mean(np.array(values), share_of=1.0)
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
