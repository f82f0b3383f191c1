"""`models pull`, from a hub of our own."""

from __future__ import annotations

import sys

import pytest

from amulet_local.loading.model_store import find_model
from tests.cli.conftest import CallCli
from tests.hub_server import REPOSITORY, Hub

pytestmark = pytest.mark.lengthy


def test_without_a_network_there_is_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, call: CallCli
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub can't be reached" in call("models", "pull", REPOSITORY).error_line
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in call("pull", REPOSITORY).error_line


def test_a_model_that_isnt_here_yet_is_offered(call: CallCli) -> None:
    asked = ("generate", "Hi", "-m")
    assert f"amulet-local pull {REPOSITORY}" in call(*asked, REPOSITORY).error_line
    assert "pull" not in call(*asked, "./no/such.gguf").error_line


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, call: CallCli) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    line = call("pull", REPOSITORY).error_line
    assert "pip install 'amulet-local[hub]'" in line
    assert "pip install -e '.[hub]'" in line


def test_the_command_says_where_it_is_and_what_to_do_with_it(hub: Hub, call: CallCli) -> None:
    hub.files["m-Q4_0.gguf"] = b"GGUF"
    outcome = call("models", "pull", REPOSITORY)
    assert outcome.out.strip() == str(find_model("m-Q4_0"))
    assert "m-Q4_0.gguf, " in outcome.err
    assert "amulet-local chat -m m-Q4_0" in outcome.err
