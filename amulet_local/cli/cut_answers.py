"""Says that an answer was cut, and ends the command with an exit code of its own.

Knows nothing about forms but that the question asks for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from amulet_local.cli.exit_codes import EXIT_CUT
from amulet_local.cli.terminal import note, remark
from amulet_local.common.readable import cut_after

if TYPE_CHECKING:
    from amulet_local.cli.question import Question
    from amulet_local.common.results import Generation


def say_what_was_cut(
    question: Question, generations: Iterable[Generation], *, is_shown: bool = False
) -> None:
    """Say it on stderr, and end with an exit code of its own.

    Args:
        is_shown: whether the answers' figures, which have it, can be seen already.

    Raises:
        SystemExit: an answer was cut.
    """
    is_cut = False
    has_form = question.sampling.uses("grammar") or question.sampling.uses("json_schema")
    for generation in generations:
        if generation.finish_reason != "length":
            continue
        is_cut = True
        cut = cut_after(generation.usage.completion_tokens)
        more = "--predict or --ctx-size"
        if has_form:
            note(f"error: {cut}, before its form was complete; allow more with {more}")
            raise SystemExit(EXIT_CUT)
        if not is_shown and not any(text.startswith(cut) for text in generation.warnings):
            remark(f"{cut}; {more} allows more")
    if is_cut:
        raise SystemExit(EXIT_CUT)
