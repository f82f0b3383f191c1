"""What one command understands, its neighbours understand under the same names."""

from __future__ import annotations

import re
from typing import Any

import pytest

from amulet_local import SamplingParams
from amulet_local.cli.app import COMMANDS, command_named
from amulet_local.openai.chat_completion import CHANGEABLE, ChatCompletionFields
from amulet_local.server.fields import ServedFields
from tests.cli.conftest import CallCli

GROUPS = ("models", "preferences", "profile")
"""Commands that have commands of their own."""


def flags_of(name: str) -> list[set[str]]:
    """The flags of each option of a command."""
    return [
        {*param.opts, *param.secondary_opts}
        for param in command_named(name).params
        if param.param_type_name == "option"
    ]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in GROUPS])
def test_a_flag_has_all_its_names_in_every_command(name: str) -> None:
    flags = flags_of(name)
    for names in (
        {"-n", "--predict", "--n-predict", "--max-tokens"},
        {"-s", "--seed"},
        {"--methods", "--method"},
        {"--chat-template-file"},
    ):
        has_one = any(names & own for own in flags)
        if names == {"--methods", "--method"}:
            has_one = any("--methods" in own for own in flags)
        if names == {"--chat-template-file"}:
            has_one = any("--chat-template" in own for own in flags)
        assert not has_one or any(names <= own for own in flags), names


def test_a_server_s_own_default_may_be_whatever_changes_while_it_streams() -> None:
    for name in ("serve", "ask"):
        params = {param.name for param in command_named(name).params}
        assert {*CHANGEABLE, "preference", "avoid", "preset"} <= params


def test_what_ask_can_say_are_fields_of_the_server() -> None:
    assert set(SamplingParams.options) <= set(ServedFields.model_fields)


def test_the_help_of_serve_and_ask_says_the_server_s_defaults(call: CallCli) -> None:
    serve = " ".join(call("serve", "--help").out.split())
    default: Any = ChatCompletionFields().temperature
    assert f"0 is greedy. Default: {default:g}." in serve
    ask = call("ask", "--help").out
    assert not re.search(r"^.*Default: .*$", ask, re.MULTILINE)


@pytest.mark.parametrize("name", GROUPS)
def test_a_command_with_commands_of_its_own_lists_by_itself(call: CallCli, name: str) -> None:
    assert call(name) == call(name, "list")
    assert call(name, "--json") == call(name, "list", "--json")
    assert call(name).code == 0


@pytest.mark.parametrize("name", GROUPS)
def test_a_command_that_isn_t_there_is_answered_with_what_is(call: CallCli, name: str) -> None:
    near = call(name, "shw", "x")
    assert (near.code, near.out) == (2, "")
    assert near.err.endswith("did you mean 'show'?\n")
    far = call(name, "qwen 2")
    assert (far.code, far.out) == (2, "")
    assert f"`amulet-local {name} show 'qwen 2'` shows one" in far.err
