"""Learning on an engine's model: from texts to prompts, to log-probabilities, to weights.

Knows nothing about how each of these is done, but in which order, and when the rows are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amulet_local.learning.fitting import held_out_of, learn_weights
from amulet_local.learning.learned import Learned, bank_of
from amulet_local.learning.liked_answers import answers_to
from amulet_local.learning.liked_texts import LikedText
from amulet_local.learning.teacher_forcing import force
from amulet_local.llama.prefill import Progress
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.params.choices import Placement
from amulet_local.params.learn import LearnParams
from amulet_local.preferences.preference import PreferencesLike
from amulet_local.prompts.prompter import Prompter
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS


def learn_preferences(
    shared: SharedRows,
    prompter: Prompter,
    texts: Sequence[LikedText],
    *,
    bank: PreferencesLike,
    system: str | None,
    placement: Placement | None,
    progress: Progress | None,
    **params: Any,
) -> Learned:
    """Weights of a bank of preferences under which some texts are likeliest.

    Args:
        shared: the model that says how likely they are.
        prompter: of this model.
        texts, bank, system, placement, progress, **params: as for `Engine.learn`.

    Raises:
        As `Engine.learn`.
    """
    settings = LearnParams(**params)
    preferences = bank_of(bank)
    vocabulary = shared.parts.model.vocabulary
    with shared.lock.using():
        answers, notes = answers_to(
            texts,
            ["", *(item.instruction for item in preferences)],
            prompter,
            vocabulary,
            system=system,
            placement=placement or PRESETS[DEFAULT_PRESET].placement,
            n_ctx=shared.parts.settings.n_ctx,
        )
    held_out_of([answer.liked for answer in answers], settings.holdout)
    with shared.cancellable("the learning"):
        shared.settle_schedule(len(preferences) + 1)
        forced = force(
            answers,
            shared.rows,
            n_vocab=vocabulary.n_tokens,
            end_tokens=vocabulary.end_tokens,
            n_top=settings.top_tokens,
            n_tail=settings.tail_tokens,
            fast=settings.fast,
            progress=progress,
        )
    return learn_weights(
        forced, answers, preferences, settings, warnings=(*shared.parts.warnings, *notes)
    )
