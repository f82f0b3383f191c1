"""A benchmark as a bar chart in a PNG file. Knows nothing about measuring."""

from __future__ import annotations

from pathlib import Path

from amulet_local.benchmark.run import Report
from amulet_local.common.errors import FileAccessError

_COLOURS = {"plain": "#7a7a7a", "completion": "#b0b0b0", "bare": "#d0d0d0", "amulet": "#c8882b"}


def write_plot(report: Report, path: Path) -> None:
    """Draw tokens per second by way, and time to the first token over plain by prompt.

    Raises:
        FileAccessError: the file can't be written.
    """
    from matplotlib.figure import Figure

    panels = [draw for draw, part in ((_decode, report.decode), (_prefill, report.prefill)) if part]
    figure = Figure(figsize=(9, 0.8 + 3.6 * len(panels)), layout="constrained")
    for index, draw in enumerate(panels):
        draw(report, figure.add_subplot(len(panels), 1, index + 1))
    machine = report.machine
    figure.suptitle(
        f"{report.settings.model.name}, {machine['cpu']}, {report.settings.n_threads} threads",
        fontsize=10,
    )
    try:
        figure.savefig(path, dpi=150, format="png")
    except OSError as error:
        raise FileAccessError(f"can't write {path}: {error.strerror}") from None


def _decode(report: Report, axes: object) -> None:
    assert report.decode is not None
    items = report.decode.timed
    medians = [item.tokens_per_second for item in items]
    errors = [
        [median - 1 / item.seconds.quartiles[1] for median, item in zip(medians, items)],  # noqa: B905
        [1 / item.seconds.quartiles[0] - median for median, item in zip(medians, items)],  # noqa: B905
    ]
    _bars(
        axes,
        [item.way.name for item in items],
        medians,
        [_COLOURS[item.way.kind] for item in items],
        errors,
    )
    axes.set_xlabel("tokens per second (bar ends: middle half)")  # type: ignore[attr-defined]


def _prefill(report: Report, axes: object) -> None:
    assert report.prefill is not None
    items = [item for item in report.prefill if not item.way.startswith("plain")]
    names = [
        f"{item.shape.n_plain} tokens, {item.shape.placement} placement\n{item.way}"
        for item in items
    ]
    _bars(axes, names, [item.ratio for item in items], [_COLOURS["amulet"]] * len(items), None)
    axes.axvline(1, color=_COLOURS["plain"])  # type: ignore[attr-defined]
    axes.set_xlabel("time to the first token over plain")  # type: ignore[attr-defined]


def _bars(
    axes: object,
    names: list[str],
    values: list[float],
    colours: list[str],
    errors: list[list[float]] | None,
) -> None:
    places = list(range(len(names)))
    axes.barh(places, values, color=colours, xerr=errors)  # type: ignore[attr-defined]
    axes.set_yticks(places, names, fontsize=8)  # type: ignore[attr-defined]
    axes.invert_yaxis()  # type: ignore[attr-defined]
