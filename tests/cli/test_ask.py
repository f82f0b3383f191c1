"""`amulet-local ask`: a model that another process has loaded."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local.cli import ask, ask_flags, asking, quick_ask
from amulet_local.cli.app import command_named
from amulet_local.cli.asking import _pieces
from amulet_local.cli.path_http import PathConnection
from tests import help_in_docs
from tests.cli.conftest import CallCli
from tests.cli.running import environment
from tests.scripted import says, scripted_engine
from tests.server.conftest import running
from tests.server.test_unix_socket import serving

STRONG = ("--preference", "formal", "--guidance-scale", "30")
CUT = "the answer was cut; --predict, or the server's --ctx-size, allows more\n"


@pytest.mark.parametrize("reader", ["at once", "app"])
def test_a_question_is_answered_at_a_path(
    reader: str, call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reader == "app":
        monkeypatch.setenv("AMULET_TOP_K", "40")  # what variables say is read by the app
    monkeypatch.setattr(asking, "STARTING_SECONDS", 0.1)
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


def test_a_question_alone_is_told_where_the_server_goes(call: CallCli) -> None:
    told = " ".join(call("ask", "What is yeast?").err.replace("│", " ").split())
    assert "amulet-local ask http://127.0.0.1:8080 'What is yeast?'" in told


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


# ------------------------------------------------------------------------------ without the app


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
VALUES = st.sampled_from(["0", "-1", "2.5", "inf", "1e9", "none", "a\\nb", "15043+1", "{}", "[1"])


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """Usual ones and others: any flags with values of any kind, in any order, twice, cut."""
    told = ["some.sock", *draw(st.lists(st.sampled_from(["What is it?", "-"]), max_size=2))]
    for _ in range(draw(st.integers(0, 4))):
        flag = draw(st.sampled_from([*ask_flags.FLAGS, "--grammar-file", "-h", "--nothing", "-n5"]))
        value = draw(VALUES | TEXTS)
        told += draw(st.sampled_from([[flag, value], [f"{flag}={value}"], [flag]]))
    return told


def read(reader: Callable[[list[str]], object], place: Any, told: list[str]) -> Any:
    """What is asked after this command line was read; else how the command ends."""
    asked: list[Any] = []

    def note_down(question: Any, fields: Any) -> None:
        own = {name: getattr(question, name) for name in ask_flags.OWN}
        asked.append({name: value for name, value in own.items() if value} | {"fields": fields})

    with pytest.MonkeyPatch.context() as patch, open(os.devnull) as nothing:
        patch.setattr(place, "ask", note_down)
        patch.setattr(quick_ask, "prepare_streams", lambda: None)
        patch.setattr(sys, "stdin", nothing)
        try:
            end = reader(told)
        except SystemExit as exit:
            end = exit.code
    return asked[0] if asked else end


@pytest.mark.lengthy
@settings(max_examples=60)
@given(arguments())
def test_what_is_read_without_the_app_is_what_the_app_reads(told: list[str]) -> None:
    at_once = read(quick_ask.ask_at_once, quick_ask, told)
    if at_once is not False:
        assert at_once == read(COMMAND.main, ask, told)


USUAL = [shlex.split(line)[2:] for line in ask.EXAMPLES.splitlines() if line.startswith("amulet")]


@pytest.mark.parametrize("told", [*USUAL, ["a", "-p", "b", "--temp=0.5", "--stop", ".", "-n", "3"]])
def test_usual_command_lines_are_read_without_the_app(told: list[str]) -> None:
    at_once = read(quick_ask.ask_at_once, quick_ask, told)
    assert isinstance(at_once, dict)
    assert at_once == read(COMMAND.main, ask, told)


@pytest.mark.parametrize(
    "told",
    [
        ["a", "Why so?", "--help"],
        ["a", "Why so?", "and?"],
        ["a", "Why so?", "-n", "many"],
        ["a", "Why so?", "--json=1"],
        ["a", "Why so?", "-p", "b"],
        ["a", "Why so?", "--preset"],
        ["-p", "Why so?"],
        ["a"],
    ],
)
def test_mistakes_are_left_to_the_app_which_says_what_they_are(told: list[str]) -> None:
    assert read(quick_ask.ask_at_once, quick_ask, told) is False


COMMAND = command_named("ask")


def test_usual_questions_need_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; from amulet_local.cli import main, path_http, quick_ask; "
        "slow = {'typer', 'pydantic', 'numpy', 'click', 'typing', 'dataclasses', 'http', 'ssl'}; "
        "sys.exit(str(sorted(slow & set(sys.modules)))) if slow & set(sys.modules) else None"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_flags_that_are_read_at_once_are_those_that_are_declared() -> None:
    """scripts/update_help writes them anew."""
    assert help_in_docs.ASK_FLAGS.read_text(encoding="utf-8") == help_in_docs.ask_flags_text()


@contextmanager
def saying(path: Path, reply: bytes) -> Iterator[None]:
    """Something at a path that says this to whatever it is asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = b"data: 1\ndata: 2"


@pytest.mark.parametrize(
    "reply",
    [
        b"Content-Length: 15\r\n\r\n" + WHOLE,
        b"Transfer-Encoding: chunked\r\n\r\n9;x=y\r\ndata: 1\nd\r\n6\r\nata: 2\r\n0\r\n\r\n",
        b"\r\n" + WHOLE,
    ],
)
def test_a_body_is_read_however_its_end_is_told(tmp_path: Path, reply: bytes) -> None:
    connection = PathConnection(str(tmp_path / "a.sock"))
    for read in (b"".join, lambda response: response.read()):
        with saying(tmp_path / "a.sock", OK + reply):
            connection.request("POST", "/", "{}", {})
            response = connection.getresponse()
            assert (response.status, read(response)) == (200, WHOLE)
            connection.close()
        (tmp_path / "a.sock").unlink()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"Content-Length: 99\r\n\r\n{",
        OK + b"Content-Length: x\r\n\r\n{",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\ndata",
        OK + b"Transfer-Encoding: chunked\r\n\r\nz\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"a" * (1 << 17) + b"\r\n",
    ],
)
def test_a_reply_that_is_cut_or_no_http_is_one_clear_error(
    call: CallCli, tmp_path: Path, reply: bytes
) -> None:
    with saying(tmp_path / "a.sock", reply):
        said = call("ask", str(tmp_path / "a.sock"), "Why is it?").error_line
    assert "is `amulet-local serve` there?" in said


def test_a_model_is_named_to_what_loads_one(call: CallCli) -> None:
    said = call("ask", "a.sock", "Why?", "-m", "smollm2")
    assert said.code == 2
    assert "`amulet-local generate -m MODEL` loads one" in said.err
