"""Jobs: which lines get records, what is in these, and what is left after an end in the middle."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams, errors, load
from amulet_local.answering import answer
from amulet_local.batch import entries
from amulet_local.batch.written_records import drop_failed, put_in_order
from tests.batch.scripted_job import N_TOKENS, job_model, run_job
from tests.conftest import REPOSITORY
from tests.scripted import scripted_engine
from tests.serving.test_together import fails_at_yeast


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine() as engine:
        yield engine


def write_lines(path: Path, *lines: Any) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def questions(n: int) -> list[dict[str, Any]]:
    return [{"id": f"q{i}", "prompt": f"Name {i} rivers."} for i in range(n)]


# --- what a line may say -------------------------------------------------------------------------


def test_a_lines_answer_is_that_of_generate_with_the_same_settings(
    engine: Engine, tmp_path: Path
) -> None:
    source = write_lines(
        tmp_path / "in",
        {"id": 7, "question": "Why?", "max_tokens": 5},
        {"id": 8, "messages": [{"role": "user", "content": "Why?"}], "avoid": "formal"},
        {"id": 9, "prompt": "Why?", "preset": "strong", "temperature": 1.0, "seed": 3},
        {"id": 10, "prompt": "Why?", "guidance_scale": 3.0, "preference": ["formal"]},
    )
    run_job(job_model(engine, preferences=(), preset="paper"), source, tmp_path / "out")
    sampling = SamplingParams(max_tokens=N_TOKENS, ignore_eos=True)
    asked: list[dict[str, Any]] = [
        {"sampling": sampling.replace(max_tokens=5)},
        {"avoid": "formal", "preset": "paper", "sampling": sampling},
        {"preset": "strong", "sampling": sampling.replace(temperature=1.0, seed=3)},
        {
            "preference": "formal",
            "amulet": engine.request("Why?", preference="x y", preset="paper").amulet.replace(
                guidance_scale=3.0
            ),
            "sampling": sampling,
        },
    ]
    found = {record["id"]: record["text"] for record in records(tmp_path / "out")}
    assert found == {
        number: engine.generate("Why?", **ask).text for number, ask in enumerate(asked, 7)
    }


def test_a_line_of_openais_batch_file_gets_a_record_in_its_form(
    engine: Engine, tmp_path: Path
) -> None:
    def line(custom_id: str, url: str, **body: Any) -> dict[str, Any]:
        return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}

    messages = [{"role": "user", "content": "Why?"}]
    chat, text = "/v1/chat/completions", "/v1/completions"
    source = write_lines(
        tmp_path / "in",
        line("a", chat, model="gpt", messages=messages, n=2, max_tokens=3, stream=True),
        line("b", text, prompt="Why? ", max_tokens=2, logprobs=1),
        line("c", "/v1/embeddings", input="Why?"),
        line("d", chat, messages=messages, max_tokens=0.5),
        {"id": "e", "prompt": "Why?"},
    )
    run_job(job_model(engine), source, tmp_path / "out")
    found = {r.get("custom_id") or r["id"]: r for r in records(tmp_path / "out")}
    whole = found["a"]["response"]["body"]
    assert found["a"]["error"] is None
    assert found["a"]["response"]["status_code"] == 200
    assert whole["object"] == "chat.completion"
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    assert whole["usage"]["completion_tokens"] == 6
    choice = found["b"]["response"]["body"]["choices"][0]
    assert len(choice["logprobs"]["tokens"]) == 2
    assert found["c"]["response"] is None
    assert "/v1/completions" in found["c"]["error"]["message"]
    assert "line 4: max_tokens" in found["d"]["error"]["message"]
    assert "text" in found["e"]


@pytest.mark.parametrize("form", ["own", "openai"])
def test_a_lines_tool_calls_are_in_its_record(engine: Engine, tmp_path: Path, form: Any) -> None:
    function = {
        "name": "turn",
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
        },
    }
    body = {
        "messages": [{"role": "user", "content": "Light!"}],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
    }
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    source = write_lines(tmp_path / "in", line)
    model = job_model(engine, form=form, sampling=SamplingParams(max_tokens=200))
    run_job(model, source, tmp_path / "out")
    (record,) = records(tmp_path / "out")
    if form == "openai":
        (call,) = record["response"]["body"]["choices"][0]["message"]["tool_calls"]
        call = call["function"]
    else:
        (call,) = record["tool_calls"]
    assert call["name"] == "turn"
    assert isinstance(json.loads(call["arguments"])["on"], bool)


@pytest.mark.parametrize("form", ["own", "openai"])
def test_all_records_have_the_form_that_is_asked_for(
    engine: Engine, tmp_path: Path, form: Any
) -> None:
    body = {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 2}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    source = write_lines(tmp_path / "in", line, {"id": "b", "prompt": "Why?"}, "nonsense")
    run_job(job_model(engine, form), source, tmp_path / "out")
    for record in records(tmp_path / "out"):
        assert ("custom_id" in record) == (form == "openai")


def test_a_bad_line_gets_a_record_with_its_number_and_the_reason(
    engine: Engine, tmp_path: Path
) -> None:
    bad = ["nonsense", {"promt": "x"}, {"id": 5, "prompt": "Why?", "top_p": 3}, [1], {"id": 6}, "1"]
    bad += [{"prompt": "bread " * 3000}, {"prompt": "Why?", "method": "beam"}]
    source = write_lines(tmp_path / "in", *bad[:3], "", {"id": 1, "prompt": "Why?"}, *bad[3:])
    job = run_job(job_model(engine), source, tmp_path / "out")
    found = {record["line"]: record for record in records(tmp_path / "out")}
    assert sorted(found) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert found.pop(5)["text"]
    assert all(record["error"]["message"].startswith(f"line {n}: ") for n, record in found.items())
    assert "did you mean 'prompt'" in found[2]["error"]["message"]
    assert found[3]["id"] == 5
    assert (job.tally.n_answered, job.tally.n_failed, job.tally.n_lines) == (1, 8, 9)


def test_json_that_isnt_in_lines_is_told_how_it_becomes_so(engine: Engine, tmp_path: Path) -> None:
    for number, text in enumerate(('[{"prompt": "Hi"}]', '[{"prompt": "Hi"},', "{", "[")):
        source = tmp_path / f"{number}.json"
        source.write_text(f"{text}\n", encoding="utf-8")
        run_job(job_model(engine), source, tmp_path / f"{number}.out")
        (record,) = records(tmp_path / f"{number}.out")
        assert "`jq -c '.[]' FILE` makes a line of each object" in record["error"]["message"]


def test_a_line_of_text_that_isnt_utf_8_is_said_to_be(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"What is K\xe4se?\nW\0h\0y\0\n")
    run_job(job_model(engine), source, tmp_path / "out")
    latin, wide = (record["error"]["message"] for record in records(tmp_path / "out"))
    assert latin == "line 1: the line isn't UTF-8 text; save the file in UTF-8"
    assert wide == "line 2: the line has NULs: this is no text in UTF-8"


def test_a_strict_job_ends_at_a_bad_line_and_keeps_what_is_done(
    engine: Engine, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "in", *questions(200), "nonsense")
    with pytest.raises(errors.InvalidRequestError, match="line 201: no JSON"):
        run_job(job_model(engine), source, tmp_path / "out", is_strict=True)
    kept = records(tmp_path / "out")
    assert 0 < len(kept) < 200
    assert not any("error" in record for record in kept)
    assert engine.generate("Why?", sampling=SamplingParams(max_tokens=1)).token_ids


@pytest.mark.parametrize("name", ["id", "prompt", "preference", "stop", "json_schema"])
def test_whatever_is_nested_however_deep_is_an_error_of_its_line(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    lines = [
        f'{{"prompt": "Why?", "{name}": {opening * depth}1{closing * depth}}}'
        for depth in (60, 64, 200, 900, 960, 980, 990, 100_000)
        for opening, closing in (("[", "]"), ('{"a": ', "}"))
    ]
    source = write_lines(tmp_path / "in", *lines, {"id": "last", "prompt": "Why?"})
    run_job(job_model(engine), source, tmp_path / "out")
    found = {record["line"]: record for record in records(tmp_path / "out")}
    assert sorted(found) == list(range(1, len(lines) + 2))
    assert "text" in found[len(lines) + 1]
    for number in range(3, len(lines) + 1):
        assert "nested more than 64 deep" in found[number]["error"]["message"]
    assert all(("text" in found[number]) == (name == "id") for number in (1, 2))


def test_of_very_many_fields_that_mean_nothing_few_are_named(
    engine: Engine, tmp_path: Path
) -> None:
    many = {f"{'long' * 100}{n}": n for n in range(10_000)}
    source = write_lines(tmp_path / "in", {"prompt": "Why?", **many}, {"prompt": "Why?"})
    run_job(job_model(engine), source, tmp_path / "out")
    failed, answered = sorted(records(tmp_path / "out"), key=lambda record: record["line"])
    assert failed["error"]["message"].endswith("and so it is with 9,984 others")
    assert len(failed["error"]["message"]) < 2000
    assert answered["text"]


def test_lines_before_one_that_cant_be_read_have_their_records(
    engine: Engine, tmp_path: Path
) -> None:
    source = tmp_path / "in.gz"
    lines = b"".join(json.dumps(question).encode() + b"\n" for question in questions(40))
    source.write_bytes(gzip.compress(lines) + gzip.compress(os.urandom(9999))[:-20])
    for _ in range(2):
        with pytest.raises(errors.FileAccessError, match=r"can't read .* after line "):
            run_job(job_model(engine), source, tmp_path / "out")
        named = {record["id"] for record in records(tmp_path / "out")}
        assert named >= {f"q{i}" for i in range(40)}


def test_an_answer_that_fails_twice_has_an_error_and_the_others_none(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in", *questions(3), {"id": "y", "prompt": "What is yeast?"})
    with scripted_engine(fails_at_yeast) as failing:
        run_job(job_model(failing), source, tmp_path / "out")
    found = {record["id"]: record for record in records(tmp_path / "out")}
    assert sorted(found) == ["q0", "q1", "q2", "y"]
    assert found["y"]["error"]["code"] == "LogitsError"
    assert drop_failed(tmp_path / "out") == 1
    assert len(records(tmp_path / "out")) == 3


class Bug(Exception):
    """One that nothing raises on purpose."""


@pytest.mark.parametrize("where", ["read", "begun", "answered", "recorded"])
@pytest.mark.parametrize("scheduler", ["interleaved", "batched"])
def test_a_bug_that_one_line_meets_is_its_error_and_the_others_are_answered(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, scheduler: Any
) -> None:
    broken: dict[str, tuple[Any, str, Callable[[Any], bool]]] = {
        "read": (entries, "read_line", lambda line: line.get("seed") == 77),
        "begun": (answer, "_room", lambda request: request.seed == 77),
        "answered": (answer.Answer, "take", lambda answer: answer._request.seed == 77),
        "recorded": (entries, "_own_record", lambda done: len(done[0].token_ids) == 1),
    }
    target, name, is_bad = broken[where]
    real = getattr(target, name)

    def failing(*given: Any) -> Any:
        if is_bad(given[0]):
            raise Bug("SECRET")
        return real(*given)

    monkeypatch.setattr(target, name, failing)
    bad = {"id": "bad", "prompt": "SECRET", "seed": 77, "max_tokens": 1}
    source = write_lines(tmp_path / "in", *questions(3), bad, *questions(6)[3:])
    with load(tiny_path, n_ctx=512, n_threads=1) as engine:
        job = run_job(job_model(engine), source, tmp_path / "out", scheduler=scheduler)
    found = {record["id"]: record for record in records(tmp_path / "out")}
    assert sorted(found) == ["bad", *(f"q{i}" for i in range(6))]
    message = found.pop("bad")["error"]["message"]
    assert message == "line 4: unexpected Bug; please report it"
    assert all(record["text"] for record in found.values())
    assert (job.tally.n_answered, job.tally.n_failed) == (6, 1)


# --- order ---------------------------------------------------------------------------------------


def test_held_records_come_in_the_order_of_the_lines(engine: Engine, tmp_path: Path) -> None:
    lines = [{"id": i, "prompt": "Why?", "max_tokens": 1 + 7 * (i % 3 == 0)} for i in range(12)]
    source = write_lines(tmp_path / "in", *lines[:5], "nonsense", *lines[5:])
    run_job(job_model(engine), source, tmp_path / "held", is_held=True)
    run_job(job_model(engine), source, tmp_path / "free")
    numbers = [record["line"] for record in records(tmp_path / "held")]
    assert numbers == list(range(1, 14))
    assert [record["line"] for record in records(tmp_path / "free")] != numbers
    put_in_order(tmp_path / "free", {str(source): 0})
    assert (tmp_path / "free").read_bytes() == (tmp_path / "held").read_bytes()


# --- going on ------------------------------------------------------------------------------------


def test_a_line_with_a_record_isnt_asked_again_and_equal_lines_have_one_each(
    engine: Engine, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "in", *questions(3), *questions(2))
    run_job(job_model(engine), source, tmp_path / "out")
    before = records(tmp_path / "out")
    assert sorted(record["id"] for record in before) == ["q0", "q0", "q1", "q1", "q2"]
    write_lines(tmp_path / "in", {"id": "first", "prompt": "Why?"}, *questions(3), *questions(3))
    job = run_job(job_model(engine), source, tmp_path / "out")
    assert (job.tally.n_before, job.tally.n_answered) == (5, 2)
    assert records(tmp_path / "out")[:5] == before


def test_records_of_other_settings_arent_added_to(engine: Engine, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in", *questions(2))
    run_job(job_model(engine), source, tmp_path / "out")
    with pytest.raises(errors.FileAccessError, match="other settings"):
        run_job(job_model(engine, system="Be kind."), source, tmp_path / "out")
    write_lines(tmp_path / "other", {"some": "file"})
    with pytest.raises(errors.FileAccessError, match="aren't records"):
        run_job(job_model(engine), source, tmp_path / "other")


def test_a_full_disk_ends_the_job_and_it_goes_on_afterwards(engine: Engine, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    source = write_lines(tmp_path / "in", *questions(40))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(errors.FileAccessError, match=r"out can't be written: File too large"):
            run_job(job_model(engine), source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = records(tmp_path / "out")  # valid to its last line
    assert 0 < len(kept) < 40
    run_job(job_model(engine), source, tmp_path / "out")
    assert sorted(r["id"] for r in records(tmp_path / "out")) == sorted(f"q{i}" for i in range(40))


def texts(path: Path) -> dict[str, str]:
    found = records(path)
    assert len({record["id"] for record in found}) == len(found)
    return {record["id"]: record["text"] for record in found}


def kill_until_done(source: Path, output: Path, chance: random.Random, most_bytes: int) -> int:
    """Run the job and kill it when its output has grown by some bytes; how often that was."""
    n_kills = 0
    while True:
        size = output.stat().st_size if output.exists() else 0
        limit = size + chance.randrange(1, most_bytes)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.batch.scripted_job", str(source), str(output)],
            cwd=REPOSITORY,
        )
        try:
            while process.poll() is None:
                if output.exists() and output.stat().st_size >= limit:
                    process.kill()
                    break
            if process.wait() == 0:
                return n_kills
            n_kills += 1
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_lines_under_random_kills_are_those_of_an_undisturbed_job(
    engine: Engine, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "in", *questions(10_000))
    assert kill_until_done(source, tmp_path / "out", random.Random(1), 400_000) >= 5
    run_job(job_model(engine), source, tmp_path / "undisturbed")
    assert texts(tmp_path / "out") == texts(tmp_path / "undisturbed")
    assert len(texts(tmp_path / "out")) == 10_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_ten_thousand_lines(engine: Engine, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in", *questions(10_000))
    held: list[int] = []

    def note(record: dict[str, Any]) -> None:
        if record["line"] % 1000 == 0:
            held.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        run_job(job_model(engine), source, tmp_path / "out", before_write=note)
    finally:
        tracemalloc.stop()
    assert max(held[3:]) < 1.5 * max(held[:3])
