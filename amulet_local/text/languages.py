"""How "in French" is said in French, for an answer that says of itself which language it is in.

Knows nothing about what language a text is in.
"""

from __future__ import annotations

from collections.abc import Sequence

_NAMES = {
    "french français französisch francés francese francês": "en français",
    "german deutsch allemand alemán tedesco alemão": "auf deutsch",
    "spanish español espagnol spanisch spagnolo espanhol castellano": "en español",
    "italian italiano italien italienisch": "in italiano",
    "portuguese português portugais portugiesisch portugués": "em português",
    "dutch nederlands néerlandais niederländisch neerlandés": "in het nederlands",
    "swedish svenska suédois schwedisch sueco": "på svenska",
    "polish polski polsku polonais polnisch polaco": "po polsku",
    "russian русский русском russe russisch ruso": "на русском",
    "chinese mandarin 中文 chinois chinesisch chino": "用中文",
    "japanese 日本語 japonais japanisch japonés": "日本語で",
}
"""Languages in which text/announcement.py knows openings: their names -> how it is said there."""

_IN_ITSELF = {name: phrase for names, phrase in _NAMES.items() for name in names.split()}


def in_itself(words: Sequence[str]) -> list[str]:
    """What a wish for a language is in that language: "en français" for "in French".

    Args:
        words: the wish's, in lower case.
    """
    return list(dict.fromkeys(_IN_ITSELF[word] for word in words if word in _IN_ITSELF))
