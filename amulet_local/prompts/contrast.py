"""What the plain row is told where the preference ends the question: a neutral sentence.

Rows that differ by a sentence's being there at all also differ by what any sentence after a
question does: the answer strays from the question, and a scale above 1 strengthens that with the
preference. Against a neutral sentence in the same place only what the preference says is left.
docs/strength.md has what that was measured to do. Knows nothing about templates.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.params.choices import Placement

NEUTRAL_INSTRUCTION = "Answer the question."


def row_instructions(instructions: Sequence[str], placement: Placement) -> list[str]:
    """What each row's prompt adds; a plain row that stands alone adds nothing.

    Args:
        instructions: one per row, "" for the plain one.
        placement: where they go.
    """
    if placement != "contrast" or not any(instructions):
        return list(instructions)
    return [instruction or NEUTRAL_INSTRUCTION for instruction in instructions]
