"""What is repeated of the program: help in the documents, switches in scripts/demo, a schema.

As a program (`python -m tests.help_in_docs`, scripts/update_help) it writes them anew. A block of
help begins with a `--help` command.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from textwrap import wrap
from typing import Any

REPOSITORY = Path(__file__).parent.parent
SCHEMA = REPOSITORY / "docs" / "answer.schema.json"
DEMO = REPOSITORY / "scripts" / "demo"
ASK_FLAGS = REPOSITORY / "amulet_local" / "cli" / "ask_flags.py"
FLAG_VARIABLES = REPOSITORY / "amulet_local" / "cli" / "flag_variables.py"
BLOCK = re.compile(
    r"^```console\n\$ amulet-local(?P<arguments>[ a-z]*) --help\n(?P<text>(?:.*\n)*?)```$",
    re.MULTILINE,
)
SWITCHES = re.compile(r"^switches='\n(?:.*\n)*?'$", re.MULTILINE)
SLASH_BLOCK = re.compile(r"^```\n> /help\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)


def documents() -> list[Path]:
    """All that users read."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@lru_cache
def help_of(arguments: str) -> str:
    """What the program prints on 80 columns."""
    environment = {name: text for name, text in os.environ.items() if name != "AMULET_DATA"}
    done = subprocess.run(
        [sys.executable, "-m", "amulet_local", *arguments.split(), "--help"],
        env={**environment, "COLUMNS": "80", "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.decode().strip("\n").splitlines()]
    return "\n".join(lines) + "\n"


def slash_help() -> str:
    """What a chat's /help prints on 80 columns."""
    from amulet_local.cli.chat.slash import help_text

    return help_text(79)


def switches() -> list[str]:
    """Flags of `compare` that take no value, but for --help."""
    from amulet_local.cli.app import command_named

    return sorted(
        flag
        for option in command_named("compare").params
        if getattr(option, "is_flag", False)
        for flag in (*option.opts, *option.secondary_opts)
    )


def as_it_should_be(text: str) -> str:
    """A document with the help that the program prints, or the demo with the switches."""

    def shown(block: re.Match[str]) -> str:
        arguments = block["arguments"]
        return f"```console\n$ amulet-local{arguments} --help\n{help_of(arguments)}```"

    text = SLASH_BLOCK.sub(lambda _: f"```\n> /help\n{slash_help()}```", BLOCK.sub(shown, text))
    lines = wrap(" ".join(switches()), 110, break_on_hyphens=False)
    return SWITCHES.sub(lambda _: "\n".join(["switches='", *lines, "'"]), text)


def schema_text() -> str:
    """The JSON Schema of an answer."""
    from amulet_local.cli.json_format import answer_schema

    return json.dumps(answer_schema(), indent=2) + "\n"


def ask_flags_text() -> str:
    """What cli/ask.py declares, for quick_ask.py: the flags that a script is likely to give."""
    from amulet_local.cli.app import command_named
    from amulet_local.cli.ask import AskOptions
    from amulet_local.cli.command import _variables
    from amulet_local.cli.derived_options import group_of
    from amulet_local.cli.options import EXCLUSIVE
    from amulet_local.cli.values import PARSERS, SEVERAL

    derived = {
        name: option.kind
        for field in dataclasses.fields(AskOptions)
        for name, option in (group_of(field) or {}).items()
    }
    flags, kinds, own = {}, {}, ["socket", "prompt"]
    params = [param for param in command_named("ask").params if param.param_type_name == "option"]
    for param in params:
        kind = "flag" if param.is_flag else "texts" if param.multiple else "text"
        kind = derived.get(param.name, kind)
        if param.name not in derived and param.name.removesuffix("_file") not in derived:
            own.append(param.name)
        elif param.name not in derived or kind not in {"text", "json", "flag", *PARSERS, *SEVERAL}:
            continue
        kinds[param.name] = kind
        flags |= dict.fromkeys(param.opts, param.name)
    names = {"prompt", *kinds}
    groups = [[tuple(n for n in part if n in names) for part in group] for group in EXCLUSIVE]
    groups = [[part for part in group if part] for group in groups]
    variables = {param.envvar for param in params if param.envvar}
    table = {
        "FLAGS": (flags, "The name of each flag's value."),
        "KINDS": (kinds, "How it is written, as in params/option.py."),
        "OWN": (tuple(own), "Those that aren't options of params."),
        "EXCLUSIVE": (
            tuple(tuple(group) for group in groups if len(group) > 1),
            "At most one part of each may be given.",
        ),
        "VARIABLES": (
            tuple(sorted(variables | set(_variables(AskOptions).values()))),
            "Variables of the environment that say what flags say.",
        ),
    }
    text = "\n".join(f'{name} = {value!r}\n"""{says}"""' for name, (value, says) in table.items())
    head = (
        '"""What cli/ask.py declares, where quick_ask.py finds it at once.\n\n'
        'scripts/update_help writes this file, and a test compares it.\n"""\n'
    )
    return _formatted(f"{head}\n{text}\n", ASK_FLAGS)


def flag_variables_text() -> str:
    """The variables of all commands' flags, for variables.py."""
    from amulet_local.cli.app import COMMANDS, command_named
    from amulet_local.cli.flags import environment_variable

    own: set[str] = set()
    others: dict[str, str] = {}
    for command in COMMANDS:
        for param, whole in _options_of(command_named(command)):
            named = [environment_variable(flag) for flag in param.opts if flag.startswith("--")]
            variable = param.envvar or whole.get(param.name)
            if variable is not None:
                own.add(variable)
                for name in named:  # the first command's meaning counts
                    others.setdefault(name, variable)
    same = {name: others[name] for name in sorted(others.keys() - own)}
    text = (
        '"""What variables of the environment set flags of commands, where variables.py finds them '
        'at once.\n\nscripts/update_help writes this file, and a test compares it.\n"""\n\n'
        f"FLAG_VARIABLES = {tuple(sorted(own))!r}\n"
        f'SAME_FLAGS = {same!r}\n"""What other names of a flag would be -> its variable."""\n'
    )
    return _formatted(text, FLAG_VARIABLES)


def _options_of(command: Any) -> Iterator[tuple[Any, Mapping[str, str]]]:
    """Those of a command and of the commands in it, and the variables that command.py reads."""
    for inner in getattr(command, "commands", {}).values():
        yield from _options_of(inner)
    whole = getattr(command.callback, "whole_variables", {})
    yield from ((param, whole) for param in command.params if param.param_type_name == "option")


def _formatted(text: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", path.name, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return done.stdout


def main() -> None:
    """Write every document anew that shows something else, the demo, the schema, the flags."""
    ASK_FLAGS.write_text(ask_flags_text(), encoding="utf-8")
    FLAG_VARIABLES.write_text(flag_variables_text(), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    for path in [*documents(), DEMO]:
        text = path.read_text(encoding="utf-8")
        wanted = as_it_should_be(text)
        if wanted != text:
            path.write_text(wanted, encoding="utf-8")
            print(f"written: {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
