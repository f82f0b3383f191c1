"""Tables of values with commas between them: how the heading and the rows of one are read.

Knows nothing about what is in a table. The heading says with its first line what is between the
values: a comma, a semicolon, as spreadsheets of many countries have it, or a tab.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SEPARATORS = ",;\t"


@dataclass(frozen=True)
class TableRow:
    """A row that isn't blank.

    Attributes:
        number: of the line in which it begins, from 1.
        cells: by the names of the columns, in lower case; those that are missing are left out.
        problem: what is wrong with it; empty if nothing is.
    """

    number: int
    cells: dict[str, str]
    problem: str = ""


class CsvTable:
    """The rows below a heading.

    Attributes:
        columns: their names, in lower case.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the heading: the first line that isn't blank.

        Args:
            lines: each with its end.
        """
        self._lines = iter(lines)
        self._n_before = 0
        heading = ""
        for heading in self._lines:
            self._n_before += 1
            if heading.strip("\ufeff \t\r\n"):
                break
        heading = heading.removeprefix("\ufeff")
        self._separator = max(SEPARATORS, key=heading.count)
        names = next(csv.reader([heading], delimiter=self._separator), [])
        self.columns = [name.strip().lower() for name in names]

    def rows(self) -> Iterator[TableRow]:
        """The rows, to the end."""
        reader = csv.reader(self._lines, delimiter=self._separator, strict=True)
        while True:
            number = self._n_before + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield TableRow(number, {}, f"the row isn't sound CSV: {error}")
                continue
            if any(cell.strip() for cell in cells):
                yield TableRow(
                    number, dict(zip(self.columns, cells, strict=False)), self._excess(cells)
                )

    def _excess(self, cells: list[str]) -> str:
        n_columns = len(self.columns)
        if not any(cell.strip() for cell in cells[n_columns:]):
            return ""
        return (
            f"the row has {len(cells)} values under {n_columns} headings; a text with "
            f"{self._separator!r} in it has to be in double quotation marks"
        )
