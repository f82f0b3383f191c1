"""`amulet-local compare`: one question, several methods, the answers one after another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from amulet_local.cli.answering import (
    Question,
    Session,
    generation_json,
    rate,
    read_options,
    session,
    write_json,
)
from amulet_local.cli.command import add_command
from amulet_local.cli.inputs import require_question
from amulet_local.cli.options import CompareOptions
from amulet_local.cli.terminal import separator, write
from amulet_local.errors import InvalidParameterError

if TYPE_CHECKING:
    from amulet_local.results import Generation

HELP = """Show what a preference changes: the plain answer, the answer with the preference in
the prompt, and the realigned one.

The answers stream to standard output one after another, then a line of figures."""

EXAMPLES = """
amulet-local compare "How do I sleep better?" --preference creative
amulet-local compare "What is a heap?" --preference "in rhyme" \\
    --methods base,amulet"""

LABELS = {"base": "plain", "pref": "preference prompt", "amulet": "realigned"}


def run(options: CompareOptions) -> None:
    """Answer the question of `options` with each method."""
    question = read_options(options)
    names = _method_names(options.methods, has_preference=bool(question.preferences))
    sampling = question.sampling
    generations: dict[str, Generation] = {}
    with session(question) as opened:
        for name in names:
            if not options.json:
                write(f"{'' if name == names[0] else chr(10)}{_heading(name, question, opened)}\n")
            generation = opened.answer(name, sampling=sampling, stream=not options.json)
            generations[name] = generation
            if generation.seed is not None:  # the same draws for all
                sampling = sampling.replace(seed=generation.seed)
    if options.json:
        write_json({name: generation_json(item) for name, item in generations.items()})
    else:
        write(f"\n{figures(generations)}\n")


def _method_names(text: str, *, has_preference: bool) -> list[str]:
    from amulet_local.request import choose_method

    if not has_preference:
        raise InvalidParameterError(
            "compare needs a preference: give one with --preference, e.g. --preference concise"
        )
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InvalidParameterError("--methods names no method; e.g. --methods base,amulet")
    chosen = [choose_method(name, has_preference=True).name for name in names]
    return list(dict.fromkeys(chosen))


def _heading(name: str, question: Question, opened: Session) -> str:
    if name == "base":
        return "--- base: the plain answer ---"
    wanted = ", ".join(item.label for item in question.preferences)
    scale = opened.guidance_scale(name)
    return f"--- {name}: {' '.join(wanted.split())}, guidance scale {scale:.3g} ---"


def figures(generations: dict[str, Generation]) -> str:
    """The line of figures: scale of the strongest, and the speed of each method."""
    scale = max((item.guidance_scale for item in generations.values()), key=abs)
    parts = [f"guidance scale {scale:.3g}"]
    plain = generations.get("base")
    for name, item in generations.items():
        part = f"{LABELS.get(name, name)} {rate(item)}"
        if plain is not None and name not in ("base", "pref") and plain.timings.tokens_per_second:
            ratio = item.timings.tokens_per_second / plain.timings.tokens_per_second
            part += f" ({ratio:.2f}x)" if ratio else ""
        parts.append(part)
    return separator(sys.stdout).join(parts)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        CompareOptions,
        run,
        check=require_question,
        name="compare",
        short_help="Plain and realigned answer to one question.",
        help=HELP,
        examples=EXAMPLES,
    )
