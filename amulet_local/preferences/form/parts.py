"""What an answer consists of: questions, a list, a heading, what comes below it.

Knows nothing about how many there are, or about languages but English.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.counts import NUMBER, value_of
from amulet_local.preferences.form.form import Count, Form

SHORT_SENTENCE_WORDS, VERY_SHORT_SENTENCE_WORDS = 12, 8
"""Of sentences that are to be short, and very short, where nobody says how many."""

TWEET_CHARACTERS = 280

_A = r"(?: an?| one| the| your| some| a few)?(?: [a-z'-]+){0,2}?"
_ASKS = rf"(?:with|by asking(?: me)?|on|in){_A} questions?(?! mark)"
_ANSWER = r"(?: (?:it|(?:the|your|each|every|an|all) (?:answers?|repl(?:y|ies)|responses?|text)))?"
_HERE = r"(?= *(?:$|[,;.!:(]|at the|first|on top|above|and\b|in markdown|please|for me|to me|back))"
_WORDS_OF_ONE = (
    rf"(?:at most|(?:no|not|never) (?:more|longer) than|max(?:imum)?|up to|"
    rf"(?P<fewer>under|(?:fewer|less|shorter) than))(?: of)? (?P<n>{NUMBER}) words"
)

_MANY = "(?:lots of|tons of|loads of|plenty of|many)"

_PATTERNS = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (
            r"\b(?:questions only|(?:only|just|nothing but)(?: \w+)? questions|"
            r"(?:answer|respond|reply|speak|talk|write)(?: only)? in questions|"
            r"in the form of (?:a )?questions?|as a series of questions|(?:every|each) (?:sentence|"
            rf"line) (?:is|has to be|must be|should be) a question){_HERE}",
            Form(questions="all"),
        ),
        (
            rf"\b(?:(?:end|finish)(?:s|ing)?|(?:clos|conclud)(?:e|es|ing)){_ANSWER} "
            rf"(?:{_ASKS}|(?:in|with|on) a question mark)",
            Form(questions="last"),
        ),
        (rf"\b{_A} question (?:back )?at the (?:very )?end\b", Form(questions="last")),
        (
            rf"\b(?:start|begin|open)(?:s|ing|ning)?{_ANSWER} {_ASKS}",
            Form(questions="first"),
        ),
        (
            r"\b(?:with|under|below|add|include|use|(?:start|begin|open)(?:s|ing|ning)? with)"
            rf"{_A}(?: #+)? (?:headings?|headers?|title){_HERE}"
            rf"|\b(?:with|add|include|use)(?: at least)? {NUMBER}(?: or more)?(?: #+)?"
            rf"(?: markdown)? (?:headings|headers)\b",
            Form(has_heading=True),
        ),
        (
            r"\b(?:with|add|include|use|end with|finish with)(?: an?)?(?: [a-z'-]+)? "
            r"(?:p\. ?s\.?(?!\w)|ps\b|postscript)(?: starting with p\. ?s\.)?"
            r"|\bp\. ?s\. at the (?:very )?(?:end|bottom)",
            Form(below="P.S."),
        ),
        (rf"\b(?:with|add|include|use|plus){_A} hashtags?\b", Form(below="#")),
        (
            r"\b(?:(?:with|add|include|(?:end|finish|close)(?:s|ing)? (?:with|in)) an? (?:short )?"
            r"tl;? ?dr|tl;? ?dr at the (?:very )?(?:end|bottom))\b",
            Form(below="TL;DR:"),
        ),
        (r"\b(?:as|in|like)(?: an?| one)?(?: single)? tweet\b", Form(characters=TWEET_CHARACTERS)),
        (
            rf"\b{_MANY}(?: [a-z]+)? emojis\b",
            Form(emojis=Count(3, None)),
        ),
        (
            r"\b(?:with|use|using|add|adding|include)(?: an?| some| a few| the right| fitting)? "
            r"emojis?\b(?! or\b| only| instead)",
            Form(emojis=Count(1, None)),
        ),
        (
            r"\bq:? ?(?:/|&|and) ?a:? (?:style|format|form)\b|\bas (?:an? )?q ?(?:&|and) ?a\b",
            Form(opening="Q:", mentions=(("A:", 1),)),
        ),
        (r"\bhaikus?\b", Form(lines=Count(3, 3))),
        (r"\blimericks?\b", Form(lines=Count(5, 5))),
        (r"\b(?:rhym(?:ed|ing) )?couplet\b", Form(lines=Count(2, 2))),
        (r"\bquatrain\b", Form(lines=Count(4, 4))),
    )
)
_NO = re.compile(r"\b(?:no|not|never|without|avoid|don't|skip|instead of|rather than)\b[^,;.]*$")

_SENTENCE_WORDS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\bsentences (?:of |with |that have |should have )?{_WORDS_OF_ONE}",
        rf"\b(?:each|every) sentence (?:has |with |of |must have )?{_WORDS_OF_ONE}",
        rf"\b{_WORDS_OF_ONE} (?:in|per|to|for) (?:a |each |every |any )?sentence",
    )
)
_SHORT_SENTENCES = re.compile(
    r"\b(?P<very>(?:very|super|really|extremely|ultra) )?short sentences\b"
)

_LISTED = re.compile(
    r"(?:(?:as|in|use|using|with|make it|write|give me|answer (?:in|with|as)|format(?:ted)? as|"
    r"only|just|put it in) )*(?:an? )?(?:short |small |simple |clear |plain )*"
    rf"(?:(?:exactly )?{NUMBER} )?(?:(?P<numbered>(?:numbered|ordered) (?:lists?|steps|"
    r"points|items)|list with numbers|number (?:the|all|your|each|every) (?:steps?|points?|items?)"
    r")|(?P<bulleted>bullet(?:ed)?[- ](?:points?|lists?)|bullets|"
    r"unordered lists?)|(?P<ticked>check ?list|to-?do list)|(?P<table>(?:markdown )?table))"
    r"(?: (?:form|format|only|please|pls))*(?: with (?:[a-z]+ )?(?:check ?)?boxes\b[^,;.]*)?[ .!]*"
)
_FIRST_MARKS = {"numbered": "1.", "bulleted": "-", "ticked": "- [ ]", "table": "|"}

_MARKS = {
    "semicolons": "semi-?colons?",
    "parentheses": "parenthes[ei]s|parens|(?<!angular )(?<!angle )(?<!square )(?<!curly )brackets",
    "ellipses": "ellips[ei]s|(?:three|trailing) dots|dots",
    "dashes": "(?:em[- ]?)?dashes(?! of)|em[- ]?dash",
    "bold": "(?<=in )bold(?= *(?:$|[,;.!)]|type|print|face))|bold (?:words|key ?words|terms|text)",
}
_HAS_MARKS = re.compile(
    r"(?:^|\b(?:with|using|use|add|adding|include|throw in|put|love|adore|lots of|plenty of|many|"
    r"some)(?: [a-z'-]+){0,5}? )(?:"
    + "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _MARKS.items())
    + r")(?![\w-])"
)

_CLAUSE_END = re.compile(r"\s*(?:[,;.!()\n]|\s[-–—]\s|\b(?:and|but|also)\b)\s*")
_BESIDE_A_LIST = re.compile(
    r"\b(?:intro\w*|summar\w+|paragraphs?|then|before|after|followed|first|last|end\w*|start\w*|"
    r"begin\w*|headings?|titles?|examples?|prose|both|no|not|never|without|or|if|under|below)\b"
)
"""Words of a wish for more than a list, or for none."""


def parts_of(text: str) -> tuple[Form, str]:
    """What a wish says of such parts, and what is left of the wish.

    Args:
        text: the wish, in English and in lower case.
    """
    form = Form()
    for clause in () if _BESIDE_A_LIST.search(text) else _CLAUSE_END.split(text):
        if (found := _LISTED.fullmatch(clause)) is not None:
            made_of = next(name for name in _FIRST_MARKS if found[name])
            form = Form(first_mark=_FIRST_MARKS[made_of])
    for pattern, asked in _PATTERNS:
        found = pattern.search(text)
        if found is not None and not _NO.search(text[: found.start()]):
            form = form.with_also(asked)
            text = f"{text[: found.start()]}, {text[found.end() :]}"
    for found in _HAS_MARKS.finditer(text):
        if not _NO.search(text[: found.start()]):
            kinds = {kind for kind in _MARKS if found[kind]}
            form = form.with_also(Form(marks=frozenset(kinds)))
    for pattern in _SENTENCE_WORDS:
        if (found := pattern.search(text)) is not None:
            most = value_of(found["n"]) - bool(found["fewer"])
            form = form.with_also(Form(words_of_sentences=most))
    found = _SHORT_SENTENCES.search(text)
    if found is not None and not _NO.search(text[: found.start()]):
        most = VERY_SHORT_SENTENCE_WORDS if found["very"] else SHORT_SENTENCE_WORDS
        form = form.with_also(Form(words_of_sentences=most))
    return form, text
