"""How each sentence ends, whether it has a line of its own, and quotation marks around it all.

Knows nothing about languages but English.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.form import Form

_EACH = r"(?:each|every|all)(?: of the| your| of your)? sentences?"
_MARKS = {
    "!": r"(?:(?:an )?exclamation (?:marks?|points?)|['\"]?!['\"]?)",
    "?": r"(?:(?:a )?question marks?|['\"]?\?['\"]?)",
}
_ANSWER = (
    r"(?:everything|(?:the|your) (?:whole |entire |complete )?(?:answer|response|reply|text)|it|"
    r"it all)"
)
_QUOTATION = r"(?:double )?quot(?:ation|e)s?(?: marks)?"


def _patterns() -> list[tuple[str, Form]]:
    found = []
    for end, mark in _MARKS.items():
        form = Form(sentence_end=end)
        found += [
            (rf"\bend(?:ing)? {_EACH} (?:with|in|on) {mark}", form),
            (
                rf"\b{_EACH} (?:must |should |has to |have to )?"
                rf"(?:ends?|ending|finish(?:es)?) (?:with|in|on) {mark}",
                form,
            ),
            (rf"\b(?:with )?{mark} (?:at the end of|after|behind|ending) {_EACH}", form),
        ]
    found.append(
        (
            r"\b(?<!not )(?:lots of|tons of|loads of|plenty of|so many|many) exclamation "
            r"(?:marks|points)",
            Form(sentence_end="!"),
        )
    )
    form = Form(has_line_per_sentence=True)
    found += [
        (
            rf"\b(?:{_EACH}|each) on (?:a|its|their) (?:own |new |separate )?line"
            r"(?: of (?:its|their) own)?(?= *(?:$|[,;.!]))",
            form,
        ),
        (r"\b(?:one|a) sentence (?:per|a|on each|on every) line\b", form),
        (rf"\b(?:start |begin )?a (?:new )?line (?:break )?(?:after|for) {_EACH}", form),
        (rf"\b(?:start|begin|put|write) {_EACH} on a (?:new|separate) line\b", form),
        (rf"\b(?:new line|line break) after {_EACH}", form),
    ]
    form = Form(is_quoted=True)
    found += [
        (
            rf"\b(?:put |wrap |enclose |place |set |surround )?{_ANSWER} "
            rf"(?:in|inside|within|with) {_QUOTATION}\b",
            form,
        ),
        (
            r"(?:^|, ?|\band |\b(?:wrapped|enclosed|all|written|entirely|completely) )"
            rf"in {_QUOTATION}(?: from (?:beginning|start) to end)?(?=$|[,.;!])",
            form,
        ),
    ]
    return found


_PATTERNS = [(re.compile(pattern, re.I), form) for pattern, form in _patterns()]


def lines_of(text: str) -> tuple[Form, str]:
    """What a wish says of sentences' ends and lines, and what is left of the wish.

    Args:
        text: the wish, in English.
    """
    form = Form()
    for pattern, asked in _PATTERNS:
        if found := pattern.search(text):
            form = form.with_also(asked)
            text = f"{text[: found.start()]}, {text[found.end() :]}"
    return form, text
