"""A streamed answer: steered while it runs, and honest where it can't be."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import AmuletParams, Engine, Preference, SamplingParams, errors, load
from amulet_local.answering.answer_stream import AnswerStream
from amulet_local.common.results import Generation
from amulet_local.llama.row import common_length
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS

MESSAGES = [  # short, because most of the time goes into prompts
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I sleep?"},
]
N_BEFORE, N_TOKENS = 3, 8
SAMPLING = SamplingParams(max_tokens=N_TOKENS, ignore_eos=True)
TWICE, THRICE = AmuletParams(guidance_scale=2), AmuletParams(guidance_scale=3)


def begin(engine: Engine, **arguments: Any) -> AnswerStream:
    """A stream after N_BEFORE tokens."""
    stream = engine.stream_generate(MESSAGES, **{"sampling": SAMPLING, **arguments})
    for _ in range(N_BEFORE):
        assert next(stream).generation is None
    return stream


def finish(stream: AnswerStream) -> Generation:
    *_, last = stream
    assert last.generation is not None
    return last.generation


def continued(engine: Engine, answer: Generation, **arguments: Any) -> tuple[int, ...]:
    """What comes after the answer's first N_BEFORE tokens under other prompts."""
    request = engine.stream_generate(MESSAGES, **arguments)._make_request(
        preference=arguments.get("preference"),
        avoid=arguments.get("avoid"),
        amulet=arguments.get("amulet"),
        preset=None,
    )
    start = answer.token_ids[:N_BEFORE]
    plain, *others = ((*prompt, *start) for prompt in request.prompts)
    return engine.generate_from_tokens(
        plain,
        others or None,
        weights=list(request.plan.weights) or None,
        amulet=arguments.get("amulet"),
        sampling=SamplingParams(max_tokens=N_TOKENS - N_BEFORE),
    ).token_ids


# --- right --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"preference": "concise", "amulet": TWICE},
            {"preference": "creative", "amulet": TWICE},
        ),
        (
            {"preference": "concise", "amulet": TWICE},
            {"preference": "concise", "amulet": AmuletParams(guidance_scale=0)},
        ),
        ({}, {"preference": "creative", "amulet": THRICE}),
        ({"preference": "creative", "amulet": AmuletParams()}, {}),
        (
            {"preference": "concise", "amulet": TWICE},
            {"preference": ["creative", "formal"], "avoid": "concise", "amulet": TWICE},
        ),
    ],
)
def test_changed_answer_goes_on_as_from_the_new_prompts_and_the_tokens_so_far(
    exact_engine: Engine, before: dict[str, Any], after: dict[str, Any]
) -> None:
    stream = begin(exact_engine, **before)
    stream.change(**after)
    answer = finish(stream)
    unchanged = exact_engine.generate(MESSAGES, sampling=SAMPLING, **before)
    assert answer.token_ids[:N_BEFORE] == unchanged.token_ids[:N_BEFORE]
    assert answer.token_ids[N_BEFORE:] == continued(exact_engine, answer, **after)
    assert answer.token_ids != unchanged.token_ids


def test_change_of_strength_alone_computes_nothing_anew(scripted: Engine) -> None:
    """Not even with reproducible=True, where rows are never kept for another prompt."""
    stream = begin(scripted, preference="concise", amulet=THRICE)
    stream.change(preference="concise", amulet=TWICE)
    answer = finish(stream)
    n_prompts = sum(len(prompt) for prompt in _prompts(scripted, preference="concise"))
    assert answer.usage.computed_tokens == n_prompts + 2 * (N_TOKENS - 1)
    assert answer.guidance_scale == 2


def test_change_of_weights_alone_computes_nothing_anew(scripted: Engine) -> None:
    stream = begin(scripted, preference=["concise", "formal"], amulet=TWICE)
    stream.change(preference=["concise:0.2", "formal:-1"], amulet=TWICE)
    answer = finish(stream)
    prompts = _prompts(scripted, preference=["concise", "formal"])
    assert answer.usage.computed_tokens == sum(map(len, prompts)) + 3 * (N_TOKENS - 1)


def test_rows_keep_what_they_share_with_the_new_prompts(
    exact_engine: Engine, tiny_f32_path: Path
) -> None:
    with load(
        tiny_f32_path, n_ctx=256, cache_type_k="f32", cache_type_v="f32", schedule="serial"
    ) as engine:
        stream = begin(engine, preference="concise", amulet=TWICE)
        stream.change(preference="creative", amulet=TWICE)
        answer = finish(stream)
    plain, concise, creative = (
        _prompts(exact_engine, preference=["concise", "creative"])[row] for row in range(3)
    )
    shared = common_length(concise, creative)
    assert shared > 8
    assert answer.usage.computed_tokens <= (
        len(plain) + len(concise) + len(creative) - shared + N_BEFORE + 2 * N_TOKENS
    )
    stream = begin(exact_engine, preference="concise", amulet=TWICE)
    stream.change(preference="creative", amulet=TWICE)
    assert answer.token_ids == finish(stream).token_ids


def _prompts(engine: Engine, **arguments: Any) -> list[tuple[int, ...]]:
    stream = engine.stream_generate(MESSAGES, **arguments)
    wanted = {"preference": None, "avoid": None, "amulet": None, "preset": None, **arguments}
    return list(stream._make_request(**wanted).prompts)


def test_change_before_the_first_token_holds_for_all_of_them(scripted: Engine) -> None:
    stream = scripted.stream_generate(MESSAGES, preference="concise", sampling=SAMPLING)
    stream.change(preference="creative", amulet=TWICE)
    answer = finish(stream)
    expected = scripted.generate(MESSAGES, preference="creative", amulet=TWICE, sampling=SAMPLING)
    assert answer.token_ids == expected.token_ids
    assert answer.usage == expected.usage
    assert (answer.preferences, answer.guidance_scale) == (("creative",), 2.0)


def test_the_last_of_several_changes_holds(scripted: Engine) -> None:
    answers = []
    for earlier in ((), ("formal", "verbose")):
        stream = begin(scripted, preference="concise")
        for preference in (*earlier, "creative"):
            stream.change(preference=preference, amulet=TWICE)
        answers.append(finish(stream).token_ids)
    assert answers[0] == answers[1]


def test_changed_back_in_time_nothing_changes(scripted: Engine) -> None:
    unchanged = scripted.generate(MESSAGES, preference="concise", sampling=SAMPLING)
    stream = begin(scripted, preference="concise")
    stream.change(preference="creative")
    stream.change(preference="concise")
    assert finish(stream).token_ids == unchanged.token_ids


def test_result_names_what_it_ended_with(scripted: Engine) -> None:
    stream = begin(scripted, preference="concise", preset="paper")
    stream.change(preference=["formal", "creative:0.5"])
    answer = finish(stream)
    assert len(answer.preferences) == 2
    assert answer.preferences[0] == "formal"
    assert answer.preset == DEFAULT_PRESET
    assert answer.guidance_scale == PRESETS[DEFAULT_PRESET].amulet.guidance_scale
    assert len(answer.token_ids) == N_TOKENS
    stream = begin(scripted, preference="concise")
    stream.change()
    answer = finish(stream)
    assert (answer.method, answer.preferences, answer.preset) == ("base", (), "")


def test_a_change_is_made_from_another_thread(scripted: Engine) -> None:
    expected = begin(scripted, preference="concise")
    expected.change(preference="creative", amulet=TWICE)
    tokens = finish(expected).token_ids
    stream = begin(scripted, preference="concise")
    thread = threading.Thread(target=lambda: stream.change(preference="creative", amulet=TWICE))
    thread.start()
    thread.join(30)
    assert finish(stream).token_ids == tokens


def test_changes_from_another_thread_at_any_time_leave_a_whole_answer(
    scripted: Engine,
) -> None:
    stream = scripted.stream_generate(
        MESSAGES, preference="concise", sampling=SamplingParams(max_tokens=24)
    )
    done = threading.Event()
    raised: list[BaseException] = []

    def disturb() -> None:
        try:
            for preference in itertools.cycle(("creative", "concise", None)):
                if done.is_set():
                    return
                stream.change(preference=preference)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        answer = finish(stream)
    finally:
        done.set()
        thread.join(30)
    assert raised == []
    assert len(answer.token_ids) == 24 or answer.finish_reason == "stop"


def test_draws_go_on_with_their_seed_after_a_change(scripted: Engine) -> None:
    sampling = SamplingParams(max_tokens=N_TOKENS, temperature=1.0, seed=5)
    answers = []
    for _ in range(2):
        stream = begin(scripted, preference="concise", sampling=sampling)
        stream.change(preference="creative", amulet=TWICE)
        answers.append(finish(stream))
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[0].seed == 5


# --- honest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"preference": "creativ"}, errors.UnknownPreferenceError),
        ({"preference": ""}, errors.InvalidParameterError),
        ({"preference": "formal", "preset": "nonesuch"}, errors.InvalidParameterError),
        (
            {"preference": "formal", "preset": "paper", "amulet": TWICE},
            errors.InvalidParameterError,
        ),
        ({"preference": "formal", "amulet": 3}, errors.InvalidParameterError),
        (
            {"preference": "formal", "avoid": "concise", "amulet": AmuletParams(mix="adaptive")},
            errors.InvalidParameterError,
        ),
        ({"preference": Preference(text="long " * 600)}, errors.PromptTooLongError),
    ],
)
def test_bad_change_is_a_typed_error_and_the_answer_goes_on(
    scripted: Engine, change: dict[str, Any], kind: type[Exception]
) -> None:
    unchanged = scripted.generate(MESSAGES, preference="concise", sampling=SAMPLING)
    stream = begin(scripted, preference="concise")
    with pytest.raises(kind):
        stream.change(**change)
    assert finish(stream).token_ids == unchanged.token_ids


@pytest.fixture(scope="module")
def small_engine(tiny_path: Path) -> Iterator[Engine]:
    with load(tiny_path, n_ctx=112, reproducible=True) as engine:
        yield engine


def test_change_that_leaves_no_room_ends_the_answer(small_engine: Engine) -> None:
    sampling = SamplingParams(max_tokens=200, ignore_eos=True)
    longer = Preference(text="in plain words " * 15)
    stream = small_engine.stream_generate(MESSAGES, preference="concise", sampling=sampling)
    room = small_engine.n_ctx - max(map(len, _prompts(small_engine, preference=longer)))
    assert room > 3
    seen = [next(stream) for _ in range(room + 1)]
    stream.change(preference=longer)
    answer = finish(stream)
    assert answer.finish_reason == "length"
    assert len(answer.token_ids) == len(seen)
    assert answer.text.startswith("".join(chunk.text for chunk in seen))
    assert any("context of 112" in warning for warning in answer.warnings)
    assert small_engine.generate(MESSAGES, sampling=SAMPLING).text


def test_change_that_just_fits_gets_its_last_token(small_engine: Engine) -> None:
    sampling = SamplingParams(max_tokens=200, ignore_eos=True)
    longer = Preference(text="in plain words " * 15)
    stream = small_engine.stream_generate(MESSAGES, preference="concise", sampling=sampling)
    room = small_engine.n_ctx - max(map(len, _prompts(small_engine, preference=longer)))
    for _ in range(room):
        next(stream)
    stream.change(preference=longer)
    answer = finish(stream)
    assert answer.finish_reason == "length"
    assert len(answer.token_ids) == room + 1


def test_change_after_the_end_does_nothing(scripted: Engine) -> None:
    stream = begin(scripted, preference="concise")
    finish(stream)
    stream.change(preference="formal")
    assert list(stream) == []


def test_closed_stream_frees_the_engine(scripted: Engine) -> None:
    stream = begin(scripted, preference="concise")
    stream.change(preference="formal")
    stream.close()
    assert list(stream) == []
    assert scripted.generate(MESSAGES, sampling=SAMPLING).text


def test_a_stream_that_a_block_is_left_with_frees_the_engine(scripted: Engine) -> None:
    with begin(scripted, preference="concise") as stream:
        assert next(stream).generation is None
    assert list(stream) == []
    assert scripted.generate(MESSAGES, sampling=SAMPLING).text


def test_change_on_a_closed_engine_is_a_typed_error(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=256)
    stream = begin(engine, preference="concise")
    engine.close()
    with pytest.raises(errors.EngineClosedError):
        stream.change(preference="formal")
    assert finish(stream).finish_reason == "cancelled"


@pytest.mark.parametrize("ending", ["failure", "cancel"])
def test_change_whose_prompts_fail_or_are_cancelled_leaves_the_engine_usable(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    import llama_cpp

    expected = tiny_engine.generate(MESSAGES, preference="concise", sampling=SAMPLING)
    stream = begin(tiny_engine, preference="concise")
    stream.change(preference="formal")
    if ending == "cancel":
        tiny_engine.cancel()
        answer = finish(stream)
        assert answer.finish_reason == "cancelled"
        assert answer.token_ids == expected.token_ids[:N_BEFORE]
    else:
        fails: Callable[..., int] = lambda *_: -3  # noqa: E731
        with monkeypatch.context() as patch:
            patch.setattr(llama_cpp, "llama_decode", fails)
            with pytest.raises(errors.DecodeError):
                next(stream)
    again = tiny_engine.generate(MESSAGES, preference="concise", sampling=SAMPLING)
    assert again.token_ids == expected.token_ids


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 4, 5])
def test_an_answer_that_ends_inside_a_character_ends_before_it(
    tiny_engine: Engine, max_tokens: int
) -> None:
    whole = "a\U0001f9a5b"
    sampling = SamplingParams(max_tokens=max_tokens, grammar=f'root ::= "{whole}"')
    pieces = list(tiny_engine.stream_generate("Hi", sampling=sampling))
    answer = pieces[-1].generation
    assert answer is not None
    assert whole.startswith(answer.text)
    assert "".join(piece.text for piece in pieces) == answer.text
    assert answer.finish_reason == "length"
