"""What prompts and strengths do, judged by rules: the study that presets are chosen by.

    scripts/study_adherence --model MODEL --out FOLDER

Every preference of the bank is asked for with some questions, under every method of the list:
greedy, or drawn with several seeds. Each answer is stored as it is made, so that a run which was
stopped goes on where it was, and other methods can be added. Half of the preferences are to choose
by, the other half confirms. Knows nothing about how answers are made.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError, InvalidParameterError, InvalidTextError
from amulet_local.common.json_log import Log, read_log
from amulet_local.common.private_files import make_folder
from amulet_local.common.results import Generation
from amulet_local.common.termination import gone_on_with_later
from amulet_local.engine import Engine
from amulet_local.evaluation.adherence.bank import BANK, RuledPreference, split
from amulet_local.evaluation.adherence.checks import parse_check
from amulet_local.evaluation.adherence.drawing import sampling_of
from amulet_local.evaluation.adherence.preference import ruled
from amulet_local.evaluation.adherence.recital import opens_about_itself, recites
from amulet_local.evaluation.adherence.report import table, with_topics
from amulet_local.evaluation.adherence.task import FIELDS, SEED, Task, tasks
from amulet_local.evaluation.experiment.contestants import contestants
from amulet_local.evaluation.quality import falls_apart, is_loop
from amulet_local.evaluation.questions import QUESTIONS, parse_questions
from amulet_local.evaluation.scorers.registry import scorer_named
from amulet_local.isolation.load import load
from amulet_local.loading.model_store import DEFAULT_MODEL
from amulet_local.params.choices import Placement
from amulet_local.serving.together import Outcome

DEFAULT_METHODS = (
    "pref,context_steering,linear_alignment,amulet:paper,amulet:balanced,amulet:strong"
)
EXAMPLE_QUESTIONS = ("What is a rainbow?", "How do I make good coffee?")
"""What examples answer; no question of the study."""
EXAMPLE_METHOD = "amulet:balanced"
N_CTX = 768
LOG = "adherence.jsonl"
GREEDY = "{}"
DRAWN_SEEDS = 3
_MAX_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one answer is worth.

    Attributes:
        follows: whether it follows its preference; None where that can't be told.
        loops: it ends in a loop, holds one, or repeats half of itself.
        falls_apart: a stretch of it is improbable under the preference prompt.
        recites: it spells its instruction out, anywhere.
        opens: it begins by saying what it is.
        kl: mean of KL(chosen from || preference prompt), in nats per token; None where there is no
            preference prompt.
        n_tokens: its length.
    """

    follows: bool | None
    loops: bool
    falls_apart: bool
    recites: bool
    opens: bool
    kl: float | None
    n_tokens: int


def verdict(task: Task, generation: Generation) -> Verdict:
    """Judge an answer by its text and its trace."""
    trace = generation.trace or ()
    preference = [item.preferences[0] for item in trace if item.preferences]
    return Verdict(
        follows=task.preference.follows(
            task.question, generation.text, cut=generation.finish_reason == "length"
        ),
        loops=is_loop(generation.token_ids),
        falls_apart=bool(preference) and falls_apart(preference),
        recites=recites(task.wording, task.question, generation.text),
        opens=opens_about_itself(generation.text),
        kl=sum(item.kl for item in trace) / len(trace) if preference else None,
        n_tokens=len(generation.token_ids),
    )


def stored(path: Path) -> dict[tuple[str | int, ...], dict[str, Any]]:
    """The answers in a log, by their tasks' keys.

    Raises:
        FileAccessError: it can't be read, or a line is damaged.
    """
    return {tuple(entry[name] for name in FIELDS): entry for entry in read_log(path, FIELDS)}


def run(engine: Engine, wanted: Sequence[Task], path: Path, *, at_once: int = 1) -> None:
    """Make and store the answers that aren't there yet, and say how far that is.

    Args:
        at_once: answers computed together; a single one is computed as if it were alone.

    Raises:
        AmuletError: an answer can't be made, or the log can't be written.
    """
    there = stored(path)
    missing = [task for task in wanted if task.key not in there]
    n_done = 0
    with Log(path) as log:

        def store(number: int, outcome: Outcome) -> None:
            nonlocal n_done
            if isinstance(outcome, AmuletError):
                raise outcome
            task = missing[number]
            log.append(
                {
                    **dict(zip(FIELDS, task.key, strict=True)),
                    "text": outcome.text,
                    "finish_reason": outcome.finish_reason,
                    "warnings": list(outcome.warnings),
                    **asdict(verdict(task, outcome)),
                }
            )
            n_done += 1
            print(f"\r{n_done} of {len(missing)} answers", end="", file=sys.stderr, flush=True)

        engine.answer_all(
            [task.ask for task in missing],
            at_once=at_once,
            scheduler="interleaved" if at_once == 1 else "batched",
            answered=store,
        )
    print(file=sys.stderr)


def with_examples(
    engine: Engine, wanted: Sequence[Task], path: Path, *, at_once: int = 1
) -> list[Task]:
    """The tasks, each with the answers to EXAMPLE_QUESTIONS that follow its preference.

    Those are made once for each wording and place, greedily, and stored like all the others. What
    doesn't follow its preference, is broken or recites it is no example.

    Raises:
        As `run`.
    """
    (method,) = contestants(EXAMPLE_METHOD)
    made = {
        (task.placement, task.wording, question): replace(
            task, contestant=method, question=question, sampling=GREEDY, seed=SEED
        )
        for task in wanted
        for question in EXAMPLE_QUESTIONS
    }
    run(engine, list(made.values()), path, at_once=at_once)
    there = stored(path)

    def example(task: Task, question: str) -> tuple[str, str] | None:
        entry = there[made[task.placement, task.wording, question].key]
        faults = (entry[name] for name in ("loops", "falls_apart", "recites", "opens"))
        return (question, entry["text"]) if entry["follows"] and not any(faults) else None

    return [
        replace(
            task,
            examples=tuple(filter(None, (example(task, text) for text in EXAMPLE_QUESTIONS))),
        )
        for task in wanted
    ]


def own_preference(text: str | None, check: str | None) -> tuple[RuledPreference, ...]:
    """A preference of the caller's with its check; none if neither is given.

    Raises:
        InvalidParameterError: only one of them is given, or the check can't be used.
        FileAccessError: the check's file can't be read.
    """
    if text is None and check is None:
        return ()
    if text is None or check is None:
        raise InvalidParameterError("--preference and --check go together; give both")
    return (ruled("own", "own", check, parse_check(check), text),)


def preferences_in(path: Path) -> tuple[RuledPreference, ...]:
    """The preferences of a file of JSON lines, each with "preference" and "check".

    Raises:
        FileAccessError: the file, or that of a check, can't be read.
        InvalidParameterError: a check can't be used.
        InvalidTextError: a line is something else, or there is none.
    """
    found = []
    lines = private_files.read(path, max_bytes=_MAX_BYTES).decode(errors="replace").split("\n")
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text, check = (json.loads(line)[name].strip() for name in ("preference", "check"))
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            text = check = ""
        if not text:
            raise InvalidTextError(
                f'{path}, line {n}: write {{"preference": "in rhyme", "check": "regex:..."}}'
            )
        found.append(ruled("own", "own", check, parse_check(check), text))
    if not found:
        raise InvalidTextError(f"{path} has no preference in it")
    return tuple(found)


def placements_of(text: str) -> list[Placement]:
    """The placements that a list names.

    Raises:
        InvalidParameterError: one isn't.
    """
    names, places = text.split(","), get_args(Placement)
    if not set(names) <= set(places):
        raise InvalidParameterError(f"--placements takes {', '.join(places)}, not {text!r:.60}")
    return cast("list[Placement]", names)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="study_adherence", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a GGUF file, or a name")
    parser.add_argument("--out", type=Path, required=True, help="folder of one model's answers")
    parser.add_argument("--methods", default=DEFAULT_METHODS, help="as for `amulet-local eval`")
    parser.add_argument(
        "--placements", default=",".join(get_args(Placement)), help="where the preference goes"
    )
    parser.add_argument("--questions", type=Path, help="a file of them, instead of the built-in")
    parser.add_argument("--preference", help="one of your own instead of the bank, with --check")
    parser.add_argument("--check", help="its rule: regex:PATTERN, python:FILE or bank:NAME")
    parser.add_argument(
        "--preferences",
        type=Path,
        help='a file of your own instead of the bank: lines {"preference": TEXT, "check": RULE}',
    )
    parser.add_argument("--each", type=int, default=1, help="questions of each preference")
    parser.add_argument("--max-tokens", type=int, default=64, help="of an answer")
    parser.add_argument(
        "--sampling",
        default=GREEDY,
        help="fields of SamplingParams as JSON, or recommended: what the model's file says, "
        "temperature 0.7 where it says nothing; greedy without",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        help=f"answers drawn for each prompt; {DRAWN_SEEDS} without, of which a greedy one needs 1",
    )
    parser.add_argument(
        "--examples",
        action="store_true",
        help="also with up to two answers in the wished style before each question",
    )
    parser.add_argument(
        "--at-once", type=int, default=1, help="answers computed together; 1 is each by itself"
    )
    parser.add_argument(
        "--report", action="store_true", help="print what is there of it, make nothing"
    )
    options = parser.parse_args(arguments)
    try:
        own = own_preference(options.preference, options.check)
        if options.preferences is not None:
            if own:
                raise InvalidParameterError("--preferences and --preference: give one of them")
            own = preferences_in(options.preferences)
        questions: Sequence[str] = QUESTIONS
        if options.questions is not None:
            text = private_files.read(options.questions, max_bytes=_MAX_BYTES).decode()
            questions = parse_questions(text, str(options.questions))
        methods = contestants(options.methods)
        placements = placements_of(options.placements)
        sampling = sampling_of(options.sampling, options.model)
        wanted = list(
            tasks(
                methods,
                placements,
                own or BANK,
                questions,
                per_preference=options.each,
                max_tokens=options.max_tokens,
                sampling=sampling,
                n_seeds=options.seeds or (1 if sampling == GREEDY else DRAWN_SEEDS),
            )
        )
        make_folder(options.out)
        path = options.out / LOG
        similarity = scorer_named("similarity")  # before the work: its model may be missing
        if not options.report:
            with load(options.model, n_ctx=N_CTX) as engine:
                run(engine, wanted, path, at_once=options.at_once)
                if options.examples:
                    shown = with_examples(engine, wanted, path, at_once=options.at_once)
                    run(engine, shown, path, at_once=options.at_once)
        if options.examples:
            wanted += [replace(task, examples=()) for task in wanted]
        asked = {task.key for task in wanted}
        entries = [item for key, item in stored(path).items() if key in asked]
        entries = with_topics(entries, similarity)
        halves = {"to choose by": split(SEED)[0], "to confirm": split(SEED)[1], "of your own": own}
        for title, preferences in halves.items():
            names = [item.name for item in preferences]
            if any(entry["preference"] in names for entry in entries):
                print(f"\nPreferences {title}:\n\n{table(entries, names)}")
    except AmuletError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    with gone_on_with_later():
        main()
