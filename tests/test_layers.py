"""What may import what, what importing does, and what the public names are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import amulet_local
from amulet_local import errors as public_errors
from amulet_local.common import errors

PACKAGE = Path(amulet_local.__file__).parent
ROOMS = [
    "common",
    "text",
    "optimizer",
    "grammar",
    "calling",
    "params",
    "preferences",
    "profile",
    "llama",
    "prompts",
    "steering",
    "loading",
    "answering",
    "conversation",
    "learning",
    "openai",
    "serving",
    "engine",
    "isolation",
    "explanation",
    "benchmark",
    "evaluation",
    "server",
    "batch",
    "cli",
    "llm_plugin",
]
"""Folders and files of the package, each of which imports only from itself and those before it."""
FACADE = {"__init__", "__main__", "errors"}
LLAMA_CPP = {"amulet_local.benchmark.outside"}
"""Outside of the folder llama: it compares with llama-cpp-python's own class."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(module: str) -> set[str]:
    """Names of modules, this package's in full."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return found - {module}


IMPORTS = {module: imported(module) for module in MODULES}


def own(names: Iterable[str]) -> set[str]:
    """Those that are this package's, but for the facade."""
    return {name for name in names if name.startswith("amulet_local.")}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_its_place() -> None:
    rooms = {room_of(module) for module in MODULES} - FACADE
    assert rooms == set(ROOMS)


def test_only_the_front_door_lies_at_the_top() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*FACADE, "engine", "llm_plugin"}


def test_imports_point_down() -> None:
    for module in set(MODULES) - {"amulet_local"}:
        room = room_of(module)
        if room in FACADE:
            continue
        allowed = set(ROOMS[: ROOMS.index(room) + 1])
        for name in own(IMPORTS[module]):
            assert room_of(name) in allowed, f"{module} imports {name}"


def test_modules_import_in_no_circle() -> None:
    assert circle({module: own(names) for module, names in IMPORTS.items()}) == []


def test_folders_import_in_no_circle() -> None:
    """Neither rooms nor the folders inside them."""
    graph: dict[str, set[str]] = {}
    for module, names in IMPORTS.items():
        if room_of(module) in FACADE:
            continue
        for name in own(names):
            mine, other = divided(module, name)
            if mine != other:
                graph.setdefault(mine, set()).add(other)
    assert circle(graph) == []


def divided(module: str, other: str) -> tuple[str, str]:
    """Where two modules part: the folders, or files beside them, that each is in there."""
    mine, theirs = module.split("."), other.split(".")
    n = 0
    while n < min(len(mine), len(theirs)) - 1 and mine[n] == theirs[n]:
        n += 1
    return ".".join(mine[: n + 1]), ".".join(theirs[: n + 1])


def test_llama_cpp_is_imported_in_one_folder() -> None:
    for module in MODULES:
        if room_of(module) != "llama" and module not in LLAMA_CPP:
            names = {name.split(".")[0] for name in IMPORTS[module]}
            assert "llama_cpp" not in names, module


def test_every_module_says_what_it_does() -> None:
    for module, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), module


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / room).is_dir()])
def test_room_says_what_it_knows_and_may_import(room: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8"))) or ""
    assert "It knows no" in text
    assert "may import" in text or "imports no other room" in text


def test_public_names_exist_once() -> None:
    assert all(hasattr(amulet_local, name) for name in amulet_local.__all__)
    assert len(set(amulet_local.__all__)) == len(amulet_local.__all__)


def test_every_exception_is_imported_from_the_module_that_the_documentation_names() -> None:
    written = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.AmuletError)
    }
    assert set(public_errors.__all__) == written
    assert amulet_local.errors is public_errors
    assert public_errors.ModelNotFoundError is errors.ModelNotFoundError


def test_importing_starts_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, threading, os\n"
        "before = dict(os.environ)\n"
        "import amulet_local\n"
        "assert 'llama_cpp' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
        "assert dict(os.environ) == before\n"
    )
    cache = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"AMULET_CACHE": str(cache), "PATH": "", "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not cache.exists()


def test_every_error_is_in_the_drawn_tree() -> None:
    tree = errors.__doc__ or ""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 10
    for kind in classes:
        assert issubclass(kind, errors.AmuletError)
        assert kind.__name__ in tree
