"""Conversations on the embedded model: what is remembered, what is computed, what survives."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amulet_local import (
    AmuletParams,
    Chunk,
    Conversation,
    Engine,
    Generation,
    Preference,
    SamplingParams,
    Timings,
    Turn,
    Usage,
    errors,
    load,
)
from amulet_local.answering.generation import Control
from amulet_local.answering.request import Request
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.conversation.turn_draft import AnswerSource, Draft, TurnRequest
from amulet_local.llama.prefill import Progress
from amulet_local.params.choices import Placement

LONG = "river " * 50
QUESTIONS = ("How do I sleep better?", "Why?", "Name three rivers.", "And one lake?", "Thanks.")
SHORT = SamplingParams(max_tokens=5)
SAMPLED = SamplingParams(max_tokens=5, temperature=1.0)
NEVER_ENDS = SamplingParams(max_tokens=400, ignore_eos=True)


@pytest.fixture
def talk(scripted: Engine) -> Conversation:
    """A new conversation with short greedy answers."""
    return scripted.conversation(preference="concise", system="Be kind.", sampling=SHORT)


@pytest.fixture
def real_talk(tiny_engine: Engine) -> Conversation:
    """A new conversation with short greedy answers, on a real model."""
    return tiny_engine.conversation(preference="concise", system="Be kind.", sampling=SHORT)


@pytest.fixture(scope="module")
def reusing(tiny_path: Path) -> Iterator[Engine]:
    """An engine that uses again what it has in memory."""
    with load(tiny_path, n_ctx=512, schedule="parallel") as engine:
        yield engine


def questions(conversation: Conversation) -> list[str]:
    return [turn.question for turn in conversation.turns]


def draft_of(conversation: Conversation, question: str) -> Draft:
    """The turn that would come next."""
    return conversation._draft(TurnRequest(place=lambda turns: (turns, question)))


# --- right -------------------------------------------------------------------------------------


def test_the_first_turn_is_what_the_engine_answers(scripted: Engine, talk: Conversation) -> None:
    answer = talk.send(QUESTIONS[0])
    alone = scripted.generate(QUESTIONS[0], preference="concise", system="Be kind.", sampling=SHORT)
    assert answer.token_ids == alone.token_ids
    (turn,) = talk.turns
    assert turn == Turn(
        question=QUESTIONS[0],
        answer=answer.text,
        token_ids=answer.token_ids,
        finish_reason="length",
        preferences=("concise",),
    )


@pytest.mark.parametrize("placement", ["system", "user"])
def test_later_turns_are_what_the_engine_answers_to_all_messages(
    scripted: Engine, placement: Placement
) -> None:
    arguments: Any = {"preference": "formal", "placement": placement, "sampling": SHORT}
    talk = scripted.conversation(system="Be kind.", **arguments)
    for question in QUESTIONS[:2]:
        messages = [*talk.messages, {"role": "user", "content": question}]
        assert talk.send(question).token_ids == (scripted.generate(messages, **arguments).token_ids)
    assert talk.messages[:2] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": QUESTIONS[0]},
    ]
    assert len(talk.messages) == 5


def test_stream_and_send_agree(scripted: Engine, talk: Conversation) -> None:
    other = talk.fork()
    chunks = []
    for chunk in talk.stream(QUESTIONS[0]):
        assert (chunk.generation is None) == (talk.turns == ())
        chunks.append(chunk)
    whole = other.send(QUESTIONS[0])
    assert "".join(chunk.text for chunk in chunks) == whole.text == talk.turns[0].answer
    assert chunks[-1].generation is not None
    assert chunks[-1].generation.token_ids == whole.token_ids
    assert talk.turns == other.turns


def test_trace_and_progress_reach_the_engine(talk: Conversation) -> None:
    seen: list[tuple[int, int]] = []
    answer = talk.send(QUESTIONS[0], trace=2, prompt_progress=lambda *n: seen.append(n))
    assert seen
    assert answer.trace is not None
    assert len(answer.trace[0].top_plain) == 2
    talk.undo()
    with pytest.raises(errors.InvalidParameterError, match="trace"):
        talk.send(QUESTIONS[0], trace=-1)


# --- what is computed --------------------------------------------------------------------------


def new_text(answers: list[Generation]) -> list[int]:
    """Tokens of each prompt from the second on that the turn before didn't compute."""
    return [
        later.usage.prompt_tokens - before.usage.prompt_tokens - len(before.token_ids) + 1
        for before, later in itertools.pairwise(answers)
    ]


@pytest.mark.parametrize(
    ("schedule", "placement"),
    [("parallel", "system"), ("parallel", "user"), ("batched", "system"), ("batched", "user")],
)
def test_a_turn_computes_its_new_text_only(
    tiny_path: Path, schedule: str, placement: Placement
) -> None:
    threads = 2 if schedule == "parallel" else 1  # no barriers to wait at on a busy machine
    with load(tiny_path, n_ctx=512, schedule=schedule, n_threads=threads) as engine:
        talk = engine.conversation(
            preference="formal", system="", placement=placement, sampling=SHORT
        )
        answers = [talk.send(question) for question in QUESTIONS]
    assert answers[-1].usage.prompt_tokens > 5 * max(new_text(answers))
    extra = set()
    for n_new, answer in zip(new_text(answers), answers[1:], strict=True):
        n_steps = 2 * (len(answer.token_ids) - 1)
        if placement == "system":
            assert answer.usage.computed_tokens == 2 * n_new + n_steps
        else:  # the history is shared: new text once, and in one row what follows the question
            extra.add(answer.usage.computed_tokens - n_new - n_steps)
    if placement == "user":
        assert len(extra) == 1
        assert 0 < max(extra) < 30


@pytest.mark.parametrize("placement", ["system", "user"])
def test_what_follows_a_change_computes_no_more_than_it_has_to(
    reusing: Engine, placement: Placement
) -> None:
    talk = reusing.conversation(preference="formal", placement=placement, sampling=SHORT)
    for question in QUESTIONS[:4]:
        talk.send(question)
    n_steps = 2 * (SHORT.max_tokens - 1)
    prompt = talk.regenerate().usage
    assert prompt.computed_tokens <= n_steps
    talk.undo()
    talk.undo()
    assert talk.send("And one sea?").usage.computed_tokens <= 2 * 25 + n_steps
    assert talk.edit(1, "Why not?").usage.computed_tokens <= 2 * 25 + n_steps
    other = talk.fork()
    assert other.send("So?").usage.computed_tokens <= 2 * 25 + n_steps
    talk.set(preference="creative")
    changed = talk.send("And now?").usage
    if placement == "user":
        assert changed.computed_tokens <= 2 * 25 + n_steps
    else:  # one row begins with another text
        assert changed.computed_tokens <= changed.prompt_tokens + 25 + n_steps
    talk.set(amulet=AmuletParams(guidance_scale=2))
    assert talk.send("And then?").usage.computed_tokens <= 2 * 25 + n_steps


# --- change ------------------------------------------------------------------------------------


def test_settings_stay_until_they_are_changed(talk: Conversation) -> None:
    talk.set(placement="user", avoid="verbose", preset="strong")
    assert [item.label for item in talk.settings.preference] == ["concise"]
    answer = talk.send(QUESTIONS[0])
    assert answer.preferences == ("concise", "verbose:-1")
    assert answer.preset == "strong"
    talk.set(amulet=AmuletParams(guidance_scale=2), avoid=None)
    assert talk.settings.preset is None
    assert talk.settings.avoid == ()
    assert talk.settings.placement == "user"
    talk.set(preset="paper")
    assert talk.settings.amulet is None
    talk.set(preference=None)
    assert talk.send(QUESTIONS[1]).method == "base"
    talk.set(sampling=None)
    assert talk.settings.sampling == SamplingParams()


def test_a_change_reaches_the_next_token_of_a_running_turn(
    scripted: Engine, talk: Conversation
) -> None:
    change: Any = {"preference": "verbose", "amulet": AmuletParams(guidance_scale=3)}
    streams: Any = (
        scripted.stream_generate(
            QUESTIONS[0], preference="concise", system="Be kind.", sampling=SHORT
        ),
        talk.stream(QUESTIONS[0]),
    )
    answers = []
    for stream in streams:
        for _ in range(3):
            next(stream)
        stream.change(**change)
        *_, last = stream
        answers.append(last.generation)
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[1].preferences == talk.turns[0].preferences == ("verbose",)
    assert talk.settings.amulet == change["amulet"]


def test_a_change_before_the_first_piece_is_in_the_answer(talk: Conversation) -> None:
    other = talk.fork()
    other.set(preference="formal")
    stream = talk.stream(QUESTIONS[0])
    stream.change(preference="formal")
    assert stream.whole().token_ids == other.send(QUESTIONS[0]).token_ids


def test_sampling_of_an_answer_that_has_begun_stays(talk: Conversation) -> None:
    stream = talk.stream(QUESTIONS[0])
    next(stream)
    talk.set(sampling=SamplingParams(max_tokens=3))
    assert len(stream.whole().token_ids) == SHORT.max_tokens
    assert len(talk.send(QUESTIONS[1]).token_ids) == 3


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"preference": "creativ"}, errors.UnknownPreferenceError),
        ({"preference": []}, errors.InvalidParameterError),
        ({"preference": 3}, errors.InvalidParameterError),
        ({"preference": None, "method": "amulet"}, errors.InvalidParameterError),
        ({"avoid": "concise"}, errors.InvalidParameterError),
        ({"method": "magic"}, errors.UnknownMethodError),
        ({"preset": "balanced", "amulet": AmuletParams()}, errors.InvalidParameterError),
        ({"preset": "none"}, errors.InvalidParameterError),
        ({"amulet": 3}, errors.InvalidParameterError),
        ({"amulet": AmuletParams(mix="adaptive"), "avoid": "formal"}, errors.InvalidParameterError),
        ({"sampling": {"max_tokens": 3}}, errors.InvalidParameterError),
        ({"placement": "assistant"}, errors.InvalidParameterError),
        ({"placement": []}, errors.InvalidParameterError),
        ({"on_full": "forget"}, errors.InvalidParameterError),
        ({"on_full": None}, errors.InvalidParameterError),
        ({"system": 3}, errors.InvalidRequestError),
        ({"system": "a \ud800"}, errors.InvalidTextError),
        ({"preference": "a \ud800 b"}, errors.InvalidTextError),
    ],
)  # fmt: skip
def test_a_bad_setting_is_refused_at_once_and_changes_nothing(
    scripted: Engine, talk: Conversation, changes: dict[str, Any], kind: type[Exception]
) -> None:
    before = talk.settings
    with pytest.raises(kind):
        talk.set(**changes)
    assert talk.settings is before
    with pytest.raises(kind):
        scripted.conversation(**{"preference": "concise", **changes})


def test_a_change_that_a_running_turn_has_no_room_for_is_refused(talk: Conversation) -> None:
    stream = talk.stream(QUESTIONS[0])
    next(stream)
    before = talk.settings
    with pytest.raises(errors.ConversationFullError):
        stream.change(preference=Preference(text="like a teacher " * 200))
    assert talk.settings is before
    assert len(stream.whole().token_ids) == SHORT.max_tokens


# --- undo, regenerate, edit, fork ---------------------------------------------------------------


def test_undo_takes_the_last_turn_back(talk: Conversation) -> None:
    first = talk.send(QUESTIONS[0])
    second = talk.send(QUESTIONS[1])
    taken = talk.undo()
    assert (taken.question, taken.answer) == (QUESTIONS[1], second.text)
    assert talk.send(QUESTIONS[1]).token_ids == second.token_ids
    talk.undo()
    talk.undo()
    assert talk.turns == ()
    assert talk.send(QUESTIONS[0]).token_ids == first.token_ids


def test_regenerate_draws_another_answer(talk: Conversation) -> None:
    talk.set(sampling=SAMPLED, preference=None)
    talk.send(QUESTIONS[0])
    answers = {talk.regenerate().token_ids for _ in range(4)}
    assert len(answers) > 1
    assert len(talk.turns) == 1
    seeded = talk.regenerate(seed=7)
    assert talk.regenerate(seed=7).token_ids == seeded.token_ids
    assert seeded.seed == 7 == talk.turns[0].seed
    talk.set(sampling=SAMPLED.replace(seed=7))
    assert talk.regenerate().seed != 7
    with pytest.raises(errors.InvalidParameterError, match="seed"):
        talk.regenerate(seed=-1)


def test_regenerate_of_a_greedy_answer_follows_the_settings(talk: Conversation) -> None:
    first = talk.send(QUESTIONS[0])
    assert talk.regenerate().token_ids == first.token_ids
    talk.set(preference="formal")
    assert talk.regenerate().preferences == ("formal",)
    assert questions(talk) == [QUESTIONS[0]]


@pytest.mark.parametrize("turn", [1, -2])
def test_edit_forgets_what_follows(talk: Conversation, turn: int) -> None:
    for question in QUESTIONS[:3]:
        talk.send(question)
    other = talk.fork()
    edited = talk.edit(turn, "Really?")
    assert questions(talk) == [QUESTIONS[0], "Really?"]
    other.undo()
    other.undo()
    assert other.send("Really?").token_ids == edited.token_ids


@pytest.mark.parametrize("how", ["edit", "regenerate"])
def test_what_is_replaced_stays_until_the_answer_is_complete(talk: Conversation, how: str) -> None:
    for question in QUESTIONS[:2]:
        talk.send(question)
    before = talk.turns
    stream = talk.stream_edit(0, "Really?") if how == "edit" else talk.stream_regenerate()
    next(stream)
    assert talk.turns is before
    stream.whole()
    assert len(talk.turns) == (1 if how == "edit" else 2)


def test_forks_go_their_own_ways(talk: Conversation) -> None:
    talk.send(QUESTIONS[0])
    other = talk.fork()
    other.set(preference="formal")
    other.send(QUESTIONS[1])
    talk.send(QUESTIONS[2])
    assert questions(other) == [QUESTIONS[0], QUESTIONS[1]]
    assert questions(talk) == [QUESTIONS[0], QUESTIONS[2]]
    assert talk.settings.preference[0].name == "concise"
    talk.undo()
    assert talk.send(QUESTIONS[2]).preferences == ("concise",)


def test_there_is_nothing_to_take_back_in_an_empty_conversation(talk: Conversation) -> None:
    for call in (talk.undo, talk.regenerate, lambda: talk.edit(0, "Why?")):
        with pytest.raises(errors.InvalidRequestError, match="no turn yet"):
            call()


@pytest.mark.parametrize("turn", [2, -3, "0", None, True, 0.0])
def test_a_turn_that_isnt_there_is_an_error(talk: Conversation, turn: Any) -> None:
    talk.send(QUESTIONS[0])
    before = talk.turns
    with pytest.raises(errors.InvalidRequestError):
        talk.edit(turn, "Why?")
    assert talk.turns is before


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", errors.EmptyPromptError),
        (" \n", errors.EmptyPromptError),
        (None, errors.InvalidRequestError),
        ([{"type": "text", "text": "a"}], errors.InvalidRequestError),
        ("a \ud800", errors.InvalidTextError),
    ],
)
def test_a_bad_question_is_an_error_at_once(
    talk: Conversation, text: Any, kind: type[Exception]
) -> None:
    talk.send(QUESTIONS[0])
    for call in (talk.stream, lambda text: talk.stream_edit(0, text)):
        with pytest.raises(kind):
            call(text)
    assert questions(talk) == [QUESTIONS[0]]


# --- interrupted -------------------------------------------------------------------------------


def test_a_cancelled_answer_stays_as_far_as_it_got(scripted: Engine, talk: Conversation) -> None:
    stream = talk.stream(QUESTIONS[0])
    seen = [next(stream).text for _ in range(3)]
    scripted.cancel()
    *_, last = stream
    assert last.finish_reason == "cancelled"
    (turn,) = talk.turns
    assert turn.finish_reason == "cancelled"
    assert turn.answer == "".join(seen) + last.text
    assert talk.send(QUESTIONS[1]).text


@pytest.mark.parametrize("how", ["close", "with", "forget"])
@pytest.mark.lengthy
def test_leaving_a_stream_cancels_its_turn(scripted: Engine, talk: Conversation, how: str) -> None:
    stream = talk.stream(QUESTIONS[0])
    seen = [next(stream).text for _ in range(3)]
    if how == "close":
        stream.close()
    elif how == "with":
        with stream:
            pass
    del stream
    gc.collect()
    (turn,) = talk.turns
    assert turn.finish_reason == "cancelled"
    assert turn.answer == "".join(seen)
    assert len(turn.token_ids) == 3
    talk.send(QUESTIONS[1])
    assert questions(talk) == list(QUESTIONS[:2])


def test_a_turn_without_a_token_is_not_kept(tiny_path: Path) -> None:
    with load(tiny_path, n_ctx=512, n_batch=16) as engine:
        talk = engine.conversation(preference="concise", sampling=SHORT)
        talk.send(QUESTIONS[0])
        before = talk.turns
        talk.stream(QUESTIONS[1]).close()
        answer = talk.edit(0, QUESTIONS[1] * 20, prompt_progress=lambda *_: engine.cancel())
        assert (answer.finish_reason, answer.token_ids) == ("cancelled", ())
        assert talk.turns is before
        assert talk.send(QUESTIONS[1]).text


def test_ctrl_c_keeps_what_was_said(
    real_talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = real_talk.stream(QUESTIONS[0])
    seen = [next(stream).text for _ in range(3)]

    def interrupted(self: object, token: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("amulet_local.llama.rows.RowSet.step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    (turn,) = real_talk.turns
    assert (turn.answer, turn.finish_reason) == ("".join(seen), "cancelled")
    assert real_talk.send(QUESTIONS[1]).text


@pytest.mark.parametrize(
    ("how", "failing_call"), [("send", 1), ("send", 4), ("regenerate", 3), ("edit", 2)]
)
def test_a_failed_turn_leaves_the_conversation_as_it_was(
    real_talk: Conversation, monkeypatch: pytest.MonkeyPatch, failing_call: int, how: str
) -> None:
    import llama_cpp

    for question in QUESTIONS[:2]:
        real_talk.send(question)
    before, expected = real_talk.turns, real_talk.fork().send(QUESTIONS[2]).token_ids
    real = llama_cpp.llama_decode
    calls = itertools.count(1)

    def sometimes(*arguments: Any) -> int:
        return -3 if next(calls) == failing_call else real(*arguments)

    call: Callable[[], Any] = {
        "send": lambda: real_talk.send(QUESTIONS[2]),
        "regenerate": real_talk.regenerate,
        "edit": lambda: real_talk.edit(0, "Really?"),
    }[how]
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", sometimes)
        with pytest.raises(errors.DecodeError):
            call()
    assert real_talk.turns is before
    assert real_talk.send(QUESTIONS[2]).token_ids == expected


def test_a_closed_engine_ends_the_turn_and_refuses_the_next(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=256)
    talk = engine.conversation(preference="formal", sampling=SHORT)
    stream = talk.stream(QUESTIONS[0])
    next(stream)
    engine.close()
    *_, last = stream
    assert last.finish_reason == talk.turns[0].finish_reason == "cancelled"
    before = talk.turns
    for call in (
        lambda: talk.send(QUESTIONS[1]),
        talk.regenerate,
        engine.conversation,
        lambda: engine.load_conversation("x"),
    ):
        with pytest.raises(errors.EngineClosedError):
            call()
    assert talk.turns is before
    talk.undo()


# --- full --------------------------------------------------------------------------------------


def filled(engine: Engine, on_full: Any = "error") -> Conversation:
    """A conversation with room for no more than a word."""
    talk = engine.conversation(preference="concise", system="Be kind.", sampling=SHORT)
    while True:
        try:
            talk.send(LONG)
        except errors.ConversationFullError:
            talk.set(on_full=on_full)
            return talk


def test_a_full_context_is_an_error_with_counts_before_anything_is_computed(
    reusing: Engine,
) -> None:
    talk = filled(reusing)
    before, computed = talk.turns, reusing._rows.n_decoded
    assert len(before) > 5
    with pytest.raises(errors.ConversationFullError, match="undo") as caught:
        talk.stream(LONG)
    error = caught.value
    assert error.n_ctx == reusing.n_ctx
    assert error.n_answer_tokens == SHORT.max_tokens
    assert error.n_prompt_tokens + error.n_answer_tokens - 1 > error.n_ctx
    assert str(error.n_prompt_tokens) in str(error)
    assert (talk.turns, reusing._rows.n_decoded) == (before, computed)
    talk.undo()
    assert talk.send(LONG).text


def test_dropping_leaves_out_the_oldest_turns_and_says_so(reusing: Engine) -> None:
    talk = filled(reusing, "drop_oldest")
    before = talk.turns
    answer = talk.send(LONG)
    n_dropped = talk.n_dropped
    assert len(before) / 3 < n_dropped < len(before)
    (warning,) = (text for text in answer.warnings if "left out" in text)
    assert f"oldest {n_dropped} of {len(before)} turns" in warning
    assert talk.turns[:-1] == before
    assert answer.usage.prompt_tokens < 0.6 * reusing.n_ctx
    prompt = draft_of(talk, "And?").request.prompts[1]
    pieces = b"".join(map(reusing.model.vocabulary.piece, prompt)).decode()
    assert "Be kind." in pieces
    assert "And?\nAnswer the question concisely, with only" in pieces
    again = talk.send(LONG)
    assert talk.n_dropped == n_dropped
    assert again.usage.computed_tokens < 2 * 80
    assert any("left out" in text for text in again.warnings)
    for _ in range(2):
        talk.undo()
    assert talk.n_dropped == 0


def test_a_question_that_never_fits_is_an_error_under_both_policies(reusing: Engine) -> None:
    talk = filled(reusing, "drop_oldest")
    before = talk.turns
    for _ in range(2):
        with pytest.raises(errors.ConversationFullError, match="shorten"):
            talk.send("river " * 600)
        assert talk.turns is before
        talk = reusing.conversation()
        before = ()


@pytest.mark.parametrize(("max_tokens", "share"), [(1, 0), (20, 0), (512, 4), (10**6, 4)])
def test_room_for_the_answer_is_max_tokens_and_at_most_a_quarter(
    tiny_engine: Engine, max_tokens: int, share: int
) -> None:
    n_ctx = tiny_engine.n_ctx
    room = n_ctx // share if share else max_tokens
    real_talk = tiny_engine.conversation(system="", sampling=SamplingParams(max_tokens=max_tokens))
    n_template = len(draft_of(real_talk, "a").request.prompts[0]) - 1
    fits = n_ctx - room + 1 - n_template
    assert len(draft_of(real_talk, "a" + " a" * (fits - 1)).request.prompts[0]) == n_ctx - room + 1
    with pytest.raises(errors.ConversationFullError) as caught:
        real_talk.send("a" + " a" * fits)
    assert caught.value.n_answer_tokens == room
    assert caught.value.n_prompt_tokens == n_ctx - room + 2


def test_an_answer_that_fills_the_context_is_cut_and_kept(tiny_engine: Engine) -> None:
    real_talk = tiny_engine.conversation(system="", sampling=NEVER_ENDS)
    answer = real_talk.send("river " * 330)
    assert answer.finish_reason == real_talk.turns[0].finish_reason == "length"
    assert any("full" in text for text in answer.warnings)
    with pytest.raises(errors.ConversationFullError):
        real_talk.send("And?")


# --- threads -----------------------------------------------------------------------------------


def test_threads_take_turns(scripted: Engine, talk: Conversation) -> None:
    failures: list[BaseException] = []

    def ask(name: str) -> None:
        try:
            for n in range(2):
                talk.send(f"{name} {n}?")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("Why", "Who")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures
    assert sorted(questions(talk)) == ["Who 0?", "Who 1?", "Why 0?", "Why 1?"]
    replayed = scripted.conversation(**talk.settings.arguments())
    for turn in talk.turns:
        assert replayed.send(turn.question).token_ids == turn.token_ids


def test_the_thread_of_a_running_turn_is_refused_another(talk: Conversation) -> None:
    talk.send(QUESTIONS[0])
    stream = talk.stream(QUESTIONS[1])
    next(stream)
    before = talk.turns
    for call in (
        lambda: talk.send("Other?"),
        talk.undo,
        talk.regenerate,
        lambda: talk.edit(0, "Other?"),
    ):
        with pytest.raises(errors.EngineBusyError, match="conversation"):
            call()
    assert talk.turns is before
    assert talk.fork().turns == before
    stream.whole()
    assert questions(talk) == [QUESTIONS[0], QUESTIONS[1]]


def test_another_thread_waits_for_a_turn_and_then_sees_it(talk: Conversation) -> None:
    stream = talk.stream(QUESTIONS[0])
    next(stream)
    waiting = threading.Thread(target=talk.undo)
    waiting.start()
    time.sleep(0.1)
    assert waiting.is_alive()
    stream.whole()
    waiting.join(20)
    assert talk.turns == ()


def test_a_turn_that_nobody_advances_does_not_block_others_for_ever(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amulet_local.loading.stream_lock.PATIENCE_SECONDS", 0.2)
    stream = talk.stream(QUESTIONS[0])
    thread = threading.Thread(target=lambda: next(stream))
    thread.start()
    thread.join()
    with pytest.raises(errors.EngineBusyError):
        talk.send(QUESTIONS[1])
    stream.close()
    assert talk.send(QUESTIONS[1]).text


def test_conversations_of_one_engine_do_not_disturb_each_other(reusing: Engine) -> None:
    def ask(name: str, results: dict[str, list[tuple[int, ...]]]) -> None:
        talk = reusing.conversation(preference="formal", system=name, sampling=SHORT)
        results[name] = [talk.send(question).token_ids for question in QUESTIONS[:3]]

    together: dict[str, list[tuple[int, ...]]] = {}
    threads = [threading.Thread(target=ask, args=(name, together)) for name in ("Be kind.", "Go.")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {len(answers) for answers in together.values()} == {3}


# --- any order of calls ------------------------------------------------------------------------


class Script:
    """Answers that depend on the prompt alone, without a model; prompts are the real ones."""

    def __init__(self, engine: Engine) -> None:
        self.prompts: tuple[tuple[int, ...], ...] = ()
        self.fails = False
        self._vocabulary = engine.model.vocabulary
        self.source = AnswerSource(
            request=engine._request, stream=self.stream, n_ctx=160, model="script"
        )

    def stream(
        self, request: Request, progress: Progress | None, control: Control
    ) -> Generator[Chunk, None, None]:
        self.prompts = request.prompts
        draw = random.Random(hash((request.prompts, request.seed if request.trace else 0)))
        tokens, text = [], ""
        for _ in range(draw.randint(1, 4)):
            tokens.append(draw.randrange(300, 8000))
            piece = self._vocabulary.piece(tokens[-1]).decode("utf-8", "replace")
            text += piece
            yield Chunk(text=piece, token_ids=(tokens[-1],))
            if self.fails:
                raise errors.LogitsError("as the test wants it")
        yield Chunk(
            text="",
            finish_reason="stop",
            generation=Generation(
                text=text,
                token_ids=tuple(tokens),
                finish_reason="stop",
                usage=Usage(prompt_tokens=1, completion_tokens=1, computed_tokens=1),
                timings=Timings(
                    prompt_seconds=0,
                    time_to_first_token_seconds=0,
                    decode_seconds=0,
                    tokens_per_second=0,
                ),
                method=request.method,
                preset=request.preset,
                guidance_scale=1.0,
                preferences=request.preferences,
                seed=None,
                warnings=request.warnings,
            ),
        )


def test_sampling_for_later_needs_no_room_now(tiny_engine: Engine) -> None:
    source = Script(tiny_engine).source
    real_talk = Conversation(source, ConversationSettings(system="", sampling=SHORT))
    text = "a" + " a" * (source.n_ctx - len(draft_of(real_talk, "a").request.prompts[0]) - 10)
    stream = real_talk.stream(text)
    next(stream)
    real_talk.set(sampling=SamplingParams(max_tokens=40))
    real_talk.set(preset="paper")
    assert stream.whole().preset == ""
    with pytest.raises(errors.ConversationFullError):
        real_talk.send(text)


CALLS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("send"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("leave"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("fail"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("undo"), st.just(0)),
    st.tuples(st.just("regenerate"), st.just(0)),
    st.tuples(st.just("edit"), st.integers(-2, 4)),
    st.tuples(st.just("fork"), st.booleans()),
    st.tuples(
        st.just("set"),
        st.sampled_from(
            [
                {"preference": "formal"},
                {"preference": ["concise", "in rhyme, please"]},
                {"preference": None},
                {"placement": "user"},
                {"placement": "system"},
                {"system": "Be kind."},
                {"preset": "paper"},
            ]
        ),
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=st.lists(CALLS, max_size=14))
def test_any_order_of_calls_keeps_the_history_of_a_simple_list(
    tiny_engine: Engine, calls: list[tuple[str, Any]]
) -> None:
    script = Script(tiny_engine)
    start = ConversationSettings(system="", on_full="drop_oldest", sampling=SHORT)
    real_talk = Conversation(script.source, start)
    history: list[tuple[str, tuple[int, ...]]] = []
    forks: list[tuple[Conversation, list[tuple[str, tuple[int, ...]]]]] = []

    def answered(kept: int, question: str, ids: tuple[int, ...]) -> None:
        """A turn was added: its prompt is the one that the turns alone give."""
        del history[kept:]
        anew = Conversation(script.source, real_talk.settings, real_talk.turns[:kept])
        assert draft_of(anew, question).request.prompts == script.prompts
        assert draft_of(anew, question).n_dropped == real_talk.n_dropped
        assert max(map(len, script.prompts)) + SHORT.max_tokens - 1 <= script.source.n_ctx
        history.append((question, ids))

    for name, argument in calls:
        n = len(history)
        if name == "send":
            answered(n, argument, real_talk.send(argument).token_ids)
        elif name == "leave":
            with real_talk.stream(argument) as stream:
                ids = next(stream).token_ids
            answered(n, argument, ids)
        elif name == "fail":
            script.fails = True
            with pytest.raises(errors.LogitsError):
                real_talk.send(argument)
            script.fails = False
        elif name == "set":
            real_talk.set(**argument)
        elif name == "fork":
            forks.append((real_talk, list(history)))
            real_talk = real_talk.fork()
            if argument:
                real_talk, forks[-1] = forks[-1][0], (real_talk, list(history))
        elif name == "edit" and -n <= argument < n:
            answered(argument % n, "Really?", real_talk.edit(argument, "Really?").token_ids)
        elif not n or name == "edit":
            with pytest.raises(errors.InvalidRequestError):
                real_talk.edit(argument, "Really?") if name == "edit" else real_talk.undo()
        elif name == "undo":
            taken = real_talk.undo()
            assert (taken.question, taken.token_ids) == history.pop()
        else:
            answered(n - 1, history[-1][0], real_talk.regenerate().token_ids)
        for other, expected in [(real_talk, history), *forks]:
            assert [(turn.question, turn.token_ids) for turn in other.turns] == expected


# --- for long ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("placement", ["system", "user"])
def test_two_hundred_turns_cost_the_same_each_and_leave_memory_as_it_is(
    tiny_path: Path, placement: Placement, tmp_path: Path
) -> None:
    import psutil

    process = psutil.Process()
    sizes, costs, dropping = [], [], 0
    with load(tiny_path, n_ctx=512, schedule="parallel") as engine:
        talk = engine.conversation(
            preference="formal", placement=placement, sampling=SHORT, on_full="drop_oldest"
        )
        for n in range(200):
            before = talk.n_dropped
            usage = talk.send(f"{QUESTIONS[n % len(QUESTIONS)]} ({n})").usage
            talk.save(tmp_path / "talk.json")
            sizes.append(process.memory_info().rss)
            if talk.n_dropped == before:
                costs.append(usage.computed_tokens)
            else:
                dropping += 1
    print(
        f"{placement}: {sum(costs) / len(costs):.1f} tokens a turn, at most {max(costs[1:])}; "
        f"{dropping} times turns were left out, {talk.n_dropped} in the end; "
        f"{(sizes[-1] - sizes[50]) / 2**20:+.1f} MiB after turn 50"
    )
    assert len(talk.turns) == 200
    assert max(costs[1:]) < 2 * 40
    assert 3 < dropping < 25
    assert sizes[-1] - sizes[50] < 16 * 2**20


def test_a_revised_answer_is_what_the_next_turns_follow(
    talk: Conversation, scripted: Engine, tmp_path: Path
) -> None:
    talk.send(QUESTIONS[0])
    talk.send(QUESTIONS[1])
    first, second = talk.turns
    talk.revise("Read a book.")
    assert talk.turns[0] is first
    assert (talk.turns[1].question, talk.turns[1].answer) == (second.question, "Read a book.")
    talk.save(tmp_path / "talk.json")
    other = scripted.load_conversation(tmp_path / "talk.json")
    assert other.turns == talk.turns
    assert other.send("And then?").token_ids == talk.send("And then?").token_ids
    assert talk.messages[-3] == {"role": "assistant", "content": "Read a book."}


def test_nothing_is_revised_by_nothing(talk: Conversation) -> None:
    with pytest.raises(errors.InvalidRequestError, match="no turn"):
        talk.revise("Read a book.")
    talk.send(QUESTIONS[0])
    before = talk.turns
    for wrong in (" ", 7):
        with pytest.raises(errors.InvalidRequestError):
            talk.revise(wrong)  # type: ignore[arg-type]
    assert talk.turns == before
