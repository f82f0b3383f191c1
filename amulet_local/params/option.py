"""What an option is besides a field: its flags, its help, and who else may set it.

An Option stands in the annotation of a field of pydantic's, beside type and limits; whatever takes
options is derived from there: the command line and its variables, the messages' names, the server's
fields, the plugin for `llm`, the chat's /set and the methods of `eval`. Knows no option. Help texts
repeat the defaults; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

PROMPT = "The question"
PREFERENCE = "The preference and its strength"
GUARDS = "Guards of the strength, and mixes (the preset's unless given)"
SAMPLING = "Sampling (greedy unless --temp is above 0)"
RUNTIME = "Model and runtime (flags as in llama.cpp)"
ADAPTERS = "Adapters of the model"
OUTPUT = "Output"
SERVERS_SAMPLING = "Sampling (the server's unless given)"
PANELS = (PROMPT, PREFERENCE, GUARDS, SAMPLING, SERVERS_SAMPLING, RUNTIME, ADAPTERS, OUTPUT)
"""Headings of the help in their order; a command's own come before."""

Kind = Literal[
    "number",
    "numbers",
    "seed",
    "layers",
    "range",
    "text",
    "texts",
    "escaped",
    "words",
    "json",
    "biases",
    "switch",
    "flag",
    "off",
]
"""How a value is written on the command line.

number: any number; numbers: several with commas; seed: -1 is none; layers: a number, all or auto;
range: two whole numbers; text: one text; texts: one each time it is given; escaped: the same with
\\n and the like, and 'none'; words: texts whose variable is split at spaces; json: an object;
biases: 15043+1, one each time; switch: --x and --no-x; flag: --x is true; off: --x is false.
"""


@dataclass(frozen=True)
class FromFile:
    """A flag that reads a text option out of a file.

    Attributes:
        flags: with spaces between them.
        what: the file in an error message.
        help: for the command's help.
    """

    flags: str
    what: str
    help: str = "Read it from FILE."


@dataclass(frozen=True)
class Option:
    """One option: all that is said of it outside of its field's type, limits and default.

    Attributes:
        flags: with spaces between them, short ones first; the first long one is its name, in
            messages and in the environment.
        panel: the heading that the help has it under.
        help: for the command's help.
        kind: how a value is written.
        metavar: what stands for a value in the help.
        neutral: the value that changes nothing, of an option that has one.
        file: a flag that reads it from a file.
        is_changeable: whether it may change while an answer streams.
        chat: its name in the chat's `/set`, then other names that are understood there. Of what
            holds from a model's loading on, those that are told apart from a mistake.
        eval: its short name in a method of `eval`.
        plugin: its description as an option of the plugin for `llm`; None leaves it out.
        place: in the help, where it isn't the field's own: lower ones come first.
    """

    flags: str
    panel: str
    help: str
    kind: Kind = "number"
    metavar: str = "N"
    neutral: float | None = None
    file: FromFile | None = None
    is_changeable: bool = False
    chat: tuple[str, ...] = ()
    eval: str | None = None
    plugin: str | None = None
    place: int = 0

    @property
    def flag(self) -> str:
        """The first long flag: what messages call it."""
        return next(flag for flag in self.flags.split() if flag.startswith("--"))


Options = Mapping[str, Option]
"""Options by the public names of their fields, in the order of the help."""


def with_help(options: Options, **helps: str) -> dict[str, Option]:
    """The same options with other help texts for some fields."""
    return {
        name: replace(option, help=helps[name]) if name in helps else option
        for name, option in options.items()
    }


def some_of(options: Options, *names: str, panel: str | None = None) -> dict[str, Option]:
    """Some of the options in this order.

    Args:
        options: all of them.
        *names: of those.
        panel: the heading that they have; their own if None.
    """
    return {name: replace(options[name], panel=panel or options[name].panel) for name in names}


def without_defaults(options: Options) -> dict[str, Option]:
    """The same options, whose help says nothing of a default: somebody else has them."""
    return {
        name: replace(option, help=option.help.partition(" Default: ")[0])
        for name, option in options.items()
    }


def changeable(options: Options) -> tuple[str, ...]:
    """Those that may change while an answer streams, and that a server takes by themselves."""
    return tuple(name for name, option in options.items() if option.is_changeable)
