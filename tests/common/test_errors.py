"""Messages repeat what files and users say so that it acts on no terminal and in no log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local import Engine, errors
from amulet_local.batch.entries import Entry
from amulet_local.batch.input_lines import InputLine
from amulet_local.common.readable import printable
from amulet_local.conversation import conversation_file
from amulet_local.preferences.user_settings import parse_settings
from tests.batch.scripted_job import job_model

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\nforged line\x9b31m\u202e\u2028\ud800"


@given(st.text())
def test_what_is_printable_is_printable_and_one_that_is_stays(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert (shown == text) == text.isprintable()


@pytest.mark.parametrize(
    "kind", [errors.AmuletError, errors.ChatTemplateError, errors.LikedTextError]
)
def test_every_error_says_hostile_text_in_one_printable_line(kind: type[Exception]) -> None:
    error = kind(f"no such name: {HOSTILE} é 好")
    assert str(error).isprintable()
    assert "\\x1b]0;owned\\x07" in str(error)
    assert "é 好" in str(error)
    assert error.args == (f"no such name: {HOSTILE} é 好",)


SAID = HOSTILE.encode("utf-8", "ignore").decode()


def test_a_settings_file_a_conversation_and_an_input_line_are_repeated_visibly(
    scripted: Engine, tmp_path: Path
) -> None:
    with pytest.raises(errors.SettingsError) as settings:
        parse_settings(f'[mixes]\n"{json.dumps(SAID)[1:-1]}" = 3\n'.encode())
    talk = {"format": "amulet-local conversation", "version": 1, "settings": {SAID: 1}, "turns": []}
    with pytest.raises(errors.ConversationFileError) as conversation:
        conversation_file.parse(json.dumps(talk).encode())
    line = InputLine((0, 1), "a", 1, json.dumps({"prompt": "a", SAID: 1}).encode(), None)
    record = Entry(line, "key", job_model(scripted), turn=0).record()
    for message in (str(settings.value), str(conversation.value), record["error"]["message"]):
        assert message.isprintable()


def test_the_name_of_a_conversation_s_model_is_repeated_visibly(
    scripted: Engine, tmp_path: Path
) -> None:
    scripted.conversation().save(tmp_path / "talk")
    saved = json.loads((tmp_path / "talk").read_text())
    (tmp_path / "talk").write_text(json.dumps({**saved, "model": SAID}))
    (warning,) = scripted.load_conversation(tmp_path / "talk").warnings
    assert warning.isprintable()
    assert "\\x1b]0;owned" in warning
