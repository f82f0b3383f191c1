"""Hidden states: what the model's output layer makes logits of, whatever way they are asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from amulet_local import Engine, SamplingParams, errors
from amulet_local.llama.embedder import N_BATCH, Embedder, EmbedderSettings
from amulet_local.llama.model import Model, ModelLoadSettings

SETTINGS = EmbedderSettings(n_ctx=600, n_threads=2, pooled=False)


@pytest.fixture(scope="module")
def embedder(tiny_f32_path: Path) -> Iterator[Embedder]:
    made = Embedder(tiny_f32_path, SETTINGS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ids(exact_engine: Engine) -> list[int]:
    text = "A black hole is a place in space where gravity is so strong that light can't escape."
    return exact_engine.model.vocabulary.tokenize(text, add_special=False, parse_special=False)


def test_the_output_layer_makes_the_models_logits_of_them(
    embedder: Embedder, exact_engine: Engine, tiny_f32_path: Path, ids: list[int]
) -> None:
    reader = gguf.GGUFReader(tiny_f32_path)
    [output] = [t.data for t in reader.tensors if t.name == "output.weight"]
    places = (0, 3, 9)
    logits = embedder.hidden_states(ids, places) @ np.asarray(output, dtype=np.float64).T
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    for n, place in enumerate(places):
        generation = exact_engine.generate_from_tokens(
            ids[: place + 1], method="base", trace=1, sampling=SamplingParams(max_tokens=1)
        )
        assert generation.trace is not None
        best = generation.trace[0].top_realigned[0]
        assert int(logits[n].argmax()) == best.token_id
        assert log_p[n, best.token_id] == pytest.approx(best.log_probability, abs=1e-3)


def test_they_dont_depend_on_which_others_are_asked_for(embedder: Embedder, ids: list[int]) -> None:
    whole = embedder.hidden_states(ids, range(len(ids)))
    some = embedder.hidden_states(ids, [2, 3, len(ids) - 1])
    assert np.abs(whole[[2, 3, -1]] - some).max() < 1e-3


def test_a_text_longer_than_a_batch_is_computed_in_pieces(
    embedder: Embedder, ids: list[int]
) -> None:
    long = (ids * 40)[: N_BATCH + 10]
    last = embedder.hidden_states(long, [len(long) - 1])
    again = embedder.hidden_states(long, [5, N_BATCH, len(long) - 1])
    assert np.abs(last[0] - again[-1]).max() < 1e-3


def test_a_text_that_doesnt_fit_is_refused_and_the_next_is_computed(
    embedder: Embedder, ids: list[int]
) -> None:
    before = embedder.hidden_states(ids, [3])
    with pytest.raises(errors.PromptTooLongError) as raised:
        embedder.hidden_states([1] * 601, [600])
    assert (raised.value.n_prompt_tokens, raised.value.n_ctx) == (601, 600)
    assert (embedder.hidden_states(ids, [3]) == before).all()


def test_closing_twice_is_fine_and_use_afterwards_is_a_typed_error(tiny_path: Path) -> None:
    made = Embedder(tiny_path, SETTINGS)
    made.close()
    made.close()
    with pytest.raises(errors.EngineClosedError):
        made.hidden_states([1, 2], [1])


def test_a_model_that_generates_is_still_checked_as_one(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        Embedder(tmp_path / "none.gguf", SETTINGS)
    (tmp_path / "none.gguf").write_bytes(b"GGUF")
    with pytest.raises(errors.ModelFileError):
        Model(tmp_path / "none.gguf", ModelLoadSettings(embeds=True))


def test_ctrl_c_ends_a_computation(tiny_path: Path) -> None:
    script = f"""
        import signal, threading, time, os
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from amulet_local.llama.embedder import Embedder, EmbedderSettings
        made = Embedder({str(tiny_path)!r}, EmbedderSettings(n_ctx=8192, pooled=False))
        made.hidden_states([1, 2, 3], [2])
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            for _ in range(100):
                made.hidden_states([1] * 2000, [1999])
        except KeyboardInterrupt:
            print("interrupted", made.hidden_states([1, 2, 3], [2]).shape)
        made.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.startswith("interrupted (1,"), done.stderr
    assert done.returncode != -signal.SIGINT
