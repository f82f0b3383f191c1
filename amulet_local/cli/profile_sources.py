"""Where `amulet-local profile learn` has its texts from: a file of ours, or another program.

Knows nothing about profiles. What nobody has rated is shown, and rated there and then.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from amulet_local.cli.terminal import note, visible, write
from amulet_local.common import private_files
from amulet_local.common.errors import InvalidParameterError
from amulet_local.learning.liked_texts import LikedText, read_texts
from amulet_local.params.choices import as_known

if TYPE_CHECKING:
    from amulet_local.profile.sources import KeptAnswer

FORMS = ("own", "open-webui", "llm")
MAX_BYTES = 256 * 2**20
_SAID = {"good": True, "g": True, "bad": False, "b": False}


def liked_texts(file: str, form: str, most: int) -> Sequence[LikedText]:
    """The texts that are to be learned from.

    Args:
        file: where they are.
        form: one of FORMS.
        most: of llm's log, how many of the last answers are asked about.

    Raises:
        AmuletError: they can't be read, or it is no such form.
    """
    from amulet_local.profile.sources import llm_log, open_webui_export

    form = as_known(form, FORMS)
    if form == "own":
        return read_texts(file)
    if form == "llm":
        return list(_rated(llm_log(Path(file), most)))
    if form != "open-webui":
        raise InvalidParameterError(f"--from is {', '.join(FORMS)}, not {form!r:.40}")
    try:
        text = private_files.read(file, max_bytes=MAX_BYTES).decode()
    except UnicodeDecodeError:
        raise InvalidParameterError(f"{file} isn't UTF-8 text") from None
    found, n_others = open_webui_export(text)
    if n_others:
        note(f"{n_others} entries have no thumb on an answer, and are left out")
    return [_text(item, liked=bool(item.good)) for item in found]


def _rated(answers: Sequence[KeptAnswer]) -> Iterator[LikedText]:
    """Those that somebody says something of, on standard input; it ends where that ends."""
    for item in answers:
        write(f"> {visible(item.question)}\n{visible(item.answer)}\n")
        note("good, bad, or Enter for neither")
        line = sys.stdin.readline()
        if not line:
            return
        liked = _SAID.get(line.strip().lower())
        if liked is not None:
            yield _text(item, liked=liked)


def _text(item: KeptAnswer, *, liked: bool) -> LikedText:
    return LikedText(messages=item.question, answer=item.answer, liked=liked)
