"""What is remembered is put in where it matters, in the preference's prompt alone."""

from __future__ import annotations

import pytest

from amulet_local.preferences.preference import Preference
from amulet_local.profile import recall
from amulet_local.profile.contents import Contents, bank_of
from amulet_local.profile.feedback import Example, Fact
from amulet_local.profile.recall import MAX_TOKENS, relevant
from tests.scripted import scripted_engine

pytestmark = pytest.mark.lengthy


def count(text: str) -> int:
    """A token is a word here."""
    return len(text.split())


def recalled(contents: Contents, question: str) -> Preference | None:
    return recall.recalled(contents, question, count)


def with_memory(
    mix: tuple[Preference, ...], contents: Contents, question: str
) -> tuple[Preference, ...]:
    return recall.with_memory(mix, contents, question, count)


FACTS = (
    "I am a vegetarian, and I cook every evening.",
    "My dog is called Rex.",
    "I live in Zürich.",
    '{braces} and 100% of "quotes" in gardens',
)


def contents(*facts: str, examples: tuple[Example, ...] = ()) -> Contents:
    kept = tuple(Fact(at=0.0, origin="t", text=text) for text in facts)
    return Contents(bank=bank_of(None), facts=kept, examples=examples)


@pytest.mark.parametrize(
    ("question", "places"),
    [
        ("What should I cook tonight?", [0]),
        ("Tips for cooking with vegetarians, please", [0]),
        ("Write a poem about dogs.", [1]),
        ("What can I do in ZURICH?", [2]),
        ("How do I fix my garden's fence?", [3]),
        ("What is a black hole?", []),
        ("What is my name? And what do I want?", []),
        ("", []),
        ('"); DROP TABLE texts; -- * NEAR ^ :', []),
    ],
)
def test_facts_are_found_by_the_stems_of_telling_words(question: str, places: list[int]) -> None:
    assert relevant(FACTS, question, 4) == places


@pytest.mark.parametrize(
    ("fact", "question", "matters"),
    [
        ("I am vegetarian", "What should I cook tonight?", True),
        ("I'm vegan.", "A recipe for a quick lunch?", True),
        ("My son has a peanut allergy.", "Snacks for a birthday party?", True),
        ("I'm allergic to gluten", "Which RESTAURANT suits a first date?", True),
        ("I have two cats.", "How much does a vet cost?", True),
        ("My daughter is four.", "What can the kids do on a rainy day?", True),
        ("I am vegetarian", "what can we eat before the concert", True),
        ("I am diabetic.", "How long does it take to cook rice?", False),
        ("I am diabetic.", "How do I cook rice?", False),
        ("I am vegan.", "What do people eat in Japan?", False),
        ("I am vegetarian", "How do I learn the guitar?", False),
        ("I am vegetarian", "How is a child process started?", False),
        ("My daughter is four.", "How is a child process started?", False),
        ("I work as a nurse.", "What should I cook tonight?", False),
    ],
)
def test_a_fact_about_the_questions_subject_matters_without_a_word_in_common(
    fact: str, question: str, matters: bool
) -> None:
    assert (recalled(contents(fact), question) is not None) == matters


def test_a_liked_answer_is_found_by_its_own_words_alone() -> None:
    liked = Example(at=0.0, origin="t", question="Is a vegan diet healthy?", text="Yes.")
    assert recalled(contents(examples=(liked,)), "What should I cook tonight?") is None
    assert recalled(contents(examples=(liked,)), "Is a vegan healthy?") is not None


def test_the_best_comes_first_and_the_rest_isnt_put_in() -> None:
    texts = ["tea", "green tea from the tea garden in spring", "tea tea", "coffee"]
    assert relevant(texts, "tea?", 2)[0] == 2
    assert len(relevant(texts, "tea?", 2)) == 2


def test_what_is_relevant_is_one_preference_as_it_was_said() -> None:
    found = recalled(contents(*FACTS), "How do I fix my garden's fence?")
    assert found is not None
    assert found.instruction == (
        "Know this about the user, and use it where it helps: "
        '{braces} and 100% of "quotes" in gardens'
    )
    assert found.label == "memory"
    assert recalled(contents(*FACTS), "What is a black hole?") is None
    assert recalled(contents(), "What should I cook?") is None


def test_a_liked_answer_to_a_similar_question_is_put_in() -> None:
    liked = Example(at=0.0, origin="t", question="How do I bake bread?", text="Slowly,\nmy friend.")
    found = recalled(contents(*FACTS, examples=(liked,)), "How is bread made by my dog?")
    assert found is not None
    assert found.instruction.endswith(
        "Rex. The user liked this answer to a similar question: Slowly, my friend."
    )


def test_no_more_tokens_are_put_in_than_there_is_room_for() -> None:
    long = [f"tea number {number} {'x ' * 60}" for number in range(9)]
    found = recalled(contents(*long, "green tea"), "Which tea?")
    assert found is not None
    assert MAX_TOKENS - 60 < count(found.instruction) <= MAX_TOKENS
    assert "green tea" in found.instruction, "a short one that fits is put in after a long one"
    assert recalled(contents(f"tea {'x ' * MAX_TOKENS}"), "Which tea?") is None


def test_tokens_are_the_models_own() -> None:
    """A text without blanks has one word, and as many tokens as the model makes of it."""
    with scripted_engine() as engine:
        vocabulary = engine.model.vocabulary
        text = f"tea {'read' * 2 * MAX_TOKENS}"
        assert recalled(contents(text), "Which tea?") is not None
        assert recall.recalled(contents(text), "Which tea?", vocabulary.count) is None


def test_a_mix_has_room_for_it() -> None:
    mix = tuple(Preference(text=text) for text in ("a", "b", "c"))
    assert with_memory(mix, contents(*FACTS), "What is a black hole?") == mix
    (first, second, memory) = with_memory(mix, contents(*FACTS), "A poem about dogs")
    assert (first, second, memory.name) == (*mix[:2], "memory")
    others = with_memory((first, second, memory), contents(*FACTS), "What is a black hole?")
    assert others == (first, second), "what was remembered for another question is gone"


def test_the_plain_prompt_has_nothing_of_it() -> None:
    with scripted_engine() as engine:
        memory = recalled(contents("I read in bed at night."), "How do I sleep at night?")
        assert memory is not None
        request = engine.request("How do I sleep at night?", preference=[memory])
        plain, other = (engine.model.vocabulary.text(prompt) for prompt in request.prompts)
        assert "I read in bed" not in plain
        assert "I read in bed" in other
