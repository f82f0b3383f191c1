"""Makes the answers of an experiment that aren't there yet, and stores each as it is made.

Knows nothing about scores or reports. All answers under one preference to one question start from
the same prompts, computed once, from an empty memory. So an answer doesn't depend on which others
were made before it in the same process: a run that was killed gives the answers of one that wasn't.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from amulet_local.common.errors import PromptTooLongError
from amulet_local.common.json_log import Log, read_log
from amulet_local.common.readable import duration
from amulet_local.common.results import Generation
from amulet_local.engine import Engine
from amulet_local.evaluation.experiment.contestants import Contestant
from amulet_local.evaluation.experiment.datasets import Item
from amulet_local.evaluation.experiment.plan import Experiment, PreferenceTarget, Response
from amulet_local.evaluation.quality import falls_apart, recites
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.sampling import SamplingParams

RESPONSES, MEASURES = "responses.jsonl", "measures.jsonl"
KEY_FIELDS = dict.fromkeys(("dataset", "index", "wish", "method"), str)
RESPONSE_FIELDS: dict[str, type | tuple[type, ...]] = {
    **KEY_FIELDS,
    "question": str,
    "preferences": list,
    "text": str,
    "token_ids": list,
    "finish_reason": str,
}
"""What lines of the logs have to have."""

ENOUGH = 5
"""Answers from which on the time for the rest is told."""

_PROMPT_ALONE = AmuletParams(guidance_scale=1.0)

Report = Callable[[str], None]
"""Called with how far it is."""


def key_of(entry: Mapping[str, Any]) -> Response:
    """Which answer a line of a log is about."""
    return Response(**{name: str(entry[name]) for name in ("dataset", "index", "wish", "method")})


class ExperimentRun:
    """Goes through an experiment on a loaded model."""

    def __init__(
        self, engine: Engine, experiment: Experiment, folder: Path, report: Report
    ) -> None:
        """Read what is there.

        Raises:
            FileAccessError: the folder's logs can't be read or written.
        """
        self._engine = engine
        self._experiment = experiment
        self._folder = folder
        self._report = report
        self._sampling = SamplingParams(max_tokens=experiment.max_tokens)
        self._responses: dict[Response, dict[str, Any]] = {}
        self._measured: set[Response] = set()
        self._countdown = _Countdown(experiment)

    def run(self) -> int:
        """Make what isn't there; returns how many answers were made.

        Raises:
            FileAccessError: an answer can't be stored.
            BackendError: llama.cpp failed.
            PromptTooLongError: a prompt and its answer don't fit the context.
        """
        n_before = 0
        with Log(self._folder / RESPONSES) as responses, Log(self._folder / MEASURES) as measures:
            lines = read_log(self._folder / RESPONSES, RESPONSE_FIELDS)
            self._responses = {key_of(line): line for line in lines}
            lines = read_log(self._folder / MEASURES, KEY_FIELDS)
            self._measured = {key_of(line) for line in lines}
            self._logs = (responses, measures)
            n_before = len(self._responses)
            self._countdown.start(self._responses)
            for item in self._experiment.items():
                for contestant in self._experiment.contestants:
                    if not contestant.method.needs_preference:
                        self._unled(item, contestant)
                for wish in self._experiment.wishes_of(item):
                    self._under(item, wish)
        return len(self._responses) - n_before

    def _unled(self, item: Item, contestant: Contestant) -> None:
        """The answer of a method that follows no preference."""
        key = self._experiment.response(item, contestant, None)
        if key in self._responses:
            return
        self._engine.forget()
        self._answer(key, item, contestant, None)

    def _under(self, item: Item, wish: PreferenceTarget) -> None:
        """All answers to a question under one preference, and the measures of the others."""
        experiment = self._experiment
        missing: list[tuple[Response, Contestant]] = []
        unmeasured: list[tuple[Response, Response]] = []
        for contestant in experiment.contestants:
            led = contestant.method.needs_preference
            if led and not experiment.plays(contestant, wish):
                continue
            key = experiment.response(item, contestant, wish)
            if led and key not in self._responses:
                missing.append((key, contestant))
            if not contestant.is_traced and key not in self._measured:
                source = key if led else experiment.response(item, contestant, None)
                unmeasured.append((key, source))
        if not (missing or unmeasured):
            return
        self._engine.forget()
        self._score(item, wish, (0,))  # computes the prompts
        for key, contestant in missing:
            self._answer(key, item, contestant, wish)
        for key, source in unmeasured:
            self._measure(key, item, wish, self._responses[source])

    def _answer(
        self, key: Response, item: Item, contestant: Contestant, wish: PreferenceTarget | None
    ) -> None:
        started = time.monotonic()
        try:
            generation = self._engine.generate(
                item.question,
                preference=None if wish is None else wish.parts,
                method=contestant.runs_as,
                amulet=contestant.amulet,
                sampling=self._sampling,
                system=self._experiment.system,
                placement=self._experiment.placement,
                trace=0 if contestant.is_traced else None,
            )
        except PromptTooLongError as error:
            raise PromptTooLongError(
                f"{item.dataset}, question {item.index}: {error}",
                n_prompt_tokens=error.n_prompt_tokens,
                n_ctx=error.n_ctx,
            ) from None
        seconds = time.monotonic() - started
        entry = {
            **asdict(key),
            "question": item.question,
            "preferences": [] if wish is None else [part.text for part in wish.parts],
            "criteria": list(item.criteria),
            "text": generation.text,
            "token_ids": list(generation.token_ids),
            "finish_reason": generation.finish_reason,
            "guidance_scale": generation.guidance_scale,
            "seconds": round(seconds, 3),
            **self._traced(generation, item, wish),
        }
        self._logs[0].append(entry)
        self._responses[key] = entry
        self._report(self._countdown.count(key, seconds))

    def _traced(
        self, generation: Generation, item: Item, wish: PreferenceTarget | None
    ) -> dict[str, Any]:
        """What a trace says about an answer; nothing without one."""
        if wish is None or generation.trace is None:
            return {}
        plain = [x.plain for x in generation.trace if x.plain is not None]
        rows = tuple(zip(*(x.preferences for x in generation.trace), strict=True))
        return self._figures(plain, rows, generation.token_ids, item, wish)

    def _measure(
        self, key: Response, item: Item, wish: PreferenceTarget, entry: Mapping[str, Any]
    ) -> None:
        """Score an answer that was made without both rows."""
        tokens = [int(token) for token in entry["token_ids"]]
        found: dict[str, Any] = {}
        if tokens:
            plain, rows = self._score(item, wish, tokens)
            found = self._figures(plain, rows, tokens, item, wish)
        self._logs[1].append({**asdict(key), **found})
        self._measured.add(key)

    def _score(
        self, item: Item, wish: PreferenceTarget, tokens: Sequence[int]
    ) -> tuple[Sequence[float], tuple[tuple[float, ...], ...]]:
        score = self._engine.score(
            item.question,
            tokens,
            preference=wish.parts,
            amulet=_PROMPT_ALONE,
            system=self._experiment.system,
            placement=self._experiment.placement,
        )
        return score.plain, score.preferences

    def _figures(
        self,
        plain: Sequence[float],
        rows: Sequence[Sequence[float]],
        tokens: Sequence[int],
        item: Item,
        wish: PreferenceTarget,
    ) -> dict[str, Any]:
        return figures(self._engine.model.vocabulary, plain, rows, tokens, item, wish)


def figures(
    vocabulary: Vocabulary,
    plain: Sequence[float],
    rows: Sequence[Sequence[float]],
    tokens: Sequence[int],
    item: Item,
    wish: PreferenceTarget,
) -> dict[str, Any]:
    """Margin, fluency and signs of an answer, from its log-probabilities.

    Args:
        plain: under the plain prompt.
        rows: under each of the wish's preferences; the margin is the mean over them.
    """
    fluency = fmean(plain)
    mean_row = [fmean(values) for values in zip(*rows, strict=True)]

    def ids(text: str) -> Sequence[int]:
        return vocabulary.tokenize(text, add_special=False, parse_special=False)

    asked = ids(item.question)
    return {
        "margin": fmean(mean_row) - fluency,
        "fluency": fluency,
        "falls_apart": falls_apart(mean_row),
        "recites": any(recites(tokens, ids(" " + part.text), asked) for part in wish.parts),
    }


class _Countdown:
    """Says how far it is and how long the rest will take, by what each method took so far."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._left: dict[str, int] = defaultdict(int)
        self._n_all = self._n_done = 0

    def start(self, done: Iterable[Response]) -> None:
        done = set(done)
        for key in self._experiment.responses():
            self._n_all += 1
            if key in done:
                self._n_done += 1
            else:
                self._left[key.method] += 1

    def count(self, key: Response, seconds: float) -> str:
        self._n_done += 1
        self._left[key.method] -= 1
        recent = self._seconds[key.method]
        recent.append(seconds)
        del recent[:-50]
        text = f"{self._n_done} of {self._n_all} answers"
        known = {name: fmean(values) for name, values in self._seconds.items() if values}
        if self._n_done < self._n_all and sum(map(len, self._seconds.values())) >= ENOUGH:
            usual = fmean(known.values())
            left = sum(n * known.get(name, usual) for name, n in self._left.items())
            text += f", {duration(left)} left"
        return text
