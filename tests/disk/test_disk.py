"""Each write, sync and rename fails in turn, the process is killed, the power is lost.

Of all that the package writes, what is found afterwards is the old or the new, and what was
acknowledged stays.
"""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.disk.notes import Disk, Note, put, read_notes
from tests.disk.writers import WRITERS, use

pytestmark = [
    pytest.mark.lengthy,
    pytest.mark.skipif(sys.platform != "linux", reason="the layer is for Linux"),
]


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer, compiled."""
    library = tmp_path_factory.mktemp("layer") / "layer.so"
    source = REPOSITORY / "tests" / "disk" / "layer.c"
    command = ["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_fails_or_ends_what_is_found_is_the_old_or_the_new(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for kind in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"AMULET_{kind}", "")  # undone at the end
    notes, folder, writer = tmp_path / "notes.bin", tmp_path / "notes" / "files", WRITERS[name]
    done = subprocess.run(
        [sys.executable, "-m", "tests.disk.writers", name, notes],
        cwd=REPOSITORY,
        env={**os.environ, "LD_PRELOAD": str(layer)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    calls = read_notes(notes)
    assert int(done.stdout) >= len(calls) > 0
    use(folder)
    new = writer.read(folder)
    disk: Disk = pickle.loads(notes.with_suffix(".before").read_bytes())
    put(folder, disk.killed())
    old = writer.read(folder)
    assert old != new
    for call in calls:
        disk.take(call)
        for files in (disk.killed(), *disk.after_power_loss()):
            put(folder, files)
            assert writer.read(folder) in (old, new), call
    found = []
    for files in (disk.killed(), *disk.after_power_loss()):
        put(folder, files)
        found.append(writer.read(folder))
    assert found == [new] * 3 if writer.is_kept else found[0] == new


def test_power_loss_drops_what_was_not_synced(tmp_path: Path) -> None:
    """What the layer's notes say, by hand: a rename before its file's sync loses the file."""
    (tmp_path / "a").write_bytes(b"old")
    disk, path, part = Disk.of(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")
    for note in (
        Note("C", 7, 0, part.encode()),
        Note("W", 7, 0, b"ne"),
        Note("W", 7, 2, b"w"),
        Note("R", 0, 0, f"{part}\0{path}".encode()),
    ):
        disk.take(note)
    assert disk.killed() == {path: b"new"}
    assert [*disk.after_power_loss()] == [{path: b"old"}, {path: b""}]
    disk.take(Note("S", 7, 0, path.encode()))
    assert [*disk.after_power_loss()] == [{path: b"old"}, {path: b"new"}]
    disk.take(Note("S", 1, 0, str(tmp_path).encode()))
    assert [*disk.after_power_loss()] == [{path: b"new"}] * 2


def test_files_are_given_their_names_in_one_place() -> None:
    """What is renamed without a sync would be empty after power loss."""
    own = REPOSITORY / "amulet_local" / "common" / "private_files.py"
    found = []
    for path in (REPOSITORY / "amulet_local").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_rename = isinstance(node, ast.Attribute) and (
                node.attr in ("rename", "renames", "move")
                or ast.unparse(node) in ("os.replace", "os.link")
            )
            if is_rename and path != own:
                found.append(f"{path.name}: {ast.unparse(node)}")
    assert found == []
