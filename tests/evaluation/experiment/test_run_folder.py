"""Which folder a run has."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local import errors
from amulet_local.evaluation.experiment.run_folder import (
    existing_run,
    read_settings,
    run_folder,
)


def test_the_same_settings_have_the_same_folder_and_others_another(tmp_path: Path) -> None:
    one = run_folder(tmp_path, {"a": 1, "b": [2]})
    assert run_folder(tmp_path, {"b": [2], "a": 1}) == one
    assert run_folder(tmp_path, {"a": 2, "b": [2]}) != one
    assert read_settings(one) == {"a": 1, "b": [2]}


def test_a_run_is_found_by_its_own_folder_or_as_the_only_one(tmp_path: Path) -> None:
    with pytest.raises(errors.FileAccessError, match="no run"):
        existing_run(tmp_path)
    one = run_folder(tmp_path, {"a": 1})
    assert existing_run(one) == existing_run(tmp_path) == one
    run_folder(tmp_path, {"a": 2})
    with pytest.raises(errors.FileAccessError, match="2 runs"):
        existing_run(tmp_path)
