"""The study that the presets were chosen by: strengths and guards against what they break.

    scripts/study_guards --questions DIR --out DIR     (docs/guards.md says where questions are)

Screens every point of POINTS on two preferences and 16 questions, then confirms CONFIRMED on all
eight and 40 other questions, each at three precisions. Every answer is stored as it is made, so
that a run which was stopped goes on where it was. Greedy, as in the paper.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError, FileAccessError, InvalidParameterError
from amulet_local.common.plotting import check_plot
from amulet_local.common.private_files import make_folder
from amulet_local.common.termination import gone_on_with_later
from amulet_local.engine import Engine
from amulet_local.evaluation.frontier_plot import PlotMark, write_plot
from amulet_local.evaluation.pairs import judged, pair_ask
from amulet_local.evaluation.quality import SIGNS, Quality, fluency_limit, means
from amulet_local.isolation.load import load
from amulet_local.llama import library
from amulet_local.llama.quantising import quantisation_type, quantise
from amulet_local.loading import model_store
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.preferences.preference import resolve
from amulet_local.serving.together import Outcome
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS, SWITCHED_ON

PRECISIONS = ("F16", "Q8_0", "Q4_1")
SCREEN_PREFERENCES = ("creative", "concise")
CONFIRM_PREFERENCES = (
    *("creative", "sycophantic", "verbose", "complex", "formal", "pleasant", "concise"),
    "uplifting",
)
SCREEN_QUESTIONS, CONFIRM_QUESTIONS = 4, 10
"""Of each of the four sets; the confirmation's come after the screening's."""

MAX_QUESTION_CHARACTERS = 300
MAX_TOKENS = 96
N_CTX = 384
N_PLACES = 16

SETS = (
    "personal_preference_eval_preference_data",
    "HelpSteer_train",
    "UltraFeedback_truthful_qa",
    "UltraFeedback_ultrachat",
)
"""Names of the question files, without .json."""


@dataclass(frozen=True, kw_only=True)
class StudyPoint:
    """One setting that is tried."""

    name: str
    amulet: AmuletParams
    placement: Placement = "system"


def _points() -> Iterator[StudyPoint]:
    def point(name: str, placement: Placement = "system", **fields: Any) -> StudyPoint:
        return StudyPoint(name=name, amulet=AmuletParams(**fields), placement=placement)

    yield point("preference prompt", guidance_scale=1.0)
    for name, preset in PRESETS.items():
        yield StudyPoint(name=name, amulet=preset.amulet, placement=preset.placement)
    for budget in (0.4, 0.5, 0.6, 0.8, 1.2):
        yield point(f"KL {budget:g}, guarded", kl_budget=budget, **SWITCHED_ON)
    yield point("guarded", **SWITCHED_ON)
    yield point("scale 3", guidance_scale=3.0)
    yield point("mask 0.1", min_plausibility=0.1)
    yield point("KL 0.8", kl_budget=0.8)
    yield point("noise guard 1", noise_guard=1.0)
    yield point("preference prompt, user", "user", guidance_scale=1.0)
    yield point("scale 1.5, guarded, user", "user", guidance_scale=1.5, **SWITCHED_ON)


POINTS = {point.name: point for point in _points()}
"""What is screened, by name."""

CONFIRMED = (
    "preference prompt",
    "KL 0.5, guarded",
    "KL 0.6, guarded",
    "KL 0.8, guarded",
    *PRESETS,
)
"""The frontier, which is confirmed; names of points."""


def load_questions(folder: Path, first: int, n: int) -> list[str]:
    """`n` questions of each set, from the `first` on, short ones only.

    Raises:
        FileAccessError: a file can't be read.
    """
    chosen: list[str] = []
    for name in SETS:
        path = folder / f"{name}.json"
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileAccessError(f"can't read the questions in {path}: {error}") from None
        short = [str(entry["question"]).strip() for entry in entries]
        short = [text for text in short if 0 < len(text) <= MAX_QUESTION_CHARACTERS]
        chosen += short[first : first + n]
    return chosen


def load_at(precision: str, folder: Path, n_threads: int) -> Engine:
    """The default model at a precision; its file is made in the folder where there is none."""
    source = model_store.find_model("smollm2")
    path = folder / f"smollm2-{precision}.gguf"
    name, file_type = quantisation_type(precision)
    if not path.exists() and name not in source.name:
        quantise(source, path.with_suffix(".part"), file_type)
        private_files.put_in_place(path.with_suffix(".part"), path)
    return load(
        path if path.exists() else source,
        n_ctx=N_CTX,
        n_threads=n_threads,
        n_gpu_layers=0,
        cache_type_k="f16",
        cache_type_v="f16",
        flash_attention="off",
    )


def answer(
    engine: Engine,
    point: StudyPoint,
    preference: str,
    questions: Sequence[str],
    store: Callable[[dict[str, Any]], None],
) -> None:
    """Answer the questions, and store a row of figures for each, as they are done.

    Raises:
        AmuletError: one can't be answered; what is stored by then stays.
    """
    chosen = resolve(preference)[0]
    vocabulary = engine.model.vocabulary

    def answered(number: int, outcome: Outcome) -> None:
        if isinstance(outcome, AmuletError):
            raise outcome
        judgement = judged(outcome, vocabulary, chosen, questions[number])
        store(
            {
                "question": questions[number],
                **asdict(judgement),
                "finish_reason": outcome.finish_reason,
                "text": outcome.text,
            }
        )

    asks = [
        pair_ask(
            chosen,
            question,
            amulet=point.amulet,
            placement=point.placement,
            max_tokens=MAX_TOKENS,
        )
        for question in questions
    ]
    engine.answer_all(asks, at_once=N_PLACES, answered=answered)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the study."""

    name: str
    points: tuple[str, ...]
    preferences: tuple[str, ...]
    questions: tuple[str, ...]


def stages(folder: Path) -> dict[str, Stage]:
    """Both parts, by name."""
    return {
        "screen": Stage(
            name="screen",
            points=tuple(POINTS),
            preferences=SCREEN_PREFERENCES,
            questions=tuple(load_questions(folder, 0, SCREEN_QUESTIONS)),
        ),
        "confirm": Stage(
            name="confirm",
            points=CONFIRMED,
            preferences=CONFIRM_PREFERENCES,
            questions=tuple(load_questions(folder, SCREEN_QUESTIONS, CONFIRM_QUESTIONS)),
        ),
    }


def run(stage: Stage, precisions: Iterable[str], out: Path, n_threads: int) -> None:
    """Make the answers that are not in the file yet."""
    for precision in precisions:
        path = out / f"{stage.name}-{precision}.jsonl"
        done = {(row["point"], row["preference"], row["question"]) for row in read_rows(path)}
        todo = [
            (name, preference, missing)
            for name in stage.points
            for preference in stage.preferences
            if (missing := [q for q in stage.questions if (name, preference, q) not in done])
        ]
        if not todo:
            continue
        n_all, n_done = sum(len(missing) for _, _, missing in todo), 0
        with (
            load_at(precision, out, n_threads) as engine,
            open(path, "a", encoding="utf-8") as file,
        ):
            start = time.monotonic()
            if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                file.write("\n")  # a row that was cut off
            for name, preference, missing in todo:
                settings = POINTS[name]

                def store(row: dict[str, Any], name: str = name, liked: str = preference) -> None:
                    named = {"point": name, "preference": liked, **row}
                    file.write(json.dumps(named) + "\n")
                    file.flush()

                answer(engine, settings, preference, missing, store)
                n_done += len(missing)
                left = (time.monotonic() - start) / n_done * (n_all - n_done)
                print(
                    f"{stage.name} {precision}: {n_done} of {n_all} answers, "
                    f"{left / 60:.0f} minutes left",
                    file=sys.stderr,
                )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows stored so far; a last line that was cut off doesn't count."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def table(stage: Stage, out: Path) -> list[dict[str, Any]]:
    """Figures of every point at every precision, and over all of them."""
    by_precision = {p: read_rows(out / f"{stage.name}-{p}.jsonl") for p in PRECISIONS}
    result = []
    for name in stage.points:
        rows_of = {
            precision: [row for row in rows if row["point"] == name]
            for precision, rows in by_precision.items()
        }
        everything = [row for rows in rows_of.values() for row in rows]
        for precision, rows in {**rows_of, "all": everything}.items():
            if rows:
                result.append({"point": name, "precision": precision, **figures(rows)})
    return result


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over answers; margin and fluency are per token, over all tokens."""
    names = [field.name for field in fields(Quality)]
    return asdict(means([Quality(**{name: row[name] for name in names}) for row in rows]))


def limit_of_fluency(entries: Sequence[dict[str, Any]], precision: str) -> float | None:
    """Half-way between the fluency of the preference prompt and that of `paper`."""
    found = {e["point"]: e["fluency"] for e in entries if e["precision"] == precision}
    if not {"preference prompt", "paper"} <= found.keys():
        return None
    return fluency_limit(found["preference prompt"], found["paper"])


def markdown(entries: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown, a block for each precision and one for all."""
    lines = []
    for precision in ("all", *PRECISIONS):
        chosen = [entry for entry in entries if entry["precision"] == precision]
        if not chosen:
            continue
        limit = limit_of_fluency(entries, precision)
        lines += [
            f"\n**{precision}**, {chosen[0]['answers']} answers a point"
            + (f"; fluency at least {limit:.3f}" if limit is not None else ""),
            "",
            "| point | margin | fluency | loops | falls apart | recites | stops short | broken "
            "| tokens |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for entry in chosen:
            lines.append(
                f"| {entry['point']} | {entry['margin']:+.3f} | {entry['fluency']:.3f} | "
                + " | ".join(f"{entry[sign]:.1%}" for sign in (*SIGNS, "broken"))
                + f" | {entry['tokens']:.0f} |"
            )
    return "\n".join(lines) + "\n"


def draw(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw margin against fluency over all precisions, with the preset's point marked.

    Raises:
        MissingExtraError: the extra `plot` isn't installed.
        FileAccessError: the file can't be written.
    """
    check_plot(path)
    chosen = [
        name
        for name, point in POINTS.items()
        if (point.amulet, point.placement)
        == (PRESETS[DEFAULT_PRESET].amulet, PRESETS[DEFAULT_PRESET].placement)
    ]
    marks = [
        PlotMark(
            label=f"{entry['point']}: {entry['broken']:.1%} broken",
            margin=entry["margin"],
            fluency=entry["fluency"],
            kind="chosen"
            if entry["point"] in chosen
            else "other"
            if entry["point"] == "paper"
            else "swept",
        )
        for entry in entries
        if entry["precision"] == "all"
    ]
    write_plot(
        marks,
        path,
        title="SmolLM2-135M at F16, Q8_0 and Q4_1",
        least_fluency=limit_of_fluency(entries, "all"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="study_guards", description=__doc__)
    parser.add_argument("--questions", type=Path, required=True, help="folder of the four sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for answers and models")
    parser.add_argument("--stage", choices=("screen", "confirm"), action="append")
    parser.add_argument("--precision", choices=PRECISIONS, action="append")
    parser.add_argument("--threads", type=int, default=library.usable_cores())
    parser.add_argument("--report", action="store_true", help="print the tables of what is there")
    parser.add_argument("--plot", type=Path, help="with --report: draw the confirmation, a PNG")
    options = parser.parse_args(arguments)
    try:
        make_folder(options.out)
        parts = stages(options.questions)
        for name in options.stage or parts:
            if options.report:
                entries = table(parts[name], options.out)
                print(f"\n### {name}\n{markdown(entries)}")
                if options.plot is not None and name == "confirm":
                    draw(entries, options.plot)
            else:
                run(parts[name], options.precision or PRECISIONS, options.out, options.threads)
    except (AmuletError, InvalidParameterError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    with gone_on_with_later():
        main()
