"""Stored runs of several models as tables and a picture in a document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common.errors import InvalidTextError
from amulet_local.evaluation.adherence.documentation import main, read_run
from amulet_local.evaluation.adherence.judged import JUDGED, pairs_of
from amulet_local.evaluation.adherence.named import NAMED_LOG, PLAIN
from amulet_local.evaluation.adherence.report import METHOD, prompt_of
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
    for number, item in enumerate((entry("base"), entry("pref", sampling='{"temperature": 0.7}'))):
        with pytest.raises(InvalidTextError, match="no greedy answer of `pref`"):
            read_run(run_folder(tmp_path / str(number), item))


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


def test_all_methods_and_models_are_in_one_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    one = [entry("pref", follows=False), entry("pref", follows=False, examples=1)]
    other = [entry("pref"), entry("amulet:balanced", loops=True)]
    runs = [
        f"{name}={run_folder(tmp_path / name, *entries)}"
        for name, entries in (("Small", one), ("Large", other))
    ]
    for name in ("strength.md", "README.md"):
        (tmp_path / name).write_text("# Text\n")
    places = (
        "--document",
        str(tmp_path / "strength.md"),
        "--in-short",
        str(tmp_path / "README.md"),
    )
    for _ in range(2):
        main([*runs, *places])
    rows = [line for line in (tmp_path / "README.md").read_text().splitlines() if "|" in line]
    assert rows == [
        "| | Small | Large |",
        "|---|---|---|",
        "| the prompt alone | 0.00, 0% | 1.00, 0% |",
        "| the prompt with two examples | 0.00, 0% |  |",
        "| **the default here** |  | 0.00, 100% |",
    ]


def test_a_judges_verdicts_are_a_column_and_its_agreement_comes_first(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    entries = [entry("pref"), entry("amulet:paper", follows=False)]
    folder = run_folder(tmp_path / "run", *entries)
    (pair,) = pairs_of(entries)
    verdict = {
        "judge": "judge.gguf (7 bytes), prompts 1",
        "methods": [[item[name] for name in METHOD] for item in pair],
        "prompt": list(prompt_of(pair[0])),
        "outcome": "win",
    }
    (folder / JUDGED).write_text(json.dumps(verdict) + "\n")
    document = tmp_path / "strength.md"
    document.write_text("# Strength\n")
    main([f"Small={folder}", "--document", str(document)])
    text = document.read_text()
    assert text.index("none of 0 pairs of known answer") < text.index("| `pref` |")
    assert "The judge is judge.gguf." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `amulet:paper`")]
    assert row.endswith("| 1.00 [0.21, 1.00] of 1 pairs |")


def test_answers_by_name_have_a_section_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    folder = tmp_path / "run"
    folder.mkdir()
    answers = [entry("base", preference=PLAIN, finish_reason="stop", text="Go to bed.")]
    answers.append(entry("amulet", preference="concise", finish_reason="stop", text="Bed."))
    text = "".join(json.dumps({**item, "warnings": []}) + "\n" for item in answers)
    (folder / NAMED_LOG).write_text(text)
    document = tmp_path / "strength.md"
    untouched = "<!-- figures of the stored run -->\n\n<!-- end of the figures -->"
    document.write_text(f"# Strength\n\n{untouched}\n")
    for _ in range(2):
        main([f"Small={folder}", "--document", str(document)])
    found = document.read_text()
    assert found.count("| `concise` | `amulet` | words | 3.00 | 1.00 | 0.33 times") == 1
    assert untouched in found


def test_a_run_without_a_title_is_refused(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "MODEL=FOLDER" in capsys.readouterr().err
