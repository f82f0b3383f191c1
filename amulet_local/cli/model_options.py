"""The options that say which model is used, and how it is loaded and run: flags and help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import ModelName
from amulet_local.params.runtime import RuntimeParams


class RunOptions(Protocol):
    """How a model is loaded and run."""

    @property
    def runtime(self) -> Given:
        """What was given of RuntimeParams."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, and how it is loaded and run."""

    model: ModelName = None
    runtime: Given = field(default_factory=dict, metadata=group(RuntimeParams.options))
