"""Conversations with a preference: what is asked, in which order, and what the table says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common.json_log import Log, read_log
from amulet_local.evaluation.adherence.named import NAMED_QUESTIONS
from amulet_local.evaluation.adherence.turns_study import (
    N_TURNS,
    PREFERENCES,
    WAYS,
    hold,
    stored,
    talks,
    turns_table,
)
from amulet_local.isolation.load import load


def test_every_way_holds_a_conversation_about_every_preference() -> None:
    asked = list(talks(8))
    assert [(x.way, x.task.preference.name) for x in asked] == [
        (way, name) for way in WAYS for name in PREFERENCES
    ]
    assert {x.turn for x in asked} == {1}


def test_the_next_question_comes_after_all_that_was_said() -> None:
    first = next(talks(8))
    third = first.after("One.").after("Two.")
    assert third.turn == 3
    assert [x["content"] for x in third.task.ask["messages"]] == [  # type: ignore[index]
        NAMED_QUESTIONS[0],
        "One.",
        NAMED_QUESTIONS[1],
        "Two.",
        NAMED_QUESTIONS[2],
    ]


@pytest.mark.lengthy
def test_conversations_at_once_are_those_of_one_alone(tiny_f32_path: Path, tmp_path: Path) -> None:
    few = [replace(x, way=f"{n}") for n, x in enumerate(talks(6))][:: len(PREFERENCES)]
    with load(tiny_f32_path, n_ctx=1024) as engine:
        hold(engine, few, tmp_path / "many", n_turns=3, at_once=3)
        hold(engine, few, tmp_path / "one", n_turns=3, at_once=1)

    def said(name: str) -> dict[tuple[str, int], str]:
        entries = [*read_log(tmp_path / name, {"way": str, "turn": int, "text": str})]
        assert len(entries) == 3 * len(few)
        return {(entry["way"], entry["turn"]): entry["text"] for entry in entries}

    assert said("many") == said("one")


def entry(way: str, name: str, turn: int, **values: Any) -> dict[str, Any]:
    found = {"way": way, "preference": name, "turn": turn, "text": "", "question": ""}
    return {**found, "follows": True, "is_broken": False, "max_tokens": 8, **values}


def test_the_table_is_of_shares_by_turn() -> None:
    way = next(iter(WAYS))
    entries = [
        entry(way, name, turn, follows=turn <= 3 or name == "german", is_broken=turn == 1)
        for name in PREFERENCES[:2]
        for turn in range(1, N_TURNS + 1)
    ]
    head, _, *rows = turns_table(entries).splitlines()
    assert head.startswith("| way | turns 1 to 3 | turns 4 to 6 |")
    (row,) = rows
    shares = [cell.split()[0] for cell in row.strip("| ").split(" | ")[1:]]
    assert shares == [
        "0.67",
        "0.50",
        "0.50",
        "0.50",
        "0.54",
        "8.3%",
    ]


def test_a_conversation_that_was_stopped_does_not_count(tmp_path: Path) -> None:
    whole = [entry("a", "german", turn) for turn in range(1, N_TURNS + 1)]
    with Log(tmp_path / "log") as log:
        for item in [*whole, entry("b", "german", 1), entry("a", "german", 1, max_tokens=9)]:
            log.append(item)
    assert stored(tmp_path / "log", 8) == whole
