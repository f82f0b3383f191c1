"""Measures what picks come to on a real model: scripts/study_profile.

    scripts/study_profile --model MODEL --out FOLDER

Half of the questions are answered plainly and under each of the eight preferences, and users with
known weights pick between these answers. The other half is answered with what was learned of each
user, and with what else could be done for them; the user's own weights judge the answers, by the
rows and by what can be counted of the text. Every answer is stored as it is made, so that a run
which was stopped goes on where it was. Knows nothing about how users pick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from amulet_local.answering.ask import AskMessages
from amulet_local.common.errors import AmuletError
from amulet_local.common.json_log import Log, read_log
from amulet_local.common.private_files import make_folder
from amulet_local.common.termination import gone_on_with_later
from amulet_local.engine import Engine
from amulet_local.evaluation.adherence.named import NAMED_QUESTIONS
from amulet_local.evaluation.personal.report import (
    KNOWN,
    LEARNED,
    AnswersOf,
    learning_table,
    worth_tables,
)
from amulet_local.evaluation.personal.speed import speed_table
from amulet_local.evaluation.personal.users import (
    BANK,
    AnswerScale,
    MeasuredAnswer,
    SimulatedUser,
    learned,
)
from amulet_local.isolation.load import load
from amulet_local.loading.model_store import DEFAULT_MODEL
from amulet_local.params.sampling import SamplingParams
from amulet_local.profile.listener import MEASURED_TOKENS
from amulet_local.profile.taste import MOST_PREFERENCES, Taste, strongest
from amulet_local.serving.together import Outcome

PLAIN = "plain"
N_PICKS = 20
MOST_EXAMPLES = 3
_PROMPT_TOKENS = 512
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "question": str,
    "maker": str,
    "max_tokens": int,
    "text": str,
    "means": list,
}


@dataclass(frozen=True, kw_only=True)
class StudyAnswer:
    """One answer to make.

    Attributes:
        maker: what it is made with, for the log.
        question: what is asked.
        ask: the same for the engine.
    """

    maker: str
    question: str
    ask: AskMessages


class StudyLog:
    """The measured answers in a folder, made where they aren't there."""

    def __init__(self, engine: Engine | None, path: Path, max_tokens: int, at_once: int) -> None:
        """Take note.

        Args:
            engine: what makes answers; None to make none.
        """
        self._engine, self._path = engine, path
        self._max_tokens, self._at_once = max_tokens, at_once

    def get(self, wanted: Sequence[StudyAnswer]) -> list[MeasuredAnswer]:
        """These answers, as far as they are there.

        Raises:
            AmuletError: one can't be made, or the log can't be used.
        """
        there = self._stored()
        missing = [x for x in wanted if (x.question, x.maker) not in there]
        for question in dict.fromkeys(x.question for x in missing):
            if self._engine is not None:
                self._make(self._engine, [x for x in missing if x.question == question])
        there = self._stored() if missing else there
        keys = [(x.question, x.maker) for x in wanted]
        return [there[key] for key in keys if key in there]

    def _stored(self) -> dict[tuple[str, str], MeasuredAnswer]:
        return {
            (entry["question"], entry["maker"]): MeasuredAnswer(
                question=entry["question"],
                maker=entry["maker"],
                text=entry["text"],
                means=tuple(entry["means"]),
            )
            for entry in read_log(self._path, _FIELDS)
            if entry["max_tokens"] == self._max_tokens
        }

    def _make(self, engine: Engine, wanted: Sequence[StudyAnswer]) -> None:
        """Answers to one question, made and measured together."""
        sampling = SamplingParams(max_tokens=self._max_tokens, temperature=0)
        asks = [cast(AskMessages, {"sampling": sampling, **x.ask}) for x in wanted]
        made: dict[int, Outcome] = {}
        engine.answer_all(
            asks, at_once=self._at_once, scheduler="batched", answered=made.__setitem__
        )
        answers = []
        for number in range(len(wanted)):
            outcome = made[number]
            if isinstance(outcome, AmuletError):
                raise outcome
            answers.append(outcome)
        measured = engine.log_ratios(
            wanted[0].question,
            *(answer.token_ids for answer in answers),
            bank=list(BANK),
            finished=[answer.finish_reason == "stop" for answer in answers],
            max_tokens=MEASURED_TOKENS,
        )
        with Log(self._path) as log:
            for one, answer, ratios in zip(wanted, answers, measured, strict=True):
                log.append(
                    {
                        "question": one.question,
                        "maker": one.maker,
                        "max_tokens": self._max_tokens,
                        "text": answer.text,
                        "means": list(ratios.means),
                    }
                )
        print(".", end="", file=sys.stderr, flush=True)


def pool(questions: Sequence[str]) -> list[StudyAnswer]:
    """The plain answer to each question, and one under each of the eight preferences."""
    found = []
    for question in questions:
        found.append(StudyAnswer(maker=PLAIN, question=question, ask=_asked(question, "base")))
        for one in BANK:
            ask = _asked(question, "amulet", preference=[one])
            found.append(StudyAnswer(maker=one.label, question=question, ask=ask))
    return found


def of_user(user: SimulatedUser, taste: Taste, question: str) -> dict[str, StudyAnswer]:
    """What could be done for a user, by its name."""
    liked = {item.question: item.better for item in taste.feedback}
    shots = [
        {"role": role, "content": text}
        for example in list(liked.items())[-MOST_EXAMPLES:]
        for role, text in zip(("user", "assistant"), example, strict=True)
    ]
    known = strongest(user.weights, MOST_PREFERENCES)
    ask = [
        (LEARNED, _asked(question, "amulet", preference=list(taste.mix))),
        (KNOWN, _asked(question, "amulet", preference=list(taste.as_mix(known)))),
        ("hand-written prompt", _asked(question, "pref", preference=[user.in_words()])),
        ("few-shot of liked answers", _asked(question, "base", before=shots)),
    ]
    return {
        name: StudyAnswer(maker=f"{name}, user {user.seed}", question=question, ask=asked)
        for name, asked in ask
    }


def _asked(
    question: str,
    method: str,
    *,
    preference: Sequence[object] = (),
    before: Sequence[Mapping[str, str]] = (),
) -> AskMessages:
    messages = [*before, {"role": "user", "content": question}]
    return cast(
        AskMessages,
        {"messages": messages, "method": method, "preference": list(preference) or None},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="study_profile", description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a GGUF file, or a name")
    parser.add_argument("--out", type=Path, help="folder of one model's answers")
    parser.add_argument("--questions", type=int, default=12, help="how many; half are held out")
    parser.add_argument("--users", type=int, default=12, help="for whom answers are made")
    parser.add_argument("--max-tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--at-once", type=int, default=8, help="answers computed together")
    parser.add_argument(
        "--report", action="store_true", help="print what is there of it, make nothing"
    )
    parser.add_argument(
        "--speed", action="store_true", help="print how long an update takes, without a model"
    )
    options = parser.parse_args(arguments)
    if options.speed:
        print(speed_table())
        return
    if options.out is None:
        parser.error("say with --out where answers are to be kept")
    try:
        make_folder(options.out)
        if options.report:
            _study(None, options)
            return
        with load(options.model, n_ctx=options.max_tokens + _PROMPT_TOKENS) as engine:
            _study(engine, options)
    except AmuletError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _study(engine: Engine | None, options: argparse.Namespace) -> None:
    """Make what isn't there, and print the tables."""
    log = StudyLog(engine, options.out / "profile.jsonl", options.max_tokens, options.at_once)
    questions = NAMED_QUESTIONS[: options.questions]
    half = len(questions) // 2
    picked_from, held_out = log.get(pool(questions[:half])), log.get(pool(questions[half:]))
    scale = AnswerScale.of(picked_from)
    print(learning_table(picked_from, held_out, scale, N_PICKS), flush=True)
    users = [SimulatedUser.drawn(seed) for seed in range(options.users)]
    tastes = {user.seed: learned(user, picked_from, scale, N_PICKS) for user in users}
    found: list[AnswersOf] = []
    for question in questions[half:]:
        wanted = {user.seed: of_user(user, tastes[user.seed], question) for user in users}
        there = log.get([x for of_one in wanted.values() for x in of_one.values()])
        made = {x.maker: x for x in there}
        for user in users:
            named = wanted[user.seed].items()
            answers = {name: made[x.maker] for name, x in named if x.maker in made}
            found.append(AnswersOf(user=user, question=question, answers=answers))
    print()
    print(worth_tables(found, picked_from, held_out, scale))


if __name__ == "__main__":
    with gone_on_with_later():
        main()
