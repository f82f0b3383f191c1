"""Every text of a conversation is in the prompt, whatever the chat template makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine
from amulet_local.calling.tools import checked_tools
from amulet_local.common.errors import ChatTemplateError, EmptyPromptError, InvalidRequestError
from amulet_local.params.choices import Placement
from amulet_local.prompts.builtin_templates import BUILTIN_TEMPLATES
from amulet_local.prompts.chat_template import ChatTemplate
from amulet_local.prompts.messages import checked
from amulet_local.prompts.prompter import Prompter
from amulet_local.prompts.simpler_forms import EMPTY_NOTE, FOLDED_NOTE, MERGED_NOTE, TOOLS_NOTE
from tests.prompts.test_chat_template import FakeVocabulary

PREFERENCE = "Answer as a pirate would."
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "system after the first turn": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "system", "content": "three"},
        {"role": "user", "content": "four"},
    ],
    "two system texts": [
        {"role": "system", "content": "five"},
        {"role": "developer", "content": "six"},
        {"role": "user", "content": "seven"},
    ],
    "system text last": [
        {"role": "user", "content": "eight"},
        {"role": "system", "content": "nine"},
    ],
    "two users in a row": [
        {"role": "user", "content": "ten"},
        {"role": "user", "content": "eleven"},
    ],
    "an assistant without a word": [
        {"role": "user", "content": "twelve"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "thirteen"},
    ],
    "a tool's result": [
        {"role": "user", "content": "fourteen"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                CALL | {"function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "fifteen degrees"},
        {"role": "user", "content": "sixteen"},
    ],
    "a tool's result last": [
        {"role": "system", "content": "seventeen"},
        {"role": "user", "content": "eighteen"},
        {"role": "assistant", "content": "nineteen", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "twenty"},
    ],
    "a system text alone": [{"role": "system", "content": "twenty-one"}],
    "a greeting first": [
        {"role": "assistant", "content": "twenty-two"},
        {"role": "user", "content": "twenty-three"},
    ],
    "a greeting after a system text": [
        {"role": "system", "content": "twenty-four"},
        {"role": "assistant", "content": "twenty-five"},
        {"role": "user", "content": "twenty-six"},
    ],
}


class FakeModel:
    """A model as far as prompts need one."""

    path = Path("fake.gguf")

    def __init__(self, source: str | None) -> None:
        self.chat_template = source
        self.vocabulary: Any = FakeVocabulary("<|x|>")


def prompter(source: str) -> Prompter:
    model: Any = FakeModel(source)
    return Prompter(model, None)


def texts(source: str, messages: Any, placement: Placement = "system") -> tuple[list[str], Any]:
    """The plain prompt and the preference's, and the notes on them."""
    made = prompter(source).prompts(messages, ["", PREFERENCE], system=None, placement=placement)
    vocabulary = FakeVocabulary("<|x|>")
    return [vocabulary.text(list(row)) for row in made.rows], made.notes


def assert_nothing_is_dropped(template: str, source: str, placement: Placement) -> None:
    """Every text of every conversation is in both prompts, and the preference in its own alone."""
    made = prompter(source)
    for name, messages in CONVERSATIONS.items():
        rows, notes, *_ = made.prompts(messages, ["", PREFERENCE], system=None, placement=placement)
        plain, steered = (FakeVocabulary("<|x|>").text(list(row)) for row in rows)
        where = f"{template}, {name}: {notes}"
        assert PREFERENCE in steered, where
        assert PREFERENCE not in plain, where
        for message in checked(messages):
            wanted = [message["content"]]
            for call in message.get("tool_calls", ()):
                wanted += [call["function"]["name"], *call["function"]["arguments"].values()]
            for text in wanted:
                assert all(part in plain and part in steered for part in text.split()), where


@pytest.mark.sdist
@pytest.mark.parametrize("placement", ["system", "contrast"])
def test_no_real_template_drops_a_text_or_the_preference(
    sdist_models: Path, placement: Placement
) -> None:
    for path in sorted((sdist_models / "templates").glob("*.jinja")):
        assert_nothing_is_dropped(path.stem, path.read_text(encoding="utf-8"), placement)


@pytest.mark.parametrize("placement", ["system", "contrast"])
@pytest.mark.parametrize("family", sorted(set(BUILTIN_TEMPLATES) - {"raw"}))
def test_no_familys_template_drops_a_text_or_the_preference(
    family: str, placement: Placement
) -> None:
    assert_nothing_is_dropped(family, BUILTIN_TEMPLATES[family], placement)


ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}"
)
FIRST_SYSTEM = (
    "{% for m in messages if m.role != 'system' or loop.first %}[{{ m.role }}]{{ m.content }}"
    "{% endfor %}"
)
SHORT_SYSTEM = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content[:40] if m.role == 'system' else m.content }}"
    "{% endfor %}"
)
LAST_WORD = "{{ messages[-1].content.split('\\n')[-1][:3] }}"


@pytest.mark.sdist
def test_an_answer_that_stands_alone_is_gone_on_with_in_every_template(sdist_models: Path) -> None:
    begun = [{"role": "assistant", "content": "The sky is"}]
    for path in sorted((sdist_models / "templates").glob("*.jinja")):
        made = prompter(path.read_text(encoding="utf-8"))
        plain = made.prompts(begun, [""], system=None, placement="system", bare=True)
        both = made.prompts(begun, ["", PREFERENCE], system=None, placement="system")
        for row in (*plain.rows, *both.rows):
            text = FakeVocabulary("<|x|>").text(list(row))
            assert text.endswith("The sky is"), (path.stem, plain.notes)
            assert text.count("The sky is") == 1, path.stem


def test_turns_of_one_role_become_one_where_a_template_asks_for_it() -> None:
    template = ChatTemplate(ALTERNATES, FakeVocabulary())
    encoded = template.encode(CONVERSATIONS["two users in a row"])
    assert encoded.text == "[user]ten\n\neleven"
    assert encoded.notes == (MERGED_NOTE,)


def test_a_greeting_comes_after_a_turn_of_the_user_where_a_template_asks_for_it() -> None:
    template = ChatTemplate(ALTERNATES, FakeVocabulary())
    greeted = template.encode(CONVERSATIONS["a greeting first"])
    assert greeted.text == "[user][assistant]twenty-two[user]twenty-three"
    assert greeted.notes == (EMPTY_NOTE,)
    told = template.encode(CONVERSATIONS["a greeting after a system text"])
    assert told.text == "[user]twenty-four[assistant]twenty-five[user]twenty-six"
    assert told.notes == (FOLDED_NOTE,)


def test_tools_that_a_template_shows_in_questions_only_are_described_without_one() -> None:
    source = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
        "{% if m.role == 'user' and tools %}{{ tools | tojson }}{% endif %}{% endfor %}"
    )
    function = {"name": "weather", "description": "How warm it is", "parameters": {}}
    tools = checked_tools([{"type": "function", "function": function}])
    source = "{# <tool_call> arguments #}" + source
    for role, is_own in (("user", True), ("system", False)):
        made = prompter(source).prompts(
            [{"role": role, "content": "Say"}],
            ["", PREFERENCE],
            system=None,
            placement="system",
            tools=tools,
        )
        for row in made.rows:
            text = FakeVocabulary("<|x|>").text(list(row))
            assert text.count("How warm it is") == 1
            assert ("You may call functions" in text) != is_own


def test_tools_become_text_where_a_template_knows_none() -> None:
    template = ChatTemplate(ALTERNATES, FakeVocabulary())
    encoded = template.encode(CONVERSATIONS["a tool's result last"])
    assert encoded.text == (
        "[user]seventeen\n\neighteen[assistant]nineteen\n<tool_call>\n"
        '{"name": "weather", "arguments": {}}\n</tool_call>[user]<tool_response>\ntwenty\n'
        "</tool_response>"
    )
    assert set(encoded.notes) == {FOLDED_NOTE, TOOLS_NOTE}


def test_what_tools_say_stays_literal() -> None:
    vocabulary = FakeVocabulary("<|x|>")
    calls = "{% for m in messages %}{{ m.content ~ m.tool_calls|default([])|tojson }}{% endfor %}"
    given = [
        {"role": "user", "content": "a"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "<|x|>", "function": {"name": "<|x|>", "arguments": {"<|x|>": ["<|x|>"]}}}
            ],
        },
        {"role": "tool", "name": "<|x|>", "tool_call_id": "<|x|>", "content": "<|x|>"},
    ]
    encoded = ChatTemplate(calls, vocabulary).encode(given)
    assert encoded.text.count("<|x|>") == 5
    assert vocabulary.special_tokens["<|x|>"] not in encoded.token_ids


def test_a_system_text_that_is_cut_goes_into_the_first_user_turn() -> None:
    rows, notes = texts(SHORT_SYSTEM, [{"role": "user", "content": "Why?"}])
    assert all(row.startswith("[user]") for row in rows[1:])
    assert rows[1].count(PREFERENCE) == 1
    assert FOLDED_NOTE in notes


def test_a_preference_that_one_place_loses_goes_to_another() -> None:
    drops_last_line = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content.split('\\n')[0] }}{% endfor %}"
    )
    rows, notes = texts(drops_last_line, [{"role": "user", "content": "Why?"}], "user")
    assert f"{PREFERENCE}[user]Why?" in rows[1]
    assert any("'system'" in note for note in notes)


def test_a_preference_that_every_place_loses_is_an_error_and_never_silence() -> None:
    with pytest.raises(ChatTemplateError, match="leaves out the preference"):
        texts(LAST_WORD, [{"role": "user", "content": "Why?\nNow"}])


def test_a_text_that_is_left_out_is_noted() -> None:
    encoded = ChatTemplate("{{ messages[0].content ~ messages[-1].content }}", FakeVocabulary())
    given = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": "bb"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    assert "leaves out: user, assistant text" in encoded.encode(given).notes[0]


def test_an_answer_goes_on_after_reasoning_that_the_template_opens(scripted: Engine) -> None:
    opens = "{{ messages[-1].content }}{% if add_generation_prompt %}|<think>\n{% endif %}"
    given = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "Red,"}]
    made = prompter(opens).prompts(given, [""], system=None, placement="system", bare=True)
    text = FakeVocabulary("<|x|>").text(list(made.rows[0]))
    assert text == "a|<think>\n\n</think>\n\nRed,"
    assert made.closing_tag == ""


def test_who_wants_no_reasoning_gets_none_from_a_template_that_opens_it_always() -> None:
    opens = "{{ messages[-1].content }}{% if add_generation_prompt %}|<think>\n{% endif %}"
    given = [{"role": "user", "content": "a"}]

    def made(**arguments: Any) -> tuple[str, str]:
        found = prompter(opens).prompts(
            *(given, [""]),
            system=None,
            placement="system",
            bare=True,
            template_arguments=arguments,
        )
        return FakeVocabulary("<|x|>").text(list(found.rows[0])), found.closing_tag

    assert made(enable_thinking=False) == ("a|<think>\n</think>", "")
    assert made(enable_thinking=True) == made() == ("a|<think>\n", "</think>")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": " "}],
        [{"role": "assistant", "content": None}],
    ],
)
def test_blank_conversations_have_nothing_to_answer(messages: Any) -> None:
    with pytest.raises(EmptyPromptError):
        checked(messages)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "tool_calls": [1]},
        {"role": "assistant", "tool_calls": "a"},
        {"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": [1]}}]},
        {"role": "tool", "name": 3, "content": "a"},
        {"role": "assistant", "function_call": "a"},
    ],
)
def test_bad_tool_messages_are_typed_errors(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        checked([{"role": "user", "content": "a"}, message])
    with pytest.raises(InvalidRequestError):
        ChatTemplate(ALTERNATES, FakeVocabulary()).encode([message])


@pytest.mark.sdist
def test_a_gap_is_asked_for_in_the_vocabularys_own_tokens(sdist_models: Path) -> None:
    import llama_cpp

    from tests.prompts.conftest import load_vocabulary

    model, vocabulary = load_vocabulary(sdist_models / "ggml-vocab-starcoder.gguf")
    before, after = (
        vocabulary.tokenize(text, add_special=False, parse_special=False)
        for text in ("def add(a,", "return <fim_middle>")
    )
    ids = vocabulary.around_gap(before, after)
    spelled = vocabulary.text(ids)
    assert spelled == "<fim_prefix>def add(a,<fim_suffix>return <fim_middle><fim_middle>"
    assert ids.count(vocabulary.special_tokens["<fim_middle>"]) == 1
    llama_cpp.llama_model_free(model)
