"""Length and sampling in llama-server's words.

Knows nothing about requests.
"""

from __future__ import annotations

import math
from typing import Any

from amulet_local.params.sampling import SamplingParams
from amulet_local.server.client_fields import REASONING_FORMATS, SAMPLERS
from amulet_local.server.served_model import ServedModel

_ELSEWHERE = frozenset({"logit_bias", "seed", "stop", "json_schema", "reasoning_format", "grammar"})
_ANY_SEED = 2**32 - 1
"""How llama.cpp says that a seed is drawn."""
_FORMATS = {own: name for name, own in REASONING_FORMATS.items() if name in ("deepseek", "none")}


def generation_settings(
    sampling: SamplingParams,
    model: ServedModel,
    *,
    n_probs: int = 0,
    stream: bool = False,
    timings_per_token: bool = False,
    post_sampling_probs: bool = False,
) -> dict[str, Any]:
    """What llama-server says of a request's length and sampling; null stands for infinity."""
    plain = sampling.model_dump(mode="json")
    biases: dict[int, float] = dict(sampling.logit_bias)
    if sampling.ignore_eos:
        biases |= dict.fromkeys(sorted(model.vocabulary.end_tokens), -math.inf)
    return {
        **{name: plain[name] for name in plain if name not in _ELSEWHERE},
        "grammar": sampling.grammar or "",
        "grammar_lazy": False,
        "grammar_triggers": [],
        "preserved_tokens": [],
        "seed": _ANY_SEED if sampling.seed is None else sampling.seed,
        "n_predict": sampling.max_tokens,
        "stop": list(sampling.stop),
        "logit_bias": [
            {"token": token, "bias": bias if math.isfinite(bias) else None}
            for token, bias in biases.items()
        ],
        "n_keep": 0,
        "n_discard": 0,
        "n_probs": n_probs,
        "min_keep": 0,
        "stream": stream,
        "samplers": list(SAMPLERS),
        "top_n_sigma": -1.0,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "adaptive_target": -1.0,
        "adaptive_decay": 0.9,
        "chat_format": "Content-only",
        "reasoning_format": _FORMATS.get(sampling.reasoning_format, sampling.reasoning_format),
        "reasoning_in_content": False,
        "generation_prompt": "",
        "speculative.types": "none",
        "timings_per_token": timings_per_token,
        "post_sampling_probs": post_sampling_probs,
        "backend_sampling": False,
        "lora": [],
    }
