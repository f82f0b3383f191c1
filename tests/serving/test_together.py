"""Many answers at once, in the order of their requests, and none lost with another."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import AmuletParams, Engine, Generation, SamplingParams, errors, load
from amulet_local.answering.ask import AskMessages
from amulet_local.llama import memory
from amulet_local.llama.context import ContextSettings
from amulet_local.serving.continuous import places_for
from tests.scripted import Rule, ScriptedVocabulary, chained, scripted_engine

QUESTIONS = ("How do I sleep better?", "What is yeast?", "Name three rivers.", "Why?", "And one?")


def ask(question: str, n: int = 6, **more: Any) -> AskMessages:
    sampling = SamplingParams(max_tokens=n, ignore_eos=True)
    asked: Any = {"messages": question, "preference": "concise", "sampling": sampling, **more}
    return asked  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine() as engine:
        yield engine


def assert_usable(engine: Engine) -> None:
    answer = engine.generate("Why?", sampling=SamplingParams(max_tokens=2, ignore_eos=True))
    assert len(answer.token_ids) == 2


def tokens(outcome: Any) -> tuple[int, ...]:
    assert isinstance(outcome, Generation), outcome
    return outcome.token_ids


# --- what comes ----------------------------------------------------------------------------------


def test_a_request_may_be_a_question_alone(tiny_engine: Engine) -> None:
    asked: list[Any] = ["Why?", {"messages": "Why?"}]
    whole, again = map(tokens, tiny_engine.answer_all(asked, scheduler="interleaved"))
    assert whole == again == tiny_engine.generate("Why?").token_ids


def test_what_is_asked_of_all_is_answered_with_where_it_stands(engine: Engine) -> None:
    named: dict[str, Any] = {"sampling": SamplingParams(max_tokens=2)}
    with pytest.raises(TypeError, match="'sampling'; each request has its own: "):
        engine.answer_all(["Why?"], **named)


@pytest.mark.parametrize("at_once", [1, 2, 8, None])
def test_answers_are_those_of_single_calls_in_the_order_of_the_requests(
    engine: Engine, at_once: int | None
) -> None:
    """The first takes longest, so that the order of the ends is another one."""
    asks = [ask(question, 12 - 2 * i) for i, question in enumerate(QUESTIONS)]
    asks[3]["preference"] = ["concise", "formal:0.5"]  # three rows beside two
    alone = [engine.generate(**each).token_ids for each in asks]
    found = engine.answer_all(asks, at_once=at_once, scheduler="interleaved")
    assert [tokens(outcome) for outcome in found] == alone


def test_requests_may_be_made_before(engine: Engine) -> None:
    plain, preference = engine.request(**ask("Why?")).prompts
    requests = [
        ask("Why?"),
        engine.request(**ask("Why?")),
        engine.request_from_tokens(
            plain, [preference], preset="balanced", sampling=ask("Why?")["sampling"]
        ),
    ]
    first, *others = map(tokens, engine.answer_all(requests, scheduler="interleaved"))
    assert others == [first, first]


def test_a_trace_comes_with_each_answer_that_asks_for_it(engine: Engine) -> None:
    traced, untraced = engine.answer_all(
        [ask("Why?", trace=0), ask("Why?")], scheduler="interleaved"
    )
    assert isinstance(traced, Generation)
    assert isinstance(untraced, Generation)
    assert traced.trace is not None
    assert len(traced.trace) == 6
    assert untraced.trace is None


def test_progress_and_answers_are_told_as_they_come(engine: Engine) -> None:
    told: list[tuple[int, int]] = []
    done: dict[int, Any] = {}

    def answered(number: int, outcome: Any) -> None:
        assert number not in done
        done[number] = outcome

    asks = [ask("Why?", 600), ask("  "), ask("What is yeast?", 2)]
    found = engine.answer_all(
        asks,
        at_once=2,
        scheduler="interleaved",
        answered=answered,
        progress=lambda *counts: told.append(counts),
    )
    assert [done[number] for number in range(3)] == found
    assert next(iter(done)) == 1  # what can't be asked is known before the first answer
    assert told[-1] == (3, 0)
    assert [n_done for n_done, _ in told] == sorted(n_done for n_done, _ in told)
    assert max(n_tokens for _, n_tokens in told) >= 1


def test_nothing_asked_is_nothing_answered(engine: Engine) -> None:
    assert engine.answer_all([]) == []


# --- what fails ----------------------------------------------------------------------------------


def test_a_request_that_cant_be_used_has_its_error_in_its_place(engine: Engine) -> None:
    asks = [
        ask("Why?"),
        ask("bread " * 4000),
        ask("Why?", method="magic"),
        ask("Why?", method="beam"),
        ask("What is yeast?"),
    ]
    first, too_long, unknown, beam, last = engine.answer_all(asks, scheduler="interleaved")
    assert isinstance(too_long, errors.PromptTooLongError)
    assert isinstance(unknown, errors.UnknownMethodError)
    assert isinstance(beam, errors.InvalidParameterError)
    assert [tokens(first), tokens(last)] == [
        engine.generate(**each).token_ids for each in (asks[0], asks[4])
    ]


def fails_at_yeast(vocabulary: ScriptedVocabulary) -> Rule:
    """Logits that allow no token after any text about yeast."""
    yeast = vocabulary.tokenize(" yeast", add_special=False, parse_special=False)[0]
    rule = chained(vocabulary)

    def failing(given: Any) -> np.ndarray:
        logits = rule(given)
        return np.full_like(logits, np.nan) if yeast in given else logits

    return failing


@pytest.mark.parametrize("place", [0, 1, 4])
def test_an_answer_that_fails_leaves_the_others(place: int) -> None:
    questions = ["Why?", "Thanks.", "Name three rivers.", "And one lake?"]
    questions.insert(place, "What is yeast?")
    with scripted_engine(fails_at_yeast) as engine:
        found = engine.answer_all(
            [ask(question, preference=None) for question in questions],
            at_once=2,
            scheduler="interleaved",
        )
        assert isinstance(found[place], errors.LogitsError)
        for number, (question, outcome) in enumerate(zip(questions, found, strict=True)):
            if number != place:
                assert tokens(outcome) == tokens(engine.generate(**ask(question, preference=None)))


def test_a_name_that_isnt_an_argument_is_the_callers_error(engine: Engine) -> None:
    with pytest.raises(TypeError, match="temprature"):
        engine.answer_all([ask("Why?"), ask("Why?", temprature=1.0)])


@pytest.mark.parametrize("at_once", [0, -1, True, 1.5, "2"])
def test_bad_at_once_is_a_typed_error(engine: Engine, at_once: Any) -> None:
    with pytest.raises(errors.InvalidParameterError, match="at_once"):
        engine.answer_all([ask("Why?")], at_once=at_once)


def test_one_context_is_refused_where_reproducible_rules_it_out() -> None:
    with scripted_engine(reproducible=True) as engine:
        with pytest.raises(errors.InvalidParameterError, match="reproducible"):
            engine.answer_all([ask("Why?")])
        assert_usable(engine)


def test_it_isnt_begun_in_the_middle_of_a_stream(engine: Engine) -> None:
    stream = engine.stream_generate(**ask("Why?"))
    next(stream)
    with pytest.raises(errors.EngineBusyError):
        engine.answer_all([ask("Why?")], scheduler="interleaved")
    stream.close()
    assert_usable(engine)


# --- how it ends ---------------------------------------------------------------------------------


def test_cancel_keeps_what_there_is_and_the_engine(engine: Engine) -> None:
    def cancel(n_done: int, n_tokens: int) -> None:
        if n_done == 1 and n_tokens >= 3:
            engine.cancel()

    asks = [ask("Why?", 2), *(ask(question, 900) for question in QUESTIONS[:3])]
    first, *under_way, waiting = engine.answer_all(
        asks, at_once=2, scheduler="interleaved", progress=cancel
    )
    assert len(tokens(first)) == 2
    for outcome in under_way:
        assert isinstance(outcome, Generation)
        assert outcome.finish_reason == "cancelled"
        assert len(outcome.token_ids) < 900
    assert any(map(tokens, under_way))
    assert isinstance(waiting, errors.CancelledError)
    assert_usable(engine)


def test_what_a_callback_raises_ends_everything_and_leaves_the_engine(engine: Engine) -> None:
    def stop(n_done: int, n_tokens: int) -> None:
        if n_done == 1:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        engine.answer_all(
            [ask("Why?", 2), ask("Thanks.", 900)],
            at_once=2,
            scheduler="interleaved",
            progress=stop,
        )
    assert threading.active_count() == before
    assert_usable(engine)


@pytest.mark.parametrize("from_another_thread", [False, True])
def test_closing_the_engine_ends_every_answer(from_another_thread: bool) -> None:
    with scripted_engine() as engine:
        closer = threading.Thread(target=engine.close)

        def close(n_done: int, n_tokens: int) -> None:
            if n_tokens < 3:
                return
            if not from_another_thread:
                engine.close()
            elif closer.ident is None:
                closer.start()

        outcomes = engine.answer_all(
            [ask(question, 900) for question in QUESTIONS],
            at_once=2,
            scheduler="interleaved",
            progress=close,
        )
        assert len(outcomes) == len(QUESTIONS)
        for outcome in outcomes:
            if isinstance(outcome, Generation):
                assert outcome.finish_reason == "cancelled"
            else:
                assert isinstance(outcome, errors.CancelledError)
        if from_another_thread:
            closer.join(60)
        with pytest.raises(errors.EngineClosedError):
            engine.answer_all([ask("Why?")])


# --- memory --------------------------------------------------------------------------------------


def test_answers_at_once_are_as_many_as_half_of_memory_holds(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ContextSettings(
        n_ctx=64,
        n_batch=64,
        n_outputs=1,
        cache_type_k="f16",
        cache_type_v="f16",
        flash_attention="off",
    )
    monkeypatch.setattr(memory, "kv_cache_bytes", lambda *_: 1000)
    for available, n_places in ((28_000, 7), (4_000, 1), (100, 1), (10**9, 12)):
        monkeypatch.setattr(memory, "available_bytes", lambda n=available: n)
        assert places_for(engine.model, settings, n_answers=12, n_rows=2) == n_places


# --- on a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batching_engine(tiny_f32_path: Path) -> Iterator[Engine]:
    """An engine with exact weights, that may compute answers together."""
    exact: Any = {"cache_type_k": "f32", "cache_type_v": "f32", "flash_attention": "off"}
    with load(tiny_f32_path, n_ctx=256, **exact) as engine:
        yield engine


def test_with_exact_weights_one_context_gives_the_single_answers(
    exact_engine: Engine, batching_engine: Engine
) -> None:
    """Another width of the batch is another order of sums, which decides nothing here."""
    asks = [ask(question, 8 - i) for i, question in enumerate(QUESTIONS)]
    asks[1]["method"] = "base"
    asks[2]["amulet"] = AmuletParams(guidance_scale=1.5, noise_guard=1.0)
    alone = [exact_engine.generate(**each).token_ids for each in asks]
    found = batching_engine.answer_all(asks, at_once=3)
    assert [tokens(outcome) for outcome in found] == alone
    last = found[-1]
    assert isinstance(last, Generation)
    prompts = exact_engine.request(**asks[-1]).prompts
    assert last.usage.computed_tokens < sum(map(len, prompts))  # the system text was copied


def test_a_decode_that_fails_loses_what_is_under_way_and_no_other_answer(
    exact_engine: Engine, batching_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    real = llama_cpp.llama_decode
    calls = itertools.count(1)

    def fails_once(*arguments: Any) -> int:
        return -3 if next(calls) == 4 else real(*arguments)

    asks = [ask(question, 4) for question in QUESTIONS]
    alone = [exact_engine.generate(**each).token_ids for each in asks]
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", fails_once)
        found = batching_engine.answer_all(asks, at_once=2)
    failed = [n for n, outcome in enumerate(found) if isinstance(outcome, errors.DecodeError)]
    assert 1 <= len(failed) <= 2
    for number in set(range(len(asks))) - set(failed):
        assert tokens(found[number]) == alone[number]
