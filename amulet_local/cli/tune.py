"""`amulet-local tune`: find the strength that suits one's own model, and keep it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from amulet_local.cli.command import add_command
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import check_is_no_model, check_text, chosen_model, read_file
from amulet_local.cli.json_format import write_json
from amulet_local.cli.loading import loading_progress
from amulet_local.cli.progress import AnswersProgress
from amulet_local.cli.supervised import the_model
from amulet_local.cli.terminal import note, one_line, stdout_is_terminal, write
from amulet_local.cli.tune_options import FEWEST_QUESTIONS, TuneOptions, check
from amulet_local.common.errors import (
    AmuletError,
    FileAccessError,
    InvalidParameterError,
    MissingExtraError,
)
from amulet_local.params.runtime import RuntimeParams

if TYPE_CHECKING:
    from amulet_local.evaluation.following import PreferenceCheck
    from amulet_local.evaluation.recommendation import AnyRecommendation
    from amulet_local.evaluation.sweep import Sweep
    from amulet_local.evaluation.tuning_study import Measurement, SweepPlan
    from amulet_local.preferences.preference import Preference
    from amulet_local.preferences.user_settings import UserModelSettings

DEFAULT_PREFERENCES = ("creative", "concise")
DEFAULT_TOKENS = 64
MAX_TOKENS = 2048

HELP = """Find the strength that suits your own model, and keep it for later runs.

Answers a few questions under each of a row of strengths, and shows for each how much more the
answers follow the preference (margin), how well they read to the plain model (fluency), and how
many break: loop, fall apart, recite the preference, or stop short.

Recommended is the most margin with hardly any broken answers and at most half of the loss of
fluency that the paper's strength has. Where it can be told who follows, by --check or a rule, it
is the smallest strength at which most answers follow and aren't broken; where it can't, --judge
has a model say whose answers follow better. It is written to your
settings file, and later runs use it where you give neither a strength nor a preset; what fewer
than 5 questions recommend is written with --keep only.

Ctrl-C ends it, shows what is there, and keeps nothing. docs/guards.md says more."""

EXAMPLES = """
amulet-local tune -m model.gguf
amulet-local tune "How do I ask for a raise?" "What is yeast?" \\
    --preference formal --preference "like a patient teacher" --keep
amulet-local tune --preference "as a list with dashes" --check 'regex:^- '
amulet-local tune --preference "like a teacher" --judge qwen2.5-14b.gguf
amulet-local tune --questions mine.txt --values 1.5,2,3 --dry-run
amulet-local tune -m model.gguf --reset"""


def run(options: TuneOptions) -> None:
    """Measure, show, recommend and keep."""
    from amulet_local.loading.model_store import find_model, names_of
    from amulet_local.preferences.settings_editor import check_model_strength
    from amulet_local.preferences.user_settings import read_settings

    model = chosen_model(options.model)
    path = find_model(model)
    names = names_of(model, path)
    if options.reset:
        _reset(names, as_json=options.json)
        return
    plan = _plan(options)
    share = _share(options.max_broken)
    judge = None if options.judge is None or plan.checks else _judge(options.judge)
    png = _plot_path(options.plot)
    runtime = _runtime(options)
    earlier = None
    few = len(plan.questions) < FEWEST_QUESTIONS and not options.keep
    if not (options.dry_run or few):
        earlier = read_settings().of_model(names)
        check_model_strength(names)
    measurement = _measured(path, runtime, plan, model, as_json=options.json)
    if judge is not None:
        _ask_judge(judge, measurement, path.name, as_json=options.json)
    chosen = _recommended(measurement, share)
    kept, failure = None, None
    try:
        if earlier is not None:
            kept = _keep(names, measurement, chosen)
    except AmuletError as error:  # shown after the results, which are worth more
        failure = error
    _show(measurement, chosen, path.name, kept, as_json=options.json)
    if kept is not None and not options.json:
        write(f"\n{_kept_text(earlier, kept)}\n")
    elif few and not options.dry_run:
        note(
            f"Nothing is kept: so few questions ({len(plan.questions)}) can't tell. Ask "
            f"{FEWEST_QUESTIONS} or more, or give --keep."
        )
    if png is not None:
        from amulet_local.evaluation.frontier_plot import marks_of, write_plot

        write_plot(
            marks_of(measurement, chosen),
            png,
            title=path.name,
            least_fluency=getattr(chosen, "least_fluency", None),
        )
    if failure is not None:
        raise failure


def _plan(options: TuneOptions) -> SweepPlan:
    from amulet_local.evaluation.questions import QUESTIONS, parse_questions
    from amulet_local.evaluation.sweep import settings_of
    from amulet_local.evaluation.tuning_study import SweepPlan

    n_tokens = DEFAULT_TOKENS if options.predict is None else options.predict
    if not (isinstance(n_tokens, int) and 1 <= n_tokens <= MAX_TOKENS):
        raise InvalidParameterError(
            f"--predict must be a whole number from 1 to {MAX_TOKENS}, not {n_tokens}"
        )
    questions: tuple[str, ...] = QUESTIONS
    if options.questions is not None:
        what = "the file of questions"
        text = read_file(options.questions, what, FileAccessError)
        questions = parse_questions(
            text,
            f"{what} {options.questions!r}",
            is_table=options.questions.lower().endswith(".csv"),
        )
    elif options.question:
        for text in options.question:
            check_text("QUESTION", text)
            check_is_no_model(text)
        questions = tuple(dict.fromkeys(text.strip() for text in options.question))
        if not all(questions):
            raise InvalidParameterError("a QUESTION is empty")
    preferences = _preferences(options.preference or DEFAULT_PREFERENCES)
    return SweepPlan(
        settings=settings_of(cast("Sweep", (options.sweep or "scale").lower()), options.values),
        preferences=preferences,
        questions=questions,
        max_tokens=n_tokens,
        checks=_checks(preferences, options.check),
    )


def _checks(
    preferences: tuple[Preference, ...], given: str | None
) -> Mapping[str, PreferenceCheck]:
    from amulet_local.evaluation.following import checks_of

    check_text("--check", given)
    try:
        return checks_of(preferences, given)
    except MissingExtraError as error:
        note(f"warning: the rule of this preference isn't used: {error}")
        return {}


def _preferences(texts: list[str] | tuple[str, ...]) -> tuple[Preference, ...]:
    from amulet_local.preferences.preference import resolve

    found: dict[str, Preference] = {}
    for text in texts:
        check_text("--preference", text)
        parts = resolve(text)
        if len(parts) != 1 or parts[0].weight != 1:
            raise InvalidParameterError(
                f"--preference {text!r:.80}: tune measures one preference at a time, without a "
                f"weight; leave the weight out, or name the parts of a mix one by one"
            )
        found[parts[0].label] = parts[0]
    return tuple(found.values())


def _share(percent: float | None) -> float:
    from amulet_local.evaluation.recommendation import MAX_BROKEN

    if percent is None:
        return MAX_BROKEN
    if not 0 <= percent <= 100:
        raise InvalidParameterError(f"--max-broken is a percentage, 0 to 100, not {percent:g}")
    return percent / 100


def _plot_path(name: str | None) -> Path | None:
    if name is None:
        return None
    from amulet_local.common.plotting import check_plot

    path = Path(name).expanduser()
    check_plot(path)
    return path


def _runtime(options: TuneOptions) -> RuntimeParams:

    return RuntimeParams(**read(RuntimeParams.options, options.runtime))


def _measured(
    path: Path, runtime: RuntimeParams, plan: SweepPlan, model: str, *, as_json: bool
) -> Measurement:
    """Everything that was asked for; after Ctrl-C what there is, shown."""
    from amulet_local.evaluation.tuning_study import Measurement, Stand

    measurement = Measurement(plan=plan)
    progress = AnswersProgress(plan.n_answers)

    loading = loading_progress(model, progress.show)
    try:
        with Stand(path, runtime, plan, load_progress=loading) as stand:
            stand.measure(measurement, progress.show)
    except KeyboardInterrupt:
        progress.erase()
        if measurement.n_answers:
            _show(measurement, None, path.name, None, as_json=as_json)
        raise
    finally:
        progress.erase()
    return measurement


def _judge(name: str) -> Path:
    """The judge's file, whose header at least is sound.

    Raises:
        ModelError: there is no such model, or it can't be one.
    """
    from amulet_local.llama.gguf import read_header
    from amulet_local.loading.model_store import find_model

    path = find_model(name)
    read_header(path)
    return path


def _ask_judge(path: Path, measurement: Measurement, name: str, *, as_json: bool) -> None:
    """Have a model compare the answers, which is noted in the measurement.

    Without its verdicts what was measured is shown, and nothing is recommended.
    """
    from amulet_local.evaluation.judges import JudgeOptions, open_judge
    from amulet_local.evaluation.tuning_judge import preferred

    progress = AnswersProgress(measurement.plan.n_answers)
    try:
        with open_judge(JudgeOptions(model=str(path))) as judge:
            measurement.preferred = preferred(judge, measurement, progress.show)
    except (AmuletError, KeyboardInterrupt):
        progress.erase()
        _show(measurement, None, name, None, as_json=as_json)
        note("Without the judge's verdicts nothing is recommended, and nothing is kept.")
        raise
    finally:
        progress.erase()


def _recommended(measurement: Measurement, share: float) -> AnyRecommendation:
    from amulet_local.evaluation.recommendation import (
        recommend,
        recommend_checked,
        recommend_preferred,
    )

    settings = measurement.plan.settings
    strengths = [item.name for item in settings[:-1]]
    followed = measurement.following()
    told: AnyRecommendation | None = None
    if followed:
        told = recommend_checked(followed, strengths=strengths)
    elif measurement.preferred is not None:
        told = recommend_preferred(measurement.preferred, strengths=strengths)
    return told or recommend(
        measurement.figures(),
        reference=settings[0].name,
        paper=settings[-1].name,
        max_broken=share,
    )


def _show(
    measurement: Measurement,
    chosen: AnyRecommendation | None,
    name: str,
    kept: tuple[Path, str] | None,
    *,
    as_json: bool,
) -> None:
    from amulet_local.cli.tuning_report import report_json, report_text

    if as_json:
        stored = None if kept is None else str(kept[0])
        write_json({"model": name, **report_json(measurement, chosen), "stored": stored})
    else:
        width = shutil.get_terminal_size().columns if stdout_is_terminal() else None
        write(report_text(measurement, chosen, one_line(name), width))


def _keep(
    names: tuple[str, ...], measurement: Measurement, chosen: AnyRecommendation
) -> tuple[Path, str]:
    """Write the recommendation; returns the file and what it calls the model."""
    from amulet_local.cli.tuning_report import setting_named
    from amulet_local.preferences.settings_editor import set_model_strength
    from amulet_local.preferences.user_settings import read_settings

    path = set_model_strength(names, setting_named(measurement, chosen.name).own)
    return path, read_settings().own_model(names) or names[-1]


def _kept_text(earlier: UserModelSettings | None, kept: tuple[Path, str]) -> str:
    before = ""
    if earlier is not None and earlier.strength:
        shown = ", ".join(f"{key} {value}" for key, value in earlier.as_written.items())
        before = f", in the place of {shown}"
    return (
        f"Kept for {one_line(kept[1])} in {one_line(kept[0])}{before}.\n"
        f"Later runs use it unless --preset or a strength is given; --reset takes it out."
    )


def _reset(names: tuple[str, ...], *, as_json: bool) -> None:
    from amulet_local.preferences.settings_editor import set_model_strength
    from amulet_local.preferences.user_settings import UserModelSettings, read_settings

    settings = read_settings()
    own = settings.own_model(names)
    if own is None or not settings.models[own].strength:
        if as_json:
            write_json({"removed": None})
        else:
            write(f"No strength is kept for {one_line(names[0])}.\n")
        return
    path = set_model_strength(names, UserModelSettings())
    if as_json:
        write_json({"removed": own, "path": str(path)})
    else:
        write(
            f"The strength for {one_line(own)} is no longer in {one_line(path)}; the default "
            f"preset holds again.\n"
        )


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        TuneOptions,
        run,
        check=check,
        name="tune",
        help=HELP,
        examples=EXAMPLES,
        models=the_model,
    )
