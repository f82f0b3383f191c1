"""`models show`, `verify`, `quantize` and `remove`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from amulet_local.common.errors import FileAccessError
from amulet_local.llama import memory, trial
from amulet_local.llama.gguf import read_header
from amulet_local.loading import model_store
from amulet_local.loading.approved_files import is_approved
from tests.cli.conftest import CallCli
from tests.cli.running import REPOSITORY, run


@pytest.fixture
def copied(shallow_path: Path, tmp_path: Path) -> Path:
    """A model that nobody has approved."""
    return Path(shutil.copy(shallow_path, tmp_path / "copied.gguf"))


def test_a_model_is_shown_with_the_context_that_fits(
    call: CallCli, shallow_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = json.loads(call("models", "show", shallow_path, "--json").out)
    assert shown["has_template"]
    assert shown["metadata"]["general.architecture"] == "llama"
    per_token = shown["memory"]["cache_bytes_per_token"]
    assert per_token == 2 * 4 * 3 * 64 * 2  # K and V, layers, heads, values, bytes
    for left, fits in ((2 * per_token * 100, 100), (10**12, 8192), (-5, 0)):
        available = shallow_path.stat().st_size + left
        monkeypatch.setattr(memory, "available_bytes", lambda n=available: n)
        again = json.loads(call("models", "show", shallow_path, "--json").out)
        assert again["memory"]["n_ctx_fits"] == fits
    assert "0 tokens fit" in call("models", "show", shallow_path).out


def test_a_file_is_verified_by_the_digest_that_a_cache_calls_it(
    call: CallCli, tmp_path: Path, tiny_gguf: Callable[..., Path], model_path: Path
) -> None:
    sound = tiny_gguf("mine.gguf", "llama").read_bytes()
    digest = hashlib.sha256(sound).hexdigest()
    out = call("models", "verify", tmp_path / "mine.gguf").out
    assert f"sha256 {digest}" in out
    assert "header: llama, 4 keys and 1 tensors within the limits" in out
    assert "it doesn't run: llama.cpp can't load mine.gguf" in out
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / f"sha256-{digest}").write_bytes(sound)
    link = tmp_path / "linked.gguf"
    link.symlink_to(blobs / f"sha256-{digest}")
    assert "is whole" in call("models", "verify", link).out
    (blobs / f"sha256-{digest}").write_bytes(sound + b"\0")
    assert "it is damaged" in call("models", "verify", link).error_line
    out = call("models", "verify", "smollm2").out
    assert "is whole" in out
    assert "it loads and runs" in out


def test_a_file_is_approved_and_that_is_taken_back(
    call: CallCli,
    copied: Path,
    tiny_gguf: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "not approved" in call("models", "show", copied).out
    assert "is approved" in call("models", "approve", copied).out
    assert json.loads(call("models", "show", copied, "--json").out)["approved"]
    assert is_approved(copied)
    assert "from now on" in call("models", "approve", copied, "--revoke").out
    assert not is_approved(copied)
    assert "stays approved" in call("models", "approve", "smollm2", "--revoke").out
    adapter = tiny_gguf("adapter.gguf", type="adapter")
    assert "not tried" in call("models", "approve", adapter).out
    assert is_approved(adapter)
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'tests' / 'late_death'}")
    monkeypatch.setenv("DIE_AT_DECODE", "1")
    assert "llama.cpp ends the process" in call("models", "approve", copied).error_line
    assert not is_approved(copied)


def test_a_file_that_changes_while_it_is_tried_isnt_approved(
    call: CallCli, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_out = trial.try_out

    def meanwhile(path: Path, *use: object) -> str | None:
        os.utime(path, (1, 1))
        return try_out(path, *use)

    monkeypatch.setattr(trial, "try_out", meanwhile)
    assert "was changed while it was tried" in call("models", "approve", copied).error_line
    assert not is_approved(copied)


def test_a_word_that_cant_be_taken_back_is_said(
    call: CallCli, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    assert "is approved" in call("models", "approve", copied).out
    monkeypatch.setattr("tempfile.mkstemp", full)
    monkeypatch.setattr(os, "unlink", full)
    said = call("models", "approve", copied, "--revoke").error_line
    assert "stays approved, that can't be taken back: No space left" in said


def test_a_model_is_quantised_once_more_only_where_that_is_said(
    call: CallCli, shallow_path: Path, tmp_path: Path
) -> None:
    source = tmp_path / "mine-Q4_1.gguf"
    source.symlink_to(shallow_path)
    refused = call("models", "quantize", source, "q8_0")
    assert refused.code == 1
    assert "can't write" in refused.error_line
    outcome = call("models", "quantize", source, "q8_0", "--again")
    target = tmp_path / "mine-Q8_0.gguf"
    assert outcome.out.startswith(str(target))
    assert read_header(target).metadata["general.file_type"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name, source.name][::-1]
    assert "exists" in call("models", "quantize", source, "Q8_0", "--again").error_line
    assert "no type" in call("models", "quantize", source, "Q9").error_line


def test_what_is_made_of_another_programs_model_goes_to_the_users_own(
    call: CallCli, shallow_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "ab" * 32
    ollama = tmp_path / "ollama"
    manifest = ollama / "manifests/registry.ollama.ai/library/mine/1b"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [layer]}))
    (ollama / "blobs").mkdir()
    shutil.copy(shallow_path, ollama / "blobs" / f"sha256-{digest}")
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("OLLAMA_MODELS", str(ollama))
    monkeypatch.setenv("AMULET_MODELS", str(own))
    said = call("models", "quantize", "mine:1b", "Q8_0", "--again")
    assert said.out.startswith(str(own / "mine-1b-Q8_0.gguf")), said
    assert [path.name for path in (ollama / "blobs").iterdir()] == [f"sha256-{digest}"]
    assert "is gone" in call("models", "remove", "mine-1b-Q8_0", "--yes").out


def test_without_a_folder_of_models_one_is_made_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(model_store, "model_folders", list)
    assert model_store.own_folder() == tmp_path / "models"
    assert (tmp_path / "models").is_dir()
    (tmp_path / "models").rmdir()
    (tmp_path / "models").write_text("a file of the user's")
    with pytest.raises(FileAccessError, match="-o says where else"):
        model_store.own_folder()


def test_only_files_of_models_folders_are_removed(
    call: CallCli,
    tmp_path: Path,
    tiny_gguf: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tiny_gguf("mine.gguf", "llama")
    assert "no folder of models" in call("models", "remove", path, "--yes").error_line
    assert "no folder of models" in call("models", "remove", "smollm2", "--yes").error_line
    monkeypatch.setenv("AMULET_MODELS", str(tmp_path))
    unanswered = run("models", "remove", "mine")
    assert unanswered.code == 1
    assert unanswered.err.endswith("nothing is deleted; --yes deletes without asking\n")
    assert "unexpected" not in unanswered.err
    assert path.exists()
    assert "is gone" in call("models", "remove", "mine", "--yes").out
    assert not path.exists()


def test_a_model_in_several_files_is_removed_with_all_of_them(
    call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_MODELS", str(tmp_path))
    names = [f"big-{n:05d}-of-00003.gguf" for n in (1, 2, 3)]
    for name in (*names, "big-00002-of-00004.gguf", "bigger.gguf"):
        (tmp_path / name).write_text("GGUF")
    outcome = call("models", "remove", "big-00001-of-00003", "--yes")
    assert outcome.out.endswith("big-00001-of-00003.gguf and its 2 further parts are gone\n")
    assert sorted(path.name for path in tmp_path.glob("*.gguf")) == [
        "big-00002-of-00004.gguf",
        "bigger.gguf",
    ]
