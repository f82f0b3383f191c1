"""Feedback that other programs keep, in the forms in which they keep it."""

from __future__ import annotations

import gc
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common.errors import InvalidParameterError, ProfileError
from amulet_local.profile.sources import (
    KeptAnswer,
    llm_log,
    open_webui_export,
    open_webui_feedback,
)


def entry(rating: Any = 1, *, role: str = "user", made: int = 1) -> dict[str, Any]:
    """As Open WebUI stores and exports it."""
    return {
        "id": "0",
        "user_id": "ann",
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "m", "reason": "", "comment": "", "details": {}},
        "meta": {"model_id": "m", "message_id": "b", "chat_id": "c", "message_index": 2},
        "snapshot": {
            "chat": {
                "id": "c",
                "title": "Tea",
                "chat": {
                    "history": {
                        "currentId": "b",
                        "messages": {
                            "a": {"id": "a", "parentId": None, "role": role, "content": "Tea?"},
                            "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "No"},
                        },
                    }
                },
            }
        },
        "created_at": made,
        "updated_at": made,
    }


@pytest.mark.parametrize(("rating", "good"), [(1, True), (-1, False), ("1", True), ("-1", False)])
def test_a_thumb_is_on_the_message_that_the_chat_has(rating: Any, good: bool) -> None:
    assert open_webui_feedback(entry(rating)) == KeptAnswer(question="Tea?", answer="No", good=good)


@pytest.mark.parametrize(
    "wrong",
    [
        entry(None),
        entry(7),
        entry("good"),
        entry(role="system"),
        {**entry(), "snapshot": None},
        {**entry(), "meta": {"message_id": "z"}},
        {**entry(), "data": None},
    ],
)
def test_what_has_no_thumb_on_an_answer_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        open_webui_feedback(wrong)


def test_an_export_is_read_oldest_first_and_what_has_no_thumb_is_counted() -> None:
    text = json.dumps([entry(1, made=3), entry(None), entry(-1, made=2)])
    found, n_others = open_webui_export(text)
    assert ([item.good for item in found], n_others) == ([False, True], 1)
    gc.collect()  # else what others left may be finalized where the last one has used the stack up
    for wrong in ("{}", "[1]", "nothing", "[" * 100_000):
        with pytest.raises(ProfileError):
            open_webui_export(wrong)


def test_the_last_answers_of_llms_own_log_come_first(tmp_path: Path) -> None:
    sqlite_utils = pytest.importorskip("sqlite_utils")
    migrations = pytest.importorskip("llm.migrations")
    path = tmp_path / "logs.db"
    log = sqlite_utils.Database(path)
    migrations.migrate(log)
    for day in (1, 3, 2):
        log["responses"].insert(
            {
                "id": f"r{day}",
                "model": "amulet-smollm2",
                "prompt": f"Day {day}?",
                "response": f"The {day}.",
                "datetime_utc": f"2026-01-0{day}T00:00:00",
            }
        )
    log.close()
    before = path.read_bytes()
    found = llm_log(path, 2)
    assert found == [
        KeptAnswer(question="Day 3?", answer="The 3."),
        KeptAnswer(question="Day 2?", answer="The 2."),
    ]
    assert path.read_bytes() == before


def test_what_is_no_log_of_llm_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="llm logs path"):
        llm_log(tmp_path / "none.db", 5)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE a (b)")
    connection.close()
    with pytest.raises(ProfileError, match="log of llm"):
        llm_log(other, 5)
    with sqlite3.connect(other) as connection:
        connection.execute(
            "CREATE VIEW responses AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
            "FROM n) SELECT i AS id, 'a' AS prompt, 'b' AS response, i AS datetime_utc FROM n"
        )
    connection.close()
    with pytest.raises(ProfileError, match="log of llm"):  # a stranger's that never ends
        llm_log(other, 5)
