"""A preference's own prompt: in the settings file, in Python, on the command line, in a chat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from amulet_local import SamplingParams
from amulet_local.common.errors import InvalidParameterError, SettingsError
from amulet_local.conversation.conversation_file import SavedConversation, read, write
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.preferences.settings_editor import merge, remove, set_mix, set_preference
from amulet_local.preferences.user_settings import parse_settings, read_settings, settings_path
from tests.cli.conftest import CallCli, call
from tests.scripted import Rule, ScriptedVocabulary, says, scripted_engine

__all__ = ["call"]

TEMPLATE = "Write all of the answer {text}, in {{four}} lines"
SENTENCE = "Write all of the answer in rhyme, in {four} lines"
INLINE = f"[preferences]\nrhyme = {{ text = 'in rhyme', prompt = '{TEMPLATE}' }}\n"
TABLE = f"[preferences.rhyme]\n# mine\nprompt = '{TEMPLATE}'\ntext = 'in rhyme'\n"
WHOLE = "[preferences.rhyme]\nprompt = 'you are a poet'\n"


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings file will be."""
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))
    return settings_path()


@pytest.mark.parametrize("content", [INLINE, TABLE])
@pytest.mark.parametrize("name", ["rhyme", "RHYME:0.5"])
def test_a_template_is_the_prompt_as_it_is(settings_file: Path, content: str, name: str) -> None:
    settings_file.write_text(content)
    (found,) = resolve(name)
    assert (found.instruction, found.text, found.name) == (SENTENCE, "in rhyme", "rhyme")


def test_a_sentence_without_a_field_needs_no_text(settings_file: Path) -> None:
    settings_file.write_text(WHOLE)
    (found,) = resolve("rhyme")
    assert (found.instruction, found.label) == ("you are a poet", "rhyme")


def test_a_table_with_a_text_alone_is_worded(settings_file: Path) -> None:
    settings_file.write_text("[preferences]\nrhyme = { text = 'in rhyme' }\n")
    assert resolve("rhyme") == (Preference(text="in rhyme", name="rhyme"),)


def test_a_part_of_a_mix_and_what_is_avoided_have_their_template(settings_file: Path) -> None:
    settings_file.write_text(f"{INLINE}[mixes]\nwork = ['concise', 'rhyme:0.5']\n")
    assert [item.instruction for item in resolve("work", avoid="rhyme")][1:] == [SENTENCE] * 2


@pytest.mark.parametrize(
    ("entry", "line", "key", "reason"),
    [
        (
            "{ text = 'a', prompt = 'Be {txt}.' }",
            2,
            "prompt",
            "unknown field {txt}; there is {text}",
        ),
        ("{ text = 'a', prompt = 'Be {text!r}.' }", 2, "prompt", "unknown field {text!r}"),
        ("{ text = 'a', prompt = 'Be {text:>9}.' }", 2, "prompt", "unknown field {text:>9}"),
        ("{ text = 'a', prompt = 'Be {text.x}.' }", 2, "prompt", "unknown field {text.x}"),
        ("{ text = 'a', prompt = 'Be {}.' }", 2, "prompt", "unknown field {}"),
        ("{ text = 'a', prompt = 'Be {text.' }", 2, "prompt", "a brace is alone"),
        ("{ prompt = 'Be {text}.' }", 2, "prompt", "{text} stands for a text that isn't there"),
        ("{ text = 'a', prompt = 3 }", 2, "prompt", "has to be a text in quotes"),
        ("{ text = 'a', prompt = ' ' }", 2, "prompt", "there is no text"),
        ("{ text = ' ', prompt = 'Be {text}.' }", 2, "text", "there is no text"),
        ("{ text = 'a', promt = 'Be.' }", 2, "promt", "unknown key; did you mean 'prompt'?"),
        (f"{{ text = '{'a' * 3000}', prompt = '{{text}} {{text}}' }}", 2, "prompt", "at most 4000"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(
    entry: str, line: int, key: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as error:
        parse_settings(f"[preferences]\nmine = {entry}\n".encode())
    assert str(error.value).startswith(f"settings.toml, line {line}: preferences.mine.{key}: ")
    assert reason in str(error.value)


def test_an_empty_table_is_no_preference() -> None:
    with pytest.raises(SettingsError, match=r"line 2: preferences\.mine: has neither"):
        parse_settings(b"[preferences]\nmine = {}\n")


def test_python_has_templates_too() -> None:
    assert Preference(text="in rhyme", prompt=TEMPLATE).instruction == SENTENCE
    with pytest.raises(InvalidParameterError, match=r"unknown field \{tone\}"):
        Preference(text="in rhyme", prompt="Be {tone}.")


@pytest.mark.parametrize("content", ["", INLINE, TABLE, WHOLE])
def test_the_editor_writes_replaces_and_removes_templates(
    settings_file: Path, content: str
) -> None:
    settings_file.write_text(content)
    set_preference("other", "short", prompt="Be {text}.")
    set_preference("rhyme", "in verse", force=True)
    assert [resolve(name)[0].instruction for name in ("other", "rhyme")] == [
        "Be short.",
        "Answer the question in verse.",
    ]
    set_preference("rhyme", "in rhyme", prompt=TEMPLATE, force=True)
    set_mix("other", ["concise", "in prose"], force=True)
    settings = read_settings()
    assert (dict(settings.preferences), dict(settings.prompts)) == (
        {"rhyme": "in rhyme"},
        {"rhyme": TEMPLATE},
    )
    remove("rhyme")
    assert not read_settings().prompts


def test_a_file_that_is_taken_over_brings_its_templates(settings_file: Path) -> None:
    merge(parse_settings(INLINE.encode()))
    before = settings_file.read_bytes()
    merge(parse_settings(INLINE.encode()))
    assert settings_file.read_bytes() == before
    assert resolve("rhyme")[0].instruction == SENTENCE
    with pytest.raises(InvalidParameterError, match="--force"):
        merge(parse_settings(INLINE.replace("four", "five").encode()))


def test_the_command_line_writes_and_shows_a_template(call: CallCli, settings_file: Path) -> None:
    assert call("preferences", "add", "rhyme", "in rhyme", "--prompt", TEMPLATE).code == 0
    assert f"instruction: {SENTENCE}\n" in call("preferences", "show", "rhyme").out
    (part,) = json.loads(call("preferences", "show", "rhyme", "--json").out)["parts"]
    assert part["instruction"] == SENTENCE
    assert json.loads(call("preferences", "list", "--json").out)["prompts"] == {"rhyme": TEMPLATE}


def test_the_command_line_refuses_an_unknown_field(call: CallCli, settings_file: Path) -> None:
    line = call("preferences", "add", "rhyme", "in rhyme", "--prompt", "Be {tone}.").error_line
    assert "preferences.rhyme.prompt: unknown field {tone}" in line
    assert not settings_file.exists()
    settings_file.write_text("[preferences.rhyme]\nprompt = 'Be {tone}.'\n")
    line = call("generate", "Hi", "--preference", "rhyme").error_line
    assert line.startswith("settings.toml, line 2: preferences.rhyme.prompt: unknown field {tone}")


def test_the_model_gets_the_sentence_to_the_letter(settings_file: Path) -> None:
    settings_file.write_text(INLINE)
    prompts: list[str] = []

    def heard(vocabulary: ScriptedVocabulary) -> Rule:
        answer = says(vocabulary, "Tea.")

        def rule(tokens: Sequence[int]) -> np.ndarray:
            prompts.append(b"".join(map(vocabulary.piece, tokens)).decode())
            return answer(tokens)

        return rule

    with scripted_engine(heard) as engine:
        engine.generate("Why?", preference="rhyme", sampling=SamplingParams(max_tokens=1))
    assert sum(SENTENCE in prompt for prompt in prompts) == 1
    assert not any("Answer the question in" in prompt for prompt in prompts if SENTENCE in prompt)


def test_a_kept_chat_keeps_the_template(tmp_path: Path) -> None:
    liked = (Preference(text="in rhyme", prompt=TEMPLATE), Preference(text="short"))
    settings = ConversationSettings(preference=liked)
    write(tmp_path / "chat.json", SavedConversation(model="m", settings=settings, turns=()))
    assert read(tmp_path / "chat.json").settings.preference == liked
    parts = json.loads((tmp_path / "chat.json").read_text())["settings"]["preference"]
    assert ["prompt" in part for part in parts] == [True, False]
