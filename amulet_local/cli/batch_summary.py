"""What `batch` tells: how far it is, what came of it, and what isn't as one would wish.

Knows nothing about options or about how lines are answered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from amulet_local.cli.json_format import FORMAT, write_json
from amulet_local.cli.terminal import note, separator, stderr_is_terminal
from amulet_local.common.readable import duration, n_tokens, speed

if TYPE_CHECKING:
    from amulet_local.batch.job import JobTally

_UNTOLD = ("share", "n_running_tokens", "first_error", "n_failed_before")


def progress(tally: JobTally, n_workers: int | None) -> str:
    """How far it is, in a line."""
    parts = [n_lines(n_done(tally)), f"{speed(tally.tokens_per_second)} tokens/s"]
    if tally.share:
        parts[0] += f", {tally.share:.0%} of the input read"
    if tally.share and tally.share < 1:  # what the lines under way take isn't known
        parts.append(f"{duration(tally.seconds * (1 - tally.share) / tally.share)} left")
    if n_workers is not None:
        parts.append(f"{n_workers} worker{'' if n_workers == 1 else 's'}")
    return separator(sys.stderr).join(parts)


def n_done(tally: JobTally) -> int:
    """Lines that have a record."""
    return tally.n_answered + tally.n_failed + tally.n_before


def n_lines(n: int) -> str:
    """So many lines, in words."""
    return "1 line" if n == 1 else f"{n} lines"


def tell(
    tally: JobTally, asked: Mapping[str, Any], output: str, *, as_json: bool, is_stdout: bool
) -> None:
    """A summary: for programs if asked for, else for a person at the terminal.

    Args:
        asked: what programs are told besides.
        output: where the records are.
        as_json: whether it is for programs.
        is_stdout: whether the records are on stdout, so that it goes to stderr.
    """
    summary = {
        "format": FORMAT,
        **asked,
        **{name: value for name, value in asdict(tally).items() if name not in _UNTOLD},
        "n_failed": tally.n_failed + tally.n_failed_before,
        "tokens_per_second": tally.tokens_per_second,
        "output": output,
    }
    if as_json and is_stdout:
        note(json.dumps(summary))
    elif as_json:
        write_json(summary)
    else:
        for warning in _warnings(tally):
            note(f"warning: {warning}")
    if stderr_is_terminal() and not as_json:
        made = (
            f"; {n_tokens(tally.completion_tokens)} in {duration(tally.seconds)} "
            f"({speed(tally.tokens_per_second)} tokens/s)"
        )
        note(
            f"{tally.n_answered} answered, {tally.n_failed} failed, {tally.n_before} done before"
            f"{made if tally.n_answered else ''}"
        )


def _warnings(tally: JobTally) -> Iterator[str]:
    """What isn't as one would wish."""
    if tally.first_error:
        yield f"the first line that failed is {tally.first_error}"
    if n := tally.n_failed_before:
        yield (
            f"{n} record{' has' if n == 1 else 's have'} an error from before; --retry asks "
            f"{'this line' if n == 1 else 'these lines'} again"
        )
    if tally.n_cut:
        yield (
            f"{tally.n_cut} of {tally.n_answered} answers {'was' if tally.n_cut == 1 else 'were'} "
            f"cut; --predict, max_tokens in a line, or --ctx-size allows more"
        )
