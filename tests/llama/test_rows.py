"""Rows: the schedules agree, memory is reused where it fits, and rows never drift apart."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local.common.errors import DecodeError
from amulet_local.llama.context import Context, ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.llama.model import Model
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag, StoppedError

SETTINGS = ContextSettings(
    n_ctx=512,
    n_batch=64,
    n_outputs=16,
    cache_type_k="f32",
    cache_type_v="f32",
    flash_attention="off",
)
SCHEDULES: list[Schedule] = ["parallel", "serial", "batched"]


def prompt(seed: int, length: int) -> list[int]:
    return [random.Random(seed).randrange(100, 8_000) for _ in range(length)]


SYSTEM, QUESTION = prompt(1, 90), prompt(2, 20)
PROMPTS = [SYSTEM + QUESTION, SYSTEM + prompt(3, 9) + QUESTION, SYSTEM + prompt(4, 70) + QUESTION]
CONTINUATION = prompt(5, 12)


@pytest.fixture(scope="module")
def f32_model(tiny_f32_path: Path) -> Iterator[Model]:
    model = Model(tiny_f32_path)
    yield model
    model.close()


@pytest.fixture(scope="module")
def quantised_model(tiny_path: Path) -> Iterator[Model]:
    model = Model(tiny_path)
    yield model
    model.close()


class Rows(RowSet):
    """Rows that free themselves at the end of a `with`."""

    def __init__(
        self, model: Model, schedule: Schedule, *, reuse: bool = True, **plan: Any
    ) -> None:
        self.stop = StopFlag()
        super().__init__(
            model,
            SETTINGS,
            self.stop,
            ExecutionPlan(schedule=schedule, n_threads=2, n_threads_batch=2, reuse=reuse, **plan),
        )

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def all_logits(self) -> np.ndarray:
        return np.stack([self.logits(row) for row in range(self.n_rows)])

    def run(self, prompts: list[list[int]], continuation: list[int]) -> np.ndarray:
        """Logits of every row after the prompts and after each further token."""
        self.prefill(prompts)
        result = [self.all_logits()]
        for token in continuation:
            self.step(token)
            result.append(self.all_logits())
        return np.stack(result)


@pytest.fixture(scope="module")
def reference(f32_model: Model) -> np.ndarray:
    """Each row by itself in a fresh context."""
    columns = []
    for tokens in PROMPTS:
        with Rows(f32_model, "serial", reuse=False) as rows:
            columns.append(rows.run([tokens], CONTINUATION))
    return np.concatenate(columns, axis=1)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("reuse", [True, False])
def test_every_schedule_computes_each_row_as_if_it_were_alone(
    f32_model: Model, reference: np.ndarray, schedule: Schedule, reuse: bool
) -> None:
    with Rows(f32_model, schedule, reuse=reuse) as rows:
        np.testing.assert_allclose(rows.run(PROMPTS, CONTINUATION), reference, atol=2e-3)


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("threads_per_row", [None, 2])
def test_serial_and_parallel_are_equal_to_the_bit(
    quantised_model: Model, reuse: bool, threads_per_row: int | None
) -> None:
    with (
        Rows(quantised_model, "serial", reuse=reuse) as serial,
        Rows(quantised_model, "parallel", reuse=reuse, threads_per_row=threads_per_row) as parallel,
    ):
        again = [[PROMPTS[2]], PROMPTS[:2]] if reuse else []
        for prompts in (PROMPTS[:2], PROMPTS, *again):
            assert np.array_equal(
                serial.run(prompts, CONTINUATION), parallel.run(prompts, CONTINUATION)
            )


@pytest.mark.parametrize(("schedule", "n_rows"), [("serial", 1), ("serial", 2), ("batched", 2)])
def test_fewer_threads_on_a_busy_machine_change_nothing(
    quantised_model: Model, schedule: Schedule, n_rows: int
) -> None:
    used: list[int] = []
    with (
        Rows(quantised_model, schedule) as fixed,
        Rows(quantised_model, schedule, paced=True) as paced,
    ):
        contexts = []
        for rows in (fixed, paced):
            rows.reserve(n_rows)
            contexts.append(rows._store.rows[0].context)
        set_threads = contexts[1].set_threads
        contexts[1].set_threads = lambda n, batch: (used.append(n), set_threads(n, batch))  # type: ignore[method-assign, func-returns-value]
        expected = fixed.run(PROMPTS[:n_rows], CONTINUATION)
        assert np.array_equal(expected, paced.run(PROMPTS[:n_rows], CONTINUATION))
    assert 1 in used  # in the trial that every pace begins with


@pytest.mark.parametrize(
    ("lengths", "used"),
    [
        ((40, 10), [2, 2]),  # one after the other, by both threads
        ((40, 40), [1, 1]),
        ((10, 10, 40), [2, 2, 2]),
    ],
)
def test_prompts_of_unequal_length_are_read_by_all_threads_in_turn(
    quantised_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    lengths: tuple[int, ...],
    used: list[int],
) -> None:
    threads: dict[int, int] = {}
    read_by: list[int] = []
    set_threads, decode = Context.set_threads, Context.decode

    def setting(context: Context, n_threads: int, n_threads_batch: int) -> None:
        threads[id(context)] = n_threads_batch
        set_threads(context, n_threads, n_threads_batch)

    def decoding(context: Context, spans: Any) -> None:
        read_by.append(threads[id(context)])
        decode(context, spans)

    monkeypatch.setattr(Context, "set_threads", setting)
    monkeypatch.setattr(Context, "decode", decoding)
    prompts = [[300 + row] * length for row, length in enumerate(lengths)]
    with Rows(quantised_model, "parallel") as rows, Rows(quantised_model, "serial") as serial:
        rows.prefill(prompts)
        assert read_by == used
        after = [rows.logits(row).copy() for row in range(len(prompts))]
        serial.prefill(prompts)
        for row, logits in enumerate(after):
            assert np.array_equal(logits, serial.logits(row))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_shared_prefix_is_computed_once(f32_model: Model, schedule: Schedule) -> None:
    with Rows(f32_model, schedule) as rows:
        rows.prefill(PROMPTS)
        tails = sum(len(tokens) - len(SYSTEM) for tokens in PROMPTS)
        assert rows.n_decoded == len(SYSTEM) + tails


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_second_prefill_computes_only_what_is_new(
    f32_model: Model, reference: np.ndarray, schedule: Schedule
) -> None:
    with Rows(f32_model, schedule) as rows:
        rows.run(PROMPTS, CONTINUATION)
        before = rows.n_decoded
        longer = [tokens + CONTINUATION + [77] for tokens in PROMPTS]
        rows.prefill(longer)
        assert rows.n_decoded - before == len(PROMPTS)
        before = rows.n_decoded
        again = rows.run(PROMPTS, CONTINUATION)
        assert rows.n_decoded - before == len(PROMPTS) * (1 + len(CONTINUATION))
        np.testing.assert_allclose(again, reference, atol=2e-3)


def test_without_reuse_everything_is_computed_again(f32_model: Model) -> None:
    with Rows(f32_model, "serial", reuse=False) as rows:
        for _ in range(2):
            before = rows.n_decoded
            rows.prefill(PROMPTS)
            assert rows.n_decoded - before == sum(len(tokens) for tokens in PROMPTS)


def test_prompt_goes_to_the_row_that_remembers_it(f32_model: Model) -> None:
    with Rows(f32_model, "serial") as rows:
        rows.prefill(PROMPTS[:2])
        before = rows.n_decoded
        rows.prefill([[*PROMPTS[1], 77]])
        assert rows.n_decoded - before == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_same_prompts_again_give_the_same_logits_to_the_bit(
    quantised_model: Model, schedule: Schedule
) -> None:
    with Rows(quantised_model, schedule) as rows:
        first = rows.run(PROMPTS, CONTINUATION)
        before = rows.n_decoded
        assert np.array_equal(rows.run(PROMPTS, CONTINUATION), first)
        assert rows.n_decoded - before == len(PROMPTS) * len(CONTINUATION)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_extend_gives_the_logits_of_single_steps(
    f32_model: Model, reference: np.ndarray, schedule: Schedule
) -> None:
    with Rows(f32_model, schedule) as rows:
        rows.prefill(PROMPTS)
        n = rows.n_outputs
        assert n >= 5
        logits = np.stack([np.stack(one) for one in rows.extend(CONTINUATION[:5])])
        np.testing.assert_allclose(logits, reference[1:6], atol=2e-3)
        rows.step(CONTINUATION[5])
        np.testing.assert_allclose(rows.all_logits(), reference[6], atol=2e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_rows", [1, 2, 5])
def test_following_gives_the_logits_of_single_steps_to_the_bit(
    quantised_model: Model, schedule: Schedule, n_rows: int
) -> None:
    prompts = [[*PROMPTS[row % 2], 20 + row] for row in range(n_rows)]
    with Rows(quantised_model, schedule) as rows:
        stepped = rows.run(prompts, CONTINUATION)
        rows.prefill(prompts)
        before = rows.n_decoded
        followed = rows.follow(CONTINUATION[:4])
        assert rows.n_decoded - before == 4 * n_rows
        assert np.array_equal(np.array(followed), stepped[1:5])
        rows.step(CONTINUATION[4])
        assert np.array_equal(rows.all_logits(), stepped[5])


def test_failure_of_a_row_that_goes_ahead_empties_all_and_the_next_run_is_right(
    quantised_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    real = llama_cpp.llama_decode
    calls = count(1)

    def fourth_fails(*args: Any) -> Any:
        call = next(calls)
        if call > 4:
            time.sleep(0.1)  # whoever failed has been heard by now, on a busy machine too
        return 1 if call == 4 else real(*args)

    with Rows(quantised_model, "parallel") as rows:
        expected = rows.run(PROMPTS, CONTINUATION)
        rows.prefill(PROMPTS)
        monkeypatch.setattr(llama_cpp, "llama_decode", fourth_fails)
        with pytest.raises(DecodeError):
            rows.follow(CONTINUATION)
        assert next(calls) <= 6, "the others stop as well"
        assert rows.n_tokens == [0] * len(PROMPTS)
        monkeypatch.undo()
        assert np.array_equal(rows.run(PROMPTS, CONTINUATION), expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_progress_grows_to_the_whole(f32_model: Model, schedule: Schedule) -> None:
    seen: list[tuple[int, int]] = []
    with Rows(f32_model, schedule) as rows:
        rows.prefill(PROMPTS, lambda done, total: seen.append((done, total)))
    total = sum(len(tokens) for tokens in PROMPTS)
    assert {entry[1] for entry in seen} == {total}
    done = [entry[0] for entry in seen]
    assert done == sorted(done)
    assert done[-1] == total
    assert len(done) > 2


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("failing_call", [1, 2, 3, 5, 9])
def test_failure_in_any_decode_empties_all_rows_and_the_next_run_is_right(
    f32_model: Model,
    reference: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    schedule: Schedule,
    failing_call: int,
) -> None:
    import itertools

    import llama_cpp

    real = llama_cpp.llama_decode
    calls = itertools.count(1)
    with Rows(f32_model, schedule) as rows:
        with monkeypatch.context() as patch:
            patch.setattr(
                llama_cpp,
                "llama_decode",
                lambda *arguments: -3 if next(calls) == failing_call else real(*arguments),
            )
            with pytest.raises(DecodeError):
                rows.run(PROMPTS, CONTINUATION)
        assert rows.n_tokens == [0] * rows.n_rows
        np.testing.assert_allclose(rows.run(PROMPTS, CONTINUATION[:2]), reference[:3], atol=2e-3)


def test_failed_copy_between_contexts_falls_back_to_computing(
    f32_model: Model, reference: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    with Rows(f32_model, "serial") as rows:
        with monkeypatch.context() as patch:
            patch.setattr(llama_cpp, "llama_state_seq_set_data", lambda *_: 0)
            rows.prefill(PROMPTS)
        np.testing.assert_allclose(rows.all_logits(), reference[0], atol=2e-3)
        assert rows.n_decoded == sum(len(tokens) for tokens in PROMPTS)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_stop_flag_ends_a_prefill_and_a_step(
    f32_model: Model, reference: np.ndarray, schedule: Schedule
) -> None:
    with Rows(f32_model, schedule) as rows:
        rows.stop.set()
        with pytest.raises(StoppedError):
            rows.prefill(PROMPTS)
        rows.stop.clear()
        with pytest.raises(StoppedError):
            rows.prefill(PROMPTS, lambda done, total: rows.stop.set())
        rows.stop.clear()
        rows.prefill(PROMPTS)
        rows.stop.set()
        with pytest.raises(StoppedError):
            rows.step(5)
        rows.stop.clear()
        np.testing.assert_allclose(rows.run(PROMPTS, CONTINUATION[:2]), reference[:3], atol=2e-3)


def test_more_rows_can_be_added_later(f32_model: Model, reference: np.ndarray) -> None:
    for schedule in SCHEDULES:
        with Rows(f32_model, schedule) as rows:
            rows.prefill(PROMPTS[:1])
            rows.prefill(PROMPTS)
            np.testing.assert_allclose(rows.all_logits(), reference[0], atol=2e-3)
