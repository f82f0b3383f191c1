"""What is said about options on this machine."""

from __future__ import annotations

import pytest

from amulet_local.llama import library
from amulet_local.loading.runtime_setup import runtime_warnings
from amulet_local.params.runtime import RuntimeParams


@pytest.mark.parametrize("name", ["n_threads", "n_threads_batch"])
def test_more_threads_than_cores_are_warned_of(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(library, "usable_cores", lambda: 4)
    (warning,) = runtime_warnings(RuntimeParams(**{name: 5}), 512, 512)
    assert warning.startswith(f"{name} is 5, and this machine has 4 cores")
    assert runtime_warnings(RuntimeParams(**{name: 4}), 512, 512) == ()
