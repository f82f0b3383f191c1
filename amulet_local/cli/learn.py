"""`amulet-local learn`: the weights of a mix, from texts that one likes."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amulet_local.cli.command import add_command
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flag_names import in_flags
from amulet_local.cli.flags import (
    ModelName,
    json_option,
    option,
    preference_option,
    system_option,
)
from amulet_local.cli.given_options import read
from amulet_local.cli.inputs import check_text, chosen_model, placement_named
from amulet_local.cli.json_format import write_json
from amulet_local.cli.loading import loaded
from amulet_local.cli.options import SYSTEM_HELP
from amulet_local.cli.supervised import the_model
from amulet_local.cli.terminal import StatusLine, note, one_line, stderr_is_terminal, write
from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError
from amulet_local.common.readable import duration
from amulet_local.params.learn import LearnParams
from amulet_local.params.option import PREFERENCE, some_of
from amulet_local.params.runtime import RuntimeParams

if TYPE_CHECKING:
    from amulet_local.learning.learned import Learned

TEXTS = "The texts"

HELP = """Learn a mix of preferences from texts that you like.

LIKED is a file with one JSON object a line: {"question": "...", "answer": "..."}, and "liked":
false with an answer to stay away from. The weights of the mix are those under which these texts
are likeliest, with their standard errors. docs/learn.md has the method.

The mix goes into a file of its own; `amulet-local preferences import FILE` makes --preference know
it."""

EXAMPLES = """
amulet-local learn liked.jsonl -o me.toml
amulet-local preferences import me.toml
amulet-local generate "How do I sleep better?" --preference me
amulet-local learn liked.jsonl -o dry.toml --preference formal \\
    --preference concise --preference "with dry humour" --holdout 0.2"""

PROGRESS_SECONDS = 10.0
"""Between two lines of progress where stderr is no terminal."""


@dataclass(frozen=True, kw_only=True)
class LearnOptions:
    """Options of `learn`."""

    liked: Annotated[
        str,
        typer.Argument(
            help="The file with the texts, JSON Lines.", metavar="LIKED", rich_help_panel=TEXTS
        ),
    ]
    system: Annotated[
        str | None,
        system_option(panel=TEXTS, help=SYSTEM_HELP),
    ] = None
    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=PREFERENCE,
            help="What the mix may be made of: a name or a description, once for each. Default: "
            "the built-in preferences and those of your own.",
        ),
    ] = None
    placement: Annotated[
        str | None,
        option(
            "--placement",
            panel=PREFERENCE,
            metavar="WHERE",
            help="The preference goes to the end of the 'system' text or of the 'user' question; "
            "'contrast' also puts a neutral sentence there in the plain prompt. "
            "Default: the default preset's.",
        ),
    ] = None
    fit: Given = field(default_factory=dict, metadata=group(LearnParams.options))
    model: ModelName = None
    output: Annotated[
        str | None,
        option("-o", "--output", panel="Output", metavar="FILE", help="Where the mix goes."),
    ] = None
    name: Annotated[
        str | None,
        option(
            "--name",
            panel="Output",
            metavar="NAME",
            help="What the mix is called. Default: FILE without its ending.",
        ),
    ] = None
    force: Annotated[
        bool, option("--force", panel="Output", help="Replace FILE if it is there.")
    ] = False
    json: Annotated[bool, json_option("The result as one JSON object.")] = False
    runtime: Given = field(
        default_factory=dict,
        metadata=group(
            some_of(
                RuntimeParams.options,
                *("n_ctx", "n_threads", "n_threads_batch", "schedule", "n_gpu_layers"),
                *("flash_attention", "lora", "control_vectors", "control_vector_layers"),
                *("adapters_on", "chat_template", "template_arguments", "verbose"),
            )
        ),
    )


def run(options: LearnOptions) -> None:
    """Learn, write the file, and print the table."""
    from amulet_local.learning.learned import as_toml, bank_of, check_mix_name
    from amulet_local.learning.liked_texts import read_texts

    placement = placement_named(options.placement)
    for text in options.preference or ():
        check_text("--preference", text)
    check_text("--system", options.system)
    output = _output(options)
    settings = LearnParams(**read(LearnParams.options, options.fit))
    bank = bank_of(options.preference or None)
    name = options.name if options.name is not None else output.stem
    check_mix_name(name, bank)
    texts = read_texts(options.liked)
    runtime = RuntimeParams(**read(RuntimeParams.options, options.runtime))
    with (
        loaded(chosen_model(options.model), runtime) as engine,
        _progress(enabled=not runtime.verbose) as progress,
    ):
        began = time.monotonic()
        learned = engine.learn(
            texts,
            bank=bank,
            system=options.system,
            placement=placement,
            progress=progress,
            **settings.model_dump(),
        )
        seconds = time.monotonic() - began
        model = engine.model.path.name
    private_files.write(output, as_toml(learned, name, model=model))
    for warning in learned.warnings:
        note(f"warning: {in_flags(warning)}")
    if options.json:
        write_json(_as_json(learned, name))
    else:
        write(report(learned))
        note(
            f"{name} is in {output}, after {seconds:.0f} s; "
            f"`amulet-local preferences import {output}` makes --preference {name} work"
        )


def _require_output(options: LearnOptions) -> None:
    if not options.output:
        raise typer.BadParameter("say where the mix goes: -o FILE, e.g. -o me.toml")


def _output(options: LearnOptions) -> Path:
    """Where the file goes: what could be wrong with that is said before anything is computed.

    Raises:
        FileAccessError: it can't be written, or something is there already.
    """
    assert options.output is not None
    check_text("-o", options.output)
    path = Path(options.output).expanduser()
    private_files.check(path)
    if os.path.lexists(path) and not (options.force and path.is_file()):
        hint = "--force replaces it" if path.is_file() else "choose another name"
        raise FileAccessError(f"{path} is there already; {hint}")
    return path


@contextmanager
def _progress(*, enabled: bool) -> Iterator[Callable[[int, int], None]]:
    """Progress with the time that is left: in place on a terminal, else a line now and then."""
    status = StatusLine(enabled=enabled)
    status.show("reading the texts")
    is_terminal = stderr_is_terminal()
    began = time.monotonic()
    next_line = began + PROGRESS_SECONDS

    def show(done: int, total: int) -> None:
        nonlocal next_line
        now = time.monotonic()
        text = f"reading the texts: {done} of {total} tokens"
        if now > began and done:
            text += f", {duration((now - began) * (total - done) / done)} left"
        status.show(text)
        if enabled and not is_terminal and now >= next_line:
            next_line = now + PROGRESS_SECONDS
            note(text)

    try:
        yield show
    finally:
        status.erase()


def report(learned: Learned) -> str:
    """The table of the weights, and what they are worth."""
    labels = [one_line(item.name or item.text) for item in learned.preferences]
    labels = [label if len(label) <= 40 else label[:37] + "..." for label in labels]
    width = max(len("preference"), *map(len, labels))
    lines = [f"{'preference':{width}}  weight  std. error      z"]
    for label, weight, error, z in zip(
        labels, learned.weights, learned.standard_errors, learned.z_values, strict=True
    ):
        lines.append(f"{label:{width}}  {weight:6.2f}  {error:10.2f}  {z:5.1f}")
    values = learned.log_likelihoods
    texts = f"{values.n_texts} {'held-out' if values.held_out else 'fitted'} texts"
    if values.n_texts == 1:
        texts = texts[:-1]
    single = f"{one_line(values.single_name)[:40]}:{values.single_weight:.2f}"
    rows = [
        ("plain prompt", values.plain),
        (f"best single preference, {single}", values.single),
        ("fitted weights", values.fitted),
    ]
    wide = max(len(name) for name, _ in rows)
    disliked = f", {learned.n_disliked} of them disliked" if learned.n_disliked else ""
    lines += [
        "",
        f"Fitted to {learned.n_texts} text{'s' * (learned.n_texts != 1)}, {learned.n_tokens} tokens"
        f"{disliked}, ridge {learned.ridge:g}.",
        f"Log-likelihood per token of {texts}, {values.n_tokens} tokens, in nats:",
        *(f"  {name:{wide}}  {value:8.4f}" for name, value in rows),
        f"Lumping the tail changes that by {learned.tail_error_nats:.4f}, and a weight by at most "
        f"{learned.tail_shift:.2f} standard errors.",
    ]
    return "\n".join(lines) + "\n"


def _as_json(learned: Learned, name: str) -> dict[str, Any]:
    """Everything as JSON values; an infinite standard error is null."""
    values = dataclasses.asdict(learned)
    values["name"] = name
    values["standard_errors"] = [
        error if math.isfinite(error) else None for error in learned.standard_errors
    ]
    values["z_values"] = list(learned.z_values)
    return values


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        LearnOptions,
        run,
        check=_require_output,
        name="learn",
        help=HELP,
        examples=EXAMPLES,
        models=the_model,
    )
