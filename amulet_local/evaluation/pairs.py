"""Requests with a plain and one preference row, and the judging of their answers.

What the study of guards and tuning have in common. Knows nothing about which strengths are tried.
"""

from __future__ import annotations

from amulet_local.answering.ask import AskMessages
from amulet_local.common.results import Generation
from amulet_local.evaluation.quality import Quality, quality
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference


def pair_ask(
    preference: Preference,
    question: str,
    *,
    amulet: AmuletParams,
    placement: Placement,
    max_tokens: int,
) -> AskMessages:
    """A greedy answer whose trace can be judged."""
    return {
        "messages": question,
        "preference": preference,
        "method": "amulet",
        "amulet": amulet,
        "placement": placement,
        "sampling": SamplingParams(max_tokens=max_tokens),
        "trace": 0,
    }


def judged(
    generation: Generation, vocabulary: Vocabulary, preference: Preference, question: str
) -> Quality:
    """What the answer to such a request is worth."""
    instruction, asked = (
        vocabulary.tokenize(text, add_special=False, parse_special=False)
        for text in (" " + preference.text, question)
    )
    return quality(generation, instruction, asked)
