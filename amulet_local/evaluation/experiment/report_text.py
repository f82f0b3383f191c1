"""A run as Markdown: what was compared, the tables, what the guards bring.

Knows nothing about how figures come about (tables.py). What comes from models or users is put
between code marks or has what Markdown gives a meaning to taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from amulet_local.common.readable import visible
from amulet_local.evaluation.experiment.results import Method, Results, better_of
from amulet_local.evaluation.experiment.tables import (
    SHARES,
    Cell,
    TablePart,
    Versus,
    column,
    matches,
    methods_in,
    reference_of,
    versus,
)
from amulet_local.evaluation.scorers import SCORERS
from amulet_local.evaluation.statistics import Estimate

LONG = ("tokens", "words", "reading-ease", "reading-grade", "formality")
"""Scores of tens and hundreds."""

NOTES = """\
Intervals are 95%, from a paired bootstrap over the questions (BCa, 4,000 draws); answers to one
question under several preferences are averaged first. A share that is the same for every question
has Wilson's interval. Bold: better than each other method of its column, by intervals of the
differences that exclude 0, without a correction for the number of comparisons. d: mean difference
over the standard deviation of the differences. Wins: the share of answers with the higher value,
ties half."""


def markdown(results: Results, scorers: Sequence[str]) -> str:
    """The report.

    Args:
        scorers: what to show, in order; each has scores.
    """
    sections = [f"# Evaluation of {plain_text(results.settings['model']['file'])}"]
    sections.append(summary(results))
    if not results.questions:
        return "\n\n".join([*sections, "No question is answered completely yet."]) + "\n"
    for title, part in overall_parts(results):
        sections += [f"## {title}", overall_table(results, scorers, part)]
        against = reference_table(results, scorers, part)
        if against:
            sections += [f"### Against `{reference_of(results).name}`", against]
    guards = guard_table(results, scorers)
    if guards:
        sections += ["## What the guards bring at matched strength", guards]
    for scorer in scorers:
        sections += [f"## {scorer} by preference and set", detail_table(results, scorer)]
    sections += ["## How to read this", NOTES, scorer_notes(scorers), settings_notes(results)]
    return "\n\n".join(section for section in sections if section) + "\n"


def models_beside(runs: Sequence[Results], scorers: Sequence[str]) -> str:
    """Runs of several models in one report: methods by models, a table for each score.

    Args:
        scorers: what to show, in order; each has scores in every run.
    """
    names = dict.fromkeys(method.name for results in runs for method in results.methods)
    models = [plain_text(results.settings["model"]["file"]) for results in runs]
    sections = [f"# {len(runs)} models"]
    for scorer in scorers:
        columns = [
            column(results, scorer, TablePart(wishes=results.wishes)) if results.questions else {}
            for results in runs
        ]
        rows = [
            [
                f"`{plain_text(name)}`",
                *(shown(found[name], scorer) if name in found else "-" for found in columns),
            ]
            for name in names
        ]
        sections += [f"## {heading(scorer)}", table(["method", *models], rows)]
    return "\n\n".join([*sections, NOTES]) + "\n"


def summary(results: Results) -> str:
    """What was compared, in a paragraph."""
    decoding = results.settings["decoding"]
    n = len(results.questions)
    per_set = ", ".join(
        f"{plain_text(name)} {sum(1 for dataset, _ in results.questions if dataset == name)}"
        for name in results.datasets
    )
    text = (
        f"{len(results.methods)} methods, {len(results.wishes)} preferences, {n} questions "
        f"({per_set}), answers of up to {decoding['max_tokens']} tokens, all greedy but for beam "
        f"search, with the same prompts and chat template."
    )
    if n < results.n_all_questions:
        text += (
            f" The run isn't finished: {results.n_all_questions - n} of its "
            f"{results.n_all_questions} questions lack an answer and are left out."
        )
    return text


def overall_parts(results: Results) -> list[tuple[str, TablePart]]:
    """Everything, and what the methods that are limited to some preferences have."""
    parts = [("All preferences and sets", TablePart(wishes=results.wishes))]
    limited = {method.only for method in results.methods if method.only is not None}
    for only in sorted(limited):
        wishes = tuple(wish for wish in results.wishes if wish in only)
        if wishes and wishes != results.wishes:
            shown = " and ".join(f"`{plain_text(wish)}`" for wish in wishes)
            parts.append((f"{shown} only, with every method", TablePart(wishes=wishes)))
    return parts


def overall_table(results: Results, scorers: Sequence[str], part: TablePart) -> str:
    """A row for each method, a column for each score."""
    columns = {scorer: column(results, scorer, part) for scorer in scorers}
    rows = [
        [f"`{plain_text(method.name)}`", method.asked_scale]
        + [shown(columns[scorer][method.name], scorer) for scorer in scorers]
        for method in methods_in(results, part)
    ]
    return table(["method", "a", *map(heading, scorers)], rows)


def reference_table(results: Results, scorers: Sequence[str], part: TablePart) -> str:
    """Differences to the reference, with effect sizes and win rates; empty without others."""
    reference = reference_of(results)
    chosen = [scorer for scorer in scorers if better_of(scorer) != "neither"]
    rows = []
    for method in methods_in(results, part):
        if method.name == reference.name:
            continue
        row = [f"`{plain_text(method.name)}`"]
        for scorer in chosen:
            row.append(shown_versus(versus(results, scorer, method, reference, part), scorer))
        rows.append(row)
    return table(["method", *map(heading, chosen)], rows) if rows else ""


def guard_table(results: Results, scorers: Sequence[str]) -> str:
    """Each guarded method against the unguarded one of the nearest margin."""
    chosen = [scorer for scorer in scorers if better_of(scorer) != "neither"]
    rows = []
    for match in matches(results, chosen, TablePart(wishes=results.wishes)):
        row = [f"`{plain_text(match.guarded.name)}` - `{plain_text(match.plain.name)}`"]
        row.append(" - ".join(f"{value:+.3f}" for value in match.margins))
        row += [difference_text(match.versus.get(scorer), scorer) for scorer in chosen]
        rows.append(row)
    if not rows:
        return ""
    note = (
        "Each method that has guards against the one without any whose mean margin is nearest: the "
        "differences, question by question."
    )
    return f"{note}\n\n{table(['pair', 'margins', *map(heading, chosen)], rows)}"


def detail_table(results: Results, scorer: str) -> str:
    """Methods x preferences x sets."""
    sets: list[str | None] = [*results.datasets]
    if len(sets) > 1:
        sets.append(None)
    rows = []
    for wish in results.wishes:
        columns = [
            column(results, scorer, TablePart(wishes=(wish,), dataset=name)) for name in sets
        ]
        for method in methods_in(results, TablePart(wishes=(wish,))):
            cells = [shown(found[method.name], scorer) for found in columns]
            rows.append([plain_text(wish), f"`{plain_text(method.name)}`", *cells])
    names = ["all sets" if name is None else plain_text(name) for name in sets]
    return table(["preference", "method", *names], rows)


def scorer_notes(scorers: Sequence[str]) -> str:
    """What each score measures."""
    return "\n".join(f"- {name}: {SCORERS[name].summary}." for name in scorers if name in SCORERS)


def settings_notes(results: Results) -> str:
    """Settings and versions."""
    settings = results.settings
    lines = [
        f"- model: `{plain_text(settings['model']['file'])}`, SHA-256 "
        f"`{settings['model']['sha256'][:16]}`"
    ]
    lines += [
        f"- `{plain_text(item['name'])}`: {method_text(results.method_named(item['name']), item)}"
        for item in settings["methods"]
    ]
    shown_versions = ", ".join(f"{name} {value}" for name, value in settings["versions"].items())
    lines.append(f"- versions: {plain_text(shown_versions)}")
    return "\n".join(lines)


def method_text(method: Method, item: Mapping[str, Any]) -> str:
    """A method's settings on a line."""
    parts = [method.method, f"guidance scale {method.scale:.4g}"]
    parts += [
        f"{name} {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in item["settings"].items()
        if name != "guidance_scale"
    ]
    if item["beams"] > 1:
        parts.append(f"{item['beams']} beams")
    if method.only:
        parts.append(f"for {', '.join(map(plain_text, method.only))} only")
    return ", ".join(parts)


def heading(scorer: str) -> str:
    """A score's name, with which way is better."""
    return {"higher": f"{scorer} ↑", "lower": f"{scorer} ↓", "neither": scorer}[better_of(scorer)]


def shown(cell: Cell, scorer: str) -> str:
    """A figure with its interval; bold where it is the best."""
    if cell.estimate is None:
        return "-"
    text = estimate_text(cell.estimate, scorer)
    value, _, interval = text.partition(" ")
    return f"**{value}** {interval}" if cell.best else text


def estimate_text(item: Estimate, scorer: str, *, signed: bool = False) -> str:
    """A figure with its interval, in the score's own format."""
    if item.n == 1:
        return f"{figure(item.value, scorer, signed=signed)} (1 question)"
    ends = ", ".join(figure(end, scorer, signed=signed) for end in (item.low, item.high))
    return f"{figure(item.value, scorer, signed=signed)} [{ends}]"


def difference_text(item: Versus | None, scorer: str) -> str:
    """A difference with its interval."""
    return "-" if item is None else estimate_text(item.difference, scorer, signed=True)


def shown_versus(item: Versus | None, scorer: str) -> str:
    """A difference with its interval, effect size and win rate."""
    if item is None:
        return "-"
    text = estimate_text(item.difference, scorer, signed=True)
    if item.effect is not None:
        text += f"; d {item.effect.value:+.2f}"
    wins = f"{item.wins.value:.0%}"
    if item.wins.n > 1:
        wins += f" [{item.wins.low:.0%}, {item.wins.high:.0%}]"
    return f"{text}; wins {wins}" if scorer not in SHARES else text


def figure(value: float, scorer: str, *, signed: bool = False) -> str:
    """A number in a score's own format; shares in per cent."""
    sign = "+" if signed or scorer == "margin" else ""
    if scorer in SHARES:
        return f"{100 * value:{sign}.1f}%"
    if scorer in LONG:
        return f"{value:{sign}.1f}"
    return f"{value:{sign}.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain_text(text: str) -> str:
    """Foreign text on one line without anything that Markdown or HTML give a meaning to."""
    return re.sub(r"[`|<>\[\]*\\&]", "?", " ".join(visible(text).split()))[:80]
