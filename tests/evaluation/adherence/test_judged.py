"""A judge's comparisons of the study's answers, and its agreement with the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.evaluation.adherence import judge_study
from amulet_local.evaluation.adherence.bank import BANK, ruled_preference
from amulet_local.evaluation.adherence.judged import (
    Verdicts,
    judge_all,
    judged_table,
    known_entries,
    pairs_of,
)
from amulet_local.evaluation.adherence.known_pairs import known_pairs
from amulet_local.evaluation.judges import JudgeOptions, open_judge
from tests.evaluation.adherence.test_report import entry
from tests.evaluation.judges.endpoints import Reply, completion, serving, shown


def likes_beds(body: dict[str, Any]) -> Reply:
    first, second = ("bed" in shown(body, f"answer {place}") for place in "AB")
    return completion("C" if first == second else "A" if first else "B")


ENTRIES = [
    entry("a", "1", text="Because.", follows=False),
    entry("a", "2", text="To bed.", follows=True),
    entry("a", "3", text="Because.", follows=None),
    entry("a", "4", text="Because.", follows=True),
    entry("b", "1", text="In bed.", follows=True),  # the judge is right
    entry("b", "2", text="No.", follows=False),  # and again
    entry("b", "3", text="A bed.", follows=True),  # nothing is known of the other
    entry("b", "4", text="A bed.", follows=False),  # it is wrong
    entry("b", "5", text="A bed.", follows=True),  # nothing to compare with
]


def test_a_judge_is_measured_where_the_rules_know(tmp_path: Path) -> None:
    path, pairs = tmp_path / "judged.jsonl", pairs_of(ENTRIES)
    assert [ours["question"] for ours, _ in pairs] == ["1", "2", "3", "4"]
    with serving(likes_beds) as endpoint:
        options = JudgeOptions(base_url=endpoint.base_url, model="m", max_retries=0)
        with open_judge(options) as judge:
            judge_all(judge, pairs[:1], path)
            judge_all(judge, pairs, path)
            assert len(endpoint.requests) == 2 * len(pairs)  # each pair once, in both orders
            lines = judged_table(judge.source, pairs, path).splitlines()
            assert "none of 0 pairs of this run" in judged_table("another judge", pairs, path)
    assert lines[0].startswith("The judge agrees with the rules in none of 0 pairs of known answer")
    assert "and in 0.67 [" in lines[0]
    assert "of 3 pairs of this run" in lines[0]
    (row,) = lines[4:]
    assert row.startswith("| `b` | user | 0.75 [")
    assert row.endswith("of 4 pairs |")


def test_answers_alike_are_a_tie(tmp_path: Path) -> None:
    pairs = pairs_of([entry("a", follows=False), entry("b", follows=True)])
    with serving(likes_beds) as endpoint:
        options = JudgeOptions(base_url=endpoint.base_url, model="m", max_retries=0)
        with open_judge(options) as judge:
            judge_all(judge, pairs, tmp_path / "judged.jsonl")
            table = judged_table(judge.source, pairs, tmp_path / "judged.jsonl")
            assert endpoint.requests == []
    assert "and in 0.50 [" in table


def follows_rules(body: dict[str, Any]) -> Reply:
    preference = ruled_preference(shown(body, "preference"))
    assert preference is not None
    first, second = (
        preference.follows(shown(body, "question"), shown(body, f"answer {place}"))
        for place in "AB"
    )
    return completion("C" if first == second else "A" if first else "B")


def test_known_pairs_are_those_of_the_rules() -> None:
    pairs = known_pairs()
    assert len(pairs) == len(BANK)
    for pair, preference in zip(pairs, BANK, strict=True):
        assert ruled_preference(pair.wording) is preference
        assert preference.follows(pair.question, pair.follows) is True
        assert preference.follows(pair.question, pair.other) is False


def test_a_judge_is_measured_on_the_known_pairs(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    with serving(follows_rules) as endpoint:
        options = JudgeOptions(base_url=endpoint.base_url, model="m", max_retries=0)
        with open_judge(options) as judge:
            judge_all(judge, known_entries()[:4], path)
    said = Verdicts(path).agreement([])
    assert "in 1.00 [0.51, 1.00] of 4 pairs of known answer (0 ties)" in said


def test_drawn_answers_are_compared_with_those_that_are_drawn_alike() -> None:
    drawn = {"sampling": '{"temperature": 0.7}'}
    entries = [entry("a"), entry("b"), *(entry(name, seed=2, **drawn) for name in "ab")]
    compared = [(ours["sampling"], theirs["sampling"]) for ours, theirs in pairs_of(entries)]
    assert compared == [("{}", "{}"), (drawn["sampling"], drawn["sampling"])]


def test_a_damaged_log_is_said(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text('{"judge": "m"}\n')
    with pytest.raises(errors.FileAccessError, match="line 1 is damaged"):
        judged_table("m", pairs_of(ENTRIES), path)


def test_a_folder_that_cant_be_judged_is_said_before_the_judge_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        judge_study.main(["--judge", "no-such.gguf", str(tmp_path / "none")])
    assert end.value.code == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
