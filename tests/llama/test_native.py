"""What is relied on of llama.cpp is what the installed package has."""

from __future__ import annotations

import ast
from pathlib import Path

import llama_cpp
import pytest
from gguf import GGMLQuantizationType
from llama_cpp import _ggml

import amulet_local
from amulet_local import load
from amulet_local.llama import library, native

FOLDER = Path(amulet_local.__file__).parent / "llama"
CONSTANTS = {
    "LLAMA_FLASH_ATTN_TYPE_AUTO": native.FLASH_ATTENTION["auto"],
    "LLAMA_FLASH_ATTN_TYPE_DISABLED": native.FLASH_ATTENTION["off"],
    "LLAMA_FLASH_ATTN_TYPE_ENABLED": native.FLASH_ATTENTION["on"],
    "LLAMA_LOAD_MODE_AUTO": native.LOAD_MODES["auto"],
    "LLAMA_LOAD_MODE_NONE": native.LOAD_MODES["none"],
    "LLAMA_LOAD_MODE_MMAP": native.LOAD_MODES["mmap"],
    "LLAMA_LOAD_MODE_MMAP_MLOCK": native.LOAD_MODES["mlock"],
    "LLAMA_SPLIT_MODE_NONE": native.SPLIT_MODES["none"],
    "LLAMA_SPLIT_MODE_LAYER": native.SPLIT_MODES["layer"],
    "LLAMA_SPLIT_MODE_ROW": native.SPLIT_MODES["row"],
    "LLAMA_POOLING_TYPE_NONE": native.POOLING_NONE,
    "LLAMA_TOKEN_ATTR_UNKNOWN": native.TOKEN_UNKNOWN,
    "LLAMA_TOKEN_ATTR_CONTROL": native.TOKEN_CONTROL,
    "LLAMA_TOKEN_ATTR_USER_DEFINED": native.TOKEN_USER_DEFINED,
}


def used_names() -> set[str]:
    """What the room takes from llama_cpp, as attributes of the module."""
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.startswith(("llama_", "ggml_")):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name in ("llama_cpp", "_llama_cpp"):
                    found.add(node.attr)
    return found


def test_every_function_that_is_used_is_there() -> None:
    used = used_names()
    assert {"llama_decode", "llama_init_from_model", "llama_sampler_apply"} <= used
    assert {name for name in used if not hasattr(llama_cpp, name)} == set()


@pytest.mark.parametrize("name", native.GGML_FUNCTIONS)
def test_every_function_of_ggml_is_in_its_library(name: str) -> None:
    assert hasattr(_ggml.libggml, name)


@pytest.mark.parametrize(("name", "value"), CONSTANTS.items())
def test_constants_have_the_values_of_the_installed_package(name: str, value: int) -> None:
    assert getattr(llama_cpp, name) == value


@pytest.mark.parametrize(("name", "value"), native.CACHE_TYPES.items())
def test_cache_types_are_ggmls(name: str, value: int) -> None:
    assert GGMLQuantizationType[name.upper()] == value


@pytest.mark.parametrize("version", ["0.3.36", "0.3.36.post1", "0.3.36+cu124"])
def test_a_tested_version_is_nothing_to_mention(version: str) -> None:
    assert native.version_warning(version) == ""


@pytest.mark.parametrize("version", ["0.3.35", "0.4.0", "1.0", "", "dev"])
def test_an_untested_version_is_said_with_those_that_were_tested(version: str) -> None:
    warning = native.version_warning(version)
    assert version in warning
    assert "0.3.36" in warning
    assert "\n" not in warning


def test_an_engine_says_it_once(shallow_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "binding_version", lambda: "9.9.9")
    with load(shallow_path, n_ctx=64) as engine:
        assert sum("9.9.9" in warning for warning in engine.warnings) == 1
