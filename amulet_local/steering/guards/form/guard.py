"""Keeps the form of one answer. Knows nothing about how a form is said."""

from __future__ import annotations

from amulet_local.llama.token_search import Tokens, half_character, union
from amulet_local.preferences.form import Count, Form
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.guards.form.contents import Emojis, Mark, Mention
from amulet_local.steering.guards.form.edges import FirstHeading, FirstMark, FirstWords, LastWords
from amulet_local.steering.guards.form.holds import Hold, NoCharacters, NoWords
from amulet_local.steering.guards.form.lengths import (
    FewWords,
    Items,
    LeastWords,
    Paragraphs,
    Sentences,
    Units,
)
from amulet_local.steering.guards.form.position import Position
from amulet_local.steering.guards.form.questions import QuestionSentences
from amulet_local.steering.guards.form.sentence_ends import (
    LinePerSentence,
    SentenceMark,
    SentenceWords,
)
from amulet_local.steering.guards.form.spelling import NoContractions, TitleCase
from amulet_local.steering.guards.form.structure import Below, LineCount
from amulet_local.steering.guards.form.written import InScript
from amulet_local.steering.step import Step
from amulet_local.text.layout import count_words

QUOTE = '"'
CONTRACTIONS = "contractions"
NO_HEADING = ("markdown", "headings")
LISTS = ("1", "-")
LEAST_ITEMS = Count(2, None)
"""Of a list."""


class FormGuard(Guard):
    """Offers only what keeps the form that the preferences ask for."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with the form of these surroundings."""
        super().__init__(around)
        self._holds = _holds(around.form)
        self._last_bytes = b""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether it is switched on and there is a form to keep; a grammar has its own."""
        return (
            around.amulet.form_guard
            and bool(around.form)
            and around.vocabulary is not None
            and not around.text.is_json
        )

    def change(self, around: Surroundings) -> None:
        """Go on with the form of these surroundings."""
        if around.form != self.around.form:
            self._holds = _holds(around.form)
        super().change(around)

    def begin(self, step: Step) -> None:
        """Leave out what would break the form, or leave only what keeps it."""
        text = self.around.text
        if text.in_reasoning or text.in_code:
            return
        assert self.around.vocabulary is not None
        if half_character(self._last_bytes):
            step.leave_out(union([self.around.end_tokens]))
            return
        at = Position(text.answer, step, self.around.vocabulary, self.around.end_tokens)
        required = self._required(at)
        if len(required):
            step.require(required)
            return
        refused = [hold.refused(at) for hold in self._holds]
        if any(hold.lacks(at.text) for hold in self._holds):
            refused.append(self.around.end_tokens)
        all_refused = union(refused)
        if len(all_refused):
            step.leave_out(all_refused)

    def _required(self, at: Position) -> Tokens:
        for hold in self._holds:
            if len(required := hold.required(at)):
                return union([required])
        is_full = any(hold.is_full(at) for hold in self._holds)
        if not at.end_tokens or not (is_full or at.would_end):
            return union([])
        for hold in self._holds:
            if hold.lacks(at.text) and len(required := hold.more(at)):
                return union([required])
        return union([at.end_tokens] if is_full else [])

    def accept(self, token: int, step: Step | None) -> None:
        """Take note of the token."""
        assert self.around.vocabulary is not None
        piece = self.around.vocabulary.piece(token)
        self._last_bytes = (self._last_bytes + piece)[-3:]
        for hold in self._holds:
            hold.accept(piece)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the answer doesn't have as it was wished."""
        text = self.around.text.answer
        return tuple(note for hold in self._holds if (note := hold.unmet(text)))


def _holds(form: Form) -> list[Hold]:
    """What keeps a form; what is said first comes first."""
    holds: list[Hold] = []
    opening, closing = form.opening, form.closing
    if form.case != "lower":
        opening = opening[:1].upper() + opening[1:]
    if form.is_quoted:
        opening = QUOTE + opening
    if opening:
        holds.append(FirstWords(opening))
    elif form.has_heading and form.without.isdisjoint(NO_HEADING):
        holds.append(FirstHeading())
    elif form.first_mark and "markdown" not in form.without:
        holds.append(FirstMark(form.first_mark))
    if form.questions:
        holds.append(QuestionSentences(form.questions, form.case))
    if form.below:
        holds.append(Below(form.below.lower() if form.case == "lower" else form.below))
    if closing:
        holds.append(LastWords(closing))
    if form.is_quoted:
        holds.append(LastWords(QUOTE, is_mark=True))
    kinds = form.without - {CONTRACTIONS}
    case = None if form.case == "title" else form.case
    if kinds or form.without_letters or case:
        holds.append(NoCharacters(kinds, form.without_letters, case))
    if CONTRACTIONS in form.without:
        holds.append(NoContractions())
    if form.case == "title":
        holds.append(TitleCase())
    if form.script:
        holds.append(InScript(form.script))
    if form.without_words:
        holds.append(NoWords(form.without_words))
    if form.sentences:
        is_in_lines = bool(
            form.lines or form.items or form.first_mark or form.has_line_per_sentence
        )
        holds.append(Sentences(form.sentences, is_in_lines=is_in_lines))
    for most, unit, counted in (
        (form.words, "word", count_words),
        (form.characters, "character", len),
    ):
        if most:
            holds.append(Units(max(1, most - counted(closing)), unit, counted))
    if form.about_words and not form.has_length:
        holds.append(FewWords(form.about_words))
    if form.emojis:
        holds.append(Emojis(form.emojis))
    holds += [Mention(text, n) for text, n in form.mentions]
    holds += [Mark(kind) for kind in sorted(form.marks)]
    if form.least_words:
        holds.append(LeastWords(form.least_words))
    if form.lines:
        holds.append(LineCount(form.lines))
    items = form.items or (LEAST_ITEMS if form.first_mark.startswith(LISTS) else None)
    if items:
        holds.append(Items(items))
    if form.paragraphs:
        holds.append(Paragraphs(form.paragraphs))
    if form.sentence_end:
        holds.append(SentenceMark(form.sentence_end))
    if form.words_of_sentences:
        holds.append(SentenceWords(form.words_of_sentences))
    if form.has_line_per_sentence:
        holds.append(LinePerSentence())
    return holds
