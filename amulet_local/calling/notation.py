"""How a form of tool calls is written down: text with a few signs, for a grammar and for reading.

Knows nothing about particular forms. `~` is optional white space, `<name>` the function's name,
`<id>` a call's id of nine letters and digits, `<n>` a number, `<stop>` nothing but the end of a
name before white space or a tag; what stands in `(...)?` may be left out. Everything else is
itself.
"""

from __future__ import annotations

import re

from amulet_local.grammar.json_rules import quoted

_SIGNS = re.compile(r"(~|<name>|<id>|<n>|<stop>|\(|\)\?)")
_AS_PATTERN = {
    "~": r"\s*",
    "<name>": "(?P<name>.+?)",
    "<id>": "(?P<id>[A-Za-z0-9]{9})",
    "<n>": "[0-9]+",
    "<stop>": r"(?=[\s<])",
    "(": "(?:",
    ")?": ")?",
}
_AS_RULE = {
    "~": " ws ",
    "<id>": " [A-Za-z0-9]{9} ",
    "<n>": " [0-9]{1,3} ",
    "<stop>": ' "" ',
    "(": " (",
    ")?": ")? ",
}
_AS_EXAMPLE = {"~": "", "<id>": "a1b2c3d4e", "<n>": "0", "<stop>": ""}
_USUAL_SPACE = {":~": ": ", ",~": ", ", "~{~": "\n{", "}~<": "}\n<"}


def pattern(notation: str) -> re.Pattern[str]:
    """What matches it, with groups `name` and `id`."""
    parts = _SIGNS.split(notation)
    return re.compile(
        "".join(_AS_PATTERN.get(part) or re.escape(part) for part in parts), re.DOTALL
    )


def rule(notation: str, name: str = "") -> str:
    """An expression in GBNF for it, with a function's name."""
    parts = (
        quoted(name) if part == "<name>" else _AS_RULE.get(part) or quoted(part)
        for part in _SIGNS.split(notation)
        if part
    )
    return "".join(f" {part} " for part in parts).strip() or '""'


def example(notation: str, name: str = "") -> str:
    """How a model usually writes it, without what may be left out."""
    usual = re.sub(r"\([^()]*\)\?", "", notation)
    for sign, text in _USUAL_SPACE.items():
        usual = usual.replace(sign, text)
    parts = _SIGNS.split(usual)
    return "".join(name if part == "<name>" else _AS_EXAMPLE.get(part, part) for part in parts)
