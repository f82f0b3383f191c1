"""A judge's verdicts on a run, through a local endpoint that judges by a known rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.evaluation.experiment.judging import JUDGE, compare_all
from amulet_local.evaluation.experiment.results import Results
from amulet_local.evaluation.experiment.tables import TablePart, column
from amulet_local.evaluation.judges import JudgeOptions, open_judge
from tests.evaluation.experiment.made_runs import made_run
from tests.evaluation.judges.endpoints import Reply, completion, serving, shown

TEXTS = {"base": "", "pref": "plain", "amulet:paper": "plain", "amulet:balanced": "coffee"}


def figures(method: str, wish: str, dataset: str, n: int) -> dict[str, Any]:
    return {"margin": 0.0, "fluency": -1.0, "text": TEXTS[method]}


def rule(body: dict[str, Any]) -> Reply:
    """Coffee is better; where both or neither have it, the first one shown is."""
    first, second = ("coffee" in shown(body, f"answer {place}") for place in "AB")
    return completion("B" if second and not first else "A")


def judged(results: Results, url: str, source: str = "m") -> None:
    with open_judge(JudgeOptions(base_url=url, model="m", max_retries=0)) as judge:
        compare_all(results, judge, source)


def test_known_pairs_have_their_known_outcomes(tmp_path: Path) -> None:
    results = Results(made_run(tmp_path, figures, n_questions=4))
    with serving(rule) as endpoint:
        judged(results, endpoint.base_url)
        n_asked = len(endpoint.requests)
        judged(Results(tmp_path), endpoint.base_url)  # nothing is asked twice
        assert len(endpoint.requests) == n_asked
        judged(Results(tmp_path), endpoint.base_url, "another judge")
        assert len(endpoint.requests) == 2 * n_asked
    found = column(results, JUDGE, TablePart(wishes=results.wishes))
    values = {name: cell.estimate and cell.estimate.value for name, cell in found.items()}
    assert values == {"base": 0.0, "pref": None, "amulet:paper": 0.5, "amulet:balanced": 1.0}


def test_the_judge_sees_what_the_prompt_said(tmp_path: Path) -> None:
    results = Results(made_run(tmp_path, figures, n_questions=1, sets=("first",)))
    with serving(rule) as endpoint:
        judged(results, endpoint.base_url)
        seen = {shown(body, "preference") for body in endpoint.requests}
    assert seen == {"Be creative.", "Be concise."}


def test_a_judge_that_always_fails_is_given_up(tmp_path: Path) -> None:
    results = Results(made_run(tmp_path, figures, methods="pref,amulet:balanced"))
    with serving(lambda body: completion("no idea")) as endpoint, pytest.raises(errors.JudgeError):
        judged(results, endpoint.base_url)
    assert len(Results(tmp_path).scores.get(JUDGE, {})) < 10
