"""Keeps a preference from making the model decline what it answers plainly.

Small models answer "I'm sorry, but I can't assist with that." to a harmless question with "for a
ten-year-old" behind it, and "申し訳ありませんが" to a wish in Japanese. Where the plain answer
would begin otherwise, the words of such an opening aren't offered; where it would begin like that
too, declining is the model's own and stays. Knows nothing about what is harmful.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.instructions import text_of
from amulet_local.steering.step import Step
from amulet_local.text.words import GrowingWords, words_of

PLAIN_OPENS = 0.1
"""Probability from which on the plain answer may begin as one that declines does."""

OPENING_WORDS = 8
"""In which an answer declines, a greeting included ("Oh, hello there! I'm sorry")."""

_FIRST_WORDS = ("i", "sorry", "unfortunately", "as", "my")
"""With which an answer that declines begins."""

PART_LETTERS = 3
"""Letters of such a word from which on a token is one, where no token has all of it. One is enough
behind other words, and of letters that English hasn't."""

_SORRY = ("sorry", "unable", "afraid", "not")
_DECLINES: dict[tuple[str, ...], tuple[str, ...]] = {
    (): ("sorry",),
    ("oh",): ("sorry",),
    ("i", "m"): _SORRY,
    ("i", "am"): _SORRY,
    ("i", "can"): ("t", "not"),
    ("i", "will"): ("not",),
    ("as", "an"): ("ai",),
    ("m", "an"): ("ai",),
    ("m", "a"): ("computer", "language"),
    ("i",): ("cannot", "won", "refuse", "apologize", "apologise"),
}
"""What isn't said behind the last words of an opening, adverbs left out."""

_ADVERBS = frozenset(("really", "very", "so", "truly", "terribly", "just"))

_FIRST_WORDS_ELSEWHERE = ("je", "es", "lo", "mi")
_DECLINES_ELSEWHERE: dict[tuple[str, ...], tuple[str, ...]] = {
    (): (
        *("désolé", "désolée", "entschuldigung", "desculpe", "tyvärr", "üzgünüm", "özür"),
        *("извините", "простите", "抱歉", "很抱歉", "对不起", "申し訳", "すみません", "ごめん"),
    ),
    ("je", "suis"): ("désolé", "désolée"),
    ("tut", "mir"): ("leid",),
    ("lo",): ("siento", "lamento"),
    ("mi",): ("dispiace",),
    ("sinto",): ("muito",),
    ("xin",): ("lỗi",),
}
"""The same in other languages, as their words are usually split into tokens: to look at all tokens
for them takes some tenths of a second."""

END_TOKENS = 400
"""Of a prompt, in which such an opening is asked for."""

_MEANT = frozenset(
    (
        *("sorry", "apology", "apologise", "apologize", "apologetic", "refuse", "decline"),
        *("unsure", "uncertain", "doubt", "doubtful", "hesitant", "hesitate", "hedge"),
        *("modest", "humble", "shy"),
    )
)
"""Words of a prompt that ask for such an opening, or may."""


class DeclineGuard(Guard):
    """Refuses the words with which an answer declines, where the plain one wouldn't."""

    def __init__(self, around: Surroundings) -> None:
        """Begin with the prompts of these surroundings."""
        super().__init__(around)
        self._answer = GrowingWords()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._plain_opens = 1.0
        self._is_meant = False
        self.change(around)

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether it is switched on and there are two prompts to tell apart."""
        amulet = around.amulet
        is_steered = len(around.prompts) > 1 and around.vocabulary is not None
        return amulet.decline_guard and is_steered and not around.text.is_json

    def change(self, around: Surroundings) -> None:
        """Go on with the prompts of these surroundings."""
        super().change(around)
        assert around.vocabulary is not None
        ends = [text_of(around.vocabulary, prompt[-END_TOKENS:]) for prompt in around.prompts]
        self._is_meant = any(not _MEANT.isdisjoint(words_of(text)) for text in ends)

    @property
    def _vocabulary(self) -> Vocabulary:
        assert self.around.vocabulary is not None
        return self.around.vocabulary

    def refused(self, step: Step) -> Sequence[int]:
        """The tokens that would decline here."""
        answer, text = self._answer, self.around.text
        if self._is_meant or text.in_reasoning or answer.n_words > OPENING_WORDS:
            return ()
        if not text.answer.strip():
            self._plain_opens = self._probability(step)
        if self._plain_opens >= PLAIN_OPENS:
            return ()
        last = tuple(word for word in answer.words if word not in _ADVERBS)[-2:]
        return sorted({token for key in {last, last[-1:]} for token in self._declining(key)})

    def _declining(self, behind: tuple[str, ...]) -> list[int]:
        """The tokens that decline behind these words."""
        words, elsewhere = _DECLINES.get(behind, ()), _DECLINES_ELSEWHERE.get(behind, ())
        return [token for word in words for token in self._saying(word)] + [
            token
            for word in elsewhere
            for token, text in self._beginnings(word)
            if behind or not text.isascii() or len(text) >= PART_LETTERS
        ]

    def _probability(self, step: Step) -> float:
        """With which the plain answer begins as one that declines."""
        tokens = [token for word in _FIRST_WORDS for token in self._saying(word)]
        begun = [token for word in _FIRST_WORDS_ELSEWHERE for token, _ in self._beginnings(word)]
        return step.reference.plain_share(sorted({*tokens, *begun, *self._declining(())}))

    def _saying(self, word: str) -> list[int]:
        """The tokens of a word, or those that say enough of how it begins."""
        starts = self._vocabulary.word_starts
        if tokens := starts.saying(word):
            return tokens
        begun = starts.beginning(word, in_word=False, ends_small=False)
        return [token for token in begun if len(self._letters(token)) >= PART_LETTERS]

    def _beginnings(self, word: str) -> set[tuple[int, str]]:
        """The tokens with which the vocabulary begins this word, and their letters."""
        forms = (gap + form for gap in ("", " ") for form in (word, word.capitalize()))
        tokens = [
            self._vocabulary.tokenize(form, add_special=False, parse_special=False)[0]
            for form in forms
        ]
        return {(token, text) for token in tokens if (text := self._letters(token))}

    def _letters(self, token: int) -> str:
        return self._vocabulary.piece(token).decode("utf-8", "ignore").strip()

    def accept(self, token: int, step: Step | None) -> None:
        """Take the answer's next token."""
        if not self.around.text.in_reasoning:
            self._answer.push(self._decoder.decode(self._vocabulary.piece(token)))
