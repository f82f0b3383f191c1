"""From texts that a user likes to token ids: the prompts of every row, and the answer's tokens.

Knows nothing about how rows are computed or weights are fitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from amulet_local.answering.request import token_ids
from amulet_local.common.errors import (
    EmptyPromptError,
    InvalidParameterError,
    InvalidRequestError,
    LikedTextError,
)
from amulet_local.learning.liked_texts import LikedText
from amulet_local.learning.teacher_forcing import GivenAnswer
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.choices import Placement
from amulet_local.prompts.prompter import Prompter

_SOME_ENDS = (
    "where the answer ends is known of some texts only, so nothing is learned from it; say "
    '"finished" (true or false) of every text, or of none'
)


def answers_to(
    texts: Iterable[LikedText],
    instructions: Sequence[str],
    prompter: Prompter,
    vocabulary: Vocabulary,
    *,
    system: str | None,
    placement: Placement,
    n_ctx: int,
) -> tuple[list[GivenAnswer], list[str]]:
    """The answers with a prompt for each instruction, and notes on how they were made.

    Where an answer ends is used only if it is known of all: who says it of the short ones alone
    makes every answer look short.

    Args:
        instructions: what each row adds, "" for the plain one, which is the first.
        system: system text of messages that bring none; a short default if None.
        placement: where the instruction goes.
        n_ctx: tokens that a row can hold.

    Raises:
        LikedTextError: a text that can't be used, with its place in front of the reason.
        InvalidParameterError: not texts, or none.
    """
    answers: list[GivenAnswer] = []
    notes: dict[str, None] = {}
    for number, text in enumerate(_checked(texts), start=1):
        try:
            prompts = prompter.prompts(
                text.messages, instructions, system=system, placement=placement
            )
            answer = _answer(text, prompts.rows, vocabulary)
            _check_length(answer, n_ctx)
        except InvalidRequestError as error:
            place = f"line {text.line}" if text.line else f"text {number}"
            raise LikedTextError(f"{place}: {error}", line=text.line) from None
        notes.update(dict.fromkeys(prompts.notes))
        answers.append(answer)
    if not answers:
        raise InvalidParameterError("there are no texts to learn from")
    ends = [answer.ended for answer in answers]
    if None in ends and any(end is not None for end in ends):
        answers = [replace(answer, ended=None) for answer in answers]
        notes[_SOME_ENDS] = None
    return answers, list(notes)


def _checked(texts: Any) -> list[LikedText]:
    listed = list(texts) if isinstance(texts, Iterable) else [texts]
    for text in listed:
        if not isinstance(text, LikedText):
            raise InvalidParameterError(
                f"texts must be a list of LikedText, got {type(text).__name__}"
            )
    return listed


def _answer(
    text: LikedText, prompts: Sequence[tuple[int, ...]], vocabulary: Vocabulary
) -> GivenAnswer:
    finished = text.finished
    ids: Sequence[int]
    if isinstance(text.answer, str):
        ids = vocabulary.tokenize(text.answer, add_special=False, parse_special=False)
    else:
        ids = token_ids(text.answer, vocabulary)
        ends = ids[-1] in vocabulary.end_tokens
        ids = ids[: len(ids) - ends]
        finished = ends if finished is None else finished
        if not vocabulary.end_tokens.isdisjoint(ids):
            raise EmptyPromptError("a token that ends an answer stands in the middle of one")
    if not ids:
        raise EmptyPromptError("the answer is empty")
    return GivenAnswer(
        prompts=tuple(prompts), tokens=tuple(ids), ended=finished, liked=bool(text.liked)
    )


def _check_length(answer: GivenAnswer, n_ctx: int) -> None:
    longest = max(map(len, answer.prompts))
    needed = longest + answer.n_positions - 1
    if needed > n_ctx:
        raise InvalidParameterError(
            f"the prompt has {longest} tokens, the answer {len(answer.tokens)}, and the context "
            f"holds {n_ctx}; leave the text out or use a larger context (n_ctx, -c {needed})"
        )
