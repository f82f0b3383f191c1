"""The study of what prompts and strengths do: what is asked, stored and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, errors
from amulet_local.evaluation.adherence.bank import BANK
from amulet_local.evaluation.adherence.study import (
    Task,
    main,
    own_preference,
    placements_of,
    run,
    table,
    tasks,
)
from amulet_local.evaluation.experiment.contestants import contestants

QUESTIONS = ("How do I sleep?", "What is yeast?", "Why?")


def asked(methods: str = "pref,amulet") -> list[Task]:
    own = own_preference("with the word bed", "regex:bed")
    return list(
        tasks(contestants(methods), ["user"], own, QUESTIONS, per_preference=2, max_tokens=6)
    )


def entry(method: str, **values: Any) -> dict[str, Any]:
    verdict = {"follows": True, "loops": False, "falls_apart": False, "recites": False}
    figures = {"opens": False, "kl": 0.1, "n_tokens": 10}
    where = {"method": method, "placement": "user", "preference": "own"}
    return {**where, **verdict, **figures, **values}


def test_every_preference_is_asked_for_under_every_method_and_placement() -> None:
    found = list(
        tasks(
            contestants("pref,amulet:scale=2"),
            ["system", "user"],
            BANK,
            QUESTIONS,
            per_preference=2,
            max_tokens=8,
        )
    )
    assert len(found) == 2 * 2 * 2 * len(BANK) == len({task.key for task in found})
    assert {task.question for task in found} == set(QUESTIONS)
    assert all(task.wording in task.preference.wordings for task in found)


def test_a_run_goes_on_where_it_was_and_takes_more_methods(
    scripted: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    run(scripted, asked()[:1], path)
    first = path.read_text()
    run(scripted, asked(), path)
    assert path.read_text().startswith(first)
    assert len(path.read_text().splitlines()) == 4
    run(scripted, asked(), path)
    assert len(path.read_text().splitlines()) == 4
    run(scripted, asked("pref,amulet,amulet:scale=2"), path)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(entries) == 6
    assert all(item["follows"] == ("bed" in item["text"]) for item in entries)
    assert all(item["kl"] == pytest.approx(0, abs=1e-6) for item in entries[:2])


def test_a_table_counts_what_can_be_told_and_what_stays_whole() -> None:
    entries = [
        entry("a"),
        entry("a", follows=False),
        entry("a", loops=True, recites=True, kl=0.3),
        entry("a", follows=None),
        entry("b"),
        entry("b", preference="another"),
    ]
    of_a, of_b = table(entries, ["own"]).splitlines()[2:]
    cells = [cell.strip() for cell in of_a.strip("|").split("|")]
    assert cells[:2] == ["`a`", "user"]
    assert cells[2].startswith("0.67 [")
    assert cells[3].startswith("0.33 [")
    assert cells[4:] == ["25.0%", "25.0%", "0.0%", "0.15", "10", "4"]
    assert of_b.endswith("| 1 |")


@pytest.mark.parametrize(("text", "check"), [("in rhyme", None), (None, "regex:a")])
def test_a_preference_of_ones_own_needs_its_check(text: str | None, check: str | None) -> None:
    with pytest.raises(errors.InvalidParameterError, match="give both"):
        own_preference(text, check)


def test_an_unknown_placement_is_refused() -> None:
    assert placements_of("user,system") == ["user", "system"]
    with pytest.raises(errors.InvalidParameterError, match="takes system, user, contrast"):
        placements_of("user,top")


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path), "--methods", "magic"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: --methods: no method or preset 'magic'")
