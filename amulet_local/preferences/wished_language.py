"""The language that a wish is for, in whatever sentence it is said.

Knows nothing about what languages are called, which text/languages.py does, or about what becomes
of one. A wish is read clause by clause: "so write everything in Italian" names a language and says
nothing else; "I'm learning Italian" says why.
"""

from __future__ import annotations

import re

from amulet_local.text.languages import mentioned, named

_CLAUSE_END = re.compile(
    r"\s*(?:[,;.!?:()\n，。！？、]|\s[-–—]\s|\b(?:but|and|with|while|then|also|so|therefore)\b)\s*"
)
_BEFORE = (
    r"(?:(?:please|pls|only|just|always|now|answer|reply|respond|write|speak|talk|say|explain|"
    r"translate|translated|give|everything|it|all|me|this|your|the|whole|entire|full|answers?|"
    r"repl(?:y|ies)|responses?|entirely|completely|strictly|exclusively|use|using|to|into|make|"
    r"keep|i want|i'd like|(?:can|could|would|will) you|in(?= the)|"
    r"пожалуйста|отвечай(?:те)?|ответь(?:те)?|пиши(?:те)?|напиши(?:те)?|говори(?:те)?|"
    r"расскажи(?:те)?|объясни(?:те)?|мне|только|все|всё) )*[请請]?"
)
_BEHIND = (
    r"(?: ?(?:please|pls|plz|only|language|script|(?:to|with) me|throughout|at all times|"
    r"the whole time|always|пожалуйста|язык|回答我?|答复|回复|写|說|说|吧|"
    r"(?:答え|応え|返事し|説明し|回答し|書い)て?(?:下さい|ください)?|お願いします|"
    r"(?:답변?|대답|말|설명)?해 ?(?:줘|주세요|줘요)?))*"
)
_IN_A_LANGUAGE = re.compile(rf"{_BEFORE}(?P<name>.+?){_BEHIND}")
_NEVER_ENGLISH = re.compile(
    r"\b(?:even (?:when|if|though) (?:i|we)\b[^,;.!]*|(?:no|not|never|not in|never in|instead of) "
    r"english(?: at all)?)"
)
_ASKS = (
    r"(?!.*\b(?:should|must|ha[sv]e? to|wants?(?! to (?:practi[cs]|learn|study))|likes?|prefers?|"
    r"hates?|only|never|don't|can't|cannot|simple|easy|slow(?:ly)?|short|long|make|use|keep|"
    r"beginner|child(?:ren)?|kids?)\b)"
)
"""What is no reason alone: "it should read like a poem", "my kids read this"."""

_SAYS_WHY = re.compile(
    rf"{_ASKS}"
    r"(?:because |since |as )?(?:i|i'm|im|i've|my|we|we're|she|he|they|it's|this is|it)\b.*\b(?:"
    r"learn(?:ing)?|stud(?:y|ying)|practi[cs]e|practi[cs]ing|moved|lives?|living|from|reads?|"
    r"speaks?|understands?|class|course|exam|test|trip|travel(?:ling|ing)?|visit(?:ing)?|sounds?)\b"
    r"[^\d]*"
)
_COURTESY = re.compile(
    r"(?:please|pls|plz|thanks?|thank you|thx|merci|danke|gracias|grazie|need practi[cs]e)?"
    r"(?: (?:so much|very much|a lot|in advance))?"
)


def wished_language(wish: str) -> str | None:
    """The English name of the language that a clause of a wish is for.

    Args:
        wish: "I'm learning Italian, so write everything in Italian.", "russian pls", "用中文回答".

    Returns:
        "Italian", "Brazilian Portuguese"; None where no clause is for one, or two for different
        ones. A name by itself says nothing beside another one: "I speak German and French".
    """
    is_only_one = len(named_languages(wish)) == 1
    clauses = [clause for clause in _clauses(wish) if is_only_one or not named(clause)]
    found = {name for clause in clauses if (name := _of_clause(clause))}
    return found.pop() if len(found) == 1 else None


def says_more(wish: str) -> bool:
    """Whether a wish for a language asks for anything else; why it is wished is nothing else."""
    return not all(
        _of_clause(clause) or _SAYS_WHY.fullmatch(clause) or _COURTESY.fullmatch(clause)
        for clause in _clauses(wish)
    )


def named_languages(wish: str) -> frozenset[str]:
    """All languages that a wish names, in lower case, but for English that isn't to be."""
    return mentioned(_without_english(wish))


def _clauses(wish: str) -> list[str]:
    return _CLAUSE_END.split(_without_english(wish))


def _without_english(wish: str) -> str:
    return _NEVER_ENGLISH.sub("", wish.lower().replace("’", "'"))


def _of_clause(clause: str) -> str | None:
    found = _IN_A_LANGUAGE.fullmatch(clause.strip())
    return named(found["name"]) if found else None
