"""What is said between an engine's caller and the child process that has it.

Knows nothing about engines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from amulet_local.common.errors import AmuletError


@dataclass(frozen=True, kw_only=True)
class EngineCall:
    """Something that the engine is to do.

    Attributes:
        n: its number; what comes of it has the same.
        name: of the method, or of a path of attributes.
        gets: whether the attribute itself is wanted, and not what it gives when it is called.
        arguments, named: of the call.
        events: which of the named ones are functions that are called here with what comes.
    """

    n: int
    name: str
    gets: bool = False
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Steer:
    """A stream, or a request in a pool, is to go on as another request, or to end.

    Attributes:
        n: of its call.
        request: None ends it.
    """

    n: int
    request: Any = None


@dataclass(frozen=True, kw_only=True)
class CallAnswer:
    """What the caller says to something that a call has asked, or that it is to go on.

    Attributes:
        n: of the call.
        value: the answer.
    """

    n: int
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class CallOutcome:
    """Something has come of a call.

    Attributes:
        n: of the call.
        kind: "event", "piece", "asks" (a CallAnswer is waited for), "value" (the last one), "error"
            (likewise) or "far" (likewise: the value stays where it is).
        value: what.
    """

    n: int
    kind: str
    value: Any = None


class Inbox(Protocol):
    """Takes what comes of a call."""

    def put(self, came: CallOutcome) -> None:
        """Take it; must not block or raise."""


def as_known(error: BaseException) -> BaseException:
    """An error whose class both sides surely have."""
    known = isinstance(error, AmuletError) or type(error).__module__ == "builtins"
    return error if known else AmuletError(f"{type(error).__name__}: {error}")
