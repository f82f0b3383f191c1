"""A file that kills llama.cpp is an error, and one that ran is tried no more."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from amulet_local import load
from amulet_local.common.errors import ModelFileError, ModelNotFoundError
from amulet_local.llama import trial
from amulet_local.loading import tried_files
from amulet_local.loading.approved_files import approve
from amulet_local.loading.tried_files import hold_trial, note_as_run
from amulet_local.params.model_use import ModelUse
from tests.adapter_making import random_pairs, write_lora
from tests.small_gguf import small_llama, write_small


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_small(tmp_path / "sound.gguf", *small_llama())


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were tried, as they are."""
    held: list[Path] = []
    try_out = trial.try_out

    def noted(path: Path, use: ModelUse) -> str | None:
        held.append(path)
        return try_out(path, use)

    monkeypatch.setattr(trial, "try_out", noted)
    return held


@pytest.mark.lengthy
def test_a_file_that_kills_llama_cpp_is_an_error_that_says_why(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "late_death"))
    monkeypatch.setenv("DIE_AT_DECODE", "1")
    with pytest.raises(ModelFileError) as caught:
        hold_trial(sound, "auto")
    message = str(caught.value)
    assert message.startswith("sound.gguf can't be used: llama.cpp ends the process over it")
    assert "SIGABRT: late.cpp:7: GGML_ASSERT(n < 40) failed" in message  # and no folder
    assert message.isprintable()


@pytest.mark.lengthy
def test_a_file_is_tried_until_it_ran_and_again_when_it_changes(
    sound: Path, trials: list[Path]
) -> None:
    hold_trial(sound, "auto")
    hold_trial(sound, "auto")
    hold_trial(sound, "never")
    assert trials == [sound]
    os.utime(sound, (1, 1))
    hold_trial(sound, "auto")
    assert trials == [sound, sound]


@pytest.mark.lengthy
def test_a_split_model_is_tried_again_when_a_part_of_it_changes(
    sound: Path, tmp_path: Path, trials: list[Path]
) -> None:
    part = tmp_path / "part.gguf"
    part.write_bytes(b"")
    note_as_run([sound, part])
    hold_trial(sound, "auto")
    assert trials == []
    os.utime(part, (1, 1))
    hold_trial(sound, "auto")
    assert trials == [sound]
    note_as_run([sound, part])
    part.unlink()
    hold_trial(sound, "auto")
    assert trials == [sound, sound]


def test_of_a_file_that_ran_the_header_is_not_read_for_that(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(tried_files, "read_header", read.append)
    note_as_run([sound])
    hold_trial(sound, "auto")
    assert read == []


def test_what_is_approved_and_what_nothing_loads_are_not_tried(
    model_path: Path, tmp_path: Path, trials: list[Path]
) -> None:
    keys, shapes = small_llama()
    no_text = write_small(tmp_path / "a.gguf", {**keys, "general.type": "adapter"}, shapes)
    hold_trial(model_path, "auto")
    mine = write_small(tmp_path / "mine.gguf", keys, shapes)
    approve(mine)
    hold_trial(mine, "auto")
    hold_trial(no_text, "always")
    with pytest.raises(ModelNotFoundError):
        hold_trial(tmp_path / "none.gguf", "auto")
    assert trials == []


@pytest.mark.lengthy
def test_adapters_are_tried_with_the_model(
    sound: Path, tmp_path: Path, trials: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    note_as_run([sound])
    pairs = random_pairs({"blk.0.attn_q.weight": (64, 64)}, rank=2, size=0.05, seed=4)
    use = ModelUse(lora=(str(write_lora(tmp_path / "lora.gguf", pairs)),))
    hold_trial(sound, "auto", use)
    hold_trial(sound, "auto", use)
    assert trials == [sound]
    assert trial.try_out(sound, use) is None
    no_lora = ModelUse(lora=(str(sound),))
    assert "it is no LoRA adapter" in (trial.try_out(sound, no_lora) or "")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "late_death"))
    monkeypatch.setenv("DIE_AT_DECODE", "1")
    os.utime(use.lora[0], (1, 1))
    with pytest.raises(ModelFileError, match=r"sound\.gguf can't be used"):
        hold_trial(sound, "auto", use)


@pytest.mark.lengthy
def test_what_llama_cpp_refuses_is_no_death(tmp_path: Path) -> None:
    keys, shapes = small_llama()
    del shapes["output_norm.weight"]
    path = write_small(tmp_path / "lacks.gguf", keys, shapes)
    hold_trial(path, "always")
    reason = "tensor 'output_norm.weight' not found"
    with pytest.raises(ModelFileError, match=reason):
        load(path, isolate="never")
    assert reason in (trial.try_out(path) or "")


@pytest.mark.parametrize("key", ["general.architecture", "tokenizer.ggml.model"])
def test_what_llama_cpp_repeats_of_a_file_is_cut(tmp_path: Path, key: str) -> None:
    keys, shapes = small_llama()
    path = write_small(tmp_path / "long.gguf", keys | {key: "x" * 100_000}, shapes)
    with pytest.raises(ModelFileError, match="unknown") as caught:
        load(path, isolate="never")
    assert len(str(caught.value)) < 500


def test_a_file_that_keeps_llama_cpp_busy_is_given_up(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "BASE_SECONDS", 0)
    monkeypatch.setattr(trial, "BYTES_PER_SECOND", 2**40)
    with pytest.raises(ModelFileError, match="still busy"):
        hold_trial(sound, "auto")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_endings_are_named_on_one_bounded_line() -> None:
    said = "llama: error: \x1b[2J" + "x" * 999
    ending = trial.ending(-signal.SIGKILL, trial.reason_in(said))
    assert ending.startswith("SIGKILL: llama: error: ?[2Jxxx")
    assert len(ending) < 250
    assert trial.ending(-signal.SIGSEGV, "") == "SIGSEGV"
    assert trial.ending(0xC0000005, "") == "status 3221225477"
