"""What `tune` shows: a table, a plot, what they say, and the same as JSON values.

Knows nothing about how it was measured or where a recommendation is kept.
"""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any

from amulet_local.cli.scatter import CHOSEN, ScatterPoint, scatter
from amulet_local.cli.terminal import one_line
from amulet_local.evaluation.lever import PLAUSIBLE
from amulet_local.evaluation.quality import Means
from amulet_local.evaluation.recommendation import (
    AnyRecommendation,
    CheckedRecommendation,
    JudgedRecommendation,
    n_broken,
)
from amulet_local.evaluation.sweep import Setting
from amulet_local.evaluation.tuning_study import Measurement

WIDTH = 78
"""Of a line of text, in characters, where the terminal isn't narrower."""
SIGN_NAMES = {
    "loops": "loops",
    "falls_apart": "falls apart",
    "recites": "recites",
    "stops_short": "stops short",
}

_MAX_COLUMNS = 2
"""Most preferences that have a column of their own."""
_TABLE_WIDTH, _OWN_WIDTH = 55, 12
"""Of the other columns together, and of such a one."""


def heading(measurement: Measurement, model: str, width: int = WIDTH) -> str:
    """What was measured."""
    plan = measurement.plan
    names = ", ".join(one_line(item.label) for item in plan.preferences)
    n_questions = len(plan.questions)
    text = (
        f"{model}: {n_questions} question{'s' * (n_questions != 1)}, {names}, answers of up to "
        f"{plan.max_tokens} tokens, greedy"
    )
    if plan.checks:
        text += f"; follows: {'; '.join(one_line(item.name) for item in plan.checks.values())}"
    if not measurement.is_complete:
        text += (
            f". Interrupted after {measurement.n_answers} of {plan.n_answers} answers: nothing is "
            f"recommended or kept"
        )
    return _wrapped(text, width)


def table(measurement: Measurement, chosen: AnyRecommendation | None, width: int = WIDTH) -> str:
    """A line for each setting that has answers; a narrow one leaves columns out."""
    figures = measurement.figures()
    labels = [item.label for item in measurement.plan.preferences]
    own = {}
    followed = measurement.following()
    shares = {} if measurement.preferred is None else measurement.preferred.shares
    has_room = width >= min(WIDTH, _TABLE_WIDTH + _OWN_WIDTH * len(labels))
    if 1 < len(labels) <= _MAX_COLUMNS and has_room and not followed and not shares:
        own = {label: measurement.figures(label) for label in labels}
    has_tokens = width >= _TABLE_WIDTH + 10 * bool(followed) + 8 * bool(shares)
    lines = [f"{'':2}{'setting':18}{'margin':>8}{'fluency':>9}{'broken':>10}"]
    lines[0] += f"{'tokens':>8}" if has_tokens else ""
    lines[0] += f"{'follows':>10}" if followed else ""
    lines[0] += f"{'judge':>8}" if shares else ""
    lines[0] += "".join(f"{_cut(label):>{_OWN_WIDTH}}" for label in own)
    for setting in measurement.plan.settings:
        item = figures.get(setting.name)
        if item is None:
            continue
        mark = "*" if chosen is not None and chosen.name == setting.name else ""
        line = f"{mark:2}{setting.name:18}{item.margin:+8.3f}{item.fluency:9.3f}"
        line += f"{f'{n_broken(item)} of {item.answers}':>10}"
        line += f"{item.tokens:8.0f}" if has_tokens else ""
        if followed:
            found = followed[setting.name]
            line += f"{f'{found.n_sound} of {found.n_answers}':>10}"
        if shares:
            line += f"{shares[setting.name].value:8.2f}"
        for means in own.values():
            shown = f"{means[setting.name].margin:+.3f}" if setting.name in means else ""
            line += f"{shown:>{_OWN_WIDTH}}"
        lines.append(line.rstrip())
    if own:
        lines.append("  (the last columns: the margin of each preference)")
    if shares:
        lines.append("  (judge: how often it prefers the answers to the prompt's, ties half)")
    if followed:
        text = "  (follows: answers that do and aren't broken"
        n_unknown = sum(item.n_unknown for item in followed.values())
        if n_unknown:
            text += f"; {n_unknown} were cut off too early to tell, -n makes them longer"
        lines.append(f"{text})")
    return "\n".join(lines)


def samples(measurement: Measurement, width: int = WIDTH) -> str:
    """Each setting's answer to the first question, a line each; empty where there is none."""
    if not measurement.samples:
        return ""
    plan = measurement.plan
    question, label = plan.questions[0], plan.preferences[0].label
    lines = [_shortened(f"Answers to {one_line(question)!r}, {one_line(label)}:", width)]
    for setting in plan.settings:
        if setting.name in measurement.samples:
            told = _told(measurement, setting.name, question, label)
            text = one_line(measurement.samples[setting.name])
            lines.append(_shortened(f"  {setting.name:18}{told}{text}", width))
    return "\n".join(lines)


def _told(measurement: Measurement, setting: str, question: str, label: str) -> str:
    """What is known of a sample, in a column; empty where answers weren't checked."""
    if not measurement.plan.checks:
        return ""
    for answer in measurement.made.get(setting, ()):
        if (answer.question, answer.preference) == (question, label):
            told = {True: "follows", False: "no", None: "can't tell"}[answer.follows]
            return f"{'broken' if answer.is_broken else told:12}"
    return ""


def reasons(measurement: Measurement) -> str:
    """Why answers broke, by setting; empty if none did."""
    lines = []
    for name, item in measurement.figures().items():
        counts = [
            f"{round(getattr(item, sign) * item.answers)} {shown}"
            for sign, shown in SIGN_NAMES.items()
            if getattr(item, sign)
        ]
        if counts:
            lines.append(f"  {name}: {', '.join(counts)}")
    return "\n".join(["Broken, some in several ways:", *lines]) if lines else ""


def plot(measurement: Measurement, chosen: AnyRecommendation | None, width: int) -> str:
    """Margin against fluency.

    Args:
        width: most characters of a line.
    """
    figures = measurement.figures()
    points = [
        ScatterPoint(
            x=figures[setting.name].margin,
            y=figures[setting.name].fluency,
            label=setting.label,
            is_chosen=chosen is not None and chosen.name == setting.name,
        )
        for setting in measurement.plan.settings
        if setting.name in figures
    ]
    lines = scatter(points, x_name="margin", y_name="fluency", width=width)
    own = measurement.plan.settings[-2].own
    kind = "guidance scales"
    if own.guidance_scale is None:
        kind = "KL budgets in nats"
    elif own.kl_target is not None:
        kind = "targets in nats"
    star = f"; {CHOSEN} is recommended" if chosen is not None else ""
    return "\n".join([*lines, "", f"  (the numbers at the points are {kind}{star})"])


def signal(measurement: Measurement, width: int = WIDTH) -> str:
    """How much of the lever is signal; empty where that wasn't measured."""
    noise, lever = measurement.noise, measurement.lever
    if noise is None or lever is None:
        return ""
    share = lever.signal_share(noise)
    if share is None:
        return "The preference changes nothing that could be strengthened."
    size = lever.mean_square**0.5
    return _wrapped(
        f"Signal: over the plausible tokens (p >= {PLAUSIBLE:.0%}) the two prompts' logits differ "
        f"by {size:.3g} (root mean square; {lever.mean_size:.3g} on average), and by {noise:.3g} "
        f"where nothing but rounding does. So {share:.0%} of what a strength amplifies is the "
        f"preference, {1 - share:.0%} is the rounding noise of this file's weights.",
        width,
    )


def advice(measurement: Measurement, chosen: AnyRecommendation, width: int = WIDTH) -> str:
    """The recommendation, with its rule."""
    setting = setting_named(measurement, chosen.name)
    if isinstance(chosen, CheckedRecommendation):
        return _wrapped(
            f"Recommended: {described(setting)}. It is the smallest strength at which the most "
            f"answers follow and aren't broken: {chosen.n_sound} of {chosen.n_answers}, against "
            f"{chosen.n_prompted} with the preference prompt alone.",
            width,
        )
    judged = _judge(measurement)
    if isinstance(chosen, JudgedRecommendation):
        return _wrapped(
            f"{judged} Recommended: {described(setting)}. Its answers are the ones that the judge "
            f"prefers most often to those of the preference prompt alone: in {chosen.share:.2f} of "
            f"{chosen.n_answers} [{chosen.low:.2f}, {chosen.high:.2f}], ties half.",
            width,
        )
    figures = measurement.figures()[chosen.name]
    allowed = "none" if chosen.most_broken == 0 else f"at most {chosen.most_broken}"
    text = (
        f"Recommended: {described(setting)} (margin {figures.margin:+.3f}). It has the most "
        f"margin among the settings with {allowed} of {chosen.n_answers} answers broken and a "
        f"fluency of at least {chosen.least_fluency:.3f}, which loses half of what the paper's "
        f"strength loses. With so many answers, the true share of broken ones is below "
        f"{chosen.highest_share:.0%} (95%)"
    )
    if measurement.plan.checks:
        text = f"No answer follows and isn't broken, so the margin decides. {text}"
    if judged:
        text = f"{judged} {text}"
    text += "." if chosen.highest_share < 0.05 else "; more questions say more."
    return _wrapped(text, width)


def _judge(measurement: Measurement) -> str:
    """How far the judge is to be believed; empty without one."""
    found = measurement.preferred
    if found is None:
        return ""
    known = found.agreement
    text = (
        f"{one_line(found.judge)} gets {known.value:.2f} of {known.n} pairs of known answer right "
        f"[{known.low:.2f}, {known.high:.2f}], ties half"
    )
    if found.shares:
        return f"{text}."
    return f"{text}: that is no better than a coin, so it isn't asked, and the margin decides."


def described(setting: Setting) -> str:
    """A setting in words."""
    own = setting.own
    if setting.name == "preference prompt":
        return "the preference prompt alone, no more strength than that"
    if own.kl_target is not None:
        return (
            f"a target of {own.kl_target:g} nats a token on average, from guidance scale "
            f"{own.guidance_scale:g} on"
        )
    if own.guidance_scale is not None:
        return f"guidance scale {own.guidance_scale:g} without a KL budget"
    return f"a KL budget of {own.kl_budget:g} nats a token"


def setting_named(measurement: Measurement, name: str) -> Setting:
    """The setting called so."""
    return next(item for item in measurement.plan.settings if item.name == name)


def report_text(
    measurement: Measurement,
    chosen: AnyRecommendation | None,
    model: str,
    width: int | None = None,
) -> str:
    """Everything for a person to read, up to the recommendation.

    Args:
        width: of the terminal; None for another place.
    """
    width = WIDTH if width is None else min(width, WIDTH)
    parts = [heading(measurement, model, width)]
    if measurement.n_answers:
        parts += [
            table(measurement, chosen, width),
            samples(measurement, width),
            reasons(measurement),
        ]
        parts.append(plot(measurement, chosen, width=min(60, width)))
    parts.append(signal(measurement, width))
    if chosen is not None:
        parts.append(advice(measurement, chosen, width))
    text = "\n\n".join(part for part in parts if part)
    return "\n".join(_note_wrapped(line, width) for line in text.split("\n")) + "\n"


def report_json(measurement: Measurement, chosen: AnyRecommendation | None) -> dict[str, Any]:
    """The same as JSON values."""
    plan = measurement.plan
    by_preference = {item.label: measurement.figures(item.label) for item in plan.preferences}
    figures, followed = measurement.figures(), measurement.following()
    lever, noise = measurement.lever, measurement.noise
    return {
        "complete": measurement.is_complete,
        "preferences": [item.label for item in plan.preferences],
        "questions": list(plan.questions),
        "max_tokens": plan.max_tokens,
        "points": [
            {
                "name": setting.name,
                "strength": _strength(setting),
                **_rounded(figures[setting.name]),
                **({"follows": asdict(followed[setting.name])} if followed else {}),
                "sample": measurement.samples.get(setting.name),
                "by_preference": {
                    label: _rounded(found[setting.name])
                    for label, found in by_preference.items()
                    if setting.name in found
                },
            }
            for setting in plan.settings
            if setting.name in figures
        ],
        "judge": None if measurement.preferred is None else asdict(measurement.preferred),
        "noise": noise,
        "lever": None
        if lever is None
        else {
            **asdict(lever),
            "signal_share": None if noise is None else lever.signal_share(noise),
        },
        "recommended": None
        if chosen is None
        else {**asdict(chosen), "strength": _strength(setting_named(measurement, chosen.name))},
    }


def _strength(setting: Setting) -> dict[str, float | str] | None:
    """What the settings file would hold; None for a reference that can't be kept."""
    return setting.own.as_written or None


def _rounded(item: Means) -> dict[str, float]:
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(item).items()
    }


def _cut(label: str) -> str:
    text = one_line(label)
    return text if len(text) <= 10 else text[:8] + ".."


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _note_wrapped(line: str, width: int) -> str:
    """A note below a table or a plot in lines that fit; any other line as it is."""
    return textwrap.fill(line, width, subsequent_indent="   ") if line.startswith("  (") else line


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)
