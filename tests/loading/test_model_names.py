"""What a model may be called: a path as it was typed, pasted or kept, a folder, an address."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amulet_local.common.errors import ModelNotFoundError
from amulet_local.loading.model_store import find_model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "mö dels"
    folder.mkdir()
    path = folder / "a b.gguf"
    path.touch()
    return path


@pytest.mark.parametrize(
    "typed",
    ["{}", "={}", " {} ", "'{}'", '"{}"', "file://{}", "file://localhost{}", "{}\n"],
)
def test_what_was_left_around_a_path_is_passed_over(file: Path, typed: str) -> None:
    assert find_model(typed.format(file)) == file


def test_an_address_of_a_file_may_have_its_blanks_escaped(file: Path) -> None:
    assert find_model(file.as_uri()) == file


def test_a_file_that_is_called_so_is_the_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    odd = file.parent / "=a b.gguf"
    odd.touch()
    assert find_model("=a b.gguf").samefile(odd)


def test_the_ending_may_be_left_out(file: Path) -> None:
    assert find_model(file.with_suffix("")) == file
    with pytest.raises(ModelNotFoundError, match="no such file"):
        find_model(file.with_name("a"))


def test_a_file_of_nearly_that_name_is_asked_about(file: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"; did you mean 'a b\.gguf'\? `amulet-local"):
        find_model(file.with_name("A_B.gguf"))
    with pytest.raises(ModelNotFoundError, match=r"; `amulet-local models` lists"):
        find_model(file.with_name("of-another-name.gguf"))


def test_a_folder_with_one_model_stands_for_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "mmproj-a.gguf").touch()
    (file.parent / "README.md").touch()
    assert find_model(file.parent) == file
    assert find_model(f"{file.parent}{os.sep}") == file
    monkeypatch.chdir(file.parent.parent)
    assert find_model(file.parent.name).samefile(file)


def test_of_several_in_a_folder_one_has_to_be_named(file: Path) -> None:
    (file.parent / "c.gguf").touch()
    with pytest.raises(ModelNotFoundError, match=r"several models.*: a b\.gguf, c\.gguf$"):
        find_model(file.parent)


def test_an_address_is_shown_as_it_is_and_answered_with_what_downloads_it() -> None:
    address = "https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/resolve/main/Qwen3-0.6B-Q8_0.gguf"
    with pytest.raises(ModelNotFoundError) as raised:
        find_model(address)
    assert str(raised.value) == (
        f"no such file: {address}; to download it: amulet-local pull Qwen/Qwen3-0.6B-GGUF"
    )
    with pytest.raises(ModelNotFoundError, match=r"https://example\.org/a\.gguf; .* download it"):
        find_model("https://example.org/a.gguf")
