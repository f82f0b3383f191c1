"""How a preference is said to the model: one sentence, whatever form its user gave it.

Knows nothing about models or about where in a prompt the sentence goes. The first word decides, so
that a person can tell what will be sent; a template of the user's own takes the place of all that.
docs/strength.md has what wordings were measured to do.
"""

from __future__ import annotations

import re
import string

from amulet_local.text import languages

_ENDS = ".!?…。！？"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MANNER = _words(
    "about above according after against along alongside among around as at avoiding before "
    "beginning behind being below beneath beside besides between beyond briefly by containing "
    "despite during ending except excluding following for from giving having if imitating in "
    "including inside into keeping less like listing making mentioning more on out outside over "
    "per plus pretending putting quoting rather referring sounding speaking starting talking than "
    "through throughout to toward towards under unlike until upon using via when where while with "
    "within without writing "
    "als auf avec bez com como comme con dans em en für mit ohne para pour sans sem senza sin "
    "wie à"
)
"""First words of a phrase that says in what way: "Answer the question in rhyme."."""

INSTRUCTION_WORDS = _words(
    "act add address adopt always answer appear apply ask assume avoid be begin behave break bring "
    "cite compare consider contain cover describe do don't don’t draw emphasise emphasize end "
    "ensure explain express finish focus follow format give highlight imagine imitate include "
    "keep let limit list look make mention minimise minimize name never no offer omit only "
    "organise organize please prefer present pretend provide put quote refer remember repeat "
    "replace reply respond rhyme say show sound speak spell start state stay structure sum "
    "summarise summarize talk teach tell think translate treat try use wrap write you "
    "i i'm i’m im i've i’ve "
    "antworte antworten beantworte benutz benutze beschreib beschreibe bleib bleibe denk erklär "
    "erkläre erzähl erzähle formuliere gib halte lass mach mache nenne nutz nutze rede schreib "
    "schreibe sei seien sprich tu verhalte vermeide verwende zeig zeige "
    "dis donne donnez décris emploie explique expliquez fais faites imite parle parlez raconte "
    "racontez reste réponds répondez résume résumez sois soyez utilise utilisez écris écrivez "
    "évite évitez "
    "actúa compórtate contesta contéstame cuenta cuéntame cuéntalo dame emplea escribe escríbelo "
    "evita explica explícalo explícame explícamelo habla haz hazlo imita responda responde "
    "respóndeme sé usa utiliza "
    "fai parla parlami racconta rispondi scrivi sii spiega spiegalo spiegami utilizza "
    "aja conta conte escreva evite fala fale faça seja utilize "
    "antwoord gebruik praat schrijf vermijd wees "
    "använd förklara skriv svara tala "
    "bądź mów napisz odpowiedz odpowiadaj pisz używaj wyjaśnij "
    "будь говори избегай используй напиши объясни ответь отвечай пиши расскажи"
)
"""First words of a text that tells the model already what to do, or who asks: "Use simple words.",
"Sé breve.", "I'm a beginner."."""

SHORTHAND = {
    "eli5": "so that a five-year-old child understands it",
    "eli10": "so that a ten-year-old child understands it",
    "tl;dr": "in a sentence or two",
    "tldr": "in a sentence or two",
}
"""What people write for a phrase of manner."""

MANNER_FRAME, QUALITY_FRAME = "Answer the question", "Make the answer"
"""What is put before a text that isn't an instruction by itself."""

_FRAMES = (MANNER_FRAME, QUALITY_FRAME, "Answer")
"""What an instruction begins with that says nothing of the wish, be it a user's own."""

_ADJECTIVES_IN_LY = _words(
    "chilly costly curly daily deadly early elderly fatherly friendly ghostly heavenly holy homely "
    "jolly kindly likely lively lonely lovely lowly motherly orderly scholarly silly ugly weekly "
    "worldly"
)


def template_problem(prompt: str, *, has_text: bool) -> str | None:
    """Why a template can't be used, None if it can.

    Args:
        prompt: the template: a sentence, in which {text} may stand; {{ and }} are braces.
        has_text: whether there is a text for it.
    """
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError:
        return "a brace is alone; {{ and }} are braces that the model is to see"
    for _, name, form, conversion in parts:
        if name is not None and (name != "text" or form or conversion):
            shown = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            return (
                f"unknown field {{{shown[:40]}}}; there is {{text}}, and {{{{ and }}}} are braces "
                f"that the model is to see"
            )
        if name is not None and not has_text:
            return '{text} stands for a text that isn\'t there; add text = "..."'
    return None


def from_template(prompt: str, text: str) -> str:
    """The sentence that a sound template makes of a text."""
    return prompt.format(text=text)


def as_instruction(text: str) -> str:
    """Make the sentence that goes into the prompt for a preference.

    A phrase of manner becomes "Answer the question like a pirate.". A language in whatever language
    becomes "Answer the question in Spanish.": small models follow it where they don't follow "en
    español". An instruction or a whole sentence stays what it is, and anything else, be it an
    adjective or a noun, becomes "Make the answer short and dry.". A text that doesn't end like a
    sentence gets a full stop; "ELI5" is said in words.

    Args:
        text: what the user wrote; not blank.
    """
    text = text.strip()
    text = SHORTHAND.get(text.rstrip(_ENDS).lower(), text)
    closed = text if text[-1] in _ENDS else f"{text}."
    if language := languages.named(text.rstrip(_ENDS)):
        return f"{MANNER_FRAME} in {language}."
    first = _first_word(text)
    if first.lower() in INSTRUCTION_WORDS or _is_sentence(text):
        return closed[0].upper() + closed[1:]
    if first.lower() in _MANNER or _is_adverb(first.lower()):
        if first.istitle():
            closed = closed[0].lower() + closed[1:]
        return f"{MANNER_FRAME} {closed}"
    return f"{QUALITY_FRAME} {closed}"


def unframed(instruction: str) -> str:
    """An instruction without what it begins with before the wish."""
    text = instruction.strip()
    for frame in _FRAMES:
        if text.startswith(f"{frame} "):
            return text[len(frame) :]
    return text


def _first_word(text: str) -> str:
    found = re.match(r"[\"“„«]?([\w'’]+)", text)
    return found[1] if found else ""


def _is_adverb(word: str) -> bool:
    return len(word) > 4 and word.endswith("ly") and word not in _ADJECTIVES_IN_LY


def _is_sentence(text: str) -> bool:
    """Whether it begins and ends as a sentence does, or there are several.

    A letter of a script without capitals begins one too, and so does a Spanish mark.
    """
    several = re.search(rf"[{re.escape(_ENDS)}]\s+\S", text) is not None
    first = text.lstrip("¿¡")[:1]
    begins = first.isalpha() and not first.islower()
    return several or (text[-1] in _ENDS and (begins or first != text[:1]))
