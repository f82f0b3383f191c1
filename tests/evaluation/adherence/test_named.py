"""What the built-in preferences change, counted in texts that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine
from amulet_local.evaluation.adherence.named import (
    EFFECTS,
    PLAIN,
    contractions_per_100_words,
    named_table,
    named_tasks,
)
from amulet_local.evaluation.adherence.study import run, stored
from amulet_local.evaluation.experiment.contestants import contestants

LONG = "Sleep well. Go to bed at ten and read a book that is not about work."
TEXTS = {
    PLAIN: "You'd better go to bed at ten. Read a book.",
    "concise": "Bed at ten.",
    "verbose": f"{LONG} {LONG}",
    "complex": "Irregular circadian scheduling deteriorates polysomnographic parameters.",
    "uplifting": "What a wonderful, happy evening! You will love it.",
    "pleasant": "I hate this terrible, sad question.",
    "formal": "One should retire at ten, and one should read a book.",
}


def entry(preference: str, question: str, text: str, **values: Any) -> dict[str, Any]:
    return {
        "preference": preference,
        "method": "base" if preference == PLAIN else "amulet",
        "question": question,
        "text": text,
        "finish_reason": "stop",
        "loops": False,
        "falls_apart": False,
        **values,
    }


def rows_of(entries: list[dict[str, Any]]) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in named_table(entries).splitlines()[2:]]
    return {row[0].strip("`"): row for row in rows}


def test_changes_are_against_the_plain_answers_to_the_same_questions() -> None:
    entries = [entry(name, q, text) for q in "12345" for name, text in TEXTS.items()]
    entries.append(entry("concise", "never answered plainly", "A word."))
    entries[1]["finish_reason"] = "length"
    entries[1]["loops"] = True
    rows = rows_of(entries)
    assert list(rows) == [effect.name for effect in EFFECTS]
    assert rows["concise"][3:] == [
        *("10.00", "3.00", "0.30 times [0.30, 0.30]", "at most 0.6", "4 of 5", "0, 1", "0, 1"),
    ]
    assert rows["verbose"][5].startswith("3.20 times")
    assert rows["complex"][5].startswith("+")
    assert rows["uplifting"][5].startswith("+")
    assert rows["pleasant"][5].startswith("-")
    assert rows["formal"][3:6] == ["10.00", "0.00", "-10.00 [-10.00, -10.00]"]


def test_what_has_no_figure_is_left_out() -> None:
    rows = rows_of([entry(PLAIN, "1", "Bed."), entry("complex", "1", "!")])
    assert rows["complex"][3:6] == ["-", "-", "-"]
    assert rows["complex"][7] == "0 of 1"


def test_a_length_is_held_against_plain_answers_that_ended_by_themselves() -> None:
    entries = [entry(name, q, text) for q in "12" for name, text in TEXTS.items()]
    entries[0]["finish_reason"] = "length"
    entries[0]["text"] *= 10
    rows = rows_of(entries)
    assert rows["verbose"][3:8] == [
        *("10.00", "32.00", "3.20 times [-inf, inf]", "at least 1.3", "1 of 2"),
    ]
    assert rows["complex"][7] == "2 of 2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("It's late, and the dog's bed isn't here.", 25.0), ("The dog's bed.", 0.0), ("", None)],
)
def test_contractions_are_counted_in_a_hundred_words(text: str, expected: float | None) -> None:
    assert contractions_per_100_words(text) == expected


def test_a_question_is_answered_plainly_once_and_under_each_name_and_method(
    scripted: Engine, tmp_path: Path
) -> None:
    wanted = list(
        named_tasks(contestants("pref,amulet"), ["How do I sleep?", "Why?"], max_tokens=4)
    )
    assert len({task.key for task in wanted}) == len(wanted) == 2 * (1 + 2 * len(EFFECTS))
    path = tmp_path / "named.jsonl"
    run(scripted, wanted[:3], path)
    run(scripted, wanted, path)
    entries = list(stored(path).values())
    assert len(entries) == len(wanted)
    assert {len(row) for row in rows_of(entries).values()} == {10}
