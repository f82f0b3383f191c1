"""The engine on the embedded model: right answers, honest errors, and usable after each of them."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amulet_local
from amulet_local import METHODS, AmuletParams, Engine, Preference, SamplingParams, errors, load
from amulet_local.preferences.preference import resolve
from amulet_local.steering.presets import PRESETS
from tests.tiny_model import N_TOKENS

QUESTION = "How do I sleep better?"
SHORT = SamplingParams(max_tokens=12)
LONG_TEXT = "The quick brown fox jumps over the lazy dog. " * 60


def fresh_answer(path: Path, **arguments: Any) -> tuple[int, ...]:
    with load(path, n_ctx=512, reproducible=True) as engine:
        return engine.generate(QUESTION, sampling=SHORT, **arguments).token_ids


@pytest.fixture(scope="module")
def expected(tiny_path: Path) -> tuple[int, ...]:
    """What a fresh engine answers under a preference."""
    return fresh_answer(tiny_path, preference="concise")


def assert_usable(engine: Engine, expected: tuple[int, ...]) -> None:
    answer = engine.generate(QUESTION, preference="concise", sampling=SHORT)
    assert answer.token_ids == expected


# --- right -------------------------------------------------------------------------------------


def test_base_gives_what_llama_cpp_python_gives(tiny_path: Path, tiny_engine: Engine) -> None:
    import llama_cpp

    reference = llama_cpp.Llama(
        str(tiny_path), n_ctx=512, n_batch=512, flash_attn=False, verbose=False, logits_all=False
    )
    for question in (QUESTION, "Name three rivers.", "Write a haiku about rain."):
        text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        prompt = reference.tokenize(text.encode(), add_bos=False, special=True)
        theirs = []
        for token in reference.generate(prompt, temp=0, repeat_penalty=1.0):
            theirs.append(token)
            if len(theirs) == 48 or token == reference.token_eos():
                break
        ours = tiny_engine.generate_from_tokens(
            prompt, method="base", sampling=SamplingParams(max_tokens=48)
        )
        assert list(ours.token_ids) == theirs
    reference.close()


def test_scale_one_gives_the_preference_prompts_answer(tiny_engine: Engine) -> None:
    steered = tiny_engine.generate(
        QUESTION, preference="creative", amulet=AmuletParams(guidance_scale=1), sampling=SHORT
    )
    prompted = tiny_engine.generate(QUESTION, preference="creative", method="pref", sampling=SHORT)
    assert steered.token_ids == prompted.token_ids


def test_scale_zero_gives_the_plain_answer(tiny_engine: Engine) -> None:
    steered = tiny_engine.generate(
        QUESTION,
        preference="creative",
        amulet=AmuletParams(guidance_scale=0),
        placement="user",
        sampling=SHORT,
    )
    plain = tiny_engine.generate(QUESTION, sampling=SHORT)
    assert steered.token_ids == plain.token_ids


def test_preference_changes_the_answer(tiny_engine: Engine) -> None:
    plain = tiny_engine.generate(QUESTION, sampling=SHORT)
    steered = tiny_engine.generate(QUESTION, preference="creative", sampling=SHORT)
    assert plain.method == "base"
    assert steered.method == "amulet"
    assert steered.preset == "balanced"
    assert steered.guidance_scale == PRESETS["balanced"].amulet.guidance_scale
    assert steered.token_ids != plain.token_ids


def test_mix_of_one_equals_the_single_preference(tiny_engine: Engine) -> None:
    single = tiny_engine.generate(QUESTION, preference="concise", sampling=SHORT)
    listed = tiny_engine.generate(QUESTION, preference=["concise"], sampling=SHORT)
    assert listed.token_ids == single.token_ids


def test_halves_of_one_preference_equal_the_whole(tiny_f32_path: Path) -> None:
    half = Preference(text="short and clear", weight=0.5)
    with load(tiny_f32_path, n_ctx=512) as engine:
        whole = engine.generate(
            QUESTION, preference=Preference(text="short and clear"), sampling=SHORT
        )
        halves = engine.generate(QUESTION, preference=[half, half], sampling=SHORT)
    assert halves.token_ids == whole.token_ids


def test_same_seed_gives_the_same_text_when_rows_are_reused(tiny_path: Path) -> None:
    sampling = SamplingParams(max_tokens=24, temperature=1.0, seed=7)
    with load(tiny_path, n_ctx=512, schedule="parallel") as engine:
        for question in (QUESTION, "Name three rivers.", "What is a heap?"):
            first, second = (
                engine.generate(
                    question,
                    preference="concise",
                    amulet=AmuletParams(guidance_scale=2),
                    sampling=sampling,
                )
                for _ in range(2)
            )
            assert second.token_ids == first.token_ids
            assert second.usage.computed_tokens == 2 * (len(second.token_ids) - 1)


def test_same_seed_gives_the_same_text_and_another_seed_another(tiny_engine: Engine) -> None:
    def answer(seed: int | None) -> Any:
        sampling = SamplingParams(max_tokens=24, temperature=1.0, seed=seed)
        return tiny_engine.generate(
            QUESTION, preference="concise", amulet=AmuletParams(guidance_scale=2), sampling=sampling
        )

    drawn = answer(None)
    assert answer(drawn.seed).token_ids == drawn.token_ids
    assert len({answer(seed).token_ids for seed in range(4)}) > 1


def test_penalties_keep_greedy_decoding_from_repeating(tiny_engine: Engine) -> None:
    prompt = tiny_engine.model.vocabulary.tokenize(
        "one two three one two three one two three", add_special=False, parse_special=False
    )

    def repeats(**penalties: float) -> int:
        sampling = SamplingParams(max_tokens=60, **penalties)
        tokens = tiny_engine.generate_from_tokens(prompt, sampling=sampling).token_ids
        return len(tokens) - len(set(tokens))

    assert repeats(presence_penalty=100.0) == 0 < repeats()


def test_stream_and_whole_answer_agree(tiny_engine: Engine) -> None:
    chunks = list(tiny_engine.stream_generate(QUESTION, preference="concise", sampling=SHORT))
    whole = tiny_engine.generate(QUESTION, preference="concise", sampling=SHORT)
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1].generation
    assert last is not None
    assert last.token_ids == whole.token_ids
    assert chunks[-1].finish_reason == last.finish_reason == whole.finish_reason


def test_max_tokens_is_respected(tiny_engine: Engine) -> None:
    for n in (1, 2, 7):
        answer = tiny_engine.generate(QUESTION, sampling=SamplingParams(max_tokens=n))
        assert len(answer.token_ids) == n == answer.usage.completion_tokens
        assert answer.finish_reason == "length"


def test_end_token_ends_the_answer_and_is_not_in_its_text(shared_engine: Engine) -> None:
    answer = shared_engine.generate(
        "Say only the word yes.", sampling=SamplingParams(max_tokens=200)
    )
    assert answer.finish_reason == "stop"
    assert answer.token_ids[-1] in shared_engine.model.vocabulary.end_tokens
    assert "<|im_end|>" not in answer.text


def test_usage_counts_the_tokens_that_were_computed(tiny_engine: Engine) -> None:
    plain, preference = [1, 2, 3, 4], [1, 2, 3, 4, 5, 6]
    answer = tiny_engine.generate_from_tokens(
        plain, preference, sampling=SamplingParams(max_tokens=3)
    )
    assert answer.usage.prompt_tokens == 6
    assert answer.usage.total_tokens == 6 + len(answer.token_ids)
    assert answer.usage.computed_tokens == 4 + 6 + 2 * (len(answer.token_ids) - 1)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_answers(tiny_engine: Engine, method: str) -> None:
    answer = tiny_engine.generate(
        QUESTION, preference="formal", method=method, sampling=SamplingParams(max_tokens=4)
    )
    assert answer.method == method
    assert answer.text


def test_emoji_streams_as_whole_characters(tiny_engine: Engine) -> None:
    vocabulary = tiny_engine.model.vocabulary
    text = "naïve 😀👍🏽 日本語 \U0001f468‍\U0001f469‍\U0001f467"
    tokens = vocabulary.tokenize(text, add_special=False, parse_special=False)
    assert len(tokens) > len(text.split())
    from amulet_local.llama.vocabulary import TextStream

    stream = TextStream(vocabulary)
    pieces = [stream.push(token) for token in tokens]
    assert "".join(pieces) == text
    assert "" in pieces
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    cut = TextStream(vocabulary)
    assert cut.push(vocabulary.tokenize("😀", add_special=False, parse_special=False)[0]) == ""


def test_score_equals_llama_cpp_pythons_logits(f32_path: Path) -> None:
    import llama_cpp

    response = "Go to bed at the same time every day, and keep the room dark."
    with load(f32_path, n_ctx=256, cache_type_k="f32", cache_type_v="f32") as engine:
        scored = engine.score(QUESTION, response, preference="concise")
        instructions = ["", *(item.instruction for item in resolve("concise"))]
        prompts, *_ = engine._prompter.prompts(
            QUESTION, instructions, system=None, placement="contrast"
        )
    reference = llama_cpp.Llama(
        str(f32_path),
        n_ctx=256,
        logits_all=True,
        flash_attn=False,
        type_k=0,
        type_v=0,
        verbose=False,
    )
    for prompt, ours in zip(prompts, (scored.plain, scored.preferences[0]), strict=True):
        reference.reset()
        reference.eval([*prompt, *scored.token_ids])
        logits = np.array(reference.scores[len(prompt) - 1 :], dtype=np.float64)
        theirs = [
            row[token] - np.logaddexp.reduce(row)
            for row, token in zip(logits, scored.token_ids, strict=False)
        ]
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    reference.close()
    assert len(scored.token_ids) > 12
    assert scored.margins[0] == pytest.approx(
        np.mean(np.subtract(scored.preferences[0], scored.plain))
    )


def test_score_of_a_greedy_answer_is_the_best_at_each_step(tiny_engine: Engine) -> None:
    answer = tiny_engine.generate(QUESTION, sampling=SHORT)
    own = tiny_engine.score(QUESTION, answer.token_ids)
    other = tiny_engine.score(QUESTION, answer.token_ids[:1] + answer.token_ids[:-1])
    assert own.plain[0] == pytest.approx(own.realigned[0])
    assert sum(own.plain) > sum(other.plain)


# --- honest ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"preference": "creativ"}, errors.UnknownPreferenceError),
        ({"preference": ""}, errors.InvalidParameterError),
        ({"preference": []}, errors.InvalidParameterError),
        ({"preference": 3}, errors.InvalidParameterError),
        ({"preference": "concise", "method": "magic"}, errors.UnknownMethodError),
        ({"method": "amulet"}, errors.InvalidParameterError),
        ({"preference": "a \ud800 b"}, errors.InvalidTextError),
        (
            {
                "preference": "concise",
                "method": "linear_alignment",
                "amulet": AmuletParams(alpha=1),
            },
            errors.InvalidParameterError,
        ),
    ],
)
def test_bad_request_raises_before_anything_runs(
    tiny_engine: Engine, arguments: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        tiny_engine.stream_generate(QUESTION, **arguments)


@pytest.mark.parametrize("messages", ["", "   ", [], [{"role": "system", "content": " "}]])
def test_nothing_to_answer_is_an_error(tiny_engine: Engine, messages: Any) -> None:
    with pytest.raises(errors.EmptyPromptError):
        tiny_engine.generate(messages)


@pytest.mark.parametrize(
    "field",
    [
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": 1.5},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": float("inf")},
        {"top_p": 0},
        {"min_p": -1},
        {"top_k": -1},
        {"repeat_penalty": 0},
        {"repeat_penalty": float("nan")},
        {"seed": -1},
        {"no_such_field": 1},
    ],
)
def test_bad_sampling_is_a_typed_error(field: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameterError, match=next(iter(field))):
        SamplingParams(**field)


@pytest.mark.parametrize(
    "field",
    [
        {"eta": 0},
        {"eta": -1},
        {"num_iterations": 0},
        {"num_iterations": 10**9},
        {"alpha": float("nan")},
        {"alpha": -1},
        {"lambda_": 0},
        {"lambda_": float("inf")},
        {"guidance_scale": float("nan")},
    ],
)
def test_bad_strength_is_a_typed_error(field: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameterError, match=next(iter(field))):
        AmuletParams(**field)


def test_strength_that_overflows_or_is_given_twice_is_a_typed_error() -> None:
    with pytest.raises(errors.InvalidParameterError, match="above 1000"):
        AmuletParams(alpha=9)
    with pytest.raises(errors.InvalidParameterError, match="leave out alpha"):
        AmuletParams(guidance_scale=3, alpha=2)


def test_steep_strength_is_answered_with_a_warning(tiny_engine: Engine) -> None:
    answer = tiny_engine.generate(
        QUESTION,
        preference="concise",
        amulet=AmuletParams(alpha=4),
        sampling=SamplingParams(max_tokens=2),
    )
    assert any("118" in warning for warning in answer.warnings)


@pytest.mark.parametrize("token", [-1, 49_152, 2**31, True])
def test_token_outside_the_vocabulary_is_a_typed_error(tiny_engine: Engine, token: int) -> None:
    with pytest.raises(errors.InvalidTokenError, match=str(token)):
        tiny_engine.generate_from_tokens([1, token])


@pytest.mark.parametrize("ids", [["a"], [1.5], "text", b"text", 7, {1: 2}, {1, 2}])
def test_ids_that_are_no_integers_are_a_typed_error(tiny_engine: Engine, ids: Any) -> None:
    with pytest.raises(errors.InvalidParameterError):
        tiny_engine.generate_from_tokens(ids)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sampling": {"max_tokens": 3}},
        {"amulet": 3.0},
        {"amulet": SamplingParams()},
        {"preference": [Preference(text="a b"), 3]},
    ],
)
def test_wrong_kind_of_argument_is_a_typed_error(
    tiny_engine: Engine, arguments: dict[str, Any]
) -> None:
    with pytest.raises(errors.InvalidParameterError):
        tiny_engine.generate(QUESTION, **{"preference": "concise", **arguments})


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e37, 10**400, "1", None, True])
def test_bad_weight_is_a_typed_error(weight: Any) -> None:
    with pytest.raises(errors.InvalidParameterError, match="weight"):
        Preference(text="short", weight=weight)


@pytest.mark.parametrize("weights", [2.0, [0.0], [1.0, 2.0], ["a"]])
def test_bad_weights_are_a_typed_error(tiny_engine: Engine, weights: Any) -> None:
    with pytest.raises(errors.InvalidParameterError):
        tiny_engine.generate_from_tokens([1, 2], [1, 3], weights=weights)


@pytest.mark.parametrize("model", [None, 5, b"smollm2"])
def test_model_that_is_no_name_is_a_typed_error(model: Any) -> None:
    with pytest.raises(errors.InvalidParameterError):
        load(model)


@pytest.mark.parametrize("model", ["a" * 5000, "~nosuchuser/x.gguf", "", "a\0b", "/no/such.gguf"])
def test_model_that_isnt_there_is_a_typed_error(model: str) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        load(model)


def test_a_method_of_another_library_is_answered_with_the_one_that_is_meant(
    tiny_engine: Engine,
) -> None:
    for name, meant in (
        ("create_completion", r"generate\(\.\.\.\) answers"),
        ("stream", "stream_generate"),
        ("embed", "serve --embedding"),
        ("tokenize", r"model\.vocabulary\.tokenize\('Hi'"),
        ("token_eos", r"model\.vocabulary\.eos_id"),
        ("metadata", r"model\.header\.metadata"),
        ("reset", "forget"),
        ("save_state", "save_prompt_cache"),
        ("generate_batch", "answer_all"),
        ("compare", r"method='base'"),
        ("unload", r"close\(\)"),
        ("nonsense", "has no attribute 'nonsense'$"),
    ):
        assert not hasattr(tiny_engine, name)
        with pytest.raises(AttributeError, match=meant) as unknown:
            getattr(tiny_engine, name)
        assert (unknown.value.obj is None) == (name != "nonsense"), "Python adds a hint of its own"
    for name in ("Llama", "generate"):
        with pytest.raises(AttributeError, match="load"):
            getattr(amulet_local, name)
        with pytest.raises(ImportError, match=r"from 'amulet_local'; .*load\('model\.gguf'"):
            exec(f"from amulet_local import {name}")
        assert not hasattr(amulet_local, name)
    with pytest.raises(
        TypeError, match=r"load\('model\.gguf', .* `amulet-local pull ORG/REPOSITORY`"
    ):
        Engine.from_pretrained("owner/name", filename="*q8_0.gguf")  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Preferences'"):
        exec("from amulet_local import Preferences")
    with pytest.raises(AttributeError, match=r"'Preferences'$") as raised:
        getattr(amulet_local, "Preferences")  # noqa: B009
    assert (raised.value.name, raised.value.obj) == ("Preferences", amulet_local), "for Python"


def test_the_package_says_its_version() -> None:
    assert amulet_local.__version__ == version("amulet-local")


def test_what_is_said_of_another_librarys_attribute_is_there(tiny_engine: Engine) -> None:
    vocabulary = tiny_engine.model.vocabulary
    tokens = vocabulary.tokenize("Hi", add_special=False, parse_special=False)
    assert vocabulary.text(tokens) == "Hi"
    assert vocabulary.n_tokens > max(tokens)
    assert vocabulary.eos_id is not None
    assert tiny_engine.model.header.metadata["general.architecture"]


def test_an_engine_that_is_called_says_what_is_called_instead(tiny_engine: Engine) -> None:
    engine: Any = tiny_engine
    for arguments in ((), ("Hi",)):
        with pytest.raises(TypeError, match=r"not callable; write generate\('What is yeast\?'"):
            engine(*arguments, max_tokens=5)


@pytest.mark.parametrize(
    "name",
    [
        *("pool", "request", "prompts", "request_from_tokens", "generate_from_tokens"),
        *("log_ratios", "load_conversation", "save_prompt_cache", "load_prompt_cache"),
        "stream_all",
    ],
)
def test_a_call_without_what_it_needs_says_how_it_is_written(
    tiny_engine: Engine, name: str
) -> None:
    with pytest.raises(TypeError, match=rf"missing a required argument.*; write {name}\("):
        getattr(tiny_engine, name)()


@pytest.mark.parametrize("name", ["edit", "stream_edit", "revise", "save", "astream"])
def test_a_conversations_call_without_what_it_needs_says_how_it_is_written(
    tiny_engine: Engine, name: str
) -> None:
    with pytest.raises(TypeError, match=rf"missing a required argument.*; write {name}\("):
        getattr(tiny_engine.conversation(), name)()


def test_what_is_made_without_what_it_needs_says_how_it_is_written() -> None:
    make: Any = amulet_local
    with pytest.raises(TypeError, match=r"^Preference needs text: Preference\(text='in rhyme'"):
        make.Preference()
    with pytest.raises(TypeError, match=r"^LikedText needs messages and answer: LikedText\("):
        make.LikedText()
    with pytest.raises(TypeError, match=r"write engine\.conversation\(preference='concise'\)"):
        make.Conversation()


def test_a_name_that_a_table_lacks_is_answered_with_those_that_it_has() -> None:
    with pytest.raises(KeyError, match=r"no preset 'Strong'; did you mean 'strong'\?"):
        amulet_local.PRESETS["Strong"]
    with pytest.raises(KeyError, match="no method 'beams'; known: base, pref, beam, "):
        amulet_local.METHODS["beams"]
    with pytest.raises(KeyError, match="no preference 'short'; known: creative, "):
        amulet_local.BUILT_IN_PREFERENCES["short"]
    assert "Strong" not in amulet_local.PRESETS
    assert amulet_local.METHODS.get("beams") is None


def test_empty_prompt_of_ids_is_a_typed_error(tiny_engine: Engine) -> None:
    with pytest.raises(errors.EmptyPromptError):
        tiny_engine.generate_from_tokens([])


@pytest.mark.parametrize("row", [0, 1])
def test_prompt_that_fills_the_context_gets_one_token_and_a_longer_one_an_error(
    tiny_path: Path, row: int, expected: tuple[int, ...]
) -> None:
    with load(tiny_path, n_ctx=160, reproducible=True) as engine:
        check_prompts_around_the_context(engine, row)
        assert_usable(engine, expected)


def check_prompts_around_the_context(engine: Engine, row: int) -> None:
    n_ctx = engine.n_ctx
    for length, n_tokens in ((n_ctx - 1, 2), (n_ctx, 1)):
        prompts = [[5, 6, 7], [5, 6, 7]]
        prompts[row] = [5 + i % 90 for i in range(length)]
        answer = engine.generate_from_tokens(*prompts, sampling=SamplingParams(max_tokens=10))
        assert len(answer.token_ids) <= n_tokens
        assert answer.finish_reason == "length" or len(answer.token_ids) < n_tokens
    for length in (n_ctx + 1, 10 * n_ctx):
        prompts[row] = [5] * length
        with pytest.raises(errors.PromptTooLongError, match=str(length)) as caught:
            engine.generate_from_tokens(*prompts)
        assert caught.value.n_prompt_tokens == length
        assert caught.value.n_ctx == n_ctx
        assert str(n_ctx) in str(caught.value)


def test_preference_alone_too_long_is_an_error_with_both_counts(tiny_engine: Engine) -> None:
    with pytest.raises(errors.PromptTooLongError, match="512"):
        tiny_engine.generate(QUESTION, preference=LONG_TEXT)


def test_closed_engine_refuses_every_call(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=128)
    engine.close()
    engine.close()
    for call in (
        lambda: engine.generate(QUESTION),
        lambda: engine.stream_generate(QUESTION),
        lambda: engine.generate_from_tokens([1, 2]),
        lambda: engine.score(QUESTION, "text"),
    ):
        with pytest.raises(errors.EngineClosedError):
            call()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"n_ctx": -1}, errors.InvalidParameterError),
        ({"n_batch": 0}, errors.InvalidParameterError),
        ({"n_threads": 0}, errors.InvalidParameterError),
        ({"cache_type_k": "q1"}, errors.InvalidParameterError),
        ({"cache_type_v": "q8_0", "flash_attention": "off"}, errors.InvalidParameterError),
        ({"schedule": "magic"}, errors.InvalidParameterError),
        ({"no_such": 1}, errors.InvalidParameterError),
    ],
)
def test_bad_runtime_option_is_a_typed_error(
    tiny_path: Path, fields: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=next(iter(fields)).replace("flash_attention", "flash")):
        load(tiny_path, **fields)


def test_quantised_cache_turns_flash_attention_on(tiny_path: Path) -> None:
    with load(tiny_path, n_ctx=256, cache_type_k="q8_0", cache_type_v="q8_0") as engine:
        assert engine.generate(QUESTION, sampling=SamplingParams(max_tokens=3)).text


def test_model_without_a_template_names_the_option(tiny_path: Path, tmp_path: Path) -> None:
    from tests.gguf_edit import copy_without

    stripped = tmp_path / "no-template.gguf"
    copy_without(tiny_path, stripped, "tokenizer.chat_template")
    with load(stripped, n_ctx=256) as engine:
        with pytest.raises(errors.ChatTemplateError, match="--chat-template"):
            engine.generate(QUESTION)
        assert engine.generate_from_tokens([1, 2, 3], sampling=SHORT).token_ids
    with load(stripped, n_ctx=256, chat_template="chatml") as engine:
        assert engine.generate(QUESTION, sampling=SHORT).text
    with pytest.raises(errors.InvalidParameterError, match="chatml"):
        load(stripped, n_ctx=256, chat_template="nonesuch")


# --- interrupted -------------------------------------------------------------------------------


def test_cancel_keeps_the_text_and_the_engine(
    tiny_engine: Engine, expected: tuple[int, ...]
) -> None:
    stream = tiny_engine.stream_generate(QUESTION, sampling=SamplingParams(max_tokens=400))
    seen = [next(stream).text for _ in range(5)]
    tiny_engine.cancel()
    *_, last = stream
    assert last.finish_reason == "cancelled"
    assert last.generation is not None
    assert last.generation.text == "".join(seen) + last.text
    assert_usable(tiny_engine, expected)


def test_cancel_in_a_long_prefill_ends_it(tiny_path: Path) -> None:
    with load(tiny_path, n_ctx=8192, n_batch=4096) as engine:
        prompt = [5 + i % 90 for i in range(8000)]
        timer = threading.Timer(0.3, engine.cancel)
        timer.start()
        answer = engine.generate_from_tokens(prompt, sampling=SamplingParams(max_tokens=1))
        timer.join()
        assert answer.finish_reason == "cancelled"
        assert answer.token_ids == ()
        assert engine.generate(QUESTION, sampling=SamplingParams(max_tokens=2)).text


def test_abandoned_stream_frees_the_engine(tiny_engine: Engine, expected: tuple[int, ...]) -> None:
    for chunk in tiny_engine.stream_generate(QUESTION, preference="formal"):
        if chunk.text:
            break
    assert_usable(tiny_engine, expected)


def test_second_generation_in_the_same_thread_is_refused_while_one_streams(
    tiny_engine: Engine, expected: tuple[int, ...]
) -> None:
    stream = tiny_engine.stream_generate(QUESTION, preference="formal")
    next(stream)
    with pytest.raises(errors.EngineBusyError):
        tiny_engine.generate(QUESTION)
    stream.close()  # type: ignore[attr-defined]
    assert_usable(tiny_engine, expected)


def test_threads_take_turns(tiny_engine: Engine, expected: tuple[int, ...]) -> None:
    answers: list[tuple[int, ...]] = []

    def ask() -> None:
        answer = tiny_engine.generate(QUESTION, preference="concise", sampling=SHORT)
        answers.append(answer.token_ids)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


def test_closing_in_the_middle_of_a_stream_cancels_it(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=256)
    stream = engine.stream_generate(QUESTION, preference="formal")
    first = next(stream).text
    engine.close()
    (last,) = stream
    assert last.finish_reason == "cancelled"
    assert last.generation is not None
    assert last.generation.text == first + last.text


def test_engine_can_be_closed_from_its_own_callback(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=512, n_batch=16)
    answer = engine.generate(
        QUESTION, preference="formal", prompt_progress=lambda *_: engine.close()
    )
    assert answer.finish_reason == "cancelled"
    with pytest.raises(errors.EngineClosedError):
        engine.generate(QUESTION)


def test_closing_while_another_thread_makes_prompts_is_safe(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=256)
    outcomes: list[type[Exception]] = []

    def ask() -> None:
        try:
            while True:
                engine.stream_generate(LONG_TEXT[:400], preference="formal")
        except Exception as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    engine.close()
    for thread in threads:
        thread.join(20)
    assert outcomes == [errors.EngineClosedError] * 3


def test_stream_begun_in_one_thread_can_go_on_in_another(
    tiny_engine: Engine, expected: tuple[int, ...]
) -> None:
    stream = tiny_engine.stream_generate(QUESTION, preference="concise", sampling=SHORT)
    pieces: list[str] = []
    thread = threading.Thread(target=lambda: pieces.append(next(stream).text))
    thread.start()
    thread.join()
    *_, last = stream
    assert last.generation is not None
    assert last.generation.token_ids == expected
    assert_usable(tiny_engine, expected)


def test_a_stream_that_nobody_advances_does_not_block_others_for_ever(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch, expected: tuple[int, ...]
) -> None:
    monkeypatch.setattr("amulet_local.loading.stream_lock.PATIENCE_SECONDS", 0.2)
    stream = tiny_engine.stream_generate(QUESTION, preference="formal")
    thread = threading.Thread(target=lambda: next(stream))
    thread.start()
    thread.join()
    with pytest.raises(errors.EngineBusyError):
        tiny_engine.generate(QUESTION)
    stream.close()  # type: ignore[attr-defined]
    assert_usable(tiny_engine, expected)


def test_scoring_can_be_cancelled(tiny_engine: Engine, expected: tuple[int, ...]) -> None:
    answer = [100 + i % 300 for i in range(300)]
    ended = threading.Event()

    def cancel() -> None:
        while not ended.wait(0.01):
            tiny_engine.cancel()

    def score_on() -> None:
        while True:
            tiny_engine.score(QUESTION, answer, preference="formal")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        with pytest.raises(errors.CancelledError):
            score_on()
    finally:
        ended.set()
        canceller.join()
    assert_usable(tiny_engine, expected)


def test_closing_while_another_thread_generates_ends_it(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=2048)
    started = threading.Event()
    outcome: list[str | None] = []

    def ask() -> None:
        sampling = SamplingParams(max_tokens=1500, presence_penalty=50)
        for chunk in engine.stream_generate(QUESTION, preference="formal", sampling=sampling):
            started.set()
            outcome.append(chunk.finish_reason)

    thread = threading.Thread(target=ask)
    thread.start()
    assert started.wait(30)
    engine.close()
    thread.join(10)
    assert not thread.is_alive()
    assert outcome[-1] in (None, "cancelled")


# --- failing backend ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failing_call", "code"),
    [(1, -3), (2, -3), (3, -3), (4, -3), (5, -3), (6, -3), (4, 1), (4, -1), (4, -2)],
)
def test_failed_decode_in_any_row_is_typed_and_leaves_the_engine_usable(
    tiny_engine: Engine,
    expected: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    failing_call: int,
    code: int,
) -> None:
    import llama_cpp

    real = llama_cpp.llama_decode
    calls = itertools.count(1)

    def sometimes(*arguments: Any) -> int:
        return code if next(calls) == failing_call else real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", sometimes)
        with pytest.raises(errors.DecodeError) as caught:
            tiny_engine.generate(QUESTION, preference="concise", sampling=SHORT)
    assert caught.value.code == code
    assert_usable(tiny_engine, expected)


@pytest.mark.parametrize(
    ("function", "result", "kind"),
    [
        ("llama_model_load_from_file", None, errors.ModelFileError),
        ("llama_init_from_model", None, errors.ContextCreationError),
    ],
)
def test_failed_creation_is_typed(
    tiny_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    result: object,
    kind: type[Exception],
) -> None:
    import llama_cpp

    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, function, lambda *_: result)
        with pytest.raises(kind):
            load(tiny_path)
    with load(tiny_path, n_ctx=128) as engine:
        assert engine.generate(QUESTION, sampling=SamplingParams(max_tokens=2)).text


@pytest.mark.parametrize(
    ("function", "result", "kind"),
    [
        ("llama_get_logits_ith", None, errors.DecodeError),
        ("llama_sampler_init_dist", None, errors.BackendError),
        ("llama_sampler_apply", None, errors.LogitsError),
    ],
)
def test_failed_sampling_call_is_typed_and_leaves_the_engine_usable(
    tiny_engine: Engine,
    expected: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    result: object,
    kind: type[Exception],
) -> None:
    import llama_cpp

    sampling = SamplingParams(max_tokens=4, temperature=1.0, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, function, lambda *_: result)
        with pytest.raises(kind):
            tiny_engine.generate(QUESTION, preference="concise", sampling=sampling)
    assert_usable(tiny_engine, expected)


def test_loading_and_closing_leaves_no_memory_behind(tiny_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import psutil
        from amulet_local import SamplingParams, load

        for _ in range(12):
            with load({str(tiny_path)!r}, n_ctx=1024, schedule="parallel") as engine:
                engine.generate("Hi", preference="formal", sampling=SamplingParams(max_tokens=2))
            print(psutil.Process().memory_info().rss / 2**20)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    sizes = [float(size) for size in done.stdout.split()]
    assert len(sizes) == 12
    # MiB: a leaked context would add 24 a round, 192 from the first four to the last. What the
    # allocator keeps for threads grows by some 70 in the first rounds, and goes up and down.
    assert min(sizes[-4:]) - min(sizes[:4]) < 120


def test_engine_that_was_never_closed_lets_the_process_end(tiny_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        from amulet_local import SamplingParams, load
        engine = load({str(tiny_path)!r}, n_ctx=256)
        stream = engine.stream_generate("Hi", preference="concise")
        next(stream)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_engine_is_found_by_path_and_by_name(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Mine.gguf").symlink_to(tiny_path)
    monkeypatch.setenv("AMULET_MODELS", str(tmp_path))
    make: Callable[[str], Engine] = lambda name: load(name, n_ctx=128)  # noqa: E731
    sizes = {}
    for name in ("mine", "Mine.gguf", str(tmp_path / "Mine.gguf"), "smollm2"):
        with make(name) as engine:
            sizes[name] = engine.model.vocabulary.n_tokens
    assert [*sizes.values()] == [N_TOKENS, N_TOKENS, N_TOKENS, 49_152]
