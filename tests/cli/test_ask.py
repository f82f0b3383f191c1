"""`amulet-local ask`: a model that another process has loaded."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import CallCli
from tests.scripted import says, scripted_engine
from tests.server.test_unix_socket import serving


def test_a_question_is_answered_at_a_path(call: CallCli, tmp_path: Path) -> None:
    path = tmp_path / "amulet.sock"
    with (
        scripted_engine(lambda v: says(v, "bread and water")) as engine,
        serving(engine, path),
    ):
        assert call("ask", str(path), "What is it?").out == "bread and water\n"
        cut = call("ask", str(path), "Why?", "-n", "1")
        assert cut.err == "the answer was cut; --predict, or the server's --ctx-size, allows more\n"
        outcome = call("ask", str(path), "Why?", "--json", "-n", "1")
        assert outcome.err == ""
        assert '"completion_tokens": 1' in outcome.out
        refused = call("ask", str(path), "Why?", "--preset", "magic")
        assert refused.code == 1
        assert "no preset 'magic'" in refused.err
    assert "is `amulet-local serve` there" in call("ask", str(path), "Why?").err
