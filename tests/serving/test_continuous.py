"""Requests without an end: taken as they are needed, in memory that fits them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Chunk, Engine, errors, load
from amulet_local.answering.request import Request
from amulet_local.loading import cost_meter
from tests.scripted import scripted_engine
from tests.serving.test_together import ask, assert_usable


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine() as engine:
        yield engine


def whole(pieces: Any) -> dict[int, tuple[int, ...]]:
    found = {}
    for came in pieces:
        for number, piece in came:
            if isinstance(piece, Chunk) and piece.generation is not None:
                found[number] = piece.generation.token_ids
    return found


def test_requests_are_taken_as_they_are_needed_and_places_grow_with_them(engine: Engine) -> None:
    """A longer answer and one of more rows come after what was looked at."""
    asks = [ask("Why?", 3)] * 12
    asks += [ask("Why?", 200), ask("Why?", 3, preference=["concise", "formal"])] * 2
    taken: list[int] = []
    done: set[int] = set()

    def requests() -> Iterator[Request | None]:
        for number, each in enumerate(asks):
            assert number <= len(done) + 7  # under way, one that is next, and those looked at
            taken.append(number)
            yield engine.request(**each)
            yield None

    pieces = engine.stream_all(requests(), at_once=2, scheduler="interleaved", n_ahead=3)
    found = {}
    for came in pieces:
        for number, piece in came:
            if isinstance(piece, Chunk) and piece.generation is not None:
                done.add(number)
                found[number] = piece.generation.token_ids
    assert found == {n: engine.generate(**each).token_ids for n, each in enumerate(asks)}


def test_nothing_is_nothing_and_a_request_may_be_an_error(engine: Engine) -> None:
    assert whole(engine.stream_all([None, None])) == {}
    failed = errors.InvalidRequestError("no question")
    came = [
        item
        for items in engine.stream_all(
            [failed, engine.request(**ask("Why?", 2)), failed], scheduler="interleaved"
        )
        for item in items
    ]
    assert [number for number, piece in came if piece is failed] == [0, 2]
    assert len([piece for _, piece in came if isinstance(piece, Chunk) and piece.generation]) == 1


def test_cancel_takes_no_more_requests(engine: Engine) -> None:
    def endless() -> Iterator[Request]:
        while True:
            yield engine.request(**ask("Why?", 500))

    ended: list[Any] = []
    for came in engine.stream_all(endless(), at_once=2, scheduler="interleaved"):
        if came:
            engine.cancel()
        ended += [piece for _, piece in came]
    assert any(isinstance(piece, errors.CancelledError) for piece in ended)
    assert_usable(engine)


def test_a_width_is_measured_on_the_model_and_divided_among_the_rows(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))  # nothing is known of the model
    monkeypatch.setattr(cost_meter, "BATCH_WIDTHS", (1, 2))
    monkeypatch.setattr(cost_meter, "BATCH_SECONDS", 1e9)
    with load(tiny_path, n_ctx=128, n_threads=1) as engine:
        width = engine.suitable_width(1, 128)
        assert width in (1, 2)
        assert set(engine._shared.meter.costs.known) >= {(1, 1), (1, 2)}
        assert engine.suitable_width(2, 128) == 1
