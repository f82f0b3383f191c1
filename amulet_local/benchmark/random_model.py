"""Writes GGUF models of real shapes with random weights; scripts/make_gguf runs it.

Speed and memory don't depend on what the weights say. Vocabulary and chat template are the embedded
model's, the architecture is Llama's, and the types are made by llama.cpp's own quantiser. Knows
nothing about benchmarks.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amulet_local.common import private_files
from amulet_local.common.disk_space import check_space
from amulet_local.common.errors import AmuletError, FileAccessError, InvalidParameterError
from amulet_local.common.extras import missing_extra
from amulet_local.common.termination import terminated_in_order
from amulet_local.llama.quantising import quantisation_type, quantise
from amulet_local.loading import model_store

Progress = Callable[[str], None]
WEIGHT_SCALE = 0.02
"""Standard deviation of the weights: what models are initialised with."""
N_POOL = 16_777_259
"""Random numbers that the weights are cut from, a prime: no two rows begin at the same one."""
N_CTX_TRAIN = 8192
UNQUANTISED: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Shape of a Llama model.

    Attributes:
        n_layers: transformer blocks.
        width: of an embedding.
        feed_forward: inner width of a block.
        n_heads, n_kv_heads: of attention; `width` is a multiple of the first, the first of the
            second.
        tied: whether the output uses the embedding's weights.
        rope_base: base of the rotary positions.
    """

    n_layers: int
    width: int
    feed_forward: int
    n_heads: int
    n_kv_heads: int
    tied: bool = True
    rope_base: float = 100_000.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "int" and getattr(self, field.name) < 1:
                raise InvalidParameterError(f"{field.name} must be at least 1")
        if self.width % (2 * self.n_heads) or self.n_heads % self.n_kv_heads:
            raise InvalidParameterError(
                f"a width of {self.width} can't be split into {self.n_heads} heads of even size, "
                f"or those into {self.n_kv_heads} groups"
            )

    def tensors(self, n_vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes (rows first) of all tensors."""
        kv = self.width // self.n_heads * self.n_kv_heads
        yield "token_embd.weight", (n_vocab, self.width)
        yield "output_norm.weight", (self.width,)
        if not self.tied:
            yield "output.weight", (n_vocab, self.width)
        for layer in range(self.n_layers):
            for name, shape in {
                "attn_norm": (self.width,),
                "attn_q": (self.width, self.width),
                "attn_k": (kv, self.width),
                "attn_v": (kv, self.width),
                "attn_output": (self.width, self.width),
                "ffn_norm": (self.width,),
                "ffn_gate": (self.feed_forward, self.width),
                "ffn_up": (self.feed_forward, self.width),
                "ffn_down": (self.width, self.feed_forward),
            }.items():
                yield f"blk.{layer}.{name}.weight", shape

    def n_weights(self, n_vocab: int) -> int:
        """All weights together."""
        return sum(int(np.prod(shape)) for _, shape in self.tensors(n_vocab))


SHAPES = {
    "135M": ModelShape(n_layers=30, width=576, feed_forward=1536, n_heads=9, n_kv_heads=3),
    "0.5B": ModelShape(n_layers=24, width=896, feed_forward=4864, n_heads=14, n_kv_heads=2),
    "1B": ModelShape(n_layers=16, width=2048, feed_forward=8192, n_heads=32, n_kv_heads=8),
    "8B": ModelShape(
        n_layers=32,
        width=4096,
        feed_forward=14336,
        n_heads=32,
        n_kv_heads=8,
        tied=False,
        rope_base=500_000.0,
    ),
}
"""SmolLM2-135M, Qwen 2.5 0.5B, Llama 3.2 1B, Llama 3.1 8B, all with a vocabulary of 49,152."""


def write_model(
    shape: ModelShape, type_name: str, target: Path, *, name: str, progress: Progress
) -> None:
    """Write a model, whole or not at all.

    Args:
        shape: its shape.
        type_name: "F32", "F16", or a type of llama.cpp's quantiser, e.g. "Q4_K_M".
        target: the file, which must not exist yet.
        name: for its metadata.
        progress: told what is going on.

    Raises:
        InvalidParameterError: no such type.
        FileAccessError: it exists, there is no room for it, or it can't be written.
        ModelNotFoundError, MissingExtraError: the embedded model or `gguf` isn't installed.
        BackendError: llama.cpp can't quantise to that type.
    """
    type_name, file_type = quantisation_type(type_name)
    if importlib.util.find_spec("gguf") is None:
        raise missing_extra("making models needs gguf", "tools")
    metadata = _embedded_metadata()
    n_weights = shape.n_weights(len(metadata["tokenizer.ggml.tokens"].content))
    _check_place(target, n_weights, type_name)
    dtype = UNQUANTISED.get(type_name, UNQUANTISED["F16"])
    plain, finished = (target.with_name(f"{target.name}.{end}") for end in ("weights", "part"))
    try:
        progress(f"writing {n_weights / 1e9:.2f} billion random weights")
        _write_weights(plain, shape, dtype, metadata, name)
        if type_name in UNQUANTISED:
            private_files.put_in_place(plain, target)
            return
        progress(f"quantising to {type_name} (minutes, for billions of weights)")
        quantise(plain, finished, file_type)
        private_files.put_in_place(finished, target)
    except OSError as error:
        raise FileAccessError(f"can't write {target}: {error.strerror}") from None
    finally:
        for path in (plain, finished):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


class Value(NamedTuple):
    """A metadata value with its GGUF type, and that of its elements if it is an array."""

    content: Any
    kind: Any
    element_kind: Any


Metadata = Mapping[str, Value]


@functools.cache
def _embedded_metadata() -> Metadata:
    """The tokenizer's fields of the embedded model."""
    import gguf

    reader = gguf.GGUFReader(model_store.find_model(model_store.DEFAULT_MODEL))
    found = {}
    for key, field in reader.fields.items():
        if key.startswith("tokenizer."):
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            found[key] = Value(
                field.contents(), field.types[0], field.types[-1] if is_array else None
            )
    return found


def _check_place(target: Path, n_weights: int, type_name: str) -> None:
    if target.exists():
        raise FileAccessError(f"{target} exists; remove it, or give another name with -o")
    is_quantised = type_name not in UNQUANTISED
    check_space(
        target,
        int(n_weights * (2 + 1.1 if is_quantised else UNQUANTISED[type_name].itemsize)),
        note=" (2 bytes a weight before quantising)" if is_quantised else "",
    )


def _write_weights(
    path: Path, shape: ModelShape, dtype: np.dtype[Any], metadata: Metadata, name: str
) -> None:
    """Write header and weights, tensor by tensor: memory holds the largest one."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    try:
        _write_metadata(writer, shape, metadata, name, is_f16=dtype == np.float16)
        n_vocab = len(metadata["tokenizer.ggml.tokens"].content)
        tensors = list(shape.tensors(n_vocab))
        for tensor, dims in tensors:
            kind = np.dtype(np.float32) if len(dims) == 1 else dtype
            size = int(np.prod(dims)) * kind.itemsize
            writer.add_tensor_info(tensor, dims, kind, size)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        weights = _weights(dtype)
        for _, dims in tensors:
            ones = np.ones(dims, dtype=np.float32) if len(dims) == 1 else None
            writer.write_tensor_data(weights(dims) if ones is None else ones)
    finally:
        writer.close()


def _write_metadata(
    writer: Any, shape: ModelShape, metadata: Metadata, name: str, *, is_f16: bool
) -> None:
    writer.add_name(name)
    writer.add_file_type(1 if is_f16 else 0)
    writer.add_block_count(shape.n_layers)
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_dimension_count(shape.width // shape.n_heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(metadata["tokenizer.ggml.tokens"].content))
    for key, value in metadata.items():
        writer.add_key_value(key, value.content, value.kind, sub_type=value.element_kind)


def _weights(dtype: np.dtype[Any]) -> Callable[[tuple[int, ...]], NDArray[Any]]:
    """A source of random tensors: pieces of one pool, far faster than new numbers."""
    pool = np.random.default_rng(0).standard_normal(N_POOL, dtype=np.float32)
    pool = (WEIGHT_SCALE * pool).astype(dtype)
    start = 0

    def cut(shape: tuple[int, ...]) -> NDArray[Any]:
        nonlocal start
        n = int(np.prod(shape))
        repeated = np.concatenate([pool[start:], *([pool] * (n // N_POOL + 1))])[:n]
        start = (start + n) % N_POOL
        return repeated.reshape(shape)

    return cut


def _default_target(name: str) -> Path:
    checkout = Path(__file__).parent.parent.parent / "models"
    folder = checkout if (checkout / "catalogue.toml").is_file() else Path()
    return folder / f"{name}.gguf"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make_gguf",
        description="Write a GGUF model of a real shape with random weights, for measuring speed "
        "and memory. Its answers are noise.",
    )
    parser.add_argument("shape", choices=SHAPES, help="which shape")
    parser.add_argument(
        "--type", default="Q4_K_M", help="F32, F16, Q8_0, Q4_0, Q4_K_M, ... Default: Q4_K_M"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="Default: models/random-SHAPE-TYPE.gguf in a checkout, which -m finds by name",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The script: exit code 0, 1 with a line on stderr, 2 for wrong usage, 130 for Ctrl-C, 143 for
    SIGTERM; after both nothing is left of what was begun."""
    options = _parser().parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        type_name, _ = quantisation_type(options.type)
        name = f"random-{options.shape}-{type_name}"
        target = options.output or _default_target(name)
        with terminated_in_order():
            write_model(SHAPES[options.shape], type_name, target, name=name, progress=say)
    except AmuletError as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        os._exit(130)  # what was written is removed; the quantiser's thread can't be waited for
    except SystemExit as end:
        os._exit(int(end.code or 0))  # likewise
    print(target)


if __name__ == "__main__":
    main()
