"""Stored runs of several models as tables and a picture in a document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common.errors import InvalidTextError
from amulet_local.evaluation.adherence.documentation import main, read_run
from amulet_local.evaluation.adherence.study import EXAMPLE_QUESTIONS, LOG
from tests.evaluation.adherence.test_report import entry


def run_folder(path: Path, *entries: dict[str, Any]) -> Path:
    path.mkdir()
    text = "".join(json.dumps({**item, "warnings": []}) + "\n" for item in entries)
    (path / LOG).write_text(text)
    return path


def test_the_reference_comes_first_and_answers_made_as_examples_are_left_out(
    tmp_path: Path,
) -> None:
    folder = run_folder(
        tmp_path / "run",
        entry("amulet:balanced", EXAMPLE_QUESTIONS[0]),
        entry("amulet:balanced"),
        entry("pref", examples=1),
        entry("pref"),
    )
    found = [(item["method"], item["examples"]) for item in read_run(folder)]
    assert found == [("pref", 0), ("amulet:balanced", 0), ("pref", 1)]


def test_a_run_without_the_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidTextError, match="no answer of `pref`"):
        read_run(run_folder(tmp_path / "run", entry("base")))


def test_each_model_has_a_table_and_a_second_time_replaces_the_first(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    runs = [
        f"{name}={run_folder(tmp_path / name, entry('pref', follows=ok), entry('amulet:paper'))}"
        for name, ok in (("Small", False), ("Large", True))
    ]
    document = tmp_path / "strength.md"
    document.write_text("# Strength\n\nText.\n")
    for _ in range(2):
        main([*runs, "--document", str(document)])
    text = document.read_text()
    assert text.startswith("# Strength\n\nText.\n")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Strength",
        "### Small",
        "### Large",
    ]
    assert text.count("+1.00 [") == text.count("+0.00 [") == 1
    assert (tmp_path / "adherence.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_title_is_refused(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "MODEL=FOLDER" in capsys.readouterr().err
