"""Which tokens of a vocabulary continue a text that a grammar describes.

Knows nothing about probabilities: it is given candidates and leaves those that may follow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amulet_local.grammar.automaton import DEAD, UNKNOWN, Automaton
from amulet_local.grammar.gbnf import Grammar
from amulet_local.optimizer import candidate_kernels


class TokenTable:
    """The texts of a vocabulary's tokens as a tree, whose levels are the bytes of a text.

    Attributes:
        pieces: bytes of each token; none for those that add nothing to a text.
        end_tokens: ids that end an answer.
        levels: from the first byte of texts to the last one of the longest.
    """

    def __init__(self, pieces: Sequence[bytes], end_tokens: Collection[int]) -> None:
        self.pieces = pieces
        self.end_tokens = frozenset(end_tokens)
        tokens = [t for t, piece in enumerate(pieces) if piece and t not in self.end_tokens]
        tokens.sort(key=pieces.__getitem__)
        ids = np.array(tokens, dtype=np.intp)
        lengths = np.array([len(pieces[token]) for token in tokens], dtype=np.intp)
        data = np.frombuffer(b"".join(pieces[token] for token in tokens), dtype=np.uint8)
        starts = np.cumsum(lengths) - lengths
        self.levels: list[Level] = []
        nodes = np.zeros(len(ids), dtype=np.intp)
        place = 0
        while len(ids):
            values = data[starts + place]
            is_new = np.ones(len(ids), dtype=bool)
            is_new[1:] = (nodes[1:] != nodes[:-1]) | (values[1:] != values[:-1])
            parents, nodes = nodes[is_new], np.cumsum(is_new) - 1
            place += 1
            ends = lengths == place
            self.levels.append(Level(parents, values[is_new], ids[ends], nodes[ends]))
            ids, lengths, starts, nodes = (array[~ends] for array in (ids, lengths, starts, nodes))


class Level(NamedTuple):
    """The beginnings of texts that are so many bytes long, each once, in their order.

    Attributes:
        parents: which beginning of the level before it goes on; 0 in the first level.
        values: its last byte.
        tokens: ids of the tokens whose text ends here.
        nodes: which beginning the text of each of them is.
    """

    parents: NDArray[np.intp]
    values: NDArray[np.uint8]
    tokens: NDArray[np.intp]
    nodes: NDArray[np.intp]


class TokenFilter:
    """A grammar's view of one answer while it is made."""

    def __init__(self, grammar: Grammar, tokens: TokenTable) -> None:
        self._automaton = Automaton(grammar)
        self._state = self._automaton.start
        self._tokens = tokens

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
        allowed = np.zeros(len(self._tokens.pieces), dtype=bool)
        self._automaton.begin()
        states = np.array([self._state], dtype=np.int32)
        for level in self._tokens.levels:
            states = self._steps(states[level.parents], level.values)
            allowed[level.tokens] = states[level.nodes] != DEAD
            if not states.any():
                break
        allowed[list(self._tokens.end_tokens)] = self._automaton.may_end(self._state)
        return candidate_kernels.keep_allowed(candidates, allowed)

    def _steps(self, states: NDArray[np.int32], values: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The states after one byte each."""
        automaton = self._automaton
        following: NDArray[np.int32] = automaton.table[states, values]
        unknown = np.flatnonzero(following == UNKNOWN)
        for state, byte in sorted(set(zip(states[unknown], values[unknown], strict=True))):
            automaton.step(int(state), int(byte))
        following[unknown] = automaton.table[states[unknown], values[unknown]]
        return following

    def _after(self, token: int) -> int:
        self._automaton.begin()
        state = self._state
        for byte in self._tokens.pieces[token]:
            state = self._automaton.step(state, byte)
        return state
