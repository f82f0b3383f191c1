"""A model that can't chat: what is said at the start, and what it can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amulet_local import load
from amulet_local.common.errors import ChatTemplateError
from tests.cli.conftest import CallCli
from tests.gguf_edit import copy_without


@pytest.fixture(scope="module")
def mute(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model without its chat template."""
    path = tmp_path_factory.mktemp("mute") / "mute.gguf"
    copy_without(tiny_path, path, "tokenizer.chat_template")
    return path


@pytest.mark.parametrize("command", [("generate", "Hi"), ("compare", "Hi"), ("chat",)])
def test_it_is_said_at_the_start_with_what_helps(
    call: CallCli, mute: Path, command: tuple[str, ...]
) -> None:
    line = call(*command, "-m", mute, "--preference", "formal", "-n", "2").error_line
    assert "can't chat" in line
    assert "--raw" in line
    assert line.endswith("--chat-template chatml")
    assert "Python" not in line


def test_a_base_model_goes_on_with_a_text(call: CallCli, mute: Path) -> None:
    text = "Once upon a time"
    outcome = call("generate", text, "-m", mute, "-n", "4", "--raw", "--json")
    made = json.loads(outcome.out)
    with load(mute, n_ctx=256) as engine:
        prompt = engine.model.vocabulary.tokenize(text, add_special=True, parse_special=False)
        plain = engine.generate_from_tokens(prompt)
        assert made["token_ids"] == list(plain.token_ids[:4])
        assert made["usage"]["prompt_tokens"] == len(prompt)
        with pytest.raises(ChatTemplateError, match="raw"):
            engine.check_chat()


def test_raw_and_a_template_exclude_each_other(call: CallCli, mute: Path) -> None:
    outcome = call("generate", "Hi", "-m", mute, "--raw", "--chat-template", "chatml")
    assert outcome.code == 2
    assert "--raw" in outcome.err


def test_a_template_that_there_isnt_is_said_before_a_model_is_loaded(call: CallCli) -> None:
    line = call("generate", "Hi", "-m", "no-such-model", "--chat-template", "lama3").error_line
    assert "llama3" in line
