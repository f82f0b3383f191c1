"""Adjectives for how somebody sounds, as people type them for a preference: "angry", "very sad".

Knows nothing about prompts. What an answer is made of, "short" or "detailed", is none of them.
"""

from __future__ import annotations

import re

from amulet_local.text.words import word_set

_TONES = word_set(
    "absurd affectionate aggressive amazed ambitious amused angry annoyed anxious apathetic "
    "apologetic arrogant ashamed assertive assured authoritative bitter bleak blunt boastful "
    "bored boring bossy brash brave breezy bright bubbly calm campy candid caring casual catty "
    "caustic cautious charming cheeky cheerful cheery cheesy chill chilly chipper clever "
    "clueless cocky cold comforting compassionate condescending confident confused contemptuous "
    "conversational cool cosy cozy courteous cranky crazy creepy critical cruel cryptic curious "
    "cute cynical dark deadpan defensive defiant depressed depressing desperate devious devoted "
    "dignified diplomatic disappointed disgusted dramatic dreamy drunk dumb eager earnest "
    "eccentric edgy eerie elated elegant embarrassed emotional empathetic encouraging energetic "
    "enigmatic enthusiastic envious epic evil exasperated excited exhausted fabulous fancy "
    "fearful fearless feisty festive fierce fiery firm flamboyant flattering flippant "
    "flirtatious flirty folksy foolish fresh friendly frustrated furious gentle ghostly giddy "
    "gleeful gloomy goofy gossipy grateful grave grim gritty grouchy gruff grumpy happy harsh "
    "haughty heartfelt heartwarming heroic hip honest hopeful hopeless horrified hostile humble "
    "hungry hyped hyper hysterical icy impatient impressed indifferent indignant innocent "
    "insane insecure inspirational inspired inspiring intense intimate ironic irreverent "
    "irritated jaded jealous jolly jovial joyful joyous kind kooky lazy loud lovely loving mad "
    "magical majestic manic manly mean melancholic melancholy melodramatic menacing mischievous "
    "miserable moody morbid mournful mysterious mystical naive naughty nerdy nervous nice noble "
    "nostalgic obnoxious offended old-fashioned ominous optimistic outraged overconfident "
    "over-the-top overjoyed panicked paranoid passionate passive-aggressive patient patriotic "
    "peaceful pedantic pensive pessimistic petty philosophical playful pleading polite pompous "
    "posh positive powerful preachy pretentious professional prophetic proud punk quirky "
    "reassuring rebellious reflective relaxed relieved reluctant resentful respectful reverent "
    "robotic romantic rough royal rude sad salty sarcastic sardonic sassy satirical savage "
    "scared scary scornful seductive self-important self-pitying sentimental serene serious "
    "sexy shocked shy silly sincere skeptical sceptical sleazy sleepy sly smart smug snappy "
    "snarky sneaky snobbish snobby solemn soothing sophisticated sorry soulful spicy spiritual "
    "spiteful spooky stern stoic strict stuffy suave submissive subtle supportive surly "
    "surprised suspicious sweet swaggering sympathetic teasing tender tense terrified thankful "
    "theatrical thoughtful threatening thrilled tired tough tragic triumphant trendy "
    "trustworthy unbothered uncertain uneasy unenthusiastic unfriendly unhinged unimpressed "
    "unsure upbeat upset urgent vain vengeful villainous warm wary weary weird whimsical whiny "
    "wicked wild wise wistful witty wonderful worried youthful zany zealous zen"
)

_DEGREES = word_set(
    "very really super so extremely extra quite rather slightly somewhat too more less totally "
    "absolutely completely incredibly insanely kinda kind sort of a bit little touch tad always "
    "be being ridiculously overly mildly pretty brutally"
)
_BETWEEN = word_set("and but yet or also")

_FIRST_PHRASE = re.compile(r"[^,;:.!?()\n]+")


def is_tone(text: str) -> bool:
    """Whether a text begins with such adjectives, and has nothing else before its first mark.

    "Sarcastic, don't be nice" is one, "sarcastic remarks" and "short and sad" are none.
    """
    found = _FIRST_PHRASE.match(text.strip())
    words = found[0].lower().split() if found else []
    telling = [word for word in words if word not in _DEGREES and word not in _BETWEEN]
    return bool(telling) and all(word in _TONES for word in telling)
