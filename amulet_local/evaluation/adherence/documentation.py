"""Puts stored runs of several models into a document, as tables and a picture.

    scripts/adherence_table "SmolLM2-135M Q4_1"=FOLDER "Qwen2.5 0.5B"=FOLDER

Knows nothing about how figures come about. The same runs always give the same text.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError, InvalidTextError
from amulet_local.common.plotting import check_plot, save_marks
from amulet_local.evaluation.adherence.judged import JUDGED, Verdicts, pairs_of
from amulet_local.evaluation.adherence.named import NAMED_LOG, named_table
from amulet_local.evaluation.adherence.report import by_method, follows_whole, table, with_topics
from amulet_local.evaluation.adherence.study import EXAMPLE_QUESTIONS, GREEDY, LOG, stored
from amulet_local.evaluation.experiment.documentation import MAX_BYTES, with_section
from amulet_local.evaluation.scorers.registry import scorer_named

DOCUMENT = Path(__file__).parents[3] / "docs" / "strength.md"
PICTURE = "adherence.png"
REFERENCE = "pref"
"""The method that others are compared with."""

NAMES = {
    ("base", 0): "no preference in the prompt",
    ("pref", 0): "the prompt alone",
    ("pref", 1): "the prompt with two examples",
    ("context_steering", 0): "Context Steering",
    ("linear_alignment", 0): "Linear Alignment",
    ("linear_alignment_masked", 0): "Linear Alignment with its mask",
    ("amulet:paper", 0): "Amulet as published",
    ("amulet:balanced", 0): "**the default here**",
}
"""What methods are called in short, by method and whether there were examples."""

_COLOURS = ("#4a6fa5", "#b5701a", "#3f7d4e", "#8a4f7d")

Entry = dict[str, Any]


def read_run(folder: Path) -> list[Entry]:
    """A model's answers by method: greedy ones before drawn ones, the reference's first of each.

    Those that were made as examples are left out.

    Raises:
        FileAccessError: the log can't be read, or a line is damaged.
        InvalidTextError: it has no greedy answer of the reference.
    """
    entries = [
        entry
        for entry in stored(folder / LOG).values()
        if entry["question"] not in EXAMPLE_QUESTIONS
    ]
    if not any(_is_reference(entry) and entry["sampling"] == GREEDY for entry in entries):
        raise InvalidTextError(
            f"{folder} has no greedy answer of `{REFERENCE}`, which others are compared with"
        )
    return sorted(
        entries,
        key=lambda entry: (
            entry["sampling"] != GREEDY,
            not _is_reference(entry),
            entry["method"],
            entry["examples"],
        ),
    )


def section(runs: dict[str, list[Entry]], judged: Mapping[str, Verdicts]) -> str:
    """The tables: one a model.

    Args:
        runs: by model, the answers, each with its topic's score.
        judged: what a judge said of them, by the models whose answers were judged.
    """
    parts = []
    for model, entries in runs.items():
        names = {entry["preference"] for entry in entries}
        parts.append(f"### {model}")
        if model in judged:
            pairs = pairs_of(entries)
            parts += [
                f"{judged[model].agreement(pairs)} The judge is {judged[model].name}.",
                table(entries, sorted(names), judged[model].preferred(pairs)),
            ]
        else:
            parts.append(table(entries, sorted(names)))
    return "\n\n".join([*parts, f"![adherence against divergence, by model]({PICTURE})"])


def in_short(runs: dict[str, list[Entry]]) -> str:
    """The methods of NAMES and all models in one table: follows and whole, and broken."""
    lines = [f"| | {' | '.join(runs)} |", f"|---|{'---|' * len(runs)}"]
    for (method, examples), name in NAMES.items():
        cells = []
        for entries in runs.values():
            found = [
                entry
                for entry in entries
                if (entry["method"], entry["examples"]) == (method, examples)
                and entry["sampling"] == GREEDY
            ]
            told = [follows_whole(entry) for entry in found if entry["follows"] is not None]
            broken = [entry["loops"] or entry["falls_apart"] for entry in found]
            cells.append(f"{np.mean(told):.2f}, {np.mean(broken):.0%}" if told else "")
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def named_section(runs: Sequence[tuple[str, Path]]) -> str:
    """What the built-in preferences change, a table for each model with such answers.

    Raises:
        FileAccessError: a log can't be read, or a line is damaged.
    """
    parts = []
    for model, folder in runs:
        if (folder / NAMED_LOG).exists():
            entries = list(stored(folder / NAMED_LOG).values())
            parts += [f"### {model}: by name", named_table(entries)]
    return "\n\n".join(parts)


def draw(runs: dict[str, list[Entry]], path: Path) -> None:
    """Draw adherence against divergence into a PNG file; a line joins a model's own strengths.

    Raises:
        FileAccessError: the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    labels = []
    for (model, entries), colour in zip(runs.items(), _COLOURS * len(runs), strict=False):
        points = sorted(
            _point(group)
            for group in by_method(
                [item for item in entries if item["kl"] is not None and item["sampling"] == GREEDY]
            )
        )
        joined = [point for point in points if point[2].split(":")[0] in (REFERENCE, "amulet")]
        axes.plot([x for x, *_ in joined], [y for _, y, _ in joined], color=colour, label=model)
        for x, y, name in points:
            axes.scatter([x], [y], s=30, color=colour, zorder=3)
            labels.append(
                axes.annotate(
                    name,
                    (x, y),
                    xytext=(0, 0),
                    textcoords="offset points",
                    in_layout=False,
                    fontsize=8,
                    color=colour,
                )
            )
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlim(left=-0.02)
    axes.set_xlabel("KL(chosen from || preference prompt), nats per token")
    axes.set_ylabel("share of answers that follow and are whole")
    axes.legend(frameon=False, fontsize=8)
    save_marks(axes, labels, path)


def _point(entries: Sequence[Entry]) -> tuple[float, float, str]:
    told = [follows_whole(entry) for entry in entries if entry["follows"] is not None]
    name = entries[0]["method"] + (" with examples" if entries[0]["examples"] else "")
    return (
        float(np.mean([entry["kl"] for entry in entries])),
        float(np.mean(told)) if told else 0.0,
        name,
    )


def _is_reference(entry: Entry) -> bool:
    return entry["method"] == REFERENCE and not entry["examples"]


def _titled(text: str) -> tuple[str, Path]:
    model, equals, folder = text.partition("=")
    if not (model and equals and folder):
        raise argparse.ArgumentTypeError(f"a run is MODEL=FOLDER, not {text!r:.60}")
    return model, Path(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="adherence_table", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=_titled, metavar="MODEL=FOLDER", help="a run and its title"
    )
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    parser.add_argument("--in-short", type=Path, help="where a table of all models goes as well")
    options = parser.parse_args(arguments)
    picture = options.document.with_name(PICTURE)
    try:
        check_plot(picture)
        document = private_files.read(options.document, max_bytes=MAX_BYTES).decode()
        named = named_section(options.runs)
        if named:
            document = with_section(document, named, "named preferences")
        runs = {
            model: with_topics(read_run(folder), scorer_named("similarity"))
            for model, folder in options.runs
            if (folder / LOG).exists() or not (folder / NAMED_LOG).exists()
        }
        judged = {
            model: Verdicts(folder / JUDGED)
            for model, folder in options.runs
            if (folder / JUDGED).exists()
        }
        if runs:
            draw(runs, picture)
            document = with_section(document, section(runs, judged))
        if runs and options.in_short is not None:
            text = private_files.read(options.in_short, max_bytes=MAX_BYTES).decode()
            text = with_section(text, in_short(runs), "all methods")
            options.in_short.write_text(text, encoding="utf-8")
        options.document.write_text(document, encoding="utf-8")
    except (AmuletError, OSError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
