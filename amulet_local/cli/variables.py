"""Notices variables of the environment that are called as ours are and that nothing reads.

Knows no option: flag_variables.py has the variables of all commands' flags.
"""

from __future__ import annotations

import os

from amulet_local.cli.flag_variables import FLAG_VARIABLES, SAME_FLAGS

PREFIX = "AMULET_"

OWN = (
    *("AMULET_CACHE", "AMULET_CONFIG", "AMULET_DATA", "AMULET_MODELS", "AMULET_DEBUG"),
    "AMULET_ISOLATED",  # a command tells its child
    *("AMULET_LOCKED", "AMULET_PLOT", "AMULET_REQUIRE_ALL"),  # what scripts/ and .ci/run are told
)
"""Those that no flag has."""


def unknown_variables() -> list[str]:
    """Names of the environment that begin as ours do, have a value, and that nothing reads."""
    known = {*FLAG_VARIABLES, *OWN}
    named = (name for name, value in os.environ.items() if value and name.startswith(PREFIX))
    return sorted(name for name in named if name not in known)


def warning_of(names: list[str]) -> str:
    """What to say of unknown variables, with what each may have been meant to be."""
    from difflib import get_close_matches

    meant = {name.removeprefix(PREFIX): name for name in (*FLAG_VARIABLES, *OWN)}
    meant |= {name.removeprefix(PREFIX): SAME_FLAGS[name] for name in SAME_FLAGS}

    def said(name: str) -> str:
        near = get_close_matches(name.removeprefix(PREFIX)[:64], meant, n=1, cutoff=0.75)
        return f"{name:.80} (did you mean {meant[near[0]]}?)" if near else f"{name:.80}"

    return f"warning: set in the environment, and read by nothing: {', '.join(map(said, names))}"
