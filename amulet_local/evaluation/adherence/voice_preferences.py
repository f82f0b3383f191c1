"""Preferences about the words of an answer: vocabulary, register, audience, persona.

Knows nothing about who speaks better: a rule counts words.
"""

from __future__ import annotations

from amulet_local.evaluation.adherence import lexicons, published, rules
from amulet_local.evaluation.adherence.preference import RuledPreference, ruled


def _persona(
    name: str, lexicon: tuple[str, ...], *wordings: str, least: int = 2
) -> RuledPreference:
    return ruled(
        name,
        "persona",
        f"{least} different expressions or more of its lexicon that the question hasn't",
        rules.speaks(lexicon, least),
        *wordings,
    )


VOICE: tuple[RuledPreference, ...] = (
    ruled(
        "no-the",
        "vocabulary",
        'without the word "the"',
        published.forbidden_words("the"),
        'without the word "the"',
        'Never use the word "the".',
        ifeval="keywords:forbidden_words",
    ),
    ruled(
        "river-and-bridge",
        "vocabulary",
        '"river" and "bridge" are in it',
        published.existence("river", "bridge"),
        'with the words "river" and "bridge" in it',
        'using both of the words "river" and "bridge"',
        ifeval="keywords:existence",
    ),
    ruled(
        "sun-three-times",
        "vocabulary",
        '"sun" is in it 3 times or more',
        published.frequency("sun", 3),
        'with the word "sun" at least three times',
        'using the word "sun" 3 times or more',
        ifeval="keywords:frequency",
    ),
    ruled(
        "shouted-words",
        "vocabulary",
        "4 words or more in capital letters",
        published.capital_words(4),
        "with at least four words in CAPITAL LETTERS",
        "with four or more WORDS written in all caps",
        ifeval="change_case:capital_word_frequency",
    ),
    ruled(
        "for-example",
        "vocabulary",
        '"for example", "for instance" or "e.g." is in it',
        rules.matches(r"\bfor (?:example|instance)\b|\be\.g\."),
        'with an example that is introduced by "for example"',
        'using the words "for example"',
    ),
    ruled(
        "closing-phrase",
        "vocabulary",
        'its last words are "I hope that helps."',
        published.end_checker("I hope that helps."),
        'with "I hope that helps." as its last words',
        'ending in the sentence "I hope that helps." with nothing after it',
        ifeval="startend:end_checker",
    ),
    ruled(
        "opening-word",
        "vocabulary",
        'its first word is "honestly"',
        rules.starts_with("Honestly"),
        'with "Honestly" as its first word',
        'starting with the word "Honestly"',
    ),
    ruled(
        "no-digits",
        "vocabulary",
        "no digit in its prose",
        rules.without(r"\d"),
        "without any digits",
        "with every number written out as a word",
    ),
    ruled(
        "postscript",
        "vocabulary",
        'a part that begins with "P.S."',
        published.postscript(),
        "with a postscript at the end that starts with P.S.",
        'with a "P.S." after the last paragraph',
        ifeval="detectable_content:postscript",
    ),
    ruled(
        "no-contractions",
        "register",
        "no contraction, exclamation mark or emoji",
        rules.no_contractions(),
        "in formal language without contractions",
        "formally, with no contractions and no exclamation marks",
    ),
    ruled(
        "contractions",
        "register",
        "2 contractions or more",
        rules.contractions(2),
        "in casual, everyday language with contractions",
        "casually, the way people talk, with contractions like it's and don't",
    ),
    ruled(
        "polite",
        "register",
        '"please" and "thank" are in it',
        rules.all_of(rules.matches(r"\bplease\b"), rules.matches(r"\bthank(?:s|ful)?\b")),
        'very politely, with "please" and "thank you"',
        "with a please and a thank you",
    ),
    ruled(
        "first-person",
        "register",
        '"I", "me" or "my" 3 times or more',
        rules.matches(r"\b(?:I|me|my|mine|myself)\b", 3),
        "in the first person, as a personal experience",
        "from your own experience, using I and my",
    ),
    ruled(
        "slang",
        "register",
        "2 different expressions or more of its lexicon",
        rules.speaks(lexicons.SLANG),
        "in teenage slang",
        "like a teenager would say it, with slang",
    ),
    ruled(
        "text-message",
        "register",
        "2 different abbreviations or more of its lexicon",
        rules.speaks(lexicons.TEXT_MESSAGE),
        "like a text message, with abbreviations such as u, btw and lol",
        "in texting style with short forms like u, r and thx",
    ),
    ruled(
        "hedged",
        "register",
        "3 different hedges or more of its lexicon",
        rules.speaks(lexicons.HEDGES, 3),
        "cautiously, with words such as maybe, perhaps and might",
        "in a hesitant, uncertain tone with maybe and perhaps",
    ),
    ruled(
        "small-child",
        "audience",
        "Flesch and Kincaid's grade of at most 5",
        rules.grade(-10, 5),
        "for a five-year-old",
        "so that a five-year-old child understands it",
        "as if to a little child",
    ),
    ruled(
        "ten-year-old",
        "audience",
        "Flesch and Kincaid's grade of at most 7",
        rules.grade(-10, 7),
        "for a ten-year-old",
        "so that a child of ten understands it",
    ),
    ruled(
        "short-words",
        "audience",
        "at most 8% of its words have 3 syllables or more",
        rules.long_words(0.08),
        "in short, simple words",
        "using only short and common words",
    ),
    ruled(
        "learner",
        "audience",
        "no sentence of more than 15 words, and a reading ease of at least 60",
        rules.all_of(rules.short_sentences(15), rules.ease(60, 130)),
        "for someone who is just learning English, in simple, short sentences",
        "in easy English for beginners, with short sentences",
    ),
    ruled(
        "academic",
        "audience",
        "Flesch and Kincaid's grade of at least 13",
        rules.grade(13, 40),
        "for university professors, in academic prose",
        "in the style of a scientific paper",
    ),
    ruled(
        "expert",
        "audience",
        "a reading ease of at most 40",
        rules.ease(-200, 40),
        "for experts, in technical language",
        "with the technical terms that specialists use",
    ),
    _persona(
        "pirate",
        lexicons.PIRATE,
        "like a pirate",
        "in the style of a pirate",
        "as a pirate would say it",
    ),
    _persona(
        "shakespeare",
        lexicons.SHAKESPEARE,
        "like Shakespeare",
        "in the English of Shakespeare, with thou and thee",
    ),
    _persona("cowboy", lexicons.COWBOY, "like a cowboy", "in the voice of an old cowboy"),
    _persona(
        "robot", lexicons.ROBOT, "like a robot", "in the voice of a robot that says beep boop"
    ),
    _persona(
        "surfer", lexicons.SURFER, "like a surfer dude", "in the voice of a Californian surfer"
    ),
    _persona(
        "fairy-tale",
        lexicons.FAIRY_TALE,
        "as a fairy tale",
        'in the style of a fairy tale that begins with "once upon a time"',
    ),
    _persona(
        "grandmother",
        lexicons.GRANDMOTHER,
        "like a loving grandmother",
        "as a kind grandmother would tell her grandchild",
    ),
)
"""In the groups vocabulary, register, audience and persona."""
