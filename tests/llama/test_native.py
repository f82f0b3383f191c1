"""What is relied on of llama.cpp is what the folder's code uses and what the installed package has.

Constants that llama_cpp has no names for are read in the C headers that are installed with it; what
llama_decode returns is seen in what it does.
"""

from __future__ import annotations

import ast
import ctypes
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from llama_cpp import _ggml

import amulet_local
from amulet_local import load
from amulet_local.common.errors import DecodeError
from amulet_local.llama import library, native
from amulet_local.llama.context import Context, ContextSettings, Span
from amulet_local.llama.gguf import native_limits, tensors
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from tests.conftest import missing

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
    "LLAMA_POOLING_TYPE_MEAN": native.POOLINGS_OF_TEXTS[0],
    "LLAMA_POOLING_TYPE_CLS": native.POOLINGS_OF_TEXTS[1],
    "LLAMA_POOLING_TYPE_LAST": native.POOLINGS_OF_TEXTS[2],
    "LLAMA_TOKEN_ATTR_UNKNOWN": native.TOKEN_UNKNOWN,
    "LLAMA_TOKEN_ATTR_CONTROL": native.TOKEN_CONTROL,
    "LLAMA_TOKEN_ATTR_USER_DEFINED": native.TOKEN_USER_DEFINED,
    "LLAMA_TOKEN_TYPE_BYTE": native_limits.BYTE_TOKEN_TYPE,
    **{
        f"LLAMA_FTYPE_{'ALL' if name == 'F32' else 'MOSTLY'}_{name}": number
        for name, number in native.FILE_TYPES.items()
    },
}
HEADER_CONSTANTS = {
    "GGML_BACKEND_DEVICE_TYPE_GPU": native.GPU_DEVICES[0],
    "GGML_BACKEND_DEVICE_TYPE_IGPU": native.GPU_DEVICES[1],
    "GGML_LOG_LEVEL_DEBUG": native.LOG_DEBUG,
    "GGML_LOG_LEVEL_WARN": native.LOG_WARN,
    "GGML_LOG_LEVEL_ERROR": native.LOG_ERROR,
    "GGML_LOG_LEVEL_CONT": native.LOG_CONTINUE,
    "GGML_MAX_DIMS": tensors.MAX_DIMS,
    "GGML_MAX_NAME": tensors.MAX_NAME_BYTES + 1,
}


@dataclass
class Used:
    """What code takes of llama.cpp.

    Attributes:
        names: of llama_cpp.
        ggml: functions of ggml's library.
        calls: (name, least arguments, whether exactly as many) of what is called in place.
        fields: by struct.
    """

    names: set[str] = field(default_factory=set)
    ggml: set[str] = field(default_factory=set)
    calls: set[tuple[str, int, bool]] = field(default_factory=set)
    fields: dict[str, set[str]] = field(default_factory=dict)

    def read(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        structs: dict[str, Any] = {}
        for node in nodes:
            if isinstance(node, ast.Attribute) and (name := llama_name(node)):
                self.names.add(name)
            elif isinstance(node, ast.Attribute) and node.attr.startswith("ggml_"):
                self.ggml.add(node.attr)
            if isinstance(node, ast.Call) and (name := llama_name(node.func)):
                self._read_call(name, node)
            if isinstance(node, ast.Assign):
                kind = struct_of(node.value, structs)
                if kind is not None:
                    target = ast.unparse(node.targets[0])
                    assert structs.setdefault(target, kind) is kind, target
        for node in nodes:
            if isinstance(node, ast.Attribute):
                kind = struct_of(node.value, structs) or structs.get(ast.unparse(node.value))
                if kind is not None:
                    self._add_fields(kind, [node.attr])

    def _read_call(self, name: str, node: ast.Call) -> None:
        kind = getattr(llama_cpp, name, None)
        if is_struct(kind):
            order = [entry[0] for entry in kind._fields_]
            self._add_fields(kind, order[: len(node.args)])
            self._add_fields(kind, [word.arg for word in node.keywords if word.arg])
        else:
            given = [item for item in node.args if not isinstance(item, ast.Starred)]
            self.calls.add((name, len(given), len(given) == len(node.args)))
            assert not node.keywords, name

    def _add_fields(self, kind: Any, names: list[str]) -> None:
        self.fields.setdefault(kind.__name__, set()).update(names)


def llama_name(node: ast.AST) -> str:
    """What of llama_cpp an expression names; empty if it is something else."""
    if not isinstance(node, ast.Attribute):
        return ""
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return node.attr if name in ("llama_cpp", "_llama_cpp") else ""


def is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ctypes.Structure)


def struct_of(node: ast.AST, structs: dict[str, Any]) -> Any:
    """The struct that an expression makes, names or takes out of another; None for all else."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
        holder = structs.get(ast.unparse(node.value.value))
        kinds = dict(entry[:2] for entry in getattr(holder, "_fields_", ()))
        kind = getattr(kinds.get(node.value.attr), "_type_", None)
        return kind if is_struct(kind) else None
    kind = getattr(llama_cpp, llama_name(node.func if isinstance(node, ast.Call) else node), None)
    if not isinstance(kind, type):
        kind = getattr(kind, "restype", None) if isinstance(node, ast.Call) else None
    return kind if is_struct(kind) else None


@cache
def used() -> Used:
    found = Used()
    for path in sorted(FOLDER.rglob("*.py")):
        found.read(ast.parse(path.read_text(encoding="utf-8")))
    return found


@cache
def header() -> str:
    """llama.h, ggml.h and ggml-backend.h as they were installed, without comments."""
    folder = Path(llama_cpp.__file__).parent.parent / "include"
    try:
        files = [folder / name for name in ("llama.h", "ggml.h", "ggml-backend.h")]
        text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    except OSError as error:
        missing(f"llama-cpp-python was installed without llama.cpp's headers: {error}")
        raise
    return re.sub(r"//.*", "", text)


def header_constant(name: str) -> int:
    """The value of a #define or an entry of an enum, whose entries count up from the one before."""
    if define := re.search(rf"# *define +{name} +(\d+)", header()):
        return int(define[1])
    for body in re.findall(r"\benum \w+ \{(.*?)\}", header(), re.DOTALL):
        entries = [[part.strip() for part in entry.split("=")] for entry in body.split(",")]
        if [name] not in [entry[:1] for entry in entries]:
            continue
        value = -1
        for word, *given in entries:
            value = int(given[0], 0) if given else value + 1
            if word == name:
                return value
    raise AssertionError(f"no {name} in the headers")


def test_the_list_of_functions_is_what_the_code_calls() -> None:
    lists = (native.FUNCTIONS, native.STRUCTS, native.CALLBACKS, native.LIBRARY_NAMES)
    listed = [name for names in lists for name in names]
    assert len(set(listed)) == len(listed)
    indirect = {
        *("llama_context_params", "llama_model_params", "llama_model_quantize_params"),
        "llama_token_data",
    }
    assert used().names == set(listed) - indirect


def test_nothing_of_llama_cpp_is_used_in_another_way() -> None:
    """Names imported from it, or looked up at run time, would be in no list."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llama_cpp"):
                assert (node.module, [name.name for name in node.names]) == ("llama_cpp", ["_ggml"])
            if isinstance(node, ast.Import):
                assert all(name.asname is None for name in node.names if "llama_cpp" in name.name)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
                assert not re.search("llama_cpp|libggml|library", ast.unparse(node.args[0]))


@pytest.mark.parametrize(("name", "parameters"), native.FUNCTIONS.items())
def test_functions_have_these_parameters(name: str, parameters: str) -> None:
    function = getattr(llama_cpp, name)
    expected = parameters.split()
    assert list(inspect.signature(function).parameters) == expected
    assert len(function.argtypes) == len(expected)


def test_functions_are_called_with_as_many_arguments_as_they_have() -> None:
    calls = [call for call in used().calls if call[0] in native.FUNCTIONS]
    assert len(calls) >= 60
    for name, n_given, exactly in calls:
        n_parameters = len(native.FUNCTIONS[name].split())
        assert n_given == n_parameters if exactly else n_given < n_parameters, name


@pytest.mark.parametrize(("name", "n_arguments"), native.CALLBACKS.items())
def test_callbacks_get_as_many_arguments(name: str, n_arguments: int) -> None:
    assert len(getattr(llama_cpp, name)._argtypes_) == n_arguments


def test_other_names_are_there() -> None:
    assert all(hasattr(llama_cpp, name) for name in native.LIBRARY_NAMES)


def test_a_grammar_of_llama_cpp_python_has_its_text() -> None:
    text = 'root ::= "yes" | "no"'
    grammar = llama_cpp.LlamaGrammar.from_string(text, verbose=False)
    assert getattr(grammar, native.GRAMMAR_TEXT) == text


def test_the_list_of_fields_is_what_the_code_sets_and_reads() -> None:
    assert used().fields == {name: set(fields) for name, fields in native.STRUCTS.items()}


@pytest.mark.parametrize(("name", "fields"), native.STRUCTS.items())
def test_structs_have_these_fields(name: str, fields: tuple[str, ...]) -> None:
    installed = [entry[0] for entry in getattr(llama_cpp, name)._fields_]
    assert [entry for entry in installed if entry in fields] == list(fields)


def test_a_candidate_is_three_numbers_of_four_bytes() -> None:
    kind = llama_cpp.llama_token_data
    assert [(entry, getattr(kind, entry).offset) for entry in ("id", "logit", "p")] == [
        ("id", 0),
        ("logit", 4),
        ("p", 8),
    ]
    assert ctypes.sizeof(kind) == 12


def test_the_list_of_ggmls_functions_is_what_the_code_calls() -> None:
    assert used().ggml == set(native.GGML_FUNCTIONS)


@pytest.mark.parametrize(("name", "parameters"), native.GGML_FUNCTIONS.items())
def test_ggmls_functions_have_these_parameters(name: str, parameters: str) -> None:
    assert hasattr(_ggml.libggml, name)
    declared = re.search(rf"\b{name} *\((.*?)\) *;", header(), re.DOTALL)
    assert declared is not None
    words = [re.findall(r"\w+", one)[-1] for one in declared[1].split(",")]
    assert words == (parameters.split() or ["void"])


@pytest.mark.parametrize(("name", "value"), CONSTANTS.items())
def test_constants_have_the_values_of_the_installed_package(name: str, value: int) -> None:
    assert getattr(llama_cpp, name) == value


@pytest.mark.parametrize(("name", "value"), HEADER_CONSTANTS.items())
def test_constants_without_a_name_in_python_have_the_headers_values(name: str, value: int) -> None:
    assert header_constant(name) == value


@pytest.mark.parametrize(("name", "value"), native.CACHE_TYPES.items())
def test_cache_types_have_these_names_in_the_library(name: str, value: int) -> None:
    type_name = _ggml.libggml.ggml_type_name
    type_name.argtypes, type_name.restype = [ctypes.c_int], ctypes.c_char_p
    assert type_name(value) == name.encode()


SETTINGS = ContextSettings(
    n_ctx=256,
    n_batch=64,
    n_outputs=1,
    cache_type_k="f16",
    cache_type_v="f16",
    flash_attention="off",
)


@pytest.fixture
def stop_flag() -> StopFlag:
    return StopFlag()


@pytest.fixture
def context(tiny_path: Path, stop_flag: StopFlag) -> Iterator[Context]:
    model = Model(tiny_path)
    context = Context(model, SETTINGS, stop_flag)
    yield context
    context.close()
    model.close()


def test_a_stopped_decode_says_so(context: Context, stop_flag: StopFlag) -> None:
    stop_flag.set()
    with pytest.raises(StoppedError):
        context.decode([Span(0, 0, [5], 1)])


def test_a_decode_without_room_and_an_invalid_one_say_so(context: Context) -> None:
    for position in range(0, SETTINGS.n_ctx, SETTINGS.n_batch):
        context.decode([Span(0, position, [5] * SETTINGS.n_batch, 1)])
    for position, reason in ((SETTINGS.n_ctx, "no room left"), (3, "an invalid batch")):
        with pytest.raises(DecodeError, match=reason) as caught:
            context.decode([Span(0, position, [5], 1)])
        assert caught.value.code in native.DECODE_FAILURES


@pytest.mark.parametrize("version", ["0.3.36", "0.3.36.post1", "0.3.36+cu124"])
def test_a_tested_version_is_nothing_to_mention(version: str) -> None:
    assert native.version_warning(version) == ""


@pytest.mark.parametrize("version", ["0.3.35", "0.4.0", "1.0", "", "dev"])
def test_an_untested_version_is_said_with_those_that_were_tested(version: str) -> None:
    warning = native.version_warning(version)
    assert version in warning
    assert "0.3.36" in warning
    assert "\n" not in warning


def test_an_engine_says_it_once(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "binding_version", lambda: "9.9.9")
    with load(tiny_path, n_ctx=64) as engine:
        assert sum("9.9.9" in warning for warning in engine.warnings) == 1
