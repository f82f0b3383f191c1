"""What a profile holds and what was learned, in words.

Knows nothing about where they are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from amulet_local.preferences.preference import Preference
from amulet_local.profile.contents import Contents
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.posterior import Floats
from amulet_local.profile.taste import SMALLEST_WEIGHT, Taste

SURE = 2.0
LIKELY = 1.0
"""Standard deviations from zero from which on a weight is known, or likely."""

SAID = {
    "pick": "picked one of two answers",
    "fix": "changed an answer",
    "good": "liked an answer",
    "bad": "didn't like an answer",
    "like": "gave a text as an example",
}
_CALLED = {"pick": "pick", "good": "thumb", "bad": "thumb", "fix": "change", "like": "text"}


SCALES = (
    "Estimates, give or take twice their deviation, say how much you like each. Weights, after a "
    "colon and where something moved, are what answers follow of it: 1 is a preference by itself."
)
"""What the two kinds of figures are."""


def described(contents: Contents, at: float | None = None) -> list[str]:
    """Lines about what was learned, from what, how sure that is, and what it changed last."""
    taste = contents.taste(at)
    lines = [*_learned(taste), ""]
    if taste.n_before_change:
        lines += [
            f"The taste changed after {_made_of(taste.told[: taste.n_before_change])}: what was "
            f"said before that hardly counts.",
            "",
        ]
    lines += _strengths(contents, taste)
    n_forgotten = sum(x.feedback + x.examples + x.facts for x in contents.forgotten)
    forgotten = f" Forgotten: {n_forgotten}." if n_forgotten else ""
    lines += [f"Said so far: {_number_of(contents)}.{forgotten}"]
    if contents.feedback:
        lines += ["", *_last(taste)]
    return lines


def _learned(taste: Taste) -> list[str]:
    n = len(taste.told)
    if not n:
        return ["Nothing is learned yet: answers are plain."]
    mix = ", ".join(item.label for item in taste.mix)
    lines = [
        f"Learned from {_made_of(taste.told)}: "
        + (f"answers follow {mix}." if mix else "too little to follow anything yet."),
        "",
    ]
    posterior = taste.weights
    width = max(len(_name(item)) for item in taste.bank)
    order = np.argsort(-np.abs(posterior.mean), kind="stable")
    for k in order:
        mean, deviation = float(posterior.mean[k]), float(posterior.deviations[k])
        low, high = mean - 2 * deviation, mean + 2 * deviation
        lines.append(
            f"  {_name(taste.bank[k]):{width}}  {mean:+.2f}  ({low:+.2f} to {high:+.2f})  "
            f"{how_sure(mean, deviation)}"
        )
    return [*lines, "", SCALES]


def how_sure(mean: float, deviation: float) -> str:
    """Whether a weight is known: "wanted", "likely not wanted", "open"."""
    way = "wanted" if mean > 0 else "not wanted"
    z = abs(mean) / deviation
    if z >= SURE:
        return way
    return f"likely {way}" if z >= LIKELY else "open"


def _strengths(contents: Contents, taste: Taste) -> list[str]:
    models = sorted({item.model for item in contents.feedback if item.strengths})
    return [
        f"Strength with {model}: {taste.factor(model):g} times the usual one." for model in models
    ] + [""] * bool(models)


def _number_of(contents: Contents) -> str:
    parts = []
    for n, one, many in (
        (len(contents.feedback), "piece of feedback", "pieces of feedback"),
        (len(contents.examples), "example", "examples"),
        (len(contents.facts), "fact", "facts"),
    ):
        parts.append(f"{n} {one if n == 1 else many}")
    return ", ".join(parts)


def _last(taste: Taste) -> list[str]:
    last = taste.feedback[-1]
    return [f"Last, on {day(last.at)}: {SAID[last.kind]}. {changed(taste)}"]


def changed(taste: Taste) -> str:
    """What the last piece of feedback changed."""
    last = taste.feedback[-1]
    before = taste.before()
    if last.strengths:
        was, now = before.factor(last.model), taste.factor(last.model)
        return f"The strength is {now:g} times the usual one, after {was:g}."
    followed, instead_of = _followed(taste), _followed(before)
    moved = followed - instead_of
    parts = [
        f"{_name(taste.bank[k])} {instead_of[k]:+.2f} -> {followed[k]:+.2f}"
        for k in np.argsort(-np.abs(moved), kind="stable")[:3]
        if abs(moved[k]) >= SMALLEST_WEIGHT / 4
    ]
    return f"That moved {', '.join(parts)}." if parts else "That moved hardly anything."


def _followed(taste: Taste) -> Floats:
    """The weight of each preference in the mix that answers follow, 0 if it isn't there."""
    weights = {item.text: item.weight for item in taste.mix}
    return np.array([weights.get(item.text, 0.0) for item in taste.bank])


def entries(contents: Contents) -> list[str]:
    """A line for everything in it, oldest first, with the numbers that `forget` takes."""
    dated = [
        *((item.at, f"p{item.id}", _feedback(item)) for item in contents.feedback),
        *((item.at, f"e{item.id}", f"example: {item.text}") for item in contents.examples),
        *((item.at, f"f{item.id}", f"fact: {item.text}") for item in contents.facts),
    ]
    return [
        f"{number:>5}  {day(at)}  {' '.join(text.split())}"
        for at, number, text in sorted(dated, key=lambda entry: entry[0])
    ]


def _feedback(item: Feedback) -> str:
    said = SAID[item.kind]
    if item.strengths:
        said += f" (strength {item.strengths[0]:g} over {item.strengths[1]:g})"
    where = f" [{item.origin}, {item.model}]" if item.model else f" [{item.origin}]"
    return f"{said}: {item.question or item.better or item.worse}{where}"


def day(at: float) -> str:
    """A time as people on this machine write it."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")


def _name(item: Preference) -> str:
    name = " ".join((item.name or item.text).split())
    return name if len(name) <= 40 else name[:37] + "..."


def _made_of(told: Sequence[Feedback]) -> str:
    """How many picks, thumbs, changes and texts there are."""
    counted = Counter(_CALLED[item.kind] for item in told)
    return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counted.items())
