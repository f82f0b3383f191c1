"""Questions from a file, in the forms that people have them in."""

from __future__ import annotations

import json

import pytest

from amulet_local.common.errors import InvalidTextError
from amulet_local.evaluation.questions import MAX_QUESTIONS, QUESTIONS, parse_questions

ASKED = ("How do I sleep better?", 'What is "yeast"?')


def test_there_is_a_handful_of_different_questions() -> None:
    assert len(set(QUESTIONS)) == len(QUESTIONS) == 12
    assert all(0 < len(text) < 100 and text == text.strip() for text in QUESTIONS)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"question": text, "index": 3} for text in ASKED]),
        json.dumps(list(ASKED), indent=1),
        "".join(json.dumps({"question": text}) + "\n\n" for text in ASKED),
        "\n".join(f"  {text} " for text in ASKED) + "\n\n",
        "\r\n".join(ASKED),
        "\n".join((*ASKED, *ASKED)),
        "\n".join(map(json.dumps, ASKED)),
        "".join(json.dumps({"id": 3, "prompt": text}) + "\n" for text in ASKED),
    ],
)
def test_every_form_gives_the_same_questions(text: str) -> None:
    assert parse_questions(text, "x") == ASKED


@pytest.mark.parametrize("separator", "\u2028\u2029\x85\x0b\x0c\x1c")
def test_only_line_ends_of_files_end_a_question(separator: str) -> None:
    asked = f"What is{separator}yeast?"
    lines = f'{{"question": "{asked}"}}\r\n{asked}2\n'
    if separator < " ":  # not allowed in JSON as it is
        lines = lines.replace(asked, asked.replace(separator, " "), 1)
    assert parse_questions(lines, "x")[1:] == (f"{asked}2",)
    assert len(parse_questions(lines, "x")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "q.txt has no questions"),
        (" \n\n", "q.txt has no questions"),
        ("[]", "q.txt has no questions"),
        ('["a",\n', "q.txt, line 2: begins like a JSON list"),
        ("[" * 100_000, "begins like a JSON list"),
        ('a\n{"question": "b"', "q.txt, line 2: begins like a JSON object"),
        ('{"question": ' + '{"a":' * 100_000, "line 1: begins like a JSON object"),
        ('a\n\n{"text": "b"}', 'q.txt, line 3: has to be a question, as a text or as {"question"'),
        ('["a", 3]', "q.txt, entry 2: has to be a question"),
        ('[{"question": " "}]', "q.txt, entry 1: has to be a question"),
        ('[{"question": ["a"]}]', "q.txt, entry 1: has to be a question"),
        ("\n".join(map(str, range(MAX_QUESTIONS + 1))), f"at most {MAX_QUESTIONS} can be asked"),
    ],
)
def test_what_is_no_question_is_said_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidTextError) as error:
        parse_questions(text, "q.txt")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_has_its_questions_in_a_column() -> None:
    quoted = [text.replace('"', '""') for text in ASKED]
    table = "id;Question\r\n" + "".join(f'7;"{text}"\r\n' for text in quoted)
    assert parse_questions(table, "x", is_table=True) == ASKED
    with pytest.raises(InvalidTextError, match=r"^x, line 2: the row has 3 values under 1 head"):
        parse_questions("question\nOne, two, three?\n", "x", is_table=True)
    with pytest.raises(InvalidTextError, match=r"^x, row 1: has to be a question"):
        parse_questions("One?\nTwo?\n", "x", is_table=True)
