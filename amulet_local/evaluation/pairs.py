"""Requests with a plain and one preference row, and the judging of their answers.

What the study of guards and tuning have in common. Knows nothing about which strengths are tried.
"""

from __future__ import annotations

from amulet_local.answering.request import Request, build_request
from amulet_local.common.results import Generation
from amulet_local.evaluation.quality import Quality, quality
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference
from amulet_local.prompts.prompter import Prompter, Prompts
from amulet_local.steering.methods import METHODS
from amulet_local.steering.row_plan import RowPlan


def pair_prompts(
    prompter: Prompter, preference: Preference, question: str, placement: Placement
) -> Prompts:
    """The plain prompt and the preference prompt.

    Raises:
        ChatTemplateError: the model has none, or it can't render a question.
        InvalidRequestError: the question can't be used.
    """
    instructions = ["", preference.instruction]
    return prompter.prompts(question, instructions, system=None, placement=placement)


def pair_request(prompts: Prompts, *, amulet: AmuletParams, max_tokens: int, n_ctx: int) -> Request:
    """A greedy answer whose trace can be judged.

    Args:
        prompts: as `pair_prompts` makes them.
        n_ctx: most tokens that a row can hold.

    Raises:
        PromptTooLongError: a prompt has more tokens than that.
    """
    return build_request(
        METHODS["amulet"],
        prompts.rows,
        plan=RowPlan(has_plain=True, weights=(1.0,)),
        amulet=amulet,
        sampling=SamplingParams(max_tokens=max_tokens),
        n_ctx=n_ctx,
        n_top=0,
        closing_tag=prompts.closing_tag,
    )


def judged(
    generation: Generation, vocabulary: Vocabulary, preference: Preference, question: str
) -> Quality:
    """What the answer to such a request is worth."""
    instruction, asked = (
        vocabulary.tokenize(text, add_special=False, parse_special=False)
        for text in (" " + preference.text, question)
    )
    return quality(generation, instruction, asked)
