"""What a wish says of an answer's form that can be counted or seen letter by letter.

Knows nothing about models or about how an answer comes to have that form. A wish is read clause by
clause, and a clause counts where it is of the whole answer: "in lower case", "in at most 40 words".
What is of a part ("the title in lower case", "sentences of at most ten words") or about so
("roughly 100 words") says nothing here. Words of other languages are read as English first.
"""

from __future__ import annotations

import re
from functools import lru_cache

from amulet_local.preferences.form.characters import characters_of
from amulet_local.preferences.form.counts import count_of, with_ranges
from amulet_local.preferences.form.form import ANY_FORM, Case, Count, Form, Questions
from amulet_local.preferences.form.in_english import in_english
from amulet_local.preferences.form.lines import lines_of
from amulet_local.preferences.form.parts import parts_of
from amulet_local.preferences.form.quoted import QUOTED
from amulet_local.preferences.form.said_texts import said_texts
from amulet_local.preferences.form.writing import writing_of

__all__ = ["ANY_FORM", "Case", "Count", "Form", "Questions", "form_of", "is_form_alone"]

_MARKS = str.maketrans({**dict.fromkeys("“”„«»「」『』", '"'), **dict.fromkeys("’‘‚‹›`", "'")})

_SEPARATOR = re.compile(
    r"\s*(?:[,;.!?:()\n]|\s[-–—]\s|\b(?:but|and|with|while|then|please|also)\b)\s*"
)
"""What stands between clauses; "without" is no "with"."""

_ABOUT = re.compile(
    r"\b(?:(?:explain|tell me|describe|say|know) (?:how|why|what|when|who)|"
    r"(?:don't|do not|needn't|need not)(?: have| need)? to)\b",
    re.I,
)
"""What is about such forms, or leaves them free."""


_TYPED = {
    "w/": "with",
    "w /": "with",
    "w/o": "without",
    "dont": "don't",
    "pls": "please",
    "plz": "please",
    "ur": "your",
    "u": "you",
}
_TYPED_SO = re.compile(rf"{QUOTED}|(?<![\w'])(?:w/o|w ?/|dont|pls|plz|ur|u)(?![\w'])", re.I)
"""What people type for these words, and texts in quotation marks, which stay."""

_WORDS_OF_FORMS = frozenset(
    re.findall(
        r"\w+",
        """
        a about above all always an and answer answers any anywhere as at be begin below better
        block but by can cap capital capitalized caps case character characters chars count do each
        eight eighteen eighty eleven ever every everything exactly fewer fifteen fifty five format
        forty four fourteen from give have hundred i in into is it just keep least less letters
        limit line lines long longer lower lowercase m max maximum me min minimum more most must my
        need never nine nineteen no not nothing number numbers of on one only or over own per please
        precisely put replies reply respond response s sentence sentences separate seven seventeen
        seventy should single six sixteen sixty small start t ten text than that the thing thirteen
        thirty three time times to top tops twelve twenty two under up upper uppercase use using
        very want whole with within word words write written you your
        """,
    )
)
"""Words of wishes that are for a form alone."""

MOST_CHARACTERS = 500
"""Of a wish; what is longer is a text of its own."""


@lru_cache(maxsize=256)
def form_of(wish: str) -> Form:
    """The form that a wish asks for, as far as it can be counted; a false one if it asks for none.

    Args:
        wish: what a user wrote; one of more than MOST_CHARACTERS says nothing here.
    """
    if len(wish) > MOST_CHARACTERS:
        return Form()
    text = _spelled_out(wish)
    form = writing_of(text)
    text = _in_english(text)
    if _ABOUT.search(text):
        return form
    for read in (lines_of, said_texts, characters_of, parts_of):
        found, text = read(text)
        form = form.with_also(found)
    for clause in _SEPARATOR.split(with_ranges(text.lower())):
        form = form.with_also(count_of(clause))
    return form


@lru_cache(maxsize=256)
def is_form_alone(wish: str) -> bool:
    """Whether a wish asks for a form that is kept by itself, and for nothing else.

    Args:
        wish: as for `form_of`.
    """
    if not form_of(wish).is_kept_by_itself:
        return False
    text = _in_english(_spelled_out(wish))
    for read in (lines_of, said_texts, characters_of):
        _, text = read(text)
    return set(re.findall(r"[^\W\d]+", text.lower())) <= _WORDS_OF_FORMS


def _spelled_out(wish: str) -> str:
    return _TYPED_SO.sub(
        lambda found: _TYPED.get(found[0].lower(), found[0]), wish.translate(_MARKS)
    )


def _in_english(text: str) -> str:
    return " ".join(in_english(text).split())
