"""The text of an answer as far as it goes: what guards go by to tell where in it they are.

Knows nothing about guards: it follows the text whether any of them is on or not, so that one that
is turned on in the middle of an answer knows where that is.
"""

from __future__ import annotations

import re

from amulet_local.text.code_regions import CodeRegions
from amulet_local.text.json_position import JsonPosition
from amulet_local.text.sentences import ends_sentence

_BEFORE_A_WORD = re.compile(
    r"\s*(?:(?:#{1,6}|[-*•>]|1[.)])\s*)?(?:\*{1,2}|[\"“„«¿¡])?\s*",
)
"""What begins a heading, a list or a quotation, and what opens a word, each once."""

TAIL_CHARACTERS = 16
"""Of the text, to see whether a sentence ends there."""


class TextSoFar:
    """Follows one answer.

    Attributes:
        tokens: their ids.
        answer: all of its text, without reasoning.
        tail: its last characters.
        in_reasoning: whether the next token is what a thinking model writes to itself; set from
            outside.
        has_begun: whether there is a word of the answer itself, or a number that is no list's.
    """

    def __init__(self, json_position: JsonPosition | None = None, begun: str = "") -> None:
        """Start.

        Args:
            json_position: for an answer that is JSON.
            begun: what there is of the answer.
        """
        self.answer = begun
        self.tokens: list[int] = []
        self.tail = ""
        self.in_reasoning = False
        self.has_begun = False
        self._json_position = json_position
        self._regions = CodeRegions()

    @property
    def is_json(self) -> bool:
        """Whether the answer is JSON."""
        return self._json_position is not None

    @property
    def in_json_string(self) -> bool:
        """Whether the next token belongs to a string value of an answer that is JSON."""
        return self._json_position is not None and self._json_position.in_string_value

    @property
    def in_code(self) -> bool:
        """Whether the next token is code, fenced or inline."""
        return self._regions.in_code

    @property
    def ends_sentence(self) -> bool:
        """Whether a sentence ends here."""
        return ends_sentence(self.tail)

    def push(self, token: int, text: str) -> None:
        """Take the next token, and the text that it completed."""
        self.tokens.append(token)
        self.tail = (self.tail + text)[-TAIL_CHARACTERS:]
        if not self.in_reasoning:
            self.answer += text
            self.has_begun = self.has_begun or _BEFORE_A_WORD.fullmatch(self.answer) is None
            self._regions.push(text)
            if self._json_position is not None:
                self._json_position.push(text)
