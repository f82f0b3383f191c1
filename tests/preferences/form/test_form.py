"""What is read of an answer's form in wishes.

wishes.jsonl was written by somebody who hadn't seen what reads it: wishes as people type them, and
what each says of the form of the answer.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from amulet_local.preferences.form import MOST_CHARACTERS, Count, Form, form_of
from amulet_local.preferences.form.counts import SHORT_WORDS, VERY_SHORT_WORDS
from amulet_local.preferences.form.parts import SHORT_SENTENCE_WORDS, TWEET_CHARACTERS
from amulet_local.preferences.preference import Preference, resolve, wished_form
from tests.conftest import REPOSITORY

WISHES = [
    json.loads(line)
    for line in Path(__file__).with_name("wishes.jsonl").read_text(encoding="utf-8").splitlines()
]

TOO_FAR_APART = (
    "my terminal shows asterisks as junk, so don't use them",
    "I can't stand semicolons, so never use them",
    "do not say sorry",
    "I'm allergic to emoji. Don't use any.",
    "the letter s on my keyboard is broken so don't use it",
    "word limit: 120",
)
"""What isn't read: what is forbidden stands elsewhere, or without a word that tells."""


THOUGHT_OF_LATER = (
    *("mentions", "emojis", "about_words", "least_words", "words_of_sentences"),
    *("questions", "lines", "first_mark", "has_heading", "below", "marks", "script"),
)
"""What the writer of the wishes wasn't asked for."""


def said(form: Form) -> dict[str, Any]:
    """What a form asks for, in JSON's types."""
    found = {item.name: getattr(form, item.name) for item in fields(form)}
    return {
        name: sorted(value)
        if isinstance(value, frozenset)
        else list(value)
        if isinstance(value, Count)
        else value
        for name, value in found.items()
        if value
    }


def expected(form: dict[str, Any]) -> dict[str, Any]:
    return {
        name: sorted(text.lower() for text in value) if name.startswith("without") else value
        for name, value in form.items()
    }


@pytest.mark.parametrize("entry", WISHES, ids=[entry["wish"] for entry in WISHES])
def test_a_wish_says_what_its_writer_meant(entry: dict[str, Any]) -> None:
    meant = {} if entry["wish"] in TOO_FAR_APART else expected(entry["form"])
    found = said(form_of(entry["wish"]))
    for name in THOUGHT_OF_LATER:
        found.pop(name, None)
    assert found == meant


@pytest.mark.parametrize("wish", ["short", "kurz und herzlich", "Be brief.", "respuestas cortas"])
def test_a_short_answer_has_few_words(wish: str) -> None:
    assert form_of(wish) == Form(about_words=SHORT_WORDS)


@pytest.mark.parametrize(
    "wish", ["very short", "keep it super brief!", "réponses très courtes stp"]
)
def test_a_very_short_answer_has_fewer(wish: str) -> None:
    assert form_of(wish) == Form(about_words=VERY_SHORT_WORDS)


@pytest.mark.parametrize(
    "wish", ["a short poem", "not too short", "short summary first", "shorter"]
)
def test_what_is_short_in_an_answer_says_nothing_of_its_length(wish: str) -> None:
    assert form_of(wish) == Form()


THREE = Count(3, 3)
NO_CONTRACTIONS = Form(without=frozenset(("contractions",)))


@pytest.mark.parametrize(
    ("wish", "form"),
    [
        ("questions only", Form(questions="all")),
        ("Answer only in questions.", Form(questions="all")),
        ("every sentence must be a question", Form(questions="all")),
        ("end with a question", Form(questions="last")),
        ("always finish by asking me a question back", Form(questions="last")),
        ("friendly, with a question at the end", Form(questions="last")),
        ("start with a question, then answer it", Form(questions="first")),
        ("without questions", Form()),
        ("don't end with a question", Form()),
        ("answer my question politely", Form()),
        ("ask me a question", Form()),
        ("as a numbered list", Form(first_mark="1.")),
        ("numbered steps pls", Form(first_mark="1.")),
        ("bullet points", Form(first_mark="-")),
        ("as 3 bullet points", Form(first_mark="-", items=THREE)),
        ("friendly and in bullets", Form(first_mark="-")),
        ("as a checklist", Form(first_mark="- [ ]")),
        ("als Tabelle bitte", Form(first_mark="|")),
        ("in a markdown table", Form(first_mark="|")),
        ("with an intro and bullet points", Form()),
        ("a sentence first, bullet points", Form()),
        ("a numbered list after a sentence", Form()),
        ("as a haiku", Form(lines=THREE)),
        ("a four-line poem", Form(lines=Count(4, 4))),
        ("in at most two lines", Form(lines=Count(None, 2))),
        ("not as a limerick", Form()),
        ("with a title", Form(has_heading=True)),
        ("with a heading in Markdown", Form(has_heading=True)),
        ("begin with a short heading, then explain", Form(has_heading=True)),
        ("with a title in double angular brackets", Form()),
        ("with a P.S. at the end", Form(below="P.S.")),
        ("finish with a TL;DR", Form(below="TL;DR:")),
        ("finish w/ a TL;DR line pls", Form(below="TL;DR:")),
        ("dont use commas", Form(without=frozenset(("commas",)))),
        ("w/o emojis", Form(without=frozenset(("emojis",)))),
        ('begin with "u r"', Form(opening="u r")),
        ("sneak the word banana in somewhere", Form(mentions=(("banana", 1),))),
        ("every answer = exactly five words", Form(words=5, least_words=5)),
        ("at least 100 words every time", Form(least_words=100)),
        ("between 50 and 80 words", Form(words=80, least_words=50)),
        ("with three hashtags", Form(below="#")),
        ("as a tweet", Form(characters=TWEET_CHARACTERS)),
        ("as a tweet with hashtags", Form(characters=TWEET_CHARACTERS, below="#")),
        ("Title Case Please", Form(case="title")),
        ("capitalize every word", Form(case="title")),
        ("SHOUT IT", Form(case="upper")),
        ("number the steps", Form(first_mark="1.")),
        ("tell me the number of steps", Form()),
        ("be a sergeant, shout at me", Form()),
        ("no contractions", NO_CONTRACTIONS),
        ("formal, without contractions", NO_CONTRACTIONS),
        ("never more than eight words in a sentence", Form(words_of_sentences=8)),
        ("with sentences of fewer than ten words", Form(words_of_sentences=9)),
        ("in short sentences", Form(words_of_sentences=SHORT_SENTENCE_WORDS)),
        ("no short sentences", Form()),
        ("with a semicolon", Form(marks=frozenset(("semicolons",)))),
        ("put the important words in bold", Form(marks=frozenset(("bold",)))),
        ("add side remarks in parentheses (I love them)", Form(marks=frozenset(("parentheses",)))),
        ("lots of trailing dots", Form(marks=frozenset(("ellipses",)))),
        ("without dashes", Form(without=frozenset(("dashes",)))),
        ("don't use semicolons", Form(without=frozenset(("semicolons",)))),
        ("with dashboards", Form()),
        ("with a dash of humour", Form()),
        ("with bold ideas, in a bold tone", Form()),
        ("at least 60 words, please", Form(least_words=60)),
        ("at least ten words in German", Form()),
        ("one sentence of at most twenty words", Form(sentences=Count(1, 1), words=20)),
        ("two sentences of at most nine words", Form(sentences=Count(2, 2), words_of_sentences=9)),
        ("include the words ocean and river", Form(mentions=(("ocean", 1), ("river", 1)))),
        ("lots of exclamation marks!!! i want energy!", Form(sentence_end="!")),
        ("not lots of exclamation marks", Form()),
        ("don't use full stops. not one.", Form(without=frozenset(("full stops",)))),
        ("exactly 30 words", Form(words=30)),
        ("as a checklist with little boxes i can tick", Form(first_mark="- [ ]")),
        ("dashes please — everywhere", Form(marks=frozenset(("dashes",)))),
    ],
)
def test_what_an_answer_consists_of_is_read(wish: str, form: Form) -> None:
    assert form_of(wish) == form


@pytest.mark.parametrize(
    ("wish", "form"),
    [
        ('with the word "banana"', Form(mentions=(("banana", 1),))),
        ("with the word ocean", Form(mentions=(("ocean", 1),))),
        ('with the words "river" and "bridge" in it', Form(mentions=(("river", 1), ("bridge", 1)))),
        ('using the word "sun" 3 times or more', Form(mentions=(("sun", 3),))),
        ("use the phrase 'for example' at least twice", Form(mentions=(("for example", 2),))),
        ("with 3 emojis, no more and no fewer", Form(emojis=Count(3, 3))),
        ("friendly, at most two emojis", Form(emojis=Count(None, 2))),
        ("as short as possible", Form(sentences=Count(None, 1))),
        ("as concise as possible but friendly", Form(sentences=Count(None, 1))),
        ("with sentences as short as possible", Form()),
        ("in a sentence or two", Form(sentences=Count(1, 2))),
        ("a short paragraph or two, tops", Form(paragraphs=Count(1, 2))),
        ("an emoji or two in every answer", Form(emojis=Count(1, 2))),
        ("a word or two", Form(words=2)),
        ("I never read more than two sentences", Form(sentences=Count(None, 2))),
        ("with exactly one emoji", Form(emojis=Count(1, 1))),
        ("with an emoji at the end", Form(emojis=Count(1, None))),
        ("with emojis", Form(emojis=Count(1, None))),
        ("usa muchos emojis", Form(emojis=Count(3, None))),
        ("mit vielen Emojis", Form(emojis=Count(3, None))),
        ("avec des émojis", Form(emojis=Count(1, None))),
        ("ajoute quelques emojis", Form(emojis=Count(1, None))),
        ("con algunos emojis", Form(emojis=Count(1, None))),
        ("com alguns emojis", Form(emojis=Count(1, None))),
        ("con qualche emoji", Form(emojis=Count(1, None))),
        ("like a brochure with lots of fun emojis", Form(emojis=Count(3, None))),
        ("with emojis only", Form()),
        ("say 'basically' all the time", Form(mentions=(("basically", 1),))),
        ("call me boss in every answer", Form(mentions=(("boss", 1),))),
        ("call me crazy but make it rhyme", Form()),
        ("Usa siempre la palabra amigo", Form(mentions=(("amigo", 1),))),
        ("verwende immer das Wort Sonne", Form(mentions=(("Sonne", 1),))),
        ("with Dear Diary at the top", Form(opening="Dear Diary")),
        ("with a joke at the top", Form()),
        ("I like the Q: / A: style", Form(opening="Q:", mentions=(("A:", 1),))),
        ("as a q&a", Form(opening="Q:", mentions=(("A:", 1),))),
        ("explain the word entropy", Form()),
        ("in the words of a child", Form()),
    ],
)
def test_what_an_answer_has_is_read_too(wish: str, form: Form) -> None:
    assert form_of(wish) == form


@pytest.mark.parametrize(
    "wish",
    [
        'with lines that start with "Step 1:", "Step 2:", ...',
        "with no sentence longer than 12 words",
        "at most twenty words to a line",
        "with a title in double angular brackets, such as <<poem of joy>>",
        "with at least four words in CAPITAL LETTERS",
        "as two different answers with six asterisks (******) between them",
        "with 3 or more *highlighted* phrases",
        "in the wording of the law",
        "no numbers above ten",
        "as a poem of love",
        "like a capital investor",
        "in the style of a small town",
        "for 5-year-olds",
        "with a word of encouragement",
        "with a word",
        "begin with a sentence of praise",
        "add a paragraph on history",
        "",
        " ",
    ],
)
def test_what_is_of_a_part_or_of_something_else_says_nothing(wish: str) -> None:
    assert not form_of(wish)


def test_a_long_text_is_no_wish_about_form() -> None:
    wish = "in lower case" + " and so on" * (MOST_CHARACTERS // 10)
    assert not form_of(wish)
    assert form_of(wish[:MOST_CHARACTERS])


def test_a_form_is_false_where_it_asks_for_nothing() -> None:
    assert not Form()
    assert Form(case="upper")
    assert Form(sentences=Count(None, 2))


def test_a_form_is_said_in_words() -> None:
    wishes = (
        'no commas and no emojis, without the letter z, never use the word "very"',
        "in lower case, at most 40 words, two to three sentences, under 300 characters",
        'begin with "Well", end with "Bye", with the word "sun" twice',
        "each sentence on a line of its own, every sentence ends with an exclamation mark",
    )
    assert [form_of(wish).in_words for wish in wishes] == [
        "no commas, no emojis, not the word 'very', not the letter 'z'",
        "lower case, 2 to 3 sentences, at most 40 words, at most 299 characters",
        "'sun' in it 2 times, begins with 'Well', ends with 'Bye'",
        "each sentence ends with '!', each sentence on a line of its own",
    ]


def test_of_two_forms_the_first_one_counts_where_they_contradict_each_other() -> None:
    both = Form(case="upper", without=frozenset(("commas",))).with_also(
        Form(case="lower", words=9, without=frozenset(("digits",)))
    )
    assert both == Form(case="upper", words=9, without=frozenset(("commas", "digits")))


def test_a_mix_has_the_form_of_its_parts() -> None:
    wished = wished_form(resolve(["in lower case", "without commas", "concise"]))
    assert wished == Form(case="lower", without=frozenset(("commas",)))


def test_what_weighs_little_says_nothing_of_the_form() -> None:
    wished = wished_form(resolve(["friendly:1", "in lower case:0.4", "without digits:0.6"]))
    assert wished == Form(without=frozenset(("digits",)))


def test_what_is_to_be_avoided_is_not_in_the_answer() -> None:
    assert wished_form(resolve("friendly", avoid="commas")) == Form(without=frozenset(("commas",)))
    assert wished_form(resolve("friendly", avoid="capital letters")) == Form()
    assert wished_form(resolve("friendly", avoid="in one sentence")) == Form()


def test_the_text_counts_and_not_the_sentence_that_is_made_of_it() -> None:
    assert wished_form([Preference(text="funny", prompt="Answer in lower case: {text}.")]) == Form()


def test_the_wishes_that_the_documentation_names_are_read() -> None:
    guards = (REPOSITORY / "docs" / "guards.md").read_text(encoding="utf-8")
    table = guards.split("## The form of an answer")[1].split("\n\n")[2]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    wishes = [wish.strip() for row in rows for wish in row.split(";")]
    assert len(wishes) > 20
    assert [wish for wish in wishes if not form_of(wish)] == []


@pytest.mark.parametrize(
    ("wish", "script"),
    [
        ("in Chinese", "chinese"),
        ("用中文回答", "chinese"),
        ("请用中文回答", "chinese"),
        ("日本語で答えてください", "chinese"),
        ("in simplified Chinese, friendly", "chinese"),
        ("russian pls", "cyrillic"),
        ("Отвечай по-русски", "cyrillic"),
        ("на русском, коротко", "cyrillic"),
        ("auf Russisch", "cyrillic"),
        ("I'm learning Russian, so write everything in Russian", "cyrillic"),
        ("Could you answer in Greek?", "greek"),
        ("translate it into Thai", "thai"),
        ("한국어로 답해줘", "hangul"),
        ("speak only hindi", "devanagari"),
        ("write your whole answer in Arabic", "arabic"),
        ("Please write your replies in Japanese, even when I ask in English.", "chinese"),
        ("Russian only. No English at all.", "cyrillic"),
        ("कृपया हिंदी में जवाब दें", "devanagari"),
        ("عايز الرد بالعربي لو سمحت", "arabic"),
    ],
)
def test_a_language_is_written_in_its_script(wish: str, script: str) -> None:
    assert form_of(wish) == Form(script=script)


@pytest.mark.parametrize(
    "wish",
    [
        "not in Chinese",
        "don't answer in Russian",
        "like a Russian novelist",
        "with a Chinese proverb",
        "in Chinese and English",
        "in Chinese with English in brackets",
        "in Japanese romaji",
        "in Hindi, written in Latin letters",
        "first sentence in Russian",
        "как русский писатель",
        "不要用中文",
        "explain it in Russian terms",
        "Korean style",
        "in Spanish",
        "in Serbian",
    ],
)
def test_what_isnt_all_of_the_answer_says_nothing_of_its_script(wish: str) -> None:
    assert form_of(wish).script == ""


def test_with_a_language_the_model_begins_the_list() -> None:
    assert wished_form(resolve("as a numbered list")).first_mark == "1."
    for wishes in ("in Spanish and as a numbered list", ["as a numbered list", "auf Deutsch"]):
        assert wished_form(resolve(wishes)).first_mark == ""
    assert wished_form(resolve("as bullet points", avoid="in French")).first_mark == "-"
    assert wished_form(resolve("bullet points, in English")).first_mark == "-"
