"""Lets a model compare stored answers: scripts/judge_adherence --judge MODEL FOLDER ...

The bank's known pairs come first: how often the judge is right where a rule knows. Then each
answer of the study is compared with the one to the same prompt that the preference prompt alone
gave. Every verdict is stored as it is given, beside the answers, so that what was stopped goes on
where it was. Knows nothing about how a judge decides.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError
from amulet_local.common.termination import gone_on_with_later
from amulet_local.evaluation.adherence.documentation import REFERENCE, read_run
from amulet_local.evaluation.adherence.judged import (
    JUDGED,
    judge_all,
    judged_table,
    known_entries,
    pairs_of,
)
from amulet_local.evaluation.judges import JudgeOptions, open_judge

N_CTX = 2048


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="judge_adherence", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of stored answers")
    parser.add_argument("--judge", required=True, help="a GGUF file, or a name")
    parser.add_argument("--methods", help="of stored answers that are judged; all without")
    options = parser.parse_args(arguments)
    try:
        runs = []
        for folder in options.folders:  # what is wrong with one is said before any is judged
            entries = read_run(folder)
            if options.methods is not None:
                wanted = (REFERENCE, *options.methods.split(","))
                entries = [entry for entry in entries if entry["method"] in wanted]
            private_files.check(folder / JUDGED)
            runs.append((folder, pairs_of(entries)))
        with open_judge(JudgeOptions(model=options.judge, n_ctx=N_CTX)) as judge:
            for folder, pairs in runs:
                path = folder / JUDGED
                judge_all(judge, [*known_entries(), *pairs], path)
                print(f"{folder}: {judged_table(judge.source, pairs, path)}\n")
    except AmuletError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    with gone_on_with_later():
        main()
