"""All that the package writes into files, each as an old value, a new one, and what is read of it.

As a program (python -m tests.disk.writers NAME NOTES, with the layer loaded before) it has each
call of a write fail in turn, and then notes those of an undisturbed one, and what was before.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amulet_local.batch.written_records import drop_failed
from amulet_local.cli.kept_chats import TypedLines
from amulet_local.common import measurement_cache, private_files
from amulet_local.common.errors import AmuletError
from amulet_local.common.json_log import Log, read_log
from amulet_local.conversation import conversation_file
from amulet_local.conversation.conversation_file import SavedConversation
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.loading import prompt_cache
from amulet_local.loading.saved_rows import SavedRow
from amulet_local.preferences.settings_editor import set_preference
from amulet_local.preferences.user_settings import read_settings
from amulet_local.profile.feedback import Fact
from amulet_local.profile.profile import Profile
from amulet_local.prompts.dialogue import Turn
from tests.disk.notes import Disk, Files, put

OLD, NEW = "old", "new" * 1000


@dataclass(frozen=True)
class Writer:
    """A kind of file.

    Attributes:
        write: a value into a folder.
        read: the values that are found there.
        is_kept: whether what was written is promised to be there.
    """

    write: Callable[[Path, str], object]
    read: Callable[[Path], Any]
    is_kept: bool = True


def _write_talk(folder: Path, text: str) -> None:
    turn = Turn(question=text, answer="", token_ids=(), finish_reason="stop")
    saved = SavedConversation(model="a.gguf", settings=ConversationSettings(), turns=(turn,))
    conversation_file.write(folder / "talk.json", saved)


def _write_record(folder: Path, text: str) -> None:
    with Log(folder / "records.jsonl") as log:
        log.append({"line": text})


def _drop_record(folder: Path, text: str) -> None:
    path = folder / "records.jsonl"
    if text == OLD:
        _write_record(folder, OLD)
        with Log(path) as log:
            log.append({"line": NEW, "error": "full"})
    else:
        with Log(path) as log:
            log.replace(drop_failed)


def _fact(folder: Path, text: str) -> None:
    profile = Profile("me")
    if not profile.exists:
        profile.create()
    profile.add(Fact(at=0.0, origin="chat", text=text))


def _write_model(folder: Path, text: str) -> None:
    part = folder / "model.gguf.part"
    try:
        try:
            part.write_bytes(text.encode())
            private_files.put_in_place(part, folder / "model.gguf")
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise AmuletError(str(error)) from None


def _cached(folder: Path) -> Any:
    return measurement_cache.read("measured.json").get("a")


def _saved(folder: Path) -> Any:
    rows = prompt_cache.load("a", "fingerprint")
    return rows and rows[0].state


def _facts(folder: Path) -> Any:
    return [item.text for item in Profile("me").contents().facts]


WRITERS: dict[str, Writer] = {
    "settings": Writer(
        lambda folder, text: set_preference("a", text, force=True),
        lambda folder: read_settings().preferences.get("a"),
    ),
    "conversation": Writer(
        _write_talk, lambda folder: conversation_file.read(folder / "talk.json").turns[0].question
    ),
    "page or report": Writer(
        lambda folder, text: private_files.write(folder / "page.html", text.encode()),
        lambda folder: (folder / "page.html").read_bytes(),
    ),
    "records": Writer(_write_record, lambda folder: [*read_log(folder / "records.jsonl")]),
    "first record": Writer(
        lambda folder, text: text == OLD or _write_record(folder, text),
        lambda folder: [*read_log(folder / "records.jsonl")],
    ),
    "records without errors": Writer(
        _drop_record, lambda folder: [*read_log(folder / "records.jsonl")]
    ),
    "prompt cache": Writer(
        lambda folder, text: prompt_cache.save(
            "a", "fingerprint", [SavedRow(tokens=(1, 2), state=text.encode())]
        ),
        _saved,
    ),
    "measurements": Writer(
        lambda folder, text: measurement_cache.keep("measured.json", "a", text), _cached
    ),
    "typed lines": Writer(
        lambda folder, text: TypedLines(enabled=True).add(text),
        lambda folder: TypedLines(enabled=True).read(),
        is_kept=False,
    ),
    "profile": Writer(_fact, _facts),
    "model": Writer(_write_model, lambda folder: (folder / "model.gguf").read_bytes()),
}


def use(folder: Path) -> None:
    """Have the user's folders in this one."""
    for kind in ("CONFIG", "CACHE", "DATA"):
        os.environ[f"AMULET_{kind}"] = str(folder / kind.lower())


class Layer:
    """The loaded layer."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(None)
        self._folder = os.fsencode(folder)
        self.end()

    def begin(self, *, notes: int = -1, number: int = 0, reason: int = 0) -> None:
        """Count from here; the call of this number fails, everything is noted."""
        self._library.layer_begin(self._folder, notes, number, reason)

    def end(self) -> tuple[int, bool]:
        """Watch nothing any more; how many calls there were, and whether one failed."""
        found = self._library.layer_count(), bool(self._library.layer_failed())
        self._library.layer_begin(b"", -1, 0, 0)
        return found


def each_call_fails(writer: Writer, folder: Path, layer: Layer) -> int:
    """Have each call of a write fail; how many there are."""
    writer.write(folder, OLD)
    before = writer.read(folder)
    files: Files = Disk.of(folder).killed()
    writer.write(folder, NEW)
    after = writer.read(folder)
    assert before != after
    number = 0
    while True:
        number += 1
        for reason in (errno.ENOSPC, errno.EIO):
            put(folder, files)
            layer.begin(number=number, reason=reason)
            try:
                writer.write(folder, NEW)
                is_done = True
            except AmuletError:
                is_done = False
            _, failed = layer.end()
            found = writer.read(folder)
            assert found == after or (found == before and (failed or not is_done)), (number, found)
            put_back = writer.write(folder, NEW) if found == before else None
            assert put_back is None or writer.read(folder) == after
            if not failed:
                assert is_done
                return number - 1


def main(name: str, notes: str) -> None:
    """The child: prints how many calls failed in turn."""
    folder = Path(notes).with_suffix("") / "files"
    folder.mkdir(parents=True, mode=0o700)
    use(folder)
    layer, writer = Layer(folder), WRITERS[name]
    print(each_call_fails(writer, folder, layer))
    put(folder, {})
    writer.write(folder, OLD)
    Path(notes).with_suffix(".before").write_bytes(pickle.dumps(Disk.of(folder)))
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    layer.begin(notes=descriptor)
    writer.write(folder, NEW)
    layer.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
