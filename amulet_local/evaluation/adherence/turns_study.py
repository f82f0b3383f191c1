"""Measures whether preferences hold over a conversation: scripts/study_turns.

    scripts/study_turns --model MODEL --out FOLDER

Conversations of twelve questions, each with a preference that is said once, in the system text, or
anew with each question; followed by the prompt alone, or strengthened. Each answer is stored as it
is made; a conversation that was stopped begins anew. Knows nothing about how answers are made.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from statistics import fmean
from typing import Any

import numpy as np

from amulet_local.common.errors import AmuletError
from amulet_local.common.json_log import Log, read_log
from amulet_local.common.private_files import make_folder
from amulet_local.common.results import Chunk, Generation
from amulet_local.common.termination import gone_on_with_later
from amulet_local.engine import Engine
from amulet_local.evaluation import statistics
from amulet_local.evaluation.adherence.bank import BANK
from amulet_local.evaluation.adherence.named import NAMED_QUESTIONS
from amulet_local.evaluation.adherence.preference import RuledPreference
from amulet_local.evaluation.adherence.study import verdict
from amulet_local.evaluation.adherence.task import Task
from amulet_local.evaluation.experiment.contestants import contestants
from amulet_local.isolation.load import load
from amulet_local.loading.model_store import DEFAULT_MODEL
from amulet_local.params.choices import Placement

LOG = "turns.jsonl"
N_TURNS = 12
_STRETCH = 3
"""Turns that a column of the table is about."""
_PROMPT_TOKENS = 512
_TURN_TOKENS = 24
"""Of a question and the template around it, at most."""

PREFERENCES = (
    "german",
    "one-sentence",
    "numbered-list",
    "lower-case",
    "emojis",
    "no-contractions",
    "small-child",
    "pirate",
)
WAYS: dict[str, tuple[str, Placement]] = {
    "prompt alone, said once": ("pref", "system"),
    "prompt alone, with each question": ("pref", "contrast"),
    "balanced, said once": ("amulet:balanced", "system"),
    "balanced, with each question": ("amulet:balanced", "contrast"),
}
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "way": str,
    "preference": str,
    "turn": int,
    "max_tokens": int,
    "text": str,
    "follows": (bool, type(None)),
    "is_broken": bool,
}


@dataclass(frozen=True, kw_only=True)
class Talk:
    """A conversation up to a question.

    Attributes:
        way: its name in WAYS.
        task: the question, with what was said before it.
    """

    way: str
    task: Task

    @property
    def turn(self) -> int:
        """The number of the question, from 1."""
        return len(self.task.examples or ()) + 1

    def after(self, answer: str) -> Talk:
        """The same conversation, up to the next question."""
        said = (*(self.task.examples or ()), (self.task.question, answer))
        question = NAMED_QUESTIONS[self.turn % len(NAMED_QUESTIONS)]
        return replace(self, task=replace(self.task, examples=said, question=question))


def talks(max_tokens: int) -> Iterator[Talk]:
    """All conversations, before their first answer."""
    bank = {item.name: item for item in BANK}
    for way, (method, placement) in WAYS.items():
        (contestant,) = contestants(method)
        for name in PREFERENCES:
            preference: RuledPreference = bank[name]
            task = Task(
                contestant=contestant,
                placement=placement,
                preference=preference,
                wording=preference.wordings[0],
                question=NAMED_QUESTIONS[0],
                max_tokens=max_tokens,
            )
            yield Talk(way=way, task=task)


def hold(engine: Engine, wanted: Iterable[Talk], path: Path, *, n_turns: int, at_once: int) -> None:
    """Hold conversations, several at once, and store their answers.

    Raises:
        AmuletError: an answer can't be made, or the log can't be written.
    """
    waiting = deque(wanted)
    n_all, n_done, n_under_way = len(waiting) * n_turns, 0, 0
    came: SimpleQueue[tuple[Talk, Chunk | AmuletError]] = SimpleQueue()
    with Log(path) as log, engine.pool(places=at_once, waiting=at_once, max_rows=2) as pool:

        def ask(talk: Talk) -> None:
            pool.submit(engine.request(**talk.task.ask), lambda piece: came.put((talk, piece)))

        while waiting or n_under_way:
            while waiting and n_under_way < at_once:
                ask(waiting.popleft())
                n_under_way += 1
            talk, piece = came.get()
            if isinstance(piece, AmuletError):
                raise piece
            if piece.generation is None:
                continue
            log.append(_entry(talk, piece.generation))
            n_done += 1
            print(f"\r{n_done} of {n_all} answers", end="", file=sys.stderr, flush=True)
            if talk.turn < n_turns:
                ask(talk.after(piece.generation.text))
            else:
                n_under_way -= 1
    print(file=sys.stderr)


def _entry(talk: Talk, generation: Generation) -> dict[str, Any]:
    judged = verdict(talk.task, generation)
    return {
        "way": talk.way,
        "preference": talk.task.preference.name,
        "turn": talk.turn,
        "max_tokens": talk.task.max_tokens,
        "question": talk.task.question,
        "text": generation.text,
        "follows": judged.follows,
        "is_broken": judged.loops or judged.falls_apart,
    }


def stored(path: Path, max_tokens: int) -> list[dict[str, Any]]:
    """The answers of conversations that came to their end; of one that was held twice the last.

    Raises:
        FileAccessError: it can't be read, or a line is damaged.
    """
    found = {
        (entry["way"], entry["preference"], entry["turn"]): entry
        for entry in read_log(path, _FIELDS)
        if entry["max_tokens"] == max_tokens
    }
    whole = {key[:2] for key in found if key[2] == N_TURNS}
    return [entry for key, entry in found.items() if key[:2] in whole]


def turns_table(entries: Sequence[dict[str, Any]]) -> str:
    """How often answers follow and are whole, by their turn, as Markdown.

    The share is over the answers that can be judged; its interval over the preferences, whose
    answers are averaged first.
    """
    starts = range(1, N_TURNS + 1, _STRETCH)
    lines = [
        " | ".join(["way", *(f"turns {n} to {n + _STRETCH - 1}" for n in starts), "all", "broken"]),
        "---|" * (len(starts) + 2) + "---",
    ]
    for way in WAYS:
        mine = [entry for entry in entries if entry["way"] == way]
        if not mine:
            continue
        cells = [_share([x for x in mine if n <= x["turn"] < n + _STRETCH]) for n in starts]
        broken = fmean(entry["is_broken"] for entry in mine)
        lines.append(" | ".join([way, *cells, _share(mine), f"{broken:.1%}"]))
    return "\n".join(f"| {line} |" for line in lines)


def _share(entries: Sequence[dict[str, Any]]) -> str:
    judged = [entry for entry in entries if entry["follows"] is not None]
    by_preference = [
        [x["follows"] and not x["is_broken"] for x in judged if x["preference"] == name]
        for name in PREFERENCES
    ]
    found = statistics.mean(np.array([fmean(values) for values in by_preference if values]))
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="study_turns", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a GGUF file, or a name")
    parser.add_argument("--out", type=Path, required=True, help="folder of one model's answers")
    parser.add_argument("--max-tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--at-once", type=int, default=8, help="conversations at once")
    parser.add_argument(
        "--report", action="store_true", help="print what is there of it, make nothing"
    )
    options = parser.parse_args(arguments)
    try:
        make_folder(options.out)
        path = options.out / LOG
        if not options.report:
            there = {(x["way"], x["preference"]) for x in stored(path, options.max_tokens)}
            missing = [
                talk
                for talk in talks(options.max_tokens)
                if (talk.way, talk.task.preference.name) not in there
            ]
            n_ctx = _PROMPT_TOKENS + N_TURNS * (_TURN_TOKENS + options.max_tokens)
            with load(options.model, n_ctx=n_ctx) as engine:
                hold(engine, missing, path, n_turns=N_TURNS, at_once=options.at_once)
        print(turns_table(stored(path, options.max_tokens)))
    except AmuletError as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    with gone_on_with_later():
        main()
