"""Fixtures: a browser, visits with it, a server on the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.browsing import Visits, chromium
from tests.server.page.serving import Served, serving


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any) -> Iterator[Visits]:
    visits = Visits(browser)
    yield visits
    visits.close()


FLAGS = ("--parallel", "2", "--queue", "4", "-c", "1024", "--schedule", "serial")


@pytest.fixture(scope="package")
def served(tiny_path: Path) -> Iterator[Served]:
    with serving(tiny_path, *FLAGS) as served:
        yield served


@pytest.fixture(scope="package")
def served_long(model_path: Path) -> Iterator[Served]:
    """A model whose answers end by their length alone, whatever words they have."""
    with serving(model_path, *FLAGS, "--ignore-eos") as served:
        yield served


@pytest.fixture
def served_slowly(served_long: Served) -> Iterator[Served]:
    """The same, so slow that keys are pressed in an answer on a busy machine too."""
    with served_long.slowed():
        yield served_long
