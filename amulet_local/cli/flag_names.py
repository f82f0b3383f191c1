"""What the command line calls options of the library, in messages about them.

Knows the names of options and nothing of what they do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from amulet_local.common.readable import printable
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.learn import LearnParams
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams

_FLAGS = {
    **{
        name: option.flag
        for params in (AmuletParams, SamplingParams, RuntimeParams, LearnParams)
        for name, option in params.options.items()
        if option.kind != "off"
    },
    "preference": "--preference",
}
"""What the library calls an option -> what the command line calls it."""
_UNMISTAKABLE = [name for name in _FLAGS if "_" in name]
_WITH_VALUE = re.compile(rf"\b({'|'.join(_FLAGS)})='(\w+)'")
_LEADING = re.compile(rf"(^|; )({'|'.join(_FLAGS)}):")
_ANYWHERE = re.compile(rf"(?<![\w-])({'|'.join(_UNMISTAKABLE)})(?!\w|=(?:,|$))")
"""But in a list of what is written before a value: `nucleus=, nucleus_temperature=`."""

_PYTHON_BESIDE = re.compile(r"\b\w+(?:=\w*)?, (?=--?[a-z])")
_PYTHON_BEFORE = re.compile(r"\b\w+=\w+ \((--[\w-]+)\)")
_PYTHON_AFTER = re.compile(r" \(\w+=(?:'\w*')? in Python\)")
"""An argument of Python that a message names beside a flag: `(watch=False, --no-watch: ...)`,
`reproducible=True (--reproducible)`, `--raw (chat_template='raw' in Python)`."""
_IN_BRACKETS = re.compile(r"\([^()]*\)")

_TELLING = 4
"""Characters of a value that isn't in a message by chance."""


def without_python(message: str) -> str:
    """A message that names a flag and Python's argument, with the flag alone."""
    message = _PYTHON_BEFORE.sub(r"\1", _PYTHON_AFTER.sub("", message))
    return _IN_BRACKETS.sub(lambda part: _PYTHON_BESIDE.sub("", part[0]), message)


def in_flags(message: str) -> str:
    """A message about options with the command line's names for them."""
    message = without_python(message)
    message = _WITH_VALUE.sub(lambda match: f"{_FLAGS[match[1]]} {match[2]}", message)
    message = _LEADING.sub(lambda match: f"{match[1]}{_FLAGS[match[2]]}:", message)
    return _ANYWHERE.sub(lambda match: _FLAGS[match[1]], message)


def of_environment(message: str, variables: Mapping[str, Sequence[str]]) -> str:
    """What to add to a message about something that nobody has typed; empty if it isn't about that.

    Args:
        variables: of the environment that have set options, each with the flags that would have.
    """
    named = [name for name, flags in variables.items() if _is_about(message, name, flags)]
    if not named:
        return ""
    return f" ({', '.join(named)} {'is' if len(named) == 1 else 'are'} set in the environment)"


def _is_about(message: str, variable: str, flags: Sequence[str]) -> bool:
    """Whether it has a flag, the variable's value or what stands before a weight in it, or words
    that the variable's name consists of."""
    value = printable(os.environ.get(variable, ""))
    words = variable.removeprefix("AMULET_").lower().replace("_", " ")
    head = value.partition(":")[0]
    return (
        any(re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", message) for flag in flags)
        or (len(value) >= _TELLING and value in message)
        or (bool(head) and repr(head) in message)
        or (" " in words and words in message)
    )
