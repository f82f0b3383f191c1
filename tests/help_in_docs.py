"""What is repeated of the program: help in the documents, switches in scripts/demo, a schema.

As a program (`python -m tests.help_in_docs`, scripts/update_help) it writes them anew. A block of
help begins with a `--help` command.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from textwrap import wrap

REPOSITORY = Path(__file__).parent.parent
SCHEMA = REPOSITORY / "docs" / "answer.schema.json"
DEMO = REPOSITORY / "scripts" / "demo"
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


def main() -> None:
    """Write every document anew that shows something else, the demo, and the schema."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    for path in [*documents(), DEMO]:
        text = path.read_text(encoding="utf-8")
        wanted = as_it_should_be(text)
        if wanted != text:
            path.write_text(wanted, encoding="utf-8")
            print(f"written: {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
