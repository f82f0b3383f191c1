"""Which tokens of a row were computed in the chunks of a new start."""

from __future__ import annotations

import itertools

import pytest

from amulet_local.llama.row import computed_alike


def chunks(n_tokens: int, shared: int, n_batch: int) -> list[int]:
    """Where chunks end: of `n_batch`, with one that ends at `shared`, in plain words."""
    ends = list(itertools.takewhile(lambda end: end < shared, itertools.count(n_batch, n_batch)))
    ends = [*ends, shared] if shared else []
    while (ends[-1] if ends else 0) < n_tokens:
        ends.append(min(n_tokens, (ends[-1] if ends else 0) + n_batch))
    return ends


@pytest.mark.parametrize("shared", [0, 5, 8, 13])
@pytest.mark.parametrize("shared_before", [0, 5, 8, 13])
def test_what_is_kept_ends_where_both_have_a_chunk_end(shared: int, shared_before: int) -> None:
    before, now = chunks(20, shared_before, 4), chunks(30, shared, 4)
    for kept in range(21):
        alike = [a for a, b in zip(before, now, strict=False) if a == b and a <= kept]
        same = list(itertools.takewhile(lambda end: end in before, now))
        expected = max((end for end in alike if end in same), default=0)
        assert computed_alike(before, kept, shared, 4) == expected


def test_tokens_that_were_generated_are_not_kept() -> None:
    ends = [*chunks(10, 0, 4), 11, 12, 13]
    assert computed_alike(ends, 13, 0, 4) == 8
