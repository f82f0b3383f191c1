"""An answer under a preference is handed out without what it says of itself before it begins."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from amulet_local import AmuletParams, Engine, SamplingParams
from amulet_local.steering.presets import PRESETS
from tests.scripted import says, scripted_engine

OPENING, ANSWER = "Sure, here's a reply:\n\n", "name three rivers"
SAMPLING = SamplingParams(max_tokens=64)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine(lambda vocabulary: says(vocabulary, OPENING + ANSWER)) as made:
        yield made


def test_the_text_and_its_pieces_are_without_it(engine: Engine) -> None:
    *pieces, last = engine.stream_generate("Why?", preference="kind", sampling=SAMPLING)
    answer = last.generation
    assert answer is not None
    assert answer.text == ANSWER
    assert answer.announcement == OPENING.strip()
    assert "".join(chunk.text for chunk in (*pieces, last)) == ANSWER
    assert answer.usage.completion_tokens == len(answer.token_ids)
    spelled = b"".join(map(engine.model.vocabulary.piece, answer.token_ids[:-1])).decode()
    assert spelled == OPENING + ANSWER


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"preference": "kind", "amulet": AmuletParams()},
        {"preference": "kind", "method": "pref"},
        {"preference": "kind", "amulet": PRESETS["balanced"].amulet.replace(echo_guard=False)},
    ],
)
def test_without_the_echo_guard_it_stays(engine: Engine, asked: dict[str, object]) -> None:
    answer = engine.generate("Why?", sampling=SAMPLING, **asked)  # type: ignore[arg-type]
    assert answer.text == OPENING + ANSWER
    assert answer.announcement == ""


def test_an_answer_that_ends_in_it_keeps_it(engine: Engine) -> None:
    cut = engine.generate("Why?", preference="kind", sampling=SamplingParams(max_tokens=3))
    assert cut.finish_reason == "length"
    assert cut.text
    assert OPENING.startswith(cut.text)


def test_a_stop_text_is_looked_for_in_what_is_handed_out(engine: Engine) -> None:
    sampling = SamplingParams(max_tokens=64, stop=["\n", " rivers"])
    answer = engine.generate("Why?", preference="kind", sampling=sampling)
    assert answer.text == "name three"
    assert answer.stop_text == " rivers"


def test_the_next_question_of_a_conversation_is_told_what_was_handed_out(engine: Engine) -> None:
    talk = engine.conversation(preference="kind", sampling=SAMPLING)
    talk.send("Why?")
    again = talk.send("And one lake?")
    assert again.text == ANSWER
    *told, last = talk.messages
    assert [told[1]["content"], last["content"]] == [ANSWER, ANSWER]
    prompts = engine.prompts(told, preference="kind")
    assert again.usage.prompt_tokens == max(map(len, prompts))


def test_an_answer_that_a_grammar_governs_is_all_of_it(engine: Engine) -> None:
    opening = json.dumps(OPENING + ANSWER)[1:-1]
    sampling = SamplingParams(max_tokens=64, grammar=f'root ::= "{opening}"')
    answer = engine.generate("Why?", preference="kind", sampling=sampling)
    assert answer.text == OPENING + ANSWER
