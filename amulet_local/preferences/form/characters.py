"""Characters that an answer is without, and the case of its letters.

Knows nothing about languages but English.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.form import Case, Form

_KINDS = {
    "commas": "commas?",
    "semicolons": "semi-?colons?",
    "colons": "colons?",
    "exclamation marks": "exclamations?(?: marks?| points?)?",
    "question marks": "question marks?",
    "digits": "digits?|numerals?|numbers|figures",
    "emojis": "emojis?|emoticons?|smileys?",
    "parentheses": "parenthes[ei]s|parens|(?:round )?brackets",
    "quotation marks": "quot(?:ation|e) marks?|quotes",
    "dashes": "(?:em[- ]?|en[- ]?)?dash(?:es)?|hyphens?",
    "asterisks": "asterisks?",
    "full stops": "full stops?|periods?",
    "punctuation": "punctuation(?: marks?)?",
    "markdown": "markdown(?: formatting| syntax)?|formatting",
    "headings": "(?:section )?(?:headings?|headers?)",
    "bullets": "bullet(?:ed)?[- ](?:points?|lists?)|bullets|(?:numbered )?lists?",
    "contractions": "contractions?|contracted forms?",
    "bold": "bold(?: text| type| face| words| print)?",
}
_CAPITALS = "(?:upper[- ]?case|capital|block)(?: letters?| characters?)?|capitals|all[- ]caps|caps"
_SMALL = "(?:lower[- ]?case|small)(?: letters?| characters?)?"

_TITLE_CASE = re.compile(
    r"\b(?:title[- ]case(?:d)?|initial capitals|(?:capitali[sz]e|capital letters? for) "
    r"(?:every|each) word|(?:every|each) word (?:is )?capitali[sz]ed)\b"
)
_OTHER_CASE: dict[Case, str] = {"lower": _CAPITALS, "upper": _SMALL}
"""What an answer in one case is without."""

_KIND = f"(?:{'|'.join(f'(?:{name})' for name in (*_KINDS.values(), *_OTHER_CASE.values()))})"

_NO = (
    r"(?:without|with no|no|not|never|neither|zero|don't|avoid|avoids|avoiding|skip|omit|omitting|"
    r"leave out|leaving out|drop|ban|stop|free of|devoid of)"
    r"(?: (?:ever|using|use|write|writing|put|putting|include|including|add|adding|insert|employ|"
    r"want|give me|make anything|make|put anything in|answer in|answer|reply in|in|the use of|"
    r"use of|any|all|a single|single|the|to|me))*"
)
_AND = r"(?:,? (?:and|or|nor)|,)(?: (?:no|any|without|zero|the|with no))*"
_OF_THE_ANSWER = (
    r"(?= *(?:$|[,;.!:)–—-]|(?:please|at all|anywhere|whatsoever|throughout|but|and|or|nor|with|"
    r"in (?:it|the|your|this|any)|ever|entirely|completely|allowed|used|whatever|of any kind|as|"
    r"for|because|since|so|just|only|like|either|you|i|they)\b))"
)
"""What may follow; "numbers above ten" says less than "numbers"."""

_WITHOUT = (
    re.compile(rf"\b{_NO} (?P<kinds>{_KIND}(?:{_AND} {_KIND})*){_OF_THE_ANSWER}"),
    re.compile(rf"\b(?P<kinds>{_KIND})[- ]free\b"),
)

_ALL = (
    r"(?:(?:please|write|answer|reply|respond|speak|shout|in|all|only|just|entirely|completely|"
    r"everything|it|the|your|whole|entire|text|use|using|with|keep|make|should|must|be|is|written|"
    r"typed|me|at|every|word|letter|letters|out|of|nothing|exclusively|strictly|purely|always|to|"
    r"so|that)\s+)*"
)
_END = r"(?:\s(?:only|please|throughout|everywhere|always|alone|letters))*"
_CASES: dict[Case, re.Pattern[str]] = {
    "lower": re.compile(rf"{_ALL}(?:{_SMALL}){_END}|never capitali[sz]e(?: anything)?"),
    "upper": re.compile(rf"{_ALL}(?:{_CAPITALS}){_END}|shout (?:it|everything)(?: out)?{_END}"),
}
_CLAUSE_END = re.compile(
    r"\s*(?:[,;.!?:()\n]|\s[-–—]\s|\b(?:but|and|without|while|then|also|like|as)\b)\s*"
)


def characters_of(text: str) -> tuple[Form, str]:
    """What a wish says of characters, and what is left of the wish.

    Args:
        text: the wish, in English.
    """
    text = text.lower()
    form = Form()
    for pattern in _WITHOUT:
        while found := pattern.search(text):
            form = form.with_also(_without(found["kinds"]))
            text = f"{text[: found.start()]}, {text[found.end() :]}"
    if _TITLE_CASE.search(text):
        form = form.with_also(Form(case="title"))
    for clause in _CLAUSE_END.split(text):
        for case, pattern in _CASES.items():
            if pattern.fullmatch(clause):
                form = form.with_also(Form(case=case))
    return form, text


def _without(kinds: str) -> Form:
    def has(pattern: str) -> bool:
        return re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", kinds) is not None

    form = Form(without=frozenset(name for name, pattern in _KINDS.items() if has(pattern)))
    for case, pattern in _OTHER_CASE.items():
        if has(pattern):
            form = form.with_also(Form(case=case))
    return form
