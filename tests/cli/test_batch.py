"""`amulet-local batch` as a program: where lines come from and records go, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.running import OnTerminal, run

SHORT = ("-n", "3", "-c", "256", "--at-once", "2")


def write_questions(path: Path, n: int) -> Path:
    lines = (json.dumps({"id": i, "prompt": f"What is {i}?"}) + "\n" for i in range(n))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_records_go_to_a_pipe_in_order_and_a_bad_line_tells_in_the_exit_code(
    tiny_path: Path,
) -> None:
    lines = b'{"id": 1, "prompt": "Hi"}\nnonsense\n"Who?"\n'
    outcome = run("batch", "-", "-m", tiny_path, "--in-order", "--json", *SHORT, stdin=lines)
    assert outcome.code == 4
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["line"] for record in found] == [1, 2, 3]
    assert found[0]["completion_tokens"] == 3
    summary = json.loads(outcome.err)
    assert (summary["n_answered"], summary["n_failed"]) == (2, 1)


def test_a_record_says_what_applied_and_the_summary_what_was_asked_for(
    tiny_path: Path, tmp_path: Path
) -> None:
    lines, answers = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines.write_text('"Hi"\n{"prompt": "Hi", "preset": "paper"}\n', encoding="utf-8")
    flags = ("--preference", "concise", "--guidance-scale", "2", "--in-order", "--json")
    outcome = run("batch", lines, "-o", answers, "-m", tiny_path, *flags, *SHORT)
    summary = json.loads(outcome.out)
    assert summary["model"] == {"name": str(tiny_path), "path": str(tiny_path)}
    settings = summary["settings"]
    assert settings["guidance_scale"] == {"value": 2.0, "from": "flag"}
    assert settings["method"] == {"value": "amulet", "from": "default"}
    assert settings["preference"] == {"value": ["concise"], "from": "flag"}
    assert settings["n_ctx"] == {"value": 256, "from": "flag"}
    as_asked, paper = map(json.loads, answers.read_text(encoding="utf-8").splitlines())
    assert (as_asked["preset"], as_asked["guidance_scale"]) == ("", 2.0)
    assert as_asked["applied"]["highest_scale"] <= 2
    assert as_asked["applied"]["mean_kl"] > 0
    assert paper["preset"] == "paper"
    assert paper["applied"]["lowest_scale"] > 5


def test_lines_of_a_text_file_are_questions(tiny_path: Path, tmp_path: Path) -> None:
    texts, lines = tmp_path / "in.txt", tmp_path / "in.jsonl"
    texts.write_text('What is {yeast}?\n42\n{"prompt": "Hi"}\n"Hi"\n', encoding="utf-8")
    lines.write_text('"What is {yeast}?"\n"42"\n"Hi"\n"Hi"\n', encoding="utf-8")
    answers = []
    for file in (texts, lines):
        outcome = run("batch", file, "-m", tiny_path, "--in-order", *SHORT)
        assert outcome.code == 0, outcome
        answers.append([json.loads(line)["text"] for line in outcome.out.splitlines()])
    assert answers[0] == answers[1]


def test_rows_of_a_table_are_answered_as_lines_are(tiny_path: Path, tmp_path: Path) -> None:
    table, lines = tmp_path / "in.csv", tmp_path / "in.jsonl"
    table.write_text(
        'question,max_tokens,preference,when\n"One, two?",2,formal,now\nThree?,,,\n"a" b,,,\n',
        encoding="utf-8",
    )
    lines.write_text(
        '{"prompt": "One, two?", "max_tokens": 2, "preference": "formal"}\n"Three?"\n',
        encoding="utf-8",
    )
    of_table = run("batch", table, "-m", tiny_path, "--in-order", *SHORT)
    of_lines = run("batch", lines, "-m", tiny_path, "--in-order", *SHORT)
    assert (of_table.code, of_lines.code) == (4, 0)
    *answered, bad = [json.loads(line) for line in of_table.out.splitlines()]
    expected = [json.loads(line) for line in of_lines.out.splitlines()]
    assert [one["text"] for one in answered] == [one["text"] for one in expected]
    assert [one["completion_tokens"] for one in answered] == [2, 3]
    assert "line 4: the row isn't sound CSV" in bad["error"]["message"]
    assert "nothing is read of 'when'" in of_table.err


def test_the_first_line_that_fails_is_said(tiny_path: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('"Hi"\nWhat is yeast?\nWho?\n', encoding="utf-8")
    outcome = run("batch", source, "-m", tiny_path, "--in-order", *SHORT)
    assert outcome.code == 4
    first, *_ = outcome.err.splitlines()
    assert re.fullmatch(r"warning: .*in\.jsonl, line 2: no JSON: .*\.txt.*", first)


def test_a_killed_job_goes_on_where_it_was(tiny_path: Path, tmp_path: Path) -> None:
    source, output = write_questions(tmp_path / "in.jsonl", 12), tmp_path / "out.jsonl"
    command = ("batch", source, "-o", output, "-m", tiny_path, "--reproducible", *SHORT[:4])
    killed = OnTerminal(*command)
    try:
        killed.wait(lambda: output.exists() and output.read_bytes().count(b"\n") >= 3)
    finally:
        killed.close()
    n_before = output.read_bytes().count(b"\n")
    outcome = run(*command, "--json")
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["n_before"] == n_before
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert sorted(record["id"] for record in found) == list(range(12))
    whole = tmp_path / "whole.jsonl"
    run("batch", source, "-o", whole, "-m", tiny_path, "--reproducible", *SHORT[:4])
    assert sorted(output.read_bytes().splitlines()) == sorted(whole.read_bytes().splitlines())


def half_failed(tiny_path: Path, tmp_path: Path) -> tuple[tuple[str | Path, ...], Path]:
    """The command of a job that has answered one line and failed at another, and its output."""
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('"Hi"\n{"prompt": "Hi", "method": "magic"}\n', encoding="utf-8")
    command = ("batch", source, "-o", output, "-m", tiny_path, *SHORT)
    assert run(*command).code == 4
    return command, output


def test_an_output_is_begun_anew_or_asked_again_where_that_is_wanted(
    tiny_path: Path, tmp_path: Path
) -> None:
    command, output = half_failed(tiny_path, tmp_path)
    again = run(*command, "--retry", "--json")
    assert again.code == 4
    assert json.loads(again.out)["n_before"] == 1
    assert "other settings" in run(*command, "--system", "Be kind.").error_line
    assert run(*command, "--system", "Be kind.", "--overwrite").code == 4
    assert output.read_bytes().count(b"\n") == 2


def test_what_cant_begin_is_one_line(tiny_path: Path, tmp_path: Path) -> None:
    source = write_questions(tmp_path / "in", 1)
    model = ("-m", str(tiny_path))
    assert "no file" in run("batch", tmp_path / "*.jsonl", *model).error_line
    assert "--at-once" in run("batch", source, "--at-once", "many", *model).error_line
    assert "--format" in run("batch", source, "--format", "xml", *model).error_line
    assert "can't be written" in run("batch", source, "-o", tmp_path, *model).error_line
    assert "name it with -o" in run("batch", source, "--retry", *model).error_line


def test_nothing_is_lost_of_a_file_that_is_no_jobs_output(tiny_path: Path, tmp_path: Path) -> None:
    source, other = write_questions(tmp_path / "in", 3), tmp_path / "other"
    source.write_bytes(source.read_bytes()[:-1])  # its last line has no end
    other.write_bytes(b'{"prompt": "Hi"}')
    before = source.read_bytes(), other.read_bytes()
    model = ("-m", str(tiny_path))
    for options in ((), ("--retry",), ("--overwrite",)):
        outcome = run("batch", source, "-o", source, *options, *model)
        assert "-o is an input as well" in outcome.error_line
    for options in ((), ("--retry",)):
        outcome = run("batch", source, "-o", other, *options, *model)
        assert "aren't records of a job" in outcome.error_line
    assert (source.read_bytes(), other.read_bytes()) == before


def test_ctrl_c_ends_it_and_keeps_what_is_done(tiny_path: Path, tmp_path: Path) -> None:
    source, output = write_questions(tmp_path / "in.jsonl", 20_000), tmp_path / "out.jsonl"
    terminal = OnTerminal("batch", source, "-o", output, "-m", tiny_path, *SHORT)
    try:
        terminal.wait(lambda: output.exists() and output.read_bytes().count(b"\n") >= 3)
        terminal.press(b"\x03")
        assert terminal.finish() == 130
        said = re.compile(r"\d+ lines done; the same command goes on from there")
        assert any(map(said.fullmatch, terminal.lines))
    finally:
        terminal.close()
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert 3 <= len(found) < 20_000
    assert not any("error" in record for record in found)


def test_answers_that_were_cut_are_counted(tiny_path: Path, tmp_path: Path) -> None:
    lines, answers = write_questions(tmp_path / "in", 2), tmp_path / "out"
    outcome = run("batch", lines, "-o", answers, "-m", tiny_path, *SHORT)
    assert "2 of 2 answers were cut; --predict, max_tokens in a line, or --ctx-size" in outcome.err
    assert outcome.code == 0
    outcome = run("batch", lines, "-m", tiny_path, *SHORT, "--json")
    assert json.loads(outcome.err)["n_cut"] == 2


def test_records_that_failed_before_are_told_apart_from_those_of_this_run(
    tiny_path: Path, tmp_path: Path
) -> None:
    command, _ = half_failed(tiny_path, tmp_path)
    again = run(*command)
    assert again.code == 4
    assert "1 record has an error from before; --retry asks this line again" in again.err
    terminal = OnTerminal(*command)
    try:
        assert terminal.finish() == 4
        assert "0 answered, 0 failed, 2 done before" in terminal.lines
    finally:
        terminal.close()
    assert json.loads(run(*command, "--json").out)["n_failed"] == 1


def test_an_output_that_is_called_a_table_and_is_none_is_said(
    tiny_path: Path, tmp_path: Path
) -> None:
    lines, answers = write_questions(tmp_path / "in", 1), tmp_path / "out.csv"
    outcome = run("batch", lines, "-o", answers, "-m", tiny_path, *SHORT)
    assert f"warning: {answers} gets a JSON object a line, and is no table" in outcome.err
