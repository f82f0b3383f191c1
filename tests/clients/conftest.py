"""Servers for clients of others: one whose model says what it is told, one on a real vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from amulet_local import Engine
from tests.scripted import says, scripted_engine
from tests.server.conftest import Server, lasting, running

SAID = "bread, water and salt"
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def serving(text: str) -> Iterator[Server]:
    """A server whose model answers every question with a text."""
    with ExitStack() as stack:
        engine = stack.enter_context(
            scripted_engine(lambda vocabulary: says(vocabulary, text), n_ctx=8192)
        )
        stack.enter_context(lasting(engine))
        yield stack.enter_context(running(engine))


@pytest.fixture(scope="package")
def talker() -> Iterator[Server]:
    """Its model says SAID."""
    yield from serving(SAID)


@pytest.fixture(scope="package")
def caller() -> Iterator[Server]:
    """Its model says something and calls a function."""
    yield from serving(f"A moment.\n{CALL}")


@pytest.fixture(scope="package")
def steered(tiny_engine: Engine) -> Iterator[Server]:
    """Its model answers with noise, another one for each preference."""
    with lasting(tiny_engine) as engine, running(engine) as server:
        yield server
