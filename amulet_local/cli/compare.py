"""`amulet-local compare`: one question, several methods and presets, the answers side by side."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amulet_local.cli.answering import Session, applied_in_words, rate, session
from amulet_local.cli.columns import GAP, NARROWEST, column_width, side_by_side, wrap
from amulet_local.cli.command import add_command
from amulet_local.cli.cut_answers import say_what_was_cut
from amulet_local.cli.flags import METHOD_NAMES, option, switch
from amulet_local.cli.inputs import require_question
from amulet_local.cli.json_format import write_json
from amulet_local.cli.llama_server_flags import LlamaCliCommand
from amulet_local.cli.named_method import NamedMethod, named_method
from amulet_local.cli.options import QuestionOptions
from amulet_local.cli.question import Question, read_options
from amulet_local.cli.supervised import the_model
from amulet_local.cli.terminal import is_dumb, note, separator, stdout_is_terminal, visible, write
from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.readable import n_tokens
from amulet_local.params.option import OUTPUT, PREFERENCE

if TYPE_CHECKING:
    from amulet_local.common.results import Generation
    from amulet_local.preferences.preference import Preference

HELP = """Show what a preference changes: the plain answer, the answer with the preference in
the prompt, and the realigned one; or any methods and presets.

On a terminal that is wide enough the answers stand side by side. Otherwise they stream to
standard output one after another. Lines of figures follow."""

EXAMPLES = """
amulet-local compare "How do I sleep better?" --preference creative
amulet-local compare "What is a heap?" --preference "in rhyme" \\
    --methods base,balanced,strong,paper"""

PROMPTED = "pref"
"""The method that only asks."""

TOGETHER = "together"
"""What the same is called with all preferences in one prompt."""

LEAST_GAIN = 0.05
"""Nats a token by which a preference makes an answer likelier, below which it seems too weak."""
FEWEST_TOKENS = 12
"""Of an answer from which on that can be told."""

LABELS = {
    "base": "plain",
    PROMPTED: "preference prompt",
    TOGETHER: "all in one prompt",
    "amulet": "realigned",
}


@dataclass(frozen=True, kw_only=True)
class CompareOptions(QuestionOptions):
    """Options of `compare`."""

    methods: Annotated[
        str,
        option(
            *("--methods", "--method"),
            panel=PREFERENCE,
            metavar="NAMES",
            help=f"Which to compare: methods ({METHOD_NAMES}) and presets (balanced, strong, "
            f"paper), and as in eval a method with its strength, e.g. amulet:scale=2 or "
            f"amulet:balanced+kl=0.5. The preference prompt alone (pref) is always there, with "
            f"several preferences one that has them all (together). Default: base,pref,amulet.",
        ),
    ] = "base,pref,amulet"
    columns: Annotated[
        bool | None,
        switch(
            "--columns",
            panel=OUTPUT,
            help="Side by side, once all are made, or one after another, as they come. Default: "
            "side by side on a terminal that is wide enough.",
        ),
    ] = None


def run(options: CompareOptions) -> None:
    """Answer the question of `options` with each method."""
    question = read_options(options)
    entries = entries_of(options.methods, question)
    width = chosen_width(
        False if options.json else options.columns,
        len(entries),
        total=shutil.get_terminal_size().columns,
        is_terminal=stdout_is_terminal() and not is_dumb(),  # which shows no progress meanwhile
    )
    sampling = question.sampling
    generations: dict[str, Generation] = {}
    made: dict[str, dict[str, Any]] = {}
    headings: list[str] = []
    try:
        with session(question) as opened:
            for entry in entries:
                stream = not options.json and not width
                if stream:
                    heading = _heading(entry, _asked_strength(entry, opened))
                    write(f"{'' if entry is entries[0] else chr(10)}--- {heading} ---\n")
                generation = opened.answer(
                    entry.method,
                    question=entry.question,
                    sampling=sampling,
                    stream=stream,
                    progress=entry.name,
                    trace=0 if _steers(entry) else None,
                )
                generations[entry.name] = generation
                applied = generation.applied
                headings.append(
                    _heading(entry, "" if applied is None else applied_in_words(applied))
                )
                made[entry.name] = opened.json_of(replace(generation, trace=None), entry.question)
                if generation.seed is not None:  # the same draws for all
                    sampling = sampling.replace(seed=generation.seed)
    except KeyboardInterrupt:
        if width and generations:
            write(f"\n{columns(headings, _texts(generations), width)}")
        raise
    if options.json:
        write_json(made, has_own_names=True)
    else:
        if width:
            write(columns(headings, _texts(generations), width))
        lines = figures(generations)
        if stdout_is_terminal():
            lines = "\n".join(wrap(lines, shutil.get_terminal_size().columns))
        write(f"\n{lines}\n")
    for line in weak_wishes(entries, generations):
        note(line)
    say_what_was_cut(question, generations.values(), is_shown=True)


def entries_of(text: str, question: Question) -> list[NamedMethod]:
    """The methods and presets that `text` names, each once.

    Raises:
        InvalidParameterError: there is no preference, or no name, or what was asked for otherwise
            doesn't go with one.
        UnknownMethodError: a name is neither a method's nor a preset's.
    """
    if not question.preferences:
        raise InvalidParameterError(
            "compare needs a preference: give one with --preference, e.g. --preference concise"
        )
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InvalidParameterError("--methods names no method; e.g. --methods base,amulet")
    return _with_asking([named_method(name, question) for name in names], question)


def _with_asking(entries: list[NamedMethod], question: Question) -> list[NamedMethod]:
    """The same, and where something steers what it has to beat: a question with the wish in it.

    The wish is in the question whatever a preset says, unless its place was asked for. The
    preferences of a mix, which have a prompt each, are in one prompt.
    """
    from amulet_local.steering.methods import METHODS
    from amulet_local.steering.presets import placement_of

    if not any(map(_steers, entries)):
        return entries
    question = replace(question, placement=question.asked_placement or placement_of(None))
    entries = [
        replace(entry, question=question) if entry.name == PROMPTED else entry for entry in entries
    ]
    if [item.weight for item in question.preferences] == [1]:
        if any(entry.method == PROMPTED for entry in entries):
            return entries
        asking = named_method(PROMPTED, question)
    else:
        one = replace(question, preferences=(as_one(question.preferences),))
        asking = NamedMethod(name=TOGETHER, method=PROMPTED, question=one)
    methods = [METHODS[entry.method] for entry in entries]
    place = next((i for i, method in enumerate(methods) if method.needs_preference), 0)
    return [*entries[:place], asking, *entries[place:]]


def as_one(preferences: Sequence[Preference]) -> Preference:
    """A preference that says all of these, whatever they weigh, and what is to be avoided."""
    from amulet_local.preferences.preference import Preference
    from amulet_local.preferences.wording import unframed

    sentences = [item.instruction for item in preferences if item.weight > 0]
    for item in preferences:
        if item.weight < 0:
            wish = unframed(item.instruction).strip()
            sentences.append(f"Avoid an answer that is like this: {wish}")
    labels = ", ".join(item.label for item in preferences)
    prompt = " ".join(sentences).replace("{", "{{").replace("}", "}}")
    return Preference(text=labels, name=labels, prompt=prompt)


def weak_wishes(entries: Sequence[NamedMethod], generations: Mapping[str, Generation]) -> list[str]:
    """A line about preferences that make no steered answer likelier, with what helps.

    A form that is kept anyhow needs no weight.

    Args:
        generations: by name, traced where both prompts are computed.
    """
    from amulet_local.explanation.explanation import totals
    from amulet_local.preferences.form import is_form_alone

    found: dict[str, list[float]] = {}
    for item in entries:
        trace = generations[item.name].trace
        if not (_steers(item) and trace and len(trace) >= FEWEST_TOKENS):
            continue
        margins = totals(trace).margins  # none where a scale of 1 leaves the plain prompt out
        for wish, margin in zip(item.question.preferences, margins, strict=False):
            if is_form_alone(wish.text):
                continue
            gain = math.copysign(1, wish.weight) * margin
            found.setdefault(" ".join(wish.label.split()), []).append(gain)
    weak = {label: max(gains) for label, gains in found.items() if max(gains) < LEAST_GAIN}
    if not weak:
        return []
    wanted = ", ".join(f"{label!r} ({gain:+.3f} nats a token)" for label, gain in weak.items())
    return [
        f"{wanted}: too weak for this model and question, it seems, as the answer is hardly "
        f"likelier with the wish. Say what can be seen in a text: its length, form, language, "
        f"reader or words, e.g. --preference 'in three short sentences, with an example'"
    ]


def _steers(entry: NamedMethod) -> bool:
    """Whether a method goes by both prompts."""
    from amulet_local.steering.methods import METHODS

    method = METHODS[entry.method]
    return method.needs_plain and method.needs_preference


def chosen_width(asked: bool | None, n_columns: int, *, total: int, is_terminal: bool) -> int:
    """How wide each answer's column is to be; 0 for one answer after another.

    Args:
        asked: --columns or --no-columns, if one was given.
        total: cells of a line.
    """
    wide = column_width(n_columns, total)
    if asked is None:
        return wide if is_terminal and n_columns > 1 and wide >= NARROWEST else 0
    return max(wide, NARROWEST // 2) if asked else 0


def columns(
    headings: Sequence[str], texts: Sequence[str], width: int, *, total: int | None = None
) -> str:
    """Texts side by side, in several rows where they don't fit into one.

    Args:
        width: cells of each.
        total: of a line; None for the terminal's.
    """
    total = shutil.get_terminal_size().columns if total is None else total
    n_fit = max(1, (total + len(GAP)) // (width + len(GAP)))
    heads, bodies = ([visible(text.strip("\n")) for text in part] for part in (headings, texts))
    rows = []
    for start in range(0, len(bodies), n_fit):
        here = slice(start, start + n_fit)
        rule = ["-" * width] * len(bodies[here])
        parts = (heads[here], rule, bodies[here])
        rows.append("".join(f"{side_by_side(part, width)}\n" for part in parts))
    return "\n".join(rows)


def _texts(generations: Mapping[str, Generation]) -> list[str]:
    return [item.text for item in generations.values()]


def _heading(entry: NamedMethod, strength: str) -> str:
    if entry.name == "base":
        return "base: the plain answer"
    wanted = ", ".join(item.label for item in entry.question.preferences)
    return f"{entry.name}: {', '.join(filter(None, (' '.join(wanted.split()), strength)))}"


def _asked_strength(entry: NamedMethod, opened: Session) -> str:
    return opened.strength(entry.method, entry.question).in_words


def figures(generations: dict[str, Generation]) -> str:
    """A line of figures for each method: its speed, and how strongly it steered in fact."""
    plain = generations.get("base")
    lines = []
    for name, item in generations.items():
        speed = rate(item)
        if (
            plain is not None
            and name not in ("base", PROMPTED, TOGETHER)
            and plain.timings.tokens_per_second
        ):
            ratio = item.timings.tokens_per_second / plain.timings.tokens_per_second
            speed += f" ({ratio:.2f}x)" if ratio else ""
        cut = " (cut off)" if item.finish_reason == "length" else ""
        parts = [f"{n_tokens(item.usage.completion_tokens)}{cut}", speed]
        if item.applied is not None:
            parts.append(applied_in_words(item.applied))
        shown = separator(sys.stdout).join(filter(None, parts))
        lines.append(f"{LABELS.get(name, name)}: {shown}")
    return "\n".join(lines)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        CompareOptions,
        run,
        check=require_question,
        name="compare",
        help=HELP,
        examples=EXAMPLES,
        cls=LlamaCliCommand,
        models=the_model,
    )
