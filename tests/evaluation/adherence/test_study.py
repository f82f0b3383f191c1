"""The study of what prompts and strengths do: what is asked, stored and counted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amulet_local import Engine, errors
from amulet_local.evaluation.adherence.bank import BANK
from amulet_local.evaluation.adherence.drawing import recommended, sampling_of
from amulet_local.evaluation.adherence.study import (
    EXAMPLE_QUESTIONS,
    main,
    own_preference,
    placements_of,
    preferences_in,
    run,
    stored,
    with_examples,
)
from amulet_local.evaluation.adherence.task import Task, tasks
from amulet_local.evaluation.experiment.contestants import contestants

QUESTIONS = ("How do I sleep?", "What is yeast?", "Why?")


def asked(methods: str = "pref,amulet") -> list[Task]:
    own = own_preference("with the word bed", "regex:bed")
    return list(
        tasks(contestants(methods), ["user"], own, QUESTIONS, per_preference=2, max_tokens=6)
    )


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


@pytest.mark.parametrize(("check", "n"), [("regex:^", 2), ("regex:no such text", 0)])
def test_examples_are_answers_that_follow_and_stand_before_the_question(
    scripted: Engine, tmp_path: Path, check: str, n: int
) -> None:
    own = own_preference("with a word", check)
    wanted = list(
        tasks(contestants("pref"), ["user"], own, QUESTIONS, per_preference=2, max_tokens=6)
    )
    path = tmp_path / "log.jsonl"
    shown = with_examples(scripted, wanted, path)
    made = {entry["question"]: entry["text"] for entry in stored(path).values()}
    assert set(made) == set(EXAMPLE_QUESTIONS)
    for task in shown:
        texts = [message["content"] for message in task.ask["messages"]]
        pairs = [text for question in EXAMPLE_QUESTIONS for text in (question, made[question])]
        assert texts == [*pairs[: 2 * n], task.question]
    run(scripted, [*wanted, *shown], path)
    entries = list(stored(path).values())
    assert [entry["examples"] for entry in entries] == [0, 0, 0, 0, 1, 1]


def test_draws_of_each_seed_are_answers_of_their_own(scripted: Engine, tmp_path: Path) -> None:
    own = own_preference("with the word bed", "regex:bed")
    wanted = list(
        tasks(
            contestants("pref"),
            ["user"],
            own,
            QUESTIONS,
            per_preference=1,
            max_tokens=6,
            sampling=sampling_of('{"temperature": 2.0}', "no model"),
            n_seeds=3,
        )
    )
    path = tmp_path / "log.jsonl"
    run(scripted, wanted, path)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [item["seed"] for item in entries] == [1, 2, 3]
    assert len({item["text"] for item in entries}) > 1


@pytest.mark.parametrize("text", ["0.7", "{", '{"seed": 1}', '{"temperatur": 1}'])
def test_sampling_that_can_not_be_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidParameterError):
        sampling_of(text, "no model")


def test_a_models_file_recommends_how_to_draw() -> None:
    own = {"general.sampling.temp": 0.60000002, "general.sampling.top_k": 20, "general.name": "m"}
    assert recommended(own) == {"temperature": 0.6, "top_k": 20}
    assert recommended({"general.sampling.top_k": 20}) == {"temperature": 0.7}


def test_what_the_file_recommends_is_in_the_form_of_a_log(model_path: Path) -> None:
    assert sampling_of("recommended", str(model_path)) == '{"temperature": 0.7}'


@pytest.mark.parametrize(("text", "check"), [("in rhyme", None), (None, "regex:a")])
def test_a_preference_of_ones_own_needs_its_check(text: str | None, check: str | None) -> None:
    with pytest.raises(errors.InvalidParameterError, match="give both"):
        own_preference(text, check)


def test_preferences_of_ones_own_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"preference": "all small letters", "check": "bank:lower-case"}\n'
        '{"preference": "name a river", "check": "regex:Rhine|Nile"}'
    )
    small, river = preferences_in(file)
    assert (small.wordings, river.wordings) == (("all small letters",), ("name a river",))
    assert river.follows("Where?", "At the Nile.") is True
    assert river.follows("Where?", "At home.") is False
    file.write_text("")
    with pytest.raises(errors.InvalidTextError, match="no preference in it"):
        preferences_in(file)
    for line in ('{"preference": "in rhyme"}', "in rhyme", '{"preference": 3, "check": 4}', "[]"):
        file.write_text('{"preference": "x", "check": "regex:x"}\n' + line)
        with pytest.raises(errors.InvalidTextError, match="line 2"):
            preferences_in(file)


@pytest.mark.parametrize("name", ["further_wishes", "typed_wishes/first", "typed_wishes/second"])
def test_each_further_wishs_rule_tells_its_two_answers_apart(name: str) -> None:
    file = Path(__file__).parents[3] / "docs" / f"{name}.jsonl"
    answers = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    wishes = preferences_in(file)
    banked = {wording for preference in BANK for wording in preference.wordings}
    for wish, answer in zip(wishes, answers, strict=True):
        assert wish.follows("Why?", answer["follows"]) is True, wish.wordings
        assert wish.follows("Why?", answer["fails"]) is False, wish.wordings
        assert not set(wish.wordings) & banked


def test_an_unknown_placement_is_refused() -> None:
    assert placements_of("user,system") == ["user", "system"]
    with pytest.raises(errors.InvalidParameterError, match="takes system, user, contrast"):
        placements_of("user,top")


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path), "--methods", "magic"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: no method or preset 'magic'")


def test_what_its_tables_need_is_asked_for_before_the_work(
    tiny_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("amulet_local.evaluation.conversion.minilm.PACKAGE", "not_installed")
    with pytest.raises(SystemExit):
        main(["--model", str(tiny_path), "--out", str(tmp_path), "--methods", "pref"])
    assert capsys.readouterr().err.startswith("error: similarity needs an embedding model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.lengthy
def test_ctrl_c_ends_a_study_with_a_line(tiny_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "amulet_local.evaluation.adherence.study"]
    command += ["--model", str(tiny_path), "--out", str(tmp_path), "--methods", "pref"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("*.jsonl")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == "stopped; the same command goes on from here"
    assert b"Traceback" not in said
