"""Files of questions to evaluate on: JSON lists, JSON lines, CSV, text, items with preferences.

Knows nothing about models. An item is a text, which is the question, or an object with a
"question" (or "prompt", or "instruction") and perhaps an "index". Items of Multifaceted-Bench have
a "system" text that says what the answer should be like; it, or the texts in "preferences", are
then the item's own preferences. Their "rubrics" (or "rubric"), {"criteria": text,
"score_descriptions": {"1": text, ... "5": text}} each, say what a judge is to rate one by one.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.errors import InvalidParameterError, InvalidTextError
from amulet_local.evaluation.questions import QUESTIONS, question_of, table_entries

MAX_BYTES = 256 * 2**20
MAX_OWN_PREFERENCES = 8
"""Each is a row that is computed."""

_INDEX_FIELDS = ("index", "idx", "id")


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question.

    Attributes:
        dataset: the name of its file.
        index: which one it is there, unique in the file.
        question: the text.
        preferences: its own, as texts; empty where the run's preferences apply.
        criteria: what a judge rates answers by instead of by these preferences, if it has any.
    """

    dataset: str
    index: str
    question: str
    preferences: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The questions of one file.

    Attributes:
        name: the file's name without its ending.
        sha256: of the file.
        items: all or some of them.
    """

    name: str
    sha256: str
    items: tuple[Item, ...]

    def chosen(self, *, limit: int | None, sample: int | None, seed: int) -> Dataset:
        """The first `limit` of them, or `sample` drawn without replacement, in the file's order.

        Raises:
            InvalidParameterError: a number below 1, or both are given.
        """
        for name, number in (("--limit", limit), ("--sample", sample)):
            if number is not None and not number >= 1:
                raise InvalidParameterError(f"{name} must be at least 1, not {number}")
        if limit is not None and sample is not None:
            raise InvalidParameterError("give only one of --limit, --sample")
        items = self.items
        if limit is not None:
            items = items[:limit]
        elif sample is not None and sample < len(items):
            draw = random.Random(f"{seed} {self.name}")
            items = tuple(items[i] for i in sorted(draw.sample(range(len(items)), sample)))
        return Dataset(name=self.name, sha256=self.sha256, items=items)


def own_questions() -> Dataset:
    """The package's own, of several kinds."""
    items = tuple(
        Item(dataset="amulet", index=str(n), question=text) for n, text in enumerate(QUESTIONS)
    )
    digest = hashlib.sha256("\n".join(QUESTIONS).encode()).hexdigest()
    return Dataset(name="amulet", sha256=digest, items=items)


def read_dataset(path: Path) -> Dataset:
    """Read a file of questions.

    Raises:
        FileAccessError: it can't be read.
        InvalidTextError: it holds no questions, or something else.
    """
    data = private_files.read(path, max_bytes=MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTextError(f"{path} isn't UTF-8 text (byte {error.start})") from None
    name = path.name.split(".")[0] or path.name
    items = []
    seen: set[str] = set()
    for position, (where, entry) in enumerate(_entries(text, path)):
        item = _item(entry, f"{path}, {where}", name, position)
        if item.index in seen:
            raise InvalidTextError(f"{path}, {where}: index {item.index} is there twice")
        seen.add(item.index)
        items.append(item)
    if not items:
        raise InvalidTextError(f"{path} has no questions in it")
    return Dataset(name=name, sha256=hashlib.sha256(data).hexdigest(), items=tuple(items))


def read_datasets(paths: Sequence[Path]) -> list[Dataset]:
    """Read files; two of the same name can't be told apart.

    Raises:
        InvalidParameterError: two have the same name.
        FileAccessError, InvalidTextError: as `read_dataset`.
    """
    datasets = [read_dataset(path) for path in paths]
    names = [dataset.name for dataset in datasets]
    for name in names:
        if names.count(name) > 1:
            raise InvalidParameterError(f"two files of questions are called {name!r}; rename one")
    return datasets


def _entries(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix.lower() == ".csv":
        yield from table_entries(text, str(path))
    elif text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise InvalidTextError(f"{path}{line}: begins like a JSON list and isn't one") from None
        for n, entry in enumerate(entries, 1):
            yield f"entry {n}", entry
    else:
        is_text = path.suffix.lower() == ".txt"
        for n, line in enumerate(text.split("\n"), 1):  # not at U+2028 and the like
            if is_text and line.strip() and not line.lstrip().startswith(("{", '"')):
                yield f"line {n}", line
            elif line.strip():
                try:
                    yield f"line {n}", json.loads(line)
                except (ValueError, RecursionError):
                    raise InvalidTextError(
                        f"{path}, line {n} isn't JSON; a file of questions is a JSON list, JSON "
                        f"lines, CSV with a heading (and a name that ends in .csv), or text with a "
                        f"question on each line (.txt)"
                    ) from None


def _item(entry: Any, where: str, dataset: str, position: int) -> Item:
    if isinstance(entry, str):
        entry = {"question": entry}
    if not isinstance(entry, Mapping):
        raise InvalidTextError(f"{where}: has to be an object or a text")
    question = question_of(entry)
    if not question:
        raise InvalidTextError(f'{where}: has no text as its "question" (or "prompt")')
    indices = [entry[name] for name in _INDEX_FIELDS if entry.get(name) not in (None, "")]
    index = indices[0] if indices else position
    if isinstance(index, bool) or not isinstance(index, int | str):
        raise InvalidTextError(f"{where}: its index has to be a number or a text")
    preferences = _own_preferences(entry, where)
    criteria = _criteria(entry, where) if preferences else ()
    for text in (question, str(index), *preferences, *criteria):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidTextError(f"{where}: has half a surrogate pair in it") from None
    return Item(
        dataset=dataset,
        index=str(index),
        question=question,
        preferences=preferences,
        criteria=criteria,
    )


def _own_preferences(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    given = entry.get("preferences") or entry.get("system") or ()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Sequence):
        raise InvalidTextError(f'{where}: "preferences" has to be a list of texts')
    texts = []
    for item in given:
        if isinstance(item, Mapping):
            item = item.get("description") or item.get("preference") or item.get("text")
        if not (isinstance(item, str) and item.strip()):
            raise InvalidTextError(f"{where}: one of its preferences isn't a text")
        texts.append(item.strip())
    if len(texts) > MAX_OWN_PREFERENCES:
        raise InvalidTextError(
            f"{where}: has {len(texts)} preferences, at most {MAX_OWN_PREFERENCES} can be followed"
        )
    return tuple(dict.fromkeys(texts))


def _criteria(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """What an item's rubrics ask for, each with what the ratings mean."""
    rubrics = entry.get("rubrics") or entry.get("rubric") or ()
    texts = []
    for rubric in rubrics if isinstance(rubrics, Sequence) else [rubrics]:
        wanted = rubric.get("criteria") if isinstance(rubric, Mapping) else None
        levels = rubric.get("score_descriptions", {}) if isinstance(rubric, Mapping) else None
        if not (isinstance(wanted, str) and wanted.strip() and isinstance(levels, Mapping)):
            raise InvalidTextError(f'{where}: one of its rubrics has no text as its "criteria"')
        lines = [f"{level}: {levels[level]}" for level in sorted(levels)]
        texts.append("\n".join([wanted.strip(), *lines]))
    return tuple(texts)
