"""`amulet-local explain`: one answer, and what the preference did to each of its tokens."""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amulet_local.cli import completions
from amulet_local.cli.answering import figures, session
from amulet_local.cli.columns import cells, cut, pad, wrap
from amulet_local.cli.command import add_command
from amulet_local.cli.cut_answers import say_what_was_cut
from amulet_local.cli.flags import STEERING_NAMES, numeric, option
from amulet_local.cli.inputs import require_question
from amulet_local.cli.json_format import write_json
from amulet_local.cli.llama_server_flags import LlamaCliCommand
from amulet_local.cli.named_method import with_method
from amulet_local.cli.options import QuestionOptions
from amulet_local.cli.question import read_options
from amulet_local.cli.supervised import the_model
from amulet_local.cli.terminal import (
    has_characters,
    has_colours,
    note,
    one_line,
    remark,
    separator,
    stderr_is_terminal,
    stdout_is_terminal,
    visible,
    write,
    write_painted,
)
from amulet_local.common import private_files
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.option import OUTPUT, PREFERENCE

if TYPE_CHECKING:
    from amulet_local.common.results import Chunk
    from amulet_local.explanation.explanation import ExplainedToken, Explanation, TokenName
    from amulet_local.llama.vocabulary import Vocabulary

HELP = """Answer one question, and show what the preference did to each token.

For each token: its probability under the plain prompt, under the preference's, and as realigned,
and how many times likelier it has become. On a terminal the answer is coloured by that."""

EXAMPLES = """
amulet-local explain "How do I sleep better?" --preference creative -n 60
amulet-local explain -f question.txt --preference formal:0.7 \\
    --preference "in rhyme" --preset strong --html page.html"""

N_SHOWN = 15
"""Tokens in the table unless all are wanted."""
WIDEST_NAME = 20
"""Cells of a token in the table."""

_WIDEST_HEADINGS = (40, 24, 12)
"""Cells of a preference above its column: what there is room for, before columns are left out."""

_LIKELIER = ("", "38;5;130", "1;38;5;130", "48;5;130;38;5;231", "1;48;5;124;38;5;231")
_UNLIKELIER = ("", "38;5;31", "1;38;5;31", "48;5;25;38;5;231", "1;48;5;19;38;5;231")
"""SGR styles by step: letters of medium brightness, then white ones on a dark ground, which can be
read on a light terminal and on a dark one. Oranges and blues, for everyone's eyes."""

_OF_EACH = ("#", "token")
_LESS_WANTED = ("scale", "plain favourite", "KL")
"""Columns that a narrow terminal does without, the first one first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainOptions(QuestionOptions):
    """Options of `explain`."""

    method: Annotated[
        str | None,
        option(
            "--method",
            autocompletion=completions.methods,
            panel=PREFERENCE,
            metavar="NAME",
            help=f"One of {STEERING_NAMES}, a preset, or one with its strength, e.g. "
            f"amulet:scale=2. Default: amulet.",
        ),
    ] = None
    all: Annotated[
        bool,
        option("--all", panel=OUTPUT, help="Every token in the table, not those that moved most."),
    ] = False
    alternatives: Annotated[
        int,
        numeric(
            "--alternatives",
            panel=OUTPUT,
            help="How many of the likeliest tokens to list under each prompt. Default: 5.",
        ),
    ] = 5
    html: Annotated[
        str | None,
        option(
            "--html",
            panel=OUTPUT,
            metavar="FILE",
            help="Write a page for a browser as well; it needs no network.",
        ),
    ] = None


def run(options: ExplainOptions) -> None:
    """Answer the question of `options` and explain the answer."""
    from amulet_local.explanation.explanation import explain

    name, question = with_method(options, options.method, read_options(options))
    if not question.preferences:
        raise InvalidParameterError(
            "explain needs a preference: give one with --preference, e.g. --preference concise"
        )
    method = _method_name(name)
    trace = _checked_alternatives(options.alternatives)
    if options.html is not None:
        private_files.check(options.html)
    painted = has_colours() and not options.json
    with session(question) as opened:
        show = _painter(opened.vocabulary) if painted else None
        generation = opened.answer(method, stream=not options.json, show=show, trace=trace)
        explanation = explain(
            generation,
            opened.vocabulary,
            question=question.text,
            model=Path(question.model).name,
        )
        made = opened.json_of(generation, question)
    if options.json:
        write_json(explanation_json(explanation, made))
    else:
        show_explanation(explanation, all_tokens=options.all, painted=painted)
    if options.html is not None:
        _write_page(options.html, explanation)
    if options.stats or stderr_is_terminal():
        remark(figures(generation))
    say_what_was_cut(question, [generation])


def explanation_json(explanation: Explanation, made: dict[str, Any]) -> dict[str, Any]:
    """What `generate --json` gives, with the trace and the totals; null for minus infinity.

    Args:
        made: what `generate --json` gives.
    """
    finite: dict[str, Any] = _finite({**made, "totals": dataclasses.asdict(explanation.totals)})
    return finite


def table(explanation: Explanation, positions: list[int], width: int | None) -> str:
    """The tokens at `positions` as lines of text, safe on any terminal.

    Args:
        width: cells of a line; a column may be left out for it, or go to a table of its own below.
            None for no limit.
    """
    for widest_heading in _WIDEST_HEADINGS:
        columns = _table_columns(explanation, positions, widest_heading)
        if _fits(columns, width):
            break
    for name in _LESS_WANTED:
        if _fits(columns, width):
            break
        columns.pop(name, None)
    return "\n".join(_lines(part) for part in _that_fit(columns, width))


def _lines(columns: dict[str, list[str]]) -> str:
    lines = []
    for row in zip(*columns.values(), strict=True):
        padded = [
            pad(cell, _width(column), right=name not in ("token", "plain favourite"))
            for cell, (name, column) in zip(row, columns.items(), strict=True)
        ]
        lines.append("  ".join(padded).rstrip(" "))
    return "\n".join(lines) + "\n"


def _that_fit(columns: dict[str, list[str]], width: int | None) -> list[dict[str, list[str]]]:
    """The columns as tables that fit; each but the first begins with the tokens again."""
    tables = [{name: columns[name] for name in _OF_EACH}]
    for name, column in columns.items():
        if name in _OF_EACH:
            continue
        if len(tables[-1]) > len(_OF_EACH) and not _fits({**tables[-1], name: column}, width):
            tables.append({kept: columns[kept] for kept in _OF_EACH})
        tables[-1][name] = column
    return tables


def _fits(columns: dict[str, list[str]], width: int | None) -> bool:
    needed = sum(map(_width, columns.values())) + 2 * (len(columns) - 1)
    return width is None or needed <= width


def shown_token(name: TokenName) -> str:
    """A token on one line without control characters; ordinary text in quotes."""
    text = name.text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    text = visible(text)
    return cut(f'"{text}"' if name.kind == "text" else text, WIDEST_NAME)


def _method_name(name: str | None) -> str:
    from amulet_local.answering.request import choose_method

    method = choose_method(name, has_preference=True)
    if not (method.needs_plain and method.needs_preference):
        raise InvalidParameterError(
            f"the method {method.name!r} moves no token; explain takes {STEERING_NAMES}"
        )
    return method.name


def _checked_alternatives(n: object) -> int:
    from amulet_local.answering.request import MAX_TOP

    if not (type(n) is int and 0 <= n <= MAX_TOP):
        raise InvalidParameterError(
            f"--alternatives must be a whole number from 0 to {MAX_TOP}, not {n}"
        )
    return n


def _write_page(path: str, explanation: Explanation) -> None:
    from amulet_local.explanation.page import page

    private_files.write(path, page(explanation).encode())
    note(f"the page is in {path}")


def _painter(vocabulary: Vocabulary) -> Callable[[Chunk], None]:
    """A function that writes a piece of the answer, painted by how far its tokens moved."""
    from amulet_local.explanation.explanation import StreamSteps

    steps = StreamSteps(vocabulary)

    def show(chunk: Chunk) -> None:
        for text, step in steps.split(chunk):
            write_painted(text, _style(step))

    return show


def _style(step: int) -> str:
    return _LIKELIER[step] if step >= 0 else _UNLIKELIER[-step]


def show_answer(explanation: Explanation) -> None:
    """Write the answer to a terminal that `has_colours`, each token painted by how far it moved."""
    width = shutil.get_terminal_size().columns - 1
    used, word = 0, []
    painted = [(character, token.step) for token in explanation.tokens for character in token.text]
    for character, step in [*painted, ("\n", 0)]:
        if character not in " \n":
            word.append((visible(character), step))
            continue
        n_cells = cells("".join(shown for shown, _ in word))
        if used and used + n_cells > width:
            write("\n")
            used = 0
        for shown, its_step in word:
            write_painted(shown, _style(its_step))
        used, word = used + n_cells, []
        if character == "\n":
            write("\n")
            used = 0
        elif used < width:
            write_painted(character, _style(step))
            used += 1


def show_explanation(
    explanation: Explanation, *, all_tokens: bool, painted: bool, hint: str = "--all shows all"
) -> None:
    """Write what the preference did: legend, table, divergence, means.

    Args:
        hint: how to see all tokens.
    """
    width = shutil.get_terminal_size().columns if stdout_is_terminal() else None
    n_tokens = len(explanation.tokens)
    write("\n")
    if painted:
        _show_legend()
    positions = list(range(n_tokens)) if all_tokens else explanation.most_moved(N_SHOWN)
    if len(positions) < n_tokens:
        heading = f"The {len(positions)} of {n_tokens} tokens that moved most ({hint}):"
        write("\n".join(wrap(heading, width or 200)) + "\n")
    write(table(explanation, positions, width))
    totals = totals_line(explanation)
    write(f"\n{kl_strip(explanation, width or 80)}\n")
    write((totals if width is None else "\n".join(wrap(totals, width))) + "\n")


def _show_legend() -> None:
    from amulet_local.explanation.explanation import STEP_FACTORS

    steps = len(STEP_FACTORS)
    fits = not stdout_is_terminal() or shutil.get_terminal_size().columns > 42 + 8 * steps
    write("likelier than plain by")
    for factor, style in zip(STEP_FACTORS, _LIKELIER[1:], strict=True):
        write(" ")
        write_painted(f"x{factor:g}", style)
    write(", unlikelier by" if fits else "\nunlikelier by")
    for factor, style in zip(STEP_FACTORS, _UNLIKELIER[1:], strict=True):
        write(" ")
        write_painted(f"/{factor:g}", style)
    write("\n\n")


def _table_columns(
    explanation: Explanation, positions: list[int], widest_heading: int
) -> dict[str, list[str]]:
    """Header and cells of each column."""
    from amulet_local.common.readable import factor, percent

    tokens = [explanation.tokens[position] for position in positions]
    columns = {
        "#": ["#", *(str(position + 1) for position in positions)],
        "token": ["token", *(shown_token(token.name) for token in tokens)],
    }
    for row, name in enumerate(explanation.rows):
        shown = [percent(token.log_probabilities[row]) for token in tokens]
        columns[f"row {row}"] = [cut(one_line(name), widest_heading), *shown]
    columns |= {
        "moved": ["moved", *(factor(token.moved) for token in tokens)],
        "KL": ["KL", *(f"{token.trace.kl:.2f}" for token in tokens)],
        "scale": ["scale", *(f"{token.trace.scale:.2f}" for token in tokens)],
        "plain favourite": ["plain favourite", *(_favourite(token) for token in tokens)],
    }
    if not any(columns["plain favourite"][1:]):
        del columns["plain favourite"]
    return columns


def _favourite(token: ExplainedToken) -> str:
    """What the plain prompt's likeliest token was, where it is another one."""
    plain = token.candidates[0]
    return shown_token(plain[0].name) if plain and not plain[0].chosen else ""


def _width(column: list[str]) -> int:
    return max(map(cells, column))


def kl_strip(explanation: Explanation, width: int) -> str:
    """The KL of every token as a block, in lines of at most `width` cells."""
    from amulet_local.common.readable import strip

    values = [token.trace.kl for token in explanation.tokens]
    marks = strip(values, ascii_only=not has_characters(sys.stdout, strip([0.0, 1.0])))
    lines = [marks[start : start + width] for start in range(0, len(marks), width)]
    top = max(values)
    place = values.index(top) + 1
    return "\n".join(
        [*wrap(f"KL per token, at most {top:.2f} nats (token {place}):", width), *lines],
    )


def totals_line(explanation: Explanation) -> str:
    """The means on one line, safe on any terminal; a mix's margins with their names."""
    totals = explanation.totals
    names = explanation.generation.preferences if len(totals.margins) > 1 else ("",)
    margins = [
        f"{cut(one_line(name), 24)} {margin:+.3f}".strip()
        for name, margin in zip(names, totals.margins, strict=True)
    ]
    parts = [f"margin {', '.join(margins)}", f"KL {totals.kl:.3f}"]
    if totals.fluency is not None:
        parts.insert(1, f"fluency {totals.fluency:.3f}")
    between = separator(sys.stdout)
    scales = [token.trace.scale for token in explanation.tokens]
    scale = f"mean scale {totals.scale:.3g} ({min(scales):.3g} to {max(scales):.3g})"
    return f"{between.join(parts)} nats per token{between}{scale}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        ExplainOptions,
        run,
        check=require_question,
        name="explain",
        help=HELP,
        examples=EXAMPLES,
        cls=LlamaCliCommand,
        models=the_model,
    )
