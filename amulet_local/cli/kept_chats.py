"""Where chats and typed lines are kept between runs: files of the user alone.

Knows nothing about terminals. A chat is a conversation's own file, written whole after each turn;
while a process goes on with it, it holds a lock, so that two never write the same one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from amulet_local.common import measurement_cache, private_files
from amulet_local.common.errors import (
    AmuletError,
    FileAccessError,
    InvalidParameterError,
    InvalidRequestError,
    ModelNotFoundError,
)
from amulet_local.common.user_folders import data_folder, private_folder
from amulet_local.conversation import conversation_file
from amulet_local.conversation.conversation_file import SavedConversation
from amulet_local.loading.model_store import find_model

N_LINES = 1000
"""Typed lines that are kept."""
N_LISTED = 20
"""Chats in a list."""

PIPED = "-piped"
"""How the names of chats end in which a program asked."""

_MODELS = "chat-models.json"
_MAX_HISTORY_BYTES = 4 << 20
_NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)


def chats_folder() -> Path:
    """Where chats are. It may not exist."""
    return data_folder() / "chats"


def chat_path(name: str) -> Path:
    """The file that a user means: a path, or the name of one in the chats' folder.

    Raises:
        InvalidParameterError: it is neither.
    """
    if os.sep in name or name.endswith(".json") or name.startswith("~"):
        return Path(name).expanduser() if "\0" not in name else Path(name)
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise InvalidParameterError(
            f"{name!r:.60} can't be a chat's name: use letters, digits, '.', '_' and '-', or give "
            f"a file's path"
        )
    return chats_folder() / f"{name}.json"


def saved_chats() -> list[Path]:
    """The chats in their folder, the last one first."""
    dated = []
    with contextlib.suppress(OSError):
        for path in chats_folder().glob("*.json"):
            with contextlib.suppress(OSError):  # one that has just gone, a link to nothing
                dated.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(dated, reverse=True)]


def last_chat() -> Path | None:
    """The last one that a person had; None if there is none."""
    return next((path for path in saved_chats() if not path.stem.endswith(PIPED)), None)


@dataclass(frozen=True, kw_only=True)
class ChatListing:
    """A line of the list of chats."""

    name: str
    when: str
    n_turns: int
    question: str


def listed_chats() -> list[ChatListing]:
    """The last chats; damaged ones are left out."""
    lines = []
    for path in saved_chats()[:N_LISTED]:
        with contextlib.suppress(AmuletError, OSError):
            turns = conversation_file.read(path).turns
            lines.append(
                ChatListing(
                    name=path.stem,
                    when=time.strftime("%d %b %H:%M", time.localtime(path.stat().st_mtime)),
                    n_turns=len(turns),
                    question=turns[0].question if turns else "",
                )
            )
    return lines


def read_chat(path: Path) -> SavedConversation:
    """What a chat's file holds.

    Raises:
        FileAccessError, ConversationFileError: it can't be read or used.
    """
    if not os.path.lexists(path):
        name = path.stem if path.parent == chats_folder() else str(path)
        raise FileAccessError(f"there is no chat {name!r:.200}; /load in a chat lists them")
    return conversation_file.read(path)


def remember_model(name: str, file: str) -> None:
    """Remember what `-m` was when a chat was had with the model in `file` (its name alone)."""
    bare = os.path.basename(name) == name and not os.path.lexists(name)
    measurement_cache.keep(
        _MODELS, file, name if bare else os.path.abspath(os.path.expanduser(name))
    )


def model_of(saved: SavedConversation) -> str:
    """What `-m` was when a chat was had, for going on with it.

    Raises:
        InvalidRequestError: nothing of that name is there.
    """
    for name in (measurement_cache.read(_MODELS).get(saved.model), saved.model):
        if isinstance(name, str) and name:
            with contextlib.suppress(ModelNotFoundError):
                find_model(name)
                return name
    raise InvalidRequestError(
        f"this chat was had with {saved.model:.80}, which can't be found: name a model with -m"
    )


class Keeper:
    """Writes a chat to a file of its own after each turn.

    Attributes:
        path: the file; None where nothing is kept.
    """

    def __init__(self, *, enabled: bool, is_typed: bool = True) -> None:
        """Keep nothing yet.

        Args:
            enabled: whether anything is to be kept.
            is_typed: whether a person types; what a program asks is no chat to go on with.
        """
        self.path: Path | None = None
        self._ending = "" if is_typed else PIPED
        self._lock: IO[bytes] | None = None
        self._folder = _folder("chats") if enabled else None

    @property
    def keeps(self) -> bool:
        """Whether there is a folder for it."""
        return self._folder is not None

    def begin(self) -> None:
        """The next turn begins a new file.

        Raises:
            FileAccessError: none can be made.
        """
        self.close()
        if self._folder is not None:
            stamp = time.strftime("%Y-%m-%d-%H%M%S")
            numbered = (f"{stamp}-{n}" if n else stamp for n in range(1000))
            names = (f"{name}{self._ending}" for name in numbered)
            self.path = next((path for path in self._paths(names) if self._take(path)), None)
            if self.path is None:
                raise FileAccessError(f"no file can be made in {self._folder}")

    def go_on(self, path: Path) -> bool:
        """Go on with a file that is there; False if another process does: a new one begins."""
        self.close()
        if self._folder is None:
            return True
        if path.parent.absolute() == self._folder.absolute() and self._take(path):
            self.path = path
            return True
        self.begin()
        return path.parent.absolute() != self._folder.absolute()

    def close(self) -> None:
        """Let others go on with it."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._lock.name)
            self._lock.close()
        self._lock = self.path = None

    def _paths(self, names: Iterator[str]) -> Iterator[Path]:
        assert self._folder is not None
        for name in names:
            path = self._folder / f"{name}.json"
            if not os.path.lexists(path):
                yield path

    def _take(self, path: Path) -> bool:
        import fcntl

        try:
            lock = open(path.with_suffix(".lock"), "ab", opener=_private)  # noqa: SIM115
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.fstat(lock.fileno()).st_ino == os.stat(lock.name).st_ino
        except OSError:  # somebody has it, or removed it just now
            same = False
        if not same:
            lock.close()
            return False
        self._lock = lock
        return True


class TypedLines:
    """What was typed at the prompt, oldest first, kept for the next run."""

    def __init__(self, *, enabled: bool) -> None:
        folder = _folder("") if enabled else None
        self._path = None if folder is None else folder / "chat-history.jsonl"

    def read(self) -> list[str]:
        """The lines of earlier runs; what isn't sound in the file is left out."""
        if self._path is None:
            return []
        lines: list[str] = []
        with contextlib.suppress(FileAccessError):
            data = private_files.read(self._path, max_bytes=_MAX_HISTORY_BYTES)
            for line in data.splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    text = json.loads(line)
                    if isinstance(text, str):
                        lines.append(text)
        if len(lines) > 2 * N_LINES:
            lines = lines[-N_LINES:]
            with contextlib.suppress(FileAccessError):
                private_files.write(self._path, "".join(map(_json_line, lines)).encode())
        return lines

    def add(self, text: str) -> None:
        """Keep one more; where that can't be done nothing happens."""
        if self._path is not None:
            with (
                contextlib.suppress(OSError),
                open(self._path, "ab", buffering=0, opener=_private) as file,
            ):
                file.write(_json_line(text).encode())


def _json_line(text: str) -> str:
    return json.dumps(text) + "\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _folder(name: str) -> Path | None:
    """A folder inside the data folder, both for this user alone; None where that can't be had."""
    top = private_folder(data_folder())
    return top if top is None or not name else private_folder(top / name)
