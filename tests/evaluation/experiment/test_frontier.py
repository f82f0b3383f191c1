"""The drawing of margin against a score: every label can be read."""

from __future__ import annotations

import itertools
import re

import pytest

from amulet_local.evaluation.experiment.frontier import HEIGHT, WIDTH, MethodMark, frontier
from amulet_local.evaluation.statistics import Estimate

PLACES = {  # margin and fluency: one far away presses the others into a corner
    "base": (-0.015, -0.73),
    "pref": (0.008, -0.73),
    "context_steering": (0.092, -0.85),
    "linear_alignment": (0.357, -1.23),
    "linear_alignment_masked": (0.061, -0.85),
    "amulet:paper": (1.395, -3.49),
    "amulet:balanced": (0.174, -1.11),
    "amulet:strong": (0.244, -1.26),
    "amulet:kl=0.35": (0.150, -1.04),
}


@pytest.mark.parametrize("sign", [1, -1])
def test_labels_of_crowded_marks_cover_neither_each_other_nor_the_edge(sign: int) -> None:
    marks = [
        MethodMark(
            label=label,
            x=Estimate(value=x, low=x - 0.05, high=x + 0.05, n=48),
            y=Estimate(value=sign * y, low=sign * y - 0.1, high=sign * y + 0.1, n=48),
            kind="other",
        )
        for label, (x, y) in PLACES.items()
    ]
    drawing = frontier(marks, x_name="margin", y_name="fluency", y_format=str)
    found = re.findall(
        r'class="label other" x="([\d.]+)" y="([\d.]+)" text-anchor="(start|end)">([^<]+)<', drawing
    )
    assert {label for *_, label in found} == set(PLACES)
    boxes = []
    for x, y, anchor, label in found:
        width = 6.5 * len(label)
        left = float(x) - (width if anchor == "end" else 0)
        boxes.append((left, float(y) - 11, left + width, float(y) + 2))
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
    for one, other in itertools.combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)
