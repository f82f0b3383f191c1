"""Nouns that people type for a preference, as a phrase of manner: "pirate", "gen z slang", "puns".

A noun says in whose style an answer is ("Sherlock Holmes", "film noir"), in what it is written
("medical jargon"), or what is in it ("metaphors"). An adjective says what it is, "short" or
"detailed", and is none of them. Knows nothing about prompts. docs/strength.md has what this was
measured to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from amulet_local.text.languages import named
from amulet_local.text.words import word_set

IN_THE_STYLE = "in the style of"

_WRITTEN_IN = word_set(
    "accent argot banter bullets case columns couplets dialect form format humor humour items "
    "jargon language legalese lingo mode order paragraphs parlance patois person phrases points "
    "prose quatrains questions rhyme rhymes sections sentences slang speak stanzas steps style "
    "tense terms tone verse verses vibe vibes vocabulary voice wording words"
)
"""Last words of what an answer is written in: "gen z slang", "the third person"."""

_WRITTEN_IN_BY_ITSELF = word_set(
    "banter bullets couplets jargon legalese paragraphs patois prose quatrains questions rhymes "
    "slang stanzas verse verses"
)
"""Those that say enough without a word before them."""

_COUNTED_WRITTEN_IN = word_set("accent dialect tone vibe voice")
"""Those that need an article: "in a friendly tone"."""

_COUNTED_WRITTEN_AS = word_set("checklist flowchart list outline spreadsheet table timeline")
_WRITTEN_AS = word_set("code csv html json latex markdown pseudocode xml yaml")
"""Last words of what an answer is written as: "numbered list", and without an article "code"."""

_ACRONYM = re.compile(r"\b(?:csv|html|json|xml|yaml)\b")

_CONTAINED = word_set(
    "acronyms adjectives alliteration analogies anecdotes asides buzzwords catchphrases citations "
    "cliches clichés comparisons cons context depth detail details emoji emojis emoticons "
    "equations evidence examples explanation facts figures "
    "footnotes formulas gifs hashtags hyperbole idioms illustrations images jokes kaomoji links "
    "memes metaphors numbers numerals onomatopoeia palindromes parentheses proverbs puns "
    "quotations quotes references remarks rhetoric riddles sarcasm similes smileys snippets "
    "sources spoonerisms statistics stats swearing symbols synonyms"
)
"""Last words of what an answer has in it."""

_MANY = word_set("lots loads many plenty tons heaps oodles several some fewer")
"""First words of what an answer has in it: "lots of jokes"."""

_MORE_OR_LESS = re.compile(r"(?:(?:a (?:bit|little|lot)|much|slightly|way) )?(?:less|more) ", re.I)

_NOUNS = word_set(
    "academic accountant actor ad adventurer advert advertisement advocate agent alien android "
    "angel animal announcer anthropologist archaeologist aristocrat artist assistant astrologer "
    "astronaut astronomer attorney auctioneer aunt auntie baby babysitter baker ballad barbarian "
    "barber bard bartender beatnik bestie biker billionaire biologist blog blogger bodybuilder "
    "boomer boss botanist boxer boy bride bro brochure brother bully businessman butler captain "
    "caption carol cat caveman celebrity ceo champion chat cheatsheet cheerleader chef "
    "chemist chicken child chorus clown coach coder comedian comic commander commentator "
    "commercial conductor confession consultant conversation cook cop cosmonaut counsellor "
    "counselor count countess courtier cowboy cowgirl crier critic cyborg dad daddy demon "
    "designer detective developer devil dialog dialogue diary dictator diplomat director diva dj "
    "doctor document documentary dog dragon drunk duchess duke economist editor editorial elf "
    "email emperor engineer entrepreneur entry epic essay executive explorer fable fairy "
    "fairytale fan faq farmer father fisherman flyer fortuneteller friend gamer gangster gardener "
    "geek genie gentleman geologist ghost giant girl gladiator gnome goblin goddess "
    "gossip goth grandad granddad grandfather grandma grandmother grandpa granny guide guru "
    "hacker haiku headline hero highlander hillbilly hippie hippy hipster historian hobbit host "
    "housewife hunter hymn infant influencer inspector instructor interview invitation janitor "
    "jester jingle joker journal journalist judge kid king knight lad lady lawyer lecture "
    "lecturer legend letter librarian limerick lion lord lullaby mafioso magician maid manager "
    "manifesto mantra manual marine mathematician maverick mayor mechanic medic meditation meme "
    "memo mentor merchant mermaid message messenger mime minstrel mom mommy monarch monk "
    "monologue monster mother mum mummy musical musician myth narrative narrator neighbor "
    "neighbour nerd newsletter newspaper newsreader nihilist ninja nomad noob novel novelist nun "
    "nurse obituary ode officer oracle orator outlaw parable parent parody parrot pastor peasant "
    "pharaoh philosopher physicist pilot pirate pitch playwright podcast poem poet policeman "
    "politician pope postcard poster prayer preacher president priest priestess prince princess "
    "professor programmer prophet proverb psychologist punk puppy quatrain queen quiz rabbi "
    "rabbit ranger rapper rebel recipe referee report reporter review rhyme riddle robber robot "
    "rockstar sailor saint salesman salesperson samurai scholar scientist screenplay script "
    "sergeant sermon servant shaman sheriff siren sister skater skeptic slogan smuggler soldier "
    "song sonnet sorcerer speech spy stoner story storyteller streamer student superhero surfer "
    "surgeon tabloid tale teacher teen teenager telegram terminator therapist thief toddler "
    "tourist trader tragedy trainer traveler traveller troll troubadour tutor tweet tycoon uncle "
    "valet vampire viking villain waiter waitress warlord warrior werewolf witch wizard wrestler "
    "yogi yuppie zombie"
)
"""By themselves they say in whose style, or written as what; others may be adjectives."""

_UNCOUNTED = word_set(
    "clickbait dracula fiction gandalf gollum gossip lyrics news noir poetry rap santa "
    "shakespeare tarzan wikipedia yoda"
)
"""The same, of which there aren't several."""

_ADJECTIVES = word_set(
    "accessible basic better bref breve brief bullet bulleted chatty clean clear clearer compact "
    "complete complex concise conciso concrete correct corto court crisp curt curta curto dark "
    "deep deeper dense direct dry dull easier easy einfach enkel fast flat flowery formal full "
    "fun funnier funny generic good hard harder high-level in-depth informal juicy kinder knapp "
    "kort kurz lang large lengthy light little long longer loose low-level mature messy minimal "
    "minimalist modern narrow neat neutral nicer normal old-school open plain poetic practical "
    "precise preciso punchy quick random raw readable real rich safe sec shallow sharp short "
    "shorter simple simpler sloppy slow small spare sparse specific speedy standard straight "
    "strong stronger succinct technical terse thick thin thorough tidy tight tiny true unique "
    "unusual usual vague verbose visual vivid wordy"
)
_ADJECTIVE_ENDS = re.compile(
    r"(?<=\w\w)(?:able|ible|al|ant|ary|ate|ean|ed|ent|esque|ful|ian|ic|ing|ish|ive|less|ous|proof|ward"
    r"|lich|isch|ado|ido|oso|ivo|ique|eux|euse)$"
)

_COUNTED_ENDS = re.compile(r"(?:er|or|ist|ian|eer|man|woman)$")

_OF_A_LIMIT = word_set(
    "a all at both each eight eleven every exactly fifteen fifty five four half hundred just max "
    "maximum min minimum never nine not off once one only purely seven six strictly ten thirty "
    "three thrice twelve twenty twice two under up zero"
)
"""Words of what counts or limits an answer, "three sentences max"."""

_FIRST_PHRASE = re.compile(
    r"(?:(?! (?:about|as|but|for|from|in|like|of|on|that|to|who|with|without)\b)[^,;:.!?()\n])+"
)
_SAYS_NO_MORE = word_set("always everywhere only please pls plz throughout")
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_BEFORE_A_LANGUAGE = word_set("auf em en po på")
_BEFORE_AN_ADJECTIVE = word_set(
    "and come extra extremely laid less made more pretty quite rather really so super too very well"
)


def as_manner(text: str) -> str:
    """A noun as a phrase of manner, "in the style of a pirate"; empty if the text isn't one.

    Only what stands before the first mark counts. A word by itself is a noun if it is known as one
    or begins with a capital, several words are if their last one isn't an adjective.

    Args:
        text: what the user wrote, without a "please" at its end; not blank.
    """
    found = _FIRST_PHRASE.match(text.strip())
    words = _WORD.findall(found[0]) if found else []
    while len(words) > 1 and words[-1].lower() in _SAYS_NO_MORE:
        words.pop()
    small = [word.lower() for word in words]
    if small and small[-1] in (
        _CONTAINED | _WRITTEN_IN if _MORE_OR_LESS.match(text) else _CONTAINED
    ):
        return f"with {text}"
    if not words or any(word in _OF_A_LIMIT or word[0].isdigit() for word in small):
        return ""
    if small[0] in _MANY:
        return f"with {text}"
    if small[-1] in _COUNTED_WRITTEN_AS:
        return f"as {_article(small[0])} {text}"
    if small[-1] in _WRITTEN_AS:
        return f"as {_ACRONYM.sub(lambda found: found[0].upper(), text)}"
    if small[-1] in _WRITTEN_IN and (len(words) > 1 or small[-1] in _WRITTEN_IN_BY_ITSELF):
        return (
            f"in {_article(small[0])} {text}" if small[-1] in _COUNTED_WRITTEN_IN else f"in {text}"
        )
    if len(words) > 1 and named(small[-1]):
        is_quality = small[0] in _BEFORE_AN_ADJECTIVE or small[-2] in _BEFORE_A_LANGUAGE
        return "" if is_quality else f"in {text}"
    if not _is_noun(words):
        return ""
    if small[-1] not in _NOUNS and (words[-1][0].isupper() or not _COUNTED_ENDS.search(small[-1])):
        return f"{IN_THE_STYLE} {text}"
    begun = text[0].lower() + text[1:] if text[1:2].islower() else text
    return f"{IN_THE_STYLE} {_article(small[0])} {begun}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _is_noun(words: Sequence[str]) -> bool:
    last = words[-1].lower()
    if last in _NOUNS or last in _UNCOUNTED:
        return True
    is_adjective = (
        words[0].lower() in _BEFORE_AN_ADJECTIVE
        or last in _ADJECTIVES
        or "-" in last
        or _ADJECTIVE_ENDS.search(last) is not None
    )
    is_english = all(word.isascii() for word in words)
    return is_english and not is_adjective and (len(words) > 1 or words[0][0].isupper())
