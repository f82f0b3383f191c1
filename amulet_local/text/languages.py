"""What languages are called, in English and in themselves, and how "in French" is said in French.

Knows nothing about what language a text is in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TABLE = """
arabic: العربية بالعربية عربي arabe arabisch árabe arabo
bengali: বাংলা বাংলায়
bulgarian: български
catalan: català catalán
chinese: 中文 汉语 漢語 普通话 chinois chinesisch chino cinese chinês
croatian: hrvatski
czech: česky čeština češtině tschechisch
danish: dansk dänisch
dutch: nederlands néerlandais niederländisch neerlandés holandés olandese holandês
english: englisch anglais inglés inglese inglês engels engelska английски 英文 英语 英語
esperanto: esperanton
estonian: eesti
finnish: suomi suomeksi finnisch
french: français francés französisch francese francês frans franska 法语 フランス語
german: deutsch allemand alemán tedesco alemão duits tyska 德语 ドイツ語
greek: ελληνικά griechisch grec griego
gujarati: ગુજરાતી
hebrew: עברית בעברית
hindi: हिन्दी हिंदी
hungarian: magyar magyarul ungarisch
icelandic: íslenska íslensku
indonesian: indonesia
irish: gaeilge
italian: italiano italien italienisch italiaans italienska 意大利语
japanese: 日本語 日语 日語 japonais japanisch japonés giapponese japonês
korean: 한국어 coréen koreanisch coreano
latin: latina latine lateinisch
latvian: latviešu latviski
lithuanian: lietuvių lietuviškai
malay: melayu
mandarin:
marathi: मराठी
norwegian: norsk norwegisch
persian: فارسی farsi
polish: polski polsku polonais polnisch polaco polacco
portuguese: português portugais portugiesisch portugués portoghese
punjabi: ਪੰਜਾਬੀ
romanian: română rumänisch
russian: русский русском по-русски russe russisch ruso russo 俄语 ロシア語
serbian: srpski српски
slovak: slovensky slovenčina slovenčine
slovenian: slovenščina slovenščini
spanish: español espagnol spanisch spagnolo espanhol castellano spaans spanska 西班牙语 スペイン語
swahili: kiswahili
swedish: svenska suédois schwedisch sueco svedese
tagalog: filipino
tamil: தமிழ்
telugu: తెలుగు
thai: ไทย
turkish: türkçe türkisch turc turco
ukrainian: українська українською по-українськи ukrainisch
urdu: اردو
vietnamese: việt
welsh: cymraeg
"""
"""English names: what these are called in themselves, and the larger ones elsewhere."""

_ENGLISH = {
    name: english.strip()
    for english, _, names in (line.partition(":") for line in _TABLE.strip().splitlines())
    for name in (english.strip(), *names.split())
}

_IN_ITSELF = {
    "french": "en français",
    "german": "auf deutsch",
    "spanish": "en español",
    "italian": "in italiano",
    "portuguese": "em português",
    "dutch": "in het nederlands",
    "swedish": "på svenska",
    "polish": "po polsku",
    "russian": "на русском",
    "chinese": "用中文",
    "mandarin": "用中文",
    "japanese": "日本語で",
}
"""Languages in which text/announcement.py knows openings: how "in" one is said in it."""

_PHRASE = re.compile(
    r"(?:(?:in het|in bahasa|in|en|auf|em|på|po|na|w|v|i|на|в|bahasa|trong tiếng|tiếng)\s+|"
    r"使用|用|以)?"
    r"(?:(?P<variety>brazilian|european|mexican|argentin(?:e|ian)|canadian|swiss|austrian|british|american"
    r"|australian|simplified|traditional|simple|plain|easy)\s+)?"
    r"(?P<name>\S+?)"
    r"(?:\s+(?:языке|keeles|keel)|で|로|으로)?"
)


_OF_ANY_LANGUAGE = ("simple", "plain", "easy", "simplified", "traditional")


def named(text: str) -> str | None:
    """The English name of the language that a text names and nothing else.

    Args:
        text: "auf Deutsch", "français" or "in French", in any case.

    Returns:
        "German", "Brazilian Portuguese", "simple English"; None for any other text.
    """
    found = _PHRASE.fullmatch(text.strip().lower())
    english = _ENGLISH.get(found["name"]) if found else None
    if not (found and english):
        return None
    variety = found["variety"] or ""
    if variety and variety not in _OF_ANY_LANGUAGE:
        variety = variety.capitalize()
    return f"{variety} {english.capitalize()}".strip()


def in_itself(words: Sequence[str]) -> list[str]:
    """What a wish for a language is in that language: "en français" for "in French".

    Args:
        words: the wish's, in lower case.
    """
    said = (_IN_ITSELF.get(_ENGLISH.get(word, "")) for word in words)
    return list(dict.fromkeys(phrase for phrase in said if phrase))


def mentioned(text: str) -> frozenset[str]:
    """The English names, in lower case, of all languages that a text names in whatever language."""
    words = re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.lower())
    others = (name for name in _ENGLISH if not re.search("[a-z]", name) and name in text)
    return frozenset(_ENGLISH[name] for name in (*words, *others) if name in _ENGLISH)
