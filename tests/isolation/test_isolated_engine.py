"""An engine in a child process answers as one here does, and its death is an error."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams, load
from amulet_local.common.errors import (
    CancelledError,
    EngineClosedError,
    InvalidParameterError,
    ModelFileError,
    PromptTooLongError,
)
from amulet_local.isolation import load as isolation_load
from amulet_local.isolation.isolated_engine import IsolatedEngine
from amulet_local.loading.approved_files import approve, needs_isolation

pytestmark = pytest.mark.lengthy

LATE = Path(__file__).parents[1] / "late_death"
SHORT = SamplingParams(max_tokens=6, ignore_eos=True)
DRAWN = SamplingParams(max_tokens=6, temperature=0.9, seed=5, ignore_eos=True)
QUESTION = "How do I sleep better?"


@pytest.fixture(scope="module")
def strange(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that nobody has approved."""
    return Path(shutil.copy(tiny_path, tmp_path_factory.mktemp("strange") / "strange.gguf"))


@pytest.fixture(scope="module")
def isolated(strange: Path) -> Iterator[Engine]:
    with load(strange, n_ctx=512, reproducible=True, isolate="always") as engine:
        assert isinstance(engine, IsolatedEngine)
        assert repr(engine) == "<IsolatedEngine strange.gguf: n_ctx=512>"
        yield engine


@pytest.fixture
def dying(strange: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def open_engine(at_decode: int) -> Engine:
        monkeypatch.setenv("PYTHONPATH", str(LATE))
        monkeypatch.setenv("DIE_AT_DECODE", str(at_decode))
        return load(
            strange,
            n_ctx=512,
            reproducible=True,
            schedule="serial",
            n_threads=1,
            isolate="always",
        )

    return open_engine


def everything(engine: Engine) -> list[Any]:
    """What comes of an engine's methods."""
    found: list[Any] = []
    for sampling in (SHORT, DRAWN):
        answer = engine.generate(QUESTION, preference="concise", sampling=sampling, trace=2)
        found += [answer.token_ids, answer.text, answer.trace]
    pieces = [*engine.stream_generate(QUESTION, sampling=SHORT)]
    found.append([(piece.text, piece.token_ids) for piece in pieces])
    found.append([answer.text for answer in engine.generate_choices(QUESTION, 2, sampling=DRAWN)])
    found.append(asyncio.run(engine.agenerate(QUESTION, sampling=SHORT)).text)
    message = [{"role": "user", "content": QUESTION}]
    completion = engine.create_chat_completion(message, max_tokens=5, temperature=0)
    found.append(completion["choices"])
    chunks = engine.create_chat_completion(message, max_tokens=5, temperature=0, stream=True)
    found.append([chunk["choices"] for chunk in chunks])
    found.append(engine.generate_from_tokens([1, 5, 6], [1, 7], sampling=SHORT).token_ids)
    found.append(engine.score(QUESTION, "Go to bed.", preference="concise"))
    found.append(engine.log_ratios(QUESTION, "Go to bed.", bank=["concise", "formal"]))
    found.append(engine.prompts(QUESTION, preference="concise"))
    asked = [{"messages": QUESTION, "sampling": SHORT}, {"messages": "", "sampling": SHORT}]
    outcomes = engine.answer_all(asked, scheduler="interleaved")  # type: ignore[arg-type]
    found += [getattr(outcome, "text", type(outcome)) for outcome in outcomes]
    talk = engine.conversation(preference="concise", sampling=SHORT, on_full="drop_oldest")
    found += [talk.send("word " * 60).text for _ in range(6)]
    assert talk.n_dropped > 0
    found.append(talk.n_dropped)
    found += [engine.n_ctx, engine.runtime.n_ctx, engine.model.path, engine.adapters]
    found.append(engine.model.vocabulary.tokenize("sleep", add_special=False, parse_special=False))
    engine.check_chat()
    engine.forget()
    return found


def test_every_method_gives_what_an_engine_here_gives(isolated: Engine, strange: Path) -> None:
    with load(strange, n_ctx=512, reproducible=True, isolate="never") as engine:
        assert type(engine) is Engine
        expected = everything(engine)
    for found, wanted in zip(everything(isolated), expected, strict=True):
        assert found == wanted


def test_what_is_not_approved_is_isolated(
    strange: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation_load, "needs_isolation", needs_isolation)
    with load(strange, n_ctx=64) as engine:
        assert isinstance(engine, IsolatedEngine)
    with load(tiny_path, n_ctx=64) as engine:
        assert type(engine) is Engine
    approve(strange)
    with load(strange, n_ctx=64) as engine:
        assert type(engine) is Engine


def test_errors_are_the_engine_s_own(isolated: Engine) -> None:
    with pytest.raises(PromptTooLongError) as caught:
        isolated.generate("word " * 900)
    assert caught.value.n_ctx == 512
    assert caught.value.n_prompt_tokens > 900
    with pytest.raises(InvalidParameterError, match="no preset 'nope'"):
        isolated.generate(QUESTION, preset="nope")
    (outcome,) = isolated.answer_all([{"messages": "word " * 900}])
    assert isinstance(outcome, PromptTooLongError)
    assert outcome.n_ctx == 512


def test_a_stream_can_be_ended_changed_and_left(isolated: Engine) -> None:
    long = SamplingParams(max_tokens=300, ignore_eos=True)
    stream = isolated.stream_generate(QUESTION, sampling=long)
    next(stream)
    stream.change(preference="concise")
    stream.cancel()
    *_, last = stream
    assert last.finish_reason == "cancelled"
    for piece in isolated.stream_generate(QUESTION, sampling=long):
        assert piece.text is not None
        break
    seen: list[tuple[int, int]] = []
    answer = isolated.generate(QUESTION, sampling=SHORT, prompt_progress=lambda *n: seen.append(n))
    assert len(answer.token_ids) == 6
    assert seen[-1][0] == seen[-1][1]


IN_ANOTHER_SYSTEM = """
import sys
from amulet_local import SamplingParams, errors, load
if __name__ == "__main__":
    with load(sys.argv[1], n_ctx=128, isolate="always") as engine:
        print(type(engine).__name__, flush=True)
        try:
            engine.generate("Hi", sampling=SamplingParams(max_tokens=30, ignore_eos=True))
        except errors.ModelFileError as error:
            print(error)
    with load(sys.argv[1], n_ctx=128, isolate="always") as engine:
        engine.stream_generate("Hi")
        engine._child.kill()
"""


def test_death_is_an_error_without_this_system_s_own_signals(strange: Path) -> None:
    env = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{LATE}"}
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_SYSTEM, strange],
        env={**env, "SYSTEM_LIKE": "Windows", "DIE_AT_DECODE": "5"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    kind, said = done.stdout.splitlines()
    assert kind == "IsolatedEngine"
    assert said.startswith("strange.gguf can't be used: ")


def test_death_in_an_answer_is_an_error_and_the_process_goes_on(
    dying: Any, isolated: Engine
) -> None:
    with dying(20) as engine:
        long = SamplingParams(max_tokens=300, ignore_eos=True)
        stream = engine.stream_generate(QUESTION, sampling=long)
        assert next(stream).token_ids
        with pytest.raises(ModelFileError, match=r"strange.gguf .*SIGABRT: late\.cpp:7: GGML_ASS"):
            list(stream)
        with pytest.raises(EngineClosedError):
            engine.generate(QUESTION)
        with pytest.raises(EngineClosedError):
            engine.score(QUESTION, "Go to bed.")
    assert isolated.generate(QUESTION, sampling=SHORT).text


def test_death_in_any_other_call_is_the_same_error(dying: Any) -> None:
    with dying(1) as engine, pytest.raises(ModelFileError, match="GGML_ASSERT"):
        engine.score(QUESTION, "Go to bed.")
    with dying(1) as engine, pytest.raises(ModelFileError, match="GGML_ASSERT"):
        engine.conversation().send(QUESTION)


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped of a file is the system's way")
def test_a_file_that_is_cut_while_its_model_answers_is_an_error(
    strange: Path, tmp_path: Path
) -> None:
    """Pages behind a mapped file's end are SIGBUS for who reads them."""
    shrinking = Path(shutil.copy(strange, tmp_path / "shrinking.gguf"))
    with load(shrinking, n_ctx=512, n_threads=1, isolate="always") as engine:
        os.truncate(shrinking, 1)
        with pytest.raises(ModelFileError, match=r"shrinking.gguf can't be used: .*SIGBUS"):
            engine.generate(QUESTION, sampling=SHORT)


def test_closing_ends_the_answer_and_the_child(strange: Path) -> None:
    engine = load(strange, n_ctx=512, isolate="always")
    assert isinstance(engine, IsolatedEngine)
    stream = engine.stream_generate(QUESTION, sampling=SamplingParams(max_tokens=400))
    next(stream)
    engine.close()
    *_, last = stream
    assert last.finish_reason in ("cancelled", "stop", "length")
    with pytest.raises(ProcessLookupError):
        os.kill(engine._child.n, 0)
    with pytest.raises((EngineClosedError, CancelledError)):
        engine.generate(QUESTION)
    engine.close()
