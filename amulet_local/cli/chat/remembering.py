"""What somebody asks a chat to remember in plain words, kept once they have said yes.

Knows nothing about profiles. "Remember that I am a vegetarian." is asked about, and the next line
is the answer; a line that is neither yes nor no is a question like any other, and nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_ASKED = re.compile(
    r"(?:please,?\s+)?remember(?:\s+that\b|\s*:|(?=\s+(?:i|my)\b))\s*(?P<fact>.*[^?\s])\s*",
    re.IGNORECASE | re.DOTALL,
)
_YES = frozenset(("y", "yes", "yes.", "yes please", "ok", "sure"))
_NO = frozenset(("n", "no", "no.", "no thanks"))


def asked_to_remember(text: str) -> str:
    """What a text asks to be remembered; empty where it asks something else.

    "Do you remember that song?" is a question, and so is what ends in a question mark.
    """
    found = _ASKED.fullmatch(text.strip())
    if found is None:
        return ""
    fact = found["fact"]
    return fact[0].upper() + fact[1:]


class Remembering:
    """Asks before a fact is kept."""

    def __init__(
        self, profile: str, say: Callable[[str], None], keep: Callable[[str], None]
    ) -> None:
        """Take note.

        Args:
            profile: the name of the profile that would keep it.
            say: shows a line.
            keep: keeps a fact, and says so.
        """
        self._profile, self._say, self._keep = profile, say, keep
        self._fact = ""

    def takes(self, text: str) -> bool:
        """Whether a text is about remembering; then it is dealt with, and needs no answer.

        Raises:
            AmuletError: it can't be kept.
        """
        fact, self._fact = self._fact, asked_to_remember(text)
        if self._fact:
            self._say(f"keep this in the profile {self._profile}: {self._fact!r}? yes or no")
            return True
        said = text.strip().lower()
        if fact and said in _YES:
            self._keep(fact)
        elif fact and said in _NO:
            self._say("not kept")
        else:
            return False
        return True
