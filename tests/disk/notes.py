"""What a folder shows after a process was killed or the power was lost, from notes of what it did.

Knows nothing about what is in the files. What a file system promises: data is on the disk after a
sync of its file, a name after a sync of its folder; before that each may be there or not.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAD = struct.Struct("<4Q")
Files = dict[str, bytes]


@dataclass(frozen=True)
class Note:
    """One call: its kind, the file's number, a place or size, and data or names."""

    kind: str
    inode: int
    offset: int
    data: bytes


def read_notes(path: Path) -> list[Note]:
    """The notes of a run."""
    data, notes, at = path.read_bytes(), [], 0
    while at < len(data):
        kind, inode, offset, n = HEAD.unpack_from(data, at)
        at += HEAD.size
        notes.append(Note(chr(kind), inode, offset, data[at : at + n]))
        at += n
    return notes


@dataclass
class Disk:
    """Files as the process sees them, and as far as they are on the disk.

    Attributes:
        data, synced: content by number.
        names, kept_names: number by path.
    """

    data: dict[int, bytes] = field(default_factory=dict)
    synced: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    kept_names: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Disk:
        """A folder as it is, all of it on the disk."""
        disk = cls()
        for path in folder.rglob("*"):
            if path.is_file():
                inode = path.stat().st_ino
                disk.data[inode] = disk.synced[inode] = path.read_bytes()
                disk.names[str(path)] = disk.kept_names[str(path)] = inode
        return disk

    def take(self, note: Note) -> None:
        """One more call."""
        text = os.fsdecode(note.data) if note.kind in "CSRU" else ""
        content = self.data.get(note.inode, b"")
        match note.kind:
            case "C":
                self.names[text] = note.inode
                self.data[note.inode] = b""
                self.synced.pop(note.inode, None)  # the number of a file that is gone
            case "W":
                content = content.ljust(note.offset, b"\0")
                end = note.offset + len(note.data)
                self.data[note.inode] = content[: note.offset] + note.data + content[end:]
            case "T":
                self.data[note.inode] = content[: note.offset].ljust(note.offset, b"\0")
            case "S" if note.inode in self.data and self.names.get(text) == note.inode:
                self.synced[note.inode] = content
            case "S":
                inside = {p: n for p, n in self.names.items() if os.path.dirname(p) == text}
                others = {p: n for p, n in self.kept_names.items() if os.path.dirname(p) != text}
                self.kept_names = {**others, **inside}
            case "R":
                old, _, new = text.partition("\0")
                self.names[new] = self.names.pop(old)
            case "U":
                self.names.pop(text, None)

    def killed(self) -> Files:
        """The files after a kill of the process."""
        return {path: self.data[inode] for path, inode in self.names.items()}

    def after_power_loss(self) -> Iterator[Files]:
        """The files with what was synced alone: the names of then, or those that weren't synced."""
        for names in (self.kept_names, self.names):
            yield {path: self.synced.get(inode, b"") for path, inode in names.items()}


def put(folder: Path, files: Files) -> None:
    """Have these files in a folder, and no others."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    for name, data in files.items():
        path = Path(name)
        path.write_bytes(data)
        path.chmod(0o600)
