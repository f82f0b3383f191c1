"""What ArmoRM computes after its Llama backbone: 19 rewards, and the gate that weighs them.

RLHFlow/ArmoRM-Llama3-8B-v0.1 (arXiv 2406.12845). Knows nothing about how hidden states come about.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, ModelFileError

Weights: TypeAlias = NDArray[np.float32]
Vector: TypeAlias = NDArray[np.float64]

ATTRIBUTES = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)
"""The rewards' names, in the order of the model's outputs."""

DEFAULT_ATTRIBUTE = "ultrafeedback-instruction_following"
"""What Amulet's authors score with."""

GATE_PATTERN = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
"""The gate sees the hidden state of the last token of the question: where this begins for the last
time in a conversation."""

HEAD_FORMAT = 1
"""Version of the file."""

MAX_HEAD_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class ArmoHead:
    """Weights of the heads; all arrays float32, outputs first.

    Attributes:
        regression: shape (19, n_embd).
        transform: shape (19, 19).
        gate: weights and biases of its layers, shapes (n_out, n_in) and (n_out,).
        temperature: of the gate's softmax.
        logit_scale: what the softmax is multiplied by.
    """

    regression: Weights
    transform: Weights
    gate: tuple[tuple[Weights, Weights], ...]
    temperature: float
    logit_scale: float

    def rewards(self, last: Vector) -> Vector:
        """The attributes' rewards: W h, float64, shape (19,).

        Args:
            last: hidden state of the last token of the answer, shape (n_embd,).
        """
        rewards: Vector = self.regression.astype(np.float64) @ last
        return rewards

    def overall(self, rewards: Vector, asked: Vector) -> float:
        """The score that ArmoRM gives: g . (r T), with the gate g of the question.

        Args:
            rewards: shape (19,).
            asked: hidden state of the last token of the question, shape (n_embd,).
        """
        x = asked
        for layer, (weights, bias) in enumerate(self.gate):
            x = weights.astype(np.float64) @ x + bias
            if layer < len(self.gate) - 1:
                x = np.maximum(x, 0.0)
        x = x / self.temperature
        odds = np.exp(x - x.max())
        gate = self.logit_scale * odds / odds.sum()
        return float(gate @ (rewards @ self.transform.astype(np.float64)))

    def save(self, path: Path) -> None:
        """Write a file of NumPy arrays (.npz).

        Raises:
            OSError: it can't be written.
        """
        arrays: dict[str, Any] = {
            "format": np.int64(HEAD_FORMAT),
            "regression": self.regression,
            "transform": self.transform,
            "temperature": np.float64(self.temperature),
            "logit_scale": np.float64(self.logit_scale),
        }
        for index, (weights, bias) in enumerate(self.gate):
            arrays[f"gate_{index}_weight"], arrays[f"gate_{index}_bias"] = weights, bias
        file = io.BytesIO()
        np.savez(file, **arrays)
        private_files.replace(path, [file.getvalue()])

    @classmethod
    def load(cls, path: Path, n_embd: int) -> ArmoHead:
        """Read what `save` wrote.

        Args:
            n_embd: width of the backbone that it is for.

        Raises:
            FileAccessError: it can't be read.
            ModelFileError: it isn't such a file, or it is for another backbone.
        """
        try:
            if path.stat().st_size > MAX_HEAD_BYTES:
                raise ModelFileError(f"{path.name} is too large for a head of ArmoRM")
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if int(arrays["format"]) != HEAD_FORMAT:
                    raise ModelFileError(f"{path.name} is of another version: convert ArmoRM again")
                head = cls._from_arrays(arrays)
        except OSError as error:
            raise FileAccessError(f"can't read {path}: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
            raise ModelFileError(
                f"{path.name} isn't a head of ArmoRM: convert the model with scripts/convert_armorm"
            ) from None
        head.check(path.name, n_embd)
        return head

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, Any]) -> ArmoHead:
        def array(name: str) -> Weights:
            return np.ascontiguousarray(arrays[name], dtype=np.float32)

        n_layers = sum(name.endswith("_bias") for name in arrays)
        return cls(
            regression=array("regression"),
            transform=array("transform"),
            gate=tuple(
                (array(f"gate_{index}_weight"), array(f"gate_{index}_bias"))
                for index in range(n_layers)
            ),
            temperature=float(arrays["temperature"]),
            logit_scale=float(arrays["logit_scale"]),
        )

    def check(self, name: str, n_embd: int) -> None:
        """Refuse weights that don't belong together.

        Args:
            name: what to call them in the error.
            n_embd: width of the hidden states.

        Raises:
            ModelFileError: a shape is wrong, or a value isn't finite.
        """
        n = len(ATTRIBUTES)
        widths = [n_embd, *(len(bias) if bias.ndim == 1 else -1 for _, bias in self.gate)]
        fits = (
            self.regression.shape == (n, n_embd)
            and self.transform.shape == (n, n)
            and bool(self.gate)
            and widths[-1] == n
            and all(
                weights.shape == (widths[index + 1], widths[index])
                for index, (weights, _) in enumerate(self.gate)
            )
        )
        if not fits:
            raise ModelFileError(
                f"{name} doesn't fit a backbone of width {n_embd} and {n} attributes: take the "
                f"two files of one conversion"
            )
        arrays = [self.regression, self.transform, *(part for pair in self.gate for part in pair)]
        finite = all(np.isfinite(part).all() for part in arrays)
        if not (finite and np.isfinite(self.logit_scale) and 0 < self.temperature < np.inf):
            raise ModelFileError(f"{name} holds weights that aren't finite numbers")


def head_path(backbone: Path) -> Path:
    """Where the head of a converted model is: beside it, named after it."""
    return backbone.with_suffix(".head.npz")
