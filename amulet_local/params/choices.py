"""Options whose value is one of some words, and how such a word may be written.

Knows nothing about what the words do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, get_args

_T = TypeVar("_T")

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


class Named(dict[str, _T]):
    """Things by name; a name that isn't there is answered with what is."""

    def __init__(self, kind: str, things: Mapping[str, _T]) -> None:
        """They are these.

        Args:
            kind: what one of them is called in messages.
        """
        super().__init__(things)
        self._kind = kind

    if not TYPE_CHECKING:  # a type checker is to find what isn't there

        def __getattr__(self, name: str) -> NoReturn:
            hint = f"; write [{name!r}] instead of .{name}" if name in self else ""
            said = f"{type(self).__name__!r} object has no attribute {name!r}{hint}"
            raise AttributeError(said, name=name, obj=self)

    def __missing__(self, name: object) -> NoReturn:
        meant = as_known(name, self)
        hint = f"did you mean {meant!r}?" if meant in self else f"known: {', '.join(self)}"
        raise KeyError(f"no {self._kind} {name!r:.60}; {hint}")
