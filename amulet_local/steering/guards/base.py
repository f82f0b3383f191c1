"""What a guard is.

Knows nothing about any guard in particular.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.amulet import AmuletParams
from amulet_local.preferences.form import ANY_FORM, Form
from amulet_local.steering.step import Step
from amulet_local.steering.text_so_far import TextSoFar


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a guard may know besides the rows. All but the text is replaced when settings change.

    Attributes:
        amulet: strength and guards.
        text: the answer so far.
        prompts: one per row, as token ids; none where they aren't known.
        end_tokens: ids of the tokens that end an answer.
        vocabulary: the model's; None where it isn't known.
        is_drawn: whether tokens are drawn at random, and not the likeliest ones.
        form: the form that the preferences ask for.
    """

    amulet: AmuletParams
    text: TextSoFar
    prompts: Sequence[Sequence[int]] = ()
    end_tokens: Sequence[int] = ()
    vocabulary: Vocabulary | None = None
    is_drawn: bool = False
    form: Form = ANY_FORM


class Guard:
    """Keeps one answer from one kind of damage.

    It is made when it is first on, and asked nothing while it is off; its memory outlives a change
    of settings. For each token each may begin by changing the choice itself; where that settles the
    token, the others aren't asked. Then Steering collects what the guards refuse, lets each of them
    act while the scale is above 1, and has them observe what came of it. A guard overrides what it
    needs; by default it does nothing.

    Attributes:
        around: what it may know.
    """

    def __init__(self, around: Surroundings) -> None:
        """Begin."""
        self.around = around

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether these settings want it; always, unless a guard says otherwise."""
        return True

    def change(self, around: Surroundings) -> None:
        """Go on with other settings."""
        self.around = around

    def begin(self, step: Step) -> None:
        """Change what there is to choose from, before the rows are compared; at any scale."""

    def refused(self, step: Step) -> Sequence[int]:
        """The tokens that may not come next, at any scale.

        Args:
            step: the rows as they came.
        """
        return ()

    def act(self, step: Step) -> None:
        """Change the rows, the scale, or which tokens may be chosen; the scale is above 1."""

    def observe(self, step: Step) -> None:
        """Take note of what the next token will be chosen from."""

    def accept(self, token: int, step: Step | None) -> None:
        """Take note of the chosen token; `around.text` has it already.

        Args:
            step: what it was chosen from; None if it wasn't chosen here.
        """

    @property
    def ends_steering(self) -> bool:
        """Whether the scale is 1 from here on, to the end of the answer."""
        return False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What it did, for the user."""
        return ()
