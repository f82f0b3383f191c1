"""What the report says of runs whose figures are known, and what hostile text does in it."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.evaluation.experiment.documentation import section, with_section
from amulet_local.evaluation.experiment.report_page import page
from amulet_local.evaluation.experiment.report_text import markdown, models_beside
from amulet_local.evaluation.experiment.results import Results
from amulet_local.evaluation.experiment.tables import (
    TablePart,
    answers_to_read,
    column,
    matches,
    versus,
)
from amulet_local.evaluation.scorers import DEFAULT_SCORERS, scorers_named
from tests.evaluation.experiment.made_runs import Figures, made_run

MARGINS = {"base": 0.0, "pref": 0.01, "amulet:paper": 0.5, "amulet:balanced": 0.1}
HOSTILE = "</p></style><script>alert(1)</script>\x1b[31m\u202e|x|`y`<img src=x onerror=alert(1)>"


def plain(method: str, wish: str, dataset: str, n: int) -> dict[str, Any]:
    rng = random.Random(f"{method} {wish} {dataset} {n}")
    return {"margin": MARGINS[method] + rng.gauss(0, 0.02), "fluency": -0.5 + rng.gauss(0, 0.1)}


def results_of(folder: Path, figures: Figures = plain, **options: Any) -> Results:
    results = Results(made_run(folder, figures, **options))
    results.score(scorers_named(DEFAULT_SCORERS))
    return results


def everything(results: Results) -> TablePart:
    return TablePart(wishes=results.wishes)


def test_a_mean_is_that_of_the_questions(tmp_path: Path) -> None:
    results = results_of(tmp_path, lambda m, w, d, n: {"margin": float(n), "fluency": -1.0})
    cell = column(results, "margin", everything(results))["pref"]
    assert cell.estimate is not None
    assert cell.estimate.value == 4.5
    assert cell.estimate.n == 20


def test_what_is_far_ahead_is_the_best_and_what_isnt_is_not(tmp_path: Path) -> None:
    results = results_of(tmp_path)
    best = {
        scorer: [
            name for name, cell in column(results, scorer, everything(results)).items() if cell.best
        ]
        for scorer in ("margin", "fluency", "tokens")
    }
    assert best == {"margin": ["amulet:paper"], "fluency": [], "tokens": []}


def test_a_handful_of_questions_has_no_best(tmp_path: Path) -> None:
    results = results_of(tmp_path, n_questions=2)
    assert not any(c.best for c in column(results, "margin", everything(results)).values())


def test_bold_in_markdown_is_what_is_best(tmp_path: Path) -> None:
    results = results_of(tmp_path)
    text = markdown(results, DEFAULT_SCORERS)
    overall = text.split("## All preferences")[1].split("###")[0]
    bold = [line for line in overall.splitlines() if "**" in line]
    assert len(bold) == 1
    assert bold[0].startswith("| `amulet:paper`")


def test_a_scale_that_is_moved_is_said_to_be_where_it_begins_or_ends(tmp_path: Path) -> None:
    methods = "base,pref,amulet:paper,amulet:balanced,amulet:kl=0.35"
    figures = {"margin": 0.1, "fluency": -1.0}
    results = results_of(tmp_path, lambda m, w, d, n: figures, methods=methods)
    assert [method.asked_scale for method in results.methods] == [
        *("0", "1", "5.65", "from 1.5", "up to 5.65"),
    ]
    assert "| `amulet:balanced` | from 1.5 |" in markdown(results, DEFAULT_SCORERS)


def test_differences_are_paired(tmp_path: Path) -> None:
    def figures(m: str, w: str, d: str, n: int) -> dict[str, Any]:
        return {"margin": 10.0 * n + (0.5 if m == "amulet:paper" else 0.0), "fluency": -1.0}

    results = results_of(tmp_path, figures)
    paper, pref = results.method_named("amulet:paper"), results.method_named("pref")
    found = versus(results, "margin", paper, pref, everything(results))
    assert found is not None
    assert found.difference.value == found.difference.low == found.difference.high == 0.5
    assert found.wins.value == 1.0


def test_an_unfinished_question_is_left_out_everywhere(tmp_path: Path) -> None:
    folder = made_run(tmp_path, plain)
    path = folder / "responses.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    results = Results(folder)
    results.score(scorers_named(DEFAULT_SCORERS))
    assert len(results.questions) == 19
    assert results.values("margin", results.methods[1]).shape == (19, 2)
    assert "1 of its 20 questions" in markdown(results, DEFAULT_SCORERS)


def test_a_guarded_method_meets_the_unguarded_one_of_its_margin(tmp_path: Path) -> None:
    margins = {"pref": 0.0, "linear_alignment": 0.11, "amulet:paper": 0.5, "amulet:balanced": 0.1}
    results = results_of(
        tmp_path,
        lambda m, w, d, n: {"margin": margins[m], "fluency": -1.0},
        methods="pref,linear_alignment,amulet:paper,amulet:balanced",
    )
    (match,) = matches(results, ["margin"], everything(results))
    assert (match.guarded.name, match.plain.name) == ("amulet:balanced", "linear_alignment")
    assert match.versus["margin"].difference.value == pytest.approx(-0.01)


def test_a_method_for_some_preferences_is_compared_on_those(tmp_path: Path) -> None:
    results = results_of(
        tmp_path,
        lambda m, w, d, n: {"margin": 0.1, "fluency": -1.0},
        methods="base,pref,beam@concise",
    )
    text = markdown(results, DEFAULT_SCORERS)
    overall, only = text.split("## `concise` only")
    assert "`beam`" not in overall.split("## All preferences")[1]
    assert "`beam`" in only


def test_the_most_changed_and_the_worst_answers_are_found(tmp_path: Path) -> None:
    def figures(m: str, w: str, d: str, n: int) -> dict[str, Any]:
        odd = m == "amulet:paper" and d == "first" and w == "concise"
        return {
            "margin": 2.0 if odd and n == 3 else 0.0,
            "fluency": -9.0 if odd and n == 4 else -1.0,
            "falls_apart": odd and n == 4,
        }

    found = answers_to_read(results_of(tmp_path, figures), 3)
    assert (found["changed"][0]["key"].index, found["changed"][0]["gain"]) == ("3", 2.0)
    assert [row["key"].index for row in found["worst"]] == ["4"]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def hostile(method: str, wish: str, dataset: str, n: int) -> dict[str, Any]:
    return {**plain(method, wish, dataset, n), "text": HOSTILE, "question": HOSTILE}


def test_hostile_text_is_only_ever_text(tmp_path: Path) -> None:
    made = results_of(
        tmp_path, hostile, wishes=(HOSTILE, "concise"), sets=(HOSTILE,), model=HOSTILE
    )
    html = page(made, DEFAULT_SCORERS)
    parser = Tags()
    parser.feed(html)
    assert not parser.tags & {"script", "img"}
    assert not {name for name in parser.attributes if name.startswith("on")}
    assert "\x1b" not in html
    assert "\u202e" not in html
    text = markdown(made, DEFAULT_SCORERS)
    assert "<script" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert all(3 <= n <= 9 for n in tables)


def test_the_page_may_load_and_run_nothing(tmp_path: Path) -> None:
    html = page(results_of(tmp_path), DEFAULT_SCORERS)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"(?:src|href)=|url\(|@import|style=", html)


def test_a_run_without_a_complete_question_has_a_report(tmp_path: Path) -> None:
    folder = made_run(tmp_path, plain)
    (folder / "responses.jsonl").write_text("")
    results = Results(folder)
    results.score(scorers_named(DEFAULT_SCORERS))
    assert "No question" in markdown(results, DEFAULT_SCORERS)
    assert "No question" in page(results, DEFAULT_SCORERS)


def test_scores_are_made_once_and_again_for_another_source(tmp_path: Path) -> None:
    results = results_of(tmp_path)
    size = (tmp_path / "scores.jsonl").stat().st_size
    again = Results(tmp_path)
    (scorer,) = scorers_named(["tokens"])
    again.score([scorer])
    assert (tmp_path / "scores.jsonl").stat().st_size == size
    scorer.source = "another model"
    again.score([scorer])
    assert (tmp_path / "scores.jsonl").stat().st_size > size
    assert Results(tmp_path).scores["tokens"] == results.scores["tokens"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.json", "{}"),
        ("settings.json", '{"format": 1, "methods": 3}'),
        ("settings.json", "["),
        ("settings.json", '{"format": 99}'),
        ("responses.jsonl", '{"dataset": "first"}\n'),
        ("responses.jsonl", "null\n"),
        ("measures.jsonl", '{"dataset": 1, "index": "1", "wish": "", "method": "x"}\n'),
        ("scores.jsonl", '{"scorer": "margin"}\n'),
    ],
)
def test_a_damaged_run_is_a_typed_error(tmp_path: Path, name: str, text: str) -> None:
    made_run(tmp_path, plain)
    (tmp_path / name).write_text(text)
    with pytest.raises(errors.FileAccessError) as caught:
        Results(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_document_gets_the_same_section_however_often(tmp_path: Path) -> None:
    results = results_of(tmp_path, methods="base,pref,amulet:paper,amulet:balanced")
    text = section(results)
    once = with_section("# Title\n\nText.\n", text)
    assert once.startswith("# Title\n\nText.\n")
    assert with_section(once, text) == once
    assert once.count("## Our table") == 1


def test_several_models_stand_side_by_side(tmp_path: Path) -> None:
    def flat(margin: float) -> Figures:
        return lambda method, wish, dataset, n: {"margin": margin, "fluency": -1.0}

    runs = [
        results_of(tmp_path / "a", flat(0.25), model="a|b.gguf", methods="base,pref"),
        results_of(tmp_path / "b", flat(0.5), model="c.gguf", methods="pref,amulet:paper"),
    ]
    text = models_beside(runs, ["margin", "fluency"])
    lines = text[text.index("## margin") : text.index("## fluency")].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert cells[0] == ["method", "a?b.gguf", "c.gguf"]
    found = {row[0]: [cell.split(" ")[0] for cell in row[1:]] for row in cells[2:]}
    assert found == {
        "`base`": ["+0.250", "-"],
        "`pref`": ["+0.250", "+0.500"],
        "`amulet:paper`": ["-", "+0.500"],
    }
