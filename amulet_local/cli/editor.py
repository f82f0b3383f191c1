"""Lets the user change a text in their own editor: $VISUAL, $EDITOR, or what the system has.

Knows nothing about what the text is. It is in a file of the user alone meanwhile.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from amulet_local.cli import start_line
from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidTextError

MAX_BYTES = 64 * 2**20


def edited(text: str, *, ending: str) -> str:
    """The text as the user leaves it.

    Args:
        ending: of the file's name, for editors that show by it what is in a file.

    Raises:
        FileAccessError: there is no editor, it can't be started, or it ends with an error.
        InvalidTextError: what it wrote isn't UTF-8.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or _usual())
    if not command:
        raise FileAccessError("there is no editor; name one in EDITOR")
    folder = Path(tempfile.mkdtemp(prefix="amulet-"))
    try:
        path = folder / f"text{ending}"
        private_files.write(path, text.encode())
        start_line.end()
        try:
            done = subprocess.run([*command, str(path)], check=False)
        except OSError as error:
            raise FileAccessError(
                f"the editor {command[0]!r:.60} can't be started: {error.strerror}"
            ) from None
        if done.returncode:
            raise FileAccessError(
                f"the editor {command[0]!r:.60} ended with an error, so nothing is changed"
            )
        return private_files.read(path, max_bytes=MAX_BYTES).decode()
    except UnicodeDecodeError:
        raise InvalidTextError("what the editor wrote isn't UTF-8 text") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _usual() -> str:
    return next((name for name in ("nano", "vi", "notepad") if shutil.which(name)), "")
