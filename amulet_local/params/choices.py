"""Options whose value is one of some words, and how such a word may be written.

Knows nothing about what the words do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
FlashAttention = Literal["auto", "on", "off"]
SplitMode = Literal["none", "layer", "row"]
LoadMode = Literal["auto", "mmap", "mlock", "none"]
Isolate = Literal["auto", "always", "never"]
"""Whether a model file is tried in a process of its own first; "auto": if it never ran here."""
Draft = Literal["auto", "lookup", "off"]
"""Whether next tokens are guessed from what stands in the prompt and the answer already."""
Schedule = Literal["auto", "parallel", "serial", "batched"]
Scheduler = Literal["auto", "interleaved", "batched"]
"""How several requests are computed at once."""
Mix = Literal["fixed", "adaptive"]
ReasoningFormat = Literal["separate", "inline"]
AdaptersOn = Literal["all", "preference"]
Placement = Literal["system", "user", "contrast"]
"""Where a preference goes: the end of the system text, of the last question, or of that question
against a neutral sentence there in the plain prompt."""


def as_known(value: Any, words: Iterable[str]) -> Any:
    """The one of the words that `value` is, in capitals or not; `value` itself if it is none."""
    if not isinstance(value, str):
        return value
    return {word.lower(): word for word in words}.get(value.lower(), value)


def words_of(annotation: Any) -> tuple[str, ...]:
    """The words among the values that an annotation allows."""
    inner = (words_of(item) for item in get_args(annotation) if not isinstance(item, str))
    own = (item for item in get_args(annotation) if isinstance(item, str))
    return (*own, *(word for words in inner for word in words))
