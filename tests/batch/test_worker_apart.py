"""What llama.cpp dies of in the worker of a cluster is said to who asks it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from amulet_local.batch.child_workers import WorkerApart
from amulet_local.batch.input_lines import InputLine
from amulet_local.batch.line_answers import KeyedLine, LineOutcome
from amulet_local.batch.line_fields import JobSettings
from amulet_local.batch.line_worker import WorkerJob
from amulet_local.batch.model_source import ModelSource
from amulet_local.batch.ray_data import RayAnswers
from amulet_local.common.errors import ModelFileError
from amulet_local.common.version import package_version
from amulet_local.loading.approved_files import approve
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.user_settings import settings_of_model

pytestmark = pytest.mark.lengthy

LATE = Path(__file__).parents[1] / "late_death"
SAMPLING = SamplingParams(max_tokens=8, ignore_eos=True)


@pytest.fixture
def strange(tiny_path: Path, tmp_path: Path) -> Path:
    """A model that nobody has approved."""
    return Path(shutil.copy(tiny_path, tmp_path / "strange.gguf"))


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(LATE))
    monkeypatch.setenv("DIE_AT_DECODE", "4")


def worker(path: Path) -> WorkerApart:
    job = WorkerJob(
        version=package_version(),
        source=ModelSource(name=str(path), files=(), folder=path.parent, on_hub=None),
        runtime=RuntimeParams(n_ctx=256),
        settings=JobSettings(sampling=SAMPLING),
        form=None,
        names=("strange",),
        own_settings=settings_of_model(("strange",)),
        settings_file=None,
        at_once=2,
        scheduler="batched",
    )
    return WorkerApart(job)


def lines(*questions: str) -> list[KeyedLine]:
    return [
        KeyedLine(
            turn=n,
            key=f"{n:032}",
            line=InputLine(
                place=(0, n),
                file="",
                number=n + 1,
                data=json.dumps({"prompt": question}).encode(),
                share=None,
            ),
        )
        for n, question in enumerate(questions)
    ]


def answered(apart: WorkerApart, asked: list[KeyedLine]) -> list[LineOutcome]:
    outcomes: list[LineOutcome] = []
    while len(outcomes) < len(asked):
        reply = apart.exchange([] if outcomes else asked, ends=True, gather_seconds=0)
        assert not reply.failed
        outcomes += reply.outcomes
    return outcomes


def test_it_answers_as_a_worker_with_an_approved_file(strange: Path) -> None:
    asked = lines("Name a river.", "Why is it dark?")
    records = []
    for _ in range(2):
        apart = worker(strange)
        try:
            assert not apart.start_at(strange).failed
            outcomes = answered(apart, asked)
        finally:
            apart.close()
        records.append(sorted(outcome.turn for outcome in outcomes))
        assert not any(outcome.error for outcome in outcomes)
        approve(strange)  # the second one has it in this process
    assert records == [[0, 1], [0, 1]]


@pytest.mark.usefixtures("deadly")
def test_the_reason_of_a_death_is_the_worker_s_last_word(strange: Path) -> None:
    apart = worker(strange)
    try:
        assert not apart.start_at(strange).failed
        failed = apart.exchange(lines("Name a river."), ends=True, gather_seconds=0).failed
        while not failed:  # it is asked again until something has come
            failed = apart.exchange([], ends=True, gather_seconds=0).failed
    finally:
        apart.close()
    assert "strange.gguf can't be used" in failed
    assert "GGML_ASSERT" in failed


@pytest.mark.usefixtures("deadly")
def test_rows_of_a_dataset_end_with_the_reason(strange: Path) -> None:
    rows = RayAnswers(str(strange), n_ctx=256, isolate="always", at_once=2, sampling=SAMPLING)
    with pytest.raises(ModelFileError, match="GGML_ASSERT"):
        rows({"prompt": ["Name a river.", "Why is it dark?"]})
