"""What every conversation begins with is computed once on a machine, and nothing else is kept."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, Generation, SamplingParams, load
from amulet_local.loading import kept_opening, saved_rows

SAMPLING = SamplingParams(max_tokens=12, ignore_eos=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openings"


def answer(
    model: Path,
    question: str = "Why?",
    *,
    preference: str | None = "concise",
    system: str | None = None,
    **options: object,
) -> Generation:
    """By an engine that is loaded for it; what it keeps is written when this returns."""
    options = {"schedule": "serial"} | options
    with load(model, n_ctx=512, isolate="never", **options) as engine:
        return ask(engine, question, preference=preference, system=system)


def ask(engine: Engine, question: str, **more: str | None) -> Generation:
    answered = engine.generate(question, sampling=SAMPLING, **more)  # type: ignore[arg-type]
    join_writers()
    return answered


def join_writers() -> None:
    for thread in threading.enumerate():
        if thread.name == kept_opening.THREAD:
            thread.join()


@pytest.mark.parametrize("schedule", ["parallel", "serial", "batched"])
@pytest.mark.parametrize("preference", ["concise", None])
def test_a_later_process_goes_on_from_it_with_equal_answers(
    tiny_f32_path: Path, schedule: str, preference: str | None
) -> None:
    first = answer(tiny_f32_path, preference=preference, schedule=schedule)
    later = answer(tiny_f32_path, preference=preference, schedule=schedule)
    other = answer(tiny_f32_path, "And how?", preference=preference, schedule=schedule)
    assert first.usage.cached_tokens == 0
    n_kept = later.usage.cached_tokens
    assert n_kept >= kept_opening.FEWEST_TOKENS
    assert later.usage.computed_tokens == first.usage.computed_tokens - n_kept
    assert later.token_ids == first.token_ids
    assert other.usage.cached_tokens == n_kept


def test_a_plain_answer_and_a_preference_share_it(tiny_f32_path: Path, folder: Path) -> None:
    answer(tiny_f32_path, preference=None)
    assert answer(tiny_f32_path, preference="in Spanish").usage.cached_tokens > 0
    assert len(list(folder.iterdir())) == 1


def test_answers_in_turn_by_schedules_with_other_contexts_each_find_theirs(
    tiny_f32_path: Path, folder: Path
) -> None:
    """A context for several rows refuses the state of one for a single row, and the other way."""
    ways = ("serial", "batched")
    cached = [answer(tiny_f32_path, schedule=way).usage.cached_tokens for way in ways * 2]
    assert cached[:2] == [0, 0]
    assert min(cached[2:]) >= kept_opening.FEWEST_TOKENS
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("repack", [True, False])
def test_weights_in_another_order_have_an_opening_of_their_own(
    tiny_f32_path: Path, repack: bool
) -> None:
    answer(tiny_f32_path, repack=not repack)
    assert answer(tiny_f32_path, repack=repack).usage.cached_tokens == 0
    assert answer(tiny_f32_path, repack=repack).usage.cached_tokens > 0


def test_what_a_user_wrote_is_not_kept(tiny_f32_path: Path, folder: Path) -> None:
    question = "Where is my zebra?"
    with load(tiny_f32_path, n_ctx=512, isolate="never") as engine:
        ask(engine, question, preference="in green ink")
        prompts = engine.prompts(question, preference="in green ink")
        piece = engine.model.vocabulary.piece
        said, wished = (b"".join(map(piece, prompt)) for prompt in prompts)
        (path,) = folder.iterdir()
        (row,) = json.loads(path.read_bytes().split(b"\n", 2)[1])["rows"]
        kept = b"".join(map(piece, row["tokens"]))
    assert b"zebra" in said
    assert b"green" in wished
    assert kept == said[: len(kept)]
    assert b"zebra" not in kept
    assert b"green" not in kept
    assert answer(tiny_f32_path, question, system="You are a zoo.").usage.cached_tokens == 0
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "changed", "open to others", "a folder", "a pipe"])
def test_a_file_that_isnt_sound_is_computed_anew(
    tiny_f32_path: Path, folder: Path, damage: str
) -> None:
    first = answer(tiny_f32_path)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "open to others":
        path.chmod(0o666)
    else:
        path.unlink()
        path.mkdir() if damage == "a folder" else os.mkfifo(path, 0o600)
    again = answer(tiny_f32_path)
    assert again.usage.cached_tokens == 0
    assert again.token_ids == first.token_ids
    if damage != "a folder":
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_state_that_llama_cpp_refuses_is_computed_anew(
    tiny_f32_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(tiny_f32_path)
    monkeypatch.setattr(kept_opening.KeptOpening, "load", lambda self, n: b"\0" * 64)
    assert answer(tiny_f32_path).token_ids == first.token_ids


def test_another_context_and_reproducible_runs_dont_use_it(
    tiny_f32_path: Path, folder: Path
) -> None:
    assert answer(tiny_f32_path, reproducible=True).usage.cached_tokens == 0
    assert not folder.exists()
    answer(tiny_f32_path)
    assert answer(tiny_f32_path, reproducible=True).usage.cached_tokens == 0
    assert answer(tiny_f32_path, cache_type_k="f32").usage.cached_tokens == 0
    assert len(list(folder.iterdir())) == 2


def test_the_oldest_go_where_there_are_too_many(
    tiny_f32_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tiny_f32_path)
    (oldest,) = folder.iterdir()
    monkeypatch.setattr(kept_opening, "MOST_BYTES", oldest.stat().st_size * 2 + 1000)
    os.utime(oldest, (1, 1))
    answer(tiny_f32_path, cache_type_k="bf16")
    assert oldest.exists()
    answer(tiny_f32_path)  # a use makes it young
    answer(tiny_f32_path, cache_type_v="bf16", flash_attention="on")
    assert oldest.exists()
    assert len(list(folder.iterdir())) == 2


def test_no_folder_is_no_obstacle(tiny_f32_path: Path, folder: Path) -> None:
    folder.parent.write_text("a file where the cache folder should be")
    assert answer(tiny_f32_path).token_ids == answer(tiny_f32_path).token_ids


def test_a_disk_that_can_only_be_read_is_no_obstacle(
    tiny_f32_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answer(tiny_f32_path)

    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(kept_opening.os, "utime", refused)
    later = answer(tiny_f32_path)
    assert later.usage.cached_tokens > 0
    assert later.token_ids == first.token_ids


def test_the_model_may_be_closed_before_it_is_written(
    tiny_f32_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()
    save = saved_rows.save

    def late(*args: Any) -> None:
        closed.wait(60)
        save(*args)

    monkeypatch.setattr(saved_rows, "save", late)
    with load(tiny_f32_path, n_ctx=512, isolate="never") as engine:
        engine.generate("Why?", sampling=SAMPLING)
    closed.set()
    join_writers()
    assert len(list(folder.iterdir())) == 1
