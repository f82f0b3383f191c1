"""Only the catalogue and the user's word approve a file, and only as it was then."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from amulet_local.common import measurement_cache
from amulet_local.common.file_identity import file_identity
from amulet_local.common.user_folders import cache_folder
from amulet_local.loading.approved_files import approve, is_approved, needs_isolation, revoke
from amulet_local.params.model_use import EMBEDDING, ModelUse
from tests.small_gguf import small_llama, write_small


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return write_small(tmp_path / "sound.gguf", *small_llama())


def test_a_file_is_approved_by_the_user_s_word_until_it_changes(sound: Path) -> None:
    assert needs_isolation(sound, "auto")
    approve(sound)
    assert not needs_isolation(sound, "auto")
    assert not needs_isolation(sound, "auto", EMBEDDING)
    assert needs_isolation(sound, "always")
    revoke(sound)
    assert needs_isolation(sound, "auto")
    assert not needs_isolation(sound, "never")
    approve(sound)
    os.utime(sound, (1, 1))
    assert needs_isolation(sound, "auto")


def test_a_file_of_the_catalogue_is_approved_and_its_copy_is_not(
    model_path: Path, tmp_path: Path
) -> None:
    assert not needs_isolation(model_path, "auto")
    copy = tmp_path / model_path.name
    copy.hardlink_to(model_path)
    assert needs_isolation(copy, "auto")
    revoke(model_path)
    assert not needs_isolation(model_path, "auto")


def test_an_adapter_counts_like_a_file_of_its_own(sound: Path, tmp_path: Path) -> None:
    lora, vector = (str(tmp_path / name) for name in ("lora.gguf", "vector.gguf"))
    for path in (lora, vector):
        Path(path).write_bytes(b"what is in it isn't looked at for that")
    both = ModelUse(lora=(lora,), control_vectors=(vector,))
    approve(sound)
    assert needs_isolation(sound, "auto", both)
    approve(Path(lora))
    assert needs_isolation(sound, "auto", both)
    approve(Path(vector))
    assert not needs_isolation(sound, "auto", both)
    revoke(sound)
    assert needs_isolation(sound, "auto", both)
    nothing = ModelUse(lora=(str(tmp_path / "none.gguf"),))
    approve(sound)
    assert not needs_isolation(sound, "auto", nothing)  # an error says that it isn't there


def test_a_split_model_is_approved_with_all_of_its_parts(sound: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.gguf"
    part.write_bytes(b"")
    approve(sound, [part])
    assert is_approved(sound)
    os.utime(part, (1, 1))
    assert not is_approved(sound)
    part.unlink()
    assert not is_approved(sound)


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_what_another_user_could_have_said_counts_for_nothing(sound: Path) -> None:
    approve(sound)
    cache_folder().chmod(stat.S_IRWXU | stat.S_IRWXG)
    assert not is_approved(sound)
    cache_folder().chmod(stat.S_IRWXU)
    assert is_approved(sound)


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_word_is_taken_back_on_a_full_disk_too(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_small(tmp_path / "other.gguf", *small_llama())
    approve(sound)
    approve(other)
    monkeypatch.setattr("tempfile.mkstemp", full)
    revoke(sound)
    assert not is_approved(sound)
    assert not is_approved(other)
    monkeypatch.undo()


def test_a_word_that_cant_be_taken_back_is_an_error(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(sound)
    monkeypatch.setattr("tempfile.mkstemp", full)
    monkeypatch.setattr(os, "unlink", full)
    with pytest.raises(OSError, match="No space left"):
        revoke(sound)
    assert is_approved(sound)


@pytest.mark.parametrize(
    "entry",
    ["yes", True, 1, ["sound.gguf"], {"a\0b": "x"}, {"\ud800": "x"}, {"x" * 5000: "x"}, {"": ""}],
)
def test_an_entry_that_this_program_didnt_write_approves_nothing(
    sound: Path, entry: object
) -> None:
    approve(sound)
    assert is_approved(sound)
    measurement_cache.keep("approved_files.json", file_identity(sound), entry)
    assert not is_approved(sound)
