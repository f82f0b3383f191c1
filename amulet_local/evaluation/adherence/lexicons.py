"""Expressions that personas and registers are known by, in lower case.

Chosen so that plain answers have few of them: "partner" or "well" says nothing.
"""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(entry.split()) for entry in text.split("|"))


PIRATE = _listed(
    """
    arr | arrr | arrrr | ahoy | avast | aye | matey | mateys | me hearties | hearties |
    landlubber | landlubbers | scallywag | scallywags | scurvy | buccaneer | booty | ye |
    yer | yarr | yo ho ho | shiver me timbers | doubloons | davy jones | me hearty | seven
    seas | walk the plank | jolly roger | th' | o' | savvy | ye olde | swashbuckling | me
    ship | me crew | grog | blimey | cap'n | ol' | sailin' | be warned | yo-ho-ho
    """
)
SHAKESPEARE = _listed(
    """
    thou | thee | thy | thine | hath | doth | art thou | thou art | 'tis | 'twas |
    wherefore | forsooth | prithee | verily | anon | ere | o'er | ne'er | e'en | hark |
    alas | hast | dost | shalt | methinks | nay | good sir | pray tell | fair maiden |
    gentle friend | whence | hither | thither | mine eyes | quoth | ye
    """
)
COWBOY = _listed(
    """
    howdy | y'all | pardner | reckon | yeehaw | yee-haw | fixin' | ain't | buckaroo |
    giddy up | giddyup | saddle up | lasso | darn tootin' | dang | mighty fine | varmint |
    hoss | rodeo | ol' | cowpoke | well i'll be | yonder | tarnation | howdy partner |
    howdy, partner | well, partner | wild west | saloon | ridin' | ropin' | yer | holler |
    talkin' | gettin' | goin' | lookin' | doin' | cattle drive | sheriff | campfire
    """
)
ROBOT = _listed(
    """
    processing query | processing request | processing... | system online | error detected
    | beep | boop | beep boop | bzzt | bleep | bloop | whirr | affirmative | query
    received | initializing | scanning | my circuits | circuits | my sensors | sensors
    indicate | does not compute | end of line | analysis complete | this unit | subroutine
    | input received | data indicates | end transmission | greetings, human | task
    complete | my programming | my databanks | terminating
    """
)
SURFER = _listed(
    """
    dude | dudes | bro | gnarly | stoked | rad | totally | tubular | cowabunga | hang ten
    | hang loose | epic | chill | vibes | vibe | shaka | shred | wipeout | brah | catch
    some waves | catch a wave | catching waves | righteous | bummer | whoa | surf's up |
    awesome | mellow
    """
)
FAIRY_TALE = _listed(
    """
    once upon a time | long ago | in a faraway land | far away | far, far away | kingdom |
    happily ever after | ever after | enchanted | fairy | magical | wise old | princess |
    prince | castle | dragon | and so it was | there lived | the end
    """
)
GRANDMOTHER = _listed(
    """
    dear | dearie | my dear | sweetie | sweetheart | my child | darling | when i was young
    | when i was your age | back in my day | in my day | grandma | granny | your
    grandfather | your grandpa | grandpa | bless your heart | pumpkin | a cup of tea | my
    little one | little one | sweet pea | grandchild | grandson
    """
)
SLANG = _listed(
    """
    dude | bro | lol | lowkey | highkey | no cap | fr | vibe | vibes | yo | lit | dope |
    chill | totally | gonna | wanna | gotta | kinda | legit | bruh | fam | sus | slay |
    omg | ngl | tbh | y'all | what's up | sup | cringe | deadass | vibing | awesome |
    literally | hella | bestie | yeet | af | super chill
    """
)
TEXT_MESSAGE = _listed(
    """
    u | ur | r | lol | btw | omg | idk | imo | tbh | thx | pls | plz | b4 | gr8 | l8r |
    ttyl | brb | 2day | 4u | cuz | bc | ppl | msg | nvm | rn | ikr | smh | gonna | w/ | np
    | tho | haha | lmk | hmu | ngl | wanna | gotta | tmrw
    """
)
HEDGES = _listed(
    """
    maybe | perhaps | might | possibly | probably | seems | it appears | i think | i
    believe | i'm not sure | i am not sure | not certain | it is possible | it's possible
    | sort of | somewhat | presumably | as far as i know
    """
)
