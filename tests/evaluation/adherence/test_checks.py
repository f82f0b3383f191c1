"""Checks that a user brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.evaluation.adherence.answer import AnswerText
from amulet_local.evaluation.adherence.checks import parse_check


def test_a_pattern_is_looked_for_anywhere_line_by_line() -> None:
    check = parse_check("regex:^- .*:$")
    assert check(AnswerText("Why?", "So:\n- a list:\n- of two")) is True
    assert check(AnswerText("Why?", "So - a list:")) is False


def test_a_function_gets_question_and_answer(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def follows(question, answer):\n    return question in answer or None\n")
    check = parse_check(f"python:{file}")
    assert check(AnswerText("Why?", "Why? So.")) is True
    assert check(AnswerText("Why?", "So.")) is None


def test_a_preference_of_the_bank_lends_its_rule() -> None:
    check = parse_check("bank:no-commas")
    assert check(AnswerText("Why?", "Because it is so.")) is True
    assert check(AnswerText("Why?", "Well, because.")) is False
    with pytest.raises(InvalidParameterError, match="did you mean no-commas"):
        parse_check("bank:no-comma")


@pytest.mark.parametrize(
    "text", ["", "regex:", "bank:", "python: ", "regex", "perl:x", "regex:(", "^- "]
)
def test_what_is_no_check_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        parse_check(text)


def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match="nowhere"):
        parse_check(f"python:{tmp_path}/nowhere.py")
    file = tmp_path / "mine.py"
    for source in ("", "follows = 3", "1 / 0", "def f(:"):
        file.write_text(source)
        with pytest.raises(InvalidParameterError, match=r"mine\.py"):
            parse_check(f"python:{file}")


@pytest.mark.parametrize("body", ["return 'yes'", "return 1 / 0", "return 1"])
def test_a_function_that_fails_or_says_neither_is_an_error(tmp_path: Path, body: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"def follows(question, answer):\n    {body}\n")
    with pytest.raises(InvalidParameterError, match=r"mine\.py"):
        parse_check(f"python:{file}")(AnswerText("Why?", "So."))
