"""Fixtures: a browser, visits with it, a server on the embedded model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.browsing import Visits, chromium
from tests.server.serving import Served, serving


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any) -> Iterator[Visits]:
    visits = Visits(browser)
    yield visits
    visits.close()


@pytest.fixture(scope="package")
def served(model_path: Path) -> Iterator[Served]:
    with serving(model_path, "--parallel", "2", "--queue", "4", "-c", "1024") as served:
        yield served
