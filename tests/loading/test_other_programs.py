"""The models that other programs have downloaded, where those keep them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from amulet_local.common.errors import ModelNotFoundError
from amulet_local.loading.model_store import find_model, local_models, model_folders
from amulet_local.loading.other_programs import found_models

DIGEST = "ab" * 32
OTHER = "ef" * 32
VARIABLES = (
    *("AMULET_MODELS", "LLAMA_CACHE", "OLLAMA_MODELS", "JAN_DATA_FOLDER"),
    *("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing is yet."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path


def put(path: Path, text: str = "GGUF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def put_manifest(home: Path, name: str, digest: str) -> None:
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "cd" * 32},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest},
    ]
    folder = home / ".ollama/models/manifests/registry.ollama.ai"
    put(folder / name, json.dumps({"layers": layers}))


def names() -> dict[str, tuple[str, Path]]:
    return {model.name: (model.program, model.path) for model in found_models()}


def test_each_program_keeps_them_in_a_folder_of_its_own(home: Path) -> None:
    cached = put(home / ".cache/llama.cpp/a.gguf")
    studio = put(home / ".lmstudio/models/someone/repository/b.gguf")
    hub = put(home / ".cache/huggingface/hub/models--x--y/snapshots/123/c.gguf")
    put(home / ".cache/huggingface/hub/models--x--y/snapshots/123/config.json")
    jan = put(home / ".local/share/Jan/data/llamacpp/models/Qwen/Qwen3-4B-Q4_K_M/model.gguf")
    desktop = put(home / ".local/share/nomic.ai/GPT4All/d.gguf")
    python = put(home / ".cache/gpt4all/e.gguf")
    assert names() == {
        "a": ("llama.cpp", cached),
        "b": ("LM Studio", studio),
        "Qwen/Qwen3-4B-Q4_K_M": ("Jan", jan),
        "d": ("GPT4All", desktop),
        "e": ("GPT4All", python),
        "c": ("Hugging Face", hub),
    }
    assert find_model("qwen/qwen3-4b-q4_k_m") == jan


def test_a_folder_that_a_program_was_told_to_use_is_looked_into(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(home / ".lmstudio-home-pointer", f"{home}/studio\n")
    put(home / "studio/settings.json", json.dumps({"downloadsFolder": f"{home}/big disk"}))
    put(home / ".local/share/Jan/settings.json", json.dumps({"data_folder": f"{home}/jan"}))
    files = {
        "a": put(home / "big disk/someone/repository/a.gguf"),
        "b": put(home / "studio/models/someone/repository/b.gguf"),
        "c": put(home / "jan/llamacpp/models/c/c.gguf"),
        "d": put(home / "cache/models--x--y/snapshots/1/Q4/d.GGUF"),
        "e": put(home / "xdg/huggingface/hub/models--x--y/snapshots/1/e.gguf"),
    }
    monkeypatch.setenv("LLAMA_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert {name: path for name, (_, path) in names().items()} == files
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", str(home / "hub"))
    old = put(home / "hub/models--x--y/snapshots/1/f.gguf")
    assert names()["f"] == ("Hugging Face", old)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"data_folder": 3}', "\x00"])
def test_broken_settings_are_passed_over(home: Path, text: str) -> None:
    put(home / ".local/share/Jan/settings.json", text)
    put(home / ".lmstudio/settings.json", text)
    put(home / ".lmstudio-home-pointer", text)
    jan = put(home / ".local/share/Jan/data/llamacpp/models/c/model.gguf")
    assert names() == {"c": ("Jan", jan)}


def test_files_in_the_home_folder_of_models_have_names(home: Path) -> None:
    flat = put(home / "models/flat.gguf")
    deep = put(home / "models/someone/repository/Deep.GGUF")
    put(home / "models/someone/repository/more/too_deep.gguf")
    put(home / "models/someone/repository/big-00002-of-00002.gguf")
    assert list(local_models()) == [flat, deep]
    assert find_model("FLAT") == flat
    assert find_model("deep") == deep


def test_a_manifest_of_ollama_names_its_blob(home: Path) -> None:
    blob = put(home / f".ollama/models/blobs/sha256-{DIGEST}")
    put_manifest(home, "library/tiny/1b", f"sha256:{DIGEST}")
    put_manifest(home, "someone/own/latest", f"sha256:{DIGEST[::-1]}")
    put_manifest(home, "../hf.co/someone/repository-GGUF/Q4_K_M", f"sha256:{OTHER}")
    assert names() == {"tiny:1b": ("Ollama", blob)}
    put(home / f".ollama/models/blobs/sha256-{DIGEST[::-1]}")
    assert list(names()) == ["tiny:1b", "someone/own:latest"]
    assert find_model("Tiny:1b") == blob
    assert find_model("someone/own:latest").name == f"sha256-{DIGEST[::-1]}"
    assert find_model("someone/own").name == f"sha256-{DIGEST[::-1]}"
    other = put(home / f".ollama/models/blobs/sha256-{OTHER}")
    assert find_model("hf.co/someone/repository-GGUF:Q4_K_M") == other
    with pytest.raises(ModelNotFoundError, match="did you mean 'tiny:1b'"):
        find_model("tiny:3b")
    with pytest.raises(ModelNotFoundError, match="did you mean 'tiny:1b'"):
        find_model("TIN")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"layers": [3]}', '{"layers": [{"mediaType": 1}]}', "\x00"]
)
def test_a_broken_manifest_is_passed_over(home: Path, text: str) -> None:
    put(home / ".ollama/models/manifests/registry.ollama.ai/library/bad/latest", text)
    assert names() == {}


def test_a_digest_cannot_lead_out_of_the_folder(home: Path) -> None:
    put(home / ".ollama/models/secret")
    put_manifest(home, "library/evil/latest", "sha256:../../secret")
    assert names() == {}


def test_parts_that_cannot_be_loaded_by_themselves_are_left_out(home: Path) -> None:
    folder = home / ".cache/llama.cpp"
    for name in ("big-00001-of-00002", "big-00002-of-00002", "mmproj-big"):
        put(folder / f"{name}.gguf")
    assert list(names()) == ["big-00001-of-00002"]


def test_a_file_that_two_have_is_listed_once(home: Path) -> None:
    hub = home / ".cache/huggingface/hub/models--x--y/snapshots"
    blob = put(home / ".cache/huggingface/hub/models--x--y/blobs/1")
    for revision in ("1", "2"):
        (hub / revision).mkdir(parents=True)
        (hub / revision / "c.gguf").symlink_to(blob)
    assert list(names()) == ["c"]


def test_a_home_folder_is_meant_in_every_folder_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AMULET_MODELS", os.pathsep.join(["~/here", "~/there"]))
    assert model_folders()[:2] == [tmp_path / "here", tmp_path / "there"]


def long_link(path: Path) -> None:
    path.symlink_to("a" * 300)


def circle(path: Path) -> None:
    path.symlink_to(path)


def to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def undecodable(path: Path) -> None:
    path.with_name("\udcff\udcfe.gguf").write_text("GGUF")


@pytest.mark.parametrize(
    "spoil", [long_link, circle, to_nothing, os.mkfifo, Path.mkdir, undecodable]
)
def test_one_odd_entry_hides_no_other_model(home: Path, spoil: Callable[[Path], object]) -> None:
    own = put(home / "models" / "own.gguf")
    studio = put(home / ".lmstudio/models/someone/repository/b.gguf")
    hub = put(home / ".cache/huggingface/hub/models--x--y/snapshots/123/c.gguf")
    for beside in (own, own.parent / "below" / "x", studio, hub):
        beside.parent.mkdir(exist_ok=True)
        spoil(beside.with_name("odd.gguf"))
    for folder in (own.parent, studio.parent.parent, hub.parent.parent):
        spoil(folder / "odd")
    assert own in local_models()
    assert find_model("own") == own
    found = names()
    assert found["b"] == ("LM Studio", studio)
    assert found["c"] == ("Hugging Face", hub)


def test_a_folder_that_goes_while_it_is_looked_at_hides_no_other_model(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = put(home / "models" / "own.gguf")
    (home / "models" / "going").mkdir()
    list_folder = os.listdir

    def listed(path: Path) -> list[str]:
        names = list_folder(path)
        if "going" in names:
            (Path(path) / "going").rmdir()
        return names

    monkeypatch.setattr(os, "listdir", listed)
    assert list(local_models()) == [own]
