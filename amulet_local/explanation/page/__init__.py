"""An explained answer as one page of HTML that stands alone.

Knows nothing about models or files. The page asks nothing of any network: its policy forbids
whatever isn't its own style and its own script, both named by their digests. Text of the model and
of the user is hostile: it is escaped in markup, in the data for the script, and the script only
ever sets it as text; characters that act on their surroundings are made visible.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from importlib import resources
from typing import Any

from amulet_local.common.html_page import document, foreign, shared_asset
from amulet_local.common.readable import factor, n_tokens, percent, times_likelier, visible
from amulet_local.common.results import Generation
from amulet_local.explanation.explanation import (
    STEP_FACTORS,
    ExplainedToken,
    Explanation,
    TokenName,
)

_TIMES = "×"
_CHART_HEIGHT = 100


def page(explanation: Explanation) -> str:
    """The page, as text to be written in UTF-8."""
    style, script = (
        shared_asset(f"markdown.{kind}") + _asset(f"page.{kind}") for kind in ("css", "js")
    )
    body = f"""{_header(explanation)}
<main>
<div class="reading">
{_answer(explanation)}
{_chart(explanation)}
</div>
<section id="details" class="card" aria-live="polite" aria-label="The selected token">
<noscript><p>The likeliest tokens show where scripts may run. The table below has the rest.</p>
</noscript>
</section>
</main>
{_table(explanation)}
<p class="note foot">The figures at the top are means per token, all but the scale in nats. Margin:
how much likelier the answer's tokens are with the preference in the prompt than without. Fluency:
their log-probability under the plain prompt. KL: how far the choice was moved from the prompt with
the preference. Below 1, moved means that the token has become less likely.</p>
<script type="application/json" id="data">{_data(explanation)}</script>"""
    return document(_title(explanation), body, style=style, script=script)


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _title(explanation: Explanation) -> str:
    question = " ".join(explanation.question.split())
    return f"{question[:60]}{'...' if len(question) > 60 else ''} - amulet-local"


def _header(explanation: Explanation) -> str:
    generation, totals = explanation.generation, explanation.totals
    scales = [token.trace.scale for token in explanation.tokens]
    low, high = f"{min(scales):.3g}", f"{max(scales):.3g}"
    strength = f"guidance scale {high if low == high else f'{low} to {high}'}"
    if generation.preset:
        strength = f"preset {generation.preset}, {strength}"
    facts = {
        "Question": explanation.question,
        "Preference": ", ".join(generation.preferences),
        "Model": explanation.model,
        "Method": f"{generation.method}, {strength}",
    }
    figures = [
        (f"margin, {name}" if len(totals.margins) > 1 else "margin", f"{margin:+.3f}")
        for name, margin in zip(generation.preferences, totals.margins, strict=False)
    ]
    if totals.fluency is not None:
        figures.append(("fluency", f"{totals.fluency:.3f}"))
    figures += [("KL", f"{totals.kl:.3f}"), ("mean scale", f"{totals.scale:.3g}")]
    shown = "\n".join(
        f'<div><dt>{name}</dt><dd dir="auto">{foreign(value)}</dd></div>'
        for name, value in facts.items()
        if value
    )
    means = "\n".join(
        f'<div><dt dir="auto">{foreign(name)}</dt><dd>{value}</dd></div>' for name, value in figures
    )
    return f"""<header>
<h1>What the preference did, token by token</h1>
<dl class="facts">
{shown}
</dl>
<dl class="means" aria-label="Means per token">
{means}
</dl>
</header>"""


def _answer(explanation: Explanation) -> str:
    tokens = "".join(_token(i, token) for i, token in enumerate(explanation.tokens))
    steps = list(enumerate(STEP_FACTORS, start=1))
    likelier = " ".join(f'<span class="t up{i}">{_TIMES}{f:g}</span>' for i, f in steps)
    unlikelier = " ".join(f'<span class="t down{i}">÷{f:g}</span>' for i, f in steps)
    return f"""<section class="card">
<h2>Answer</h2>
<p class="legend"><span>likelier than plain by {likelier}</span>
<span>unlikelier by {unlikelier}</span></p>
<div id="answer" dir="auto" role="group" aria-label="The answer. Arrow keys go from token to \
token.">{tokens}</div>{_end(explanation.generation)}
</section>"""


def _end(generation: Generation) -> str:
    """That the answer was cut, if it was."""
    if generation.finish_reason != "length":
        return ""
    return f'\n<p class="note">Cut off after {n_tokens(generation.usage.completion_tokens)}.</p>'


def _token(position: int, token: ExplainedToken) -> str:
    classes = ["t"]
    if token.step:
        classes.append(f"up{token.step}" if token.step > 0 else f"down{-token.step}")
    text = foreign(token.text)
    if token.name.kind == "special":
        classes.append("special")
        text += foreign(token.name.text)
    elif not text:
        classes.append("part")
    elif text.isspace() and "\n" in text:
        classes.append("line")
    focus = -1 if position else 0
    return f'<span class="{" ".join(classes)}" data-i="{position}" tabindex="{focus}">{text}</span>'


def _chart(explanation: Explanation) -> str:
    values = [token.trace.kl for token in explanation.tokens]
    n, top, mean = len(values), max(values), explanation.totals.kl
    bars = "".join(
        f'<rect class="bar" x="{i + 0.08:.2f}" y="{_height(value, top):.2f}" width="0.84" '
        f'height="{_CHART_HEIGHT - _height(value, top):.2f}"></rect>'
        for i, value in enumerate(values)
    )
    level = _height(mean, top)
    return f"""<section class="card chart">
<h2>KL per token</h2>
<p class="note">How far each choice was moved, in nats; the line is the mean, {mean:.2f}.</p>
<div class="plot">
<span class="high">{top:.2f}</span><span class="low">0</span>
<svg id="strip" viewBox="0 0 {n} {_CHART_HEIGHT}" preserveAspectRatio="none" role="img" \
aria-label="KL per token: mean {mean:.2f}, at most {top:.2f} nats">
<rect id="mark" x="0" y="0" width="1" height="{_CHART_HEIGHT}"></rect>
{bars}
<line class="mean" x1="0" x2="{n}" y1="{level:.2f}" y2="{level:.2f}"></line>
</svg>
<span class="first">token 1</span><span class="last">{n}</span>
</div>
</section>"""


def _height(value: float, top: float) -> float:
    """Where a value is on the chart, counted from its upper end."""
    return _CHART_HEIGHT * (1 - value / top) if top > 0 else _CHART_HEIGHT


def _table(explanation: Explanation) -> str:
    names = ("#", "token", *explanation.rows, "moved", "KL", "scale")
    head = "".join(f'<th scope="col" dir="auto">{foreign(name)}</th>' for name in names)
    body = "\n".join(
        _table_row(position, token) for position, token in enumerate(explanation.tokens)
    )
    count = len(explanation.tokens)
    all_tokens = f"All {n_tokens(count)}" if count != 1 else "The token"
    return f"""<details class="card all">
<summary>{all_tokens} as a table</summary>
<div class="scroll" tabindex="0" role="region" aria-label="All tokens">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>
</details>"""


def _table_row(position: int, token: ExplainedToken) -> str:
    kind, name = token.name.kind, escape(_label(token.name), quote=True)
    figures = [
        *(percent(value) for value in token.log_probabilities),
        factor(token.moved, _TIMES),
        f"{token.trace.kl:.2f}",
        f"{token.trace.scale:.2f}",
    ]
    cells = "".join(f"<td>{escape(value)}</td>" for value in figures)
    return f'<tr><td>{position + 1}</td><td class="{kind}"><bdi>{name}</bdi></td>{cells}</tr>'


def _label(name: TokenName) -> str:
    """A token's name with its blanks to be seen; not escaped for markup."""
    text = visible(name.text).replace("\n", "↵").replace("\t", "⇥")
    if name.kind != "text":
        return text
    body = text.strip(" ")
    if not body:
        return "␣" * len(text)
    before = len(text) - len(text.lstrip(" "))
    return "␣" * before + body + "␣" * (len(text) - before - len(body))


def _data(explanation: Explanation) -> str:
    """What the script shows, as JSON in ASCII without a character that means something in HTML."""
    data = {
        "rows": [visible(row) for row in explanation.rows],
        "start": explanation.most_moved(1)[0],
        "tokens": [_token_data(token) for token in explanation.tokens],
    }
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _token_data(token: ExplainedToken) -> dict[str, Any]:
    return {
        "name": [_label(token.name), token.name.kind],
        "moved": times_likelier(token.moved),
        "kl": f"{token.trace.kl:.2f}",
        "scale": f"{token.trace.scale:.2f}",
        "shares": [percent(value) for value in token.log_probabilities],
        "tops": [_top_data(top) for top in token.candidates],
    }


def _top_data(top: Iterable[Any]) -> list[list[Any]]:
    """Of each candidate: label, kind, percentage, share of the row, whether it was chosen."""
    return [
        [
            _label(item.name),
            item.name.kind,
            percent(item.log_probability),
            round(math.exp(item.log_probability), 4),
            item.chosen,
        ]
        for item in top
    ]
