"""What the documentation shows of the program's help: blocks that begin with a `--help` command.

As a program (`python -m tests.help_in_docs`, scripts/update_help) it writes them anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
BLOCK = re.compile(
    r"^```console\n\$ amulet-local(?P<arguments>[ a-z]*) --help\n(?P<text>(?:.*\n)*?)```$",
    re.MULTILINE,
)
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


def as_it_should_be(text: str) -> str:
    """A document with the help that the program prints."""

    def shown(block: re.Match[str]) -> str:
        arguments = block["arguments"]
        return f"```console\n$ amulet-local{arguments} --help\n{help_of(arguments)}```"

    return SLASH_BLOCK.sub(lambda _: f"```\n> /help\n{slash_help()}```", BLOCK.sub(shown, text))


def main() -> None:
    """Write every document anew that shows something else."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        wanted = as_it_should_be(text)
        if wanted != text:
            path.write_text(wanted, encoding="utf-8")
            print(f"written: {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
