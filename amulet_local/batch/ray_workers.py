"""Workers on a Ray cluster: an actor each, with an engine of its own.

Knows nothing about lines. Ray is imported when the cluster is asked for.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from amulet_local.batch.child_workers import WorkerApart
from amulet_local.batch.line_answers import KeyedLine
from amulet_local.batch.line_worker import Reply, Started, WorkerJob
from amulet_local.batch.model_source import parts_of
from amulet_local.batch.workers import Came, Event, Lost, Ready
from amulet_local.common.closing import Closing
from amulet_local.common.errors import ClusterError
from amulet_local.common.extras import missing_extra

LOCAL = "local"

_NODES_SECONDS = 2.0
"""How long it is known which nodes there are."""


def connect(address: str) -> Any:
    """Ray, connected to a cluster; one that this process is connected to already stays.

    Args:
        address: HOST:PORT, ray://HOST:PORT, "auto" for the one that this machine belongs to, or
            "local" for a new one of this machine alone.

    Raises:
        MissingExtraError: the extra `ray` isn't installed.
        ClusterError: there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's own coming default
    try:
        import ray
    except ImportError:
        raise missing_extra("a cluster needs Ray on every machine of it", "ray") from None
    if ray.is_initialized():
        return ray
    begin: Any = ray.init
    own = {"include_dashboard": False} if address == LOCAL else {}
    try:
        begin(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises many kinds, bare ones among them
        reason = " ".join(str(error).split())[:200]
        raise ClusterError(f"there is no Ray at {address!r}: {reason}") from None
    return ray


def smallest_node(ray: Any) -> int:
    """Processors of the node that has fewest of those that have some."""
    found = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return min((n for n in found if n), default=1)


class RayWorkers(Closing):
    """Workers on a cluster: see Workers. Closing it ends them all."""

    def __init__(self, ray: Any, job: WorkerJob, *, n_cpus: int, n_gpus: float) -> None:
        """None is started yet.

        Args:
            ray: connected.
            n_cpus, n_gpus: that a worker has for itself.
        """
        self._ray, self._n_cpus, self._n_gpus = ray, n_cpus, n_gpus
        self._job, self._job_there = job, ray.put(job)
        self._actor_class = ray.remote(_Actor)
        self._numbers = itertools.count()
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}
        self._parts: list[Any] | None = None
        self._room, self._room_until = 0, 0.0

    def now(self) -> float:
        """See Workers."""
        return time.monotonic()

    def room(self) -> int:
        """As many as the nodes have processors for."""
        if self.now() >= self._room_until:
            self._room = sum(map(self._room_on, self._ray.nodes()))
            self._room_until = self.now() + _NODES_SECONDS
        return self._room

    def start(self) -> int:
        """See Workers."""
        number = next(self._numbers)
        actor = self._actor_class.options(
            num_cpus=self._n_cpus,
            num_gpus=self._n_gpus,
            scheduling_strategy="SPREAD",
        ).remote(self._job_there)
        self._actors[number] = actor
        self._calls[actor.start.remote()] = number
        return number

    def exchange(
        self, worker: int, lines: Sequence[KeyedLine], *, ends: bool, gather_seconds: float
    ) -> None:
        """See Workers."""
        call = self._actors[worker].exchange.remote(
            list(lines), ends=ends, gather_seconds=gather_seconds
        )
        self._calls[call] = worker

    def wait(self, seconds: float) -> Sequence[Event]:
        """See Workers."""
        if not self._calls:
            time.sleep(seconds)
            return []
        calls = list(self._calls)
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return [event for call in ready for event in self._heard(call)]

    def stop(self, worker: int) -> None:
        """See Workers."""
        for call in [call for call, number in self._calls.items() if number == worker]:
            del self._calls[call]
        with suppress(Exception):  # it may be dead already
            self._ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._actors):
            self.stop(worker)

    def _room_on(self, node: dict[str, Any]) -> int:
        if not node["Alive"]:
            return 0
        has = node["Resources"]
        room = int(has.get("CPU", 0) // self._n_cpus)
        return min(room, int(has.get("GPU", 0) / self._n_gpus)) if self._n_gpus else room

    def _heard(self, call: Any) -> Iterator[Event]:
        worker = self._calls.pop(call)
        try:
            reply = self._ray.get(call)
        except Exception as error:  # Ray's own, and whatever the actor raised
            reason = _reason(error)
        else:
            reason = reply.failed
            if isinstance(reply, Started) and reply.lacks_model:
                self._hand_model_to(worker)
                return
            if isinstance(reply, Started) and not reason:
                yield Ready(worker=worker, where=reply.where, warnings=reply.warnings)
            if isinstance(reply, Reply):
                yield Came(
                    worker=worker,
                    outcomes=reply.outcomes,
                    n_running_tokens=reply.n_running_tokens,
                    n_tokens=reply.n_tokens,
                )
        if reason:
            self.stop(worker)
            yield Lost(worker=worker, reason=reason)

    def _hand_model_to(self, worker: int) -> None:
        if self._parts is None:
            self._parts = [self._ray.put(part) for part in parts_of(self._job.source)]
        self._calls[self._actors[worker].start_with.remote(self._parts)] = worker


class _Actor:
    """A WorkerApart as an actor."""

    def __init__(self, job: WorkerJob) -> None:
        self._worker = WorkerApart(job)

    def start(self) -> Started:
        return self._worker.start()

    def start_with(self, parts: list[Any]) -> Started:
        import ray

        return self._worker.start_with(len(parts), lambda number: ray.get(parts[number]))

    def exchange(self, lines: list[KeyedLine], *, ends: bool, gather_seconds: float) -> Reply:
        return self._worker.exchange(lines, ends=ends, gather_seconds=gather_seconds)


def _reason(error: Exception) -> str:
    """The telling line of one of Ray's errors, which have many."""
    cause = getattr(error, "cause", None)
    text = str(cause) if isinstance(cause, Exception) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    name = type(cause or error).__name__
    return f"{name}: {lines[0]:.300}" if lines else name
