"""Puts the tables of a stored run into a document, between two marks: scripts/evaluation_table.

Knows nothing about how figures come about. Without marks the section goes to the document's end.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError, InvalidTextError
from amulet_local.common.json_log import read_log
from amulet_local.common.readable import duration
from amulet_local.evaluation.experiment import report_text as words
from amulet_local.evaluation.experiment.answering import RESPONSES
from amulet_local.evaluation.experiment.results import Results
from amulet_local.evaluation.experiment.run_folder import existing_runs
from amulet_local.evaluation.experiment.tables import TablePart, column, methods_in
from amulet_local.evaluation.scorers import DEFAULT_SCORERS, scorers_named

END = "<!-- end of the figures -->"
DOCUMENT = Path(__file__).parents[3] / "docs" / "evaluation.md"
MAX_BYTES = 2**22


MADE_BY = """\
```console no-test: needs the authors' files, and an hour
$ amulet-local eval personal_preference_eval_preference_data.json HelpSteer_train.json \\
      UltraFeedback_truthful_qa.json UltraFeedback_ultrachat.json --sample 12 --preference all \\
      --methods base,pref,beam@creative+concise,context_steering,linear_alignment,\\
linear_alignment_masked,amulet:paper,amulet:balanced,amulet:strong,amulet:kl=0.35 \\
      -n 48 -c 1024 -o runs
$ scripts/evaluation_table runs
```"""
"""The commands that our run and its tables were made with."""


def section(results: Results) -> str:
    """The section on a run.

    Raises:
        InvalidTextError: no question of it is answered completely.
    """
    if not results.questions:
        raise InvalidTextError(f"{results.folder} has no question that every method has answered")
    scorers = [name for name in DEFAULT_SCORERS if name in results.scores]
    seconds = sum(float(x.get("seconds", 0.0)) for x in read_log(results.folder / RESPONSES))
    parts = [
        "## Our table",
        "Made by these commands, on the four sets of questions that the paper's authors publish; "
        "the second one writes this section from the stored run.",
        MADE_BY,
        words.summary(results),
        f"The answers took {duration(seconds)} in all, one after the other, on 2 cores that were "
        f"used for other work as well. {words.NOTES}",
    ]
    for title, part in words.overall_parts(results):
        parts += [f"### {title}", words.overall_table(results, scorers, part)]
        parts.append(words.reference_table(results, ["margin", "fluency", "broken"], part))
    guards = words.guard_table(results, scorers)
    if guards:
        parts += ["### What the guards bring at matched strength", guards]
    for scorer in ("margin", "broken"):
        parts += [f"### {scorer} by preference", _by_preference(results, scorer)]
        parts += [f"### {scorer} by set", _by_set(results, scorer)]
    return "\n\n".join(part for part in parts if part)


def _by_preference(results: Results, scorer: str) -> str:
    return _across(results, scorer, {wish: TablePart(wishes=(wish,)) for wish in results.wishes})


def _by_set(results: Results, scorer: str) -> str:
    wishes = results.wishes
    return _across(
        results, scorer, {name: TablePart(wishes=wishes, dataset=name) for name in results.datasets}
    )


def _across(results: Results, scorer: str, parts: dict[str, TablePart]) -> str:
    columns = {name: column(results, scorer, part) for name, part in parts.items()}
    rows = []
    for method in results.methods:
        if any(method in methods_in(results, part) for part in parts.values()):
            cells = [
                words.shown(found[method.name], scorer) if method.name in found else "-"
                for found in columns.values()
            ]
            rows.append([f"`{words.plain_text(method.name)}`", *cells])
    return words.table(["method", *map(words.plain_text, columns)], rows)


def with_section(document: str, text: str, what: str = "stored run") -> str:
    """The document with this section in the place of an earlier one, or at its end.

    Args:
        what: whose figures they are: what its first mark says.
    """
    begin = f"<!-- figures of the {what} -->"
    block = f"{begin}\n\n{text}\n\n{END}"
    found = re.compile(re.escape(begin) + ".*?" + re.escape(END), re.DOTALL)
    if found.search(document):
        return found.sub(lambda _: block, document, count=1)
    return f"{document.rstrip()}\n\n{block}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="evaluation_table", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run, or the one that holds it")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    try:
        run = existing_runs(options.run)[0]
        results = Results(run)
        results.score(scorers_named(DEFAULT_SCORERS))
        document = private_files.read(options.document, max_bytes=MAX_BYTES).decode()
        text = with_section(document, section(results))
        options.document.write_text(text, encoding="utf-8")
        print(f"{options.document} has the figures of {run}")
    except (AmuletError, OSError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
