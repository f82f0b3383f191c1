"""The lever: what two prompts differ by where a token might be chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from amulet_local import Engine
from amulet_local.evaluation.lever import PLAUSIBLE, Lever, lever_of, steps_along
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag

N_VOCAB, N_PLAUSIBLE = 500, 20


def steps(
    n: int, spread: float, *, offset: float = 0.0, seed: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows with 20 equally plausible tokens, whose differences are normal with that deviation."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        preference = np.full(N_VOCAB, -20.0, dtype=np.float32)
        preference[:N_PLAUSIBLE] = 0.0
        difference = random.normal(0.0, spread, N_VOCAB) + offset
        yield (preference - difference).astype(np.float32), preference


def test_the_mean_square_is_the_variance_of_the_differences() -> None:
    lever = lever_of(steps(2000, 0.3))
    assert lever.mean_square == pytest.approx(0.09, rel=0.03)
    assert lever.mean_size == pytest.approx(0.3 * math.sqrt(2 / math.pi), rel=0.05)
    assert lever.n_steps == 2000


def test_what_changes_no_probability_is_no_lever() -> None:
    shifted, centred = lever_of(steps(50, 0.3, offset=7.0)), lever_of(steps(50, 0.3))
    assert shifted.mean_square == pytest.approx(centred.mean_square, rel=1e-4)


def test_the_share_of_signal_is_what_the_noise_leaves() -> None:
    noise = lever_of(steps(4000, 0.1))
    assert noise.signal_share(0.1) == pytest.approx(0.0, abs=0.05)
    both = lever_of(steps(4000, math.hypot(0.1, 0.3)))
    assert both.signal_share(0.1) == pytest.approx(0.9, abs=0.02)
    assert both.signal_share(0.0) == 1.0
    assert both.signal_share(5.0) == 0.0


def test_a_token_without_alternative_has_no_lever() -> None:
    preference = np.full(N_VOCAB, -20.0, dtype=np.float32)
    preference[3] = 0.0
    assert lever_of([(preference - 1, preference)]) == Lever(
        mean_square=0.0, mean_size=0.0, n_steps=0
    )
    assert lever_of([]).signal_share(0.1) is None


def test_implausible_and_ruled_out_tokens_dont_count() -> None:
    (plain, preference), *_ = steps(1, 0.3)
    expected = lever_of([(plain, preference)])
    far = plain.copy()
    far[N_PLAUSIBLE:] = 1000.0
    assert lever_of([(far, preference)]) == expected
    preference = np.append(preference, np.float32(0.0))
    plain = np.append(plain, np.float32(-np.inf))
    assert lever_of([(plain, preference)]).mean_square == pytest.approx(expected.mean_square)


def test_a_text_is_walked_token_by_token(tiny_engine: Engine) -> None:
    """The logits are those of rows that are stepped; the rows' probabilities are the score's."""
    prompts = tiny_engine._prompter.prompts(
        "Hi", ["", "Be brief."], system="Be kind.", placement="system"
    ).rows
    tokenize = tiny_engine.model.vocabulary.tokenize
    text = tokenize("Sleep is good for you. " * 5, add_special=False, parse_special=False)
    rows = RowSet(tiny_engine.model, tiny_engine._settings, StopFlag(), tiny_engine.plan)
    try:
        assert len(text) > rows_at_once(rows, prompts) + 1
        walked = [(a.copy(), b.copy()) for a, b in steps_along(rows, prompts, text)]
    finally:
        rows.close()
    score = tiny_engine.score(
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        text,
        preference=None,
    )
    assert len(walked) == len(text)
    for (plain, preference), token, expected in zip(walked, text, score.plain, strict=True):
        row = plain.astype(np.float64)
        log_p = row[token] - row.max() - math.log(np.exp(row - row.max()).sum())
        assert log_p == pytest.approx(expected, abs=0.5)  # rounding of quantised weights
        assert not np.array_equal(plain, preference)
    assert PLAUSIBLE < 1


def rows_at_once(rows: RowSet, prompts: list[tuple[int, ...]]) -> int:
    rows.prefill(prompts)
    return rows.n_outputs
