"""A block closes what it was given, however it ends, and hides nothing."""

from __future__ import annotations

import pytest

from amulet_local.common.closing import Closing


class Tap(Closing):
    def __init__(self) -> None:
        self.n_closed = 0

    def close(self) -> None:
        self.n_closed += 1


def test_the_block_has_the_thing_itself_and_closes_it_once() -> None:
    tap = Tap()
    with tap as inside:
        assert inside is tap
        assert tap.n_closed == 0
    assert tap.n_closed == 1


def test_an_error_closes_it_and_goes_on() -> None:
    tap = Tap()
    with pytest.raises(ZeroDivisionError), tap:
        raise ZeroDivisionError
    assert tap.n_closed == 1


def test_nothing_is_closed_without_saying_how() -> None:
    with pytest.raises(TypeError, match="close"):
        type("Forgetful", (Closing,), {})()
