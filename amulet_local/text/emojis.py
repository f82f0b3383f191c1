"""Finds emojis in a text, a family of several characters as one.

Knows nothing about what they mean. Signs that are emojis only with a variation selector, such as
the heart of a card game, count with and without it; digits, (c) and arrows of plain text don't.
"""

from __future__ import annotations

import re

_PICTURE = (
    "[\U0001f000-\U0001f0ff\U0001f10d-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001f64f"
    "\U0001f680-\U0001f6ff\U0001f774-\U0001f77f\U0001f7d5-\U0001f7ff\U0001f90c-\U0001faff"
    "◽◾⌚⌛⏩-⏳⏸-⏺☀-☄☎☑☔☕☘☝☠☢☣☦☪☮☯☸-☺♀♂♈-♓♟♠♣♥♦♨♻♾♿⚒-⚗⚙⚛⚜⚠⚡⚧⚪⚫⚰⚱⚽⚾⛄⛅⛈⛎⛏⛑⛓⛔⛩⛪"
    "⛰-⛵⛷-⛺⛽✂✅✈-✍✏✒✔✖✝✡✨✳✴❄❇❌❎❓-❕❗❣❤➕-➗➰➿⬛⬜⭐⭕〰〽㊗㊙]"
)
_WITH_SELECTOR = "[‼⁉™ℹ↔-↙↩↪⌨⏏Ⓜ▪▫▶◀◻◼➡⤴⤵⬅-⬇©®]\ufe0f|[0-9#*]\ufe0f?\u20e3"
_TONE_AND_TAGS = "[\U0001f3fb-\U0001f3ff]?[\U000e0020-\U000e007f]*"
_ONE = f"(?:{_PICTURE}|{_WITH_SELECTOR})[\ufe0f\ufe0e]?{_TONE_AND_TAGS}"

EMOJI = re.compile(f"[\U0001f1e6-\U0001f1ff]{{2}}|{_ONE}(?:\u200d{_ONE})*")
"""One emoji: a flag, or pictures that are joined, each perhaps with a skin tone."""


def emojis_of(text: str) -> list[str]:
    """The emojis of a text, in order."""
    return EMOJI.findall(text)


def without_emojis_at_end(text: str) -> str:
    """The text without blanks and emojis at its end."""
    end = len(text.rstrip())
    for match in reversed(list(EMOJI.finditer(text))):
        if match.end() != end:
            break
        end = len(text[: match.start()].rstrip())
    return text[:end]
