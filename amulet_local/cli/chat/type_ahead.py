"""What is typed while an answer comes: read without being echoed into it.

Knows nothing about what it is for. Ctrl-C stays a signal.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import threading
from types import TracebackType

from amulet_local.cli import quiet_keyboard

_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?")
_ERASE, _ERASE_ALL, _END = "\x7f\b", "\x15", "\x04"


class TypeAhead:
    """Reads the keyboard in a thread of its own, inside the block.

    Lines that were ended with Enter can be taken one by one. Several lines that come at once are
    pasted: they end nothing.
    """

    def __init__(self, ending: str = "") -> None:
        """Nothing is typed yet.

        Args:
            ending: the line that Ctrl-D is, where nothing else is in the line.
        """
        self.line = ""
        self._ending = ending
        self._ended: list[str] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self) -> list[str]:
        """The lines that were ended since the last call."""
        with self._lock:
            ended, self._ended = self._ended, []
            return ended

    def feed(self, text: str) -> None:
        """Take what the keyboard sent."""
        text = _SEQUENCE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
        pasted = "\n" in text.rstrip("\n")
        with self._lock:
            for character in text:
                if character in _ERASE:
                    self.line = self.line[:-1]
                elif character == _ERASE_ALL:
                    self.line = ""
                elif character == _END and not self.line and self._ending:
                    self._ended.append(self._ending)
                elif character == "\n" and not pasted:
                    self._ended.append(self.line)
                    self.line = ""
                elif character.isprintable() or character in "\n\t":
                    self.line += character

    def __enter__(self) -> TypeAhead:
        descriptor = quiet_keyboard.begin()
        if descriptor is None:
            return self
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(descriptor,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._thread is None:
            return
        os.write(self._wake[1], b".")
        self._thread.join()
        for descriptor in self._wake:
            os.close(descriptor)
        quiet_keyboard.end()

    def _read(self, descriptor: int) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        while True:
            ready, _, _ = select.select([descriptor, self._wake[0]], [], [])
            if self._wake[0] in ready:
                return
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                return
            if not data:
                return
            self.feed(decoder.decode(data))
