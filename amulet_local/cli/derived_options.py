"""Options of the command line out of the tables in params: declared, and gathered again.

A dataclass of options has one field for a table: what was given of it, by the names of the fields
in params. Knows kinds of values and no particular option; given_options.py reads the values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from amulet_local.cli.flags import READ_WHOLE, declared, environment_variable, option
from amulet_local.params.option import Options

Given = Mapping[str, Any]
"""What was given, as typer hands it over; a text that is in a file has `_file` after its name."""

_GROUP = "options"
_LONE = ("flag", "off")
_TYPES: dict[str, Any] = {
    "text": str | None,
    "json": str | None,
    "texts": list[str] | None,
    "escaped": list[str] | None,
    "words": list[str] | None,
    "biases": list[Any] | None,
    "range": tuple[int, int] | None,
    "switch": bool | None,
    "flag": bool,
    "off": bool,
}
"""Of the kinds that have no parser of their own."""


def group(options: Options) -> dict[str, Options]:
    """Metadata of a dataclass's field that holds what is given of these options."""
    return {_GROUP: options}


def group_of(field: dataclasses.Field[Any]) -> Options | None:
    """The options that a field of a dataclass holds; None for an option of its own."""
    options: Options | None = field.metadata.get(_GROUP)
    return options


def parameters_of(options: Options) -> dict[str, tuple[Any, Any]]:
    """Parameters of a command by name: the annotation that typer reads, and the default."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, one in options.items():
        default = False if one.kind in _LONE else None
        found[name] = (Annotated[_TYPES.get(one.kind, Any), declared(one)], default)
        if one.file is not None:
            flag = option(
                *one.file.flags.split(), panel=one.panel, metavar="FILE", help=one.file.help
            )
            found[f"{name}_file"] = (Annotated[str | None, flag], None)
    return found


def variables_of(options: Options) -> dict[str, str]:
    """Variables of the environment that are one text each, by the names of the fields."""
    return {
        name: environment_variable(one.flag)
        for name, one in options.items()
        if one.kind in READ_WHOLE
    }


def gathered(options: Options, values: Mapping[str, Any]) -> Given:
    """Those of a command's values that are these options and were given."""
    found: dict[str, Any] = {}
    for name, one in options.items():
        value = values.get(name)
        if value is not None and value != [] and not (one.kind in _LONE and value is False):
            found[name] = value
        if one.file is not None and values.get(f"{name}_file") is not None:
            found[f"{name}_file"] = values[f"{name}_file"]
    return found
