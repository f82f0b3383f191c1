"""The grammar of text in which some texts don't occur, or only where something else begins.

Knows nothing about tool calls. The rules are the states of an automaton that looks for the texts
(Aho and Corasick): one for each beginning of one of them, named after what was read of it last.
"""

from __future__ import annotations

from collections.abc import Mapping


def until(name: str, texts: Mapping[str, str | None], *, may_end: bool) -> dict[str, str]:
    """Rules for any text up to the first of some texts, and what follows that.

    Args:
        name: of the first rule, and what the names of the others begin with.
        texts: none of them empty or the end of another; the expression that follows each, None
            where it may not occur.
        may_end: whether the text may end before it.
    """
    beginnings = sorted({text[:n] for text in texts for n in range(len(text))}, key=len)
    names = {begun: f"{name}{i}" if i else name for i, begun in enumerate(beginnings)}
    characters = sorted({character for text in texts for character in text})
    rules = {}
    for begun in beginnings:
        choices = ['""'] if may_end else []
        to_start = []
        for character in characters:
            after = begun + character
            found = next((text for text in texts if after.endswith(text)), None)
            if found is not None:
                if texts[found] is not None:
                    choices.append(f"[{_escaped(character)}] {texts[found]}")
                continue
            kept = next(after[i:] for i in range(len(after) + 1) if after[i:] in names)
            if kept:
                choices.append(f"[{_escaped(character)}] {names[kept]}")
            else:
                to_start.append(character)
        others = "".join(_escaped(c) for c in characters if c not in to_start)
        choices.append(f"[^{others}] {name}" if others else f". {name}")
        rules[names[begun]] = " | ".join(choices)
    return rules


def unless_begins(name: str, text: str) -> dict[str, str]:
    """Rules for any text that doesn't begin with a text."""
    rules = {f"{name}-rest": f'"" | . {name}-rest'}
    names = [f"{name}{i}" if i else name for i in range(len(text))]
    for i, character in enumerate(text):
        choices = ['""', f"[^{_escaped(character)}] {name}-rest"]
        if i + 1 < len(text):
            choices.append(f"[{_escaped(character)}] {names[i + 1]}")
        rules[names[i]] = " | ".join(choices)
    return rules


def _escaped(character: str) -> str:
    return f"\\U{ord(character):08x}"
