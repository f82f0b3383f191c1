"""The plain row is computed as long as it matters, and the answer is the same."""

from __future__ import annotations

from typing import Any

import pytest

from amulet_local import AmuletParams, Engine, Generation, SamplingParams
from amulet_local.steering.guards import settled
from amulet_local.steering.guards.settled import BEGUN_TOKENS

QUESTION = "How do I sleep better?"
N_TOKENS = 20
GATED = AmuletParams(guidance_scale=2, settled_gating=True, form_guard=True)


@pytest.fixture(autouse=True)
def begins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model knows no language: whatever it begins with is one."""
    monkeypatch.setattr(settled, "BEGUN_NATS", -1e9)


def answer(engine: Engine, preference: str = "in Spanish", **changes: Any) -> Generation:
    sampling = {"max_tokens": N_TOKENS, "ignore_eos": True, **changes.pop("sampling", {})}
    return engine.generate(
        QUESTION,
        preference=preference,
        **{"amulet": GATED, "sampling": SamplingParams(**sampling), **changes},
    )


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8, "seed": 3}])
@pytest.mark.parametrize("wish", ["in Spanish", "in lower case only"])
def test_without_it_the_answer_is_the_same(
    exact_engine: Engine, wish: str, sampling: dict[str, Any]
) -> None:
    whole = answer(exact_engine, wish, trace=0, sampling=sampling)
    short = answer(exact_engine, wish, sampling=sampling)
    assert short.token_ids == whole.token_ids
    assert short.usage.completion_tokens == N_TOKENS
    saved = whole.usage.computed_tokens - short.usage.computed_tokens
    assert saved == N_TOKENS - BEGUN_TOKENS


def test_nothing_is_saved_where_more_is_wished(exact_engine: Engine) -> None:
    wish = "in Spanish and in rhyme"
    whole, short = answer(exact_engine, wish, trace=0), answer(exact_engine, wish)
    assert short.usage.computed_tokens == whole.usage.computed_tokens


def test_choices_that_are_made_together_save_it_too(exact_engine: Engine) -> None:
    alone = answer(exact_engine)
    sampling = SamplingParams(max_tokens=N_TOKENS, ignore_eos=True)
    choices = exact_engine.generate_choices(
        QUESTION, 3, preference="in Spanish", amulet=GATED, sampling=sampling
    )
    assert [choice.token_ids for choice in choices] == [alone.token_ids] * 3


def test_a_wish_that_changes_on_the_way_has_its_plain_row_again(exact_engine: Engine) -> None:
    stream = exact_engine.stream_generate(
        QUESTION,
        preference="in Spanish",
        amulet=GATED,
        sampling=SamplingParams(max_tokens=N_TOKENS, ignore_eos=True),
    )
    for _, _chunk in zip(range(BEGUN_TOKENS + 4), stream, strict=False):
        pass
    stream.change(preference="in rhyme", amulet=GATED)
    *_, last = stream
    assert last.generation is not None
    assert last.generation.usage.completion_tokens == N_TOKENS
    assert last.generation.applied is not None
    assert last.generation.applied.highest_scale == 2.0
