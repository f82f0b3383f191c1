"""What somebody may mean who asked for an address of the server that isn't there.

That is one that is there, or what other servers do at that address and is done otherwise here.
Knows nothing about what is there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

_LONGEST = 100
"""What is longer is no address that was mistyped, and would cost time."""
_LIKENESS = 0.85

_TEXTS_ALONE = "text is all that this server reads and writes"
_NO_FILES = "`amulet-local batch FILE` answers a file of requests where the model is"
_NOT_MADE = (
    "models aren't made here; a system text goes into the messages, a wish into the field "
    "preference or behind the model's name, as in NAME+concise"
)
ELSEWHERE = {
    "/api/pull": "`amulet-local pull NAME` downloads a model where the server runs, and "
    "`amulet-local serve -m NAME` serves it",
    "/api/push": "models aren't sent anywhere from here",
    "/api/create": _NOT_MADE,
    "/api/blobs": _NOT_MADE,
    "/api/copy": "--alias gives a model another name when the server starts",
    "/api/delete": "models aren't deleted here; delete the file where the server runs",
    "/models/load": "a model is loaded when a request names it",
    "/models/unload": "`amulet-local serve --idle-unload SECONDS` unloads models that nobody uses",
    "/images": _TEXTS_ALONE,
    "/audio": _TEXTS_ALONE,
    "/files": _NO_FILES,
    "/batches": _NO_FILES,
    "/fine_tuning": "nothing is trained here; the field preference says what answers are to be "
    "like",
    "/assistants": "use /v1/responses, with previous_response_id",
    "/threads": "use /v1/responses, with previous_response_id",
    "/conversations": "use /v1/responses, with previous_response_id",
}
"""What other servers do at an address or below it, without /v1, and what to do here."""


def done_elsewhere(path: str) -> str:
    """A clause with what to do instead of what other servers do at an address; empty for nothing.

    Args:
        path: what was asked for.
    """
    asked = f"{_plain(path).removeprefix('/v1')}/"
    return next((f"; {do}" for start, do in ELSEWHERE.items() if asked.startswith(f"{start}/")), "")


def near_address(path: str, known: Mapping[str, str]) -> str:
    """A clause with what to do instead, or the address that is meant and its method, or nothing.

    Args:
        path: what was asked for.
        known: the addresses that there are, each with its method.
    """
    asked = _plain(path)
    if instead := done_elsewhere(path):
        return instead
    if asked in ("/", "/v1", "/api") or len(path) > _LONGEST:
        return ""
    begin = [one for one in known if one.startswith(f"{asked}/")]
    end = [one for one in known if asked.endswith(one)]
    near = (
        [asked] * (asked in known)
        or sorted(begin, key=len)
        or difflib.get_close_matches(asked, known, n=1, cutoff=_LIKENESS)
        or sorted(end, key=len, reverse=True)
    )
    return f"; did you mean {known[near[0]]} {near[0]}?" if near else ""


def _plain(path: str) -> str:
    """An address without the slashes that are too many, in lower case."""
    return "/" + "/".join(part for part in path[:_LONGEST].lower().split("/") if part)
