"""Says that an answer with a form to keep was cut before it was complete.

Knows nothing about forms but that the question asks for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from amulet_local.cli.exit_codes import EXIT_CUT
from amulet_local.cli.terminal import note

if TYPE_CHECKING:
    from amulet_local.cli.question import Question
    from amulet_local.common.results import Generation


def require_complete_forms(question: Question, generations: Iterable[Generation]) -> None:
    """End with an exit code of its own where JSON, or what a grammar wants, is incomplete.

    Raises:
        SystemExit: it is.
    """
    if not (question.sampling.uses("grammar") or question.sampling.uses("json_schema")):
        return
    for generation in generations:
        if generation.finish_reason == "length":
            note(
                f"error: the answer was cut after {generation.usage.completion_tokens} tokens, "
                f"before its form was complete; allow more with --predict or --ctx-size"
            )
            raise SystemExit(EXIT_CUT)
