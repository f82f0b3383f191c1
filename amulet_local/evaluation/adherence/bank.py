"""The bank: preferences as users write them, each with the rule that checks it.

Eight groups. A wording is what a user would type as a preference; all wordings of a preference mean
the same and have the same rule. Knows nothing about prompts: where a wording goes, and in what
sentence, is somebody else's.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

from amulet_local.evaluation.adherence.form_preferences import FORM
from amulet_local.evaluation.adherence.preference import GROUPS, RuledPreference
from amulet_local.evaluation.adherence.voice_preferences import VOICE

__all__ = ["BANK", "GROUPS", "RuledPreference", "ruled_preference", "split"]

BANK: tuple[RuledPreference, ...] = (*FORM, *VOICE)
"""All preferences, group by group."""

_TEMPLATES = re.compile(
    r"^(?:the answer should be like this:|make the answer(?: sound)?"
    r"|(?:please )?answer(?: the question)?(?: briefly| like this| and)?:?) +"
)


def ruled_preference(text: str) -> RuledPreference | None:
    """The preference that a text is a wording of, or an instruction made of one; None without.

    Case, blanks, and a mark at the end don't matter; nor do "Answer ...", "Make the answer ..."
    and "The answer should be like this: ..." around a wording.
    """
    plain = _plain(text)
    found = _by_wording()
    return found.get(plain) or found.get(_TEMPLATES.sub("", plain))


def split(seed: int) -> tuple[tuple[RuledPreference, ...], tuple[RuledPreference, ...]]:
    """Half of the preferences to choose something by, and the other half to confirm it.

    Each half has half of every group; which has one more where a group is odd takes turns.

    Args:
        seed: of the draw; the same gives the same halves.

    Returns:
        Those to choose by and those to confirm with, in the bank's order.
    """
    draw = random.Random(seed)
    chosen: set[str] = set()
    extra = bool(draw.getrandbits(1))
    for group in GROUPS:
        names = [item.name for item in BANK if item.group == group]
        half = len(names) // 2
        if len(names) % 2:
            half += extra
            extra = not extra
        chosen.update(draw.sample(names, half))
    return (
        tuple(item for item in BANK if item.name in chosen),
        tuple(item for item in BANK if item.name not in chosen),
    )


@lru_cache(maxsize=1)
def _by_wording() -> dict[str, RuledPreference]:
    return {_plain(wording): item for item in BANK for wording in item.wordings}


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".! ")
