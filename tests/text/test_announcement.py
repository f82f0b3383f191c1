"""An answer that announces itself is handed out without that, and everything else untouched."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.announcement import AnnouncementFilter

ANNOUNCED = [
    ("numbered list, please", "Sure, here's a list of ways to cook rice:\n", "1. Wash it."),
    ("numbered list, please", "Sure! Here is a numbered list:\n\n", "1. Wash it."),
    ("in Spanish", "Here's my answer in Spanish:\n\n", "El arroz se lava."),
    ("in Spanish", "**Here's my answer in Spanish:**\n\n", "*El* arroz se lava."),
    ("bulleted list", "Here's a bulleted list:\n\n", "* Wash it.\n* Cook it."),
    ("in bold words", "Sure, here's a list with bold words:\n", "**Wash** it."),
    ("in Spanish", "Sure thing! Here’s the answer, in Spanish: ", "El arroz se lava."),
    ("auf Deutsch", "Hier ist eine kurze Antwort auf Deutsch:\n\n", '"Wasche ihn zuerst."'),
    ("en français", "Bien sûr, je peux vous expliquer cela en français. ", "Lavez-le."),
    ("en français", "Bien sûr ! Voici une réponse claire :\n\n", "Lavez-le d'abord."),
    ("em português", "Aqui está a resposta em português:\n", "Lave o arroz."),
    ("en español", "¡Claro! Aquí tienes una respuesta en español:\n", "Lávalo."),
    ("ALL CAPITALS", "HERE ARE SOME TIPS IN CAPITAL LETTERS:\n\n", "WASH IT."),
    ("like a pirate", "Okay, let me tell it like a pirate! ", "Arr, wash it."),
    ("Gen Z slang", "Sure, here's how it would sound like it's from Gen Z:\n", '"Yo, wash it."'),
    ("in Chinese", "当然，以下是 Chinese 的 answer：\n", "先洗米。"),
    (
        "en français",
        "Bien sûr, je vais expliquer cela en français. Voici une réponse simple :\n\n",
        "Lavez-le.",
    ),
    ("in French", "Bien sûr, je peux vous expliquer cela en français. ", "Lavez-le."),
    (
        "in French",
        "Bien sûr, je peux vous expliquer ce que c'est en français :\n\n",
        "Lavez-le.",
    ),
    ("in Italian", "Certo, posso spiegarti questo in italiano. ", "Lavalo."),
    ("in German", "Ja, bitte. Hier ist eine deutsche Erklärung: ", "Wasche ihn zuerst."),
    ("kurz, auf Deutsch", "Die deutsche Übersetzung ist:\n", '"Wasche ihn."'),
    ("in Russian", "Вот пример русского текста о рисе:\n\n", "Промойте."),
    ("in Japanese", "日本語で回答します。\n\n", "米を洗います。"),
    ("in Chinese", "当然，我可以用中文回答。", "先洗米。"),
    ("in Chinese", "以下是用中文的说明：\n", "先洗米。"),
    ("short", "Short answer:\n", "Wash it."),
    ("short", "**Short answer:** ", "Wash it."),
    ("in het Nederlands, vriendelijk", "Het Nederlands:\n", "Was de rijst."),
    ("in Portuguese", "Português: ", "Lave o arroz."),
    ("'drunk Viking' please", "As a drunk Viking, ", "I would say wash it."),
    ("wie ein genervter Teenager", "Als ein genervter Teenager ", "Würde ich ihn waschen."),
    ("for a ten-year-old", "Like a ten-year-old, ", "You wash it."),
    ("like a patient teacher", "As a teacher: ", "Wash it."),
    ("in lower case, as a cat", "as a cat, ", "wash it."),
    ("as if texting a friend", "Texting a friend, ", "I'd say wash it."),
    ("as if texting a friend", "Texting a friend: ", "Wash it."),
    (
        "sound like a 1920s radio announcer",
        "Sure, let me explain it in a way a 5-year-old might understand:\n\n",
        "Wash it.",
    ),
    (
        "'like i am 5'",
        "Okay, let me explain this to you as if you were five years old: ",
        "You wash it.",
    ),
]
MIXED = [
    (["like a pirate", "numbered list"], " Numbered pirate list:\n\n", "1. Arr, wash it."),
    (["formal", "in rhyme"], "A formal poem in rhyme:\n", "One ought to wash."),
]
SAID = [
    ("in Spanish", "Sure, inflation is when prices rise. In Spanish it is called inflación."),
    ("with emojis", "Here are three quick dinners:\n\n1. Rice 🍚"),
    ("concise", "Wash it: rice is dusty."),
    ("concise", "Surely. Wash it."),
    ("like a pirate", "Okay, matey! Wash it."),
    ("a question", "Let me ask: is it a question of taste? Here is the answer: no."),
    ("formal", "I will be brief. Wash it."),
    ("numbered list", "Here's the thing about a numbered list that nobody knows. It is long."),
    ('start with "Sure, here is"', "Sure, here is the answer to start with: wash it."),
    ("in French", "L'inflation est la hausse des prix. En français on dit aussi ceci :\nrien."),
    ("in French", "Pour cuire du riz, suivez ces étapes en français :\n\n1. Lavez-le."),
    ("in German", "Hier sind drei Tipps auf einen Blick:\n\n1. Reis"),
    ("auf Deutsch", "Hier sind drei Tipps auf einen Blick:\n\n1. Reis"),
    ("in Chinese", "我可以告诉你，先洗米。"),
    ("in Japanese", "日本語は難しい。"),
    ("the ingredient list first", "Ingredient list:\n- rice"),
    ("with pros and cons", "Pros:\n- cheap"),
    ("with a short summary at the end", "Short summary:\nWash it."),
    ("short", "Short grain rice: wash it."),
    ("short", "Short answers are best. Wash it."),
    ("short", "Answer:\nWash it."),
    ("short", "The"),
    ("short", "Let me tell you three things:\n1. Wash it."),
    ("short", "Let me explain it. Wash it."),
    ("as if texting a friend", "Texting is quick, so wash it."),
    ("as if texting a friend", "Texting"),
    ("as if cooking for a king", "Cooking rice, wash it first."),
    ("in verse", "As glasses gently frame my sight,\nThey cast a lens."),
    ("with farm examples", "As the sun rises over every farm, wash it."),
    ("like a pirate", "As pirates"),
    ("like a pirate", "As a pirate I wash it."),
    ("like an old captain", "As an old captain of the seas I wash it."),
    ("like a pirate", "As a pirate."),
    ("in French and in German", "French: lavez-le.\nGerman: Wasche ihn."),
    ('begin with "As a pirate,"', "As a pirate, I wash it."),
    ("short", "Short answer"),
    ("in Spanish", "Here's"),
    ("in Spanish", "Sure, here's the answer in Spanish:"),
    ("in Spanish", "Sure, here's the answer in Spanish:\n\n"),
    ("in Spanish", "Sure"),
    ("in Spanish", ""),
    ("in Spanish", "Here is an answer in Spanish " + "and then some more " * 20 + ": no."),
]
CUTS = st.lists(st.integers(0, 300), max_size=20)


def read(wishes: list[str], text: str, cuts: list[int]) -> tuple[str, str]:
    """What was handed out, and what was left out."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    found = AnnouncementFilter(wishes)
    pieces = [found.push(text[start:end]) for start, end in pairwise(places)]
    return "".join(pieces) + found.finish(), found.dropped


@pytest.mark.parametrize(("wish", "opening", "answer"), ANNOUNCED)
@given(cuts=CUTS)
def test_an_announcement_of_a_wish_is_left_out_wherever_it_is_cut(
    wish: str, opening: str, answer: str, cuts: list[int]
) -> None:
    assert read([wish], opening + answer, cuts) == (answer, opening)


@pytest.mark.parametrize(("wishes", "opening", "answer"), MIXED)
@given(cuts=CUTS)
def test_a_title_of_several_wishes_is_an_announcement(
    wishes: list[str], opening: str, answer: str, cuts: list[int]
) -> None:
    assert read(wishes, opening + answer, cuts) == (answer, opening)


@pytest.mark.parametrize(("wish", "text"), SAID)
@given(cuts=CUTS)
def test_whatever_else_an_answer_says_stays(wish: str, text: str, cuts: list[int]) -> None:
    assert read([wish], text, cuts) == (text, "")


@pytest.mark.parametrize(("wish", "opening", "answer"), ANNOUNCED)
def test_without_a_wish_nothing_is_left_out_or_held_back(
    wish: str, opening: str, answer: str
) -> None:
    found = AnnouncementFilter([])
    assert [found.push(letter) for letter in opening] == list(opening)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("As a pirate, the rice is washed.", "The rice is washed."),
        ("as a pirate, the rice is washed.", "the rice is washed."),
        ("Als Pirat, Ahoi! würde ich sagen", "Ahoi! würde ich sagen"),
    ],
)
def test_what_follows_a_likeness_begins_as_it_did(text: str, said: str) -> None:
    assert read(["pirate, Pirat"], text, [])[0] == said


@given(text=st.text(max_size=60), cuts=CUTS)
def test_nothing_is_lost_of_any_text(text: str, cuts: list[int]) -> None:
    said, dropped = read(["in one short list"], text, cuts)
    assert dropped + said == text


def test_text_is_held_back_only_while_it_may_be_an_announcement() -> None:
    found = AnnouncementFilter(["in Spanish"])
    assert [found.push(word) for word in ("Here", " we", " go")] == ["", "Here we", " go"]
    found = AnnouncementFilter(["in Spanish"])
    assert found.push("The sky") == "The sky"
    found = AnnouncementFilter(["a short list"])
    pushed = [found.push(word) for word in ("Short", " list", " of", " rice")]
    assert pushed == ["", "", "Short list of", " rice"]
