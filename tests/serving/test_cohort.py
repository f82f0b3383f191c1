"""Many requests at once: each gets the answer it would get alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amulet_local import METHODS, AmuletParams, Engine, SamplingParams, errors
from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request, build_request
from amulet_local.common.results import Chunk, Generation
from amulet_local.llama.context import Context, ContextSettings, Logits
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.preferences.form import Form
from amulet_local.serving.cohort import Cohort
from amulet_local.steering.guards import settled
from amulet_local.steering.row_plan import RowPlan
from tests.serving.cohort_run import run

N_CTX = 256
SETTINGS = ContextSettings(
    n_ctx=N_CTX,
    n_batch=48,
    n_outputs=1,
    cache_type_k="f32",
    cache_type_v="f32",
    flash_attention="off",
)
SYSTEM = "You answer in plain words."
QUESTIONS = ("How do I sleep better?", "Name three rivers.", "What is a heap?", "Why is it dark?")
STYLES = ("Be concise.", "Be creative and surprise the reader.")


@pytest.fixture(scope="module")
def engine(exact_engine: Engine) -> Engine:
    return exact_engine


class Places(Cohort):
    """A cohort that frees itself at the end of a `with`."""

    def __init__(
        self,
        engine: Engine,
        *,
        n_places: int,
        n_rows: int = 3,
        n_rows_in_all: int | None = None,
        **settings: Any,
    ) -> None:
        self.stop = StopFlag()
        self.n_places = n_places
        changed = ContextSettings(**{**SETTINGS.__dict__, **settings})
        super().__init__(
            engine.model,
            changed,
            self.stop,
            n_places=n_places,
            n_rows=n_rows,
            n_threads=2,
            n_sequences=n_rows_in_all,
            cost=float,
        )

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, requests: Iterable[Request], *, noise: float = 0.0
    ) -> Iterator[tuple[int, Generation]]:
        """See cohort_run."""
        return run(self, self.n_places, requests, noise=noise)

    def answers(self, requests: list[Request]) -> list[tuple[int, ...]]:
        """The tokens of every answer, in the order of the requests."""
        done = dict(self.run(iter(requests)))
        assert sorted(done) == list(range(len(requests)))
        return [done[index].token_ids for index in range(len(requests))]


Ask = Callable[..., Request]


@pytest.fixture(scope="module")
def ask(engine: Engine) -> Ask:
    """Make a request: a question, and as many preferences as weights."""

    def make(
        question: str,
        weights: tuple[float, ...] = (1.0,),
        *,
        method: str = "amulet",
        amulet: AmuletParams | None = None,
        **sampling: Any,
    ) -> Request:
        plan = RowPlan.of(METHODS[method], weights)
        instructions = [*([""] if plan.has_plain else []), *STYLES[: len(plan.weights)]]
        prompts, *_ = engine._prompter.prompts(
            question, instructions, system=SYSTEM, placement="system"
        )
        return build_request(
            METHODS[method],
            prompts,
            plan=plan,
            amulet=amulet or AmuletParams(guidance_scale=2.0),
            sampling=SamplingParams(**{"max_tokens": 6, **sampling}),
            n_ctx=N_CTX,
        )

    return make


def alone(engine: Engine, request: Request) -> tuple[int, ...]:
    """The engine's own answer to the same prompts."""
    n_plain = int(request.plan.has_plain)
    return engine.generate_from_tokens(
        request.prompts[0] if n_plain else None,
        list(request.prompts[n_plain:]) or None,
        method=request.method,
        amulet=request.amulet,
        sampling=request.sampling,
        weights=list(request.plan.weights) or None,
    ).token_ids


@pytest.fixture(scope="module")
def requests(ask: Ask) -> list[Request]:
    """One, two and three rows, of several lengths."""
    return [
        ask(QUESTIONS[0]),
        ask(QUESTIONS[1], (), method="base", max_tokens=9),
        ask(QUESTIONS[2], (1.0, 0.5), max_tokens=4),
        ask(QUESTIONS[3], (1.0,), method="pref"),
        ask(QUESTIONS[0], (1.0, -0.5), amulet=AmuletParams(guidance_scale=2, kl_budget=0.3)),
        ask(QUESTIONS[1], max_tokens=1),
        ask(QUESTIONS[2], (1.0, 1.0), amulet=AmuletParams(guidance_scale=1.5, mix="adaptive")),
    ]


@pytest.fixture(scope="module")
def expected(engine: Engine, requests: list[Request]) -> list[tuple[int, ...]]:
    return [alone(engine, request) for request in requests]


@pytest.mark.parametrize("n_places", [1, 3, 8])
def test_every_answer_is_the_one_it_would_be_alone(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]], n_places: int
) -> None:
    with Places(engine, n_places=n_places) as cohort:
        assert cohort.answers(requests) == expected


@pytest.mark.parametrize("seed", [1])
def test_order_makes_no_difference(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]], seed: int
) -> None:
    order = random.Random(seed).sample(range(len(requests)), len(requests))
    with Places(engine, n_places=3) as cohort:
        answers = cohort.answers([requests[index] for index in order])
        assert answers == [expected[index] for index in order]


def test_a_cohort_can_be_asked_again(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]]
) -> None:
    with Places(engine, n_places=2) as cohort:
        assert cohort.answers([]) == []
        for chosen in (slice(0, 2), slice(3, 5), slice(0, 2)):
            assert cohort.answers(requests[chosen]) == expected[chosen]


@pytest.mark.parametrize("n_rows_in_all", [3, 5])
def test_a_request_waits_for_the_rows_that_it_needs(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]], n_rows_in_all: int
) -> None:
    with Places(engine, n_places=4, n_rows_in_all=n_rows_in_all) as cohort:
        assert cohort.answers(requests) == expected


def test_answers_that_want_more_rows_than_there_are_get_them_one_after_the_other(
    engine: Engine, ask: Ask
) -> None:
    with Places(engine, n_places=2, n_rows_in_all=4) as cohort:
        controls = [Control(), Control()]
        for place, control in enumerate(controls):
            cohort.admit(place, ask(QUESTIONS[place], max_tokens=8), control=control)
        begun: set[int] = set()
        while len(begun) < 2:
            begun |= {place for place, _ in cohort.step()}
        for place, control in enumerate(controls):
            control.change(ask(QUESTIONS[place], (1.0, 0.5), max_tokens=8))
        ended: dict[int, Generation] = {}
        while len(ended) < 2:
            for place, chunk in cohort.step():
                assert not isinstance(chunk, errors.LogitsError)
                if chunk.generation is not None:
                    ended[place] = chunk.generation
    assert [len(ended[place].token_ids) for place in (0, 1)] == [8, 8]


def test_rows_of_a_decode_follow_each_other_whoever_ends_first(
    engine: Engine,
    requests: list[Request],
    expected: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a gap between them llama.cpp computes them one part after the other."""
    real = Context.decode
    decoded: list[list[int]] = []

    def noting(context: Context, spans: Any) -> None:
        if all(len(span.tokens) == 1 for span in spans):
            decoded.append([span.sequence for span in spans])
        real(context, spans)

    monkeypatch.setattr(Context, "decode", noting)
    with Places(engine, n_places=3) as cohort:
        assert cohort.answers(requests) == expected
    assert max(map(len, decoded)) > 4
    assert all(rows == [*range(rows[0], rows[-1] + 1)] for rows in decoded)


def test_what_a_moved_row_makes_room_for_is_kept_elsewhere(engine: Engine, ask: Ask) -> None:
    with Places(engine, n_places=3, n_rows=1, n_rows_in_all=4) as cohort:
        asked = [ask(question, (), method="base", max_tokens=6) for question in QUESTIONS[:3]]
        asked[1] = ask(QUESTIONS[1], (), method="base", max_tokens=2)
        done = dict(cohort.run(asked))
        ((_, again),) = cohort.run([asked[1]])
    assert again.token_ids == done[1].token_ids
    assert again.usage.computed_tokens == len(again.token_ids)


def test_one_that_waits_for_rows_can_be_cancelled(engine: Engine, ask: Ask) -> None:
    with Places(engine, n_places=2, n_rows=2, n_rows_in_all=2) as cohort:
        control = Control()
        cohort.admit(0, ask(QUESTIONS[0], max_tokens=4))
        cohort.admit(1, ask(QUESTIONS[1], max_tokens=4), control=control)
        control.cancel()
        ((place, chunk),) = cohort.step()
        assert place == 1
        assert not isinstance(chunk, errors.LogitsError)
        assert chunk.finish_reason == "cancelled"
        cohort.abandon()
        assert len(cohort.answers([ask(QUESTIONS[2], max_tokens=3)])[0]) == 3


def test_a_plain_row_that_isnt_needed_any_more_is_anothers(
    engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the wish changes then, and the answer waits for the rows of the new one."""
    monkeypatch.setattr(settled, "BEGUN_NATS", -1e9)
    amulet = AmuletParams(guidance_scale=2.0, settled_gating=True)
    more = {"amulet": amulet, "max_tokens": 16, "ignore_eos": True}
    spanish = replace(ask(QUESTIONS[0], **more), form=Form(language="Spanish"))
    other = ask(QUESTIONS[1], max_tokens=30, ignore_eos=True)
    changed = ask(QUESTIONS[2], (1.0, 0.5), **more)
    with Places(engine, n_places=2, n_rows_in_all=3) as cohort:
        expected = cohort.answers([replace(spanish, trace=0)])
        assert cohort.answers([spanish]) == expected
        control = Control()
        cohort.admit(0, spanish, control=control)
        cohort.admit(1, other)
        done: dict[int, Generation] = {}
        n_tokens = [0, 0]
        for _ in range(100):
            for place, chunk in cohort.step():
                assert isinstance(chunk, Chunk)
                n_tokens[place] += len(chunk.token_ids)
                if chunk.generation is not None:
                    done[place] = chunk.generation
                elif place == 0 and n_tokens[0] == 10:
                    assert n_tokens[1] > 0
                    control.change(changed)
        assert sorted(done) == [0, 1]
        assert done[1].usage.completion_tokens == 30
        assert done[0].usage.completion_tokens == 16


def test_what_rows_have_in_memory_is_not_computed_again(engine: Engine, ask: Ask) -> None:
    with Places(engine, n_places=1, n_rows=2) as cohort:
        ((_, first),) = cohort.run([ask(QUESTIONS[0])])
        ((_, again),) = cohort.run([ask(QUESTIONS[0])])
        ((_, other),) = cohort.run([ask(QUESTIONS[1])])
    assert again.token_ids == first.token_ids
    n = len(first.token_ids)
    prompts = ask(QUESTIONS[0]).prompts
    assert first.usage.computed_tokens == n_distinct(prompts) + 2 * (n - 1)
    assert again.usage.computed_tokens == 2 * n
    n_new = n_distinct([*prompts, *ask(QUESTIONS[1]).prompts]) - n_distinct(prompts)
    assert other.usage.computed_tokens == n_new + 2 * (len(other.token_ids) - 1)


def test_a_prefix_is_taken_from_another_place(engine: Engine, ask: Ask) -> None:
    """The second request's place is new, and the first one's rows have its system text."""
    with Places(engine, n_places=2, n_rows=2) as cohort:
        several = [ask(QUESTIONS[0], max_tokens=2), *[ask(QUESTIONS[1], max_tokens=6)] * 3]
        done = dict(cohort.run(several))
    assert done[3].token_ids == done[2].token_ids == done[1].token_ids
    assert done[3].usage.computed_tokens == 2 * len(done[3].token_ids)


def n_distinct(prompts: Iterable[Sequence[int]]) -> int:
    """How many prefixes there are: each is computed once."""
    return len({tuple(prompt[: n + 1]) for prompt in prompts for n in range(len(prompt))})


def longer(request: Request, n_more: int = 40) -> Request:
    """The same after a document that both prompts have before their end."""
    document = range(1000, 1000 + n_more)
    prompts = [(*prompt[:4], *document, *prompt[4:]) for prompt in request.prompts]
    return replace(request, prompts=prompts)


@pytest.mark.parametrize("n_batch", [11, 48, 128])
def test_what_prompts_begin_with_in_common_is_computed_once(
    engine: Engine, ask: Ask, n_batch: int
) -> None:
    """Those of one request, of several that come at once, and the same one twice."""
    asked = [longer(ask(question, max_tokens=4)) for question in (*QUESTIONS[:3], QUESTIONS[0])]
    expected = [alone(engine, request) for request in asked]
    with Places(engine, n_places=4, n_rows=2, n_batch=n_batch) as cohort:
        done = dict(cohort.run(asked))
    assert [done[n].token_ids for n in range(4)] == expected
    n_computed = sum(done[n].usage.computed_tokens for n in range(4))
    n_prompts = n_computed - sum(2 * (len(tokens) - 1) for tokens in expected)
    prompts = [prompt for request in asked for prompt in request.prompts]
    n_least = n_distinct(prompts)
    assert sum(map(len, prompts)) > 3 * n_least
    # A prompt that is in memory as a whole has its last token computed again, for its logits; and
    # a few tokens aren't worth a wait.
    assert n_least <= n_prompts < n_least + 8 * len(prompts)


@pytest.mark.parametrize("n_steps", [0, 1, 2, 3, 6])
def test_who_leaves_while_others_wait_for_what_it_reads_leaves_them_their_answers(
    engine: Engine, ask: Ask, n_steps: int
) -> None:
    asked = [longer(ask(question, max_tokens=4)) for question in QUESTIONS[:3]]
    expected = [alone(engine, request) for request in asked]
    control = Control()
    with Places(engine, n_places=3, n_rows=2, n_batch=16) as cohort:
        for place, request in enumerate(asked):
            cohort.admit(place, request, control=control if place == 0 else None)
        ended: dict[int, tuple[int, ...]] = {}
        for step in itertools.count():
            if step == n_steps:
                control.cancel()
            for place, chunk in cohort.step():
                assert not isinstance(chunk, errors.AmuletError)
                if chunk.generation is not None:
                    ended[place] = chunk.generation.token_ids
            if len(ended) == 3:
                break
    assert [ended[1], ended[2]] == expected[1:]
    assert ended[0] == expected[0][: len(ended[0])]


def test_a_row_that_waited_goes_on_in_the_place_of_the_one_that_left(
    engine: Engine, ask: Ask
) -> None:
    """Of three rows the middle one leaves; the last one, which waited for it, closes the gap."""
    short, *long = (ask(question, (), method="base", max_tokens=4) for question in QUESTIONS[:3])
    asked = [short, *map(longer, long)]
    control = Control()
    with Places(engine, n_places=3, n_rows=1, n_batch=16) as cohort:
        for place, request in enumerate(asked):
            cohort.admit(place, request, control=control if place == 1 else None)
        cohort.step()
        control.cancel()
        ended: dict[int, tuple[int, ...]] = {}
        for _ in range(40):
            for place, chunk in cohort.step():
                assert not isinstance(chunk, errors.AmuletError)
                if chunk.generation is not None:
                    ended[place] = chunk.generation.token_ids
    assert ended == {0: alone(engine, asked[0]), 1: (), 2: alone(engine, asked[2])}


def test_what_is_reproducible_waits_for_nobody(engine: Engine, ask: Ask) -> None:
    asked = [replace(longer(ask(QUESTIONS[0], max_tokens=2)), reuses_memory=False)] * 2
    with Places(engine, n_places=2, n_rows=2) as cohort:
        done = dict(cohort.run(asked))
    n_prompts = sum(map(len, asked[0].prompts))
    assert [done[n].usage.computed_tokens for n in (0, 1)] == [n_prompts + 2] * 2


@pytest.mark.parametrize("n_batch", [9, 11])
def test_prompts_longer_than_a_batch_are_computed_in_chunks(
    engine: Engine,
    requests: list[Request],
    expected: list[tuple[int, ...]],
    n_batch: int,
) -> None:
    assert min(len(prompt) for request in requests for prompt in request.prompts) > 2 * n_batch
    with Places(engine, n_places=2, n_batch=n_batch) as cohort:
        assert cohort.answers(requests) == expected


def test_a_batch_takes_as_much_as_fits(
    engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of the answers first, then the prompts of all that begin."""
    import llama_cpp

    real = llama_cpp.llama_decode
    sizes: list[int] = []

    def counting(context: Any, batch: Any) -> int:
        sizes.append(batch.n_tokens)
        return int(real(context, batch))

    monkeypatch.setattr(llama_cpp, "llama_decode", counting)
    both = [
        replace(
            ask(QUESTIONS[number], max_tokens=3),
            prompts=[range(start, start + 30) for start in (1000 + number, 2000 + number)],
        )
        for number in range(2)
    ]
    n_prompts = sum(len(prompt) for request in both for prompt in request.prompts)
    with Places(engine, n_places=2, n_rows=2) as cohort:
        cohort.answers(both)
    assert n_prompts > 2 * 48
    assert sizes[: n_prompts // 48] == [48] * (n_prompts // 48)
    assert max(sizes) == 48
    assert sum(sizes) == n_prompts + 2 * (2 + 2)


def test_requests_are_taken_when_a_place_is_free(engine: Engine, ask: Ask) -> None:
    taken: list[int] = []

    def more() -> Iterator[Request]:
        for index in range(4):
            taken.append(index)
            yield ask(QUESTIONS[index], max_tokens=3)

    with Places(engine, n_places=2) as cohort:
        for n_done, _ in enumerate(cohort.run(more()), start=1):
            assert len(taken) <= 2 + n_done
    assert taken == [0, 1, 2, 3]


def test_an_answer_that_fills_its_row_ends(engine: Engine, ask: Ask) -> None:
    request = ask(QUESTIONS[0])
    prompts = tuple((*prompt, *range(1000, 1000 + N_CTX))[:N_CTX] for prompt in request.prompts)
    full = [request, replace(request, prompts=prompts), request]
    with Places(engine, n_places=2) as cohort:
        done = dict(cohort.run(full))
    assert len(done[1].token_ids) == 1
    assert done[1].finish_reason in ("length", "stop")
    assert done[0].token_ids == done[2].token_ids


@pytest.mark.parametrize("failing_call", [1, 6])
@pytest.mark.parametrize("after_decoding", [False, True])
def test_failed_decode_is_typed_and_the_next_run_is_right(
    engine: Engine,
    requests: list[Request],
    expected: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    failing_call: int,
    after_decoding: bool,
) -> None:
    """Memory may hold what a failed computation left there."""
    import llama_cpp

    real = llama_cpp.llama_decode
    calls = itertools.count(1)

    def sometimes(*arguments: Any) -> int:
        if next(calls) != failing_call:
            return real(*arguments)
        if after_decoding:
            real(*arguments)
        return -3

    with Places(engine, n_places=2) as cohort:
        with monkeypatch.context() as patch:
            patch.setattr(llama_cpp, "llama_decode", sometimes)
            with pytest.raises(errors.DecodeError):
                cohort.answers(requests[2:])
        assert cohort.answers(requests[1:4]) == expected[1:4]


def test_logits_that_are_not_finite_are_an_error_and_the_next_run_is_right(
    engine: Engine,
    requests: list[Request],
    expected: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Context.logits
    calls = itertools.count(1)

    def broken(context: Context, index: int = -1) -> Logits:
        row = real(context, index)
        return np.full_like(row, np.nan) if next(calls) == 9 else row

    with Places(engine, n_places=2) as cohort:
        with monkeypatch.context() as patch:
            patch.setattr(Context, "logits", broken)
            with pytest.raises(errors.LogitsError):
                cohort.answers(requests)
        assert cohort.answers(requests[:4]) == expected[:4]


@pytest.mark.parametrize("n_done", [0, 1])
def test_stop_flag_ends_a_run_and_the_next_one_is_right(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]], n_done: int
) -> None:
    with Places(engine, n_places=2) as cohort:
        answers = cohort.run(requests)
        for _ in range(n_done):
            next(answers)
        cohort.stop.set()
        with pytest.raises(StoppedError):
            next(answers)
        cohort.stop.clear()
        assert cohort.answers(requests[:3]) == expected[:3]


def test_leaving_a_run_early_leaves_the_cohort_usable(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]]
) -> None:
    with Places(engine, n_places=3) as cohort:
        answers = cohort.run(requests)
        next(answers)
        answers.close()
        assert cohort.answers(requests) == expected


def test_a_request_that_cannot_be_made_leaves_the_cohort_usable(
    engine: Engine, requests: list[Request], expected: list[tuple[int, ...]], ask: Ask
) -> None:
    def broken() -> Iterator[Request]:
        yield from requests[:2]
        yield ask("   ")

    with Places(engine, n_places=2) as cohort:
        with pytest.raises(errors.EmptyPromptError):
            list(cohort.run(broken()))
        assert cohort.answers(requests) == expected


def test_draws_are_those_of_the_seed_whatever_runs_beside_them(engine: Engine, ask: Ask) -> None:
    drawn = [ask(QUESTIONS[0], temperature=1.0, seed=seed, max_tokens=5) for seed in (1, 2, 1, 3)]
    with Places(engine, n_places=4) as cohort:
        together = cohort.answers(drawn)
    with Places(engine, n_places=1) as cohort:
        apart = cohort.answers(drawn)
    assert together == apart == [alone(engine, request) for request in drawn]
    assert together[0] == together[2]
    assert len(set(together)) == 3


def test_noise_guards_get_the_models_noise(engine: Engine, ask: Ask) -> None:
    guarded = ask(QUESTIONS[0], amulet=AmuletParams(guidance_scale=5.0, noise_guard=1.0))
    with Places(engine, n_places=1) as cohort:
        ((_, quiet),) = cohort.run([guarded], noise=0.0)
        ((_, loud),) = cohort.run([guarded], noise=1000.0)
        (preferred,) = cohort.answers([ask(QUESTIONS[0], method="pref")])
    assert loud.token_ids == preferred
    assert quiet.token_ids != preferred
