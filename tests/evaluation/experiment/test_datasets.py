"""Files of questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amulet_local import errors
from amulet_local.evaluation.experiment.datasets import read_dataset, read_datasets

ENTRIES = [{"index": n, "question": f"Question {n}?"} for n in range(30)]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_format_has_the_same_questions(tmp_path: Path) -> None:
    as_list = written(tmp_path, "a.json", json.dumps(ENTRIES))
    as_lines = written(tmp_path, "b.jsonl", "".join(json.dumps(e) + "\n" for e in ENTRIES))
    rows = "".join(f'{e["index"]},"{e["question"]}"\r\n' for e in ENTRIES)
    as_csv = written(tmp_path, "c.csv", f"index,question\r\n{rows}")
    as_text = written(tmp_path, "d.txt", "".join(f"{e['question']}\n" for e in ENTRIES))
    found = [
        [(item.index, item.question) for item in read_dataset(path).items]
        for path in (as_list, as_lines, as_csv, as_text)
    ]
    assert found == [[(str(n), f"Question {n}?") for n in range(30)]] * 4


def test_a_line_of_text_is_a_question_unless_it_begins_as_json_does(tmp_path: Path) -> None:
    lines = ["What's 2 + 2?", "", '{"question": "Why?"}', '"In quotes?"', " 12 ", "[One] or two?"]
    path = written(tmp_path, "a.TXT", "\r\n".join(lines))
    found = [item.question for item in read_dataset(path).items]
    assert found == ["What's 2 + 2?", "Why?", "In quotes?", "12", "[One] or two?"]
    broken = written(tmp_path, "b.txt", '{"question": "Why?"\n')
    with pytest.raises(errors.InvalidTextError, match=r"line 1 isn't JSON.*\(\.txt\)"):
        read_dataset(broken)


def test_a_csv_cell_may_hold_lines_quotes_and_commas(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'question\n"One, ""two""\nand three?"\n')
    assert read_dataset(path).items[0].question == 'One, "two"\nand three?'


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path, separator: str) -> None:
    rows = [["Index", "Question"], ["1", '"One\ntwo?"'], ["2", "Why?"], ["", ""]]
    text = "".join(separator.join(row) + "\r\n" for row in rows)
    path = tmp_path / "a.CSV"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    items = read_dataset(path).items
    assert [(item.index, item.question) for item in items] == [("1", "One\ntwo?"), ("2", "Why?")]


def test_other_characters_that_end_lines_are_part_of_a_question(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"question": "A\u2028B\x85C?"}\n')
    assert [item.question for item in read_dataset(path).items] == ["A\u2028B\x85C?"]


def test_items_may_bring_their_own_preferences(tmp_path: Path) -> None:
    entries = [
        {"prompt": "How?", "system": "You are a pirate.", "reference_answer": "Arr."},
        {"prompt": "Why?", "system": "s", "preferences": ["short", {"description": "sweet"}]},
        {"prompt": "When?"},
    ]
    items = read_dataset(written(tmp_path, "a.json", json.dumps(entries))).items
    assert [item.preferences for item in items] == [("You are a pirate.",), ("short", "sweet"), ()]
    assert [item.question for item in items] == ["How?", "Why?", "When?"]


def rubric(criteria: str) -> dict[str, object]:
    return {"criteria": criteria, "score_descriptions": {str(n): f"is {n}" for n in range(1, 6)}}


@pytest.mark.parametrize("field", ["rubric", "rubrics"])  # its description, and its files
def test_rubrics_of_multifaceted_bench_are_what_a_judge_rates(tmp_path: Path, field: str) -> None:
    entries = [
        {
            "source": "art",
            "system": "You narrate the lives of pets.",
            "prompt": "Guess what happened.",
            "reference_answer": "It rained.",
            field: [rubric("Does it tell a story?"), rubric("Does it care for the dog?")],
        },
        {"prompt": "Why?", field: [rubric("Without preferences of its own")]},
    ]
    first, second = read_dataset(written(tmp_path, "a.json", json.dumps(entries))).items
    assert first.preferences == ("You narrate the lives of pets.",)
    assert first.criteria == (
        "Does it tell a story?\n1: is 1\n2: is 2\n3: is 3\n4: is 4\n5: is 5",
        "Does it care for the dog?\n1: is 1\n2: is 2\n3: is 3\n4: is 4\n5: is 5",
    )
    assert second.criteria == ()


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order(tmp_path: Path) -> None:
    dataset = read_dataset(written(tmp_path, "a.json", json.dumps(ENTRIES)))

    def drawn(seed: int) -> list[int]:
        chosen = dataset.chosen(limit=None, sample=10, seed=seed)
        return [int(item.index) for item in chosen.items]

    assert drawn(1) == drawn(1) == sorted(set(drawn(1)))
    assert len(drawn(1)) == 10
    assert drawn(1) != drawn(2)


def test_a_limit_takes_the_first(tmp_path: Path) -> None:
    dataset = read_dataset(written(tmp_path, "a.json", json.dumps(ENTRIES)))
    chosen = dataset.chosen(limit=3, sample=None, seed=1)
    assert [item.index for item in chosen.items] == ["0", "1", "2"]
    assert len(dataset.chosen(limit=99, sample=None, seed=1).items) == 30


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "[]"),
        ("a.json", "[1"),
        ("a.json", '[{"index": 1}]'),
        ("a.json", '[{"question": " "}]'),
        ("a.json", '[{"question": 7}]'),
        ("a.json", '[{"question": "a", "index": 1}, {"question": "b", "index": "1"}]'),
        ("a.json", '[{"question": "a", "index": {}}]'),
        ("a.json", '[{"question": "\\ud800"}]'),
        ("a.json", '[{"question": "a", "preferences": [1]}]'),
        ("a.json", '[{"question": "a", "preferences": {"b": 1}}]'),
        ("a.json", json.dumps([{"question": "a", "preferences": [str(n) for n in range(99)]}])),
        ("a.json", '[{"question": "a", "system": "b", "rubrics": ["c"]}]'),
        ("a.json", '[{"question": "a", "system": "b", "rubrics": 7}]'),
        ("a.json", '[{"question": "a", "system": "b", "rubrics": [{"criteria": " "}]}]'),
        ("a.json", '[{"question": "a", "system": "b", "rubrics": [{"criteria": "\\ud800"}]}]'),
        ("a.json", "[" * 100_000),
        ("a.jsonl", "hello\n"),
        ("a.jsonl", "\n"),
        ("a.csv", 'question\n"a\n'),
        ("a.csv", "other\nx\n"),
    ],
)
def test_what_holds_no_questions_is_refused_in_one_line(
    tmp_path: Path, name: str, text: str
) -> None:
    with pytest.raises(errors.InvalidTextError) as caught:
        read_dataset(written(tmp_path, name, text))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'["\xff"]')
    with pytest.raises(errors.InvalidTextError):
        read_dataset(tmp_path / "a.json")


def test_a_folder_is_no_file_of_questions(tmp_path: Path) -> None:
    with pytest.raises(errors.FileAccessError):
        read_dataset(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = (written(f, "a.json", '["Hi?"]') for f in (tmp_path, tmp_path / "x"))
    with pytest.raises(errors.InvalidParameterError):
        read_datasets([one, other])
