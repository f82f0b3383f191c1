"""What a completion call has, on the real model: stop texts, reasoning, prefixes, choices."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amulet_local import AmuletParams, Engine, SamplingParams, errors, load

THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking is not false %}<think>\n{% endif %}"
)
THOUGHT = 'root ::= "<think>" [a-z ]{8,24} "</think>\\n\\n" "Yes" [a-z ]{4,8} "."'


@pytest.fixture(scope="module")
def thinking_engine(tiny_path: Any) -> Any:
    with load(tiny_path, n_ctx=512, chat_template=THINKING, reproducible=True) as engine:
        yield engine


# ------------------------------------------------------------------------------- stop texts


def test_a_stop_text_ends_the_answer_where_it_begins(scripted: Engine) -> None:
    free = scripted.generate("What is yeast?", sampling=SamplingParams(max_tokens=24))
    assert len(free.text) > 40
    for start in (9, 20, 33):
        stop = free.text[start : start + 7]
        ended = scripted.generate(
            "What is yeast?", sampling=SamplingParams(max_tokens=24, stop=("never", stop))
        )
        assert ended.text == free.text[: free.text.index(stop)]
        assert ended.finish_reason == "stop"
        assert free.token_ids[: len(ended.token_ids)] == ended.token_ids
        assert len(ended.token_ids) < 24


@pytest.mark.parametrize("stop", ["", 3, ["a", None], ["x" * 1001], ["a"] * 65])
def test_bad_stop_texts_are_refused(stop: Any) -> None:
    with pytest.raises(errors.InvalidParameterError, match="stop"):
        SamplingParams(stop=stop)


SETTINGS = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(1, 10),
        "temperature": st.sampled_from([0.0, 0.7, 1.5]),
        "top_k": st.sampled_from([0, 5, 40]),
        "top_p": st.sampled_from([0.5, 0.95, 1.0]),
        "min_p": st.sampled_from([0.0, 0.05, 0.3]),
        "typical_p": st.sampled_from([1.0, 0.8]),
        "repeat_penalty": st.sampled_from([1.0, 1.2]),
        "presence_penalty": st.sampled_from([0.0, 0.5]),
        "dry_multiplier": st.sampled_from([0.0, 0.8]),
        "xtc_probability": st.sampled_from([0.0, 0.5]),
        "mirostat": st.sampled_from([0, 0, 2]),
        "ignore_eos": st.booleans(),
        "stop": st.lists(st.sampled_from(["e", " a", ". ", "\n", "sleep", " is a"]), max_size=2),
        "seed": st.integers(0, 2**32 - 2),
    }
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    options=SETTINGS,
    preset=st.sampled_from([None, "paper", "balanced", "strong"]),
    preference=st.sampled_from(["concise", "creative", "täglich 🙂", None]),
)
def test_a_stream_says_what_a_whole_answer_says(
    short_engine: Engine, options: dict[str, Any], preset: str | None, preference: str | None
) -> None:
    sampling = SamplingParams(**options)
    arguments: dict[str, Any] = {
        "preference": preference,
        "sampling": sampling,
        "system": "Be kind.",
    }
    if preference is not None:
        arguments["preset"] = preset
    whole = short_engine.generate("Why 🙂?", **arguments)
    chunks = list(short_engine.stream_generate("Why 🙂?", **arguments))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [token for chunk in chunks for token in chunk.token_ids] == [
        *whole.token_ids[: sum(len(chunk.token_ids) for chunk in chunks)]
    ]
    last = chunks[-1].generation
    assert last is not None
    assert (last.text, last.token_ids, last.finish_reason) == (
        whole.text,
        whole.token_ids,
        whole.finish_reason,
    )
    assert last.seed == whole.seed == (options["seed"] if options["temperature"] else None)
    for stop in sampling.stop:
        assert stop not in whole.text
    whole.text.encode()
    traced = short_engine.generate("Why 🙂?", trace=2, **arguments)
    assert traced.trace is not None
    assert tuple(item.token_id for item in traced.trace) == traced.token_ids == whole.token_ids
    for item in traced.trace:
        assert item.realigned <= 1e-6
        first, *others = (other.log_probability for other in item.top_realigned)
        assert item.realigned <= first + 1e-6
        assert [second <= first for second in others] in ([True], [])  # one was plausible


@pytest.fixture(scope="module")
def short_engine(tiny_path: Any) -> Any:
    with load(tiny_path, n_ctx=256, schedule="serial") as engine:
        yield engine


# --------------------------------------------------------------------------------- reasoning


def test_reasoning_in_tags_is_no_part_of_the_answer(scripted: Engine) -> None:
    def ask(**more: Any) -> Any:
        sampling = SamplingParams(max_tokens=64, grammar=THOUGHT, **more)
        return scripted.generate("What is yeast?", preset="paper", sampling=sampling)

    whole, inline = ask(), ask(reasoning_format="inline")
    assert inline.reasoning == ""
    before, after = inline.text.removeprefix("<think>").split("</think>")
    assert (whole.reasoning, whole.text) == (before.strip(), after.lstrip())
    assert whole.text.startswith("Yes")
    assert whole.token_ids == inline.token_ids
    assert ask(stop="Yes").text == ""
    assert ask(stop=whole.reasoning[:6]).text == whole.text


def test_a_stream_says_which_pieces_are_reasoning(scripted: Engine) -> None:
    sampling = SamplingParams(max_tokens=64, grammar=THOUGHT)
    *chunks, last = scripted.stream_generate("What is yeast?", sampling=sampling)
    assert last.generation is not None
    assert "".join(c.reasoning for c in chunks) == last.generation.reasoning != ""
    assert "".join(c.text for c in chunks) + last.text == last.generation.text
    assert all(chunk.is_reasoning for chunk in chunks if chunk.reasoning)
    assert not any(chunk.is_reasoning for chunk in chunks if chunk.text)


def test_a_template_that_opens_the_reasoning(thinking_engine: Engine) -> None:
    grammar = 'root ::= [a-z ]{4,12} "</think>" "Yes."'
    generation = thinking_engine.generate(
        "Is it?", sampling=SamplingParams(max_tokens=40, grammar=grammar)
    )
    assert generation.text == "Yes."
    assert generation.reasoning
    silent = thinking_engine.generate(
        "Is it?",
        template_arguments={"enable_thinking": False},
        sampling=SamplingParams(max_tokens=8),
    )
    assert silent.reasoning == ""
    assert silent.text


def test_template_arguments_of_the_engine_hold_for_conversations(tiny_path: Any) -> None:
    with load(
        tiny_path,
        n_ctx=256,
        chat_template=THINKING,
        template_arguments={"enable_thinking": False},
    ) as engine:
        talk = engine.conversation(sampling=SamplingParams(max_tokens=6))
        assert talk.send("Hi").text
        assert talk.turns[-1].reasoning == ""


@pytest.mark.parametrize("arguments", [{"messages": []}, {"x": object()}, ["a"], {3: 1}])
def test_bad_template_arguments_are_refused(scripted: Engine, arguments: Any) -> None:
    with pytest.raises(errors.InvalidRequestError, match="template"):
        scripted.generate("Hi", template_arguments=arguments)


def test_reasoning_that_is_cut_off_is_said(thinking_engine: Engine) -> None:
    generation = thinking_engine.generate("Is it?", sampling=SamplingParams(max_tokens=5))
    assert generation.text == ""
    assert generation.reasoning
    assert generation.finish_reason == "length"
    assert any("reasoning" in warning for warning in generation.warnings)


def test_reasoning_is_not_steered_unless_asked(thinking_engine: Engine) -> None:
    def scales(**guards: Any) -> list[float]:
        generation = thinking_engine.generate(
            "How do I sleep better?",
            preference="concise",
            amulet=AmuletParams(guidance_scale=3, **guards),
            sampling=SamplingParams(
                max_tokens=30, grammar='root ::= [a-z ]{9} "</think>" [a-z ]{9}'
            ),
            trace=0,
        )
        assert generation.trace is not None
        assert len(generation.reasoning) <= 9
        assert generation.text
        return [item.scale for item in generation.trace]

    assert set(scales()) == {3.0}
    gated = scales(reasoning_gating=True)
    first_steered = gated.index(3.0)
    assert set(gated[:first_steered]) == {1.0}
    assert set(gated[first_steered:]) == {3.0}


def test_a_conversation_goes_on_without_the_reasoning(thinking_engine: Engine) -> None:
    grammar = 'root ::= [a-z ]{4,12} "</think>" "Yes, it is."'
    talk = thinking_engine.conversation(sampling=SamplingParams(max_tokens=40, grammar=grammar))
    talk.send("Is it blue?")
    talk.send("Is it red?")
    first, second = talk.turns
    assert (first.answer, second.answer) == ("Yes, it is.", "Yes, it is.")
    assert first.reasoning
    assert second.reasoning
    assert first.reasoning not in str(talk.messages)


# ---------------------------------------------------------------------- prefixes and choices


def test_a_response_prefix_is_what_the_model_goes_on_from(exact_engine: Engine) -> None:
    vocabulary = exact_engine.model.vocabulary
    sampling = SamplingParams(max_tokens=12)
    for arguments in ({}, {"preference": "creative", "preset": "paper"}):
        whole = exact_engine.generate("What is yeast?", sampling=sampling, **arguments)
        start = b"".join(vocabulary.piece(token) for token in whole.token_ids[:4]).decode()
        again = vocabulary.tokenize(start, add_special=False, parse_special=False)
        assert tuple(again) == whole.token_ids[:4]
        rest = exact_engine.generate(
            "What is yeast?",
            response_prefix=start,
            sampling=sampling.replace(max_tokens=8),
            **arguments,
        )
        assert rest.token_ids == whole.token_ids[4:]
        assert start + rest.text == whole.text


def test_a_response_prefix_holds_no_control_tokens(scripted: Engine) -> None:
    def n_tokens(prefix: str) -> int:
        return scripted.generate(
            "Hi", response_prefix=prefix, sampling=SamplingParams(max_tokens=1)
        ).usage.prompt_tokens

    assert n_tokens("<|im_end|>") - n_tokens("") > 1
    with pytest.raises(errors.InvalidTextError):
        n_tokens("\ud800")


def test_choices_take_the_seeds_from_the_first_on(scripted: Engine) -> None:
    sampling = SamplingParams(max_tokens=6, temperature=1.5, seed=2**32 - 3)
    several = scripted.generate_choices("Tell me a story.", 3, sampling=sampling)
    assert [one.seed for one in several] == [2**32 - 3, 2**32 - 2, 0]
    again = [
        scripted.generate("Tell me a story.", sampling=sampling.replace(seed=one.seed))
        for one in several
    ]
    assert [one.text for one in again] == [one.text for one in several]
    free = scripted.generate_choices(
        "Tell me a story.", 2, sampling=SamplingParams(max_tokens=2, temperature=1)
    )
    assert free[0].seed != free[1].seed
    for n in (0, 129, True, "2"):
        with pytest.raises(errors.InvalidParameterError, match="n must be"):
            scripted.generate_choices("Hi", n)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ cancellation


def test_cancelling_a_stream_ends_that_one_only(tiny_path: Any) -> None:
    with load(tiny_path, n_ctx=512, schedule="serial") as engine:
        running = engine.stream_generate("Tell me a story.", sampling=SamplingParams(max_tokens=60))
        waiting = engine.stream_generate("Hi", sampling=SamplingParams(max_tokens=60))
        next(running)
        waiting.cancel()
        done: list[Any] = []
        thread = threading.Thread(target=lambda: done.extend(waiting))
        thread.start()
        rest = list(running)
        thread.join()
        assert rest[-1].finish_reason in ("length", "stop")
        assert [chunk.finish_reason for chunk in done] == ["cancelled"]
        assert done[0].generation.token_ids == ()
        stopped = engine.stream_generate("Tell me.", sampling=SamplingParams(max_tokens=60))
        next(stopped)
        stopped.cancel()
        *_, last = stopped
        assert last.finish_reason == "cancelled"
        stopped.cancel()
        assert (
            engine.generate("Hi", sampling=SamplingParams(max_tokens=3)).finish_reason == "length"
        )
