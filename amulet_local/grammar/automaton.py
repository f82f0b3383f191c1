"""An automaton over bytes for a grammar, built as far as a text needs it.

Knows nothing about tokens. What may follow a text is a set of stacks: what is left of each rule
that was entered, for every way to read the text so far. Such a set is a state; states and the
steps between them are kept in a table that grows when a step is taken for the first time. Text
can be ambiguous in more ways than fit any memory, so the work between two calls of `begin` is
limited.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar.gbnf import END, Grammar

MAX_STACKS = 4096
"""Ways to read a text, in one state."""
MAX_STATES = 16_384
"""States in the table, a kilobyte each."""
MAX_NODES = 300_000
"""Parts of stacks that are kept."""
MAX_KEPT = 1_000_000
"""Stacks in all states that are kept; with MAX_WORK more for a while."""
MAX_WORK = 1_000_000
"""Stacks looked at between two calls of `begin`; about a second."""

DEAD = 0
"""The state of a text that no continuation makes right."""
UNKNOWN = -1
"""In the table: a step that was never taken."""

_BOTTOM = 0
"""The empty stack: the text may end here."""


class Automaton:
    """States of one grammar. Not safe for use by two threads at once.

    Attributes:
        table: int32, shape (states, 256): the state after each byte, or UNKNOWN. Another array
            after a step that was UNKNOWN.
        start: the state of the empty text; DEAD is never one.
    """

    def __init__(self, grammar: Grammar) -> None:
        """Begin with the empty text.

        Raises:
            InvalidParameterError: it can begin in too many ways.
        """
        self._grammar = grammar
        self._members = _alike(grammar.byte_sets)
        self._group_of = np.empty(256, dtype=np.int32)
        for group, members in enumerate(self._members):
            self._group_of[members] = group
        self._forget()
        self.begin()
        stacks: set[int] = set()
        for position in grammar.starts[grammar.root]:
            self._expand(position, _BOTTOM, stacks)
        self.start = self._state(stacks)

    def begin(self) -> None:
        """Allow MAX_WORK from here on."""
        self._work = 0

    def step(self, state: int, byte: int) -> int:
        """The state after one more byte.

        Raises:
            InvalidParameterError: there are too many ways to read the text.
        """
        target = int(self.table[state, byte])
        if target == UNKNOWN:
            before = self._stacks[state]
            self._work += len(before)
            stacks: set[int] = set()
            for node in before:
                if node != _BOTTOM and self._sets[node] >> byte & 1:
                    stacks.update(self._after(node))
            target = self._state(stacks)
            self.table[state, self._members[self._group_of[byte]]] = target
        return target

    def may_end(self, state: int) -> bool:
        """Whether the text is complete in this state."""
        return _BOTTOM in self._stacks[state]

    def settle(self, state: int) -> int:
        """Make room where much is kept; returns the state's new number."""
        few_states = len(self._stacks) <= MAX_STATES // 2
        if few_states and len(self._positions) <= MAX_NODES // 2 and self._n_kept <= MAX_KEPT:
            return state
        stacks, positions, parents = self._stacks[state], self._positions, self._parents
        self._forget()
        copied = set()
        for node in stacks:
            path = []
            while node != _BOTTOM:
                path.append(positions[node])
                node = parents[node]
            for position in reversed(path):
                node = self._node(position, node)
            copied.add(node)
        return self._state(copied)

    def _forget(self) -> None:
        self._positions = [END]
        self._parents = [_BOTTOM]
        self._sets = [0]
        self._nodes: dict[tuple[int, int], int] = {}
        self._followers: dict[int, frozenset[int]] = {}
        self._stacks: list[frozenset[int]] = []
        self._states: dict[frozenset[int], int] = {}
        self._n_kept = 0
        self.table: NDArray[np.int32] = np.full((16, 256), UNKNOWN, dtype=np.int32)
        dead = self._state(())
        assert dead == DEAD
        self.table[DEAD] = DEAD

    def _after(self, node: int) -> frozenset[int]:
        """Stacks after the byte that is on top of this one."""
        followers = self._followers.get(node)
        if followers is None:
            found: set[int] = set()
            self._expand(self._positions[node] + 1, self._parents[node], found)
            followers = self._followers[node] = frozenset(found)
            self._n_kept += len(followers)
        self._work += len(followers)
        self._check(self._work <= MAX_WORK)
        return followers

    def _expand(self, position: int, parent: int, found: set[int]) -> None:
        """Add the stacks with a byte on top that reading may go on with, from `position`."""
        elements, starts = self._grammar.elements, self._grammar.starts
        todo = [(position, parent)]
        seen = set(todo)
        while todo:
            self._work += 1
            self._check(self._work <= MAX_WORK)
            position, parent = todo.pop()
            element = elements[position]
            if element == END:
                if parent == _BOTTOM:
                    found.add(_BOTTOM)
                    continue
                following = [(self._positions[parent], self._parents[parent])]
            elif element < 0:
                found.add(self._node(position, parent))
                continue
            else:
                rest = position + 1
                below = parent if elements[rest] == END else self._node(rest, parent)
                following = [(start, below) for start in starts[element]]
            for item in following:
                if item not in seen:
                    seen.add(item)
                    todo.append(item)

    def _node(self, position: int, parent: int) -> int:
        key = (position, parent)
        node = self._nodes.get(key)
        if node is None:
            node = len(self._positions)
            self._check(node < MAX_NODES)
            self._nodes[key] = node
            element = self._grammar.elements[position]
            self._positions.append(position)
            self._parents.append(parent)
            self._sets.append(self._grammar.byte_sets[~element] if element < 0 else 0)
        return node

    def _state(self, stacks: Iterable[int]) -> int:
        key = frozenset(stacks)
        state = self._states.get(key)
        if state is None:
            state = len(self._stacks)
            self._check(len(key) <= MAX_STACKS and state < MAX_STATES)
            self._states[key] = state
            self._stacks.append(key)
            self._n_kept += len(key)
            if state == len(self.table):
                self.table = np.concatenate([self.table, np.full_like(self.table, UNKNOWN)])
        return state

    def _check(self, holds: bool) -> None:
        if not holds:
            raise InvalidParameterError(
                "grammar: the same text can be read in too many ways; remove repetitions within "
                "repetitions and alternatives that begin alike"
            )


def _alike(byte_sets: Iterable[int]) -> list[NDArray[np.int32]]:
    """All bytes, in groups that no set tells apart."""
    groups = [(1 << 256) - 1]
    for byte_set in byte_sets:
        parts = [part for group in groups for part in (group & byte_set, group & ~byte_set)]
        groups = [part for part in parts if part]
    return [
        np.array([byte for byte in range(256) if group >> byte & 1], dtype=np.int32)
        for group in groups
    ]
