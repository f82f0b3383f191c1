"""A run as one page of HTML that stands alone: tables, frontier plots, answers to read.

Knows nothing about how figures come about. No script runs in it. Answers, questions, names of
methods and files are foreign text: they only get in through `foreign`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from amulet_local.common.html_page import document, foreign
from amulet_local.evaluation.experiment import report_text as words
from amulet_local.evaluation.experiment.frontier import MethodMark, frontier
from amulet_local.evaluation.experiment.results import Method, Results, better_of
from amulet_local.evaluation.experiment.tables import (
    MIN_QUESTIONS,
    Cell,
    TablePart,
    Versus,
    answers_to_read,
    column,
    matches,
    methods_in,
    reference_of,
    versus,
)
from amulet_local.evaluation.scorers import SCORERS

N_ANSWERS = 6
MAX_SHOWN = 4000
"""Characters of an answer or a question that are shown."""


def page(results: Results, scorers: Sequence[str]) -> str:
    """The page, as text to be written in UTF-8.

    Args:
        scorers: what to show, in order; each has scores.
    """
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    model = results.settings["model"]["file"]
    title = f"Evaluation of {model}"
    body = [f"<header><h1>{foreign(title)}</h1>\n<p>{_prose(words.summary(results))}</p></header>"]
    if results.questions:
        body += [_overall(results, scorers, name, part) for name, part in _parts(results)]
        body += [_plots(results, scorers), _guards(results, scorers)]
        body += [_details(results, scorers), _reading(results)]
    else:
        body.append('<p class="card">No question is answered completely yet.</p>')
    body.append(_settings(results, scorers))
    return document(f"{title} - amulet-local", "\n".join(filter(None, body)), style=style)


def _parts(results: Results) -> list[tuple[str, TablePart]]:
    return words.overall_parts(results)


def _prose(text: str) -> str:
    return foreign(text.replace("`", ""))


def _overall(results: Results, scorers: Sequence[str], title: str, part: TablePart) -> str:
    columns = {scorer: column(results, scorer, part) for scorer in scorers}
    rows = []
    for method in methods_in(results, part):
        cells = "".join(_cell(columns[scorer][method.name], scorer) for scorer in scorers)
        rows.append(f"{_name(method)}<td>{method.asked_scale}</td>{cells}")
    table = _table(["method", "a", *map(words.heading, scorers)], rows)
    reference = reference_of(results)
    against = _against(results, scorers, part)
    return f"""<section class="card">
<h2>{_prose(title)}</h2>
{table}
<details>
<summary>Differences to {foreign(reference.name)}, with effect sizes and win rates</summary>
{against}
</details>
</section>"""


def _against(results: Results, scorers: Sequence[str], part: TablePart) -> str:
    reference = reference_of(results)
    chosen = [scorer for scorer in scorers if better_of(scorer) != "neither"]
    rows = []
    for method in methods_in(results, part):
        if method.name != reference.name:
            cells = ""
            for scorer in chosen:
                found = versus(results, scorer, method, reference, part)
                cells += _figure_cell(words.shown_versus(found, scorer), _verdict(found, scorer))
            rows.append(_name(method) + cells)
    return _table(["method", *map(words.heading, chosen)], rows)


def _guards(results: Results, scorers: Sequence[str]) -> str:
    chosen = [scorer for scorer in scorers if better_of(scorer) != "neither"]
    rows = []
    for match in matches(results, chosen, TablePart(wishes=results.wishes)):
        cells = ""
        for scorer in chosen:
            found = match.versus.get(scorer)
            cells += _figure_cell(words.difference_text(found, scorer), _verdict(found, scorer))
        pair = f"{match.guarded.name} − {match.plain.name}"
        both = " − ".join(f"{value:+.3f}" for value in match.margins)
        rows.append(f'<th scope="row">{foreign(pair)}</th><td>{both}</td>{cells}')
    if not rows:
        return ""
    return f"""<section class="card">
<h2>What the guards bring at matched strength</h2>
<p class="note">Each method that has guards against the one without any whose mean margin is
nearest: the differences, question by question. Highlighted is what the guards make better, red
what they make worse, where the interval excludes 0.</p>
{_table(["pair", "margins", *map(words.heading, chosen)], rows)}
</section>"""


def _plots(results: Results, scorers: Sequence[str]) -> str:
    part = TablePart(wishes=results.wishes)
    if "margin" not in scorers:
        return ""
    margins = column(results, "margin", part)
    plots = []
    for scorer in ("fluency", "broken"):
        if scorer not in scorers:
            continue
        found = column(results, scorer, part)
        marks = []
        for method in sorted(methods_in(results, part), key=lambda item: item.scale):
            x, y = margins[method.name].estimate, found[method.name].estimate
            if x is not None and y is not None and x.n > 1:
                kind = "scale" if method.is_plain_scale else "other"
                marks.append(
                    MethodMark(
                        label=method.name[:40],
                        x=x,
                        y=y,
                        kind="guarded" if method.is_guarded else kind,  # type: ignore[arg-type]
                    )
                )
        if marks:
            drawing = frontier(
                marks,
                x_name="margin, nats per token",
                y_name={"fluency": "fluency, nats per token", "broken": "broken answers"}[scorer],
                y_format=(lambda v: f"{v:.0%}") if scorer == "broken" else (lambda v: f"{v:.3g}"),
            )
            plots.append(f"<figure>{drawing}</figure>")
    if not plots:
        return ""
    return f"""<section class="card">
<h2>What margin costs</h2>
<p class="note">The line joins plain guidance scales, from the preference prompt on; orange marks
have guards. Whiskers are 95% intervals.</p>
<div class="plots">{"".join(plots)}</div>
</section>"""


def _details(results: Results, scorers: Sequence[str]) -> str:
    sets: list[str | None] = [*results.datasets]
    if len(sets) > 1:
        sets.append(None)
    heads = ["all sets" if name is None else name for name in sets]
    tables = []
    for scorer in scorers:
        rows = []
        for wish in results.wishes:
            columns = [
                column(results, scorer, TablePart(wishes=(wish,), dataset=name)) for name in sets
            ]
            methods = methods_in(results, TablePart(wishes=(wish,)))
            for number, method in enumerate(methods):
                first = f'<th scope="rowgroup" rowspan="{len(methods)}">{foreign(wish)}</th>'
                cells = "".join(_cell(found[method.name], scorer) for found in columns)
                rows.append((first if number == 0 else "") + _name(method) + cells)
        tables.append(
            f"<details><summary>{escape(words.heading(scorer))}</summary>"
            f"{_table(['preference', 'method', *heads], rows)}</details>"
        )
    return f"""<section class="card">
<h2>Methods, preferences and sets</h2>
{"".join(tables)}
</section>"""


def _reading(results: Results) -> str:
    found = answers_to_read(results, N_ANSWERS)
    reference = reference_of(results)
    sections = []
    for name, title in (
        ("changed", "Most changed among the answers that aren't broken"),
        ("worst", "Worst: broken, the least fluent first"),
    ):
        if found[name]:
            shown = "".join(_pair(row, reference) for row in found[name])
            sections.append(f"<h3>{title}</h3>{shown}")
    if not sections:
        return ""
    return f"""<section class="card">
<h2>Answers to read</h2>
<p class="note">One of each question, beside the answer of {foreign(reference.name)}.</p>
{"".join(sections)}
</section>"""


def _pair(row: Mapping[str, Any], reference: Method) -> str:
    key, answer, other = row["key"], row["answer"], row["reference"]
    wanted = key.wish
    return f"""<article>
<p class="asked"><b dir="auto">{foreign(answer["question"][:MAX_SHOWN])}</b>
<span class="note">{foreign(key.dataset)}, {foreign(wanted)}</span></p>
<div class="pair">{_answer(key.method, answer)}{_answer(reference.name, other)}</div>
</article>"""


def _answer(name: str, entry: Mapping[str, Any]) -> str:
    signs = [
        text
        for field, text in (("falls_apart", "falls apart"), ("recites", "recites"))
        if entry.get(field)
    ]
    facts = f"margin {entry['margin']:+.3f}, fluency {entry['fluency']:.3f}"
    if signs:
        facts += f", {', '.join(signs)}"
    if entry["finish_reason"] == "length":
        facts += ", cut at its length"
    text = entry["text"][:MAX_SHOWN]
    return (
        f"<div><h4>{foreign(name)} <span>{escape(facts)}</span></h4>"
        f'<p class="text" dir="auto">{foreign(text)}</p></div>'
    )


def _settings(results: Results, scorers: Sequence[str]) -> str:
    settings = results.settings
    rows = [
        f'<th scope="row">{foreign(item["name"])}</th>'
        f"<td>{foreign(words.method_text(results.method_named(item['name']), item))}</td>"
        for item in settings["methods"]
    ]
    versions = ", ".join(f"{name} {value}" for name, value in settings["versions"].items())
    instructions = "".join(
        f"<dt>{foreign(item['label'])}</dt><dd>{foreign(' / '.join(item['instructions']))}</dd>"
        for item in settings["preferences"]
    )
    measures = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(SCORERS[name].summary)}</dd>"
        for name in scorers
        if name in SCORERS
    )
    decoding = settings["decoding"]
    return f"""<section class="card">
<h2>How to read this</h2>
<p class="note">{escape(words.NOTES)}</p>
<dl>{measures}</dl>
</section>
<section class="card settings">
<h2>Settings and versions</h2>
<dl>
<dt>model</dt><dd>{foreign(settings["model"]["file"])}, SHA-256
<code>{foreign(settings["model"]["sha256"])}</code></dd>
<dt>system text</dt><dd>{foreign(decoding["system"])}</dd>
<dt>placement</dt><dd>{foreign(decoding["placement"])}</dd>
<dt>versions</dt><dd>{foreign(versions)}</dd>
</dl>
{_table(["method", "settings"], rows)}
<details><summary>Preferences as the prompts have them</summary><dl>{instructions}</dl></details>
</section>"""


def _name(method: Method) -> str:
    kind = "guarded" if method.is_guarded else ""
    name = re.sub("([_:])", r"\1<wbr>", foreign(method.name))
    return f'<th scope="row" class="{kind}">{name}</th>'


def _cell(cell: Cell, scorer: str) -> str:
    return _figure_cell(words.shown(cell, scorer).replace("*", ""), "strong" if cell.best else "")


def _verdict(found: Versus | None, scorer: str) -> str:
    """The class of a difference that is more than chance."""
    if found is None or found.difference.n < MIN_QUESTIONS or not found.difference.excludes_zero:
        return ""
    is_better = (found.difference.value > 0) == (better_of(scorer) == "higher")
    return "strong" if is_better else "worse"


def _figure_cell(text: str, kind: str) -> str:
    """A figure with what comes after it in small print."""
    value, _, rest = text.partition(" ")
    return f'<td class="{kind}"><span>{escape(value)}</span> <small>{escape(rest)}</small></td>'


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    """A table that scrolls by itself; rows are markup."""
    cells = "".join(f'<th scope="col">{foreign(name)}</th>' for name in head)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="Table">
<table>
<thead><tr>{cells}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>"""
