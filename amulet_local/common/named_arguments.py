"""Answers arguments that a class doesn't have with what to write. Knows no class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

_T = TypeVar("_T")


def named_arguments(
    example: str, others: Mapping[str, str] | None = None
) -> Callable[[type[_T]], type[_T]]:
    """A decorator of a dataclass whose fields are given by name.

    Args:
        example: what to write instead of an argument without a name, or of too few.
        others: what else its fields are called, and the fields that these mean.

    Raises:
        TypeError: by the class that is decorated, where it is called in another way.
    """

    def decorate(kind: type[_T]) -> type[_T]:
        found = fields(kind)  # type: ignore[arg-type]
        known = [field.name for field in found]
        needed = [f.name for f in found if f.default is MISSING and f.default_factory is MISSING]
        begin: Callable[..., None] = kind.__init__

        @functools.wraps(begin)
        def checked(self: _T, *unnamed: Any, **named: Any) -> None:
            if unnamed:
                raise TypeError(f"{kind.__name__} takes its arguments by name: {example}")
            for name in named:
                if name not in known:
                    raise TypeError(f"{kind.__name__} has no {name!r}{_meant(name)}")
            if missing := [name for name in needed if name not in named]:
                raise TypeError(f"{kind.__name__} needs {' and '.join(missing)}: {example}")
            begin(self, **named)

        def _meant(name: str) -> str:
            from difflib import get_close_matches

            close = get_close_matches(name[:64], [*known, *(others or {})], n=1)
            field = (others or {}).get(close[0], close[0]) if close else ""
            return f"; did you mean {field!r}?" if field else f"; it has {', '.join(known)}"

        kind.__init__ = checked  # type: ignore[method-assign, assignment]
        return kind

    return decorate
