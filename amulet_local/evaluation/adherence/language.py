"""Which language an answer is in, by py3langid of the extra `eval`.

Knows the 27 languages of KNOWN only: among all 139 that the library has, forty words of Spanish
may look most like Aragonese. A text in none of them counts as the nearest, or as none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from amulet_local.common.extras import missing_extra

KNOWN = (
    *("ar", "cs", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "hu", "id", "it", "ja"),
    *("ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "vi", "zh"),
)
"""ISO 639-1 codes of the languages that are told apart."""

MIN_PROBABILITY = 0.5
"""A text is in a language from this probability among the known ones, "no language" included."""


def require_library() -> None:
    """Raise MissingExtraError if py3langid isn't installed."""
    try:
        import py3langid.langid  # noqa: F401
    except ImportError:
        raise missing_extra("telling languages apart needs py3langid", "eval") from None


@lru_cache(maxsize=1)
def _identifier() -> Any:
    require_library()
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*KNOWN, "zxx"])
    return identifier


def language_of(text: str) -> str | None:
    """The language of a text as one of KNOWN; None where it isn't clear.

    Raises:
        MissingExtraError: py3langid isn't installed.
    """
    if not any(character.isalpha() for character in text):
        return None
    language, probability = _identifier().classify(text)
    return str(language) if language in KNOWN and probability >= MIN_PROBABILITY else None
