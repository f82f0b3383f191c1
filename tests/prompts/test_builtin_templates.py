"""The families' templates, against llama.cpp's own of the same names."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import pytest

from amulet_local import Engine, SamplingParams, load
from amulet_local.common.errors import InvalidParameterError
from amulet_local.prompts.builtin_templates import (
    BUILTIN_TEMPLATES,
    builtin_template,
    likely_template,
)
from amulet_local.prompts.prompter import Prompter
from amulet_local.prompts.template_sandbox import CompiledTemplate

OURS_ALONE = {
    "raw": "no form",
    "alpaca": "llama.cpp has none",
    "llama2": "with the system text's own tags; llama.cpp's name stands for the form without",
    "mistral": "mistral-v3",
    "phi": "phi3",
    "deepseek": "deepseek3; llama.cpp's name stands for the first coder",
    "gpt-oss": "past answers on their channel, as the model wrote them",
}
"""Names that llama.cpp doesn't have, or has for something else -> why."""
TURNS = [("system", "Be kind."), ("user", "Hi there"), ("assistant", "Hello!"), ("user", "Why?")]


def rendered(source: str, turns: list[tuple[str, str]]) -> str:
    messages = [{"role": role, "content": text} for role, text in turns]
    variables = {
        "messages": messages,
        "add_generation_prompt": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    return CompiledTemplate(source).render(variables, now=None)


def theirs(name: str, turns: list[tuple[str, str]]) -> str:
    chat = [llama_cpp.llama_chat_message(role.encode(), text.encode()) for role, text in turns]
    buffer = ctypes.create_string_buffer(4096)
    n_bytes = llama_cpp.llama_chat_apply_template(
        name.encode(),
        (llama_cpp.llama_chat_message * len(chat))(*chat),
        len(chat),
        True,
        buffer,
        4096,
    )
    assert 0 < n_bytes < 4096
    return buffer.raw[:n_bytes].decode()


@pytest.mark.parametrize("name", sorted(set(BUILTIN_TEMPLATES) - set(OURS_ALONE)))
@pytest.mark.parametrize("first", [0, 1])
def test_a_familys_template_renders_what_llama_cpps_does(name: str, first: int) -> None:
    turns = TURNS[first:]
    assert rendered(BUILTIN_TEMPLATES[name], turns) == theirs(name, turns)


def test_an_empty_system_text_leaves_no_turn_where_the_family_has_another_place_for_it() -> None:
    for name in ("gemma", "mistral", "command-r", "deepseek3"):
        source = BUILTIN_TEMPLATES[name]
        assert rendered(source, [("system", ""), *TURNS[1:]]) == rendered(source, TURNS[1:])


def test_raw_has_no_form() -> None:
    assert (
        rendered(BUILTIN_TEMPLATES["raw"], [("system", ""), ("user", " As it is ")]) == " As it is "
    )
    assert rendered(BUILTIN_TEMPLATES["raw"], [("system", "S"), ("user", "U")]) == "S\n\nU"


def test_a_mistaken_name_gets_the_list_and_the_nearest() -> None:
    with pytest.raises(InvalidParameterError, match=r"did you mean 'llama3'\? there are: chatml"):
        builtin_template("lama3")
    with pytest.raises(InvalidParameterError, match=r"template 'zzz'; there are: chatml"):
        builtin_template("zzz")


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("gemma3", "gemma"),
        ("Gemma-2", "gemma"),
        ("qwen2.5", "chatml"),
        ("Qwen3", "chatml"),
        ("llama-3.1", "llama3"),
        ("llama-2", "llama2"),
        ("phi-4", "phi4"),
        ("gpt_oss", "gpt-oss"),
        ("deepseek-r1", "deepseek3"),
    ],
)
def test_a_models_own_name_is_understood(called: str, name: str) -> None:
    assert builtin_template(called) == BUILTIN_TEMPLATES[name]


def test_a_vocabulary_shows_its_family() -> None:
    def has(*markers: str):  # type: ignore[no-untyped-def]
        return lambda text: [1] if text in markers else [1, 2]

    assert likely_template(has("<start_of_turn>")) == "gemma"
    assert likely_template(has("<|im_start|>", "<|im_sep|>")) == "phi4"
    assert likely_template(has("<|im_start|>")) == "chatml"
    assert likely_template(has()) is None


def test_a_template_of_other_tokens_is_told(shared_engine: Engine, shallow_path: Path) -> None:
    model = shared_engine.model
    with load(shallow_path, n_ctx=256, chat_template="gemma") as engine:
        (note,) = engine.generate("Hi", sampling=SamplingParams(max_tokens=1)).warnings
    assert "<start_of_turn>" in note
    assert "'chatml'" in note
    for name in ("chatml", "vicuna", "mistral", "llama2", None):
        assert (
            Prompter(model, name).prompts("Hi", [""], system=None, placement="system").notes == []
        )
