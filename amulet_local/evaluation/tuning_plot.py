"""A sweep as a plot in a PNG file. Knows nothing about measuring."""

from __future__ import annotations

from pathlib import Path

from amulet_local.errors import FileAccessError
from amulet_local.evaluation.recommendation import Recommendation
from amulet_local.evaluation.tuning_study import Measurement

_LINE, _CHOSEN, _PAPER, _QUIET = "#4a6fa5", "#c8882b", "#7a7a7a", "#9a9a9a"
_NEARBY = 10
"""Points from a mark to its label."""


def write_plot(
    measurement: Measurement, chosen: Recommendation | None, path: Path, *, title: str
) -> None:
    """Draw margin against fluency, one point a setting.

    Raises:
        FileAccessError: the file can't be written.
    """
    from matplotlib.figure import Figure

    figures = measurement.figures()
    settings = [item for item in measurement.plan.settings if item.name in figures]
    swept = [item for item in settings if item.value is not None]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [figures[item.name].margin for item in swept],
        [figures[item.name].fluency for item in swept],
        "-o",
        color=_LINE,
        zorder=2,
    )
    for item in settings:
        point = figures[item.name]
        is_chosen = chosen is not None and item.name == chosen.name
        colour = _CHOSEN if is_chosen else (_PAPER if item.value is None else _LINE)
        if is_chosen or item.value is None:
            size = 150 if is_chosen else 40
            axes.scatter(
                [point.margin], [point.fluency], s=size, color=colour, zorder=3, marker="o"
            )
        axes.annotate(
            f"{item.name}, recommended" if is_chosen else item.name,
            (point.margin, point.fluency),
            xytext=(-_NEARBY, -_NEARBY) if item.value is None else (_NEARBY, _NEARBY / 2),
            textcoords="offset points",
            ha="right" if item.value is None else "left",
            fontsize=9,
            color=colour,
            fontweight="bold" if is_chosen else "normal",
        )
    if chosen is not None:
        axes.axhline(chosen.least_fluency, color=_QUIET, linestyle="--", linewidth=1, zorder=1)
        axes.annotate(
            "least fluency",
            (0, chosen.least_fluency),
            xycoords=("axes fraction", "data"),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
            color=_QUIET,
        )
    axes.margins(0.12)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("margin: mean of log p(preference prompt) - log p(plain prompt) per token")
    axes.set_ylabel("fluency: mean of log p(plain prompt) per token")
    axes.set_title(title, fontsize=10)
    try:
        figure.savefig(path, dpi=150, format="png")
    except OSError as error:
        raise FileAccessError(f"can't write {path}: {error.strerror}") from None
