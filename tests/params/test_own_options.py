"""An option of one's own, written once: a field in a subclass is found wherever options are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
ALL = {"warmth": 2, "bubbly": True, "glow": 3}


@pytest.fixture(scope="module")
def places() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.params.own_options"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.lengthy
def test_the_help_shows_it_under_its_heading(places: dict[str, Any]) -> None:
    section = places["help"].split("Sampling (greedy")[1].split("\n\n")[0]
    for text in ("-W, --warmth X", "How warm the words are. Default: 1.5.", "--bubbly"):
        assert text in section
    assert "--glow" in places["help"].split("Guards of the strength")[1].split("\n\n")[0]


@pytest.mark.parametrize("place", ["flags", "variables", "request"])
def test_its_value_arrives(places: dict[str, Any], place: str) -> None:
    assert places[place] == ALL


def test_the_command_line_comes_before_its_variable(places: dict[str, Any]) -> None:
    assert places["command line before variables"]["warmth"] == 2


def test_a_message_about_its_limit_has_its_flag(places: dict[str, Any]) -> None:
    assert places["message"].startswith("--warmth: must be less than or equal to 5")


def test_openapi_has_it(places: dict[str, Any]) -> None:
    assert places["OpenAPI"] == sorted(ALL)


def test_the_plugin_for_llm_has_it_with_its_description(places: dict[str, Any]) -> None:
    assert places["llm"] == {"warmth": ["how warm the words are", 2], "glow": ["how it glows", 3]}


@pytest.mark.parametrize("place", ["/set", "/set by another name"])
def test_a_chat_sets_and_shows_it(places: dict[str, Any], place: str) -> None:
    assert "warmth 2.0" in places[place].split(", ")


def test_a_method_of_eval_has_it(places: dict[str, Any]) -> None:
    assert places["eval"] == 3


def test_the_demo_knows_whether_it_takes_a_value(places: dict[str, Any]) -> None:
    assert "--bubbly" in places["demo"]
    assert not {"--warmth", "-W", "--glow"} & set(places["demo"])
