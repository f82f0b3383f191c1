"""How a preference is said to the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.preferences.wording import as_instruction


@pytest.mark.parametrize(
    "text",
    [
        "in Spanish",
        "like a pirate",
        "for a five-year-old",
        "with three emojis",
        "as a numbered list",
        "using simple words",
        "politely",
        "en dos frases",
        "als müder Großvater",
        "à la manière d'un poète",
        "step by step",
        "with a please and a thank you",
        "with abbreviations such as btw and thx",
        "mit Beispielen",
        "som en pirat",
        "zoals een piraat",
        "jak pirat",
        "как пират",
        "come un pirata",
        "come se fossi un re",
        *("very politely", "not too formally", "more like a friend", "a bit warmly"),
        "only in lower case",
        '"like a pirate" and short',
        "„mit Beispielen“",
    ],
)
def test_a_phrase_of_manner_is_what_to_answer_like(text: str) -> None:
    assert as_instruction(text) == f"Answer the question {text}."


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("no commas, no lists", "No commas, no lists."),
        ("no one is to be blamed", "No one is to be blamed."),
        ("sé breve y amable", "Sé breve y amable."),
        ("EXPLÍCALO como a un niño", "EXPLÍCALO como a un niño."),
        ("sei bitte kurz", "Sei bitte kurz."),
        ("réponds de façon très brève", "Réponds de façon très brève."),
        ("écris comme un marin", "Écris comme un marin."),
        ("будь краток", "Будь краток."),
        ("im a beginner", "Im a beginner."),
        ("u r a caveman", "U r a caveman."),
        ("ich mag kurze Antworten", "Ich mag kurze Antworten."),
        ("I'm a beginner", "I'm a beginner."),
        ("You are a pirate!", "You are a pirate!"),
        ("My daughter is five. She likes dogs", "My daughter is five. She likes dogs."),
        ("I want to laugh.", "I want to laugh."),
        ("用中文回答，像老师一样。", "用中文回答，像老师一样。"),
        ("¿puedes responder en español?", "¿puedes responder en español?"),
        ("I'd love pictures from nature", "I'd love pictures from nature."),
        ("every answer should open with a joke", "Every answer should open with a joke."),
        ("an emoji or two in every answer 🙂", "An emoji or two in every answer 🙂."),
    ],
)
def test_what_says_all_by_itself_stays_as_it_is(text: str, instruction: str) -> None:
    assert as_instruction(text) == f"Answer the question like this: {instruction}"


@pytest.mark.parametrize(
    "text",
    [
        "short and dry",
        "short, and very friendly",
        "a bit shorter",
        "come across as kind",
        "two haiku",
        "one sentence per line",
        *("really short", "more concise", "less technical", "too long"),
        "and mention the moon",
        "so that a child of ten understands it",
        "written in the Spanish language only",
        "wrapped in two pairs of double quotes",
        "friendly but with no emojis and no exclamation marks",
        "formal, as in a letter to somebody whom nobody knows",
    ],
)
def test_a_quality_or_a_number_of_things_is_what_the_answer_is_made(text: str) -> None:
    assert as_instruction(text) == f"Make the answer {text}."


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("use simple words", "use simple words."),
        ("Use simple words. I am ten.", "use simple words. I am ten."),
        ("Never use the letter z", "never use the letter z."),
        ("WRITE IN CAPITALS", "WRITE IN CAPITALS."),
        ("sell me the answer like a TV commercial", "sell me the answer like a TV commercial."),
        ("be brief please", "be brief."),
        ("please be brief", "be brief."),
        ("can you please be brief?", "be brief."),
        ("Could you write in rhyme?", "write in rhyme."),
    ],
)
def test_what_is_to_be_done_is_done_with_the_answer(text: str, instruction: str) -> None:
    assert as_instruction(text) == f"Answer the question and {instruction}"


@pytest.mark.parametrize(
    ("text", "manner"),
    [
        ("Answer in verse.", "in verse."),
        ("please answer me like a pirate", "like a pirate."),
        ("always respond briefly", "briefly."),
    ],
)
def test_answering_in_a_manner_is_that_manner(text: str, manner: str) -> None:
    assert as_instruction(text) == f"Answer the question {manner}"


@pytest.mark.parametrize(
    "text",
    [
        "angry",
        "very sad",
        "brutally honest",
        "a little angry",
        "lazy and a bit rude",
        "sarcastic, dont be nice",
        "spooky, as if we sat at a campfire",
        "friendly, but short",
    ],
)
def test_how_somebody_sounds_is_how_the_answer_is_to_sound(text: str) -> None:
    assert as_instruction(text) == f"Make the answer sound {text}."
    assert as_instruction(text.capitalize()) == as_instruction(text)


def test_a_word_in_capitals_keeps_them() -> None:
    assert as_instruction("ANGRY") == "Make the answer sound ANGRY."
    assert as_instruction("LIKE A PIRATE") == "Answer the question LIKE A PIRATE."


@pytest.mark.parametrize("text", ["a wise old wizard", "an angry chef", "a poem"])
def test_somebody_or_something_is_what_the_answer_is_given_as(text: str) -> None:
    assert as_instruction(text) == f"Answer the question as {text}."
    assert as_instruction(text.capitalize()) == as_instruction(text)


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("pirate", "in the style of a pirate."),
        ("Pirate please", "in the style of a pirate."),
        ("Dr. Seuss", "in the style of Dr. Seuss."),
        ("poem in free verse", "in the style of a poem in free verse."),
        ("text message", "in the style of a text message."),
        ("gen z slang", "in gen z slang."),
        ("puns, please", "with puns."),
        ("lots of emojis", "with lots of emojis."),
        ("ten examples", "with ten examples."),
        ("a little more detail", "with a little more detail."),
        ("lower case only", "in lower case only."),
        ("numbered list in Welsh", "as a numbered list in Welsh."),
        ("list please", "as a list."),
        ("table with two columns", "as a table with two columns."),
        ("json only", "as JSON only."),
        ("only questions, like Socrates", "in only questions, like Socrates."),
        ("only emojis", "with only emojis."),
        ("yes or no", "with yes or no."),
    ],
)
def test_a_noun_is_a_phrase_of_manner(text: str, instruction: str) -> None:
    assert as_instruction(text) == f"Answer the question {instruction}"


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("I'm a nurse, so use medical terms", "use medical terms. I'm a nurse."),
        ("i run a farm. Give me farm examples.", "give me farm examples. I run a farm."),
        ("my kids are listening so make it fun!", "make it fun. My kids are listening."),
    ],
)
def test_who_asks_is_said_behind_what_is_to_be_done(text: str, instruction: str) -> None:
    assert as_instruction(text) == f"Answer the question and {instruction}"


@pytest.mark.parametrize(
    "text",
    [
        "I adore semicolons; please use one each time.",
        "I read these to my sister Lily, use her name.",
        "I'm a beginner. Use simple words. Be kind.",
        "I'm a nurse, and my wife is one.",
    ],
)
def test_what_points_back_stays_behind_what_it_points_to(text: str) -> None:
    assert as_instruction(text) == f"Answer the question like this: {text}"


@pytest.mark.parametrize("text", ["i " + "so " * 40_000 + "?", "i a, " * 30_000, "I " * 50_000])
def test_a_long_text_is_no_reason_for_anything(text: str) -> None:
    assert as_instruction(text).startswith("Answer the question like this: I ")


def test_a_capital_at_the_start_of_a_phrase_is_no_name() -> None:
    assert as_instruction("In Spanish") == "Answer the question in Spanish."


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("french", "Answer the question in French."),
        ("In French!", "Answer the question in French."),
        ("auf Deutsch", "Answer the question in German."),
        ("Deutsch.", "Answer the question in German."),
        ("用中文。", "Answer the question in Chinese."),
        ("日本語で", "Answer the question in Japanese."),
        ("日本語で答えてください", "Answer the question in Japanese."),
        ("한국어로 답해 주세요", "Answer the question in Korean."),
        ("请用中文回答。", "Answer the question in Chinese."),
        ("отвечай по-русски", "Answer the question in Russian."),
        ("po polsku prosze", "Answer the question in Polish."),
        ("Türkçe cevap ver", "Answer the question in Turkish."),
        ("हिन्दी", "Answer the question in Hindi."),
        ("in Portuguese please", "Answer the question in Portuguese."),
        ("auf deutsch, bitte!", "Answer the question in German."),
        ("russian pls", "Answer the question in Russian."),
        ("only in French", "Answer the question in French only."),
        ("brazilian portuguese", "Answer the question in Brazilian Portuguese."),
        ("in simple English, please", "Answer the question in simple English."),
        ("Could you write in Russian? My mother reads these.", "Answer the question in Russian."),
        ("i'm learning spanish so answer everything in spanish", "Answer the question in Spanish."),
        (
            "I just moved to Stockholm and need practice, so Swedish only",
            "Answer the question in Swedish.",
        ),
        ("speak french to me, i love how it sounds", "Answer the question in French."),
        ("Italian only. No English at all.", "Answer the question in Italian."),
        ("always reply in Japanese, thanks!", "Answer the question in Japanese."),
        ("everything in Polish, even if i ask in english", "Answer the question in Polish."),
    ],
)
def test_a_language_alone_is_asked_for_in_english(text: str, instruction: str) -> None:
    assert as_instruction(text) == instruction


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("Spanish and short", "Make the answer Spanish and short."),
        ("in French, for a child", "Answer the question in French, for a child."),
        ("Antworte auf Deutsch!", "Answer the question like this: Antworte auf Deutsch!"),
        (
            "I hate long answers. German please.",
            "Answer the question in German. I hate long answers. German please.",
        ),
        (
            "speak Spanish and use simple words",
            "Answer the question in Spanish. Speak Spanish and use simple words.",
        ),
        (
            "in German, it should read like a poem",
            "Answer the question in German, it should read like a poem.",
        ),
        (
            "Speak German. My kids read this.",
            "Answer the question in German. Speak German. My kids read this.",
        ),
        (
            "I speak German and French",
            "Answer the question like this: I speak German and French.",
        ),
    ],
)
def test_a_language_in_a_longer_text_stays_as_it_is(text: str, instruction: str) -> None:
    assert as_instruction(text) == instruction


def test_a_please_behind_a_phrase_is_left_out() -> None:
    assert as_instruction("bullet points, please") == "Answer the question in bullet points."
    assert as_instruction("mit Beispielen bitte.") == "Answer the question mit Beispielen."
    assert as_instruction("please") == "Answer the question like this: Please."


@pytest.mark.parametrize(
    "text", [" in rhyme ", "in rhyme.", "in rhyme!", "in 1 line…", "in rhyme:", "in rhyme ;"]
)
def test_an_instruction_ends_like_a_sentence_once(text: str) -> None:
    instruction = as_instruction(text)
    assert instruction == instruction.strip()
    assert instruction[-1] in ".!。…"
    assert instruction[-2].isalpha()


@given(
    st.text(min_size=1, max_size=60).filter(str.strip),
    st.sampled_from(["", ", please", " only", "please?", " bitte.", "。"]),
)
def test_any_text_is_said_behind_one_of_three_beginnings(text: str, end: str) -> None:
    said = as_instruction(text + end)
    assert said.startswith(("Answer the question ", "Make the answer "))
    assert said == said.strip()


@pytest.mark.parametrize("name", BUILT_IN_PREFERENCES)
def test_built_in_preferences_are_phrases_of_manner(name: str) -> None:
    text = BUILT_IN_PREFERENCES[name]
    assert Preference(text=text).instruction == f"Answer the question {text}."


@pytest.mark.parametrize("text", ["ELI5", "eli5.", "TL;DR", "tldr"])
def test_shorthand_is_said_in_words_and_is_no_unknown_name(text: str) -> None:
    (preference,) = resolve(text)
    assert ("five-year-old" if "eli" in text.lower() else "a sentence or two") in (
        preference.instruction
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "one sentence",
            "three sentences max",
            "at least 5 short paragraphs",
            "20 words or fewer",
        ),
        *(
            "no more than two lines",
            "exactly three bullets",
            "max 280 characters so I can tweet it",
        ),
    ],
)
def test_so_much_of_something_is_what_the_answer_is_in(text: str) -> None:
    assert as_instruction(text) == f"Answer the question in {text}."


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("no jargon", "without jargon."),
        ("No complicated words, please!", "without complicated words."),
        ("nothing fancy", "with nothing fancy."),
    ],
)
def test_what_an_answer_is_to_be_free_of(text: str, instruction: str) -> None:
    assert as_instruction(text) == f"Answer the question {instruction}"


def test_answers_of_a_quality_are_the_answer() -> None:
    assert as_instruction("super short answers") == "Make the answer super short."
    assert as_instruction("ELI5 please") == as_instruction("eli5")
