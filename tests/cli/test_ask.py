"""`amulet-local ask`: a model that another process has loaded."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from amulet_local.cli import ask
from amulet_local.cli.ask import _pieces
from tests.cli.conftest import CallCli
from tests.scripted import says, scripted_engine
from tests.server.conftest import running
from tests.server.test_unix_socket import serving

STRONG = ("--preference", "formal", "--guidance-scale", "30")
CUT = "the answer was cut; --predict, or the server's --ctx-size, allows more\n"


def test_a_question_is_answered_at_a_path(
    call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "STARTING_SECONDS", 0.1)
    path = tmp_path / "amulet.sock"
    with (
        scripted_engine(lambda v: says(v, "bread and water")) as engine,
        serving(engine, path),
    ):
        assert call("ask", str(path), "What is it?").out == "bread and water\n"
        cut = call("ask", str(path), "Why?", "-n", "1")
        assert (cut.code, cut.err) == (3, CUT)
        outcome = call("ask", str(path), "Why?", "--json", "-n", "1")
        assert (outcome.code, outcome.err) == (3, CUT)
        assert '"completion_tokens": 1' in outcome.out
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", sys.stdout)  # as on a terminal
            shown = call("ask", str(path), "Why?", *STRONG).out
        assert shown.startswith("bread and water\nwarning: guidance scale 30")
        refused = call("ask", str(path), "Why?", "--preset", "magic")
        assert refused.code == 1
        assert "no preset 'magic'" in refused.err
    assert "is `amulet-local serve` there" in call("ask", str(path), "Why?").err


@pytest.mark.lengthy
def test_a_question_is_answered_at_an_address(call: CallCli) -> None:
    form = '{"const": "bread"}'
    with (
        scripted_engine(lambda v: says(v, "bread and water")) as engine,
        running(engine) as server,
    ):
        address = server.url
        assert call("ask", address, "What is it?", "--stop", " and").out == "bread\n"
        shaped = call("ask", address, "What?", "-j", form, "--avoid", "formal", "--kl-target", "1")
        assert shaped.out == '"bread"\n'


@pytest.mark.lengthy
def test_a_server_that_loads_its_model_is_waited_for(call: CallCli) -> None:
    hold = threading.Event()
    with (
        scripted_engine(lambda v: says(v, "bread and water")) as engine,
        running(engine, hold=hold) as server,
    ):
        assert server.client.get("/health").status_code == 503
        threading.Timer(0.5, hold.set).start()
        assert call("ask", server.url, "What is it?").out == "bread and water\n"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("What is yeast?", "its path or address comes first"),
        ("ftp://127.0.0.1", "isn't like http://127.0.0.1:8080"),
        ("http://", "isn't like http://127.0.0.1:8080"),
        ("http://127.0.0.1:x", "isn't like http://127.0.0.1:8080"),
    ],
)
def test_what_is_no_address_is_said_to_be_none(call: CallCli, address: str, words: str) -> None:
    assert words in call("ask", address, "Why?").error_line


def test_what_a_server_sends_while_it_is_silent_is_no_piece() -> None:
    lines = [
        b": waiting\n",
        b"\n",
        b'data: {"a": 1}\n',
        b"\n",
        b'data:{"a": 2}\n',
        b"data: [DONE]\n",
    ]
    assert list(_pieces(lines)) == [{"a": 1}, {"a": 2}]
