"""Adapters on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.adapter_making import random_pairs, write_lora, write_vector
from tests.cli.conftest import CallCli
from tests.cli.running import run
from tests.tiny_model import TINY

pytestmark = pytest.mark.usefixtures("model_path")

ASK = ("generate", "What is dew?", "-n", "6", "--json")


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shapes = {f"blk.{layer}.attn_output.weight": (576, 576) for layer in range(30)}
    pairs = random_pairs(shapes, rank=2, size=0.05, seed=4)
    return write_lora(tmp_path_factory.mktemp("lora") / "a.gguf", pairs)


def tokens(*arguments: str | Path, **env: str) -> list[int]:
    done = run(*ASK, *arguments, **env)
    assert done.code == 3, done.err
    answer: list[int] = json.loads(done.out)["token_ids"]
    return answer


def test_adapters_come_from_flags_and_variables_alike(lora: Path, tmp_path: Path) -> None:
    direction = np.random.default_rng(1).normal(0, 1, 576).astype(np.float32)
    vector = write_vector(tmp_path / "v.gguf", {20: direction})
    plain = tokens()
    ranged = ("--control-vector-layer-range", "20", "21")
    given = ("--lora-scaled", f"{lora}:4", "--control-vector", f"{vector}:30", *ranged)
    adapted = tokens(*given)
    assert adapted != plain
    variables = {"AMULET_LORA": f"{lora}:4", "AMULET_CONTROL_VECTOR": f"{vector}:30"}
    assert tokens(**variables, AMULET_CONTROL_VECTOR_LAYER_RANGE="20 21") == adapted
    assert tokens(*given, "--adapters-on", "preference") == plain  # no preference row


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--lora", "none.gguf"), "no LoRA adapter at 'none.gguf'"),
        (("--control-vector", "none.gguf:2"), "no control vector at 'none.gguf'"),
        (("--lora", "a.gguf:5000"), "--lora: the scale of 'a.gguf' must be -1000 to 1000"),
        (("--adapters-on", "plain"), "--adapters-on: must be 'all' or 'preference'"),
        (
            ("--lora", "a.gguf", "--adapters-on", "preference", "--schedule", "batched"),
            "schedule 'batched' computes all rows in one context",
        ),
    ],
)
def test_what_cant_be_used_is_one_line(arguments: tuple[str, ...], reason: str) -> None:
    assert reason in run(*ASK, *arguments).error_line


def test_a_range_of_layers_is_two_numbers() -> None:
    assert run(*ASK, "--control-vector-layer-range", "1", "b").code == 2


@pytest.mark.parametrize("command", ["tune", "learn"])
def test_commands_that_measure_take_them(call: CallCli, tmp_path: Path, command: str) -> None:
    liked = tmp_path / "liked.jsonl"
    liked.write_text('{"question": "Why?", "answer": "So."}\n')
    rest = ("Why?",) if command == "tune" else (liked, "-o", tmp_path / "me.toml")
    refused = call(command, *rest, "--lora", "none.gguf:0.5")
    assert "no LoRA adapter at 'none.gguf'" in refused.error_line


@pytest.mark.parametrize("part", ["decode", "start"])
def test_what_bench_starts_has_them(call: CallCli, tiny_path: Path, part: str) -> None:
    refused = call("bench", part, "--quick", "-m", tiny_path, "--lora", "none.gguf:0.5")
    assert refused.code == 1
    assert "no LoRA adapter at 'none.gguf'" in refused.err


def test_a_run_of_eval_is_another_with_another_adapter(
    call: CallCli, tiny_path: Path, tmp_path: Path
) -> None:
    draw = np.random.default_rng(1)
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "Why?"}\n')
    rest = (questions, "--methods", "pref", "-n", "2", "-m", tiny_path)
    for file in ("a.gguf", "b.gguf"):
        vector = {1: draw.normal(0, 1, TINY.width).astype(np.float32)}
        given = ("--control-vector", write_vector(tmp_path / file, vector))
        done = call("eval", *rest, "-o", tmp_path / "runs", *given)
        assert done.code == 0, done.err
    settings = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/settings.json")]
    files = {one["runtime"]["control_vectors"][0]["file"] for one in settings}
    assert files == {"a.gguf", "b.gguf"}
