"""CSV files as a job's input: each row below the heading is a line, whose fields are its columns.

Knows the names of a line's fields, and nothing about what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amulet_local.batch.line_fields import LineFields
from amulet_local.common.csv_tables import CsvTable, TableRow
from amulet_local.common.errors import FileAccessError

_ENDINGS = tuple(f"{ending}{packed}" for ending in (".csv", ".tsv") for packed in ("", ".gz"))
QUESTIONS = ("prompt", "question")
"""What the column with the questions is called."""
_OBJECTS = ("messages", "template_arguments", "json_schema", "logit_bias")
"""Fields that no cell has."""
COLUMNS = frozenset((*LineFields.model_fields, *LineFields.options, *QUESTIONS)) - {*_OBJECTS}
"""What is read of a row."""


@dataclass(frozen=True)
class RowLine:
    """A row, as a line.

    Attributes:
        number: of the line in which it begins, from 1.
        data: its fields as JSON.
        problem: what is wrong with it; empty if nothing is.
    """

    number: int
    data: bytes
    problem: str = ""


def is_table(name: str) -> bool:
    """Whether a file is one by its name."""
    return name.lower().endswith(_ENDINGS)


def lines_of_rows(lines: Iterable[bytes], name: str) -> Iterator[RowLine]:
    """The rows of a table.

    Args:
        name: of the file.

    Raises:
        FileAccessError: no column has questions.
    """
    table = _table(lines, name)
    for row in table.rows():
        yield _line(row)


def unread_columns(lines: Iterable[bytes], name: str) -> list[str]:
    """The columns of a table that aren't read.

    Args:
        name: of the file.

    Raises:
        FileAccessError: no column has questions.
    """
    return [column for column in _table(lines, name).columns if column and column not in COLUMNS]


def _table(lines: Iterable[bytes], name: str) -> CsvTable:
    table = CsvTable(line.decode(errors="surrogateescape") for line in lines)
    if not any(column in QUESTIONS for column in table.columns):
        found = ", ".join(map(repr, table.columns[:9])) or "none"
        raise FileAccessError(
            f"{name!r}: its first line has to name the columns, {' or '.join(QUESTIONS)} among "
            f"them, and names {found:.200}; in a .txt file each line is a question"
        )
    return table


def _line(row: TableRow) -> RowLine:
    cells = {name: cell for name, cell in row.cells.items() if name in COLUMNS and cell.strip()}
    problem = row.problem
    data = json.dumps(cells, ensure_ascii=False).encode(errors="surrogateescape")
    try:
        data.decode()
    except UnicodeDecodeError:
        problem = problem or "the row isn't UTF-8 text; save the table as CSV in UTF-8"
    return RowLine(row.number, data, problem)
