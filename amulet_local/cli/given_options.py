"""Values of the command line as params takes them.

Knows no particular option; which values are right is the business of params.
"""

from __future__ import annotations

from typing import Any

from amulet_local.cli.derived_options import Given
from amulet_local.cli.inputs import read_file
from amulet_local.cli.values import as_params
from amulet_local.common.errors import FileAccessError
from amulet_local.params.option import Options


def read(options: Options, given: Given) -> dict[str, Any]:
    """Arguments of the class in params that these are the options of.

    Raises:
        InvalidTextError: a text isn't UTF-8.
        InvalidParameterError: it should be a JSON object and isn't.
        FileAccessError: a file can't be read.
    """
    result: dict[str, Any] = {}
    for name, one in options.items():
        value = given.get(name)
        if value is not None:
            value = as_params(one.kind, one.flag, value)
        if one.file is not None and f"{name}_file" in given:
            value = read_file(given[f"{name}_file"], one.file.what, FileAccessError)
        if value is not None:
            result[name] = value
    return result
