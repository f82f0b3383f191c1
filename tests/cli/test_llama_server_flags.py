"""Command lines that were written for llama-server."""

from __future__ import annotations

import pytest
import typer
from typer.main import get_command

from amulet_local.cli import question
from amulet_local.cli.app import command_named
from amulet_local.cli.llama_server_flags import ALREADY, INSTEAD, NO_EFFECT, without_others
from amulet_local.cli.serve import _defaults, add_to
from amulet_local.cli.serve_options import ServeOptions
from tests.cli.conftest import CallCli

VALUED = ("--alias", "-c")


def _flags_of_serve() -> set[str]:
    app = typer.Typer()
    add_to(app)
    return {
        flag for param in get_command(app).params for flag in (*param.opts, *param.secondary_opts)
    }


def test_what_has_nothing_to_do_here_is_left_out_with_its_value_and_named() -> None:
    line = ["-c", "512", "--jinja", "-ub", "64", "--threads-http=4", "--no-warmup", "-v"]
    assert without_others(line, VALUED) == (
        ["-c", "512", "-v"],
        ["-ub", "--threads-http", "--no-warmup"],
    )


def test_the_value_of_a_flag_may_look_like_one() -> None:
    assert without_others(["--alias", "--jinja", "--alias=-hf"], VALUED)[0] == [
        *("--alias", "--jinja"),
        "--alias=-hf",
    ]


@pytest.mark.parametrize(
    ("flag", "answer"), [("-hf", "-m"), ("-md", "draft"), ("-ngld", "draft"), ("-gan", "-c")]
)
def test_what_would_change_answers_is_refused_with_what_does_it(flag: str, answer: str) -> None:
    with pytest.raises(typer.BadParameter, match=rf"{flag}: .*{answer}"):
        without_others([flag, "x"], VALUED)


@pytest.mark.parametrize(
    "line", [["-fit", "on"], ["-fitt", "512"], ["-fitc", "512"], ["-mmdev", "none"]]
)
def test_short_names_have_no_effect_either(line: list[str]) -> None:
    assert without_others([*line, "-v"], VALUED) == (["-v"], [line[0]])


def test_what_llama_server_chooses_itself_is_chosen_here() -> None:
    line = ["-t", "-1", "--parallel=-1", "-n", "-1", "-np", "4", "-t"]
    assert without_others(line, ("-t", "--parallel", "-n", "-np"))[0] == [
        *("-n", "-1", "-np", "4", "-t"),
    ]


def test_no_flag_is_both_taken_and_left_out() -> None:
    tables = [ALREADY, set(NO_EFFECT), {flag for flags in INSTEAD for flag in flags}]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert not _flags_of_serve() & set().union(*tables)


@pytest.mark.parametrize("name", ["generate", "compare", "explain", "batch", "chat"])
def test_no_flag_of_a_command_that_asks_is_left_out(name: str) -> None:
    command = command_named(name)
    others = {*ALREADY, *NO_EFFECT, *command.of_cli}
    for param in command.params:
        assert not others & {*param.opts, *param.secondary_opts}


def test_a_command_line_for_llama_cli_asks_the_same(call: CallCli) -> None:
    line = ["-m", "missing.gguf", "-p", "Hi", "-no-cnv", "--no-display-prompt", "-ub", "64"]
    outcome = call("generate", *line)
    assert outcome.err.startswith("without effect here: -ub\nerror: no model 'missing.gguf'")
    assert call("run", "missing.gguf", "Hi", "--nowordwrap", "--keepalive", "5m").err.startswith(
        "without effect here: --nowordwrap, --keepalive\nerror: no model 'missing.gguf'"
    )
    assert "a conversation is `amulet-local chat`" in call("generate", "Hi", "-cnv").err
    assert "one answer is `amulet-local generate`" in call("chat", "-st").err
    assert "use --load-mode none" in call("generate", "Hi", "--no-mmap").err
    assert "use --load-mode mlock" in call("generate", "Hi", "--mlock").err
    assert "`amulet-local pull a/b`" in call("chat", "-hf", "a/b").err
    assert "`amulet-local pull a/b:Q8_0`" in call("generate", "--hf-repo=a/b:Q8_0", "Hi").err
    assert "`amulet-local pull ORG/REPOSITORY:TYPE`" in call("generate", "-hff", "a/b").err


def test_flash_attention_may_stand_alone_as_in_former_versions() -> None:
    line = ["-fa", "-ngl", "99", "-fa", "off", "--flash-attn"]
    assert without_others(line, ("-fa", "-ngl", "--flash-attn"))[0] == [
        *("-fa", "on", "-ngl", "99", "-fa", "off"),
        *("--flash-attn", "on"),
    ]


def test_escapes_are_refused_where_there_are_some() -> None:
    assert without_others(["-e", "Hi"], VALUED) == (["Hi"], [])
    with pytest.raises(typer.BadParameter, match=r"-e: a backslash in a text stays one"):
        without_others(["-e", "a\\nb"], VALUED)


def test_sampling_of_the_command_line_is_what_requests_leave_open() -> None:
    given = {"temperature": 0.8, "seed": 42, "max_tokens": -1, "top_k": 20}
    sources = {"temperature": "flag", "seed": "environment", "max_tokens": "environment"}
    defaults = _defaults(ServeOptions(sampling=given, sources={**sources, "top_k": "flag"}))
    assert defaults.fields == {"temperature": 0.8, "seed": 42, "top_k": 20, "n_predict": -1}
    assert defaults.sources == {
        "temperature": "flag",
        "seed": "environment",
        "top_k": "flag",
        "n_predict": "environment",
    }


def test_a_length_of_minus_one_is_as_many_tokens_as_fit() -> None:
    assert question._sampling({"max_tokens": -1})["max_tokens"] == question.AS_MANY_AS_FIT
    assert question._sampling({"max_tokens": 3}) == {"max_tokens": 3}
