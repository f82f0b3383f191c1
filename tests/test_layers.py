"""What may import what, what importing does, and what the public names are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import amulet_local

PACKAGE = Path(amulet_local.__file__).parent
LAYERS = [
    {"errors", "user_folders", "readable"},
    {"prompt_cache", "private_files", "preference_names", "toml_lines", "remembered"},
    {"user_settings"},
    {"settings_editor"},
    {
        "reasoning",
        *("params", "preferences", "results", "optimizer", "regions", "sentences", "repetition"),
        *("grammar", "sampling_values", "scaled_files", "json_position"),
    },
    {"liked_texts", "learned"},
    {"presets", "watch", "decoding", "stop_texts"},
    {"llama"},
    {
        "model_store",
        "template_budget",
        "template_functions",
        "template_sandbox",
        "literal_text",
        "known_text",
        "chat_template",
        "runtime_setup",
        "tuning",
        "noise",
        "turns",
        "echo",
    },
    {"dialogue"},
    {"prompting", "steering"},
    {"request", "tracing"},
    {"answer"},
    {"beams"},
    {"generation", "beam_search", "cohort", "scoring", "teacher_forcing"},
    {"learning", "liked_answers"},
    {"stream", "turn_stream", "conversation_settings", "request_maker", "async_stream"},
    {"conversation_file", "turn_draft", "openai_shapes"},
    {"chat_completion"},
    {"conversation", "serving"},
    {"engine"},
    {"explanation", "explanation_page", "html_page", "server"},
    {"__init__", "benchmark", "evaluation"},
    {"cli", "llm_plugin", "__main__"},
]
"""Lower layers first; a module imports from its own layer or below."""


def layer_of(module: str) -> int:
    part = module.split(".")[1] if "." in module else "__init__"
    for level, names in enumerate(LAYERS):
        if part in names:
            return level
    raise AssertionError(f"{module} has no place in the table of layers")


def modules() -> list[tuple[str, Path]]:
    result = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        result.append((".".join(parts), path))
    return result


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "amulet_local":
                found.update(f"amulet_local.{alias.name}" for alias in node.names)
            else:
                found.add(node.module)
    return found


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_imports_point_down(module: str, path: Path) -> None:
    public = {f"amulet_local.{name}" for name in amulet_local.__all__ if name != "errors"}
    for name in imports(path):
        if name in public:
            name = "amulet_local"
        if name.split(".")[0] == "amulet_local":
            assert layer_of(name) <= layer_of(module), f"{module} imports {name}"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_llama_cpp_is_imported_in_one_folder(module: str, path: Path) -> None:
    if not module.startswith("amulet_local.llama") and module != "amulet_local.benchmark.outside":
        assert not any(name.split(".")[0] == "llama_cpp" for name in imports(path))


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(value))
def test_module_says_what_it_does(module: str, path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring or path.stat().st_size == 0


def test_public_names_exist_once() -> None:
    assert all(hasattr(amulet_local, name) for name in amulet_local.__all__)
    assert len(set(amulet_local.__all__)) == len(amulet_local.__all__)


def test_importing_starts_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, threading, os\n"
        "before = dict(os.environ)\n"
        "import amulet_local\n"
        "assert 'llama_cpp' not in sys.modules and 'numba' not in sys.modules\n"
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
    from amulet_local import errors

    tree = errors.__doc__ or ""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 10
    for kind in classes:
        assert issubclass(kind, errors.AmuletError)
        assert kind.__name__ in tree
