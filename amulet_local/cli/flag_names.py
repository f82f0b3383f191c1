"""What the command line calls options of the library, in messages about them.

Knows the names of options and nothing of what they do.
"""

from __future__ import annotations

import re

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
_ANYWHERE = re.compile(rf"(?<![\w-])({'|'.join(_UNMISTAKABLE)})(?!\w)")


def in_flags(message: str) -> str:
    """A message about options with the command line's names for them."""
    message = _WITH_VALUE.sub(lambda match: f"{_FLAGS[match[1]]} {match[2]}", message)
    message = _LEADING.sub(lambda match: f"{match[1]}{_FLAGS[match[2]]}:", message)
    return _ANYWHERE.sub(lambda match: _FLAGS[match[1]], message)
