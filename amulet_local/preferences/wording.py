"""How a preference is said to the model: one sentence, whatever form its user gave it.

Knows nothing about models or about where in a prompt the sentence goes. The first word decides
nearly always, so that a person can tell what will be sent; a template of the user's own takes the
place of all that.
docs/strength.md has what wordings were measured to do.
"""

from __future__ import annotations

import re
import string

from amulet_local.preferences.form import MOST_CHARACTERS
from amulet_local.preferences.form.counts import NUMBER
from amulet_local.preferences.styles import as_manner
from amulet_local.preferences.tones import is_tone
from amulet_local.preferences.wished_language import says_more, wished_language
from amulet_local.text import languages
from amulet_local.text.scripts import scripts_in
from amulet_local.text.words import word_set

_ENDS = ".!?…。！？"
_OPEN_ENDS = " ,;:"


_MANNER = word_set(
    "about above according after against along alongside among around as at avoiding before "
    "beginning behind being below beneath beside besides between beyond briefly by containing "
    "despite during ending except excluding following for from giving having if imitating in "
    "including inside into keeping less like listing making mentioning more on out outside over "
    "per plus pretending putting quoting rather referring sounding speaking starting talking than "
    "through throughout to toward towards under unlike until upon using via when where while with "
    "within without writing "
    "als auf avec bez com como comme con dans em en für jak med met mit ohne para pour sans sem "
    "senza sin som utan wie zoals zonder à без как"
)
"""First words of a phrase that says in what way: "Answer the question in rhyme."."""

_VERBS = word_set(
    "act add address adopt always answer appear apply ask assume avoid be begin behave break "
    "bring call cheer cite compare compliment consider contain convince cover describe do don't "
    "dont don’t draw drop emphasise emphasize encourage end ensure entertain explain express fill "
    "finish focus follow format gimme give greet help highlight imagine imitate include insult "
    "invent keep let let's let’s limit list look make mention minimise minimize mix motivate name "
    "never number offer omit only organise organize pepper please praise prefer present pretend "
    "provide put quote refer remember remind repeat replace reply respond rewrite rhyme roast "
    "roleplay say scatter show simplify sing skip sneak sound speak spell sprinkle start state "
    "stay stick stop structure sum summarise summarize talk teach tell text thank think throw "
    "translate treat try use weave whisper wrap write yell"
)
"""First words of a text that tells the model what to do: "Use simple words."."""

INSTRUCTION_WORDS = _VERBS | word_set(
    "no nothing you you're you’re u ur i i'm i’m im i've i’ve i'd i’d my we "
    "ich wir je nous yo io eu jag ik "
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
"""These, the same in other languages, and first words of a text that says who asks: "Sé breve.",
"I'm a beginner."."""

SHORTHAND = {
    "eli5": "so that a five-year-old child understands it",
    "eli10": "so that a ten-year-old child understands it",
    "tl;dr": "in a sentence or two",
    "tldr": "in a sentence or two",
    "yes or no": "with yes or no",
    "just yes or no": "with just yes or no",
    "only yes or no": "with only yes or no",
    "yes or no only": "with yes or no only",
    "yes/no": "with yes or no",
}
"""What people write for a phrase of manner."""

MANNER_FRAME, QUALITY_FRAME = "Answer the question", "Make the answer"
SENTENCE_FRAME, DOING_FRAME = f"{MANNER_FRAME} like this:", f"{MANNER_FRAME} and"
TONE_FRAME = f"{QUALITY_FRAME} sound"
"""What is put before a phrase of manner, before a quality, before what says all by itself, before
what is to be done, and before how somebody sounds."""

_FRAMES = (SENTENCE_FRAME, DOING_FRAME, MANNER_FRAME, TONE_FRAME, QUALITY_FRAME, "Answer")
"""What an instruction begins with that says nothing of the wish, be it a user's own."""

FACTS_FRAME = "Know this about the user, and use it where it helps:"
EXAMPLE_FRAME = "The user liked this answer to a similar question:"
"""What is put before what is told and asks for nothing."""

_PLEASE = re.compile(
    r"(?:(?<!\ba)(?<!\band)(?<!\bor)(?<!\bsay)(?<!\bword)[\s,]+(?:please|pls|plz|lol|bitte|stp|svp"
    r"|por favor|per favore|s['’]il (?:te|vous) pla[iî]t)"
    r"|,\s*(?:thanks|thank you|thx|danke|merci|gracias|grazie|obrigad[oa]))[\s.!]*$",
    re.I,
)
"""Behind a phrase; in "with a please and a thank you" it is what is wished."""

_SAYS_LITTLE = word_set(
    "please pls plz thanks answer reply always only all everything it me "
    "bitte danke antworte antworten schreib schreibe immer nur alles mir "
    "stp svp merci réponds répondez écris toujours seulement tout moi "
    "por favor gracias responde respóndeme contesta contéstame escribe siempre solo todo "
    "grazie rispondi rispondimi scrivi sempre tutto obrigado obrigada responda escreva sempre "
    "graag dank je alsjeblieft antwoord altijd alles tack svara skriv alltid bara "
    "proszę prosze odpowiadaj odpowiedz pisz zawsze tylko lütfen cevap ver yanıtla hep bana "
    "пожалуйста отвечай ответь пиши всегда только"
)
"""Words of a wish for a language that say nothing besides."""

_ONLY = re.compile(r"^only\s+|\s+only$", re.I)
_PAUSE = re.compile(r"[,;:(]|\s(?:-|–|and|but|with|without|as)\s")
_MOST_WORDS_OF_A_QUALITY = 4
_PARTICIPLES = word_set("written said spoken told sung kept made put split cut spelt")
_FINITE = re.compile(r"\b(?:should|must|ha(?:s|ve) to|needs? to|will|is|are)\b", re.I)

_OBJECT = re.compile(r"\w+ (?:me|it|us|them|yourself|everything|things|stuff|the answer)\b", re.I)
"""What follows a verb at the beginning: "sell me the answer", "cut it short"."""

_COMPOUND = re.compile(
    r"(?:(?:always|only) (?:as|in|with)|call cent(?:er|re)|cover letter|list of|"
    r"list(?= only| please|\W*$)|no (?:fewer|less|longer|more) than|talk show|text message)\b",
    re.I,
)
"""Phrases that begin like an instruction."""

_COUNTED = re.compile(
    r"(?:(?:about|around|at (?:least|most)|exactly|(?:(?:no|not) )?(?:fewer|less|longer|more) than|"
    r"just|max(?:imum)?|min(?:imum)?|only|over|under|up to) )?"
    rf"{NUMBER}(?: or (?:fewer|less|more))? "
    r"(?:(?!per )[a-z-]+ ){0,2}?(?:bullets|characters|chars|lines?|paragraphs?|points|sentences?|"
    r"stanzas?|steps|verses|words?)\b(?! per\b)",
    re.I,
)
"""So much of what an answer is in: "at least five sentences", "3 short paragraphs"."""

_NO = re.compile(
    r"no (?P<what>(?!(?:fewer|idea|less|longer|matter|more|need|one|problem|way|worries)\b)"
    r"[a-z'’-]+"
    r"(?: (?!(?:are|is|must|should|will)\b)[a-z'’-]+){0,3})",
    re.I,
)
_NOTHING = re.compile(r"nothing (?!but\b|else\b)[a-z'’-]+(?: or [a-z'’-]+)?", re.I)
"""What an answer is to be without: "no jargon", "nothing fancy"."""

_LIST_OF_A_KIND = re.compile(r"\w+ed (?:[a-z-]+ )?(?:list|outline|table)\b", re.I)
"""A noun that begins like a quality."""

_ONLY_SOMETHING = re.compile(
    rf"only (?!(?:if|the|when|where|{'|'.join(sorted(_VERBS))})\b)(?=[a-z])", re.I
)
"""What begins like an instruction, and is none where no verb follows: "only questions"."""

_ANSWERS = re.compile(r"(?<=\w)\s+(?:answers?|repl(?:y|ies)|responses?)$", re.I)
"""Behind a quality, which is the answer's: "short answers"."""

_COURTESY = re.compile(r"^(?:please|pls|plz|kindly)\b[\s,]*", re.I)
_ANSWERED = re.compile(r"(?:always )?(?:answer|reply|respond)(?: (?:me|it|everything))? ", re.I)

_REQUEST = re.compile(r"^(?:could|can|would|will) you (?:please |kindly )?(?P<what>[^?]+)\?", re.I)
"""An instruction in the form of a question, which an answer would be given to."""

_REASON = re.compile(
    r"(?P<why>(?:i['’]?m|i['’]ve|i|im|my|our|we|we['’]re)\s[^.!?,;]*)(?:[.,;!]\s*(?:so\s+)?|\s+so\s+)"
    r"(?P<what>[^.!?]+)[.!]*$",
    re.I,
)
"""Who asks, and behind it what is to be done: "I'm a nurse, so use medical terms"."""

_POINTS_BACK = re.compile(
    r"\b(?:he|her|hers|him|his|ones?|she|that|them|there|these|they|this|those)\b", re.I
)
"""Words that say what was said before them."""

_BEING = re.compile(r"an? (?!bit\b|couple\b|few\b|little\b|lot\b|tad\b|touch\b)", re.I)
"""Who answers, or as what: "a wise old wizard", "a haiku"."""

_COME_ITALIAN = re.compile(r"come (?:una?|uno|se|il|lo|la|i|gli|le)\b", re.I)
"""A phrase of manner, too; "come across as friendly" is none."""

_SAME_WORD_TWICE = re.compile(r"(\w+) (?:by|for|to) \1\b", re.I)
"""A phrase of manner: "step by step"."""

_DEGREE = re.compile(
    r"(?:(?:a (?:bit|little|lot|tad)|absolutely|always|awfully|completely|extremely|fairly|highly|"
    r"incredibly|insanely|less|more|much|not|only|overly|pretty|quite|rather|really|ridiculously|"
    r"slightly|so|somewhat|super|terribly|too|totally|truly|utterly|very) )+",
    re.I,
)
"""Before an adverb, which makes a phrase of manner, or an adjective, which makes none."""

_BEHIND_A_DEGREE = word_set("as by for in like on than to towards using with without")

_CHINESE_OR_JAPANESE = re.compile("[\u3041-\u30ff\u4e00-\u9fff]")

_ADJECTIVES_IN_LY = word_set(
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
    español" or "I live in Berlin. German please!". What is to be done becomes "Answer the question
    and use simple words.", who asks comes behind it. A noun is a phrase of manner ("in the style of
    a pirate", "with puns"). What says all by itself otherwise stays as it is, behind "Answer the
    question like this:", without which a model may take it for a part of the question, or behind
    the language that it is for ("Answer the question in German. I hate long answers. German
    please."): an instruction in another language, whole sentences, a text with a verb like "should"
    or of more than a few words before its first pause. "A wise old wizard" becomes "Answer the
    question as a wise old wizard.", how somebody sounds "Make the answer sound angry.", and
    anything else "Make the answer short and dry.". A "please" is left out, "Could you write in
    rhyme?" is taken for "Write in rhyme.", and a text that doesn't end like a sentence gets a full
    stop; "ELI5" is said in words.

    Args:
        text: what the user wrote; not blank.
    """
    text = text.strip().rstrip(_OPEN_ENDS) or text.strip()
    text = SHORTHAND.get(_PLEASE.sub("", text).rstrip(_ENDS).lower(), text)
    text = _REQUEST.sub(r"Please \g<what>.", text)
    first = _first_word(text)
    phrase = _PLEASE.sub("", text) or text
    bare = phrase.rstrip(_ENDS)
    if language := languages.named(_ONLY.sub("", bare)):
        return f"{MANNER_FRAME} in {language}{' only' * bool(_ONLY.search(bare))}."
    if lacking := _NO.fullmatch(bare):
        return f"{MANNER_FRAME} without {lacking['what']}."
    if _NOTHING.fullmatch(bare):
        return f"{MANNER_FRAME} with {_begun_small(bare)}."
    says_all = _is_instruction(text, first.lower()) or _is_sentence(text)
    is_latin = scripts_in(text) == {"latin"}
    alone = language_alone(text)
    if alone and not (says_all and is_latin):
        return f"{MANNER_FRAME} in {alone}."
    is_short = len(text) <= MOST_CHARACTERS
    language = wished_language(text) if is_short and is_latin else None
    asked = f"{MANNER_FRAME} in {language}." if language else SENTENCE_FRAME
    if language and not says_more(text):
        return asked
    if says_all and not language and (doing := _doing(phrase)):
        return doing
    if says_all:
        return _behind(asked, text)
    if _COUNTED.match(phrase):
        return f"{MANNER_FRAME} in {_begun_small(_closed(phrase))}"
    if is_tone(phrase):
        return f"{TONE_FRAME} {_begun_small(_closed(phrase))}"
    if _is_manner(text, first.lower()):
        return f"{MANNER_FRAME} {_begun_small(_closed(phrase))}"
    if not _begins_a_quality(first.lower()) and (
        _FINITE.search(phrase) or _words_before_a_pause(phrase) > _MOST_WORDS_OF_A_QUALITY
    ):
        return _behind(asked, text)
    if _BEING.match(phrase):
        return f"{MANNER_FRAME} as {_begun_small(_closed(phrase))}"
    if not _begins_a_quality(first.lower()) or _LIST_OF_A_KIND.match(phrase):
        phrase = _ANSWERS.sub("", phrase)
        if only := _ONLY_SOMETHING.match(phrase):
            before = as_manner(phrase[only.end() :]).partition(" ")[0]
            before = before if before in ("as", "with") else "in"
            return f"{MANNER_FRAME} {before} {_begun_small(_closed(phrase))}"
        if manner := as_manner(phrase):
            return f"{MANNER_FRAME} {_closed(manner)}"
    return f"{QUALITY_FRAME} {_closed(phrase)}"


def language_alone(text: str) -> str:
    """The language that a wish is for, by its English name; empty if it is for more than that."""
    if len(text) > MOST_CHARACTERS:
        return ""
    wish = re.findall(r"[\w'’]+", text.lower())
    rest = " ".join(word for word in wish if word not in _SAYS_LITTLE)
    language = languages.named(rest) or (None if says_more(text) else wished_language(text))
    return "" if language is None or language.startswith("simple ") else language


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


def _is_instruction(text: str, first: str) -> bool:
    if first in INSTRUCTION_WORDS:
        return not (_COMPOUND.match(text) or _ONLY_SOMETHING.match(text))
    return first not in _MANNER and _OBJECT.match(text) is not None


def _is_manner(text: str, first: str) -> bool:
    if (degree := _DEGREE.match(text)) is not None:
        first = _first_word(text[degree.end() :]).lower()
        return first in _BEHIND_A_DEGREE or _is_adverb(first)
    if first in _MANNER or _is_adverb(first):
        return True
    return any(phrase.match(text) for phrase in (_SAME_WORD_TWICE, _COME_ITALIAN))


def _begins_a_quality(word: str) -> bool:
    """Whether it begins what an answer is made: "so that ...", "written in ..."."""
    return word in ("so", "such") or word in _PARTICIPLES or (len(word) > 4 and word.endswith("ed"))


def _words_before_a_pause(text: str) -> int:
    return len(_PAUSE.split(text, maxsplit=1)[0].split())


def _doing(text: str) -> str:
    """The sentence for an English instruction, empty if the text isn't one."""
    reason = _REASON.match(text) if len(text) <= MOST_CHARACTERS else None
    if reason and not _POINTS_BACK.search(reason["what"]) and (doing := _doing(reason["what"])):
        return _behind(doing, reason["why"])
    what = _COURTESY.sub("", text)
    answered = _ANSWERED.match(what)
    manner = what[answered.end() :] if answered else ""
    if _is_manner(manner, _first_word(manner).lower()):
        return f"{MANNER_FRAME} {_closed(manner)}"
    first = _first_word(what).lower()
    is_verb = first in _VERBS or (first not in INSTRUCTION_WORDS and _is_instruction(what, first))
    if not is_verb or not what[0].isalpha():
        return ""
    return f"{DOING_FRAME} {_begun_small(_closed(what))}"


def _behind(asked: str, text: str) -> str:
    return f"{asked} {text[0].upper()}{_closed(text)[1:]}"


def _begun_small(text: str) -> str:
    """The text with a small letter first, unless its first word is in capitals."""
    return text if text[1:2].isupper() else text[0].lower() + text[1:]


def _closed(text: str) -> str:
    if text[-1] in _ENDS:
        return text
    return f"{text}。" if _CHINESE_OR_JAPANESE.match(text[-1]) else f"{text}."


def _is_adverb(word: str) -> bool:
    return len(word) > 4 and word.endswith("ly") and word not in _ADJECTIVES_IN_LY


def _is_sentence(text: str) -> bool:
    """Whether it begins and ends as a sentence does, or there are several.

    A Spanish mark begins one too. A text in a script without capitals stays as it is.
    """
    several = re.search(rf"(?<!\b[DMS][rst])(?<!\bMrs)[{re.escape(_ENDS)}]\s+\S", text) is not None
    first = text.lstrip("¿¡")[:1]
    has_case = first.lower() != first.upper()
    if first.isalpha() and not has_case:
        return True
    return several or (text[-1] in _ENDS and (first.isupper() or first != text[:1]))
