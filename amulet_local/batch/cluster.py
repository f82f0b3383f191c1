"""A job of lines on a Ray cluster, made ready on the machine that reads them and writes records.

This machine loads no model: what it sends is where the model is from, its digest, and this user's
settings. Knows nothing about terminals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from amulet_local.batch.crew import CrewAnswers
from amulet_local.batch.entries import Form, digest_of_settings
from amulet_local.batch.line_fields import JobSettings
from amulet_local.batch.line_worker import WorkerJob
from amulet_local.batch.model_source import source_of
from amulet_local.batch.ray_workers import RayWorkers, connect, smallest_node
from amulet_local.common.version import package_version
from amulet_local.loading.model_store import names_of
from amulet_local.params.runtime import RuntimeParams
from amulet_local.preferences.user_settings import read_bytes, settings_of_model, settings_path

WIDEST_LINES = 64
"""Lines that a worker has where it finds out itself how many it answers at once."""


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """What is asked of a cluster.

    Attributes:
        model: its name; see `source_of`.
        runtime: how each worker loads it; `n_threads` are its processors, those of the smallest
            node if None.
        settings, form: see JobModel.
        at_once: answers at once of a worker; None lets each measure it.
        n_workers: None is as many as the cluster has room for.
    """

    model: str
    runtime: RuntimeParams
    settings: JobSettings
    form: Form | None = None
    at_once: int | None = None
    n_workers: int | None = None


@contextmanager
def answers_on_ray(
    job: ClusterJob, address: str, *, warn: Callable[[str], None]
) -> Iterator[tuple[str, CrewAnswers]]:
    """The digits of the job's settings, and what answers its lines; the workers end in the end.

    Args:
        address: see `connect`.
        warn: takes what the user should know.

    Raises:
        MissingExtraError: the extra `ray` isn't installed.
        ClusterError: the cluster can't be reached.
        As `source_of`.
    """
    source = source_of(job.model)
    ray = connect(address)
    n_cpus = job.runtime.n_threads or smallest_node(ray)
    is_on_gpu = job.runtime.n_gpu_layers not in ("auto", 0)
    runtime = job.runtime.replace(
        n_threads=n_cpus, n_threads_batch=job.runtime.n_threads_batch or n_cpus
    )
    names = names_of(job.model, source.path)
    own_settings = settings_of_model(names)
    told = WorkerJob(
        version=package_version(),
        source=source,
        runtime=runtime,
        settings=job.settings,
        form=job.form,
        names=names,
        own_settings=own_settings.replace(warnings=()),
        settings_file=read_bytes(settings_path()),
        at_once=job.at_once,
        scheduler="interleaved" if runtime.reproducible else "batched",
    )
    digits = digest_of_settings(
        job.settings,
        job.runtime,
        identity=source.identity,
        own_strength=own_settings.strength,
    )
    for warning in own_settings.warnings:
        warn(warning)
    with RayWorkers(ray, told, n_cpus=n_cpus, n_gpus=float(is_on_gpu)) as workers:
        yield (
            digits,
            CrewAnswers(
                workers,
                n_workers=job.n_workers,
                n_lines_each=WIDEST_LINES if job.at_once is None else 2 * job.at_once,
                warn=warn,
            ),
        )
