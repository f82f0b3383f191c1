"""A job on the scripted engine; as a program (`python -m tests.batch.scripted_job IN OUT`) it can
be killed. Its answers are short: what is shown is which lines get records, and which records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amulet_local import Engine, SamplingParams
from amulet_local.batch.entries import Form, JobModel, settings_digest
from amulet_local.batch.input_lines import InputLines
from amulet_local.batch.job import LineJob
from amulet_local.batch.line_answers import EngineAnswers
from amulet_local.batch.line_fields import JobSettings
from amulet_local.batch.written_records import WrittenRecords
from amulet_local.common.json_log import Log
from amulet_local.params.choices import Scheduler
from amulet_local.server.model_names import ModelNames
from tests.scripted import scripted_engine

N_TOKENS = 2


def job_model(engine: Engine, form: Form | None = None, **settings: Any) -> JobModel:
    """What lines are answered with here."""
    sampling = SamplingParams(max_tokens=N_TOKENS, ignore_eos=True)
    return JobModel(
        engine=engine,
        names=ModelNames(["scripted"]),
        settings=JobSettings(**{"sampling": sampling, **settings}),
        form=form,
    )


def run_job(
    model: JobModel,
    source: Path,
    output: Path,
    *,
    at_once: int = 4,
    scheduler: Scheduler = "interleaved",
    before_write: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> LineJob:
    """Go through the lines of a file once."""
    with InputLines([str(source)]) as lines, Log(output, sync_seconds=1.0) as log:
        settings = settings_digest(model)
        written = WrittenRecords(output, settings)

        def write(record: dict[str, Any]) -> None:
            if before_write is not None:
                before_write(record)
            log.append(record)

        job = LineJob(lines, write, settings=settings, written=written, **options)
        job.run(EngineAnswers(model, at_once=at_once, scheduler=scheduler))
    return job


if __name__ == "__main__":
    with scripted_engine() as scripted:
        run_job(job_model(scripted), Path(sys.argv[1]), Path(sys.argv[2]))
