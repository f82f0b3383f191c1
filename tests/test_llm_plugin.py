"""The plugin for `llm`, through that program's own runner, on the embedded model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm
import pytest
from click.testing import CliRunner
from llm import plugins
from llm.cli import cli

from amulet_local import Engine, SamplingParams, llm_plugin
from amulet_local.loading.model_store import catalogue
from tests.conftest import REPOSITORY

QUESTION = "What is yeast?"
MODEL = "amulet-tiny"
SHORT = ("-o", "max_tokens", "8", "-o", "n_ctx", "256", "-o", "n_threads", "1")


@pytest.fixture(autouse=True, scope="module")
def _plugin(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The plugin as `llm` loads it; a user folder of its own, and one with the tiny model."""
    models = tmp_path_factory.mktemp("models")
    (models / "tiny.gguf").symlink_to(tiny_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMULET_MODELS", str(models))
        patch.setenv("LLM_USER_PATH", str(tmp_path_factory.mktemp("llm")))
        patch.setenv("LLM_LOAD_PLUGINS", "")
        plugins.load_plugins()
        if not plugins.pm.is_registered(llm_plugin):
            plugins.pm.register(llm_plugin)
        yield
        plugins.pm.unregister(llm_plugin)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, [*arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def ask(*arguments: str, code: int = 0) -> str:
    return run("prompt", "-m", MODEL, QUESTION, *SHORT, *arguments, code=code)


def test_the_entry_point_names_the_plugin() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.entry-points.llm]\n")[1].split("\n\n")[0]
    assert section == f'amulet_local = "{llm_plugin.__name__}"'


def test_the_program_llm_finds_it_by_its_entry_point(tmp_path: Path) -> None:
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    environment.pop("LLM_LOAD_PLUGINS", None)
    command = [sys.executable, "-m", "llm", "-m", MODEL, *SHORT]
    done = subprocess.run(
        [*command, "-o", "preference", "creative", QUESTION],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 3


def test_every_packaged_model_of_the_catalogue_is_there() -> None:
    names = {model.model_id for model in llm.get_models()}
    entries = catalogue().values()
    assert {f"amulet-{entry.name}" for entry in entries if entry.package} <= names
    assert not {f"amulet-{entry.name}" for entry in entries if entry.path() is None} & names


def test_an_answer_streams() -> None:
    model: Any = llm.get_model(MODEL)
    pieces = list(model.prompt(QUESTION, stream=True, max_tokens=6, n_ctx=256, n_threads=1))
    assert len(pieces) > 3


def test_models_and_typed_options_are_listed(
    tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Mine.gguf").symlink_to(model_path)
    monkeypatch.setenv("AMULET_MODELS", str(tmp_path))
    listed = run("models", "list", "--options", "-q", "amulet-")
    assert "amulet-smollm2" in listed
    assert "amulet-Mine" in listed
    for line in ("preference: str, array", "guidance_scale: float", "max_tokens: int"):
        assert line in listed


def test_it_answers_as_the_engine_does(tiny_engine: Engine) -> None:
    expected = tiny_engine.generate(
        QUESTION, preference="formal", sampling=SamplingParams(max_tokens=8)
    )
    assert ask("-o", "preference", "formal") == expected.text + "\n"
    assert ask("-o", "preference", "formal", "--no-stream") == expected.text + "\n"
    plain = tiny_engine.generate(QUESTION, sampling=SamplingParams(max_tokens=8))
    assert ask() == plain.text + "\n"
    strong = ("-o", "preference", "formal", "-o", "guidance_scale", "0", "-o", "preset", "paper")
    assert ask(*strong) == plain.text + "\n"


def test_a_mix_is_a_json_list(tiny_engine: Engine) -> None:
    mix = ["formal:0.7", "in rhyme:0.5"]
    expected = tiny_engine.generate(
        QUESTION, preference=mix, avoid="concise", sampling=SamplingParams(max_tokens=8)
    )
    said = ask("-o", "preference", json.dumps(mix), "-o", "avoid", "concise")
    assert said == expected.text + "\n"


def test_a_conversation_goes_on(tiny_engine: Engine) -> None:
    first = ask("-s", "Be kind.")
    second = run("prompt", "-c", "And what eats it?", *SHORT).strip()
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first.removesuffix("\n")},
        {"role": "user", "content": "And what eats it?"},
    ]
    expected = tiny_engine.generate(messages, sampling=SamplingParams(max_tokens=8))
    assert second == expected.text.strip()


def test_a_schema_gives_json() -> None:
    schema = '{"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}'
    said = ask("--schema", schema, "-o", "max_tokens", "40")
    assert json.loads(said)["ok"] in (True, False)


def test_the_log_has_usage_and_what_was_done() -> None:
    ask("-o", "preference", "concise")
    (entry,) = json.loads(run("logs", "-n", "1", "--json"))
    assert entry["model"] == MODEL
    assert entry["output_tokens"] == 8
    assert entry["input_tokens"] > 20
    assert entry["response_json"]["preset"] == "balanced"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "preference", "creativ"), "creativ"),
        (("-o", "preset", "loud"), "loud"),
        (("-o", "guidance_scale", "much"), "guidance_scale"),
        (("-o", "volume", "3"), "volume"),
        (("-o", "temperature", "-1"), "temperature"),
    ],
)
def test_wrong_options_are_said(arguments: tuple[str, ...], said: str) -> None:
    output = ask(*arguments, code=1)
    assert said in output
    assert "Traceback" not in output


def test_an_answer_that_is_cut_is_said_to_be(capfd: pytest.CaptureFixture[str]) -> None:
    said = CliRunner().invoke(cli, ["prompt", "-m", MODEL, QUESTION, *SHORT]).stderr
    assert said == "\n(cut off after 8 tokens; -o max_tokens or n_ctx allows more)\n"
    whole = ("-o", "stop", '[" "]')
    assert "cut off" not in CliRunner().invoke(cli, ["-m", MODEL, QUESTION, *SHORT, *whole]).stderr
    model: Any = llm.get_model(MODEL)
    assert model.prompt(QUESTION, max_tokens=8, n_ctx=256, n_threads=1).text()
    assert capfd.readouterr().err == ""


def test_from_python_the_model_stays_loaded() -> None:
    model: Any = llm.get_model(MODEL)
    options = {"max_tokens": 4, "n_ctx": 256, "n_threads": 1}
    first = model.prompt(QUESTION, preference=["formal", "concise"], **options)
    assert first.text()
    engine = model._engine
    assert model.prompt(QUESTION, **options).text()
    assert model._engine is engine
    assert first.usage().output == 4
    assert model.prompt(QUESTION, **{**options, "n_ctx": 512}).text()
    assert model._engine.n_ctx == 512
    with pytest.raises(llm.ModelError, match="context"):
        model.prompt("word " * 2000, **options).text()
