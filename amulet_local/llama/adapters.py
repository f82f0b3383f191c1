"""LoRA adapters and a control vector, loaded for one model and put onto its contexts.

Knows nothing about which rows of a generation have them. Files are checked first
(adapter_files.py), because native code aborts the process on some. They are freed after the last
context that has them and before the model.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from amulet_local.common.errors import (
    AdapterFileError,
    ContextCreationError,
    FileAccessError,
    InvalidParameterError,
)
from amulet_local.common.file_identity import file_identity
from amulet_local.common.readable import printable
from amulet_local.llama import library
from amulet_local.llama.adapter_files import BaseModel, check_lora, read_control_vector
from amulet_local.llama.model import Model
from amulet_local.llama.worker import Worker, run_together
from amulet_local.params.scaled_files import ScaledFile

LARGE_SCALE = 10.0
"""Scales beyond it hardly leave anything of the model."""


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Which adapters to load.

    Attributes:
        lora, control_vectors: files with their scales.
        control_vector_layers: the first and the last layer that get a control vector; None is all.
        on_plain_rows: whether rows of plain prompts have them too.
    """

    lora: tuple[ScaledFile, ...] = ()
    control_vectors: tuple[ScaledFile, ...] = ()
    control_vector_layers: tuple[int, int] | None = None
    on_plain_rows: bool = True


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter that is loaded.

    Attributes:
        kind: "lora" or "control vector".
        path: its file.
        scale: how strongly it counts.
    """

    kind: Literal["lora", "control vector"]
    path: str
    scale: float


class Adapters:
    """Loaded adapters.

    Attributes:
        items: what they are.
        on_plain_rows: whether rows of plain prompts have them too.
        fingerprint: differs where what they compute differs.
        warnings: what the user should know, one line each.
    """

    def __init__(self, model: Model, settings: AdapterSettings) -> None:
        """Load them; `load` does the same so that Ctrl-C doesn't hit native code.

        Raises:
            AdapterFileError: a file can't be used, or not with this model.
            FileAccessError: the system doesn't let us read one.
            InvalidParameterError: no layer of the model is in the range for control vectors.
        """
        import llama_cpp

        base = BaseModel(
            architecture=model.header.architecture,
            tensor_shapes=model.tensor_shapes,
            n_layers=model.n_layers,
            n_embd=model.n_embd,
        )
        self.on_plain_rows = settings.on_plain_rows
        self.items = (
            *(Adapter(kind="lora", path=path, scale=scale) for path, scale in settings.lora),
            *(
                Adapter(kind="control vector", path=path, scale=scale)
                for path, scale in settings.control_vectors
            ),
        )
        notes = [note for file in settings.lora for note in check_lora(file.path, base)]
        self.warnings = (*notes, *filter(None, map(scale_warning, self.items)))
        self._layers = _layer_range(settings.control_vector_layers, base.n_layers)
        vector = read_control_vector(settings.control_vectors, base)
        self._vector = vector if vector.any() else None  # adding zeros would change nothing
        self.fingerprint = _fingerprint(self.items, self._layers)
        self._pointers: list[Any] = []
        try:
            for path, _ in settings.lora:
                library.log.mark()
                pointer = llama_cpp.llama_adapter_lora_init(model.pointer, os.fsencode(path))
                if not pointer:
                    raise AdapterFileError(
                        f"llama.cpp can't load the LoRA adapter {path!r}: "
                        f"{library.log.last_error() or 'it gives no reason'}"
                    )
                self._pointers.append(pointer)
        except BaseException:
            self.close()
            raise

    @classmethod
    def load(cls, model: Model, settings: AdapterSettings) -> Adapters:
        """Load them in another thread: llama.cpp's log comes in there, where Ctrl-C isn't raised.

        Raises:
            As the constructor.
        """
        worker = Worker("amulet-adapters")
        try:
            adapters: Adapters = run_together(
                [worker], [partial(cls, model, settings)], threading.Event().set
            )[0]
        finally:
            worker.close()
        return adapters

    @property
    def scales(self) -> tuple[float, ...]:
        """How strongly each LoRA adapter counts where nothing else is said."""
        return tuple(item.scale for item in self.items[: len(self._pointers)])

    def apply(self, context: Any) -> None:
        """Put them onto a native llama_context.

        Raises:
            ContextCreationError: llama.cpp refuses one.
        """
        import llama_cpp

        code = self._put_lora(context, self.scales) if self._pointers else 0
        if self._vector is not None and not code:
            code = llama_cpp.llama_set_adapter_cvec(
                context,
                self._vector.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                self._vector.size,
                self._vector.shape[1],
                *self._layers,
            )
        if code:
            raise ContextCreationError(
                f"llama.cpp can't put the adapters onto a context: "
                f"{library.log.last_error() or f'code {code}'}"
            )

    def scale(self, context: Any, scales: Sequence[float]) -> None:
        """Let the LoRA adapters of a context that has them count otherwise.

        What the context has in memory was computed with the scales before.

        Args:
            scales: one for each.

        Raises:
            ContextCreationError: llama.cpp refuses.
        """
        if self._put_lora(context, scales):
            raise ContextCreationError(
                f"llama.cpp can't scale the adapters: {library.log.last_error() or 'no reason'}"
            )

    def _put_lora(self, context: Any, scales: Sequence[float]) -> int:
        """llama.cpp's code; adapters without effect aren't computed."""
        import llama_cpp

        chosen = [pair for pair in zip(self._pointers, scales, strict=True) if pair[1]]
        n = len(chosen)
        code: int = llama_cpp.llama_set_adapters_lora(
            context,
            (llama_cpp.llama_adapter_lora_p_ctypes * n)(*(pointer for pointer, _ in chosen)),
            n,
            (ctypes.c_float * n)(*(scale for _, scale in chosen)),
        )
        return code

    def close(self) -> None:
        """Free them. Every context that has them has to be closed before; the model comes after."""
        import llama_cpp

        pointers, self._pointers = self._pointers, []
        for pointer in pointers:
            llama_cpp.llama_adapter_lora_free(pointer)


def _layer_range(layers: tuple[int, int] | None, n_layers: int) -> tuple[int, int]:
    if layers is None:
        return 1, n_layers - 1
    if layers[0] >= n_layers:
        raise InvalidParameterError(
            f"control_vector_layers begin at {layers[0]}, and this model takes control vectors in "
            f"layers 1 to {n_layers - 1}"
        )
    return layers


def _fingerprint(items: Sequence[Adapter], layers: tuple[int, int]) -> str:
    try:
        parts = [f"{item.kind} {file_identity(item.path)} at {item.scale!r}" for item in items]
    except OSError as error:  # gone since it was read
        raise FileAccessError(f"can't read {error.filename!r}: {error.strerror}") from error
    return ", ".join([*parts, f"layers {layers[0]} to {layers[1]}"])


def scale_warning(item: Adapter) -> str | None:
    """What a user should know of an adapter's scale; nothing of most."""
    name = printable(os.path.basename(item.path))
    if item.scale == 0:
        return f"the {item.kind} {name} has the scale 0, so that it does nothing"
    if abs(item.scale) > LARGE_SCALE:
        return (
            f"the {item.kind} {name} has the scale {item.scale:g}; 1 is usual, and text may break"
        )
    return None
