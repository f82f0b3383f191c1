"""`amulet-local bench`: measure speed and memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from amulet_local.cli.command import HelpCommand, add_command
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import (
    json_option,
    model_option,
    numeric,
    option,
)
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import chosen_model
from amulet_local.cli.json_format import write_json
from amulet_local.cli.supervised import Uses, the_model
from amulet_local.cli.terminal import StatusLine, note, stderr_is_terminal, write
from amulet_local.common.version import package_version
from amulet_local.params.option import some_of
from amulet_local.params.runtime import RuntimeParams

if TYPE_CHECKING:
    from amulet_local.benchmark.settings import Settings

WHAT = "What to measure"
HELP = """Measure speed and memory on this machine, with and without a preference.

WHAT is one or more of these. Default: all but drafts and kernels.

decode: time per token, plain, by llama-cpp-python's own completion, and with a preference in each
schedule; the share of a step outside llama_decode.

prefill: time to the first token of long prompts, and of a second question after the same text.

memory: peak memory of a process without and with a preference.

start: time from starting `generate` to its first token.

busy: time per token while other programs keep half of the cores busy.

drafts: answers that repeat their prompt (code, editing, extraction) and one that doesn't, with and
without drafts (--draft); for a model with real weights.

kernels: the optimizer alone, and the 60 iterations of the published method.

Ways that are compared take turns, each in a process of its own. Close other programs first: figures
of a busy machine say little. docs/benchmarks.md describes the method."""

EXAMPLES = """
amulet-local bench --quick
amulet-local bench decode -m model.gguf --schedules parallel,batched
amulet-local bench --json > figures.json"""

_PROMPTS = ("-p", "--n-prompt", "-pg", "-d", "--n-depth")
_INSTEAD = {
    **dict.fromkeys(("-r", "--repetitions"), "--rounds N"),
    **dict.fromkeys(("-o", "--output"), "--json, or --plot FILE"),
    "--n-gen": "-n N",
}
"""llama-bench's flags, and what does the same here."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of `bench`."""

    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT",
            help="decode, prefill, memory, start, busy, drafts, kernels.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None
    schedules: Annotated[
        str | None,
        option(
            "--schedules",
            panel=WHAT,
            metavar="LIST",
            help="Of auto, parallel, serial, batched, and parallel:N with N threads a row; "
            "separated by commas. Default: those that make sense here.",
        ),
    ] = None
    preferences: Annotated[
        int | None,
        numeric(
            "--preferences", panel=WHAT, help="Decode with 1 to N preferences at once. Default: 1."
        ),
    ] = None
    rounds: Annotated[
        int | None,
        numeric(
            "--rounds",
            panel=WHAT,
            help="Timings of each way. Default: 7; of a prefill at most 5.",
        ),
    ] = None
    tokens: Annotated[
        int | None,
        numeric(
            *("-n", "--tokens", "--predict", "--n-predict", "--max-tokens"),
            panel=WHAT,
            help="Tokens of a timing. Default: 32.",
        ),
    ] = None
    quick: Annotated[
        bool,
        option(
            "--quick",
            panel=WHAT,
            help="A first look: 3 rounds of 16 tokens, short prompts; too little to report.",
        ),
    ] = False
    one_at_a_time: Annotated[
        bool,
        option(
            "--one-at-a-time",
            panel=WHAT,
            help="Hold the model in one process at a time. Default: where memory is short.",
        ),
    ] = False
    model: Annotated[
        str | None, model_option("Path of a GGUF file, or a name. Default: smollm2.")
    ] = None
    runtime: Given = field(
        default_factory=dict,
        metadata=group(
            some_of(
                RuntimeParams.options,
                *("n_threads", "n_gpu_layers", "flash_attention", "lora", "control_vectors"),
                *("control_vector_layers", "adapters_on"),
            )
        ),
    )
    json: Annotated[bool, json_option("Everything as one JSON object, each timing included.")] = (
        False
    )
    plot: Annotated[
        str | None,
        option("--plot", panel="Output", metavar="FILE", help="Draw a bar chart into FILE.png."),
    ] = None


def run(options: BenchOptions) -> None:
    """Measure and print."""
    from amulet_local.benchmark.settings import PARTS, parse_parts

    what = parse_parts(options.what or PARTS, (*PARTS, "drafts", "kernels"))
    parts = tuple(name for name in what if name in PARTS)
    settings = _settings(options, parts) if parts or "drafts" in what else None
    plot = _plot_path(options, what)
    status = _Status()
    figures: dict[str, Any] = {"amulet_local": package_version()}
    texts: list[str] = []
    try:
        if "kernels" in what:
            _kernels(status, figures, texts)
        if settings is not None and "drafts" in what:
            _drafts(settings, status, figures, texts)
        if settings is not None and parts:
            from amulet_local.benchmark.plot import write_plot
            from amulet_local.benchmark.run import run_benchmark
            from amulet_local.benchmark.tables import report_text

            report = run_benchmark(settings, status.show)
            figures |= report.as_json()
            texts.append(report_text(report))
            if plot is not None:
                write_plot(report, plot)
    finally:
        status.erase()
    if options.json:
        write_json(figures)
    else:
        write("\n\n".join(texts) + "\n")


class _Status:
    """Says what is being measured: in place on a terminal, else a line for each thing."""

    def __init__(self) -> None:
        self._line = StatusLine(enabled=True)
        self._is_terminal = stderr_is_terminal()
        self._last = ""

    def show(self, text: str) -> None:
        self._line.show(text)
        part = text.partition(":")[0]
        if not self._is_terminal and part != self._last:
            self._last = part
            note(f"measuring: {part}")

    def erase(self) -> None:
        self._line.erase()


def _settings(options: BenchOptions, parts: tuple[str, ...]) -> Settings:
    from amulet_local.benchmark.settings import Part, RowSchedule, Settings
    from amulet_local.loading.model_store import find_model

    runtime = read(RuntimeParams.options, options.runtime)
    counts = {
        "n_preferences": options.preferences,
        "n_tokens": options.tokens,
        "rounds": options.rounds,
    }
    given = {name: value for name, value in counts.items() if value is not None}
    if options.quick:
        given = {"n_tokens": 16, "rounds": 3, **given}
    schedules = None
    if options.schedules is not None:
        names = dict.fromkeys(name.strip() for name in options.schedules.split(","))
        schedules = tuple(RowSchedule.parse(name) for name in names)
    return Settings(
        model=find_model(chosen_model(options.model)),
        runtime=RuntimeParams(**{k: v for k, v in runtime.items() if v is not None}),
        parts=cast("tuple[Part, ...]", parts),
        schedules=schedules,
        quick=options.quick,
        one_at_a_time=options.one_at_a_time,
        **given,
    )


def _plot_path(options: BenchOptions, what: tuple[str, ...]) -> Path | None:
    if options.plot is None:
        return None
    from amulet_local.common.errors import InvalidParameterError
    from amulet_local.common.plotting import check_plot

    if not {"decode", "prefill"} & set(what):
        raise InvalidParameterError("--plot draws decode and prefill; measure one of them")
    path = Path(options.plot).expanduser()
    check_plot(path)
    return path


def _drafts(settings: Settings, status: _Status, figures: dict[str, Any], texts: list[str]) -> None:
    from amulet_local.benchmark.drafting import draft_table, measure_drafts

    rows = measure_drafts(settings, lambda text: status.show(f"drafts: {text}"))
    figures["drafts"] = [asdict(row) for row in rows]
    texts.append(draft_table(rows))


def _kernels(status: _Status, figures: dict[str, Any], texts: list[str]) -> None:
    from amulet_local.benchmark.kernels import VOCABULARY_SIZES, kernel_table, measure_kernels

    rows = []
    for n_vocab in VOCABULARY_SIZES:
        status.show(f"kernels: V = {n_vocab:,}")
        rows.append(measure_kernels(n_vocab))
    figures["kernels"] = [asdict(row) for row in rows]
    texts.append(kernel_table(rows))


def _models(options: BenchOptions) -> Uses:
    """The model, for drafts: what else is measured runs in processes of its own anyway."""
    return the_model(options) if "drafts" in (options.what or ()) else []


class _LlamaBench(HelpCommand):
    """A command that knows llama-bench's flags: it answers them with what does the same here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read a command line.

        Raises:
            typer.BadParameter: one of the flags is llama-bench's.
        """
        for word in args:
            flag = word.partition("=")[0]
            if flag in _PROMPTS:
                ctx.fail(f"there is no {flag}: {_lengths_of_prompts()}")
            if flag in _INSTEAD:
                ctx.fail(f"there is no {flag}: it is {_INSTEAD[flag]}")
        return super().parse_args(ctx, args)


def _lengths_of_prompts() -> str:
    from amulet_local.benchmark.shapes import QUICK_SHAPES, SHAPES

    whole, quick = (
        " and ".join(f"{n:,}" for n in sorted({shape.n_plain for shape in shapes}))
        for shapes in (SHAPES, QUICK_SHAPES)
    )
    return (
        f"`amulet-local bench prefill` times prompts of {whole} tokens, "
        f"`amulet-local bench prefill --quick` of {quick}"
    )


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        BenchOptions,
        run,
        name="bench",
        help=HELP,
        examples=EXAMPLES,
        cls=_LlamaBench,
        models=_models,
    )
