"""Every row of docs/reliability.md has tests, and they are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY

ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.MULTILINE)
NODE = re.compile(r"`([\w/]+\.py)::(\w+)`")
N_ROWS = 41
"""Of what a trusted runtime of this kind has to survive: a row may be added, and none taken out."""


@cache
def known_tests(path: Path) -> dict[str, bool]:
    """The tests of a file, and whether the default suite has each."""
    if not path.is_file():
        return {}
    return {
        node.name: not any("mark.slow" in ast.unparse(mark) for mark in node.decorator_list)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }


def faults(page: str) -> list[str]:
    """What is wrong with the page's rows."""
    rows = ROW.findall(page)
    found = []
    numbers = [int(number) for number, _ in rows]
    if numbers != list(range(1, len(rows) + 1)) or len(rows) < N_ROWS:
        found.append(f"the rows are {numbers}")
    for number, row in rows:
        tests = {
            (name, test): known_tests(REPOSITORY / "tests" / name)
            for name, test in NODE.findall(row)
        }
        found += [
            f"{number}: no test {name}::{test}"
            for (name, test), there in tests.items()
            if test not in there
        ]
        if not any(there.get(test) for (_, test), there in tests.items()):
            found.append(f"{number}: no test in the default suite")
    return found


def test_every_row_has_tests_that_are_there() -> None:
    assert faults((REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")) == []


def test_a_row_without_its_test_is_found() -> None:
    sound = "`test_reliability.py::test_a_row_without_its_test_is_found`"
    rows = [f"| {number} | a | b | {sound} |" for number in range(1, N_ROWS + 1)]
    assert faults("\n".join(rows)) == []
    slow = "`server/test_crowd.py::test_a_thousand_requests_leave_no_memory_behind`"
    for number, cell in enumerate(
        ("nothing", "`test_gone.py::test_a`", "`test_docs.py::test_gone`", slow)
    ):
        rows[number] = f"| {number + 1} | a | b | {cell} |"
    assert faults("\n".join(rows[:-1])) == [
        f"the rows are {list(range(1, N_ROWS))}",
        "1: no test in the default suite",
        "2: no test test_gone.py::test_a",
        "2: no test in the default suite",
        "3: no test test_docs.py::test_gone",
        "3: no test in the default suite",
        "4: no test in the default suite",
    ]
