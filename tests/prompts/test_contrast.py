"""What the plain row is told against a preference that ends the question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from amulet_local import Engine, Preference
from amulet_local.params.choices import Placement
from amulet_local.prompts.chat_template import ChatTemplate
from amulet_local.prompts.contrast import NEUTRAL_INSTRUCTION
from amulet_local.prompts.dialogue import Dialogue, PromptMemory, Turn
from tests.scripted import TEMPLATE

QUESTION = "What is yeast?"


def texts(engine: Engine, prompts: Sequence[Sequence[int]]) -> list[str]:
    """The prompts, as a model reads them."""
    piece = engine.model.vocabulary.piece
    return [b"".join(piece(token) for token in prompt).decode() for prompt in prompts]


@pytest.mark.parametrize("preset", [None, "balanced", "strong"])
def test_the_rows_of_the_presets_differ_by_one_sentence_in_one_place(
    scripted: Engine, preset: str | None
) -> None:
    request = scripted.request(QUESTION, preference=["in verse", "for a child"], preset=preset)
    plain, verse, child = texts(scripted, request.prompts)
    assert f"{QUESTION}\n{NEUTRAL_INSTRUCTION}\nassistant" in plain
    for row, told in (
        (verse, "Answer the question in verse."),
        (child, "Answer the question for a child."),
    ):
        assert row == plain.replace(NEUTRAL_INSTRUCTION, told)


@pytest.mark.parametrize("placement", ["system", "user"])
def test_elsewhere_the_plain_row_is_the_plain_prompt(
    scripted: Engine, placement: Placement
) -> None:
    base = scripted.request(QUESTION)
    steered = scripted.request(QUESTION, preference="in verse", placement=placement)
    assert steered.prompts[0] == base.prompts[0]
    assert NEUTRAL_INSTRUCTION not in texts(scripted, base.prompts)[0]


def test_the_plain_answer_has_nothing_to_do_with_it(scripted: Engine) -> None:
    for placement in ("system", "user", "contrast"):
        request = scripted.request(
            QUESTION, preference="in verse", method="base", placement=placement
        )
        assert request.prompts == scripted.request(QUESTION).prompts


TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
RESULT = [
    {"role": "user", "content": QUESTION},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "sunny"},
]


def test_where_functions_may_be_called_both_rows_say_so(scripted: Engine) -> None:
    request = scripted.request(QUESTION, preference=["in verse", "funny"], tools=[TOOL])
    plain, verse, funny = texts(scripted, request.prompts)
    assert f"{QUESTION}\nCall a function, or answer the question.\nassistant" in plain
    assert f"{QUESTION}\nCall a function, or answer the question in verse.\nassistant" in verse
    assert f"{QUESTION}\nCall a function, or make the answer funny.\nassistant" in funny


@pytest.mark.parametrize(
    ("messages", "choice"), [(QUESTION, "required"), (QUESTION, "none"), (RESULT, "auto")]
)
def test_nor_is_it_said_where_one_has_to_be_or_was(
    scripted: Engine, messages: Any, choice: str
) -> None:
    request = scripted.request(
        messages, preference="in verse", system="", tools=[TOOL], tool_choice=choice
    )
    assert "Call a function" not in "".join(texts(scripted, request.prompts))


def test_a_template_of_ones_own_stays_beside_functions(scripted: Engine) -> None:
    own = Preference(text="verse", prompt="Reply in {text}!")
    request = scripted.request(QUESTION, preference=own, tools=[TOOL])
    plain, verse = texts(scripted, request.prompts)
    assert f"{QUESTION}\nReply in verse!\nassistant" in verse
    assert f"{QUESTION}\n{NEUTRAL_INSTRUCTION}\nassistant" in plain


def test_a_conversation_keeps_it_out_of_its_earlier_turns(scripted: Engine) -> None:
    now = datetime(2026, 1, 2)
    dialogue = Dialogue(
        turns=(Turn(question=QUESTION, answer="bread", token_ids=(), finish_reason="stop"),),
        question="And one lake?",
        now=now,
        memory=PromptMemory(),
    )
    vocabulary = scripted.model.vocabulary
    prompts, *_ = dialogue.prompts(
        ChatTemplate(TEMPLATE, vocabulary),
        vocabulary,
        ["", "Answer the question in verse."],
        system="",
        placement="contrast",
    )
    for text, told in zip(
        texts(scripted, prompts),
        (NEUTRAL_INSTRUCTION, "Answer the question in verse."),
        strict=True,
    ):
        assert text.count("Answer") == 1
        assert f"And one lake?\n{told}\nassistant" in text
