"""A worker: an engine, a thread in which it answers lines, and what the crew asks of it.

Ray's actors are such workers, one in a process. Knows nothing about Ray.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from amulet_local.batch.entries import Form, JobModel, settings_digest
from amulet_local.batch.line_answers import EngineAnswers, KeyedLine, LineOutcome
from amulet_local.batch.line_fields import JobSettings
from amulet_local.batch.model_source import ModelSource, path_here, take_over
from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError, FileAccessError
from amulet_local.common.locking import new_condition
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.common.version import package_version
from amulet_local.engine import Engine
from amulet_local.loading.engine_parts import load_parts
from amulet_local.params.choices import Scheduler
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.user_settings import UserModelSettings, settings_path
from amulet_local.server.model_names import ModelNames

REPLY_SECONDS = 1.0
"""A reply comes after this time, whether a line is done or not."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What every worker of a job is told.

    Attributes:
        version: of this package, which has to be the worker's as well.
        source: the model.
        runtime: how it is loaded; threads are those of a worker.
        settings, form: see JobModel.
        names: what the model is called.
        own_settings: what the user keeps for the model.
        settings_file: the user's, with the preferences that have names there; None without one.
        at_once: answers at once; None measures it on the worker's machine.
        scheduler: as for `Engine.stream_all`.
    """

    version: str
    source: ModelSource
    runtime: RuntimeParams
    settings: JobSettings
    form: Form | None
    names: tuple[str, ...]
    own_settings: UserModelSettings
    settings_file: bytes | None
    at_once: int | None
    scheduler: Scheduler


@dataclass(frozen=True, kw_only=True)
class Started:
    """What has come of loading the model.

    Attributes:
        where: the machine's name.
        lacks_model: whether it has to be handed over first.
        failed: why it can't be used, empty if it can.
        warnings: what the user should know.
    """

    where: str
    lacks_model: bool = False
    failed: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What has come since the last reply.

    Attributes:
        outcomes: of lines.
        n_running_tokens: of the answers under way.
        n_tokens: made since the beginning.
        failed: why the worker can't go on, empty if it can.
    """

    outcomes: tuple[LineOutcome, ...]
    n_running_tokens: int
    n_tokens: int
    failed: str = ""


class LineWorker:
    """Answers lines with an engine of its own. Called from one thread."""

    def __init__(self, job: WorkerJob) -> None:
        """Nothing is loaded yet."""
        self._job = job
        self._lock, self._changed = new_condition()
        self._lines: deque[KeyedLine] = deque()
        self._outcomes: list[LineOutcome] = []
        self._ends = self._at_work = False
        self._n_under_way = self._n_running_tokens = self._n_done_tokens = 0
        self._failed = ""
        self._model: JobModel | None = None

    def start(self) -> Started:
        """Find the model and load it."""
        if package_version() != self._job.version:
            return self._unusable(
                f"it has amulet-local {package_version()}, and the job has {self._job.version}; "
                f"install the same one everywhere"
            )
        try:
            path = path_here(self._job.source)
            if path is None:
                return Started(where=platform.node(), lacks_model=True)
            return self._load(path)
        except AmuletError as error:
            return self._unusable(str(error))

    def start_at(self, path: Path) -> Started:
        """The same with a file that is here."""
        try:
            return self._load(path)
        except AmuletError as error:
            return Started(where=platform.node(), failed=str(error))

    @property
    def settings_digits(self) -> str:
        """Of all that an answer depends on but the line; once it has started."""
        assert self._model is not None
        return settings_digest(self._model)

    def close(self) -> None:
        """Free the model; lines that are under way are lost."""
        if self._model is not None:
            self._model.engine.close()

    def start_with(self, n_parts: int, part: Callable[[int], bytes]) -> Started:
        """The same with a model that is handed over.

        Args:
            n_parts, part: see `take_over`.
        """
        try:
            return self._load(take_over(self._job.source, n_parts, part))
        except AmuletError as error:
            return self._unusable(str(error))

    def exchange(self, lines: Sequence[KeyedLine], *, ends: bool, gather_seconds: float) -> Reply:
        """Take lines, and give what has come: see Workers.exchange."""
        with self._lock:
            self._lines.extend(lines)
            self._n_under_way += len(lines)
            self._ends = ends
            if not self._at_work and self._n_under_way and not self._failed:
                self._at_work = True
                threading.Thread(target=self._work, name="amulet-worker", daemon=True).start()
            self._changed.wait_for(lambda: self._outcomes or self._failed, REPLY_SECONDS)
            has_others = bool(self._outcomes) and self._n_under_way > 0
        if has_others:
            time.sleep(gather_seconds)
        with self._lock:
            outcomes, self._outcomes = tuple(self._outcomes), []
            return Reply(
                outcomes=outcomes,
                n_running_tokens=self._n_running_tokens,
                n_tokens=self._n_done_tokens + self._n_running_tokens,
                failed=self._failed,
            )

    def _load(self, path: Path) -> Started:
        job = self._job
        if job.settings_file is not None:
            use_settings(job.settings_file)
        parts = replace(load_parts(path, job.runtime), own_settings=job.own_settings)
        engine = Engine.from_parts(parts)
        self._model = JobModel(
            engine=engine, names=ModelNames(job.names), settings=job.settings, form=job.form
        )
        return Started(where=platform.node(), warnings=tuple(engine.warnings))

    def _unusable(self, reason: str) -> Started:
        return Started(where=platform.node(), failed=f"on {platform.node()}: {reason}")

    def _work(self) -> None:
        assert self._model is not None
        at_once = self._job.at_once
        answers = EngineAnswers(
            self._model,
            at_once=self._model.engine.suitable_width if at_once is None else at_once,
            scheduler=self._job.scheduler,
        )
        failed = ""
        try:
            answers.run(self._waiting(), self._end, self._came)
        except Exception as error:  # whatever it is, the job goes on elsewhere
            failed = f"{type(error).__name__}: {error}"
        with self._lock:
            self._at_work, self._failed = False, failed
            self._changed.notify_all()

    def _waiting(self) -> Iterator[KeyedLine | None]:
        while True:
            with self._lock:
                if not self._lines and self._ends:
                    return
                line = self._lines.popleft() if self._lines else None
            yield line

    def _end(self, outcome: LineOutcome) -> None:
        with self._lock:
            self._outcomes.append(outcome)
            self._n_under_way -= 1
            self._n_done_tokens += outcome.completion_tokens
            self._changed.notify_all()

    def _came(self, n_running_tokens: int) -> None:
        with self._lock:
            self._n_running_tokens = n_running_tokens


def use_settings(content: bytes) -> None:
    """Let this process have the user's settings file of another machine.

    Raises:
        FileAccessError: it can't be written.
    """
    wanted = cache_folder() / "settings" / hashlib.sha256(content).hexdigest()[:16]
    folder = private_folder(wanted)
    if folder is None:
        raise FileAccessError(f"can't write into {wanted}")
    os.environ["AMULET_CONFIG"] = str(folder)
    private_files.write(settings_path(), content)
