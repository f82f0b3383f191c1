"""What tests of grammars share: reading a text byte by byte, and texts derived from the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from amulet_local.grammar.automaton import DEAD, Automaton
from amulet_local.grammar.gbnf import END, Grammar


def matches(automaton: Automaton, text: str | bytes) -> bool:
    """Whether the automaton takes the whole text."""
    state = automaton.start
    automaton.begin()
    for byte in text.encode() if isinstance(text, str) else text:
        state = automaton.step(state, byte)
    return state != DEAD and automaton.may_end(state)


def derived(grammar: Grammar, choose: Callable[[Sequence[int]], int], most: int = 400) -> bytes:
    """A text that the rules derive, from the left; from `most` elements on the shortest way.

    Args:
        choose: picks one of several alternatives, or one of several bytes.
    """
    shortest = _shortest(grammar)
    result = bytearray()
    stack = [choose(grammar.starts[grammar.root])]
    n_taken = 0
    while stack:
        position = stack.pop()
        element = grammar.elements[position]
        if element == END:
            continue
        stack.append(position + 1)
        n_taken += 1
        if element < 0:
            byte_set = grammar.byte_sets[~element]
            result.append(choose([byte for byte in range(256) if byte_set >> byte & 1]))
        elif n_taken < most:
            stack.append(choose(grammar.starts[element]))
        else:
            stack.append(min(grammar.starts[element], key=shortest))
    return bytes(result)


def _shortest(grammar: Grammar) -> Callable[[int], float]:
    """Fewest steps that an alternative needs to derive a text, by its position."""
    lengths = [float("inf")] * len(grammar.starts)

    def length(position: int) -> float:
        total = 0.0
        while (element := grammar.elements[position]) != END:
            total += 1 if element < 0 else 1 + lengths[element]
            position += 1
        return total

    changed = True
    while changed:
        changed = False
        for rule, starts in enumerate(grammar.starts):
            best = min(map(length, starts))
            if best < lengths[rule]:
                lengths[rule] = best
                changed = True
    return cache(length)
