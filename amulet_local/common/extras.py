"""What is said where an optional dependency isn't installed. Knows nothing about what needs one."""

from __future__ import annotations

from amulet_local.common.errors import MissingExtraError


def missing_extra(needed: str, extra: str) -> MissingExtraError:
    """The error, with the command that installs what is missing, in a checkout too.

    Args:
        needed: what needs which package.
        extra: the extra of this package that brings it.
    """
    return MissingExtraError(
        f"{needed}: pip install 'amulet-local[{extra}]' (in a checkout: .venv/bin/pip install -e "
        f"'.[{extra}]')"
    )
