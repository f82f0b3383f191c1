"""`amulet-local eval`: methods x preferences x questions, with scores and a report."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from amulet_local.cli.columns import table
from amulet_local.cli.command import add_command
from amulet_local.cli.eval_options import EvalOptions, check
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import check_text, chosen_model, given, read_file
from amulet_local.cli.json_format import write_json
from amulet_local.cli.loading import loading_progress
from amulet_local.cli.progress import AnswersProgress
from amulet_local.cli.supervised import Uses, use_given
from amulet_local.cli.terminal import note, one_line, stdout_width, write
from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.params.runtime import RuntimeParams

if TYPE_CHECKING:
    from amulet_local.evaluation.experiment.datasets import Dataset
    from amulet_local.evaluation.experiment.plan import Experiment, PreferenceTarget
    from amulet_local.evaluation.experiment.results import Results

DEFAULT_FOLDER = "amulet-eval"
DEFAULT_TOKENS, PAPER_TOKENS = 64, 128
DEFAULT_PREFERENCES = ("creative", "concise")
DEFAULT_SEED = 1
MARKDOWN, HTML, MODELS = "report.md", "report.html", "models.md"

HELP = """Compare methods on your own model: answers, scores and a report with intervals.

Every method answers every question under every preference, greedily, with the same prompts. Each
answer is kept as it is made: a run that was stopped goes on where it was when you give the same
command again; other settings begin another run. The report is a page for a browser and the same
in Markdown, beside the answers.

docs/evaluation.md says what the figures mean."""

EXAMPLES = """
amulet-local eval
amulet-local eval questions.json --sample 20 --preference all \\
    --methods base,pref,amulet:paper,amulet:balanced,amulet:scale=2.5
amulet-local eval --report-only amulet-eval --scorers text"""


def run(options: EvalOptions) -> None:
    """Answer, score and report."""
    from amulet_local.evaluation.experiment.plan import settings_of
    from amulet_local.evaluation.experiment.run_folder import existing_runs, run_folder
    from amulet_local.loading.model_store import find_model

    if options.scorers == "list":
        _list_scorers()
        return
    if options.report_only is not None:
        folder, *others = existing_runs(Path(options.report_only).expanduser())
        if others:
            note(f"the run that was begun last, of {1 + len(others)}: {one_line(str(folder))}")
        _check_reports([folder])
        _finish(options, [folder])
        return
    with ExitStack() as stack:  # what can't be scored is said before any answer is made
        _scorers(options, stack)
    models = [name.strip() for name in chosen_model(options.model).split(",") if name.strip()]
    experiment, choice = _experiment(options)
    paths = [find_model(model) for model in models]
    runtime = _runtime(options)
    base = Path(options.output or DEFAULT_FOLDER).expanduser()
    folders = [
        run_folder(base, settings_of(experiment, path, runtime, choice=choice)) for path in paths
    ]
    _check_reports(folders)
    for model, path, folder in zip(models, paths, folders, strict=True):
        _answer(experiment, runtime, model, path, folder)
    _finish(options, folders)


def _check_reports(folders: list[Path]) -> None:
    """Refuse reports that can't be written, before hours are spent on what is in them.

    Raises:
        FileAccessError: one can't.
    """
    paths = [folder / name for folder in folders for name in (MARKDOWN, HTML)]
    if len(folders) > 1:
        paths.append(folders[0].parent / MODELS)
    for path in paths:
        private_files.check(path)


def _answer(
    experiment: Experiment, runtime: RuntimeParams, model: str, path: Path, folder: Path
) -> None:
    """Make the answers of one model.

    Args:
        model: what it was called.
        path: its file.
        folder: of its run.
    """
    from amulet_local.engine import Engine
    from amulet_local.evaluation.experiment.answering import ExperimentRun

    note(f"{one_line(path.name)}: {one_line(str(folder))}")
    progress = AnswersProgress(sum(1 for _ in experiment.responses()))

    loading = loading_progress(model, progress.show)
    try:
        with Engine(path, runtime, load_progress=loading) as engine:
            ExperimentRun(engine, experiment, folder, progress.show).run()
    finally:
        progress.erase()


def _finish(options: EvalOptions, folders: list[Path]) -> None:
    """Score and report runs."""
    from amulet_local.evaluation.experiment.report_page import page
    from amulet_local.evaluation.experiment.report_text import markdown, models_beside
    from amulet_local.evaluation.experiment.results import Results

    summaries = []
    runs = []
    for folder in folders:
        results = Results(folder)
        with ExitStack() as stack:
            scorers, judge = _scorers(options, stack)
            results.score(scorers)
            names = [scorer.name for scorer in scorers]
            if judge is not None:
                from amulet_local.evaluation.experiment.judging import JUDGE, compare_all

                compare_all(results, judge, scorers[-1].source)
                names.append(JUDGE)
        private_files.write(folder / MARKDOWN, markdown(results, names).encode())
        private_files.write(folder / HTML, page(results, names).encode())
        runs.append(results)
        summaries.append(_summary(results, names, folder))
        if not options.json:
            _show(results, names, folder)
    if len(runs) > 1:
        path = folders[0].parent / MODELS
        private_files.write(path, models_beside(runs, names).encode())
        if not options.json:
            write(f"the models side by side: {one_line(str(path))}\n")
    if options.json:
        write_json({"runs": summaries})


def _summary(results: Results, names: list[str], folder: Path) -> dict[str, Any]:
    from amulet_local.evaluation.experiment.tables import TablePart, column

    part = TablePart(wishes=results.wishes)
    columns = {name: column(results, name, part) for name in names} if results.questions else {}
    return {
        "model": results.settings["model"]["file"],
        "folder": str(folder),
        "report": str(folder / HTML),
        "questions": len(results.questions),
        "of_questions": results.n_all_questions,
        "scores": {
            scorer: {
                method: None
                if cell.estimate is None
                else {
                    "value": cell.estimate.value,
                    "low": cell.estimate.low if cell.estimate.n > 1 else None,
                    "high": cell.estimate.high if cell.estimate.n > 1 else None,
                    "best": cell.best,
                }
                for method, cell in cells.items()
            }
            for scorer, cells in columns.items()
        },
    }


def _show(results: Results, names: list[str], folder: Path) -> None:
    from amulet_local.evaluation.experiment.report_text import figure
    from amulet_local.evaluation.experiment.tables import TablePart, column

    n = len(results.questions)
    write(f"{one_line(results.settings['model']['file'])}: {n} of {results.n_all_questions} ")
    write("questions answered by every method\n\n")
    if n:
        part = TablePart(wishes=results.wishes)
        columns = {name: column(results, name, part) for name in names[:6]}
        rows: dict[str, list[str]] = {}
        for method in results.methods:
            rows[one_line(method.name)] = row = []
            for name, cells in columns.items():
                cell = cells.get(method.name)
                text = "-"
                if cell is not None and cell.estimate is not None:
                    item = cell.estimate
                    ends = ", ".join(figure(end, name) for end in (item.low, item.high))
                    text = figure(item.value, name) + (f" [{ends}]" if item.n > 1 else "")
                row.append(text)
        write("".join(f"{line}\n" for line in table([*columns], rows, stdout_width())))
        write("\n(in brackets: 95% intervals over the questions)\n")
    write(f"report: {one_line(str(folder / HTML))}\n")


def _scorers(options: EvalOptions, stack: ExitStack) -> tuple[list[Any], Any]:
    """The scorers and the judge that were asked for; the stack closes them."""
    from amulet_local.evaluation.scorers import DEFAULT_SCORERS, scorers_named

    names: tuple[str, ...] = DEFAULT_SCORERS
    if options.scorers is not None:
        names = tuple(name.strip() for name in options.scorers.split(",") if name.strip())
    scorers = scorers_named(
        names,
        **given(
            embedding_model=options.embedding_model,
            armorm=options.armorm,
            n_threads=options.runtime.get("n_threads"),
        ),
    )
    for scorer in scorers:
        stack.callback(scorer.close)
    if options.judge is None:
        return scorers, None
    from amulet_local.evaluation.judges import JudgeOptions, judge_scorers, open_judge

    judge = open_judge(
        JudgeOptions(
            **given(
                model=options.judge,
                base_url=options.judge_url,
                api_key_env=options.judge_key_env,
                prompt_file=options.judge_prompt,
                n_threads=None if options.judge_url else options.runtime.get("n_threads"),
            )
        )
    )
    stack.callback(judge.close)
    return [*scorers, *judge_scorers(judge)], judge


def _experiment(options: EvalOptions) -> tuple[Experiment, dict[str, Any]]:
    """What was asked for, and how its questions were chosen."""
    from amulet_local.evaluation.experiment.contestants import (
        DEFAULT_METHODS,
        PAPER_METHODS,
        contestants,
    )
    from amulet_local.evaluation.experiment.plan import Experiment
    from amulet_local.steering.presets import DEFAULT_PRESET

    is_paper = options.protocol == "paper"
    if is_paper and options.prompts is None:
        raise InvalidParameterError(
            "the paper's own prompts aren't part of this package: give them with --prompts FILE, "
            "or leave out --protocol"
        )
    limit, sample = _count("--limit", options.limit), _count("--sample", options.sample)
    seed = DEFAULT_SEED if options.seed is None else options.seed
    n_tokens = _count("--predict", options.predict) or (
        PAPER_TOKENS if is_paper else DEFAULT_TOKENS
    )
    if not isinstance(seed, int):
        raise InvalidParameterError(f"--seed has to be a whole number, not {seed}")
    system, wishes = _wishes(options)
    methods = options.methods or (PAPER_METHODS if is_paper else DEFAULT_METHODS)
    chosen = contestants(methods, preset=options.preset or DEFAULT_PRESET)
    labels = [wish.label for wish in wishes]
    for item in chosen:
        for label in item.only or ():
            if label not in labels:
                raise InvalidParameterError(
                    f"--methods limits {item.name} to {label!r:.60}, which is no preference of "
                    f"this run: {', '.join(labels):.200}"
                )
    datasets = tuple(
        dataset.chosen(limit=limit, sample=sample, seed=seed) for dataset in _datasets(options)
    )
    experiment = Experiment(
        contestants=chosen,
        wishes=wishes,
        datasets=datasets,
        max_tokens=n_tokens,
        system=system,
    )
    return experiment, {"limit": limit, "sample": sample, "seed": seed}


def _count(flag: str, value: Any) -> int | None:
    if value is not None and not (isinstance(value, int) and value >= 1):
        raise InvalidParameterError(f"{flag} has to be a whole number above 0, not {value}")
    number: int | None = value
    return number


def _datasets(options: EvalOptions) -> list[Dataset]:
    from amulet_local.evaluation.experiment.datasets import own_questions, read_datasets

    files = options.data or options.data_option or []
    for name in files:
        check_text("FILE", name)
    if not files:
        return [own_questions()]
    return read_datasets([Path(name).expanduser() for name in files])


def _wishes(options: EvalOptions) -> tuple[str | None, tuple[PreferenceTarget, ...]]:
    """The system text, if the prompts bring one, and the preferences."""
    from amulet_local.evaluation.experiment.plan import (
        PreferenceTarget,
        VerbatimPreference,
        single_wish,
    )
    from amulet_local.preferences.preference import BUILT_IN_PREFERENCES, resolve

    system, own = (None, {}) if options.prompts is None else _prompts(options.prompts)
    asked = options.preference or (list(own) if own else list(DEFAULT_PREFERENCES))
    if asked == ["all"]:
        asked = list(own or BUILT_IN_PREFERENCES)
    wishes: dict[str, PreferenceTarget] = {}
    for text in asked:
        check_text("--preference", text)
        if text in own:
            part = VerbatimPreference(text=own[text], name=text)
            wishes[text] = PreferenceTarget(label=text, parts=(part,))
            continue
        parts = resolve(text)
        wish = (
            single_wish(parts[0]) if len(parts) == 1 else PreferenceTarget(label=text, parts=parts)
        )
        wishes[wish.label] = wish
    return system, tuple(wishes.values())


def _prompts(path: str) -> tuple[str | None, dict[str, str]]:
    """A file of prompts: system text, and instructions by the preference's name."""
    what = "the prompt file"
    try:
        data = json.loads(read_file(path, what, FileAccessError))
    except (ValueError, RecursionError):
        raise InvalidParameterError(f"{what} {path!r} isn't JSON") from None
    own = data.get("preferences") if isinstance(data, dict) else None
    system = data.get("system") if isinstance(data, dict) else None
    sound = (
        isinstance(own, dict)
        and own
        and all(isinstance(text, str) and text.strip() for text in own.values())
        and (system is None or isinstance(system, str))
    )
    if not sound:
        raise InvalidParameterError(
            f'{what} {path!r} has to be {{"system": text, "preferences": {{name: text, ...}}}}'
        )
    assert isinstance(own, dict)
    for text in (system or "", *own, *own.values()):
        check_text(f"{what} {path!r}", text)
    return system, own


def _runtime(options: EvalOptions) -> RuntimeParams:
    from amulet_local.llama import library
    from amulet_local.loading.runtime_setup import resolve_gpu_layers

    runtime = RuntimeParams(**read(RuntimeParams.options, options.runtime))
    library.start()
    layers = resolve_gpu_layers(runtime)
    changes: dict[str, Any] = {"n_gpu_layers": layers}
    changes["schedule"] = "batched" if layers and not runtime.splits_rows else "parallel"
    if not layers and runtime.flash_attention == "auto":
        changes["flash_attention"] = "off"
    settled: RuntimeParams = runtime.replace(**changes)
    return settled


def _list_scorers() -> None:
    from amulet_local.evaluation.scorers import FAMILIES, SCORERS

    for entry in SCORERS.values():
        needs = f" (needs {entry.needs})" if entry.needs else ""
        write(f"{entry.name}: {entry.summary}{needs}\n")
    for name, members in FAMILIES.items():
        write(f"{name}: {', '.join(members[:4])}{', ...' if len(members) > 4 else ''}\n")


def _models(options: EvalOptions) -> Uses:
    """Those that answer, and those of scorers; a judge is loaded in a child of its own."""
    from amulet_local.params.model_use import EMBEDDING

    use = use_given(options.runtime)
    scorers = [model for model in (options.embedding_model, options.armorm) if model is not None]
    return [
        *((model, use) for model in chosen_model(options.model).split(",")),
        *((model, EMBEDDING) for model in scorers),
    ]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        EvalOptions,
        run,
        check=check,
        name="eval",
        help=HELP,
        examples=EXAMPLES,
        models=_models,
    )
