"""Loads the model that a command works with, and says on stderr how far that is.

Knows the engine's public names and nothing below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from amulet_local.cli.inputs import check_text, given
from amulet_local.cli.terminal import StatusLine

if TYPE_CHECKING:
    from amulet_local.engine import Engine
    from amulet_local.params.runtime import RuntimeParams


class AdapterOptions(Protocol):
    """Options that a command which loads a model has for adapters."""

    @property
    def lora(self) -> list[str] | None: ...
    @property
    def control_vector(self) -> list[str] | None: ...
    @property
    def control_vector_layer_range(self) -> tuple[int, int] | None: ...
    @property
    def adapters_on(self) -> str | None: ...


def adapters_of(options: AdapterOptions) -> dict[str, Any]:
    """The fields of RuntimeParams that these options give.

    Raises:
        InvalidTextError: a file's name isn't UTF-8.
    """
    for text in options.lora or ():
        check_text("--lora", text)
    for text in options.control_vector or ():
        check_text("--control-vector", text)
    return given(
        lora=options.lora,
        control_vectors=options.control_vector,
        control_vector_layers=options.control_vector_layer_range,
        adapters_on=options.adapters_on,
    )


@contextmanager
def loaded(model: str, runtime: RuntimeParams) -> Iterator[Engine]:
    """The engine inside the block; it is closed in the end.

    Raises:
        AmuletError: see `load`.
    """
    from amulet_local.engine import Engine

    status = StatusLine(enabled=not runtime.verbose)
    try:
        engine = Engine(
            model, runtime, load_progress=lambda share: status.show(f"loading {model}: {share:.0%}")
        )
    finally:
        status.erase()
    with engine:
        yield engine
