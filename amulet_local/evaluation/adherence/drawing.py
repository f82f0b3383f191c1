"""How the study draws tokens: as the caller says, or as the model's file recommends.

Knows nothing about what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.gguf import read_header
from amulet_local.loading.model_store import find_model
from amulet_local.params.sampling import SamplingParams

RECOMMENDED = "recommended"
USUAL = {"temperature": 0.7}
"""Where a file recommends nothing."""

_FIELDS = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
}
"""Fields of SamplingParams by the end of their keys in a GGUF file, after "general.sampling."."""


def sampling_of(text: str, model: str) -> str:
    """SamplingParams' fields in the form that a log has.

    Args:
        text: a JSON object of them, or "recommended".
        model: a GGUF file, or a name.

    Raises:
        InvalidParameterError: it isn't such an object, or has the study's own fields.
        ModelNotFoundError, ModelFileError: the model's file recommends, and can't be read.
    """
    if text == RECOMMENDED:
        return written(recommended(read_header(find_model(model)).metadata))
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or {"max_tokens", "seed"} & set(fields):
        raise InvalidParameterError(
            f"--sampling takes {RECOMMENDED!r}, or fields of SamplingParams but for max_tokens and "
            f'seed, as in \'{{"temperature": 0.7, "top_p": 0.8}}\', not {text!r:.60}'
        )
    return written(fields)


def recommended(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a file recommends; USUAL where that is nothing, or no temperature above 0."""
    found = {
        field: round(value, 6)
        for key, field in _FIELDS.items()
        if isinstance(value := metadata.get(f"general.sampling.{key}"), int | float)
    }
    return found if found.get("temperature", 0) > 0 else dict(USUAL)


def written(fields: Mapping[str, Any]) -> str:
    """The fields as JSON, keys in order.

    Raises:
        InvalidParameterError: they are none of SamplingParams', or out of range.
    """
    SamplingParams(**fields)
    return json.dumps(fields, sort_keys=True)
