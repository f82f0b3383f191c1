"""Which tokens of a vocabulary continue a text that a grammar describes.

Knows nothing about probabilities: it is given candidates and leaves those that may follow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from amulet_local.grammar.automaton import Automaton
from amulet_local.grammar.gbnf import Grammar


class TokenTable:
    """The texts of a vocabulary's tokens, sorted so that those that begin alike are neighbours.

    Attributes:
        pieces: bytes of each token; none for those that add nothing to a text.
        end_tokens: ids that end an answer.
        ids: int32[n], the tokens with a text, sorted by it.
        data, offsets: uint8[], int32[n + 1]: the text of token ids[i] is
            data[offsets[i] : offsets[i + 1]].
        shared: int32[n], bytes that the text has in common with the one before.
        longest: length of the longest text, in bytes.
    """

    def __init__(self, pieces: Sequence[bytes], end_tokens: Collection[int]) -> None:
        from amulet_local.optimizer import candidate_kernels  # imports Numba

        self.pieces = pieces
        self.end_tokens = frozenset(end_tokens)
        tokens = [t for t, piece in enumerate(pieces) if piece and t not in self.end_tokens]
        tokens.sort(key=pieces.__getitem__)
        lengths = [len(pieces[token]) for token in tokens]
        self.ids = np.array(tokens, dtype=np.int32)
        self.data = np.frombuffer(b"".join(pieces[token] for token in tokens), dtype=np.uint8)
        self.offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        self.shared = np.empty(len(tokens), dtype=np.int32)
        self.longest = max(lengths, default=0)
        candidate_kernels.shared_prefixes(self.data, self.offsets, self.shared)


class TokenFilter:
    """A grammar's view of one answer while it is made."""

    def __init__(self, grammar: Grammar, tokens: TokenTable) -> None:
        from amulet_local.optimizer import candidate_kernels  # imports Numba

        self._automaton = Automaton(grammar)
        self._state = self._automaton.start
        self._tokens = tokens
        self._kernels = candidate_kernels
        self._allowed = np.zeros(len(tokens.pieces), dtype=np.uint8)
        self._path = np.empty(tokens.longest + 1, dtype=np.int32)

    def allows(self, token: int) -> bool:
        """Whether `token` may come next.

        Raises:
            InvalidParameterError: the grammar is too ambiguous.
        """
        if token in self._tokens.end_tokens:
            return self._automaton.may_end(self._state)
        return bool(self._tokens.pieces[token]) and self._after(token) != 0

    def accept(self, token: int) -> None:
        """The answer goes on with `token`, which has to be allowed.

        Raises:
            InvalidParameterError: the grammar is too ambiguous.
        """
        if token not in self._tokens.end_tokens:
            self._state = self._automaton.settle(self._after(token))

    def keep_allowed(self, candidates: NDArray[np.int32]) -> int:
        """Move the candidates that may come next, and have a probability, to the front.

        Args:
            candidates: int32[3 * n], the bits of n llama_token_data. Overwritten.

        Returns:
            How many are left.

        Raises:
            InvalidParameterError: the grammar is too ambiguous.
        """
        automaton, tokens = self._automaton, self._tokens
        automaton.begin()
        index, alive = 0, 0
        while index < len(tokens.ids):
            index, alive, state, byte = self._kernels.walk_tokens(
                automaton.table,
                self._state,
                tokens.data,
                tokens.offsets,
                tokens.shared,
                tokens.ids,
                index,
                alive,
                self._path,
                self._allowed,
            )
            if index < len(tokens.ids):
                automaton.step(state, byte)
        self._allowed[list(tokens.end_tokens)] = automaton.may_end(self._state)
        return int(self._kernels.keep_allowed(candidates, self._allowed))

    def _after(self, token: int) -> int:
        self._automaton.begin()
        state = self._state
        for byte in self._tokens.pieces[token]:
            state = self._automaton.step(state, byte)
        return state
