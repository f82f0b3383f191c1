"""Finds rules that may call themselves without reading anything, or that nothing can begin.

Knows nothing about notation: a rule is a list of alternatives, each a list of elements; elements
from 0 on are numbers of rules, the others read something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Rules = Sequence[Sequence[Sequence[int]]]


def looping_rule(rules: Rules) -> int | None:
    """A rule that can call itself without reading a byte first, if there is one.

    A rule whose last element is itself (a repetition of what may be empty) only begins again.
    """
    empty = _rules_that_may_be_empty(rules)
    calls: list[set[int]] = []
    for number, alternatives in enumerate(rules):
        calls.append(set())
        for alternative in alternatives:
            for place, element in enumerate(alternative):
                if element < 0:
                    break
                if not (element == number and place == len(alternative) - 1):
                    calls[-1].add(element)
                if element not in empty:
                    break
    return _on_a_cycle(calls)


def rules_that_can_begin(rules: Rules) -> set[int]:
    """Those that read something or may be empty; the others only ever call themselves."""
    empty = _rules_that_may_be_empty(rules)
    callers: list[list[int]] = [[] for _ in rules]
    found = []
    for number, alternatives in enumerate(rules):
        for alternative in alternatives:
            for element in alternative:
                if element < 0:
                    found.append(number)
                    break
                callers[element].append(number)
                if element not in empty:
                    break
            else:
                found.append(number)
    begins: set[int] = set()
    while found:
        number = found.pop()
        if number not in begins:
            begins.add(number)
            found += callers[number]
    return begins


def _rules_that_may_be_empty(rules: Rules) -> set[int]:
    users: dict[int, list[tuple[int, int]]] = {}
    missing: list[list[int]] = []  # of each alternative, elements not known to be empty
    empty: set[int] = set()
    found = []
    for number, alternatives in enumerate(rules):
        missing.append([])
        for index, alternative in enumerate(alternatives):
            missing[-1].append(len(alternative))
            for element in alternative:
                users.setdefault(element, []).append((number, index))
            if not alternative:
                found.append(number)
    while found:
        number = found.pop()
        if number in empty:
            continue
        empty.add(number)
        for user, index in users.get(number, ()):
            missing[user][index] -= 1
            if missing[user][index] == 0:
                found.append(user)
    return empty


def _on_a_cycle(edges: Sequence[Iterable[int]]) -> int | None:
    new, open_, done = 0, 1, 2
    state = [new] * len(edges)
    for first in range(len(edges)):
        path = [(first, iter(edges[first]))] if state[first] == new else []
        state[first] = max(state[first], open_)
        while path:
            node, following = path[-1]
            for successor in following:
                if state[successor] == open_:
                    return successor
                if state[successor] == new:
                    state[successor] = open_
                    path.append((successor, iter(edges[successor])))
                    break
            else:
                state[node] = done
                path.pop()
    return None
