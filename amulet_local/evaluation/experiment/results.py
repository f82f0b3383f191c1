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

from amulet_local.evaluation.experiment.answering import MEASURES, RESPONSES, key_of
from amulet_local.evaluation.experiment.plan import OWN, Response
from amulet_local.evaluation.experiment.run_folder import Log, read_log, read_settings
from amulet_local.evaluation.scorers import SCORERS, Answered, Scorer
from amulet_local.evaluation.statistics import Values

SCORES = "scores.jsonl"
BATCH = 32
"""Answers that are scored at once; what a kill can cost."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the run.

    Attributes:
        name: in tables.
        method: the decoding method's.
        scale: its guidance scale.
        settings: strength and guards that aren't the default.
        only: the preferences that it is limited to, if it is.
    """

    name: str
    method: str
    scale: float
    settings: Mapping[str, Any]
    only: tuple[str, ...] | None

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
        limits = ("kl_budget", "min_plausibility", "mix")
        return (
            self.scale >= 1
            and not self.is_guarded
            and self.method != "beam"
            and not any(self.settings.get(name) for name in limits)
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
        self.methods = tuple(
            Method(
                name=item["name"],
                method=item["method"],
                scale=float(item["guidance_scale"]),
                settings=item["settings"],
                only=None if item["only"] is None else tuple(item["only"]),
            )
            for item in self.settings["methods"]
        )
        self.datasets = tuple(item["name"] for item in self.settings["datasets"])
        self.answers = self._read_answers()
        found = {key.wish for key in self.answers}
        labels = [item["label"] for item in self.settings["preferences"]]
        self.wishes = tuple(label for label in (*labels, OWN) if label in found)
        self.scores = self._read_scores()

    def _read_answers(self) -> dict[Response, dict[str, Any]]:
        measures = {key_of(entry): entry for entry in read_log(self.folder / MEASURES)}
        answers: dict[Response, dict[str, Any]] = {}
        unled: dict[Response, dict[str, Any]] = {}
        for entry in read_log(self.folder / RESPONSES):
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

    def _read_scores(self) -> dict[str, dict[Response, float | None]]:
        scores: dict[str, dict[Response, float | None]] = {}
        for entry in read_log(self.folder / SCORES):
            key = key_of(entry)
            for name, value in entry["scores"].items():
                scores.setdefault(name, {})[key] = value
        return scores

    def score(self, scorers: Sequence[Scorer]) -> None:
        """Score what has no score yet, and store that.

        Raises:
            AmuletError: a scorer's model can't be used, or a score can't be stored.
        """
        with Log(self.folder / SCORES) as log:
            self.scores = self._read_scores()
            for scorer in scorers:
                known = self.scores.setdefault(scorer.name, {})
                missing = [key for key in self.answers if key not in known]
                for start in range(0, len(missing), BATCH):
                    keys = missing[start : start + BATCH]
                    values = scorer.scores([self._answered(key) for key in keys])
                    found = dict(zip(keys, values, strict=True))
                    log.append(
                        *(
                            {**asdict(key), "scores": {scorer.name: value}}
                            for key, value in found.items()
                        )
                    )
                    known.update(found)

    def _answered(self, key: Response) -> Answered:
        entry = self.answers[key]
        return Answered(
            question=entry["question"],
            system=self.settings["decoding"]["system"],
            preferences=tuple(entry["preferences"]),
            text=entry["text"],
            token_ids=tuple(entry["token_ids"]),
            finish_reason=entry["finish_reason"],
            margin=entry.get("margin"),
            fluency=entry.get("fluency"),
            falls_apart=entry.get("falls_apart"),
            recites=entry.get("recites"),
        )

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
