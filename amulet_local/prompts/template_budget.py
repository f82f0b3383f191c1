"""What rendering a chat template may cost, and how that is counted.

Knows nothing about Jinja's syntax (template_sandbox.py) or what a template may call
(template_functions.py). A value has at most `max_value_chars` characters and `max_value_nodes`
parts, counted as if printed: a shared part counts each time it appears.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn

from jinja2.exceptions import SecurityError

from amulet_local.common.errors import ChatTemplateError

_MAX_INT_BITS = 4096
_HUGE_FORMAT = re.compile(r"%(?:\([^()]*\()|%(?:\([^()]*\))?[^a-zA-Z%]*(?:\*|[0-9]{4})")
"""A key with parentheses of its own, whose end isn't looked for, or a wide field."""
MAX_ARGUMENT_CHARS = 256
NODE_VOLUME = 16  # characters that one part of a list weighs


class Budget:
    """What one rendering may still spend.

    Steps stand for time (one is about half a microsecond), volume for memory (in characters,
    everything ever made, whether it still lives or not). Both grow with the input.
    """

    def __init__(self, variables: Any, *, now: datetime | None = None) -> None:
        n_nodes, n_chars = _size(variables, max_nodes=None, max_chars=None)
        self.max_value_chars = 1_000_000 + 4 * n_chars
        self.max_value_nodes = 200_000 + 4 * n_nodes
        self._steps = 1_500_000 + 400 * n_nodes + n_chars
        self._volume = 8_000_000 + 512 * n_nodes + 32 * n_chars
        self._output = self.max_value_chars
        self._now = now
        self.depth = 0

    def step(self, n_steps: int, n_chars: int = 0) -> bool:
        """Pay for running a body of `n_steps` nodes that writes `n_chars`; True."""
        self._steps -= n_steps
        self._volume -= n_chars
        if self._steps < 0:
            runs_away("it takes too many steps")
        if self._volume < 0:
            runs_away("it makes too much text")
        return True

    def output(self, n_chars: int) -> None:
        """Count `n_chars` of the final text."""
        self._output -= n_chars
        if self._output < 0:
            runs_away("its text gets too long")

    def fits(self, n_chars: int) -> None:
        """Refuse before a text of `n_chars` is made, if that is too long."""
        if n_chars > self.max_value_chars:
            runs_away(f"a text of {n_chars} characters")

    def size(self, value: Any) -> tuple[int, int]:
        """Parts and characters of `value`, refusing what is too large."""
        return _size(value, max_nodes=self.max_value_nodes, max_chars=self.max_value_chars)

    def read(self, value: Any) -> Any:
        """Pay for looking at all of `value`; returns it."""
        if type(value) is str:
            self.step(1 + (len(value) >> 5))
        else:
            n_nodes, n_chars = self.size(value)
            self.step(n_nodes + (n_chars >> 5))
        return value

    def made_text(self, value: str) -> str:
        """Pay for a text that was just made; returns it."""
        self.fits(len(value))
        self.step(1 + (len(value) >> 5), len(value))
        return value

    def made(self, value: Any, *, fresh_text: bool = False) -> Any:
        """Pay for a value that was just made (`fresh_text`: the texts in it too); returns it."""
        if type(value) is str:
            return self.made_text(value)
        if isinstance(value, int):
            if value.bit_length() > _MAX_INT_BITS:
                runs_away("a huge number")
        elif isinstance(value, list | tuple | dict):
            n_nodes, n_chars = self.size(value)
            self.step(n_nodes, NODE_VOLUME * n_nodes + (n_chars if fresh_text else 0))
        return value

    def text(self, value: Any) -> str:
        """`value` as it is printed."""
        if isinstance(value, str):
            return value
        if isinstance(value, list | tuple | dict):
            self.read(value)
        return str(value)

    def items(self, iterable: Any) -> list[Any]:
        """The items of anything iterable, no more than a value may have."""
        items = list(islice(iter(iterable), self.max_value_nodes + 1))
        self.step(len(items), NODE_VOLUME * len(items))
        if len(items) > self.max_value_nodes:
            runs_away("a list with too many parts")
        return items

    def before_binop(self, operator: str, left: Any, right: Any) -> None:
        """Refuse an operation whose result would be too large."""
        if operator == "%" and isinstance(left, str):
            self._before_percent(left, right)
        elif operator == "*":
            if isinstance(left, int) and isinstance(right, int):
                if left.bit_length() + right.bit_length() > _MAX_INT_BITS:
                    runs_away("a huge number")
                return
            value, count = (right, left) if isinstance(left, int) else (left, right)
            if isinstance(value, str | list | tuple) and isinstance(count, int):
                n_nodes, n_chars = self.size(value)
                self.fits(n_chars * count)
                if not isinstance(value, str) and n_nodes * count > self.max_value_nodes:
                    runs_away(f"a list of {n_nodes * count} parts")
        elif operator == "**" and (
            isinstance(left, int)
            and isinstance(right, int)
            and left.bit_length() * abs(right) > _MAX_INT_BITS
        ):
            runs_away("a huge number")

    def _before_percent(self, pattern: str, values: Any) -> None:
        if _HUGE_FORMAT.search(self.read(pattern)):
            runs_away("a format with a huge width")
        n_chars = self.size(values)[1]
        if isinstance(values, Mapping):
            n_chars *= pattern.count("%")
        self.fits(len(pattern) + 500 * pattern.count("%") + n_chars)

    def strftime(self, pattern: Any) -> str:
        """The time of this rendering, formatted."""
        if not isinstance(pattern, str) or len(pattern) > MAX_ARGUMENT_CHARS:
            raise SecurityError("strftime_now takes a short format")
        return self.made_text((self._now or datetime.now()).strftime(pattern))


class Bounded:
    """A function that a template may call: it pays for itself."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return "<function>"


class TemplateRunsAwayError(ChatTemplateError):
    """A template that went past its budget; callers see a ChatTemplateError."""


def runs_away(what: str) -> NoReturn:
    """Stop the rendering."""
    raise TemplateRunsAwayError(f"the chat template runs away: {what}")


def _size(value: Any, *, max_nodes: int | None, max_chars: int | None) -> tuple[int, int]:
    n_nodes, n_chars, stack = 1, 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            n_chars += len(item)
        elif isinstance(item, list | tuple):
            n_nodes += len(item)
            if max_nodes is None or n_nodes <= max_nodes:
                stack.extend(item)
        elif isinstance(item, Mapping):
            n_nodes += 2 * len(item)
            if max_nodes is None or n_nodes <= max_nodes:
                stack.extend(item.keys())
                stack.extend(item.values())
        elif isinstance(item, range):
            n_nodes += len(item)
        else:
            n_chars += 8
        if max_nodes is not None and n_nodes > max_nodes:
            runs_away("a list with too many parts")
        if max_chars is not None and n_chars > max_chars:
            runs_away(f"a text of more than {max_chars} characters")
    return n_nodes, n_chars
