"""Margin against fluency as a plot in a PNG file. Knows nothing about measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amulet_local.common.plotting import save_marks
from amulet_local.evaluation.recommendation import AnyRecommendation
from amulet_local.evaluation.tuning_study import Measurement

_LINE, _CHOSEN, _OTHER, _QUIET = "#4a6fa5", "#b5701a", "#6a6a6a", "#8a8a8a"


@dataclass(frozen=True, kw_only=True)
class PlotMark:
    """A point of the plot.

    Attributes:
        label: what stands beside it.
        margin, fluency: where it is.
        kind: "swept" ones are joined by a line, in their order; one may be "chosen", which is
            joined as well.
    """

    label: str
    margin: float
    fluency: float
    kind: Literal["swept", "chosen", "other"]


def marks_of(measurement: Measurement, chosen: AnyRecommendation | None) -> list[PlotMark]:
    """The settings of a sweep that have answers."""
    figures = measurement.figures()
    marks = []
    for item in measurement.plan.settings:
        if item.name not in figures:
            continue
        is_chosen = chosen is not None and item.name == chosen.name
        point = figures[item.name]
        marks.append(
            PlotMark(
                label=f"{item.name}, recommended" if is_chosen else item.name,
                margin=point.margin,
                fluency=point.fluency,
                kind="chosen" if is_chosen else "other" if item.value is None else "swept",
            )
        )
    return marks


def write_plot(
    marks: Sequence[PlotMark], path: Path, *, title: str, least_fluency: float | None
) -> None:
    """Draw margin against fluency.

    Args:
        least_fluency: the limit, drawn as a line.

    Raises:
        FileAccessError: the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    joined = [mark for mark in marks if mark.kind != "other"]
    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([m.margin for m in joined], [m.fluency for m in joined], color=_LINE, alpha=0.35)
    labels = []
    for mark in marks:
        is_chosen = mark.kind == "chosen"
        colour = {"swept": _LINE, "chosen": _CHOSEN, "other": _OTHER}[mark.kind]
        axes.scatter(
            [mark.margin], [mark.fluency], s=130 if is_chosen else 40, color=colour, zorder=3
        )
        label = axes.annotate(
            mark.label,
            (mark.margin, mark.fluency),
            xytext=(0, 0),
            textcoords="offset points",
            in_layout=False,
            fontsize=9,
            color=colour,
            fontweight="bold" if is_chosen else "normal",
        )
        labels.append(label)
    if least_fluency is not None:
        axes.axhline(least_fluency, color=_QUIET, linestyle="--", linewidth=1, zorder=1)
        axes.annotate(
            "least fluency",
            (0, least_fluency),
            xycoords=("axes fraction", "data"),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
            color=_QUIET,
        )
    axes.set_xlabel("margin: mean of log p(preference prompt) - log p(plain prompt) per token")
    axes.set_ylabel("fluency: mean of log p(plain prompt) per token")
    axes.set_title(title, fontsize=10)
    save_marks(axes, labels, path)
