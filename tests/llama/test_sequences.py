"""What sequences say they hold is what memory holds: through copies, cuts, packing and failures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from amulet_local.common.errors import DecodeError
from amulet_local.llama.context import Context, ContextSettings, Logits
from amulet_local.llama.model import Model
from amulet_local.llama.sequences import Part, Sequences
from amulet_local.llama.stop_flag import StopFlag, StoppedError

SETTINGS = ContextSettings(
    n_ctx=64,
    n_batch=8,
    n_outputs=3,
    n_sequences=3,
    cache_type_k="f32",
    cache_type_v="f32",
    flash_attention="off",
)
TEXT = [random.Random(1).randrange(100, 8_000) for _ in range(20)]


@pytest.fixture(scope="module")
def model(tiny_f32_path: Path) -> Iterator[Model]:
    model = Model(tiny_f32_path)
    yield model
    model.close()


@pytest.fixture
def flag() -> StopFlag:
    return StopFlag()


@pytest.fixture
def sequences(model: Model, flag: StopFlag) -> Iterator[Sequences]:
    owner = Sequences(Context(model, SETTINGS, flag), can_drop=True)
    yield owner
    owner.close()


def after(owner: Sequences, sequence: int, tokens: list[int]) -> Logits:
    """The logits after these tokens, computed chunk by chunk on what the sequence holds."""
    while pending := tokens[len(owner.held(sequence)) :]:
        (output,) = owner.decode(owner.pack([(sequence, pending)]))
    return owner.logits(output).copy()


def test_what_is_kept_and_copied_goes_on_as_if_it_were_computed(sequences: Sequences) -> None:
    expected = after(sequences, 0, TEXT)
    assert sequences.keep_prefix(0, 12) == 12
    sequences.copy(0, 2)
    assert sequences.held(2) == sequences.held(0) == TEXT[:12]
    np.testing.assert_allclose(after(sequences, 2, TEXT), expected, atol=2e-3)
    assert sequences.held(0) == TEXT[:12]


def test_a_model_that_cannot_drop_tokens_keeps_all_or_nothing(model: Model, flag: StopFlag) -> None:
    owner = Sequences(Context(model, SETTINGS, flag), can_drop=False)
    expected = after(owner, 0, TEXT)
    assert owner.keep_prefix(0, len(TEXT)) == len(TEXT)
    assert owner.keep_prefix(0, 12) == 0
    np.testing.assert_allclose(after(owner, 0, TEXT), expected, atol=2e-3)
    owner.close()


def test_a_state_can_be_restored_and_a_refused_one_leaves_nothing(sequences: Sequences) -> None:
    expected = after(sequences, 0, TEXT)
    sequences.keep_prefix(0, 12)
    state = sequences.export(0)
    assert sequences.restore(1, TEXT[:12], state)
    np.testing.assert_allclose(after(sequences, 1, TEXT), expected, atol=2e-3)
    assert not sequences.restore(1, TEXT[:12], state[:-8])
    assert sequences.held(1) == []


def test_a_pack_fills_a_decode_and_only_whole_texts_have_logits(sequences: Sequences) -> None:
    parts = sequences.pack([(1, TEXT[:3]), (0, TEXT[:9]), (2, TEXT[:1])])
    assert parts == [Part(1, TEXT[:3], 1), Part(0, TEXT[:5], 0)]
    # Rows go by sequence: the five of sequence 0, then the three of sequence 1.
    assert sequences.decode(parts) == [7, 4]
    assert [list(sequences.held(index)) for index in range(3)] == [TEXT[:5], TEXT[:3], []]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_decode_that_is_stopped_or_fails_leaves_every_sequence_empty(
    sequences: Sequences, flag: StopFlag, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    import llama_cpp

    expected = after(sequences, 0, TEXT)
    sequences.copy(0, 1)
    with monkeypatch.context() as patch:
        if stopped:
            flag.set()
        else:
            patch.setattr(llama_cpp, "llama_decode", lambda *_: -3)
        with pytest.raises(StoppedError if stopped else DecodeError):
            sequences.decode([Part(1, [5])])
    flag.clear()
    assert [list(sequences.held(index)) for index in range(3)] == [[], [], []]
    assert np.array_equal(after(sequences, 0, TEXT), expected)
