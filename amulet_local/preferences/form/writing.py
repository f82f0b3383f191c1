"""The script in which an answer is written, by the language that a wish is for.

Knows nothing about how a language is wished for, which wished_language.py does.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.form import Form
from amulet_local.preferences.wished_language import named_languages, wished_language
from amulet_local.text.scripts import script_of, scripts_in

_NOT = re.compile(r"[不別别]|ない|\bلا\b|नहीं|\bमत\b|않|말고|ไม่|\bלא\b")
_LATIN_ALL_THE_SAME = re.compile(
    r"translit|romani[sz]|romaji|pinyin|(?:latin|roman|english) (?:letters|script|alphabet)", re.I
)


def writing_of(wish: str) -> Form:
    """The script of the language that a wish is for, if it names no others.

    Latin letters are no script to keep: most languages have them, English among them.

    Args:
        wish: what the user wrote.
    """
    scripts = {script_of(language) for language in named_languages(wish)}
    if len(scripts) != 1 or scripts & {"latin", ""} or _LATIN_ALL_THE_SAME.search(wish):
        return Form()
    is_wished = wished_language(wish) is not None or _is_in_it(wish, *scripts)
    return Form(script=scripts.pop()) if is_wished else Form()


def _is_in_it(wish: str, script: str) -> bool:
    """Whether a wish that names a language is in it: "हिंदी में जवाब दें".

    In Russian a language is called as a writer is.
    """
    return script != "cyrillic" and scripts_in(wish) == {script} and not _NOT.search(wish)
