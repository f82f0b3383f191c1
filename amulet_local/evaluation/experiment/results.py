"""The answers of a run with their scores, as a table of questions x preferences for each method.

Knows nothing about how a report looks. Only questions that every method has answered under every
preference count: all comparisons are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from amulet_local.common.errors import FileAccessError
from amulet_local.common.json_log import Log, read_log
from amulet_local.evaluation.experiment.answering import (
    KEY_FIELDS,
    MEASURES,
    RESPONSE_FIELDS,
    RESPONSES,
    key_of,
)
from amulet_local.evaluation.experiment.plan import FORMAT, OWN, Response
from amulet_local.evaluation.experiment.run_folder import read_settings
from amulet_local.evaluation.scorers import SCORERS, AnsweredQuestion, Scorer
from amulet_local.evaluation.statistics import Values
from amulet_local.steering.methods import MASK_FIELDS

SCORES = "scores.jsonl"
SCORE_FIELDS: dict[str, type | tuple[type, ...]] = {
    **KEY_FIELDS,
    "scorer": str,
    "value": (int, float, type(None)),
    "source": str,
}
BATCH = 32
"""Answers that are scored at once; what a kill can cost."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the run.

    Attributes:
        name: in tables.
        method: the decoding method's.
        scale: the guidance scale that was asked for.
        settings: strength and guards that aren't the default.
        only: the preferences that it is limited to, if it is.
    """

    name: str
    method: str
    scale: float
    settings: Mapping[str, Any]
    only: tuple[str, ...] | None

    @property
    def asked_scale(self) -> str:
        """The guidance scale that was asked for, and whether answers begin or end there."""
        scale = f"{self.scale:.3g}"
        if self.scale > 1 and "kl_target" in self.settings:
            return f"from {scale}"
        return f"up to {scale}" if self.scale > 1 and "kl_budget" in self.settings else scale

    @property
    def is_guarded(self) -> bool:
        """Whether anything watches over its answers besides the strength."""
        return any(
            name.endswith(("guard", "gating")) or name == "watch"
            for name, value in self.settings.items()
            if value
        )

    @property
    def is_plain_scale(self) -> bool:
        """Whether it is a guidance scale and nothing else."""
        limits = {"kl_budget", "kl_target", "mix", *MASK_FIELDS}
        return (
            self.scale >= 1
            and not self.is_guarded
            and self.method != "beam"
            and limits.isdisjoint(self.settings)
        )


class Results:
    """What a run folder holds.

    Attributes:
        folder: it.
        settings: of the run.
        methods: in their order.
        wishes: labels of the preferences, in their order.
        datasets: names.
        answers: every answer, base's once for each preference.
    """

    def __init__(self, folder: Path) -> None:
        """Read it.

        Raises:
            FileAccessError: it can't be read, or is damaged.
        """
        self.folder = folder
        self.settings = read_settings(folder)
        try:
            self._take_settings()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise FileAccessError(
                f"the settings of the run in {folder} are damaged, or of another version"
            ) from None
        self.answers = self._read_answers()
        found = {key.wish for key in self.answers}
        self.wishes = tuple(label for label in (*self._instructions, OWN) if label in found)
        self._read_scores()

    def _take_settings(self) -> None:
        settings = self.settings
        if settings["format"] != FORMAT:
            raise ValueError
        self.methods = tuple(
            Method(
                name=str(item["name"]),
                method=str(item["method"]),
                scale=float(item["guidance_scale"]),
                settings=dict(item["settings"]),
                only=None if item["only"] is None else tuple(item["only"]),
            )
            for item in settings["methods"]
        )
        self.datasets = tuple(str(item["name"]) for item in settings["datasets"])
        self._instructions = {
            item["label"]: tuple(item["instructions"]) for item in settings["preferences"]
        }
        for part, names in (
            ("model", ("file", "sha256")),
            ("decoding", ("max_tokens", "system", "placement")),
            ("versions", ()),
        ):
            for name in names:
                settings[part][name]

    def _read_answers(self) -> dict[Response, dict[str, Any]]:
        measures = {key_of(entry): entry for entry in read_log(self.folder / MEASURES, KEY_FIELDS)}
        answers: dict[Response, dict[str, Any]] = {}
        unled: dict[Response, dict[str, Any]] = {}
        for entry in read_log(self.folder / RESPONSES, RESPONSE_FIELDS):
            key = key_of(entry)
            (answers if key.wish else unled)[key] = {**entry, **measures.get(key, {})}
        texts = {item["label"]: item["texts"] for item in self.settings["preferences"]}
        for key, entry in measures.items():
            source = unled.get(Response(**{**asdict(key), "wish": ""}))
            if source is not None:
                wanted = texts.get(key.wish) or self._own_texts(key, answers)
                answers[key] = {**source, "preferences": wanted, **entry}
        return answers

    @staticmethod
    def _own_texts(key: Response, answers: Mapping[Response, dict[str, Any]]) -> list[str]:
        return next(
            (
                entry["preferences"]
                for other, entry in answers.items()
                if (other.dataset, other.index, other.wish) == (key.dataset, key.index, key.wish)
            ),
            [],
        )

    def _read_scores(self) -> None:
        self.scores: dict[str, dict[Response, float | None]] = {}
        self._sources: dict[tuple[str, Response], str] = {}
        for entry in read_log(self.folder / SCORES, SCORE_FIELDS):
            key = key_of(entry)
            self.keep(key, entry["scorer"], entry["value"], entry["source"])

    def keep(self, key: Response, scorer: str, value: float | None, source: str) -> dict[str, Any]:
        """Take note of a score; returns it as a line of the log.

        Args:
            source: the model that it comes from, if it is one's.
        """
        self.scores.setdefault(scorer, {})[key] = value
        self._sources[scorer, key] = source
        return {**asdict(key), "scorer": scorer, "value": value, "source": source}

    def lacks(self, key: Response, scorer: str, source: str) -> bool:
        """Whether there is no score yet, or one of another source."""
        return self._sources.get((scorer, key)) != source

    def score(self, scorers: Sequence[Scorer]) -> None:
        """Score what has no score yet, and store that.

        Raises:
            AmuletError: a scorer's model can't be used, or a score can't be stored.
        """
        with Log(self.folder / SCORES) as log:
            self._read_scores()
            keys = list(self.answers)
            for start in range(0, len(keys), BATCH):
                lines = []
                for scorer in scorers:
                    missing = [
                        key
                        for key in keys[start : start + BATCH]
                        if self.lacks(key, scorer.name, scorer.source)
                    ]
                    values = scorer.scores([self._answered(key) for key in missing])
                    lines += [
                        self.keep(key, scorer.name, value, scorer.source)
                        for key, value in zip(missing, values, strict=True)
                    ]
                if lines:
                    log.append(*lines)

    def _answered(self, key: Response) -> AnsweredQuestion:
        entry = self.answers[key]
        return AnsweredQuestion(
            question=entry["question"],
            system=self.settings["decoding"]["system"],
            preferences=self.instructions(key),
            criteria=tuple(entry.get("criteria", ())),
            text=entry["text"],
            token_ids=tuple(entry["token_ids"]),
            finish_reason=entry["finish_reason"],
            margin=entry.get("margin"),
            fluency=entry.get("fluency"),
            falls_apart=entry.get("falls_apart"),
            recites=entry.get("recites"),
        )

    def instructions(self, key: Response) -> tuple[str, ...]:
        """What the prompts said about the preferences of an answer."""
        return self._instructions.get(key.wish) or tuple(self.answers[key]["preferences"])

    def method_named(self, name: str) -> Method:
        """The method called so."""
        return next(method for method in self.methods if method.name == name)

    def plays(self, method: Method, wish: str) -> bool:
        """Whether the method has answers under this preference."""
        if method.only is not None and wish not in method.only:
            return False
        return not (method.method == "beam" and wish == OWN)

    @cached_property
    def questions(self) -> tuple[tuple[str, str], ...]:
        """The questions that are answered completely: (dataset, index), in the run's order."""
        return tuple(
            (item["name"], str(index))
            for item in self.settings["datasets"]
            for index in item["indices"]
            if self._is_complete(item["name"], str(index))
        )

    @property
    def n_all_questions(self) -> int:
        """Questions of the run, answered or not."""
        return sum(len(item["indices"]) for item in self.settings["datasets"])

    @cached_property
    def _wishes_at(self) -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for key in self.answers:
            found.setdefault((key.dataset, key.index), set()).add(key.wish)
        return found

    def _is_complete(self, dataset: str, index: str) -> bool:
        there = self._wishes_at.get((dataset, index), set())
        labels = {item["label"] for item in self.settings["preferences"]}
        wanted = there if OWN in there else labels
        return bool(wanted) and all(
            Response(dataset=dataset, index=index, wish=wish, method=method.name) in self.answers
            for wish in wanted
            for method in self.methods
            if self.plays(method, wish)
        )

    def values(
        self,
        scorer: str,
        method: Method,
        *,
        wishes: Sequence[str] | None = None,
        dataset: str | None = None,
    ) -> Values:
        """Scores, float64, shape (n_questions, n_wishes); NaN where there is none.

        Args:
            wishes: labels; all if None.
            dataset: the questions of one; all if None.
        """
        known = self.scores.get(scorer, {})
        wishes = self.wishes if wishes is None else wishes
        rows = []
        for name, index in self.questions:
            if dataset in (None, name):
                row = []
                for wish in wishes:
                    key = Response(dataset=name, index=index, wish=wish, method=method.name)
                    value = known.get(key)
                    row.append(np.nan if value is None else float(value))
                rows.append(row)
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(wishes))


def better_of(scorer: str) -> str:
    """Which values of a scorer are better."""
    entry = SCORERS.get(scorer)
    return "higher" if entry is None else entry.better
