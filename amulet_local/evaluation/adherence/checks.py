"""Checks that a user brings: a regular expression, a function in a file of Python, or the rule of
a preference of the bank.

A file is run as it is: it is the user's own program.
"""

from __future__ import annotations

import re
import runpy
from difflib import get_close_matches
from pathlib import Path

from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.evaluation.adherence.answer import AnswerText
from amulet_local.evaluation.adherence.bank import BANK
from amulet_local.evaluation.adherence.published import Check

FUNCTION = "follows"
"""What the function in a file of Python is called: follows(question, answer) -> bool."""


def parse_check(text: str) -> Check:
    """The check that a text names.

    Args:
        text: "regex:PATTERN", which an answer follows if the pattern is found in it (Python's
            syntax; "^" and "$" match at lines), or "python:FILE" with a function
            follows(question, answer) that returns True or False, or None if it can't tell, or
            "bank:NAME", the rule of the bank's preference of that name.

    Raises:
        InvalidParameterError: none of the three, a pattern that isn't one, a name that isn't one,
            or a file without such a function or that fails. The check itself raises it if the
            function fails or returns something else.
        FileAccessError: the file can't be read.
    """
    kind, colon, rest = text.partition(":")
    if colon and rest.strip() and kind == "regex":
        return _regex(rest)
    if colon and rest.strip() and kind == "python":
        return _function(Path(rest.strip()).expanduser())
    if colon and rest.strip() and kind == "bank":
        return _banked(rest.strip())
    raise InvalidParameterError(
        f"a check is regex:PATTERN, python:FILE or bank:NAME, e.g. 'regex:^- ', got {text[:80]!r}"
    )


def _banked(name: str) -> Check:
    for preference in BANK:
        if preference.name == name:
            return preference.check
    near = get_close_matches(name, [preference.name for preference in BANK])
    hint = f"; did you mean {' or '.join(near)}?" if near else ", e.g. bank:lower-case"
    raise InvalidParameterError(f"the bank has no preference {name[:80]!r}{hint}")


def _regex(pattern: str) -> Check:
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise InvalidParameterError(f"{pattern[:80]!r} is no regular expression: {error}") from None

    def check(answer: AnswerText) -> bool | None:
        return compiled.search(answer.text) is not None

    return check


def _function(path: Path) -> Check:
    try:
        path.read_bytes()
    except OSError as error:
        raise FileAccessError(f"can't read {path}: {error.strerror}") from None
    try:
        function = runpy.run_path(str(path)).get(FUNCTION)
    except Exception as error:
        raise InvalidParameterError(f"{path} fails: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise InvalidParameterError(f"{path} has no function {FUNCTION}(question, answer)")

    def check(answer: AnswerText) -> bool | None:
        try:
            found = function(answer.question, answer.text)
        except Exception as error:
            raise InvalidParameterError(
                f"{FUNCTION} of {path} fails: {type(error).__name__}: {error}"
            ) from error
        if found is not None and not isinstance(found, bool):
            raise InvalidParameterError(
                f"{FUNCTION} of {path} has to return True, False or None, got {found!r:.40}"
            )
        return found

    return check
