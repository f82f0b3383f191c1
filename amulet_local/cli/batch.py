"""`amulet-local batch`: every line of a file answered, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amulet_local.cli.batch_summary import n_done, n_lines, progress, tell
from amulet_local.cli.command import add_command
from amulet_local.cli.exit_codes import EXIT_PARTIAL
from amulet_local.cli.flag_names import in_flags
from amulet_local.cli.flags import MethodName, json_option, option
from amulet_local.cli.json_format import write_json
from amulet_local.cli.llama_server_flags import LlamaCliCommand
from amulet_local.cli.loading import loaded
from amulet_local.cli.named_method import with_method
from amulet_local.cli.options import AskingOptions
from amulet_local.cli.question import read_settings
from amulet_local.cli.settings_used import settings_of_question
from amulet_local.cli.supervised import needs_child
from amulet_local.cli.terminal import StatusLine, end_echo, note, stderr_is_terminal
from amulet_local.common import private_files
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.choices import as_known

if TYPE_CHECKING:
    from amulet_local.batch.job import JobTally
    from amulet_local.batch.line_answers import LineAnswerer
    from amulet_local.batch.line_fields import JobSettings
    from amulet_local.cli.question import Question

JOB = "The job"
CLUSTER = "On a cluster"
STDOUT = "-"
FORMS = ("own", "openai")
SYNC_SECONDS = 1.0
"""How long records stay with the system alone at most."""

HELP = """Answer every line of a file, many at once.

A line is {"prompt": "..."} or {"messages": [...]}, with "id", "preference",
"temperature" and the like where it differs from the flags; or a line of
OpenAI's batch files; or a row of a .csv file with columns of these names.
Records come as they are done. The same command again
goes on where it ended, however it ended: a line with a record isn't asked
again. A bad line has an error in its record, and the exit code is 4.
--ray has a cluster answer. docs/batch.md has all of it."""

EXAMPLES = """
amulet-local batch questions.jsonl -o answers.jsonl --preference concise
amulet-local batch 'in/*.jsonl.gz' -o out.jsonl -n 64 --at-once 8
jq -c '{prompt: .title}' news.jsonl | amulet-local batch - > out.jsonl
amulet-local batch openai.jsonl -o out.jsonl --format openai --json
amulet-local batch questions.jsonl -o answers.jsonl --ray head.example:6379"""


@dataclass(frozen=True, kw_only=True)
class BatchOptions(AskingOptions):
    """Options of `batch`."""

    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Files of JSON lines, gzip or not, or patterns in quotes; '-' is standard input.",
            rich_help_panel=JOB,
            show_default=False,
        ),
    ]
    output: Annotated[
        str,
        option(
            *("-o", "--output"),
            panel=JOB,
            metavar="FILE",
            help="Where records go; what is there already is gone on with. Default: '-', standard "
            "output.",
        ),
    ] = STDOUT
    format: Annotated[
        str | None,
        option(
            "--format",
            panel=JOB,
            metavar="FORM",
            help="Records in this program's 'own' form or in 'openai' batch form. Default: each "
            "line's.",
        ),
    ] = None
    at_once: Annotated[
        str,
        option(
            *("--at-once", "-np", "--parallel"),
            panel=JOB,
            metavar="N",
            help="Answers at once; 'auto' measures what this machine computes best. Default: auto; "
            "1 with --reproducible.",
        ),
    ] = "auto"
    in_order: Annotated[
        bool, option("--in-order", panel=JOB, help="Records in the order of the lines.")
    ] = False
    strict: Annotated[
        bool, option("--strict", panel=JOB, help="End at the first bad line, with exit code 1.")
    ] = False
    retry: Annotated[
        bool, option("--retry", panel=JOB, help="Ask lines again whose record is an error.")
    ] = False
    overwrite: Annotated[
        bool, option("--overwrite", panel=JOB, help="Begin anew: forget what is in the output.")
    ] = False
    ray: Annotated[
        str | None,
        option(
            "--ray",
            panel=CLUSTER,
            metavar="ADDRESS",
            help="Let workers on a Ray cluster answer: HOST:PORT, 'auto' for the cluster that this "
            "machine belongs to, or 'local' for one of this machine alone. docs/scale.md.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        option(
            "--workers",
            panel=CLUSTER,
            metavar="N",
            help="Workers, each with the model and --threads processors. Default: as many as the "
            "cluster has room for, and more when it grows.",
        ),
    ] = None
    method: MethodName = None
    json: Annotated[
        bool,
        json_option("A summary as one JSON object, on stdout or, if that has the records, stderr."),
    ] = False


def run(options: BatchOptions) -> None:
    """Answer the lines, and say what came of them."""
    from amulet_local.batch.input_lines import InputLines, files_of, is_among
    from amulet_local.batch.line_fields import JobSettings
    from amulet_local.batch.written_records import check_is_output

    options = replace(options, format=as_known(options.format, FORMS))
    if options.format not in (None, *FORMS):
        raise InvalidParameterError(f"--format is own or openai, not {options.format!r:.40}")
    at_once = _at_once(options.at_once)
    if options.output == STDOUT and (options.retry or options.overwrite):
        raise InvalidParameterError("--retry and --overwrite are about a file; name it with -o")
    if options.workers is not None and options.ray is None:
        raise InvalidParameterError("--workers are those of a cluster; name it with --ray")
    files = files_of(options.inputs)
    if options.output != STDOUT:
        if is_among(options.output, files):
            raise InvalidParameterError(f"-o is an input as well: {options.output}; name another")
        private_files.check(options.output)
        if options.output.lower().endswith((".csv", ".tsv")):
            note(f"warning: {options.output} gets a JSON object a line, and is no table")
        if not options.overwrite:
            check_is_output(Path(options.output))
    method, question = with_method(options, options.method, read_settings(options))
    settings = JobSettings(
        preferences=question.preferences,
        method=method,
        amulet=question.amulet,
        preset=question.preset,
        sampling=question.sampling,
        system=question.system,
        placement=question.placement,
    )
    if at_once is None and question.runtime.reproducible:
        at_once = 1
    chosen = _here
    if options.ray is not None:
        chosen = _on_ray
    elif needs_child([(question.model, question.runtime.use)], question.runtime.isolate):
        chosen = _in_child
    with ExitStack() as closing:
        lines = closing.enter_context(InputLines(files))
        for remark in lines.remarks:
            note(f"warning: {remark}")
        answering = closing.enter_context(chosen(options, question, settings, at_once))
        tally = _answered(options, question, answering, lines, files)
    tell(
        tally,
        _asked(question, method) if options.json else {},
        options.output,
        as_json=options.json,
        is_stdout=options.output == STDOUT,
    )
    if tally.n_failed or tally.n_failed_before:
        raise SystemExit(EXIT_PARTIAL)


def _at_once(text: str) -> int | None:
    """The number, None for auto.

    Raises:
        InvalidParameterError: it is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text[:6]) <= 4096:
        raise InvalidParameterError(
            f"--at-once is auto or a number from 1 to 4096, not {text!r:.40}"
        )
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Answering:
    """What answers the lines.

    Attributes:
        digits: of the settings, see `settings_digest`.
        n_workers: says how many workers are at it; None where there are none.
    """

    answerer: LineAnswerer
    digits: str
    n_workers: Callable[[], int] | None = None


@contextmanager
def _here(
    options: BatchOptions, question: Question, settings: JobSettings, at_once: int | None
) -> Iterator[Answering]:
    """The model, loaded here."""
    from amulet_local.batch.entries import JobModel, settings_digest
    from amulet_local.batch.line_answers import EngineAnswers
    from amulet_local.loading.model_store import names_of
    from amulet_local.server.model_names import ModelNames

    with loaded(question.model, question.runtime) as engine:
        for warning in engine.warnings:
            note(f"warning: {in_flags(warning)}")
        names = ModelNames(names_of(question.model, engine.model.path))
        form: Any = options.format
        model = JobModel(engine=engine, names=names, settings=settings, form=form)
        answerer = EngineAnswers(
            model,
            at_once=engine.suitable_width if at_once is None else at_once,
            scheduler="interleaved" if question.runtime.reproducible else "batched",
        )
        yield Answering(answerer=answerer, digits=settings_digest(model))


@contextmanager
def _in_child(
    options: BatchOptions, question: Question, settings: JobSettings, at_once: int | None
) -> Iterator[Answering]:
    """A worker in a child process, and another one where llama.cpp ends it."""
    from amulet_local.batch.child_workers import answers_in_child

    form: Any = options.format
    status = StatusLine(enabled=not question.runtime.verbose)
    status.show(f"loading {question.model}")
    with ExitStack() as closing:
        closing.callback(status.erase)
        digits, answers = closing.enter_context(
            answers_in_child(
                question.model,
                question.runtime,
                settings,
                form=form,
                at_once=at_once,
                warn=lambda text: note(f"warning: {text}"),
            )
        )
        status.erase()
        yield Answering(answerer=answers, digits=digits)


@contextmanager
def _on_ray(
    options: BatchOptions, question: Question, settings: JobSettings, at_once: int | None
) -> Iterator[Answering]:
    """Workers on a cluster."""
    from amulet_local.batch.cluster import ClusterJob, answers_on_ray

    form: Any = options.format
    job = ClusterJob(
        model=question.model,
        runtime=question.runtime,
        settings=settings,
        form=form,
        at_once=at_once,
        n_workers=options.workers,
    )
    status = StatusLine(enabled=not question.runtime.verbose)
    status.show(f"connecting to Ray at {options.ray}")
    with ExitStack() as closing:
        closing.callback(status.erase)
        digits, answers = closing.enter_context(
            answers_on_ray(job, options.ray or "", warn=lambda text: note(f"warning: {text}"))
        )
        status.erase()
        yield Answering(answerer=answers, digits=digits, n_workers=lambda: answers.n_ready)


def _answered(
    options: BatchOptions,
    question: Question,
    answering: Answering,
    lines: Any,
    files: list[str],
) -> JobTally:
    """Go through the lines; what came of them."""
    from amulet_local.batch.input_lines import STDIN
    from amulet_local.batch.job import LineJob
    from amulet_local.batch.written_records import WrittenRecords, drop_failed, put_in_order
    from amulet_local.common.json_log import Log

    path = None if options.output == STDOUT else Path(options.output)
    written: WrittenRecords | None = None
    status = StatusLine(enabled=not question.runtime.verbose)
    n_workers = answering.n_workers
    with ExitStack() as closing:
        closing.callback(status.erase)
        write: Callable[[dict[str, Any]], None] = write_json
        if path is not None:
            log = closing.enter_context(Log(path, sync_seconds=SYNC_SECONDS))
            if options.overwrite:
                log.clear()
            if options.retry:
                log.replace(drop_failed)
            written = WrittenRecords(path, answering.digits)
            write = log.append
        job = LineJob(
            lines,
            write,
            settings=answering.digits,
            written=written,
            is_strict=options.strict,
            is_held=options.in_order and path is None,
        )

        def report(tally: JobTally) -> None:
            status.show(progress(tally, None if n_workers is None else n_workers()))

        status.show("reading the first lines")
        try:
            job.run(answering.answerer, report=report if stderr_is_terminal() else None)
        except KeyboardInterrupt:
            if path is not None and stderr_is_terminal():
                status.erase()
                end_echo()
                note(f"{n_lines(n_done(job.tally))} done; the same command goes on from there")
            raise
        if path is not None and options.in_order:
            places = {"" if name == STDIN else name: place for place, name in enumerate(files)}
            log.replace(lambda path: put_in_order(path, places))
    if written is not None:
        job.tally.n_failed_before = written.n_failed
        if written.n_left:
            what = "a record" if written.n_left == 1 else f"{written.n_left} records"
            note(f"warning: {path} has {what} of no line of this input")
    return job.tally


def _asked(question: Question, method: str | None) -> dict[str, Any]:
    """The model, and what holds for lines that say nothing of it, with where it came from."""
    from amulet_local.answering.request import choose_method
    from amulet_local.loading.model_store import find_model, names_of
    from amulet_local.preferences.user_settings import settings_of_model

    path = find_model(question.model)
    settings = settings_of_question(
        question,
        method=choose_method(method, has_preference=bool(question.preferences)).name,
        own=settings_of_model(names_of(question.model, path)),
        preferences=[item.label for item in question.preferences],
    )
    return {"model": {"name": question.model, "path": str(path)}, "settings": settings}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        BatchOptions,
        run,
        name="batch",
        help=HELP,
        examples=EXAMPLES,
        cls=LlamaCliCommand,
    )
