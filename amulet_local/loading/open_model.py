"""A model that is loaded, from its file to its end: what it is, what it remembers, how it is left.

Knows nothing about requests or answers; `Engine` is one that answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

from typing_extensions import Self

from amulet_local.common.closing import Closing
from amulet_local.common.errors import EngineClosedError
from amulet_local.llama.adapters import Adapter
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.loading import prompt_cache
from amulet_local.loading.engine_parts import EngineParts, load_parts
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.optimizer import compiled
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.where_it_goes import written


class OpenModel(Closing):
    """A loaded model. Use as a context manager, or call `close`.

    Attributes:
        runtime: the options it was loaded with.
        model: the loaded model.
        n_ctx: context length of each row, in tokens.
        own_settings: what the user's settings have for this model.
        warnings: what the user should know about this model and these options.
    """

    @written("load('model.gguf', n_ctx=2048), which makes one")
    def __init__(
        self,
        model: str | os.PathLike[str],
        runtime: RuntimeParams,
        *,
        load_progress: Callable[[float], None] | None = None,
    ) -> None:
        self._take(load_parts(model, runtime, progress=load_progress))

    @classmethod
    def from_parts(cls, parts: EngineParts) -> Self:
        """An engine of ready-made parts, which are the engine's from then on.

        Raises:
            InvalidParameterError: a schedule that the adapters exclude.
            ContextCreationError: no memory for the context. The parts are freed in both cases.
        """
        engine = cls.__new__(cls)
        cls._take(engine, parts)
        return engine

    def _take(self, parts: EngineParts) -> None:
        self.runtime, self.model = parts.runtime, parts.model
        if parts.runtime.low_memory or parts.runtime.reproducible:
            compiled.let_numpys_stay()
        self.n_ctx = parts.settings.n_ctx
        self.own_settings, self.warnings = parts.own_settings, parts.warnings
        self._shared = SharedRows(parts)
        self._lock, self._rows = self._shared.lock, self._shared.rows
        self._settings, self._stop_flag = parts.settings, self._shared.stop_flag

    def __repr__(self) -> str:
        return self._in_short(self.model.path.name)

    def _in_short(self, file: str) -> str:
        """What it is, for who looks at it in a session."""
        try:
            self._lock.check_open()
            state = f"n_ctx={self.n_ctx}"
        except EngineClosedError:
            state = "closed"
        return f"<{type(self).__name__} {file}: {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a loaded model can't be pickled or copied; load it in each process that is to have it"
        )

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """LoRA adapters and control vectors in use; `runtime.adapters_on` says on which rows."""
        adapters = self._settings.adapters
        return () if adapters is None else adapters.items

    @property
    def plan(self) -> ExecutionPlan:
        """Schedule and threads of the rows."""
        return self._rows.plan

    @written("save_prompt_cache('mine')")
    def save_prompt_cache(self, name: str) -> None:
        """Keep what the last generation has in memory, in the user's cache folder.

        Args:
            name: letters, digits, '.', '_' and '-'.

        Raises:
            InvalidParameterError: not a name, or the engine was loaded with reproducible=True.
            FileAccessError: it can't be written, or not into a folder that is the user's alone.
            EngineClosedError, EngineBusyError: see there.
        """
        prompt_cache.save_rows(self._shared, name)

    @written("load_prompt_cache('mine')")
    def load_prompt_cache(self, name: str) -> bool:
        """Take over what `save_prompt_cache` kept; False if there is nothing of that name.

        Raises:
            InvalidParameterError: not a name, or the engine was loaded with reproducible=True.
            FileAccessError: it is damaged, not private, or made with another model, adapter,
                llama.cpp build or cache type; the engine is as it was.
            EngineClosedError, EngineBusyError: see there.
        """
        return prompt_cache.load_rows(self._shared, name)

    def forget(self) -> None:
        """Forget all prompts and answers, so that what comes next is computed from its beginning.

        Raises:
            EngineClosedError, EngineBusyError: see there.
        """
        self._lock.check_open()
        with self._shared.at_work():
            self._rows.discard()

    def cancel(self) -> None:
        """End the generation that is running, from any thread.

        Its stream ends with finish_reason "cancelled" and keeps what was generated. Without a
        generation nothing happens.
        """
        self._stop_flag.set()

    def close(self) -> None:
        """Free the model and its contexts; a running generation ends first. May be called twice."""
        self._shared.close()
