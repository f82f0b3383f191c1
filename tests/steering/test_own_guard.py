"""A new guard is its class and its line in the tuple; and what every guard can count on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.steering import guards
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.guards.loop_watch import STRICTNESS
from amulet_local.steering.presets import PRESETS
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from amulet_local.steering.step import Step

TEXTS = ["Go", " on", "!", " !", "!!", "."]
MARKS = [2, 3, 4]
PLAN = RowPlan(has_plain=True, weights=(1.0,))


class NeverTwoMarks(Guard):
    """Never two exclamation marks: one may not follow another, nor two come as one token."""

    def refused(self, step: Step) -> Sequence[int]:
        return MARKS if self.around.text.tail.rstrip().endswith("!") else [4]


class Diary(Guard):
    """Writes down what it is asked; on while the end guard is."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.entries: list[str] = []

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        return around.amulet.end_guard

    def act(self, step: Step) -> None:
        self.entries.append(f"acts at {step.scale:g}")

    def accept(self, token: int, step: Step | None) -> None:
        self.entries.append(f"takes {token}")

    @property
    def warnings(self) -> tuple[str, ...]:
        return (", ".join(self.entries),)


def answer(steering: Steering, rows: Sequence[np.ndarray], n_tokens: int) -> str:
    """Go on with the likeliest token, for rows that are the same at each of them."""
    text = ""
    for _ in range(n_tokens):
        steering.combine(rows)
        token = steering.likeliest()
        steering.accept(token, TEXTS[token])
        text += TEXTS[token]
    return text


def exclaiming() -> list[np.ndarray]:
    """Two marks are likelier than one, and that is likelier than any word."""
    plain = np.array([1, 2, 5, 4, 6, 0], dtype=np.float32)
    return [plain, plain + np.array([0, 1, 1, 1, 1, 0], dtype=np.float32)]


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_a_guard_of_ones_own_is_a_class_and_a_line_in_the_tuple(
    monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    amulet = AmuletParams(guidance_scale=scale)
    assert answer(Steering(PLAN, amulet, Realigner(6)), exclaiming(), 2) == "!!!!"
    monkeypatch.setattr(guards, "GUARDS", (*guards.GUARDS, NeverTwoMarks))
    assert answer(Steering(PLAN, amulet, Realigner(6)), exclaiming(), 4) == "! on! on"


def test_a_guard_is_asked_while_it_is_on_and_remembers_while_it_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "GUARDS", (Diary,))
    off, on = AmuletParams(guidance_scale=3), AmuletParams(guidance_scale=2, end_guard=True)
    steering = Steering(PLAN, off, Realigner(6))
    answer(steering, exclaiming(), 1)
    assert steering.warnings == ()
    for amulet in (on, off, on):
        steering.change(PLAN, amulet, same_rows=True)
        answer(steering, exclaiming(), 1)
    assert steering.warnings == ("acts at 2, takes 4, acts at 2, takes 4",)


def test_the_watch_remembers_a_loop_while_it_is_off() -> None:
    on = AmuletParams(guidance_scale=5, watch=True)
    steering = Steering(PLAN, on, Realigner(60))
    rows = list(np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32))
    for token in [*range(1 + STRICTNESS[0][0])] * 2:
        steering.accept(token, " word")
    assert steering.combine(rows).scale == 3
    told = steering.warnings
    steering.change(PLAN, on.replace(watch=False), same_rows=True)
    assert steering.combine(rows).scale == 5
    assert steering.warnings == told != ()
    steering.change(PLAN, on, same_rows=True)
    assert steering.combine(rows).scale == 3


def test_rows_that_a_decode_overwrites_are_looked_at_again() -> None:
    """The arrays stay the same objects, and every step is that of a steering that sees it first."""
    rng = np.random.default_rng(1)
    rows = [np.empty(700, dtype=np.float32) for _ in range(2)]
    amulet = PRESETS["balanced"].amulet.replace(kl_target=None)  # which remembers earlier rows
    kept = Steering(PLAN, amulet, Realigner(700), end_tokens=(1, 2))
    for token in range(30):
        rows[0][:] = 4 * rng.normal(size=700)
        rows[1][:] = rows[0] + rng.normal(size=700)
        rows[1][token + 10] = rows[1].max() + 4
        fresh = Steering(PLAN, PRESETS["balanced"].amulet, Realigner(700), end_tokens=(1, 2))
        scale = kept.combine(rows).scale
        assert fresh.combine([row.copy() for row in rows]).scale == scale
        assert fresh.likeliest() == kept.likeliest()
        kept.accept(token + 10, ". ")
        fresh.accept(token + 10, ". ")
