"""`load`: an engine in this process or, where its file isn't approved, in a child process.

Knows nothing about what engines do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from typing_extensions import Unpack

from amulet_local.common.errors import InvalidParameterError
from amulet_local.engine import Engine
from amulet_local.isolation.isolated_engine import IsolatedEngine
from amulet_local.loading import model_store
from amulet_local.loading.approved_files import needs_isolation
from amulet_local.loading.isolated import is_isolated
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.runtime_fields import RuntimeFields
from amulet_local.params.where_it_goes import instead_of_runtime, written


@written("load('model.gguf', n_ctx=2048)")
def load(
    model: str | os.PathLike[str] = model_store.DEFAULT_MODEL,
    *,
    load_progress: Callable[[float], None] | None = None,
    **runtime: Unpack[RuntimeFields],
) -> Engine:
    """Load a model.

    Args:
        model: a path, the name of a file in a models folder, or a name of the catalogue.
        load_progress: called with the share of the weights that is loaded, 0 to 1.
        **runtime: the fields of RuntimeParams.

    Returns:
        An engine; an IsolatedEngine where `isolate` asks for that, or the file isn't approved.

    Raises:
        InvalidParameterError: a runtime field is unknown or out of range.
        ModelNotFoundError, ModelFileError, UnsupportedModelError: the model can't be used.
        AdapterFileError: a LoRA adapter or control vector can't be used with this model.
        ContextCreationError: no memory for the context, or settings that exclude each other.
    """
    for name in runtime.keys() - RuntimeParams.options.keys():
        hint = instead_of_runtime(name)
        raise InvalidParameterError(f"{name}: no such parameter{hint}")
    params = RuntimeParams(**runtime)
    if _can_isolate() and needs_isolation(
        model_store.find_model(model), params.isolate, params.use
    ):
        return IsolatedEngine(model, params, load_progress=load_progress)
    return Engine(model, params, load_progress=load_progress)


def _can_isolate() -> bool:
    """Whether a child process can run a model for this one, and this one isn't such a child."""
    return bool(sys.executable) and not getattr(sys, "frozen", False) and not is_isolated()
