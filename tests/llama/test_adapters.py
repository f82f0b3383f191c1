"""LoRA adapters and control vectors: what they compute, on which rows, and what is kept apart.

A LoRA and a control vector are checked against models that have them merged in by NumPy. The
models are four narrow layers in F32, where another order of sums changes little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import AmuletParams, Engine, SamplingParams, errors, load
from amulet_local.loading.costs import candidates_for
from amulet_local.serving.cohort import Cohort
from tests.adapter_making import (
    Pair,
    merged,
    random_pairs,
    with_biases,
    write_lora,
    write_vector,
)
from tests.tiny_model import TINY, write_tiny

EXACT = {"n_ctx": 128, "cache_type_k": "f32", "cache_type_v": "f32", "flash_attention": "off"}
NARROW = replace(TINY, n_layers=4)
SHAPES = {
    "blk.0.attn_q.weight": (64, 64),
    "blk.1.attn_v.weight": (32, 64),
    "blk.2.ffn_down.weight": (64, 128),
    "blk.3.ffn_gate.weight": (128, 64),
}
PROMPT = [1, 4093, 198, 1780, 314, 260, 28, 617, 335, 253, 2365]
OTHER = [1, 4093, 198, 969, 28, 253, 5345, 282, 617, 335]
ANSWER = [314, 260, 1780, 198, 57, 617]
SHORT = SamplingParams(max_tokens=12, ignore_eos=True)
LoadBiased = Callable[..., Engine]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return random_pairs(SHAPES, rank=4, size=0.05, seed=1)


@pytest.fixture(scope="module")
def directions() -> dict[int, np.ndarray]:
    draw = np.random.default_rng(2)
    return {layer: draw.normal(0, 3, NARROW.width).astype(np.float32) for layer in (1, 3)}


@pytest.fixture(scope="module")
def biased(model_path: Path, folder: Path) -> Path:
    source = write_tiny(model_path, folder / "narrow.gguf", NARROW)
    return with_biases(source, folder / "biased.gguf", NARROW)


@pytest.fixture(scope="module")
def lora(folder: Path, pairs: dict[str, Pair]) -> str:
    return str(write_lora(folder / "lora.gguf", pairs, alpha=8.0))


@pytest.fixture(scope="module")
def vector(folder: Path, directions: dict[int, np.ndarray]) -> str:
    return str(write_vector(folder / "vector.gguf", directions))


@pytest.fixture
def load_biased(biased: Path) -> Iterator[LoadBiased]:
    """Loads the model with options; the engines are closed after the test."""
    engines = []

    def make(model: Path = biased, **options: Any) -> Engine:
        options = {**EXACT, "reproducible": "schedule" not in options, **options}
        engines.append(load(model, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def rows_of(engine: Engine, *, has_plain: bool = True) -> np.ndarray:
    """Logits of both prompts' rows along the answer: shape (2, len(ANSWER) + 1, V)."""
    rows = engine._rows
    steps = []
    rows.prefill([PROMPT, OTHER], has_plain=has_plain)
    for token in (*ANSWER, None):
        steps.append([rows.logits(0).copy(), rows.logits(1).copy()])
        if token is not None:
            rows.step(token)
    return np.array(steps).swapaxes(0, 1)


def greedy(engine: Engine, prompt: list[int], method: str = "base") -> tuple[int, ...]:
    plain, preference = (None, prompt) if method == "pref" else (prompt, None)
    return engine.generate_from_tokens(plain, preference, method=method, sampling=SHORT).token_ids


@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_a_lora_computes_what_its_merged_model_does(
    load_biased: LoadBiased,
    biased: Path,
    folder: Path,
    pairs: dict[str, Pair],
    lora: str,
    scale: float,
) -> None:
    added = {name: scale * 8.0 * pair.product for name, pair in pairs.items()}
    expected = load_biased(merged(biased, folder / f"merged{scale}.gguf", added))
    adapted = load_biased(lora=[(lora, scale)])
    np.testing.assert_allclose(rows_of(adapted), rows_of(expected), atol=2e-3)
    assert greedy(adapted, PROMPT) == greedy(expected, PROMPT)
    assert np.abs(rows_of(adapted) - rows_of(load_biased())).max() > 0.5


def test_a_control_vector_computes_what_the_biases_of_its_layers_do(
    load_biased: LoadBiased,
    biased: Path,
    folder: Path,
    directions: dict[int, np.ndarray],
    vector: str,
) -> None:
    biases = {f"blk.{layer}.ffn_down.bias": 0.75 * values for layer, values in directions.items()}
    expected = load_biased(merged(biased, folder / "merged.gguf", biases))
    adapted = load_biased(control_vectors=[f"{vector}:0.75"])
    np.testing.assert_allclose(rows_of(adapted), rows_of(expected), atol=2e-3)
    assert greedy(adapted, PROMPT) == greedy(expected, PROMPT)
    assert np.abs(rows_of(adapted) - rows_of(load_biased())).max() > 0.5


def test_the_scale_0_is_no_adapter_to_the_bit(
    load_biased: LoadBiased, lora: str, vector: str
) -> None:
    without = load_biased()
    at_zero = load_biased(lora=[(lora, 0)], control_vectors=[(vector, 0)])
    assert (rows_of(at_zero) == rows_of(without)).all()
    assert len(at_zero.warnings) == len(without.warnings) + 2


def test_several_loras_add_up(
    load_biased: LoadBiased, folder: Path, pairs: dict[str, Pair], lora: str
) -> None:
    names = list(pairs)
    parts = [
        str(write_lora(folder / f"part{n}.gguf", {name: pairs[name] for name in part}, alpha=8.0))
        for n, part in enumerate((names[:2], names[2:]))
    ]
    np.testing.assert_allclose(
        rows_of(load_biased(lora=parts)), rows_of(load_biased(lora=[lora])), atol=2e-3
    )
    cancelled = load_biased(lora=[(lora, 2.0), (lora, -2.0)])
    np.testing.assert_allclose(rows_of(cancelled), rows_of(load_biased()), atol=2e-3)


def test_two_control_vectors_are_their_sum(
    load_biased: LoadBiased, folder: Path, directions: dict[int, np.ndarray], vector: str
) -> None:
    draw = np.random.default_rng(3)
    more = {layer: draw.normal(0, 3, NARROW.width).astype(np.float32) for layer in (2, 3)}
    other = write_vector(folder / "other.gguf", more)
    zero = np.zeros(NARROW.width, dtype=np.float32)
    total = {
        layer: directions.get(layer, zero) + np.float32(0.5) * more.get(layer, zero)
        for layer in (1, 2, 3)
    }
    summed = load_biased(control_vectors=[write_vector(folder / "sum.gguf", total)])
    both = load_biased(control_vectors=[vector, (other, 0.5)])
    assert (rows_of(both) == rows_of(summed)).all()


def test_a_range_of_layers_leaves_the_others_alone(
    load_biased: LoadBiased, folder: Path, directions: dict[int, np.ndarray], vector: str
) -> None:
    third = write_vector(folder / "third.gguf", {3: directions[3]})
    ranged = load_biased(control_vectors=[vector], control_vector_layers=(2, 3))
    assert (rows_of(ranged) == rows_of(load_biased(control_vectors=[third]))).all()
    with pytest.raises(errors.InvalidParameterError, match="layers 1 to 3"):
        load_biased(
            control_vectors=[vector], control_vector_layers=(NARROW.n_layers, NARROW.n_layers)
        )


@pytest.mark.parametrize("schedule", ["parallel", "serial"])
def test_on_preference_rows_alone_the_plain_row_is_the_bare_model_to_the_bit(
    load_biased: LoadBiased, lora: str, vector: str, schedule: str
) -> None:
    adapters = {"lora": [lora], "control_vectors": [vector], "schedule": schedule}
    bare = rows_of(load_biased(schedule=schedule, reproducible=True))
    on_all = rows_of(load_biased(**adapters, reproducible=True))
    split = load_biased(**adapters, reproducible=True, adapters_on="preference")
    plain, preference = rows_of(split)
    assert (plain == bare[0]).all()
    assert (preference == on_all[1]).all()
    assert (rows_of(split, has_plain=False) == on_all).all()


def test_serial_and_parallel_rows_are_equal_to_the_bit(
    load_biased: LoadBiased, lora: str, vector: str
) -> None:
    both = [
        rows_of(
            load_biased(
                lora=[lora],
                control_vectors=[vector],
                adapters_on="preference",
                schedule=schedule,
            )
        )
        for schedule in ("serial", "parallel")
    ]
    assert (both[0] == both[1]).all()


def test_on_all_rows_a_batch_computes_the_same(
    load_biased: LoadBiased, lora: str, vector: str
) -> None:
    adapters = {"lora": [lora], "control_vectors": [vector]}
    np.testing.assert_allclose(
        rows_of(load_biased(**adapters, schedule="batched")),
        rows_of(load_biased(**adapters)),
        atol=2e-3,
    )


def test_rows_with_and_without_an_adapter_are_never_in_one_context(
    load_biased: LoadBiased, lora: str
) -> None:
    with pytest.raises(errors.InvalidParameterError, match="batched"):
        load_biased(lora=[lora], adapters_on="preference", schedule="batched")
    engine = load_biased(lora=[lora], adapters_on="preference", schedule="auto", reproducible=False)
    engine.generate_from_tokens(PROMPT, OTHER, sampling=SHORT)
    assert engine.plan.schedule != "batched"
    assert "batched" not in candidates_for(2, engine.plan, one_context=False)
    with pytest.raises(errors.InvalidParameterError, match="adapters_on"):
        Cohort(
            engine.model,
            engine._settings,
            engine._stop_flag,
            n_places=1,
            n_rows=2,
            n_threads=1,
        )


def test_no_row_reuses_what_was_computed_with_another_adapter(
    load_biased: LoadBiased, lora: str
) -> None:
    fresh = {
        "base": greedy(load_biased(), PROMPT),
        "pref": greedy(load_biased(lora=[lora]), PROMPT, "pref"),
    }
    assert fresh["base"] != fresh["pref"]
    engine = load_biased(lora=[lora], adapters_on="preference", schedule="serial")
    for method in ("base", "pref", "base", "base", "pref", "pref", "base"):
        assert greedy(engine, PROMPT, method) == fresh[method], method
    mixed = engine.generate_from_tokens(
        PROMPT, PROMPT, amulet=AmuletParams(guidance_scale=0.0), sampling=SHORT
    )
    assert mixed.token_ids == fresh["base"]
    mixed = engine.generate_from_tokens(
        PROMPT, PROMPT, amulet=AmuletParams(guidance_scale=1.0), sampling=SHORT
    )
    assert mixed.token_ids == fresh["pref"]
    assert mixed.usage.computed_tokens == 2 * 11  # the answer's: prompts are reused all the same


def test_rows_of_several_preferences_share_their_prefix(load_biased: LoadBiased, lora: str) -> None:
    engine = load_biased(lora=[lora], adapters_on="preference", schedule="serial")
    shared = [*PROMPT, *OTHER]
    prompts = [[*shared, 57], [*shared, 99], [*shared, 100, 101]]
    one = SamplingParams(max_tokens=1)
    answer = engine.generate_from_tokens(prompts[0], prompts[1:], sampling=one)
    assert answer.usage.computed_tokens == len(shared) + 1 + len(shared) + 1 + 2


def test_scores_and_traces_show_each_row_under_its_own_model(
    load_biased: LoadBiased, lora: str
) -> None:
    question = "What is rain?"
    settings = {"n_ctx": 256}
    split = load_biased(**settings, lora=[lora], adapters_on="preference")
    bare, on_all = load_biased(**settings), load_biased(**settings, lora=[lora])
    given = [
        engine.score(question, ANSWER, preference="concise") for engine in (split, bare, on_all)
    ]
    assert given[0].plain == given[1].plain != given[2].plain
    assert given[0].preferences == given[2].preferences != given[1].preferences
    answer = split.generate(question, preference="concise", sampling=SHORT, trace=1)
    assert answer.trace is not None
    traced = bare.score(question, answer.token_ids, preference="concise")
    assert tuple(token.plain for token in answer.trace) == traced.plain


def test_a_prompt_cache_is_for_the_same_adapters(load_biased: LoadBiased, lora: str) -> None:
    options = {"adapters_on": "preference", "schedule": "serial"}
    first = load_biased(lora=[lora], **options)
    amulet = AmuletParams(guidance_scale=2.0)
    answer = first.generate_from_tokens(PROMPT, OTHER, amulet=amulet, sampling=SHORT)
    first.save_prompt_cache("adapted")
    for others in ({}, {"lora": [(lora, 0.5)]}, {"lora": [lora], "adapters_on": "all"}):
        with pytest.raises(errors.FileAccessError, match="other adapters"):
            load_biased(**{**options, **others}).load_prompt_cache("adapted")
    again = load_biased(lora=[lora], **options)
    assert again.load_prompt_cache("adapted")
    same = again.generate_from_tokens(PROMPT, OTHER, amulet=amulet, sampling=SHORT)
    assert same.token_ids == answer.token_ids
    assert same.usage.computed_tokens < answer.usage.computed_tokens


def test_the_engine_says_what_it_has(load_biased: LoadBiased, lora: str, vector: str) -> None:
    engine = load_biased(lora=[f"{lora}:0.5"], control_vectors=[(vector, 20)])
    assert [(item.kind, item.path, item.scale) for item in engine.adapters] == [
        ("lora", lora, 0.5),
        ("control vector", vector, 20.0),
    ]
    answer = engine.generate_from_tokens(PROMPT, sampling=SamplingParams(max_tokens=1))
    assert any("scale 20" in warning for warning in engine.warnings)
    assert answer.token_ids
    assert load_biased().adapters == ()


@pytest.mark.parametrize(
    ("function", "result", "kind"),
    [
        ("llama_adapter_lora_init", None, errors.AdapterFileError),
        ("llama_set_adapters_lora", -1, errors.ContextCreationError),
        ("llama_set_adapter_cvec", -1, errors.ContextCreationError),
    ],
)
def test_a_failed_native_call_is_typed_and_everything_is_freed(
    load_biased: LoadBiased,
    lora: str,
    vector: str,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    result: object,
    kind: type[Exception],
) -> None:
    import llama_cpp

    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        real = getattr(llama_cpp, name)

        def call(*arguments: Any) -> Any:
            made = real(*arguments)
            counts[name] += 1
            return made

        monkeypatch.setattr(llama_cpp, name, call)

    for name in (
        *("llama_model_load_from_file", "llama_model_free"),
        *("llama_adapter_lora_init", "llama_adapter_lora_free"),
        *("llama_init_from_model", "llama_free"),
    ):
        counted(name)
    monkeypatch.setattr(llama_cpp, function, lambda *_: result)
    with pytest.raises(kind):
        load_biased(lora=[lora], control_vectors=[vector])
    assert counts["llama_model_free"] == counts["llama_model_load_from_file"] == 1
    assert counts["llama_adapter_lora_free"] == counts["llama_adapter_lora_init"]
    assert counts["llama_free"] == counts["llama_init_from_model"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lora": 3}, "list of files"),
        ({"lora": [3]}, "pairs of a path and a scale"),
        ({"lora": [("a.gguf", "b")]}, "pairs of a path and a scale"),
        ({"lora": ["a.gguf:1e9"]}, "must be -1000 to 1000"),
        ({"lora": [("a.gguf", float("nan"))]}, "must be -1000 to 1000"),
        ({"lora": [""]}, "no path is empty"),
        ({"lora": ["a.gguf"] * 33}, "at most 32"),
        ({"control_vectors": ["a.gguf"], "control_vector_layers": (3, 2)}, "the first and the las"),
        ({"control_vectors": ["a.gguf"], "control_vector_layers": (0, 2)}, "control_vector_layers"),
        ({"control_vector_layers": (1, 2)}, "without a vector"),
        ({"adapters_on": "plain"}, "'all' or 'preference'"),
    ],
)
def test_bad_options_are_refused_before_anything_loads(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(errors.InvalidParameterError, match=reason):
        load("no such model", **options)
