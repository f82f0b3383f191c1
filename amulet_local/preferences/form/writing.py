"""The script in which an answer is written, by the language that a wish is for.

Knows nothing about what languages are called, which text/languages.py does.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.form import Form
from amulet_local.text.languages import mentioned, named
from amulet_local.text.scripts import script_of, scripts_in

_CLAUSE_END = re.compile(
    r"\s*(?:[,;.!?:()\n，。！？、]|\s[-–—]\s|\b(?:but|and|with|while|then|also)\b)\s*"
)
_BEFORE = (
    r"(?:(?:please|pls|so|therefore|only|just|always|now|answer|reply|respond|write|speak|talk|say|explain|"
    r"translate|translated|give|everything|it|all|me|this|your|the|whole|entire|full|answers?|"
    r"repl(?:y|ies)|responses?|entirely|completely|strictly|exclusively|use|using|to|into|make|keep|"
    r"i want|i'd like|(?:can|could|would|will) you|in(?= the)|"
    r"пожалуйста|отвечай(?:те)?|ответь(?:те)?|пиши(?:те)?|напиши(?:те)?|говори(?:те)?|"
    r"расскажи(?:те)?|объясни(?:те)?|мне|только|все|всё) )*[请請]?"
)
_BEHIND = (
    r"(?: ?(?:please|pls|only|language|script|throughout|at all times|the whole time|"
    r"пожалуйста|язык|回答我?|答复|回复|写|說|说|吧|"
    r"(?:答え|応え|返事し|説明し|回答し|書い)て?(?:下さい|ください)?|お願いします|"
    r"(?:답변?|대답|말|설명)?해 ?(?:줘|주세요|줘요)?))*"
)
_WRITTEN_IN = re.compile(rf"{_BEFORE}(?P<name>.+?){_BEHIND}")
_NEVER_ENGLISH = re.compile(
    r"\b(?:even (?:when|if|though) (?:i|we)\b[^,;.!]*|(?:no|not|never|not in|never in|instead of) "
    r"english(?: at all)?)"
)
_NOT = re.compile(r"[不别別]|ない|\bلا\b|नहीं|\bमत\b|않|말고|ไม่|\bלא\b")
_LATIN_ALL_THE_SAME = re.compile(
    r"translit|romani[sz]|romaji|pinyin|(?:latin|roman|english) (?:letters|script|alphabet)", re.I
)


def writing_of(wish: str) -> Form:
    """The script of the language that a wish is for, if it is for one alone.

    Latin letters are no script to keep: most languages have them, English among them.

    Args:
        wish: what the user wrote.
    """
    text = _NEVER_ENGLISH.sub("", wish.lower())
    scripts = {script_of(language) for language in mentioned(text)}
    if len(scripts) != 1 or scripts & {"latin", ""} or _LATIN_ALL_THE_SAME.search(text):
        return Form()
    clauses = (_WRITTEN_IN.fullmatch(clause) for clause in _CLAUSE_END.split(text))
    is_named = any(clause is not None and named(clause["name"]) for clause in clauses)
    return Form(script=scripts.pop()) if is_named or _is_in_it(text, *scripts) else Form()


def _is_in_it(wish: str, script: str) -> bool:
    """Whether a wish that names a language is in it: "हिंदी में जवाब दें".

    In Russian a language is called as a writer is.
    """
    return script != "cyrillic" and scripts_in(wish) == {script} and not _NOT.search(wish)
