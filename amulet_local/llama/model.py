"""A GGUF model in memory: its weights, its metadata and its vocabulary.

Knows nothing about contexts, prompts or chat. Loading checks the file's header first (gguf),
because native code aborts the process on some damaged files.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from amulet_local.common.errors import (
    EngineClosedError,
    InvalidParameterError,
    ModelFileError,
    UnsupportedModelError,
)
from amulet_local.common.file_identity import file_identity
from amulet_local.llama import library, native, tiled_products
from amulet_local.llama.generative import reason_not_embedding, reason_not_generative
from amulet_local.llama.gguf import read_header
from amulet_local.llama.split_files import other_parts
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.llama.worker import Worker, run_together


@dataclass(frozen=True, kw_only=True)
class ModelLoadSettings:
    """How a model is loaded.

    Attributes:
        n_gpu_layers: layers on the GPU, -1 for all.
        load_mode: "auto", "mmap", "mlock" or "none".
        repack: whether weights may be rearranged for this processor.
        main_gpu, split_mode, tensor_split: how several GPUs share the work, as in RuntimeParams.
        embeds: whether it is for hidden states, which encoders have as well, and not for text.
    """

    n_gpu_layers: int = 0
    load_mode: str = "auto"
    repack: bool = True
    main_gpu: int = 0
    split_mode: str = "layer"
    tensor_split: tuple[float, ...] | None = None
    embeds: bool = False


class Model:
    """Loaded weights. Several contexts may share one model.

    Attributes:
        path: the file it came from.
        header: the file's checked header.
        tensor_shapes: of every tensor by name, those of a split model's other files included.
        vocabulary: tokens, their text, and the tokenizer.
        is_unlocked: whether the system refused to lock the weights in memory, as was asked.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: ModelLoadSettings | None = None,
        *,
        progress: Callable[[float], bool] | None = None,
    ) -> None:
        """Load the model; `load` does the same so that Ctrl-C ends it.

        Args:
            path: a GGUF file.
            settings: how; on the CPU, with llama.cpp's defaults, if None.
            progress: called with the share loaded, 0 to 1; returning False ends the loading.

        Raises:
            ModelNotFoundError: no such file.
            ModelFileError: not a sound GGUF file, or llama.cpp refuses it.
            UnsupportedModelError: the model can't generate text, or embed it.
        """
        settings = settings or ModelLoadSettings()
        self.path = Path(path)
        self.header = read_header(self.path)
        if settings.embeds:
            reason, purpose = reason_not_embedding(self.header), "embed"
        else:
            reason, purpose = reason_not_generative(self.header), "generate"
        if reason:
            raise UnsupportedModelError(f"{self.path.name} can't {purpose} text: {reason}")
        further = other_parts(self.path, self.header)
        parts = [self.header, *(read_header(part, is_further=True) for part in further)]
        self.tensor_shapes = {
            name: tensor.shape for part in parts for name, tensor in part.tensors.items()
        }
        self._file_identity = file_identity(self.path)
        self._is_repacked = settings.repack
        library.start()
        if settings.repack and settings.n_gpu_layers == 0:
            tiled_products.choose(tensor for part in parts for tensor in part.tensors.values())
        import llama_cpp

        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = settings.n_gpu_layers
        params.load_mode = native.LOAD_MODES[settings.load_mode]
        params.use_extra_bufts = settings.repack
        params.main_gpu = settings.main_gpu
        params.split_mode = native.SPLIT_MODES[settings.split_mode]
        if settings.tensor_split is not None:
            n_devices = llama_cpp.llama_max_devices()
            if len(settings.tensor_split) > n_devices:
                raise InvalidParameterError(
                    f"tensor_split has {len(settings.tensor_split)} shares, but this build of "
                    f"llama.cpp takes {n_devices} at most"
                )
            shares = (ctypes.c_float * n_devices)(*settings.tensor_split)
            params.tensor_split = shares
        if progress is not None:
            params.progress_callback = llama_cpp.llama_progress_callback(
                lambda share, _: progress(share)
            )
        library.log.mark()
        self._pointer: Any = llama_cpp.llama_model_load_from_file(os.fsencode(self.path), params)
        if not self._pointer:
            raise ModelFileError(
                f"llama.cpp can't load {self.path.name}: "
                f"{library.log.last_error() or 'it gives no reason'}"
            )
        self.is_unlocked = library.log.has(native.NOT_LOCKED)
        self.vocabulary = Vocabulary(self._pointer)
        if llama_cpp.llama_model_has_encoder(self._pointer) or llama_cpp.llama_model_is_diffusion(
            self._pointer
        ):
            self.close()
            raise UnsupportedModelError(
                f"{self.path.name} is not a decoder-only language model, which is what a "
                f"preference can steer"
            )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        settings: ModelLoadSettings,
        *,
        progress: Callable[[float], None] | None,
    ) -> Model:
        """Load a model in another thread, so that KeyboardInterrupt ends it at once.

        Raises:
            As the constructor, and whatever `progress` raises.
        """
        interrupted = threading.Event()
        failures: list[BaseException] = []

        def report(share: float) -> bool:
            try:
                if progress is not None:
                    progress(share)
            except BaseException as error:  # llama.cpp's caller couldn't take it
                failures.append(error)
            return not (interrupted.is_set() or failures)

        worker = Worker("amulet-load")
        try:
            model: Model = run_together(
                [worker], [partial(cls, path, settings, progress=report)], interrupted.set
            )[0]
        except ModelFileError:
            if failures:
                raise failures[0] from None
            raise
        finally:
            worker.close()
        if failures:
            model.close()
            raise failures[0]
        return model

    @property
    def pointer(self) -> Any:
        """The native llama_model, for the modules of this folder.

        Raises:
            EngineClosedError: the model was closed.
        """
        if not self._pointer:
            raise EngineClosedError("the model is closed; load it again")
        return self._pointer

    @property
    def n_ctx_train(self) -> int:
        """Context length that the model was trained with, in tokens."""
        import llama_cpp

        return int(llama_cpp.llama_model_n_ctx_train(self.pointer))

    @property
    def most_positions(self) -> int | None:
        """Tokens after which llama.cpp ends the process; None where positions aren't learned."""
        shape = self.tensor_shapes.get("position_embd.weight")
        return None if shape is None else shape[-1]

    @property
    def n_embd(self) -> int:
        """Width of a hidden state."""
        import llama_cpp

        return int(llama_cpp.llama_model_n_embd(self.pointer))

    @property
    def n_layers(self) -> int:
        """Layers."""
        import llama_cpp

        return int(llama_cpp.llama_model_n_layer(self.pointer))

    @property
    def size_bytes(self) -> int:
        """Size of all tensors in bytes."""
        import llama_cpp

        return int(llama_cpp.llama_model_size(self.pointer))

    @property
    def n_params(self) -> int:
        """Weights of all tensors."""
        import llama_cpp

        return int(llama_cpp.llama_model_n_params(self.pointer))

    @property
    def file_type(self) -> str:
        """What its weights are written in, as llama.cpp says it: "Q4_K - Medium"."""
        import llama_cpp

        name = llama_cpp.llama_ftype_name(llama_cpp.llama_model_ftype(self.pointer))
        return name.decode("utf-8", "replace") if name else ""

    @property
    def description(self) -> str:
        """Architecture, size and quantisation in a few words, as llama.cpp says it."""
        import llama_cpp

        buffer = ctypes.create_string_buffer(256)
        llama_cpp.llama_model_desc(self.pointer, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    @property
    def identity(self) -> str:
        """What tells this model from another: the file's place, size and time, and what is in it.

        Weights that aren't repacked compute the same with another rounding, and at another cost.
        """
        unpacked = "" if self._is_repacked else "; not repacked"
        return f"{self._file_identity}; {self.description}{unpacked}"

    @property
    def chat_template(self) -> str | None:
        """The default chat template of the model's metadata, None if there is none."""
        import llama_cpp

        template = llama_cpp.llama_model_chat_template(self.pointer, None)
        return template.decode("utf-8", "replace") if template else None

    @property
    def ranking_template(self) -> str | None:
        """The text of a query and a document, of models for ranking that read them in one."""
        import llama_cpp

        template = llama_cpp.llama_model_chat_template(self.pointer, b"rerank")
        return template.decode("utf-8", "replace") if template else None

    @property
    def can_drop_tokens(self) -> bool:
        """Whether part of a sequence can be removed from memory (not in recurrent models)."""
        import llama_cpp

        return not (
            llama_cpp.llama_model_is_recurrent(self.pointer)
            or llama_cpp.llama_model_is_hybrid(self.pointer)
        )

    def close(self) -> None:
        """Free the weights. Every context of the model has to be closed before."""
        import llama_cpp

        pointer, self._pointer = self._pointer, None
        if pointer:
            self.vocabulary.close()
            llama_cpp.llama_model_free(pointer)
            library.return_free_memory()
