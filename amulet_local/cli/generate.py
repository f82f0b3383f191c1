"""`amulet-local generate`: one answer, streamed."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from amulet_local.cli.answering import figures, session
from amulet_local.cli.command import add_command
from amulet_local.cli.cut_answers import say_what_was_cut
from amulet_local.cli.flags import MethodName
from amulet_local.cli.inputs import require_question
from amulet_local.cli.json_format import write_json
from amulet_local.cli.llama_server_flags import LlamaCliCommand
from amulet_local.cli.named_method import warn_of_no_preference, with_method
from amulet_local.cli.options import QuestionOptions
from amulet_local.cli.question import read_options
from amulet_local.cli.supervised import the_model
from amulet_local.cli.terminal import remark, stderr_is_terminal

HELP = """Answer one question, following a preference.

The answer streams to standard output; everything else goes to standard error. Without a
preference the answer is plain: what llama.cpp gives for the same question, chat template and
system text. The system text is a short default (-v shows it); --system '' leaves it out. An
answer that was cut, by --predict or the context, ends with exit code 3."""

EXAMPLES = """
amulet-local generate "How do I sleep better?" --preference concise
amulet-local generate -f question.txt -m model.gguf -ngl 99 \\
    --preference "like a patient teacher, with an example" --guidance-scale 3
git diff | amulet-local generate "Write a commit message." -f - -c 8192
git diff | amulet-local generate - -c 8192 --system "Review this." --json"""


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(QuestionOptions):
    """Options of `generate`."""

    method: MethodName = None


def run(options: GenerateOptions) -> None:
    """Answer the question of `options`."""
    from amulet_local.answering.request import choose_method

    name, question = with_method(options, options.method, read_options(options))
    warn_of_no_preference(name, question)
    method = choose_method(name, has_preference=bool(question.preferences))
    with session(question) as opened:
        if question.amulet is not None and not question.preferences:
            opened.warn(["without --preference the strength changes nothing"])
        generation = opened.answer(method.name, stream=not options.json)
        if options.json:
            write_json(opened.json_of(generation))
        if options.stats or stderr_is_terminal():
            remark(figures(generation))
        say_what_was_cut(question, [generation])


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        GenerateOptions,
        run,
        check=require_question,
        name="generate",
        help=HELP,
        examples=EXAMPLES,
        cls=LlamaCliCommand,
        models=the_model,
    )
