"""What each preference's prompt says and the plain one doesn't, as text.

Knows nothing about how it was put there: what two prompts begin and end with alike is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from amulet_local.llama.row import common_length
from amulet_local.llama.vocabulary import Vocabulary


def text_of(vocabulary: Vocabulary, tokens: Sequence[int]) -> str:
    """A prompt as text."""
    return b"".join(map(vocabulary.piece, tokens)).decode("utf-8", "replace")


_PIECE = re.compile(r"[^\s.]+|\.|\s+")
"""Of a prompt: with a full stop apart "the question." begins "the question in verse."."""


def instructions(vocabulary: Vocabulary, prompts: Sequence[Sequence[int]]) -> list[str]:
    """What each prompt but the first adds to the first.

    Args:
        prompts: token ids, the plain prompt's first.
    """
    plain, *preferences = (text_of(vocabulary, prompt) for prompt in prompts)
    return [_added(plain, prompt) for prompt in preferences]


def _added(plain: str, prompt: str) -> str:
    ours, theirs = (_PIECE.findall(text) for text in (prompt, plain))
    start = common_length(theirs, ours)
    end = common_length(theirs[start:][::-1], ours[start:][::-1])
    return "".join(ours[start : len(ours) - end])
