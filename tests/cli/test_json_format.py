"""What programs read: every object says its version, and answers are as their schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from amulet_local.cli.json_format import FORMAT, answer_schema
from tests import help_in_docs
from tests.cli.conftest import CallCli

pytestmark = pytest.mark.usefixtures("tiny_by_default")

ASK = ("What is dew?", "-n", "3", "--json")


def output(call: CallCli, *arguments: Any) -> Any:
    return json.loads(call(*arguments).out)


def test_the_schema_in_the_documentation_is_the_programs() -> None:
    assert help_in_docs.SCHEMA.read_text() == help_in_docs.schema_text(), "scripts/update_help"


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", *ASK),
        ("generate", *ASK, "--preference", "concise"),
        ("generate", *ASK, "--temp", "0.7", "--stop", "e"),
        ("explain", *ASK, "--preference", "concise"),
    ],
)
def test_an_answer_is_as_its_schema_says(call: CallCli, arguments: tuple[str, ...]) -> None:
    answer = output(call, *arguments)
    jsonschema_rs.validator_for(answer_schema()).validate(answer)
    assert answer["format"] == FORMAT
    for missing in ("text", "applied", "settings", "format"):
        less = {name: value for name, value in answer.items() if name != missing}
        assert not jsonschema_rs.is_valid(answer_schema(), less)


def test_compare_has_answers_by_their_methods(call: CallCli) -> None:
    answers = output(call, "compare", *ASK, "--preference", "concise")
    assert list(answers) == ["base", "pref", "amulet"]
    for answer in answers.values():
        jsonschema_rs.validator_for(answer_schema()).validate(answer)


def test_other_objects_say_their_version_too(call: CallCli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "Hi"}\n')
    batch = ("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "-n", "2", "--json")
    for arguments in (
        batch,
        ("models", "--json"),
        ("models", "show", "smollm2", "--json"),
        ("preferences", "list", "--json"),
    ):
        assert output(call, *arguments)["format"] == FORMAT, arguments
