"""A judge's backend on this machine: a GGUF model, through this package's own engine."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from amulet_local.common.errors import InvalidRequestError, JudgeError
from amulet_local.evaluation.judges.backend import Backend, Choice, decided, grammar_of, weighed
from amulet_local.evaluation.judges.options import JudgeOptions
from amulet_local.evaluation.judges.prompts import JudgePrompt
from amulet_local.isolation.load import load
from amulet_local.params.sampling import SamplingParams

N_LISTED = 100
"""Tokens whose probabilities are looked at: every label is among them, or hardly possible."""


class LocalBackend(Backend):
    """A loaded model. A grammar allows the labels only; their probabilities are those before it."""

    def __init__(self, options: JudgeOptions) -> None:
        """Load the model.

        Raises:
            ModelError, BackendError: it can't be used.
        """
        # Reproducible: a verdict doesn't depend on those before it.
        runtime: dict[str, Any] = {
            "n_ctx": options.n_ctx,
            "n_threads": options.n_threads,
            "reproducible": True,
        }
        if options.n_gpu_layers is not None:
            runtime["n_gpu_layers"] = options.n_gpu_layers
        self._engine = load(options.model, **runtime)
        path = self._engine.model.path
        self.name = path.name
        self.source = f"{path.name} ({os.stat(path).st_size} bytes)"

    def choose(self, prompt: JudgePrompt, labels: Sequence[str]) -> Choice:
        """Reply to a prompt with one of the labels.

        Raises:
            JudgeError: the texts don't fit the context, or hold what no tokenizer takes.
            BackendError: llama.cpp failed.
        """
        try:
            reply = self._engine.generate(
                [{"role": "user", "content": prompt.user}],
                system=prompt.system,
                method="base",
                sampling=SamplingParams(max_tokens=4, grammar=grammar_of(labels)),
                trace=N_LISTED,
                template_arguments={"enable_thinking": False},
            )
        except InvalidRequestError as error:
            raise JudgeError(f"{self.name} can't judge this: {error}") from None
        for token in reply.trace or ():
            listed = ((item.text, math.exp(item.log_probability)) for item in token.top_realigned)
            choice = weighed(listed, labels)
            if choice is not None:
                return choice
        if reply.text.strip() not in labels:
            raise JudgeError(f"{self.name} replied {reply.text[:40]!r}, not one of {list(labels)}")
        return decided(reply.text.strip(), labels)

    def close(self) -> None:
        """Free the model."""
        self._engine.close()
