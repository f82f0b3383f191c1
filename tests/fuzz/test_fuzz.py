"""A short run over everything that is fuzzed, and all that was ever found; scripts/fuzz goes on."""

from __future__ import annotations

import mmap
import random
from contextlib import closing
from pathlib import Path

import pytest

from tests.fuzz import run as command
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS, made, run

pytestmark = pytest.mark.lengthy

SHORT = {"gguf": 300, "settings": 60, "templates": 25, "grammars": 60, "schemas": 60}
"""How many cases of a target are tried here; of others N_SHORT."""
N_SHORT = 40
IN_CHILDREN = ("native", "adapters")
"""What may end the process: tests/llama/ tries these two in children."""
FOUND = sorted(path for path in command.FOUND.glob("*/*") if path.parent.name not in IN_CHILDREN)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))  # what a target sets is undone
    return tmp_path


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in IN_CHILDREN])
def test_every_case_is_taken_or_refused_with_a_typed_error(folder: Path, name: str) -> None:
    target = TARGETS[name](folder)
    with closing(target):
        outcomes = [run(name, target, made(target, 1, n)) for n in range(SHORT.get(name, N_SHORT))]
    assert [outcome.fault for outcome in outcomes if outcome.fault] == []
    if name != "tokens":  # every text has tokens
        assert len({outcome.word for outcome in outcomes}) > 1, "all or none are refused"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_once_is_taken_or_refused(folder: Path, path: Path) -> None:
    name = path.parent.name
    with closing(TARGETS[name](folder)) as target:
        assert run(name, target, path.read_bytes()).fault == ""


class Broken(Target):
    """Fails or not, as the case says."""

    def make(self, rng: random.Random) -> bytes:
        return rng.choice((b"fails", b"fine", b"good"))

    def run(self, data: bytes) -> str:
        if data == b"fails":
            raise KeyError(data)
        return data.decode()


def test_a_case_is_the_same_whenever_it_is_made(folder: Path) -> None:
    target = TARGETS["conversations"](folder)
    assert made(target, 3, 7) == made(target, 3, 7) != made(target, 4, 7)


def test_what_fails_is_noted_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TARGETS", {"broken": Broken})
    tally = command.work("broken", 0, 10, 40, float("inf"), mmap.mmap(-1, 16))
    assert tally.faults
    assert set(tally.faults) == {
        n for n in range(10, 40) if made(Broken(Path()), 0, n)[:3] == b"fai"
    }
    assert tally.words.total() + len(tally.faults) == 30
