"""Jobs of many lines: each asks something, and each gets a record, exactly once.

It knows nothing about terminals. It may import every room but evaluation, benchmark and cli.
`RayAnswers` is for datasets of Ray (ray_data.py); it is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amulet_local.batch.ray_data import RayAnswers

__all__ = ["RayAnswers"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from amulet_local.batch.ray_data import RayAnswers

    return RayAnswers
