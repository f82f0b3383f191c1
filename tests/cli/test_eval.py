"""`amulet-local eval` on the embedded model: runs that are killed, changed, reported again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, environment, run
from tests.evaluation.judges.endpoints import Reply, completion, serving, shown

METHODS = "base,pref,amulet:paper,amulet:balanced"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "asked.json"
    path.write_text(json.dumps([{"index": 7, "question": "What is dew?"}, "Why is the sky blue?"]))
    return path


def arguments(questions: Path, out: Path, *more: str) -> list[str | Path]:
    return [
        *("eval", questions, "-o", out, "--methods", METHODS, "--preference", "concise"),
        *("-n", "8", "-c", "512"),
        *more,
    ]


def only_run(out: Path) -> Path:
    (folder,) = out.glob("run-*")
    return folder


def responses(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "responses.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def key(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry[name] for name in ("dataset", "index", "wish", "method"))


def killed_after(n: int, command: list[str | Path], out: Path) -> None:
    """Run it, and kill it at once when it has stored `n` answers."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, command)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        logs = list(out.glob("run-*/responses.jsonl"))
        if logs and logs[0].read_bytes().count(b"\n") >= n:
            break
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended by itself"


@pytest.mark.usefixtures("tiny_by_default")
def test_a_run_that_is_killed_goes_on_and_ends_as_if_it_hadnt_been(
    questions: Path, tmp_path: Path
) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    assert run(*arguments(questions, once)).code == 0
    command = arguments(questions, often)
    killed_after(1, command, often)
    log = only_run(often) / "responses.jsonl"
    log.write_bytes(log.read_bytes() + b'{"dataset": "asked", "ind')  # the kill came in a line
    kept = responses(only_run(often))
    killed_after(len(kept) + 3, command, often)
    before = {key(entry): entry for entry in responses(only_run(often))}
    assert run(*command).code == 0
    made = responses(only_run(often))
    assert len(made) == len({key(entry) for entry in made}) == 8
    assert all(entry == before[key(entry)] for entry in made if key(entry) in before)
    whole = {key(entry): entry["token_ids"] for entry in responses(only_run(once))}
    assert {key(entry): entry["token_ids"] for entry in made} == whole
    for name in ("report.md", "report.html"):
        assert (only_run(often) / name).read_text() == (only_run(once) / name).read_text()

    done = run(*command)  # nothing is left to do
    assert done.code == 0
    assert responses(only_run(often)) == made
    assert "2 of 2 questions" in done.out
    assert run(*arguments(questions, often, "-n", "9", "--limit", "1")).code == 0
    folders = sorted(often.glob("run-*"))
    assert len(folders) == 2  # other settings, another run
    sizes = {
        json.loads((f / "settings.json").read_text())["decoding"]["max_tokens"] for f in folders
    }
    assert sizes == {8, 9}
    again = run("eval", "--report-only", folders[0], "--scorers", "words,margin", "--json")
    assert set(json.loads(again.out)["runs"][0]["scores"]) == {"words", "margin"}


@pytest.mark.usefixtures("tiny_by_default")
def test_answers_are_those_of_generate(questions: Path, tmp_path: Path) -> None:
    command = ["eval", questions, "-o", tmp_path / "out", "--methods", "linear_alignment"]
    assert run(*command, "--preference", "formal", "-n", "8", "--limit", "1").code == 0
    for entry in responses(only_run(tmp_path / "out")):
        alone = run(
            *("generate", "What is dew?", "--preference", "formal", "-n", "8", "--reproducible"),
            *("--method", entry["method"], "--json", "--placement", "system"),
        )
        assert json.loads(alone.out)["text"][:12] == entry["text"][:12]


def verdict(body: dict[str, Any]) -> Reply:
    """Rates stories 5 and all else 2; of two answers the first one shown is the better."""
    if "answer A" in body["messages"][1]["content"]:
        return completion("A")
    return completion("5" if "story" in shown(body, "preference") else "2")


@pytest.mark.usefixtures("tiny_by_default")
def test_a_judge_rates_the_criteria_of_each_question_and_compares_answers(
    tmp_path: Path, tiny_path: Path
) -> None:
    levels = {str(n): f"{n} of 5" for n in range(1, 6)}
    rubrics = [
        {"criteria": criteria, "score_descriptions": levels}
        for criteria in ("Does it tell a story?", "Is it careful?")
    ]
    bench = tmp_path / "bench.json"
    entry = {"system": "You narrate.", "prompt": "What is dew?", "rubrics": rubrics}
    bench.write_text(json.dumps([entry]))
    made = ["eval", bench, "-o", tmp_path / "out", "--methods", "base,pref,amulet:balanced"]
    made += ["-n", "6", "-c", "512", "--scorers", "words", "--json"]
    with serving(verdict) as endpoint:
        judge = ["--judge-url", endpoint.base_url, "--judge", "m"]
        done = run(*made, *judge)
        n_asked = len(endpoint.requests)
        again = run(*made, *judge)
        assert len(endpoint.requests) == n_asked
    assert done.code == 0, done.err
    assert again.out == done.out
    scores = json.loads(done.out)["runs"][0]["scores"]
    for name, expected in (("judge-rating", 3.5), ("judge-worst", 2.0), ("judge-met", 0.0)):
        assert {method: cell["value"] for method, cell in scores[name].items()} == dict.fromkeys(
            ("base", "pref", "amulet:balanced"), expected
        )
    assert scores["judge-wins"]["amulet:balanced"]["value"] == 0.5, "whichever is shown first"
    assert "judge-wins" in (only_run(tmp_path / "out") / "report.md").read_text()

    local = run(
        *("eval", "--report-only", tmp_path / "out", "--scorers", "words"),
        *("--judge", tiny_path, "--json"),
    )
    assert local.code == 0, local.err
    rated = json.loads(local.out)["runs"][0]["scores"]["judge-rating"]
    assert all(1 <= cell["value"] <= 5 and cell["value"] != 3.5 for cell in rated.values())


def test_models_are_put_side_by_side(questions: Path, tmp_path: Path, model_path: Path) -> None:
    other = tmp_path / "other.gguf"
    shutil.copyfile(model_path, other)
    done = run(
        *("eval", questions, "-o", tmp_path / "out", "--limit", "1", "-n", "2", "-c", "512"),
        *("--methods", "base,pref", "--preference", "concise", "--scorers", "words"),
        *("-m", f"smollm2,{other}"),
    )
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").glob("run-*/report.html"))) == 2
    table = (tmp_path / "out" / "models.md").read_text()
    assert f"| method | {model_path.name} | other.gguf |" in table
    assert str(tmp_path / "out" / "models.md") in done.out


def test_a_model_that_isnt_there_is_said_before_the_first_one_answers(
    call: CallCli, questions: Path, tmp_path: Path, tiny_path: Path
) -> None:
    outcome = call(*arguments(questions, tmp_path / "out"), "-m", f"{tiny_path},nowhere.gguf")
    assert "nowhere.gguf" in outcome.error_line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_a_report_that_cant_be_written_is_said_before_anything_is_scored(
    call: CallCli, questions: Path, tmp_path: Path, tiny_path: Path, name: str
) -> None:
    command = [*arguments(questions, tmp_path / "out"), "-m", tiny_path]
    assert call(*command, "--limit", "1").code == 0
    folder = only_run(tmp_path / "out")
    for path in (folder / "report.md", folder / "report.html", folder / "responses.jsonl"):
        path.unlink()
    (folder / name).mkdir()
    assert f"{name} can't be written" in call(*command, "--limit", "1").error_line
    assert not (folder / "responses.jsonl").exists()
    again = call("eval", "--report-only", folder, "--scorers", "words")
    assert f"{name} can't be written" in again.error_line


def test_of_several_runs_the_last_one_is_reported(
    call: CallCli, questions: Path, tmp_path: Path, tiny_path: Path
) -> None:
    out = tmp_path / "out"
    for limit in ("2", "1"):
        assert call(*arguments(questions, out), "-m", tiny_path, "--limit", limit).code == 0
    newest = max(out.glob("run-*/settings.json"), key=lambda path: path.stat().st_mtime_ns).parent
    outcome = call("eval", "--report-only", out, "--scorers", "words")
    assert outcome.out.rstrip().endswith(str(newest / "report.html"))
    assert f"the run that was begun last, of 2: {newest}" in outcome.err
    assert "1 of 1 questions" in outcome.err + outcome.out


@pytest.mark.lengthy
def test_own_prompts_stand_in_the_prompt_as_they_are(questions: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(
        json.dumps({"system": "You help.", "preferences": {"mine": "Your answer should rhyme"}})
    )
    done = run(
        *("eval", questions, "-o", tmp_path / "out", "--protocol", "paper", "--prompts", prompts),
        *("--limit", "1", "-n", "2", "--methods", "base,beam"),
    )
    assert done.code == 0, done.err
    settings = json.loads((only_run(tmp_path / "out") / "settings.json").read_text())
    assert settings["decoding"]["system"] == "You help."
    assert settings["preferences"][0]["instructions"] == ["Your answer should rhyme"]
    assert settings["methods"][1]["beams"] == 16


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--methods", "magic"], "magic"),
        (["--scorers", "magic"], "magic"),
        (["--preference", "no_such_name"], "no_such_name"),
        (["--limit", "0"], "--limit"),
        (["--sample", "1.5"], "--sample"),
        (["-n", "0"], "--predict"),
        (["--protocol", "paper"], "--prompts"),
        (["--methods", "beam@formal"], "formal"),
        (["--report-only", "nowhere"], "nowhere"),
        (["nowhere.json"], "nowhere.json"),
        (["--armorm", "nowhere.gguf", "--scorers", "armorm"], "nowhere.gguf"),
    ],
)
def test_bad_input_is_one_line_before_any_answer(
    call: CallCli, tmp_path: Path, more: list[str], said: str
) -> None:
    base = [] if more[0] == "--report-only" else ["-o", str(tmp_path / "out")]
    outcome = call("eval", *base, *more)
    assert said in outcome.error_line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["a.json", "--data", "b.json"], "give only one of FILE, --data"),
        (["--limit", "1", "--sample", "1"], "give only one of --limit, --sample"),
        (["--report-only", "x", "--methods", "base"], "give only one of --report-only, --method"),
        (["--protocol", "mine"], "--protocol is paper"),
        (["--judge-url", "http://127.0.0.1:1/v1"], "--judge"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(
    call: CallCli, more: list[str], said: str
) -> None:
    outcome = call("eval", *more)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())


def test_a_report_needs_no_model_whatever_the_environment_names(
    call: CallCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_MODEL", "no-such-model")
    assert "no-such-folder" in call("eval", "--report-only", "no-such-folder").error_line


@pytest.mark.lengthy
def test_scorers_are_listed(call: CallCli) -> None:
    outcome = run("eval", "--scorers", "list")
    assert outcome.code == 0
    assert "margin: " in outcome.out
