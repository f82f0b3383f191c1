"""`amulet-local ask` for scripts: reads what is usually on its command line without the libraries
that the other commands need, in a tenth of their time.

What isn't usual (help, a mistake, a variable of the environment, a file with a grammar) is left to
the app, which says and does what is to be said and done. Knows no option: ask_flags.py has those
that cli/ask.py declares.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

from amulet_local.cli import ask_flags
from amulet_local.cli.asking import ask
from amulet_local.cli.inputs import has_question
from amulet_local.cli.reporting import reporting
from amulet_local.cli.terminal import prepare_streams
from amulet_local.cli.values import PARSERS, SEVERAL, as_params
from amulet_local.cli.variables import unknown_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLACES = ("socket", "prompt")
_KEY = "AMULET_API_KEY"


def ask_at_once(arguments: list[str]) -> bool:
    """Ask, if the arguments after `ask` are usual ones; if they aren't nothing is done.

    Raises:
        SystemExit: as with the app.
    """
    if any(os.environ.get(name) for name in ask_flags.VARIABLES if name != _KEY):
        return False
    if unknown_variables():
        return False
    values = given_values(arguments)
    if values is None:
        return False
    question = SimpleNamespace(**{name: values.pop(name, None) for name in ask_flags.OWN})
    question.api_key = question.api_key or os.environ.get(_KEY)
    if not has_question(question):
        return False
    prepare_streams()
    with reporting():
        fields = {name: _as_params(name, value) for name, value in values.items()}
        ask(question, {name: value for name, value in fields.items() if value is not None})
    return True


def given_values(arguments: list[str]) -> dict[str, Any] | None:
    """What the arguments say, by name; None if they aren't all usual ones."""
    found: dict[str, Any] = {}
    places = list(_PLACES)
    rest = iter(arguments)
    for text in rest:
        if text == "-" or not text.startswith("-"):
            if not places:
                return None
            found[places.pop(0)] = text
            continue
        flag, has_value, value = text.partition("=") if text.startswith("--") else (text, "", "")
        name = ask_flags.FLAGS.get(flag)
        if name is None or not _take(found, name, value if has_value else rest):
            return None
    are_right = "socket" in found and not any(
        sum(any(name in found for name in names) for names in group) > 1
        for group in ask_flags.EXCLUSIVE
    )
    return found if are_right else None


def _take(found: dict[str, Any], name: str, value: str | Iterator[str]) -> bool:
    """Put a flag's value with what was found; whether it has one and that is of its kind.

    Args:
        value: what follows its "=", or the arguments that follow it.
    """
    kind = ask_flags.KINDS[name]
    if kind == "flag":
        found[name] = True
        return not isinstance(value, str)
    text = value if isinstance(value, str) else next(value, None)
    if text is None:
        return False
    try:
        read = PARSERS[kind](text) if kind in PARSERS else text
    except ValueError:
        return False
    if kind in SEVERAL:
        found.setdefault(name, []).append(read)
    else:
        found[name] = read
    return True


def _as_params(name: str, value: Any) -> Any:
    flags = (flag for flag, its_name in ask_flags.FLAGS.items() if its_name == name)
    long = next(flag for flag in flags if flag.startswith("--"))
    return as_params(ask_flags.KINDS[name], long, value)
