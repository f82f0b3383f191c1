"""Converts ArmoRM for llama.cpp; scripts/convert_armorm runs it.

From the folder of RLHFlow/ArmoRM-Llama3-8B-v0.1 as published: the Llama backbone becomes a GGUF
file, its heads a small file of NumPy arrays beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.disk_space import check_space
from amulet_local.common.errors import AmuletError, FileAccessError, ModelFileError
from amulet_local.common.termination import terminated_in_order
from amulet_local.evaluation.conversion.armorm_head import ArmoHead, head_path
from amulet_local.evaluation.conversion.gguf_file import (
    DIRECT_TYPES,
    need_gguf,
    write_gguf,
)
from amulet_local.evaluation.conversion.llama3 import Llama3, read_llama3
from amulet_local.evaluation.conversion.safetensors import Weights
from amulet_local.llama.quantising import quantisation_type, quantise

BYTES_OF_WEIGHT = {"F32": 4.0, "F16": 2.0, "BF16": 2.0, "Q8_0": 1.0625}
DEFAULT_TYPE = "Q8_0"


def convert(folder: Path, target: Path, type_name: str, progress: Callable[[str], None]) -> None:
    """Write the two files.

    Args:
        folder: the published files: config.json, tokenizer.json, *.safetensors, ...
        target: the GGUF file, which must not exist yet; the head goes beside it.
        type_name: F32, F16, BF16, Q8_0, or another type of llama.cpp's quantiser.
        progress: told what is going on.

    Raises:
        FileAccessError: a file can't be read or written, or exists.
        ModelFileError: it isn't ArmoRM.
        MissingExtraError: `gguf` isn't installed.
        InvalidParameterError: no such type.
        BackendError: llama.cpp can't quantise to it.
    """
    need_gguf()
    type_name, file_type = quantisation_type(type_name)
    for path in (target, head_path(target)):
        if path.exists():
            raise FileAccessError(f"{path} exists; remove it, or give another name with -o")
    model = read_llama3(folder)
    head = read_head(model.weights, model.config)
    head.check("this model's head", model.number("hidden_size"))
    tensors = model.tensors()
    n_weights = sum(math.prod(tensor.shape) for tensor in tensors)
    direct = type_name in DIRECT_TYPES
    check_space(target, int(n_weights * (BYTES_OF_WEIGHT[type_name] if direct else 3.1)))
    progress(f"writing {n_weights / 1e9:.2f} billion weights")
    plain = target if direct else target.with_name(f"{target.name}.weights")
    finished = target.with_name(f"{target.name}.quantised")
    try:
        write_gguf(
            plain,
            "llama",
            lambda writer: _write_metadata(writer, model, file_type),
            tensors,
            type_name if direct else "F16",
        )
        if not direct:
            progress(f"quantising to {type_name} (minutes)")
            quantise(plain, finished, file_type)
            private_files.put_in_place(finished, target)
        head.save(head_path(target))
    except OSError as error:
        raise FileAccessError(f"can't write {target}: {error.strerror or error}") from None
    finally:
        for path in (plain, finished):
            if path != target:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def read_head(weights: Weights, config: Any) -> ArmoHead:
    """The heads among a model's weights.

    Raises:
        FileAccessError: a file can't be read.
        ModelFileError: they aren't there.
    """
    if "regression_layer.weight" not in weights:
        raise ModelFileError("the weights have no regression_layer: they aren't those of ArmoRM")
    n_layers = sum(name.startswith("gating.layers.") for name in weights) // 2
    temperature = config.get("gating_temperature", 10)
    return ArmoHead(
        regression=weights.read("regression_layer.weight"),
        transform=weights.read("reward_transform_matrix"),
        gate=tuple(
            (
                weights.read(f"gating.layers.{layer}.weight"),
                weights.read(f"gating.layers.{layer}.bias"),
            )
            for layer in range(n_layers)
        ),
        temperature=float(temperature) if isinstance(temperature, int | float) else math.nan,
        logit_scale=float(weights.read("gating.logit_scale").reshape(-1)[0]),
    )


def _write_metadata(writer: Any, model: Llama3, file_type: int) -> None:
    writer.add_name("ArmoRM, without its heads")
    writer.add_file_type(file_type)
    model.write_metadata(writer)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convert_armorm",
        description="Convert the reward model ArmoRM-Llama3-8B-v0.1 for the scorers `armorm...`: a "
        "GGUF file for llama.cpp, and a small file with its heads beside it.",
    )
    parser.add_argument("folder", type=Path, help="with the published files of the model")
    parser.add_argument(
        "--type",
        default=DEFAULT_TYPE,
        help=f"F32, F16, BF16, Q8_0, Q4_K_M, ... Default: {DEFAULT_TYPE}",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="Default: ArmoRM-TYPE.gguf"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The script: exit code 0, 1 with a line on stderr, 2 for wrong usage, 130 for Ctrl-C, 143 for
    SIGTERM; after both nothing is left of what was begun."""
    options = _parser().parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    target = options.output or Path(f"ArmoRM-{options.type}.gguf")
    try:
        with terminated_in_order():
            convert(options.folder, target, options.type, say)
    except AmuletError as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        os._exit(130)  # the quantiser's thread can't be waited for
    except SystemExit as end:
        os._exit(int(end.code or 0))  # likewise
    print(target)
    print(head_path(target))


if __name__ == "__main__":
    main()
