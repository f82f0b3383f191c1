"""Text whose token ids are known, and where it may be cut: a conversation so far.

Knows nothing about templates or tokenizers. An answer's tokens are in the model's memory as they
were generated; tokenised again, its text may give others. So the ids of a text are kept with it,
and where a later prompt begins with the same text, it begins with the same ids.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from amulet_local.prompts.literal_text import Match


class Cut(NamedTuple):
    """A place where other text may follow: the end of an answer.

    Attributes:
        n_turns: turns that end there or before.
        n_characters, n_tokens: how much of the text and of its ids comes before it.
    """

    n_turns: int
    n_characters: int
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class KnownText:
    """A rendered text and its token ids.

    Attributes:
        text: with the users' text as it was typed.
        markers: the template's own control tokens in it: text alone doesn't tell them from ones
            that somebody typed.
        token_ids: of all of it.
        cuts: where it may be cut, in order.
    """

    text: str = ""
    markers: tuple[Match, ...] = ()
    token_ids: tuple[int, ...] = ()
    cuts: tuple[Cut, ...] = ()

    def shared_cuts(self, text: str, markers: Sequence[Match]) -> tuple[Cut, ...]:
        """The cuts up to which another text is the same, its control tokens included."""
        for index in range(len(self.cuts) - 1, -1, -1):
            n = self.cuts[index].n_characters
            mine, other = _before(self.markers, n), _before(markers, n)
            if mine == other and text[:n] == self.text[:n] and all(m[1] <= n for m in other):
                return self.cuts[: index + 1]
        return ()

    def with_answer(
        self, text: str, token_ids: Sequence[int], markers: Sequence[Match], n_turns: int
    ) -> KnownText:
        """This prompt and the answer to it, which ends turn number `n_turns`.

        Args:
            markers: control tokens that the template leaves in the answer, positions in `text`.
        """
        start = len(self.text)
        ids = (*self.token_ids, *token_ids)
        return KnownText(
            text=self.text + text,
            markers=(*self.markers, *((start + a, start + b, token) for a, b, token in markers)),
            token_ids=ids,
            cuts=(*self.cuts, Cut(n_turns, start + len(text), len(ids))),
        )

    def cut_to(self, n_turns: int) -> KnownText:
        """What is known of the first `n_turns`, or of fewer where there is no cut after them."""
        cuts = tuple(cut for cut in self.cuts if cut.n_turns <= n_turns)
        if not cuts:
            return KnownText()
        _, n_characters, n_tokens = cuts[-1]
        return KnownText(
            text=self.text[:n_characters],
            markers=tuple(_before(self.markers, n_characters)),
            token_ids=self.token_ids[:n_tokens],
            cuts=cuts,
        )


def _before(markers: Sequence[Match], n_characters: int) -> list[Match]:
    """The markers that begin before a place; they are in the order of their beginnings."""
    return list(markers[: bisect_left(markers, (n_characters, 0, 0))])
