"""Loads the model that a command works with, and says on stderr how far that is.

Knows the engine's public names and nothing below them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from amulet_local.cli.terminal import StatusLine

if TYPE_CHECKING:
    from amulet_local.engine import Engine
    from amulet_local.params.runtime import RuntimeParams


@contextmanager
def loaded(model: str, runtime: RuntimeParams) -> Iterator[Engine]:
    """The engine inside the block; it is closed in the end.

    Raises:
        AmuletError: see `load`.
    """
    from amulet_local.engine import Engine

    status = StatusLine(enabled=not runtime.verbose)
    try:
        engine = Engine(model, runtime, load_progress=loading_progress(model, status.show))
    finally:
        status.erase()
    with engine:
        yield engine


def loading_progress(model: str, show: Callable[[str], None]) -> Callable[[float], None]:
    """A function that says how far a model's loading is.

    Args:
        show: shows a line.
    """
    show(f"loading {model}")

    def progress(share: float) -> None:
        show(f"loading {model}: {share:.0%}" if share < 1 else f"{model} is loaded; getting ready")

    return progress
