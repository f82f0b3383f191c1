"""The lines that documents show: which there are, and which can be run as they stand.

Knows nothing about running them. A line is a command of a block for a shell, or one in a sentence
that begins with a program of ours or with the name of a command and says more than that name. A
block that can't be run here says so in its fence, with the reason:

    ```sh no-test: needs a cluster of Ray

Single lines are in LEFT_OUT, and a line with a word in capitals, or with `...`, is to be filled in.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import dedent

from amulet_local.cli.app import COMMANDS
from tests import help_in_docs
from tests.help_in_docs import REPOSITORY

BLOCK = re.compile(
    r"^```(?P<language>console|sh|bash|python)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = re.compile(r"^Examples:\n((?:  .*\n)+)", re.MULTILINE)
"""In the help of a command."""
ANY_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
IN_TEXT = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
PROGRAM = re.compile(
    r"(?:\w+=\S+ )*(?:\.venv/bin/)?(?:amulet-local|pipx?|uv|llm(?! =)|podman"
    r"|systemctl|curl|\.ci/run|scripts/\w+)\b"
)
NAMES = [[command] for command in COMMANDS if command != "doctor"]
PIPED = re.compile(r"[^|]+\| *amulet-local ")
ASSIGNED = re.compile(r"^\w+=")
GAP = re.compile(r"\.\.\.|(?:^|[/:=\[])[A-Z][A-Z_]*(?:$|[/:\]])")
"""What somebody has to fill in, in one word of a line."""

NETWORK = "it installs or fetches something from the network"
SUITE = "it runs this suite, or checks this checkout"
LONG = "it takes hours, or gigabytes"
EXTRA = "it installs an extra into this checkout's environment"
PART = "it is a part of a line: a name of a flag"
RUN_ON_ONE_ENGINE = ("python.md", "explain.md", "evaluation_scorers.md")
"""Whose programs go on with one another's names: test_docs.py runs these."""
LEFT_OUT = {
    "pip install*": NETWORK,
    ".venv/bin/pip install*": NETWORK,
    "pipx *": NETWORK,
    "uv tool *": NETWORK,
    "*amulet-local pull *": NETWORK,
    "podman *": "it needs podman, and an image",
    "systemctl *": "it needs a user's systemd",
    "*scripts/test*": SUITE,
    "scripts/check": SUITE,
    ".ci/run": SUITE,
    "scripts/fuzz *": LONG,
    "scripts/soak *": LONG,
    "scripts/make_gguf 1B *": LONG,
    "scripts/make_gguf 8B": LONG,
    "scripts/bench -m random-1B-Q4_K_M": LONG,
    "scripts/bench decode prefill --plot *": EXTRA,
    "scripts/study_profile --speed": EXTRA,
    "* --ray head.example:6379": "it needs a cluster of Ray",
    "amulet-local chat --continue": "it goes on with a chat that was typed on a terminal",
    "amulet-local profile forget me p3 e1": "it names what a profile may have been told",
    'amulet-local profile learn me "$(llm logs path)" *': "it reads what llm was asked before",
    "amulet-local --install-completion": "it changes the shell's own settings",
    "amulet-local generate --json": PART,
    "amulet-local generate -n 1": PART,
    "amulet-local generate -n 48 -t 16": PART,
    "amulet-local compare --methods*": PART,
    "amulet-local models pull": PART,
    "amulet-local models show": PART,
    "amulet-local models quantize --again": PART,
    "amulet-local ask --json": PART,
    "amulet-local serve --profile": PART,
}
"""Patterns of lines that aren't run, each with its reason."""


@dataclass(frozen=True)
class Shown:
    """A line of a document, or all of a block of Python.

    Attributes:
        text: what to give to the shell, or the program.
        line: where it begins, from 1.
        language: `sh` or `python`.
        in_block: False for one in a sentence.
        reason: why it isn't run here; empty if it is.
    """

    text: str
    line: int
    language: str
    in_block: bool
    reason: str = ""


def pages() -> list[Path]:
    """The documents that tell users what to type."""
    told = [path for path in help_in_docs.documents() if path.name != "decisions.md"]
    return [*told, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "SECURITY.md"]


def shown_lines(path: Path) -> list[Shown]:
    """All of a document's, in its order."""
    text = path.read_text(encoding="utf-8")
    found: list[Shown] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("text")) + 1
        if help_in_docs.BLOCK.fullmatch(block[0]):  # test_docs.py compares the rest
            for part in EXAMPLES.finditer(block["text"]):
                line = first + block["text"].count("\n", 0, part.start(1))
                found += _of_block("sh", "", dedent(part[1]), line)
        else:
            found += _of_block(block["language"], block["rest"], block["text"], first)
    blank = ANY_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    for span in IN_TEXT.finditer(blank):
        line = " ".join(span[1].replace("\\|", "|").split())
        if _is_line(line):
            whole = line if _begins_with_program(line) else f"amulet-local {line}"
            number = blank.count("\n", 0, span.start()) + 1
            found.append(Shown(whole, number, "sh", in_block=False, reason=why_not(whole)))
    return sorted(found, key=lambda shown: shown.line)


def why_not(line: str) -> str:
    """Why a line can't be run here; empty if it can."""
    typed = shlex.split(line, comments=True)
    plain = line.partition(" #")[0].rstrip()
    for pattern, reason in LEFT_OUT.items():
        if fnmatchcase(plain, pattern):
            return reason
    words = (ASSIGNED.sub("", word) for word in typed)
    return "something in it is to be filled in" if any(map(GAP.search, words)) else ""


def _of_block(language: str, rest: str, text: str, first: int) -> list[Shown]:
    mark, _, reason = rest.strip().partition(":")
    reason = reason.strip() or mark
    if language == "python":
        return [Shown(text, first, "python", in_block=True, reason=reason)]
    return [
        Shown(command, first + number, "sh", in_block=True, reason=reason or why_not(command))
        for number, command in _commands(text, with_prompt=language == "console")
    ]


def _commands(text: str, *, with_prompt: bool) -> list[tuple[int, str]]:
    """The commands of a block, each with its place among the lines; the rest is output."""
    found: list[tuple[int, str]] = []
    is_whole = True
    for number, line in enumerate(text.splitlines()):
        if not is_whole:
            place, begun = found[-1]
            found[-1] = (place, f"{begun}\n{line}")
        elif with_prompt and line.startswith("$ "):
            found.append((number, line.removeprefix("$ ")))
        elif not with_prompt and line and not line.startswith("#"):
            found.append((number, line))
        else:
            continue
        is_whole = _ends(found[-1][1])
    return found


def _ends(command: str) -> bool:
    """Whether a shell would run what was typed so far."""
    try:
        shlex.split(command, comments=True)
    except ValueError:  # an open quotation mark, or a backslash at the end
        return False
    return not command.rstrip().endswith(("|", "\\", "&&"))


def _begins_with_program(line: str) -> bool:
    return bool(PROGRAM.match(line) or PIPED.match(line))


def _is_line(text: str) -> bool:
    """Whether a text in a sentence is a line to type, and no name of a program or command."""
    words = text.split()
    if words[0] in COMMANDS:
        return len(words) > 1
    is_name = len(words) == 1 or (words[0] == "amulet-local" and words[1:] in NAMES)
    return _begins_with_program(text) and not is_name
