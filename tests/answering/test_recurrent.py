"""Models whose memory can't be cut: a small Mamba with random weights, made here.

Reuse that is right for attention is wrong for a recurrent state, so every answer is held against
one of a fresh engine, and the plain one against llama-cpp-python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import METHODS, AmuletParams, Engine, Generation, SamplingParams, load
from amulet_local.answering.request import Request, build_request
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.serving.cohort import Cohort
from amulet_local.steering.row_plan import RowPlan
from tests.gguf_edit import float_tensor, write_raw
from tests.serving.cohort_run import run
from tests.small_gguf import packed
from tests.tiny_model import N_TOKENS, small_vocabulary

WIDTH, INNER, STATE, RANK, N_LAYERS = 64, 128, 16, 4, 2
SHORT = SamplingParams(max_tokens=8)
STRONG = AmuletParams(guidance_scale=3)
QUESTIONS = ("What is yeast?", "And what eats it?", "Why?")


def weights(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    def normal(*shape: int, scale: float = 0.4) -> np.ndarray:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    ones = np.ones
    yield "output_norm.weight", ones(WIDTH, dtype=np.float32)
    for layer in range(N_LAYERS):
        name = f"blk.{layer}."
        yield name + "attn_norm.weight", ones(WIDTH, dtype=np.float32)
        yield name + "ssm_in.weight", normal(2 * INNER, WIDTH)
        yield name + "ssm_conv1d.weight", normal(INNER, 4)
        yield name + "ssm_conv1d.bias", normal(INNER)
        yield name + "ssm_x.weight", normal(RANK + 2 * STATE, INNER)
        yield name + "ssm_dt.weight", normal(INNER, RANK)
        yield name + "ssm_dt.bias", normal(INNER)
        yield name + "ssm_a", -np.tile(np.arange(1, STATE + 1, dtype=np.float32), (INNER, 1))
        yield name + "ssm_d", ones(INNER, dtype=np.float32)
        yield name + "ssm_out.weight", normal(WIDTH, INNER)


@pytest.fixture(scope="module")
def mamba(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file; vocabulary and chat template are the embedded model's."""
    path = tmp_path_factory.mktemp("mamba") / "mamba.gguf"
    sizes = {
        "context_length": 1024,
        "embedding_length": WIDTH,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "block_count": N_LAYERS,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": INNER,
        "ssm.state_size": STATE,
        "ssm.time_step_rank": RANK,
    }
    keys = {
        "general.architecture": packed("mamba"),
        **{f"mamba.{name}": packed(size) for name, size in sizes.items()},
        **small_vocabulary(model_path),
    }
    rng = np.random.default_rng(5)
    embedding = rng.normal(size=(N_TOKENS, WIDTH)).astype(np.float32)
    tensors = [("token_embd.weight", embedding), *weights(rng)]
    write_raw(path, keys, (float_tensor(name, values) for name, values in tensors))
    return path


@pytest.fixture(params=["serial", "parallel", "batched"])
def engine(request: pytest.FixtureRequest, mamba: Path) -> Iterator[Engine]:
    with load(mamba, n_ctx=512, n_threads=2, schedule=request.param) as loaded:
        assert not loaded.model.can_drop_tokens
        yield loaded


@pytest.fixture
def fresh(mamba: Path) -> Callable[..., Any]:
    """The same answer by an engine that has computed nothing before."""

    def generate(messages: Any, **arguments: Any) -> Any:
        with load(mamba, n_ctx=512, schedule="serial", reproducible=True) as other:
            return other.generate(messages, sampling=SHORT, **arguments)

    return generate


def test_the_plain_answer_is_llama_cpp_pythons(mamba: Path, engine: Engine) -> None:
    import llama_cpp

    reference = llama_cpp.Llama(str(mamba), n_ctx=512, verbose=False)
    messages: Any = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": QUESTIONS[0]},
    ]
    theirs: Any = reference.create_chat_completion(messages, temperature=0.0, max_tokens=8)
    reference.close()
    ours = engine.generate(messages, sampling=SHORT)
    whole = ours.text.replace("\ufffd", "")  # theirs leaves out bytes that are no character
    assert whole == theirs["choices"][0]["message"]["content"]
    assert len(set(ours.token_ids)) > 3


def test_a_second_question_is_answered_as_by_a_fresh_engine(
    engine: Engine, fresh: Callable[..., Any]
) -> None:
    for question in (QUESTIONS[0], QUESTIONS[1], QUESTIONS[0]):
        for preference in ("formal", "creative"):
            arguments = {"preference": preference, "amulet": STRONG}
            answer = engine.generate(question, sampling=SHORT, **arguments)
            assert answer.token_ids == fresh(question, **arguments).token_ids


def test_a_conversation_is_that_of_an_engine_without_reuse(mamba: Path, engine: Engine) -> None:
    arguments: dict[str, Any] = {
        "preference": "formal",
        "amulet": STRONG,
        "system": "Be kind.",
        "sampling": SHORT,
    }
    with load(mamba, n_ctx=512, schedule="serial", reproducible=True) as other:
        talk, expected = engine.conversation(**arguments), other.conversation(**arguments)
        for question in QUESTIONS:
            assert talk.send(question).token_ids == expected.send(question).token_ids
        talk.undo()
        expected.undo()
        assert talk.send("So?").token_ids == expected.send("So?").token_ids


def test_a_change_in_mid_stream_computes_the_new_rows(
    engine: Engine, fresh: Callable[..., Any]
) -> None:
    stream = engine.stream_generate(
        QUESTIONS[0], preference="formal", amulet=STRONG, sampling=SHORT
    )
    next(stream)
    stream.change(preference="creative", amulet=STRONG)
    *_, last = stream
    assert last.generation is not None
    assert last.generation.preferences == ("creative",)
    expected = fresh(QUESTIONS[0], preference="formal", amulet=STRONG)
    assert last.generation.token_ids[0] == expected.token_ids[0]
    assert len(last.generation.token_ids) == 8
    answer = engine.generate(QUESTIONS[0], preference="formal", amulet=STRONG, sampling=SHORT)
    assert answer.token_ids == expected.token_ids


def test_a_cancelled_answer_leaves_nothing_behind(
    engine: Engine, fresh: Callable[..., Any]
) -> None:
    stream = engine.stream_generate(QUESTIONS[0], preference="formal", amulet=STRONG)
    for _ in range(3):
        next(stream)
    stream.close()
    answer = engine.generate(QUESTIONS[1], preference="formal", amulet=STRONG, sampling=SHORT)
    expected = fresh(QUESTIONS[1], preference="formal", amulet=STRONG)
    assert answer.token_ids == expected.token_ids


def test_answers_made_together_go_on_from_all_that_a_row_has_or_from_nothing(mamba: Path) -> None:
    settings = ContextSettings(
        n_ctx=512,
        n_batch=64,
        n_outputs=1,
        cache_type_k="f32",
        cache_type_v="f32",
        flash_attention="off",
    )

    def ask(*prompts: tuple[int, ...]) -> Request:
        return build_request(
            METHODS["amulet"],
            prompts,
            plan=RowPlan.of(METHODS["amulet"], (1.0,)),
            amulet=STRONG,
            sampling=SamplingParams(max_tokens=8, ignore_eos=True),
            n_ctx=512,
        )

    def answers(requests: Sequence[Request], n_places: int = 1) -> list[Generation]:
        places = {"n_places": n_places, "n_rows": 2, "n_threads": 2}
        cohort = Cohort(model, settings, StopFlag(), **places)
        try:
            return [
                answer for request in requests for _, answer in run(cohort, n_places, [request])
            ]
        finally:
            cohort.close()

    model = Model(mamba)
    prompts = tuple(range(100, 140)), tuple(range(200, 250))
    (first,) = answers([ask(*prompts)])
    further = ask(*((*prompt, *first.token_ids, 7, 8) for prompt in prompts))
    other = ask(*(prompt[:30] for prompt in prompts))
    together = answers([ask(*prompts), further, other], n_places=2)
    apart = [first, *answers([further]), *answers([other])]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in apart]
    n_steps = 2 * (8 - 1)
    n_computed = [answer.usage.computed_tokens for answer in together]
    assert n_computed == [90 + n_steps, 2 * 3 + n_steps, 60 + n_steps]
    model.close()
