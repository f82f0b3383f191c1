"""Measures what the built-in preferences change on a model: scripts/study_names.

    scripts/study_names --model MODEL --out FOLDER

Every question is answered plainly, and under each name that something can be counted of, greedily.
Each answer is stored as it is made, so that a run which was stopped goes on where it was. Knows
nothing about what is counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError
from amulet_local.common.private_files import make_folder
from amulet_local.common.termination import gone_on_with_later
from amulet_local.evaluation.adherence.named import (
    NAMED_LOG,
    NAMED_QUESTIONS,
    named_table,
    named_tasks,
)
from amulet_local.evaluation.adherence.study import run, stored
from amulet_local.evaluation.experiment.contestants import contestants
from amulet_local.evaluation.questions import parse_questions
from amulet_local.isolation.load import load
from amulet_local.loading.model_store import DEFAULT_MODEL

_PROMPT_TOKENS = 256


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="study_names", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a GGUF file, or a name")
    parser.add_argument("--out", type=Path, required=True, help="folder of one model's answers")
    parser.add_argument(
        "--methods", default="pref,amulet:balanced", help="as for `amulet-local eval`"
    )
    parser.add_argument("--questions", type=Path, help="a file of them, instead of the built-in")
    parser.add_argument("--max-tokens", type=int, default=256, help="of an answer")
    parser.add_argument("--at-once", type=int, default=8, help="answers computed together")
    parser.add_argument(
        "--report", action="store_true", help="print what is there of it, make nothing"
    )
    options = parser.parse_args(arguments)
    try:
        questions: Sequence[str] = NAMED_QUESTIONS
        if options.questions is not None:
            text = private_files.read(options.questions, max_bytes=1 << 24).decode()
            questions = parse_questions(text, str(options.questions))
        wanted = list(
            named_tasks(contestants(options.methods), questions, max_tokens=options.max_tokens)
        )
        make_folder(options.out)
        path = options.out / NAMED_LOG
        if not options.report:
            with load(options.model, n_ctx=options.max_tokens + _PROMPT_TOKENS) as engine:
                run(engine, wanted, path, at_once=options.at_once)
        asked = {task.key for task in wanted}
        print(named_table([item for key, item in stored(path).items() if key in asked]))
    except AmuletError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    with gone_on_with_later():
        main()
