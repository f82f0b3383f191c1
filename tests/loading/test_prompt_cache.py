"""Prompts kept on disk: what fits is used, and nothing that somebody could have changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from amulet_local import Engine, SamplingParams, errors, load
from amulet_local.loading import prompt_cache
from amulet_local.loading.saved_rows import SavedRow

PLAIN, PREFERENCE = [50 + i % 70 for i in range(120)], [50 + i % 70 for i in range(110)] + [9, 9]
SHORT = SamplingParams(max_tokens=3)
ROWS = [SavedRow(tokens=(1, 2, 3), state=b"abc"), SavedRow(tokens=(4,), state=b"\n\x00def")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prompts"


def state(folder: Path, name: str = "mine") -> Path:
    return folder / f"{name}.state"


def test_rows_come_back_as_they_were_saved(folder: Path) -> None:
    prompt_cache.save("mine", "model", ROWS)
    assert prompt_cache.load("mine", "model") == ROWS
    assert state(folder).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["mine.state"]


def test_a_name_that_was_never_saved_is_no_error() -> None:
    assert prompt_cache.load("nothing", "model") is None


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "x" * 65, "a\0b", 3])
def test_a_name_can_not_leave_the_folder(name: str) -> None:
    with pytest.raises(errors.InvalidParameterError):
        prompt_cache.save(name, "model", ROWS)
    with pytest.raises(errors.InvalidParameterError):
        prompt_cache.load(name, "model")


def test_another_model_or_build_refuses_it() -> None:
    prompt_cache.save("mine", "model", ROWS)
    with pytest.raises(errors.FileAccessError, match="another model"):
        prompt_cache.load("mine", "other")


def test_any_changed_byte_is_noticed(folder: Path) -> None:
    prompt_cache.save("mine", "model", ROWS)
    content = state(folder).read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        state(folder).write_bytes(bytes(changed))
        with pytest.raises(errors.FileAccessError):
            prompt_cache.load("mine", "model")
    for length in range(len(content)):
        state(folder).write_bytes(content[:length])
        with pytest.raises(errors.FileAccessError):
            prompt_cache.load("mine", "model")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o602, 0o666])
def test_a_file_that_others_can_touch_is_not_used(folder: Path, mode: int) -> None:
    prompt_cache.save("mine", "model", ROWS)
    state(folder).chmod(mode)
    with pytest.raises(errors.FileAccessError, match="yours alone"):
        prompt_cache.load("mine", "model")


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and file modes are POSIX")
def test_a_link_or_a_shared_folder_is_not_used(folder: Path, tmp_path: Path) -> None:
    prompt_cache.save("mine", "model", ROWS)
    state(folder).rename(tmp_path / "elsewhere")
    state(folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.FileAccessError):
        prompt_cache.load("mine", "model")
    state(folder).unlink()
    os.mkfifo(state(folder), 0o600)
    with pytest.raises(errors.FileAccessError, match="yours alone"):
        prompt_cache.load("mine", "model")
    folder.chmod(0o777)
    with pytest.raises(errors.FileAccessError, match="nobody else"):
        prompt_cache.save("mine", "model", ROWS)


@pytest.mark.parametrize("schedule", ["parallel", "serial", "batched"])
def test_a_new_process_computes_only_the_last_token_of_each_prompt(
    tiny_f32_path: Path, schedule: str
) -> None:
    def open_engine() -> Engine:
        return load(tiny_f32_path, n_ctx=256, schedule=schedule, isolate="never")

    with open_engine() as engine:
        first = engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=SHORT)
        engine.save_prompt_cache("mine")
    with open_engine() as engine:
        assert engine.load_prompt_cache("mine")
        second = engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=SHORT)
    assert second.token_ids == first.token_ids
    assert second.usage.computed_tokens == 2 + 2 * (len(second.token_ids) - 1)


def test_engine_stays_as_it_was_when_the_cache_cant_be_used(
    tiny_path: Path, folder: Path, requantized: Callable[[Path, int], Path]
) -> None:
    with load(tiny_path, n_ctx=256, isolate="never") as engine:
        assert not engine.load_prompt_cache("mine")
        before = engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=SHORT).token_ids
        engine.save_prompt_cache("mine")
        damaged = state(folder).read_bytes()[:-1]
        state(folder).write_bytes(damaged)
        with pytest.raises(errors.FileAccessError, match="damaged"):
            engine.load_prompt_cache("mine")
        again = engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=SHORT)
        assert again.usage.computed_tokens < 20
        assert len(again.token_ids) == len(before)
        engine.save_prompt_cache("mine")
    with (
        load(requantized(tiny_path, 7), n_ctx=256, isolate="never") as other,
        pytest.raises(errors.FileAccessError, match="another model"),
    ):
        other.load_prompt_cache("mine")


def test_a_state_that_llama_cpp_refuses_leaves_empty_rows(tiny_path: Path, folder: Path) -> None:
    with load(tiny_path, n_ctx=256, isolate="never") as engine:
        fingerprint = prompt_cache.fingerprint_of(engine._shared.parts)
        prompt_cache.save("mine", fingerprint, [SavedRow(tokens=(1, 2), state=b"\0" * 64)])
        assert not engine.load_prompt_cache("mine")
        assert engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=SHORT).token_ids


def test_a_cache_longer_than_the_context_is_not_used(tiny_path: Path) -> None:
    with load(tiny_path, n_ctx=256, isolate="never") as engine:
        engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=SHORT)
        engine.save_prompt_cache("mine")
    with load(tiny_path, n_ctx=64, isolate="never") as engine:
        assert not engine.load_prompt_cache("mine")


def test_reproducible_and_a_prompt_cache_exclude_each_other(tiny_engine: Engine) -> None:
    with pytest.raises(errors.InvalidParameterError, match="reproducible"):
        tiny_engine.save_prompt_cache("mine")
    with pytest.raises(errors.InvalidParameterError, match="reproducible"):
        tiny_engine.load_prompt_cache("mine")


def test_the_digest_is_over_header_and_states(folder: Path) -> None:
    prompt_cache.save("mine", "model", ROWS)
    digest, header, payload = state(folder).read_bytes().split(b"\n", 2)
    assert hashlib.sha256(header + payload).hexdigest().encode() == digest
    assert json.loads(header)["fingerprint"] == "model"
