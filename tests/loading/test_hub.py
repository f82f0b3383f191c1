"""Models of a hub: which file is wanted, and how it comes here."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common import errors
from amulet_local.loading import hub as hub_module
from amulet_local.loading import model_store
from amulet_local.loading.hub import HubFile, chosen, download, find_on_hub, parse_reference
from amulet_local.loading.model_store import (
    CatalogueEntry,
    catalogue,
    find_model,
    in_catalogue,
)
from tests.hub_server import REPOSITORY, Hub

pytestmark = pytest.mark.lengthy


def content(name: str, size: int = 1000) -> bytes:
    return (b"GGUF" + name.encode() * size)[:size]


def pull(text: str) -> Path:
    return download(find_on_hub(text), shows_progress=False, checking=lambda file: None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("org/repo", ("org/repo", "")),
        ("org/repo:Q4_K_M", ("org/repo", "Q4_K_M")),
        ("hf.co/org/repo:q8_0", ("org/repo", "q8_0")),
        ("https://huggingface.co/org/repo-GGUF", ("org/repo-GGUF", "")),
        ("org/repo/sub/file.gguf", ("org/repo", "sub/file.gguf")),
        (
            "https://huggingface.co/org/repo/blob/main/file-Q4_0.gguf",
            ("org/repo", "file-Q4_0.gguf"),
        ),
    ],
)
def test_what_people_paste_names_a_repository(text: str, found: tuple[str, str]) -> None:
    assert parse_reference(text) == found


@pytest.mark.parametrize("text", ["", "repo", "a/b c", "../../etc/passwd", "a//b", "a/b:"])
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidParameterError, match="ORG/REPOSITORY"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("", ["m-Q4_K_M.gguf"]),
        (":q8_0", ["m-Q8_0.gguf"]),
        (":m-Q8_0", ["m-Q8_0.gguf"]),
        ("/m-Q8_0.gguf", ["m-Q8_0.gguf"]),
        (":F16", ["F16/m-F16-00001-of-00002.gguf", "F16/m-F16-00002-of-00002.gguf"]),
    ],
)
def test_a_quantisation_is_chosen(hub: Hub, wanted: str, names: list[str]) -> None:
    for name in (
        *("README.md", "mmproj-m-F16.gguf", "m-Q8_0.gguf", "m-IQ4_XS.gguf", "m-Q4_K_M.gguf"),
        *("F16/m-F16-00002-of-00002.gguf", "F16/m-F16-00001-of-00002.gguf"),
    ):
        hub.files[name] = content(name)
    assert [file.name for file in find_on_hub(REPOSITORY + wanted).files] == names
    with pytest.raises(errors.ModelNotFoundError, match="F16, IQ4_XS, Q4_K_M, Q8_0"):
        find_on_hub(f"{REPOSITORY}:Q2_K")


def test_a_model_comes_once_and_is_found_by_its_name(hub: Hub) -> None:
    hub.files["m-Q4_0.gguf"] = content("m", 200_000)
    path = pull(REPOSITORY)
    assert path.read_bytes() == hub.files["m-Q4_0.gguf"]
    assert find_model("m-Q4_0") == path
    assert pull(REPOSITORY) == path
    assert hub.asked == [None]


def test_a_download_that_broke_off_goes_on(hub: Hub) -> None:
    hub.files["m-Q4_0.gguf"] = content("m", 23_000_000)
    hub.cut_after = 22_000_000  # it is written by pieces of ten megabytes
    path = pull(REPOSITORY)
    assert path.read_bytes() == hub.files["m-Q4_0.gguf"]
    assert hub.asked[0] is None
    assert str(hub.asked[1]).startswith("bytes=")


def test_what_isnt_what_the_hub_says_is_thrown_away(hub: Hub) -> None:
    hub.files["m-Q4_0.gguf"] = content("m")
    hub.digests["m-Q4_0.gguf"] = "0" * 64
    with pytest.raises(errors.ModelFileError, match="digest"):
        pull(REPOSITORY)
    hub.digests.clear()
    assert pull(REPOSITORY).read_bytes() == content("m")


def test_without_room_nothing_is_downloaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["m-Q4_0.gguf"] = content("m")
    usage: Any = type("Usage", (), {"free": 10})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: usage)
        with pytest.raises(errors.FileAccessError, match="too little room"):
            pull(REPOSITORY)
        assert hub.asked == []
    path = pull(REPOSITORY)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert pull(REPOSITORY) == path  # what is all here needs none


def test_what_cant_be_written_is_no_fault_of_the_hub(hub: Hub) -> None:
    hub.files["m-Q4_0.gguf"] = content("m", 23_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, limits[1]))
    try:
        with pytest.raises(errors.FileAccessError, match=r"can't be written to .*: File too large"):
            pull(REPOSITORY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert pull(REPOSITORY).read_bytes() == hub.files["m-Q4_0.gguf"]


def test_a_folder_for_downloads_that_cant_be_made_is_said(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["m-Q4_0.gguf"] = content("m")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(errors.FileAccessError, match="HF_HOME names another folder"):
        pull(REPOSITORY)


def test_a_missing_repository_and_one_without_models_are_said(hub: Hub) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="the hub has no Other/Model"):
        find_on_hub("Other/Model")
    hub.files["README.md"] = b"#"
    with pytest.raises(errors.ModelNotFoundError, match="no GGUF files"):
        find_on_hub(REPOSITORY)


def test_parts_of_other_files_are_no_parts() -> None:
    files = [
        HubFile(name=name, size_bytes=1, sha256=None) for name in ("a/m-Q4_0.gguf", "b/m-Q4_0.gguf")
    ]
    assert [file.name for file in chosen("o/r", files, "Q4_0")] == ["a/m-Q4_0.gguf"]


NAMED = content("named")


@pytest.fixture
def named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> CatalogueEntry:
    """An entry of the catalogue, whose file the hub has."""
    hub.files = {"m-Q8_0.gguf": content("other"), "m-Q4_0.gguf": NAMED}
    entry = CatalogueEntry(
        name="small",
        file="m-Q4_0.gguf",
        install="amulet-local pull small",
        repository=REPOSITORY,
        sha256=hashlib.sha256(NAMED).hexdigest(),
        size_bytes=len(NAMED),
        licence="MIT",
        description="Small",
    )
    for module in (hub_module, model_store):
        monkeypatch.setattr(module, "catalogue", lambda: {"small": entry})
    return entry


def test_a_name_of_the_catalogue_brings_its_file(hub: Hub, named: CatalogueEntry) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="run: amulet-local pull small"):
        find_model("small")
    path = pull(" Small ")
    assert path.read_bytes() == NAMED
    assert find_model("small") == named.path() == path


def test_a_catalogue_name_may_be_spelled_as_others_spell_it() -> None:
    for text in ("llama3.2:1b", "Llama-3.2-1B", " LLAMA3.2_1b ", "llama-3.2-1b"):
        assert in_catalogue(text) == catalogue()["llama-3.2-1b"]
    assert in_catalogue("qwen2.5:0.5b") == catalogue()["qwen2.5-0.5b"]
    for text in ("gemma-31b", "llama3.2", "llama-3.2-1b-base", "", "Small/Model"):
        assert in_catalogue(text) is None
    with pytest.raises(errors.ModelNotFoundError, match=r"run: amulet-local pull llama-3\.2-1b"):
        find_model("llama3.2:1b")
    with pytest.raises(errors.InvalidParameterError, match=r"did you mean 'llama-3\.2-"):
        find_on_hub("llama3.2")


def test_another_file_under_that_name_is_refused_before_it_comes(
    hub: Hub, named: CatalogueEntry
) -> None:
    hub.files["m-Q4_0.gguf"] = content("newer")
    with pytest.raises(errors.ModelFileError, match=f"pull {REPOSITORY}:m-Q4_0"):
        pull("small")
    assert hub.asked == []
    assert pull(f"{REPOSITORY}:m-Q4_0").read_bytes() == content("newer")
    assert named.path() is None  # what is called so there is another file


def test_what_isnt_what_the_catalogue_says_is_thrown_away(
    hub: Hub, named: CatalogueEntry, tmp_path: Path
) -> None:
    hub.digests["m-Q4_0.gguf"] = named.sha256
    hub.files["m-Q4_0.gguf"] = content("forged")
    with pytest.raises(errors.ModelFileError, match="SHA-256"):
        pull("small")
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 500
    ] == []
    assert named.path() is None


def test_a_package_s_model_is_not_on_the_hub(hub: Hub) -> None:
    with pytest.raises(errors.InvalidParameterError, match="pip install"):
        pull("smollm2")
