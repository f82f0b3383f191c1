"""The documentation's examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import amulet_local
from amulet_local import load
from amulet_local.cli.app import command_named
from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
from tests import help_in_docs
from tests.cli.test_help import COMMANDS
from tests.conftest import REPOSITORY
from tests.shown_lines import RUN_ON_ONE_ENGINE, shown_lines
from tests.test_layers import PACKAGE, ROOMS

CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<file>[^()#\s:]*)(?:#(?P<place>[^()\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND_IN_BLOCK = re.compile(
    r"^(?:\$ )?(?:[^\n`]*\| *)?(?:ExecStart=\S*/|\.venv/bin/)?amulet-local\b"
    r"((?:[^\n\\]|\\\n|\\.)*)",
    re.MULTILINE,
)
COMMAND_IN_TEXT = re.compile(r"`(?:[^`\n]*\| *)?amulet-local\b([^`]*)`")
PATH = re.compile(r"`(?P<path>[a-z_]+(?:/[a-z_]+)*/(?:[a-z_]+\.(?:py|md))?)`")


def pages() -> list[Path]:
    """Every document of the repository."""
    inner = [path for folder in ("docs", "tests") for path in (REPOSITORY / folder).rglob("*.md")]
    return sorted([*REPOSITORY.glob("*.md"), *inner])


def places(path: Path) -> set[str]:
    """What a link may name after `#`: headings as GitHub writes them."""
    text = CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text)]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(
    ("name", "n_blocks"), [("python.md", 6), ("explain.md", 1), ("evaluation_scorers.md", 2)]
)
def test_every_block_is_found(name: str, n_blocks: int) -> None:
    text = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    found = [
        shown for shown in shown_lines(REPOSITORY / "docs" / name) if shown.language == "python"
    ]
    assert len(found) == text.count("\n```python") >= n_blocks
    assert text.count("\n```") % 2 == 0


def test_the_manual_has_the_default_system_text() -> None:
    text = (REPOSITORY / "docs" / "manual.md").read_text(encoding="utf-8")
    assert DEFAULT_SYSTEM_TEXT in " ".join(text.replace("\n> ", " ").split())


def test_every_public_name_is_in_the_documentation_of_the_python_interface() -> None:
    text = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    methods = [
        name
        for kind in (amulet_local.Engine, amulet_local.Conversation)
        for name in dir(kind)
        if not name.startswith("_")
    ]
    assert len(methods) > 30
    missing = [
        name for name in (*amulet_local.__all__, *methods) if not re.search(rf"\b{name}\b", text)
    ]
    assert missing == []


@pytest.mark.parametrize("name", RUN_ON_ONE_ENGINE)
def test_the_examples_run(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("judge.gguf").symlink_to(tiny_path)
    path = REPOSITORY / "docs" / name
    with load(tiny_path, n_ctx=1024) as engine:
        names: dict[str, Any] = {"engine": engine}
        for shown in shown_lines(path):
            if shown.language == "python" and not shown.reason:
                lines = "\n" * (shown.line - 1)  # so that they count as in the file
                exec(compile(lines + shown.text, str(path), "exec"), names)


def commands(path: Path) -> list[list[str]]:
    """The words of each command with arguments that a document shows."""
    text = path.read_text(encoding="utf-8")
    found = [item for block in CODE_BLOCK.findall(text) for item in COMMAND_IN_BLOCK.findall(block)]
    found += COMMAND_IN_TEXT.findall(CODE_BLOCK.sub("", text))
    result = []
    for line in found:
        words = shlex.split(line.replace("\\\n", " ").replace("\n", " "), comments=True)
        end = next((i for i, word in enumerate(words) if word in ("|", "<", ">", "&")), len(words))
        if len(words[:end]) > 1 and words[0] in COMMANDS and "--help" not in words:
            result.append(words[:end])
    return result


@pytest.mark.parametrize("path", help_in_docs.documents(), ids=lambda path: path.name)
def test_commands_that_are_shown_have_the_programs_flags(path: Path) -> None:
    shown = commands(path)
    assert shown or path.name not in ("README.md", "manual.md", "explain.md", "learn.md")
    for name, *arguments in shown:
        command = command_named(name)
        command.make_context(name, arguments)  # without running it
        inner = getattr(command, "commands", {}).get(arguments[0])
        if inner is not None and arguments[1:]:
            inner.make_context(arguments[0], arguments[1:])


@pytest.mark.parametrize("path", help_in_docs.documents(), ids=lambda path: path.name)
@pytest.mark.lengthy
def test_the_help_that_is_shown_is_the_programs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == help_in_docs.as_it_should_be(text), "scripts/update_help writes it anew"


def test_the_help_of_every_command_is_shown() -> None:
    text = (REPOSITORY / "docs" / "help.md").read_text(encoding="utf-8")
    shown = [block["arguments"].strip() for block in help_in_docs.BLOCK.finditer(text)]
    assert sorted(shown) == sorted(["", *COMMANDS])
    chat = (REPOSITORY / "docs" / "chat.md").read_text(encoding="utf-8")
    assert help_in_docs.SLASH_BLOCK.search(chat)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_links_lead_to_what_is_there(path: Path) -> None:
    text = CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        target = path.parent / link["file"] if link["file"] else path
        assert target.exists(), link[0]
        assert not link["place"] or link["place"] in places(target), link[0]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_files_that_documents_name_are_there(path: Path) -> None:
    text = CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))
    for found in PATH.finditer(text):
        bases = (REPOSITORY, PACKAGE, path.parent)
        assert any((base / found["path"]).exists() for base in bases), found[0]


def test_every_room_is_in_the_readme_and_in_the_architecture() -> None:
    tree = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("```\namulet_local/")[2]
    table = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ROOMS:
        name = f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py"
        assert f"\n  {name} " in tree, name
        assert f"\n| `{name}` |" in table, name


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / room).is_dir()])
def test_the_architecture_says_what_a_room_may_import(room: str) -> None:
    text = " ".join((PACKAGE / room / "__init__.py").read_text(encoding="utf-8").split())
    allowed = re.search(r"It may import (.+?)\.(?: |\"|$)", text)
    table = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{room}/` \|.*\| (.+) \|$", table, re.MULTILINE)
    assert row is not None
    assert row[1] == (allowed[1] if allowed else "-")
