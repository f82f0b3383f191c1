"""Answers to the rows of a Ray dataset, in its own actors.

    questions.map_batches(RayAnswers, fn_constructor_kwargs={"model": "smollm2"}, concurrency=2)

Ray makes, replaces and feeds the actors; here is what each of them does. Knows nothing about Ray.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from amulet_local.batch.entries import JobModel
from amulet_local.batch.input_lines import InputLine
from amulet_local.batch.line_answers import EngineAnswers, KeyedLine, LineOutcome
from amulet_local.batch.line_fields import JobSettings, LineFields
from amulet_local.common.errors import InvalidParameterError
from amulet_local.isolation.load import load
from amulet_local.loading.model_store import find_model, names_of, verify_checksum
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import PreferencesLike, resolve
from amulet_local.server.model_names import ModelNames

ASKED = frozenset(LineFields.model_fields) - {"id"}
"""Columns that say what is asked; a line of `batch` has the same fields."""

ADDED = ("answer", "finish_reason", "prompt_tokens", "completion_tokens", "error")
"""Columns that come to the others."""

_KEY = "0" * 32


class RayAnswers:
    """Answers the rows of a batch: a callable for the `map_batches` of `ray.data`."""

    def __init__(
        self,
        model: str = "smollm2",
        *,
        column: str = "prompt",
        sha256: str | None = None,
        at_once: int | None = None,
        preference: PreferencesLike = None,
        avoid: PreferencesLike = None,
        method: str | None = None,
        amulet: AmuletParams | None = None,
        preset: str | None = None,
        sampling: SamplingParams | None = None,
        system: str | None = None,
        placement: Placement | None = None,
        **runtime: Any,
    ) -> None:
        """Load the model, in the actor.

        Args:
            model: a path or a name on every machine.
            column: of the questions; the columns of ASKED say what is asked besides.
            sha256: that the file has to have, in hexadecimal; None doesn't look.
            at_once: answers at once; None measures what the machine computes best.
            preference, avoid, method, amulet, preset, sampling, system, placement: of rows that say
                nothing: see Engine.generate.
            **runtime: of RuntimeParams.

        Raises:
            As `amulet_local.load`.
        """
        path = find_model(model)
        if sha256 is not None:
            verify_checksum(path, sha256)
        engine = load(path, **runtime)
        settings = JobSettings(
            preferences=resolve(preference, avoid=avoid),
            method=method,
            amulet=amulet,
            preset=preset,
            sampling=sampling or SamplingParams(),
            system=system,
            placement=placement,
        )
        self._model = JobModel(
            engine=engine, names=ModelNames(names_of(model, path)), settings=settings, form="own"
        )
        self._column = column
        self._at_once = engine.suitable_width if at_once is None else at_once

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with what has come of its rows: the columns of ADDED.

        Args:
            batch: columns by name, each as long as the others. What is None, NaN or masked in a row
                isn't asked there.

        Raises:
            InvalidParameterError: it has neither the column of the questions nor messages.
            BackendError, CancelledError: the model can't be used any more.
        """
        if self._column not in batch and "messages" not in batch:
            raise InvalidParameterError(
                f"the rows have no column {self._column!r:.60} or 'messages'; column= names another"
            )
        n_rows = len(next(iter(batch.values())))
        outcomes: list[LineOutcome | None] = [None] * n_rows

        def end(outcome: LineOutcome) -> None:
            outcomes[outcome.turn] = outcome

        answers = EngineAnswers(self._model, at_once=self._at_once)
        answers.run(self._lines(batch, n_rows), end, lambda _: None)
        found = [_columns(outcome) for outcome in outcomes if outcome is not None]
        added = {name: [row[name] for row in found] for name in ADDED}
        return {
            **batch,
            **{name: np.array(values, dtype=_TYPES[name]) for name, values in added.items()},
        }

    def _lines(self, batch: Mapping[str, Any], n_rows: int) -> Iterator[KeyedLine]:
        for row in range(n_rows):
            asked = {name: _plain(batch[name][row]) for name in ASKED & batch.keys()}
            if self._column in batch:
                asked["prompt"] = _plain(batch[self._column][row])
            asked = {name: value for name, value in asked.items() if value is not None}
            line = InputLine((0, row), "", row + 1, json.dumps(asked).encode(), None)
            yield KeyedLine(turn=row, key=_KEY, line=line)


_TYPES: Mapping[str, Any] = {
    "answer": object,
    "finish_reason": object,
    "prompt_tokens": np.int64,
    "completion_tokens": np.int64,
    "error": object,
}


def _columns(outcome: LineOutcome) -> dict[str, Any]:
    return {
        "answer": outcome.record.get("text"),
        "finish_reason": outcome.record.get("finish_reason"),
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "error": outcome.error,
    }


def _plain(value: Any) -> Any:
    """A cell as JSON has it; None if there is nothing in it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
