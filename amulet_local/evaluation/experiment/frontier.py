"""Margin against another score as inline SVG: a mark for each method, with its intervals.

Knows nothing about how figures come about, and nothing about colours: classes have those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from amulet_local.common.html_page import foreign
from amulet_local.evaluation.statistics import Estimate

WIDTH, HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 20, 52
_CHARACTER = 7.1
"""About what a character of a label takes, in the drawing's units."""
_LINE = 15
_OFFSETS = [(dx, dy * 14) for dy in range(-8, 9) for dx in (10, -10, 40, -40, 90, -90, 150)]
"""Where a label may begin or end, from its mark."""


@dataclass(frozen=True, kw_only=True)
class MethodMark:
    """A method.

    Attributes:
        label: its name; foreign text.
        x, y: with intervals.
        kind: "scale" ones are joined by a line in their order.
    """

    label: str
    x: Estimate
    y: Estimate
    kind: Literal["scale", "guarded", "other"]


def frontier(
    marks: Sequence[MethodMark], *, x_name: str, y_name: str, y_format: Callable[[float], str]
) -> str:
    """The drawing.

    Args:
        marks: at least one.
    """
    xs = _Axis([m.x for m in marks], _LEFT, WIDTH - _RIGHT)
    ys = _Axis([m.y for m in marks], HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg class="frontier" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{foreign(y_name)} against {foreign(x_name)}">'
    ]
    for tick in xs.ticks():
        at = xs.at(tick)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" '
            f'y2="{HEIGHT - _BOTTOM}"></line><text class="tick" x="{at:.1f}" '
            f'y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:+.3g}</text>'
        )
    for tick in ys.ticks():
        at = ys.at(tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}">'
            f'</line><text class="tick" x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">'
            f"{y_format(tick)}</text>"
        )
    parts.append(
        f'<text class="axis" x="{WIDTH - _RIGHT}" y="{HEIGHT - 10}" text-anchor="end">'
        f'{foreign(x_name)}</text><text class="axis" x="{_LEFT}" y="{_TOP - 6}">'
        f"{foreign(y_name)}</text>"
    )
    line = " ".join(
        f"{xs.at(m.x.value):.1f},{ys.at(m.y.value):.1f}" for m in marks if m.kind == "scale"
    )
    parts.append(f'<polyline class="sweep" points="{line}"></polyline>')
    parts += [_whiskers(mark, xs, ys) for mark in marks]
    parts += [
        f'<circle class="{mark.kind}" cx="{xs.at(mark.x.value):.1f}" '
        f'cy="{ys.at(mark.y.value):.1f}" r="5"></circle>'
        for mark in marks
    ]
    parts += _labels(marks, xs, ys)
    return "\n".join([*parts, "</svg>"])


class _Axis:
    """From values to places."""

    def __init__(self, estimates: Sequence[Estimate], start: float, end: float) -> None:
        ends = [v for item in estimates for v in (item.low, item.high, item.value)]
        ends = [value for value in ends if math.isfinite(value)]
        low, high = min(ends), max(ends)
        air = (high - low) * 0.06 or max(abs(low), 1.0) * 0.1
        self._low, self._high = low - air, high + air
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        step = 10.0 ** math.floor(math.log10(self._high - self._low))
        for factor in (2.0, 1.0, 0.5, 0.2, 0.1):
            n = (self._high - self._low) / (step * factor)
            if 3.5 <= n <= 9:
                step *= factor
                break
        first = math.ceil(self._low / step)
        values = [round(k * step, 10) for k in range(first, math.floor(self._high / step) + 1)]
        return [value + 0.0 for value in values]


def _whiskers(mark: MethodMark, xs: _Axis, ys: _Axis) -> str:
    x, y = xs.at(mark.x.value), ys.at(mark.y.value)
    lines = [
        (xs.at(mark.x.low), y, xs.at(mark.x.high), y),
        (x, ys.at(mark.y.low), x, ys.at(mark.y.high)),
    ]
    return "".join(
        f'<line class="whisker" x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}"></line>'
        for a, b, c, d in lines
    )


def _labels(marks: Sequence[MethodMark], xs: _Axis, ys: _Axis) -> list[str]:
    """Each beside its mark where it covers neither another label nor a mark, if there is room."""
    taken = [
        (xs.at(m.x.value) - 7, ys.at(m.y.value) - 7, xs.at(m.x.value) + 7, ys.at(m.y.value) + 7)
        for m in marks
    ]
    parts = []
    for mark in marks:
        x, y = xs.at(mark.x.value), ys.at(mark.y.value)
        width = _CHARACTER * len(mark.label)
        best: tuple[float, tuple[float, float, float, float], str] | None = None
        for dx, dy in _OFFSETS:
            left = x + dx if dx > 0 else x + dx - width
            box = (left, y + dy - _LINE / 2, left + width, y + dy + _LINE / 2)
            outside = max(
                0.0, _LEFT - box[0], box[2] - WIDTH, _TOP - box[1] - 8, box[3] - HEIGHT + _BOTTOM
            )
            covered = sum(_overlap(box, other) for other in taken)
            cost = 50 * outside + 3 * covered + math.hypot(dx, dy)
            if best is None or cost < best[0]:
                best = (cost, box, "start" if dx > 0 else "end")
        assert best is not None
        _, box, anchor = best
        taken.append(box)
        place = box[0] if anchor == "start" else box[2]
        if math.hypot(place - x, (box[1] + box[3]) / 2 - y) > 1.5 * _LINE:  # whose is it?
            parts.append(
                f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" x2="{place:.1f}" '
                f'y2="{(box[1] + box[3]) / 2:.1f}"></line>'
            )
        parts.append(
            f'<text class="label {mark.kind}" x="{place:.1f}" y="{(box[1] + box[3]) / 2 + 4:.1f}" '
            f'text-anchor="{anchor}">{foreign(mark.label)}</text>'
        )
    return parts


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
