"""What the plain row is told where the preference ends the question: a neutral sentence.

Rows that differ by a sentence's being there at all also differ by what any sentence after a
question does: the answer strays from the question, and a scale above 1 strengthens that with the
preference. Against a neutral sentence in the same place only what the preference says is left.
docs/strength.md has what that was measured to do. Where functions may be called, both say so, or
the model does as it is told and answers. Knows nothing about templates.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.params.choices import Placement
from amulet_local.preferences.wording import MANNER_FRAME, QUALITY_FRAME

NEUTRAL_INSTRUCTION = "Answer the question."

_CALLS = "Call a function, or "


def beside_calls(instructions: Sequence[str]) -> list[str]:
    """Instructions that leave it open to call a function; a template of the user's own stays."""
    return [
        _CALLS + instruction[0].lower() + instruction[1:]
        if instruction.startswith((MANNER_FRAME, QUALITY_FRAME))
        else instruction
        for instruction in instructions
    ]


def row_instructions(instructions: Sequence[str], placement: Placement) -> list[str]:
    """What each row's prompt adds; a plain row that stands alone adds nothing.

    Args:
        instructions: one per row, "" for the plain one.
        placement: where they go.
    """
    if placement != "contrast" or not any(instructions):
        return list(instructions)
    neutral = NEUTRAL_INSTRUCTION
    if any(instruction.startswith(_CALLS) for instruction in instructions):
        (neutral,) = beside_calls([neutral])
    return [instruction or neutral for instruction in instructions]
