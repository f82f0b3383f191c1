"""Watches an answer for what a large guidance scale does to it: loops, collapsed entropy, and text
that the preference prompt alone would hardly have written.

Knows nothing about logits. `Watch` says which tokens would go on with a loop, and by how much the
scale should be lowered; `LoopWatch` is the guard that goes by it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from amulet_local.llama.token_search import EDGE
from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step
from amulet_local.text.words import is_unspaced, words_of

MAX_PERIOD = 64
"""Longest stretch whose repetition is noticed, in tokens."""

STRICTNESS = ((8, 2), (8, 1), (6, 1))
"""(n, k) at first, soon after one loop, and soon after two: n tokens that stand in the answer
already are a repetition, and what followed them k times before may not follow them again."""

STANDSTILL = (12, 1)
"""The same where a sentence or a line has ended: a copy of it is a repetition, and the next one may
be another one without harm."""

NEAR = 64
"""Tokens back in which the watch is stricter after a loop: further away, what comes again is a name
or a phrase, of which any long text has some."""

RECENT = 128
"""Tokens for which a loop, a collapse or a straying counts, in strictness and in scale."""

APART = 8
"""Tokens after which what is refused belongs to another loop."""

WORD_COPIES = 3
"""A word may stand so often in a row: three times is rhetoric, four a loop."""

WORD_LETTERS = 3
"""A token with so many letters and more is a word: "ha ha ha ha" isn't one."""

LIST_NUMBER = -1
"""What the number of a list's item counts as: "1. Rest. 2. Rest. 3. Rest." repeats itself."""

LIST_MARKS = (".", ")")
"""What stands behind such a number; behind ":" it may be an hour of a timetable."""

_MARKS_IN_A_ROW = re.compile(r"[!?¡¿][!?¡¿\s]{7,}$|[¡¿][¡¿\s]{2,}$")
_LETTERS_IN_A_ROW = re.compile(r"([^\W\d_])\1{11,}$", re.I)
"""So many that no more may come: "!!!!!!!!", "¡¡¡", "Arrrrrrrrrrrr"."""

_LAYOUT = " *_`#|"
"""Marks of Markdown around words, and spaces."""

WINDOW = 16
"""Tokens over which entropies are averaged."""

COLLAPSED_SHARE = 0.1
"""Share of the reference's entropy below which the realigned one has collapsed."""

UNSURE_NATS = 0.5
"""Entropy of the reference from which on a choice is a choice."""

STRAY_TOKENS = 8
STRAYS = {False: (0.7, 0.3), True: (0.25, 0.0)}
"""Whether tokens are drawn -> (from, until): an answer strays when its last tokens surprise the
reference by more nats on average than the first of these, and has found its way when they do so by
less than the second."""


@dataclass(frozen=True, slots=True)
class TokenRole:
    """What a token is in the text, and where the text stands behind it.

    Attributes:
        is_word: it has letters enough.
        is_list_mark: it makes the number before it one of a list, "." behind "3".
        opens: it is the first word of a sentence, a line or an item.
        may_open: the next one may be that.
        ends_sentence: a sentence or a line has ended.
        may_repeat: what comes may repeat what was said.
    """

    is_word: bool = False
    is_list_mark: bool = False
    opens: bool = False
    may_open: bool = False
    ends_sentence: bool = False
    may_repeat: bool = False


NO_ROLE = TokenRole()


class Watch:
    """Follows one answer."""

    def __init__(self, *, is_drawn: bool = False) -> None:
        self._stray_nats, self._found_nats = STRAYS[is_drawn]
        self._strays = False
        self._n_strays = 0
        self._surprises: deque[float] = deque(maxlen=STRAY_TOKENS)
        self._tokens: list[int] = []
        self._compared: list[int] = []
        self._positions: defaultdict[int, list[int]] = defaultdict(list)
        self._refused: list[int] = []
        self._refused_at = -APART
        self._n_loops = 0
        self._n_collapses = 0
        self._openers: list[int] = []
        self._may_open = False
        self._loops: deque[int] = deque()
        self._events: deque[int] = deque()
        self._entropies: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    @property
    def factor(self) -> float:
        """What to multiply the scale's excess over 1 by.

        Halved by each recent loop, collapse and straying; 0 while the answer strays.
        """
        return 0.0 if self._strays else 0.5 ** len(self._events)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was done, for the user."""
        parts = []
        if self._n_loops:
            parts.append(f"began to repeat itself ({_times(self._n_loops)})")
        if self._n_collapses:
            parts.append(f"stopped having a choice of words ({_times(self._n_collapses)})")
        if self._n_strays:
            parts.append(f"became improbable ({_times(self._n_strays)})")
        if not parts:
            return ()
        done = "the strength was lowered"
        if self._n_loops:
            done = "the repetition was broken off and " + done
        return (f"the answer {' and '.join(parts)}; {done} (watch=False, --no-watch: left alone)",)

    def accept(self, token: int, role: TokenRole = NO_ROLE) -> None:
        """Take the next token, by its id, and what it is in the text."""
        if role.is_list_mark and self._compared:
            self._positions[self._compared[-1]].pop()
            self._compared[-1] = LIST_NUMBER
            self._positions[LIST_NUMBER].append(len(self._compared) - 1)
            if self._openers and self._openers[-1] == len(self._tokens) - 1:
                self._openers.pop()
        if role.opens:
            self._openers.append(len(self._tokens))
        self._may_open = role.may_open and not role.may_repeat
        self._tokens.append(token)
        self._compared.append(token)
        for events in (self._loops, self._events):
            while events and events[0] <= len(self._tokens) - RECENT:
                events.popleft()
        self._refused = [] if role.may_repeat else self._repetitions(role)
        self._positions[token].append(len(self._tokens) - 1)
        if not self._refused:
            return
        if len(self._tokens) - self._refused_at > APART:
            self._n_loops += 1
            self._loops.append(len(self._tokens))
            self._events.append(len(self._tokens))
        self._refused_at = len(self._tokens)

    def note_entropies(self, realigned: float, reference: float) -> None:
        """Take the entropies, in nats, of the distribution chosen from and of the reference."""
        self._entropies.append((realigned, reference))
        if len(self._entropies) < WINDOW:
            return
        mean_realigned = sum(pair[0] for pair in self._entropies) / WINDOW
        mean_reference = sum(pair[1] for pair in self._entropies) / WINDOW
        if mean_reference >= UNSURE_NATS and mean_realigned < COLLAPSED_SHARE * mean_reference:
            self._n_collapses += 1
            self._events.append(len(self._tokens))
            self._entropies.clear()

    def note_surprise(self, surprise: float) -> None:
        """Take by how many nats the token is less likely than what the reference would choose.

        This is log p1(likeliest) - log p1(token) where the likeliest token is taken, and
        -log p1(token) - H(p1) where one is drawn (the typicality of Meister et al.,
        arXiv 2202.00666): 0 on average for the reference's own text, in whatever language and
        however sure of itself the model is.
        """
        self._surprises.append(surprise)
        if len(self._surprises) < STRAY_TOKENS:
            return
        mean = sum(self._surprises) / STRAY_TOKENS
        if self._strays:
            self._strays = mean > self._found_nats
        elif mean > self._stray_nats:
            self._strays = True
            self._n_strays += 1
            self._events.append(len(self._tokens))

    def refused(self) -> list[int]:
        """Tokens that would go on with a loop: a third copy in a row, or one copy too many.

        Soon after a loop also those with which the sentences near it began: the next is another.
        """
        if not (self._loops and self._may_open):
            return self._refused
        near = len(self._tokens) - NEAR
        openers = {self._tokens[place] for place in self._openers if place >= near}
        return sorted(openers.union(self._refused))

    def _repetitions(self, role: TokenRole) -> list[int]:
        tokens = self._tokens
        end = len(tokens) - 1
        strictest = STRICTNESS[min(len(self._loops), len(STRICTNESS) - 1)]
        rules = [(STRICTNESS[0], end), (strictest, NEAR)]
        if role.ends_sentence:
            rules.append((STANDSTILL, end))
        shortest = min(stretch for (stretch, _), _ in rules)
        places = self._positions[tokens[end]]
        matches = [(place, n) for place in places if (n := self._matched(place)) >= shortest]
        refused = set()
        for (stretch, allowed), most in rules if matches else ():
            followers: Counter[int] = Counter()
            for place, n_matched in matches:
                period = end - place
                if period > most or n_matched < stretch:
                    continue
                followers[tokens[place + 1]] += 1
                if period <= MAX_PERIOD and n_matched >= period:
                    refused.add(tokens[place + 1])
            refused.update(token for token, count in followers.items() if count >= allowed)
        if role.is_word and tokens[-WORD_COPIES:] == tokens[-1:] * WORD_COPIES:
            refused.add(tokens[-1])
        return sorted(refused)

    def _matched(self, position: int) -> int:
        """How many tokens up to `position` equal the last ones, up to MAX_PERIOD."""
        tokens = self._compared
        end = len(tokens) - 1
        n = 0
        while n < MAX_PERIOD and position - n >= 0 and tokens[position - n] == tokens[end - n]:
            n += 1
        return n


class LoopWatch(Guard):
    """Breaks loops off, and lowers the scale where the watch wants it lower."""

    def __init__(self, around: Surroundings) -> None:
        """Begin to watch."""
        super().__init__(around)
        self._watch = Watch(is_drawn=around.is_drawn)
        self._after_number = False
        self._may_open = True

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the watch is on."""
        return around.amulet.watch

    def refused(self, step: Step) -> Sequence[int]:
        """The tokens that would go on with a loop, whatever the case of the word they begin.

        A word that has begun is ended: another end of it would be no word. What lays a word out may
        come: another one there would be no layout ("5. *Rest**"). A long row of marks, or of one
        letter, comes to an end.
        """
        vocabulary, text, refused = self.around.vocabulary, self.around.text, self._watch.refused()
        more = "" if text.in_code or text.is_json else _more_in_a_row(text.tail)
        if vocabulary is not None and more:
            return sorted({*refused, *map(int, vocabulary.token_search.having(more))})
        if vocabulary is None or not refused:
            return refused
        last = text.tail[-1:]
        in_word = last.isalnum() and not is_unspaced(last)
        tokens = set[int]()
        for token in refused:
            piece = self._piece(token)
            if in_word and piece[:1].isalnum():
                continue
            if _is_layout(piece) and not _is_layout(last):
                continue
            tokens.add(token)
            for word in words_of(piece)[:1]:
                starts = vocabulary.word_starts
                tokens.update(starts.beginning(word, in_word=in_word, ends_small=last.islower()))
        return sorted(tokens)

    def act(self, step: Step) -> None:
        """Lower the scale's excess over 1."""
        step.scale = 1.0 + (step.scale - 1.0) * self._watch.factor

    def observe(self, step: Step) -> None:
        """Take note of the entropies where a token is steered."""
        if step.scale > 1:
            self._watch.note_entropies(step.entropy(), step.rows.entropy())

    def accept(self, token: int, step: Step | None) -> None:
        """Take note of the token, and of how much it surprises a reference that is followed."""
        piece, text = self._piece(token), self.around.text
        is_list_mark = self._after_number and piece.startswith(LIST_MARKS)
        has_word = any(map(str.isalnum, piece))
        opens = self._may_open and has_word
        ends_sentence = text.ends_sentence or text.tail.endswith("\n")
        self._may_open = ends_sentence or is_list_mark or (self._may_open and not has_word)
        role = TokenRole(
            is_word=sum(map(str.isalpha, piece)) >= WORD_LETTERS,
            is_list_mark=is_list_mark,
            opens=opens,
            may_open=self._may_open,
            ends_sentence=ends_sentence,
            may_repeat=text.in_code or text.is_json,
        )
        self._watch.accept(token, role)
        self._after_number = piece.strip().isdecimal()
        if step is not None and step.has_preference and step.scale >= 1:
            reference = step.possible
            expected = (
                -reference.entropy() if self.around.is_drawn else reference.log_p(reference.top)
            )
            self._watch.note_surprise(expected - reference.log_p(token))

    def _piece(self, token: int) -> str:
        vocabulary = self.around.vocabulary
        return "" if vocabulary is None else vocabulary.piece(token).decode("utf-8", "ignore")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the watch did."""
        return self._watch.warnings


def _more_in_a_row(tail: str) -> str:
    """A pattern of the tokens with which a row that is too long would go on; empty if none is."""
    if _MARKS_IN_A_ROW.search(tail):
        return rf"(?<={EDGE})\s*[!?¡¿]"
    letters = _LETTERS_IN_A_ROW.search(tail)
    return rf"(?<={EDGE})(?i:{letters[1]})" if letters else ""


def _is_layout(text: str) -> bool:
    return bool(text.strip()) and not text.strip(_LAYOUT)


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
