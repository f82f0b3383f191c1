"""Which folder a run has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amulet_local import errors
from amulet_local.evaluation.experiment.run_folder import (
    existing_runs,
    read_settings,
    run_folder,
)


def test_the_same_settings_have_the_same_folder_and_others_another(tmp_path: Path) -> None:
    one = run_folder(tmp_path, {"a": 1, "b": [2]})
    assert run_folder(tmp_path, {"b": [2], "a": 1}) == one
    assert run_folder(tmp_path, {"a": 2, "b": [2]}) != one
    assert read_settings(one) == {"a": 1, "b": [2]}


def test_runs_are_found_by_their_own_folder_or_the_one_that_holds_them(tmp_path: Path) -> None:
    with pytest.raises(errors.FileAccessError, match="no run"):
        existing_runs(tmp_path)
    one = run_folder(tmp_path, {"a": 1})
    assert existing_runs(one) == existing_runs(tmp_path) == [one]
    others = [run_folder(tmp_path, {"a": number}) for number in (2, 3)]
    for age, run in enumerate((others[1], one, others[0])):
        os.utime(run / "settings.json", (1_000 - age, 1_000 - age))
    assert existing_runs(tmp_path) == [others[1], one, others[0]]
    assert existing_runs(one) == [one]
