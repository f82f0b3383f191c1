"""Native calls fail in turn: loading, contexts, adapters, prompts, decodes, samplers, states, ends.

Whatever fails, in whichever row and schedule, the caller gets an error of the package or the right
answer, the same engine answers rightly afterwards, and everything that llama.cpp made is freed. On
a model of 60 kilobytes, so that each of the calls can be tried.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from amulet_local import AmuletError, Engine, SamplingParams, load
from amulet_local.common.errors import BackendError
from amulet_local.llama import native
from amulet_local.llama.embedder import Embedder, EmbedderSettings
from amulet_local.llama.quantising import quantise
from tests.adapter_making import Pair, write_lora, write_vector
from tests.conftest import REPOSITORY
from tests.small_gguf import small_llama, write_small

FAILURES: dict[str, tuple[Any, ...]] = {
    "llama_model_load_from_file": (None,),
    "llama_init_from_model": (None,),
    "llama_adapter_lora_init": (None,),
    "llama_set_adapters_lora": (-1,),
    "llama_set_adapter_cvec": (-1,),
    "llama_tokenize": (-(2**31),),
    "llama_token_to_piece": (-1,),
    "llama_decode": (1, 2, -1, -3),
    "llama_get_logits_ith": (None,),
    "llama_sampler_chain_init": (None,),
    "llama_sampler_init_dist": (None,),
    "llama_sampler_init_greedy": (None,),
    "llama_sampler_init_logit_bias": (None,),
    "llama_sampler_init_penalties": (None,),
    "llama_sampler_init_temp": (None,),
    "llama_sampler_init_top_k": (None,),
    "llama_sampler_init_top_p": (None,),
    "llama_sampler_init_typical": (None,),
    "llama_sampler_init_min_p": (None,),
    "llama_sampler_init_xtc": (None,),
    "llama_sampler_init_dry": (None,),
    "llama_sampler_init_mirostat": (None,),
    "llama_sampler_init_mirostat_v2": (None,),
    "llama_memory_seq_rm": (False,),
    "llama_state_seq_get_size": (0,),
    "llama_state_seq_get_data": (0,),
    "llama_state_seq_set_data": (0,),
}
"""Functions, and what each returns when it fails."""
MADE = {
    "llama_model_load_from_file": "llama_model_free",
    "llama_init_from_model": "llama_free",
    "llama_adapter_lora_init": "llama_adapter_lora_free",
    "llama_sampler_chain_init": "llama_sampler_free",
}
"""What makes something, and what frees it: that can only fail by freeing nothing."""
ELSEWHERE = {
    *("llama_get_embeddings_ith", "llama_get_embeddings_seq", "llama_model_quantize"),
    "llama_detokenize",
}
"""What no answer needs; tests of their own have them fail."""
SURE = {
    *("llama_backend_init", "llama_log_set", "llama_print_system_info", "llama_version"),
    *("llama_supports_gpu_offload", "llama_max_devices", "llama_ftype_name"),
    *("llama_model_default_params", "llama_context_default_params"),
    *("llama_sampler_chain_default_params", "llama_model_quantize_default_params"),
    *("llama_get_memory", "llama_memory_clear", "llama_memory_seq_cp"),
    *("llama_set_n_threads", "llama_set_embeddings"),
    *("llama_sampler_accept", "llama_sampler_apply", "llama_sampler_chain_add"),
    *(name for name in native.FUNCTIONS if name.startswith("llama_vocab_")),
    *("llama_model_get_vocab", "llama_model_chat_template", "llama_model_meta_val_str"),
    *("llama_model_desc", "llama_model_ftype", "llama_model_has_encoder"),
    *("llama_model_is_diffusion", "llama_model_is_hybrid", "llama_model_is_recurrent"),
    *("llama_model_n_ctx_train", "llama_model_n_embd", "llama_model_n_layer"),
    *("llama_model_n_params", "llama_model_size"),
}
"""What returns nothing, a constant, or something that a loaded model or a context has."""
ADAPTERS = ("llama_adapter_lora_init", "llama_set_adapters_lora", "llama_set_adapter_cvec")
STATES = ("llama_state_seq_get_size", "llama_state_seq_get_data", "llama_state_seq_set_data")
SCHEDULES = ("serial", "parallel", "batched")
"""With the first there are adapters, and rows are copied, saved and loaded."""
BY_SCHEDULE = [
    *(("serial", function) for function in FAILURES),
    *(
        (schedule, function)
        for schedule in SCHEDULES[1:]
        for function in FAILURES
        if function not in (*ADAPTERS, *STATES)
    ),
]
PLAIN, PREFERENCE = [1, *range(5, 17)], [1, *range(20, 31)]
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
IN_SHORT = ("llama_get_logits_ith", "llama_state_seq_set_data", "llama_sampler_chain_init")
"""Functions of which one call fails in the default suite."""


class Calls:
    """Counts native calls, and lets one of them fail.

    Attributes:
        counts: by function, since `clear`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self._failing: tuple[str, int, Any] | None = None
        self._lock = threading.Lock()
        for name in {*FAILURES, *MADE, *MADE.values()}:
            monkeypatch.setattr(llama_cpp, name, self._counted(name, getattr(llama_cpp, name)))

    def clear(self) -> None:
        """Begin anew, with nothing that fails."""
        self.counts.clear()
        self._failing = None

    def fail(self, name: str, number: int, result: Any) -> None:
        """Have the n-th call from now, from 1, return this instead of doing anything."""
        self.clear()
        self._failing = (name, number, result)

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._lock:
                self.counts[name] += 1
                failing = self._failing
                if failing is not None and failing[:2] == (name, self.counts[name]):
                    self.counts[f"failed {name}"] += 1
                    return failing[2]
            return real(*arguments)

        return call

    def left(self) -> dict[str, int]:
        """What was made and not freed."""
        made = {name: self.counts[name] - self.counts[f"failed {name}"] for name in MADE}
        return {
            name: n - self.counts[MADE[name]]
            for name, n in made.items()
            if n > self.counts[MADE[name]]
        }


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


OpenSmall = Callable[[str], Engine]
Answers = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def open_small(tmp_path_factory: pytest.TempPathFactory) -> OpenSmall:
    folder = tmp_path_factory.mktemp("torture")
    model = write_small(folder / "small.gguf", *small_llama(), seed=3)
    rng = np.random.default_rng(4)
    pair = Pair(*(rng.normal(0, 0.2, size).astype(np.float32) for size in ((4, 64), (64, 4))))
    lora = write_lora(folder / "lora.gguf", {"blk.0.attn_q.weight": pair})
    vector = write_vector(folder / "vector.gguf", {1: rng.normal(size=64).astype(np.float32)})
    adapters = {
        "lora": str(lora),
        "control_vectors": str(vector),
        "adapters_on": "preference",
    }

    def open_engine(schedule: str) -> Engine:
        more: dict[str, Any] = adapters if schedule == "serial" else {}
        return load(
            model,
            n_ctx=64,
            n_batch=8,
            n_threads=2 if schedule == "parallel" else 1,
            schedule=schedule,  # type: ignore[arg-type]
            isolate="never",
            chat_template=TEMPLATE,
            **more,
        )

    return open_engine


GREEDY = SamplingParams(max_tokens=4, ignore_eos=True)
DRAWN = SamplingParams(
    max_tokens=4, temperature=0.8, top_k=20, repeat_penalty=1.1, seed=7, ignore_eos=True
)
IN_EVERY_WAY = (
    DRAWN.replace(top_p=0.9, min_p=0.01, typical_p=0.9, xtc_probability=0.5, dry_multiplier=0.8),
    DRAWN.replace(mirostat=1),
    DRAWN.replace(mirostat=2),
)
"""With every sampler."""


def answers(engine: Engine) -> Answers:
    """Tokens of answers: greedy, drawn, to a text, and from rows that were saved and loaded."""
    found = [
        engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=sampling).token_ids
        for sampling in (GREEDY, DRAWN, *IN_EVERY_WAY)
    ]
    answer = engine.generate(
        "abc", preference="de", sampling=GREEDY, system="", placement="user", preset="paper"
    )
    found.append(answer.token_ids)
    if engine.adapters:
        engine.save_prompt_cache("torture")
        engine.forget()
        engine.load_prompt_cache("torture")
    found.append(engine.generate_from_tokens(PLAIN, PREFERENCE, sampling=GREEDY).token_ids)
    return found


@pytest.fixture(scope="module")
def expected(open_small: OpenSmall) -> dict[str, Answers]:
    found = {}
    for schedule in SCHEDULES:
        with open_small(schedule) as engine:
            found[schedule] = answers(engine)
            assert answers(engine) == found[schedule]
        assert len(set(found[schedule])) >= 2
    return found


def numbers(n_calls: int, n_tried: int) -> list[int]:
    """Which of so many calls fail: the first and the last, and some between."""
    return sorted({round(number) for number in np.linspace(1, n_calls, min(n_tried, n_calls))})


def torture(
    open_small: OpenSmall,
    calls: Calls,
    expected: dict[str, Answers],
    schedule: str,
    function: str,
    n_tried: int,
) -> None:
    calls.clear()
    with open_small(schedule) as engine:
        answers(engine)
    n_calls = calls.counts[function]
    assert n_calls > 0, "nothing calls it"
    assert calls.left() == {}
    for result in FAILURES[function]:
        for number in numbers(n_calls, n_tried):
            calls.fail(function, number, result)
            try:
                engine = open_small(schedule)
            except AmuletError:
                assert calls.left() == {}, number
                continue
            with engine:
                with contextlib.suppress(AmuletError):
                    given = answers(engine)
                    if result == native.DECODE_STOPPED:  # an answer is cut where it was stopped
                        pairs = zip(given, expected[schedule], strict=True)
                        assert all(full[: len(part)] == part for part, full in pairs), number
                    else:
                        assert given == expected[schedule], number
                assert calls.counts[f"failed {function}"] == 1, number
                assert answers(engine) == expected[schedule], number
            assert calls.left() == {}, number


def test_every_native_function_fails_in_a_test_or_cant() -> None:
    code = "".join(path.read_text() for path in (REPOSITORY / "amulet_local").rglob("*.py"))
    called = set(re.findall(r"llama_cpp\.(llama_\w+)\(", code))
    called -= {"llama_batch_get_one"}  # of a comparison with llama-cpp-python's own loop
    called -= {"llama_progress_callback", "llama_log_callback"}  # types of functions, and structs:
    called -= {"llama_batch", "llama_logit_bias", "llama_token_data_array"}
    assert called <= {*native.FUNCTIONS}
    assert {*native.FUNCTIONS} - SURE == {*FAILURES, *MADE.values(), *ELSEWHERE}


@pytest.mark.lengthy
def test_hidden_states_that_are_missing_are_an_error_and_the_next_are_right(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(tiny_path, EmbedderSettings(n_ctx=64, n_threads=1, pooled=False))
    try:
        expected = embedder.hidden_states([5, 6, 7], [0, 2])
        with monkeypatch.context() as patch:
            for function in ("ith", "seq"):
                patch.setattr(llama_cpp, f"llama_get_embeddings_{function}", lambda *_: None)
            with pytest.raises(BackendError, match="kept no hidden state"):
                embedder.hidden_states([5, 6, 7], [0, 2])
            context = embedder._context
            assert context is not None
            with pytest.raises(BackendError, match="kept no hidden state"):
                context.pooled_state(0)
            with pytest.raises(BackendError, match="kept no score"):
                context.score(0)
        assert np.array_equal(embedder.hidden_states([5, 6, 7], [0, 2]), expected)
    finally:
        embedder.close()


def test_a_model_that_isn_t_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "llama_model_quantize", lambda *_: 1)
    with pytest.raises(BackendError, match=r"can't write b\.gguf"):
        quantise(tmp_path / "a.gguf", tmp_path / "b.gguf", 7, again=False)


@pytest.mark.lengthy
@pytest.mark.parametrize("function", IN_SHORT)
def test_a_native_call_that_fails_costs_one_answer_at_most(
    open_small: OpenSmall, calls: Calls, expected: dict[str, Answers], function: str
) -> None:
    torture(open_small, calls, expected, "serial", function, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("schedule", "function"), BY_SCHEDULE)
def test_each_native_call_that_fails_costs_one_answer_at_most(
    open_small: OpenSmall,
    calls: Calls,
    expected: dict[str, Answers],
    schedule: str,
    function: str,
) -> None:
    torture(open_small, calls, expected, schedule, function, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("function", MADE.values())
def test_what_isn_t_freed_at_a_close_keeps_nothing_else_from_being_freed(
    open_small: OpenSmall, calls: Calls, expected: dict[str, Answers], function: str
) -> None:
    calls.clear()
    with open_small("serial") as engine:
        answers(engine)
    for number in range(1, calls.counts[function] + 1):
        calls.fail(function, number, None)
        with open_small("serial") as engine:
            answers(engine)
        assert calls.counts[f"failed {function}"] == 1
        assert calls.left() == {}, number
        with open_small("serial") as engine:
            assert answers(engine) == expected["serial"], number
