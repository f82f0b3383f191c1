"""What was said so far and a new question -> the token ids of each row's prompt.

Knows nothing about who asks, about settings or about how rows are computed. The ids of an answer
stay those that the model generated, wherever the template leaves its text as it was: then a prompt
begins with the tokens that are in memory from the turn before, and only new text is computed.

The prompt of turn k is made from the prompt of turn k - 1, its answer and what the template adds.
What is made that way is remembered, and is the same when it is made anew from the turns alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from amulet_local.common.results import FinishReason
from amulet_local.llama.vocabulary import TextStream, Vocabulary
from amulet_local.params.choices import Placement
from amulet_local.prompts.chat_template import ChatTemplate
from amulet_local.prompts.contrast import row_instructions
from amulet_local.prompts.known_text import KnownText
from amulet_local.prompts.messages import Message, with_preference


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question and the answer to it.

    Attributes:
        question: what the user typed.
        answer: the text.
        token_ids: its tokens as they were generated, the one that ended it and those of reasoning
            included.
        reasoning: what a thinking model wrote to itself before it; later prompts don't have it.
        finish_reason: why it ended; a "cancelled" answer is what there was of it.
        n_dropped: how many turns before it its prompt left out, because the context was full.
        preferences: what it was to follow, by name.
        seed: the seed of its draws, None if greedy.
    """

    question: str
    answer: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    n_dropped: int = 0
    preferences: tuple[str, ...] = ()
    seed: int | None = None
    reasoning: str = ""


@dataclass(frozen=True, kw_only=True)
class _RowTurns:
    """Turns as one row has them: the last prompt and the answer to it.

    Attributes:
        turns: which.
        contents: what the template gets of each answer.
        known: the ids.
    """

    turns: tuple[Turn, ...] = ()
    contents: tuple[str, ...] = ()
    known: KnownText = field(default_factory=KnownText)

    def cut_to_common(self, turns: Sequence[Turn]) -> _RowTurns:
        """What of it holds for these turns as well."""
        n_common = 0
        for mine, other in zip(self.turns, turns):  # noqa: B905 (the shorter one ends it)
            if mine is not other and mine != other:
                break
            n_common += 1
        if n_common == len(self.turns):
            return self
        known = self.known.cut_to(n_common)
        if not known.cuts:
            return _RowTurns()
        kept = self.turns[: known.cuts[-1].n_turns]
        return _RowTurns(
            turns=kept, contents=(*self.contents[: len(kept) - 1], kept[-1].answer), known=known
        )


class PromptMemory:
    """What was made for the prompts before, by the text that a row begins with."""

    def __init__(self, rows: Mapping[str, _RowTurns] | None = None) -> None:
        self._rows = {} if rows is None else dict(rows)

    def copy(self) -> PromptMemory:
        """Another one that starts with the same."""
        return PromptMemory(self._rows)

    def of(self, system: str, turns: Sequence[Turn]) -> _RowTurns:
        """The beginning of these turns, in a row with this system text."""
        return self._rows.get(system, _RowTurns()).cut_to_common(turns)

    def keep(self, rows: dict[str, _RowTurns]) -> None:
        """Remember these rows, and only these."""
        self._rows = rows

    @property
    def rows(self) -> dict[str, _RowTurns]:
        """All of it, for `keep`."""
        return dict(self._rows)

    def turns_to_drop(self, n_tokens: int) -> int:
        """How many of the oldest turns to leave out, of those in the prompts made last.

        The older half of them in tokens, and more where these aren't `n_tokens`: what is left is
        computed anew, which should not happen at every turn.
        """
        longest = max(self._rows.values(), key=lambda row: len(row.known.token_ids))
        cuts, n_turns = longest.known.cuts, len(longest.turns)
        if len(cuts) < 2:
            return (n_turns + 1) // 2
        start = cuts[0].n_tokens - len(longest.turns[0].token_ids)  # its question isn't counted
        wanted = max(n_tokens, (cuts[-1].n_tokens - start) // 2)
        enough = (cut.n_turns for cut in cuts if cut.n_tokens - start >= wanted)
        return next(enough, n_turns)


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """Turns and a question to answer.

    Attributes:
        turns: those that the prompt has.
        question: what comes after them.
        now: what the template takes for the present, in all turns: another one changes prompts
            from where the template writes it.
        memory: of the conversation.
    """

    turns: tuple[Turn, ...]
    question: str
    now: datetime
    memory: PromptMemory

    def prompts(
        self,
        template: ChatTemplate,
        vocabulary: Vocabulary,
        instructions: Sequence[str],
        *,
        system: str,
        placement: Placement,
    ) -> tuple[list[tuple[int, ...]], list[str], list[str]]:
        """Token ids of one prompt per instruction, notes on how they were made, and their texts.

        An instruction in the user's turn is in the question only: the turns before it are the same
        in all rows.

        Args:
            instructions: what each row adds, "" for the plain one.
            system: the system text.
            placement: where the instruction goes.

        Returns:
            The ids, the notes, and the texts of the prompts.

        Raises:
            As `ChatTemplate.encode`.
        """
        prompts, texts = [], []
        notes: dict[str, None] = {}
        rows: dict[str, _RowTurns] = {}
        for instruction in row_instructions(instructions, placement):
            begins, ends = (instruction, "") if placement == "system" else ("", instruction)
            (opening, *_) = with_preference(
                [{"role": "user", "content": self.question}], system=system, preference=begins
            )
            first = opening["content"]
            if first not in rows:
                rows[first] = self._caught_up(template, vocabulary, first)
            prompt, _, more = self._prompt(template, rows[first], first, self.question, ends)
            prompts.append(prompt.token_ids)
            texts.append(prompt.text)
            notes.update(dict.fromkeys(more))
        self.memory.keep(rows)
        return prompts, list(notes), texts

    def _caught_up(self, template: ChatTemplate, vocabulary: Vocabulary, system: str) -> _RowTurns:
        """All turns, for rows with this system text."""
        row = self.memory.of(system, self.turns)
        for turn in self.turns[len(row.turns) :]:
            prompt, contents, _ = self._prompt(template, row, system, turn.question, "")
            ids = generated_ids(turn, vocabulary)
            if ids is not None:
                markers = template.markers_in_answer(turn.answer)
                prompt = prompt.with_answer(turn.answer, ids, markers, len(row.turns) + 1)
            row = _RowTurns(
                turns=(*row.turns, turn), contents=(*contents, turn.answer), known=prompt
            )
        return row

    def _prompt(
        self, template: ChatTemplate, row: _RowTurns, system: str, question: str, instruction: str
    ) -> tuple[KnownText, tuple[str, ...], tuple[str, ...]]:
        """The prompt of one row, what its template got of each answer, and notes.

        Some templates put a blank before an answer that begins with one already, so the last
        answer is tried without blanks around it if its ids don't fit as it is.
        """
        n_turns = len(row.turns)
        attempts = []
        answer = row.contents[-1] if row.contents else ""
        for content in dict.fromkeys((answer, answer.strip())):
            contents = (*row.contents[:-1], content) if row.contents else ()
            messages: list[Message] = [{"role": "system", "content": system}]
            for turn, text in zip(row.turns, contents, strict=True):
                messages.append({"role": "user", "content": turn.question})
                messages.append({"role": "assistant", "content": text})
            messages.append({"role": "user", "content": question})
            messages = with_preference(
                messages, system=system, preference=instruction, placement="user"
            )
            prompt, notes = template.encode_after(row.known, messages, now=self.now)
            attempts.append((prompt, contents, notes))
            cuts = row.known.cuts
            if not cuts or cuts[-1].n_turns < n_turns or prompt.cuts == cuts:
                return attempts[-1]
        return attempts[0]


def generated_ids(turn: Turn, vocabulary: Vocabulary) -> tuple[int, ...] | None:
    """The generated ids of an answer, as far as they spell its text; None if they don't.

    Tokens that end an answer aren't part of it, nor is a stop text, nor are half characters that
    its text doesn't have.
    Ids that hold a control token aren't used: the answer's text says all that stays of it.
    """
    ids = list(turn.token_ids)
    while ids and ids[-1] in vocabulary.end_tokens:
        ids.pop()
    stream = TextStream(vocabulary)
    text = ""
    for n, token in enumerate(ids, 1):
        if not 0 <= token < vocabulary.n_tokens or not vocabulary.piece(token):
            return None
        piece = stream.push(token)
        text += piece
        if piece and text == turn.answer:
            return tuple(ids[:n])
    return None if text or turn.answer else ()
