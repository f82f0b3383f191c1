"""Measures what each strength of a sweep does to answers of the user's own model.

All answers are made in one context, many at once, and question by question, so that what is there
after an interrupt has every strength in it. Nothing is kept on disk. Knows nothing about what is
recommended or shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from amulet_local.answering.ask import AskMessages
from amulet_local.common.closing import Closing
from amulet_local.common.errors import AmuletError
from amulet_local.common.readable import duration
from amulet_local.common.results import Generation
from amulet_local.engine import Engine
from amulet_local.evaluation.following import (
    CheckedAnswer,
    Following,
    PreferenceCheck,
    following,
)
from amulet_local.evaluation.lever import Lever, lever_of, steps_along
from amulet_local.evaluation.pairs import judged, pair_ask
from amulet_local.evaluation.quality import Means, Quality, means
from amulet_local.evaluation.recommendation import Preferred
from amulet_local.evaluation.sweep import Setting
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Worker, run_together
from amulet_local.loading.engine_parts import EngineParts, load_parts
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.preference import Preference
from amulet_local.prompts.prompter import Prompter
from amulet_local.serving.together import Outcome
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS

_STEP = 64
"""The context's length is a multiple of so many tokens; that of the loaded model, before the
prompts are known."""

LEVER_QUESTIONS = 4
"""Questions per preference along whose answers the lever is measured."""

MIN_SHARE = 0.02
"""Share of the work from which on the time for the rest can be told."""

_PLACEMENT = PRESETS[DEFAULT_PRESET].placement

Result = TypeVar("Result")
Report = Callable[[str], None]
"""Called with what is going on."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What is asked.

    Attributes:
        settings: what is tried; the first is the preference prompt.
        preferences: each by itself, of weight 1.
        questions: each for every preference and setting.
        max_tokens: most tokens of an answer.
        checks: of every preference, by its label; empty if it isn't to be checked who follows.
    """

    settings: tuple[Setting, ...]
    preferences: tuple[Preference, ...]
    questions: tuple[str, ...]
    max_tokens: int
    checks: Mapping[str, PreferenceCheck] = field(default_factory=dict)

    @property
    def n_answers(self) -> int:
        """Answers in all."""
        return len(self.settings) * self.n_per_setting

    @property
    def n_per_setting(self) -> int:
        """Answers of each setting."""
        return len(self.preferences) * len(self.questions)


@dataclass(kw_only=True)
class Measurement:
    """What was found so far.

    Attributes:
        plan: what was asked.
        answers: judgements by the names of setting and preference.
        made: the answers by the name of the setting.
        samples: the answer to the first question under the first preference, by setting.
        noise: standard deviation of the rounding noise in l1 - l0, in logits.
        lever: what there is to strengthen.
        preferred: what a judge said, if one was asked.
    """

    plan: SweepPlan
    answers: dict[tuple[str, str], list[Quality]] = field(default_factory=dict)
    made: dict[str, list[CheckedAnswer]] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    noise: float | None = None
    lever: Lever | None = None
    preferred: Preferred | None = None

    @property
    def n_answers(self) -> int:
        """Answers so far."""
        return sum(map(len, self.answers.values()))

    @property
    def is_complete(self) -> bool:
        """Whether everything is there."""
        return self.n_answers == self.plan.n_answers and self.lever is not None

    def figures(self, preference: str | None = None) -> dict[str, Means]:
        """Figures of each setting that has answers, by its name.

        Args:
            preference: the label of one; all together if None.
        """
        found = {}
        for setting in self.plan.settings:
            of_setting = [
                item
                for (name, label), items in self.answers.items()
                if name == setting.name and preference in (None, label)
                for item in items
            ]
            if of_setting:
                found[setting.name] = means(of_setting)
        return found

    def following(self) -> dict[str, Following]:
        """How many answers of each setting follow, by its name; empty without checks."""
        if not self.plan.checks:
            return {}
        return {name: following(answers) for name, answers in self.made.items()}


@dataclass(frozen=True, kw_only=True)
class _SweepTask:
    setting: Setting
    preference: Preference
    question: str
    ask: AskMessages


class Stand(Closing):
    """A loaded model with contexts for a plan. Use as a context manager.

    Native calls run in a thread of their own: a Ctrl-C ends them at once and leaves the
    measurement as it is.
    """

    def __init__(
        self,
        path: Path,
        runtime: RuntimeParams,
        plan: SweepPlan,
        *,
        load_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load the model.

        Args:
            runtime: threads, layers on the GPU, cache types and the like; the context's size
                follows from the plan.

        Raises:
            ModelNotFoundError, ModelFileError, UnsupportedModelError: the model can't be used.
            ChatTemplateError: it has none, or one that can't render the questions.
            ContextCreationError: no memory.
        """
        self._plan = plan
        self._worker = Worker("amulet-tune")
        self._stop_flag = StopFlag()
        self._tasks = list(self._all_tasks())
        try:
            self._parts = self._load(path, runtime, load_progress)
            self._engine = Engine.from_parts(self._parts)
        except BaseException:
            self._worker.close()
            raise

    def measure(self, result: Measurement, report: Report) -> None:
        """Measure everything in the plan, and note it in `result` as it comes.

        Raises:
            BackendError: llama.cpp failed.
        """
        report("the model's rounding noise")
        parts = self._parts
        result.noise = self._call(
            partial(parts.measure_noise, parts.model, parts.settings, self._stop_flag)
        )
        texts = self._answer(result, report)
        report("what there is to strengthen")
        result.lever = self._call(partial(self._lever, texts))

    def close(self) -> None:
        """Free the model."""
        self._worker.close()
        self._engine.close()

    def _call(self, task: Callable[[], Result]) -> Result:
        result: Result = run_together([self._worker], [task], self._stop_flag.set)[0]
        return result

    def _load(
        self, path: Path, runtime: RuntimeParams, progress: Callable[[float], None] | None
    ) -> EngineParts:
        """The model, with contexts that hold the longest prompt and an answer."""
        parts = load_parts(path, runtime.replace(n_ctx=_STEP), progress=progress)
        try:
            prompter = Prompter(parts.model, runtime.chat_template, runtime.template_arguments)
            longest = max(
                len(prompt)
                for question in self._plan.questions
                for preference in self._plan.preferences
                for prompt in prompter.prompts(
                    question, ["", preference.instruction], system=None, placement=_PLACEMENT
                ).rows
            )
            return parts.resized(-(-(longest + self._plan.max_tokens) // _STEP) * _STEP)
        except BaseException:
            parts.close()
            raise

    def _all_tasks(self) -> Iterator[_SweepTask]:
        for question in self._plan.questions:
            for preference in self._plan.preferences:
                for setting in self._plan.settings:
                    yield _SweepTask(
                        setting=setting,
                        preference=preference,
                        question=question,
                        ask=pair_ask(
                            preference,
                            question,
                            amulet=setting.amulet,
                            placement=_PLACEMENT,
                            max_tokens=self._plan.max_tokens,
                        ),
                    )

    def _answer(
        self, result: Measurement, report: Report
    ) -> list[tuple[_SweepTask, tuple[int, ...]]]:
        """Make and judge all answers; returns texts to measure the lever along."""
        clock = RemainingTime(self._plan)
        texts: list[tuple[_SweepTask, tuple[int, ...]]] = []
        first = self._plan.settings[0]
        lever_questions = self._plan.questions[:LEVER_QUESTIONS]
        vocabulary = self._engine.model.vocabulary

        def note(number: int, outcome: Outcome) -> None:
            if isinstance(outcome, AmuletError):
                raise outcome
            task = self._tasks[number]
            clock.count(outcome)
            if task.setting is first and task.question in lever_questions:
                texts.append((task, outcome.token_ids))
            judgement = judged(outcome, vocabulary, task.preference, task.question)
            key = (task.setting.name, task.preference.label)
            result.answers.setdefault(key, []).append(judgement)
            plan = self._plan
            if (task.question, task.preference) == (plan.questions[0], plan.preferences[0]):
                result.samples[task.setting.name] = outcome.text
            check = plan.checks.get(task.preference.label)
            cut = outcome.finish_reason != "stop"
            answer = CheckedAnswer(
                question=task.question,
                preference=task.preference.label,
                text=outcome.text,
                follows=None
                if check is None
                else check.follows(task.question, outcome.text, cut=cut),
                is_broken=judgement.is_broken,
            )
            result.made.setdefault(task.setting.name, []).append(answer)

        self._engine.answer_all(
            [task.ask for task in self._tasks],
            answered=note,
            progress=lambda n_done, n_under_way: report(clock.text(n_done, n_under_way)),
        )
        return texts

    def _lever(self, texts: Sequence[tuple[_SweepTask, tuple[int, ...]]]) -> Lever:
        parts = self._parts
        rows = parts.new_rows(parts.model, parts.settings, self._stop_flag, parts.plan)
        try:
            return lever_of(
                step
                for task, text in texts
                for step in steps_along(rows, self._engine.request(**task.ask).prompts, text)
            )
        finally:
            rows.close()


class RemainingTime:
    """Says how far the answers are and how long the rest will take."""

    def __init__(self, plan: SweepPlan, now: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._now = now
        self._started = now()
        self._n_tokens = 0
        self._n_counted = 0

    def count(self, generation: Generation) -> None:
        """Note the length of a finished answer."""
        self._n_tokens += len(generation.token_ids)
        self._n_counted += 1

    def text(self, n_done: int, n_under_way: int) -> str:
        """How far it is.

        Args:
            n_done: answers.
            n_under_way: tokens of the answers that are being made.
        """
        n_all = self._plan.n_answers
        length = self._n_tokens / self._n_counted if self._n_counted else self._plan.max_tokens
        done = self._n_tokens + n_under_way
        text = f"{n_done} of {n_all} answers"
        share = done / (length * n_all)
        if MIN_SHARE <= share < 1 and n_done < n_all:
            left = (self._now() - self._started) * (1 / share - 1)
            text += f", {duration(left)} left"
        return text
