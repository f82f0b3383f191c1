"""The models that other programs have downloaded, where those keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amulet_local.common.errors import ModelNotFoundError
from amulet_local.loading.model_store import find_model
from amulet_local.loading.other_programs import found_models

DIGEST = "ab" * 32


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing is yet."""
    for name in ("LLAMA_CACHE", "OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
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
    assert names() == {
        "a": ("llama.cpp", cached),
        "b": ("LM Studio", studio),
        "c": ("Hugging Face", hub),
    }


def test_a_manifest_of_ollama_names_its_blob(home: Path) -> None:
    blob = put(home / f".ollama/models/blobs/sha256-{DIGEST}")
    put_manifest(home, "library/tiny/1b", f"sha256:{DIGEST}")
    put_manifest(home, "someone/own/latest", f"sha256:{DIGEST[::-1]}")
    assert names() == {"tiny:1b": ("Ollama", blob)}
    put(home / f".ollama/models/blobs/sha256-{DIGEST[::-1]}")
    assert list(names()) == ["tiny:1b", "someone/own:latest"]
    assert find_model("Tiny:1b") == blob
    assert find_model("someone/own:latest").name == f"sha256-{DIGEST[::-1]}"
    with pytest.raises(ModelNotFoundError, match="tiny:1b"):
        find_model("other")


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
