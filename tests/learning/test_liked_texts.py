"""The file of liked texts: what is read, and what is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amulet_local import errors
from amulet_local.learning.liked_texts import MAX_TEXTS, LikedText, read_texts

GOOD = '{"question": "Why?", "answer": "Because."}'


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "liked.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def line(**entry: Any) -> str:
    return json.dumps(entry)


def test_every_form_of_a_text_is_read(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    path = written(
        tmp_path,
        "\n".join(
            [
                GOOD,
                "",
                line(messages=messages, response="Good day.", liked=False, finished=True),
                "  \r",
                line(question="Why?", token_ids=[5, 6], liked=True, finished=False),
            ]
        ),
    )
    assert read_texts(path) == [
        LikedText(messages="Why?", answer="Because.", line=1),
        LikedText(messages=messages, answer="Good day.", liked=False, finished=True, line=3),
        LikedText(messages="Why?", answer=[5, 6], finished=False, line=5),
    ]


def test_the_files_names_are_answered_with_those_of_python() -> None:
    named: dict[str, Any] = {"question": "Why?", "response": "Because."}
    with pytest.raises(TypeError, match="LikedText has no 'question'; did you mean 'messages'"):
        LikedText(**named)
    with pytest.raises(TypeError, match="LikedText has no 'response'; did you mean 'answer'"):
        LikedText(messages=named.pop("question"), **named)


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + f"{GOOD}\r\n{GOOD}\r\n".encode())
    assert [text.line for text in read_texts(path)] == [1, 2]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("{", "not JSON"),
        ("null", "has to be an object"),
        ("[1]", "has to be an object"),
        ("[" * 100_000, "nested too deep"),
        ('{"question": ' + "9" * 5000 + "}", "too large"),
        (b'{"question": "\xff", "answer": "a"}', "not UTF-8"),
        ('{"question": "Why?"}', "which is missing"),
        ('{"answer": "Because."}', "which is missing"),
        (line(question="Why?", messages=[], answer="a"), "one of them only"),
        (line(question="Why?", answer="a", response="b"), "one of them only"),
        (line(question="Why?", answer="a", anwser="b"), "did you mean 'answer'"),
        ('{"question": "a", "question": "b", "answer": "c"}', "there twice"),
        (line(question="", answer="a"), '"question" has to be a text'),
        (line(question="Why?", answer=" \n"), '"answer" has to be a text'),
        (line(question="Why?", answer=7), '"answer" has to be a text'),
        (line(question=["Why?"], answer="a"), '"question" has to be a text'),
        (line(messages="Why?", answer="a"), '"messages" has to be a list'),
        (line(messages=["Why?"], answer="a"), '"messages" has to be a list'),
        (line(question="Why?", token_ids=[]), '"token_ids" has to be a list'),
        (line(question="Why?", token_ids=[1, True]), '"token_ids" has to be a list'),
        (line(question="Why?", token_ids=[1.0]), '"token_ids" has to be a list'),
        (line(question="Why?", answer="a", liked=1), '"liked" has to be true or false'),
        (line(question="Why?", answer="a", liked=None), '"liked" has to be true or false'),
        (line(question="Why?", answer="a", finished="no"), '"finished" has to be true'),
    ],
)
def test_what_cannot_be_used_is_said_with_its_line(
    tmp_path: Path, second: str | bytes, reason: str
) -> None:
    second = second if isinstance(second, bytes) else second.encode()
    with pytest.raises(errors.LikedTextError, match=f"^line 2: .*{reason}") as caught:
        read_texts(written(tmp_path, GOOD.encode() + b"\n" + second))
    assert caught.value.line == 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_half_of_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    path = written(tmp_path, r'{"question": "\ud800", "answer": "a"}')
    with pytest.raises(errors.InvalidTextError, match="line 1"):
        read_texts(path)


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_a_file_without_texts_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(errors.LikedTextError, match="no text in the file"):
        read_texts(written(tmp_path, content))


def test_too_many_texts_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"{GOOD}\n" * (MAX_TEXTS + 1))
    with pytest.raises(errors.LikedTextError, match=f"line {MAX_TEXTS + 1}: more than"):
        read_texts(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.jsonl", "/dev/zero"):
        with pytest.raises(errors.FileAccessError):
            read_texts(path)
