"""Answers that follow each preference of the bank, and answers that don't; of a cut answer, too.

Written by hand to be what models write: with headings, code, emojis, abbreviations and decimals.
"""

from __future__ import annotations

QUESTION = "How do I sleep better?"

PLAIN = (
    "To sleep better, go to bed at the same time every night and keep the room dark. "
    "Avoid caffeine after noon, and put your phone away an hour before bedtime."
)
"""Follows hardly anything."""

_LONG = " ".join(
    [
        "Good sleep begins in the morning, when daylight sets the clock in your head.",
        "Get up at the same hour every day, even on weekends, and step outside soon after.",
        "Move your body in the afternoon, but finish hard training three hours before bed.",
        "Coffee, e.g. an espresso after lunch, can stay with you until midnight.",
        "In the evening, dim the lamps and lower the heating to about 18.5 degrees.",
        "Write down whatever worries you, so that it does not follow you under the blanket.",
        "Keep screens out of the bedroom, since their light and their news keep you awake.",
        "If you lie awake for twenty minutes, get up and read something dull until you are tired.",
        "Alcohol makes you drowsy, yet it breaks up the second half of the night.",
        "Be patient, because a new rhythm takes two or three weeks to settle.",
    ]
)
_POEM = "The moon is high,\nthe house is still,\nI close my eyes\nand climb the hill"
_TABLE = "| Habit | Effect |\n|---|---|\n| No coffee | Sleep comes |\n| Dark room | Less waking |"
_LETTER = (
    "Dear Anna,\n\nI heard that you lie awake at night. Try going to bed at ten, and leave your "
    "phone in the kitchen.\n\nYours,\nTom"
)

TRUE: dict[str, tuple[str, ...]] = {
    "spanish": (
        "Para dormir mejor, acuéstate siempre a la misma hora y evita el café por la tarde.",
        "1. Acuéstate temprano.\n2. Evita las pantallas.\n3. Mantén la habitación oscura. 😴",
        "Puedes usar este código:\n\n```python\nprint('good night, sleep well')\n```\n\n"
        "El programa te desea buenas noches cada vez que lo ejecutas.",
    ),
    "french": (
        "Pour mieux dormir, couchez-vous à la même heure et évitez le café après midi.",
        "## Conseils\n\nÉteignez les écrans une heure avant d'aller au lit. La chambre doit rester "
        "fraîche, environ 18,5 degrés.",
    ),
    "german": (
        "Gehen Sie jeden Abend zur gleichen Zeit ins Bett und trinken Sie z. B. keinen Kaffee.",
        "- Kein Kaffee nach Mittag\n- Das Handy bleibt in der Küche\n- Das Zimmer ist dunkel",
    ),
    "italian": (
        "Per dormire meglio, vai a letto sempre alla stessa ora ed evita il caffè di sera.",
        "Spegni il telefono un'ora prima di dormire! La camera deve essere buia e fresca. 🌙",
    ),
    "portuguese": (
        "Para dormir melhor, vá para a cama sempre à mesma hora e não beba café à noite.",
        "Desligue o telemóvel uma hora antes de dormir. O quarto deve estar escuro e fresco.",
    ),
    "chinese": (
        "每天按时上床睡觉,睡前一小时不要看手机。房间要保持黑暗和凉爽。",
        "1. 不要在下午喝咖啡。\n2. 保持卧室安静。\n3. 每天锻炼三十分钟。",
    ),
    "one-sentence": (
        "Go to bed at the same time every night, avoid caffeine, e.g. coffee, and keep it dark.",
        "Keep the room at 18.5 degrees and dark! 🌙",
        'Dr. Walker says "sleep at regular times" and that is the best advice, i.e. start there',
    ),
    "three-sentences": (
        "Sleep at fixed times. Avoid coffee after 2 p.m. and keep the room cool. Good night! 😴",
        PLAIN,
    ),
    "five-sentences": (
        "Go to bed early. Avoid coffee. Keep it dark. Read a book. Put the phone away.",
        _LONG,
    ),
    "under-30-words": (
        "Keep a fixed bedtime, avoid caffeine, and make the room dark.",
        "- Fixed bedtime\n- No caffeine\n- Dark, cool room",
    ),
    "over-120-words": (_LONG, f"# Sleep\n\n{_LONG} 😴"),
    "short-sentences": (
        "Go to bed at ten. Keep the room dark. Avoid coffee, e.g. espresso, at night.",
        "# Sleep\n\n- No coffee after noon.\n- Room at 18.5 degrees.\n- Phone off! 🌙",
    ),
    "two-paragraphs": (
        "Keep a fixed bedtime.\nThe same goes for mornings.\n\nAvoid coffee in the evening.",
        "Sleep needs darkness. Close the curtains.\n\n\nIt also needs quiet. Use earplugs. 😴",
    ),
    "three-bullets": (
        "- Keep a fixed bedtime\n- Avoid coffee\n- Darken the room",
        "Here you go:\n\n* Fixed bedtime.\n* No coffee, e.g. espresso.\n* Sleep at 18.5 °C.",
        "Tips:\n---\n- Fixed bedtime\n- No coffee\n- Dark room",
    ),
    "numbered-list": (
        "1. Keep a fixed bedtime.\n2. Avoid coffee.\n3. Darken the room.",
        "Try this:\n\n**1. Bedtime**\n   Keep it fixed.\n\n**2. Coffee**\n   None after noon. 😴",
        "1) Fixed bedtime\n2) 7.5 hours of sleep",
    ),
    "steps": (
        "Step 1: Set a bedtime.\nStep 2: Drink no coffee, e.g. espresso.\nStep 3: Sleep.",
        "## Step 1\nSet a bedtime.\n\n## Step 2\nKeep to it.",
    ),
    "table": (
        _TABLE,
        f"Here is the table:\n\n{_TABLE}\n\nSleep well!",
        "Habit | Hours\n:--- | ---:\nSleep | 7.5",
    ),
    "json": (
        '{"tips": ["fixed bedtime", "no coffee"], "hours": 7.5}',
        '```json\n["fixed bedtime", "dark room 😴"]\n```',
    ),
    "headings": (
        "# Evening\nDim the lights.\n\n## Night\nKeep it dark.",
        "## 1. Food\n\nNo coffee.\n\n## 2. Light\n\nNo screens.\n",
    ),
    "title": (
        "<<Better Nights>>\n\nKeep a fixed bedtime.",
        "# <<The art of sleep>>\n\nAvoid coffee. 😴",
    ),
    "highlights": (
        "Keep a **fixed bedtime**, avoid **coffee** and make the room **dark**.",
        "Mind the *light*, the *noise* and the **temperature of 18.5 degrees**.",
    ),
    "two-responses": (
        "Go to bed at ten.\n******\nAvoid coffee in the evening.",
        "******\nKeep it dark.\n\n******\n\nKeep it quiet. 😴\n******",
    ),
    "poem": (
        _POEM,
        "**Sleep**\n\nThe lamp goes out, the day is done,\nThe stars come after the sun,\n"
        "Let coffee wait, let worries go,\nAnd drift to sleep, so soft, so slow. 🌙",
    ),
    "letter": (
        _LETTER,
        "Hello my friend!\n\nGo to bed earlier, e.g. at 10.30 p.m.\n\nWarm regards,\nMaria 😊",
    ),
    "lower-case": (
        "go to bed at the same time every night, avoid coffee and keep the room dark.",
        "to sleep better:\n- keep a fixed bedtime\n- no coffee, e.g. espresso\n- 18.5 degrees 😴",
    ),
    "upper-case": (
        "GO TO BED AT THE SAME TIME EVERY NIGHT AND KEEP THE ROOM DARK.",
        "# SLEEP\n\n1. AVOID COFFEE IN THE EVENING.\n2. KEEP THE ROOM AT 18.5 DEGREES! 😴",
    ),
    "no-commas": (
        "Go to bed at ten. Avoid coffee and keep the room dark.",
        "# Sleep\n\n- Room at 18.5 degrees\n- No coffee e.g. espresso 😴",
    ),
    "exclamations": (
        "Go to bed at ten! Avoid coffee, e.g. espresso! Keep the room at 18.5 degrees!",
        "# Sleep well\n\n- Fixed bedtime\n- No coffee!\n\nYou can do it! 🎉💤",
        'Tell yourself "I sleep now!" every night! It works!!',
    ),
    "questions-only": (
        "Have you tried a fixed bedtime? Could it be the coffee, e.g. the espresso at 4 p.m.?",
        "## Questions\n\n1. Is the room dark?\n2. Is it below 18.5 degrees? 🤔",
    ),
    "three-emojis": (
        "Go to bed early 😴, avoid coffee ☕ and keep it dark 🌙.",
        "Sleep is for the family 👨‍👩‍👧, so keep it quiet 👍🏽 and dark. 🇫🇷",
    ),
    "emojis": (
        "Sleep tight 😴🌙",
        "- ☕ No coffee\n- ❤️ Be kind to yourself\n- 📵 No phone",
    ),
    "quotation": (
        '"Go to bed at ten and avoid coffee."',
        '"Keep the room at 18.5 degrees.\n\nSleep well! 😴"',
    ),
    "no-the": (
        "Go to bed early; other than that, avoid coffee. Breathe slowly.",
        "- Keep a fixed bedtime\n- Avoid coffee, e.g. espresso\n- 18.5 degrees 😴",
    ),
    "river-and-bridge": (
        "Picture a river that flows slowly under a bridge, and breathe along.",
        "Rivers calm the mind. Walk over the Bridge at dusk. 🌉",
    ),
    "sun-three-times": (
        "Get sun in the morning, follow the sun, and rest when the sun sets.",
        "Sun at 7.30, more sun at noon, and sunglasses off! ☀️",
    ),
    "shouted-words": (
        "NEVER drink coffee late. ALWAYS keep it DARK and QUIET.",
        "# SLEEP\n\nKeep a FIXED bedtime, e.g. 10.30 P.M., with NO phone. 😴",
    ),
    "for-example": (
        "Keep a fixed bedtime. For example, go to bed at ten.",
        "- Calm habits, for\n  instance reading\n- No caffeine, e.g. espresso",
    ),
    "closing-phrase": (
        "Keep a fixed bedtime and avoid coffee. I hope that helps.",
        '"Sleep at 18.5 degrees.\n\nI hope that helps."\n',
    ),
    "opening-word": (
        "Honestly, a fixed bedtime does most of it.",
        "**Honestly**: avoid coffee, e.g. espresso. 😴",
    ),
    "no-digits": (
        "Sleep for seven or eight hours, and go to bed at ten.",
        "- Seven and a half hours\n- No coffee\n\n```python\nhours = 7.5\n```",
    ),
    "postscript": (
        "Go to bed at ten.\n\nP.S. Coffee after noon is a bad idea.",
        "Keep it dark. 🌙\n\n**P. S.** Buy curtains, e.g. black ones.",
    ),
    "no-contractions": (
        "It is advisable to retire at the same time. One should not consume coffee at night.",
        "# Recommendations\n\n- Keep the room's temperature at 18.5 degrees.\n- Avoid caffeine.",
    ),
    "contractions": (
        "If you can't sleep, don't lie there. It's better to get up.",
        "You’ll sleep better if you’re off the phone, e.g. after 9.30 p.m. 😴",
    ),
    "polite": (
        "Please keep a fixed bedtime. Thank you for asking!",
        "Thanks for your question! Could you please avoid coffee, e.g. after 2.30 p.m.? 🙏",
    ),
    "first-person": (
        "I used to lie awake. What helped me was a fixed bedtime and my old alarm clock.",
        "- I drink no coffee\n- I read for 7.5 minutes\n- I keep my room dark 😴",
    ),
    "slang": (
        "Yo, that's lowkey easy: go to bed at ten, no cap.",
        "Bruh, put the phone away fr 😴. You'll vibe so hard tomorrow.",
    ),
    "text-message": (
        "u need a fixed bedtime lol, no coffee b4 bed",
        "omg same 😴 idk, maybe no phone at 9.30?",
    ),
    "hedged": (
        "Perhaps a fixed bedtime would help. Maybe it is the coffee, or it might be the light.",
        "It might be stress, I think, e.g. from work; possibly the room is too warm (18.5 °C?). 🤔",
    ),
    "small-child": (
        "Go to bed when it gets dark. Hug your bear. Close your eyes and think of a nice day.",
        "# Sleep\n\nTurn off the light. Do not play with your toys in bed. You need to rest! 😴",
    ),
    "ten-year-old": (
        "Your brain is like a phone that has to charge at night. Go to bed at the same time, and "
        "leave the games in the other room.",
        "- Go to bed at nine.\n- Do not drink cola at night, e.g. with dinner.\n- Read a book. 😴",
    ),
    "short-words": (
        "Go to bed at ten each night, keep the room dark, and do not drink tea or cola late.",
        "- Go to bed on time\n- Keep your room cool and dark\n- Read a book, not your phone 😴",
    ),
    "learner": (
        "Go to bed at ten. Do not drink coffee at night. Keep your room dark. Turn off your phone.",
        "1. Set a time for bed.\n2. Put your phone in the kitchen.\n3. Read a book for a while. 😴",
    ),
    "academic": (
        "Longitudinal investigations consistently demonstrate that irregular circadian scheduling "
        "deteriorates both subjective sleep quality and objective polysomnographic parameters, "
        "particularly in populations characterised by elevated psychological distress.",
        "# Abstract\n\nThe present investigation evaluates behavioural interventions (e.g. light, "
        "stimulus control and sleep restriction) with respect to their efficacy in "
        "reducing sleep onset latency in a heterogeneous sample of participants (mean 18.5).",
    ),
    "expert": (
        "Stimulus control therapy reconditions hyperarousal, whereas exogenous melatonin "
        "administration facilitates circadian phase advancement in delayed chronotypes.",
        "- Adenosine antagonism diminishes homeostatic pressure.\n- Photic suppression of hormone "
        "secretion necessitates environmental illumination control. 🧠",
    ),
    "pirate": (
        "Arr, matey! Go to yer bunk when the sun sets.",
        "Ahoy! Ye must not drink coffee, e.g. after 2.30 bells. 🏴‍☠️",
    ),
    "shakespeare": (
        "If thou wouldst sleep, put out thy candle ere the clock strikes ten.",
        "Hark! The night doth call thee, good sir. 🌙",
    ),
    "cowboy": (
        "Howdy, partner! I reckon ya oughta hit the hay by ten.",
        "Well, y'all gotta quit that coffee, 'cause it ain't no good after 4.30. 🤠",
    ),
    "robot": (
        "BEEP BOOP. My sensors report insufficient rest. Power down at 22.00.",
        "Query received. Scanning habits... Recommendation: no coffee. Bzzt! 🤖",
    ),
    "surfer": (
        "Dude, you gotta catch the sleep wave early. Totally skip the coffee.",
        "Whoa, bro! Sleep at 18.5 degrees, that's gnarly. 🏄",
    ),
    "fairy-tale": (
        "Once upon a time there lived a girl who could not sleep. An owl sang to her.",
        "Far away, in a magical wood, a fox slept 7.5 hours and lived happily ever after. 🧚",
    ),
    "grandmother": (
        "Oh sweetie, when I was young we went to bed with the hens.",
        "My dear, drink some warm milk. Your grandpa swears by it! 👵",
    ),
}

_ENGLISH = (PLAIN, "Keep a fixed bedtime. Avoid coffee, e.g. espresso. ¡Buenas noches! 😴")

FALSE: dict[str, tuple[str, ...]] = {
    "spanish": (*_ENGLISH, TRUE["portuguese"][0], TRUE["italian"][0], "", "12.5"),
    "french": (*_ENGLISH, TRUE["spanish"][0]),
    "german": (*_ENGLISH, "Ga elke avond op dezelfde tijd naar bed en drink geen koffie."),
    "italian": (*_ENGLISH, TRUE["spanish"][0]),
    "portuguese": (*_ENGLISH, TRUE["spanish"][0]),
    "chinese": (*_ENGLISH, "毎日同じ時間に寝てください。コーヒーは飲まないでください。"),
    "one-sentence": (PLAIN, "go to bed early. avoid coffee.", ""),
    "three-sentences": (TRUE["five-sentences"][0], "One. Two! Three? Four 😴. ", _LONG),
    "five-sentences": (PLAIN, "Avoid coffee, e.g. espresso, i.e. at 2.30 p.m. Dr. Who agrees."),
    "under-30-words": (_LONG, PLAIN + " Sleep well.", ""),
    "over-120-words": (PLAIN, "Keep a fixed bedtime."),
    "short-sentences": (PLAIN, _LONG, ""),
    "two-paragraphs": (PLAIN, "One.\n\nTwo.\n\nThree.", "One line.\nAnother line."),
    "three-bullets": (
        PLAIN,
        "- Fixed bedtime\n- No coffee",
        "- Bedtime\n- Coffee\n- Light\n- Noise",
        "1. Bedtime\n2. Coffee\n3. Light",
    ),
    "numbered-list": (
        PLAIN,
        "- Fixed bedtime\n- No coffee",
        "1. Only this.",
        "3.5 hours\n2.5 cups",
    ),
    "steps": (PLAIN, "Step 1: Set a bedtime. Step 2: Keep it.", "1. Set a bedtime\n2. Keep it"),
    "table": (PLAIN, "Habit - Effect\n- No coffee | good", "| Habit | Effect |\n|---|---|"),
    "json": (PLAIN, 'Here is the JSON:\n```json\n{"a": 1}\n```', '{"a": 1'),
    "headings": (PLAIN, "# Only one\n\nText.", "```sh\n# a comment\n# another\n```\n"),
    "title": (PLAIN, "<Better Nights>\n\nText.", "<<>>"),
    "highlights": (PLAIN, "A **bold** word and *one* more.", "* one\n* two\n* three"),
    "two-responses": (
        PLAIN,
        "Same.\n******\nSame.",
        "One.\n******\nTwo.\n******\nThree.",
        "One.\n***\nTwo.",
    ),
    "poem": (
        PLAIN,
        _LONG,
        "- Bedtime\n- Coffee\n- Light\n- Noise",
        "Roses are red,\nviolets blue.",
    ),
    "letter": (PLAIN, "Dear Anna,\n\nSleep well.", "Go to bed.\n\nYours,\nTom"),
    "lower-case": (PLAIN, "go to bed at Ten.", TRUE["spanish"][0].lower(), ""),
    "upper-case": (PLAIN, "GO TO BED, e.g. AT TEN.", "VETE A LA CAMA TEMPRANO Y NO TOMES CAFÉ."),
    "no-commas": (PLAIN, "Go to bed, now.", ""),
    "exclamations": (PLAIN, "Go to bed! Avoid coffee.", "", "Try this:\n\n- Sleep!"),
    "questions-only": (PLAIN, "Have you tried a bedtime? Avoid coffee.", "# Why?", ""),
    "three-emojis": (PLAIN, "Sleep 😴🌙", "😴😴😴😴", "Call #1, *2 and 3 (c) ->"),
    "emojis": (PLAIN, "Sleep tight 😴", "Sleep :-) ;-)"),
    "quotation": (PLAIN, 'He said "go to bed".', '"Go to bed." That is all.', '"'),
    "no-the": (PLAIN, "Keep The room dark.", ""),
    "river-and-bridge": (PLAIN, "Think of a river.", "Cross the bridge."),
    "sun-three-times": (PLAIN, "Get sun in the morning and no sun at night."),
    "shouted-words": (PLAIN, "NEVER drink coffee. I mean it.", "Sleep 8.5 HOURS"),
    "for-example": (PLAIN, "Forexample this, exempli gratia."),
    "closing-phrase": (PLAIN, "I hope that helps. Sleep well!", "I hope that helps. 😴"),
    "opening-word": (PLAIN, "To be honest, sleep.", "Quite honestly, sleep."),
    "no-digits": ("Sleep for 8 hours.", "1. Fixed bedtime\n2. No coffee", ""),
    "postscript": (PLAIN, "Use PS cables, e.g. P.D. ones.", "Get some ZZZ's. P. T. says so."),
    "no-contractions": ("Don't drink coffee.", "It’s late.", "Go to bed!", "Sleep well 😴", ""),
    "contractions": (PLAIN, "It's the dog's bed and the cat's pillow.", "It is so."),
    "polite": (PLAIN, "Please go to bed.", "Thank you for asking."),
    "first-person": (PLAIN, "I think it is the coffee.", "In Asia, i.e. in India, mine."),
    "slang": (PLAIN, "Yo, go to bed early."),
    "text-message": (PLAIN, "Vitamin B and a cup of tea, lol."),
    "hedged": (PLAIN, "Perhaps it is the coffee.", "maybe, maybe, maybe"),
    "small-child": (TRUE["academic"][0], PLAIN.replace("bed", "relaxation"), ""),
    "ten-year-old": (TRUE["academic"][0], TRUE["expert"][1], "Sleep."),
    "short-words": (TRUE["academic"][0], TRUE["expert"][0], "Sleep."),
    "learner": (TRUE["academic"][0], _LONG, ""),
    "academic": (TRUE["small-child"][0], PLAIN, ""),
    "expert": (TRUE["small-child"][0], _LONG, "Insomnia."),
    "pirate": (PLAIN, "Arr! Go to bed at ten o'clock.", "Sail into the sea of sleep."),
    "shakespeare": (PLAIN, "Alas, it is the coffee."),
    "cowboy": (PLAIN, "Howdy! Go to bed at ten."),
    "robot": (PLAIN, "My circuits say: sleep."),
    "surfer": (PLAIN, "Dude, go to bed, dude."),
    "fairy-tale": (PLAIN, "Once upon a time I slept badly."),
    "grandmother": (PLAIN, "My dear, go to bed early."),
}

CUT: dict[str, tuple[tuple[str, bool | None], ...]] = {
    "one-sentence": (("Go to bed at the same time every", None), ("Go to bed. Avoid", False)),
    "five-sentences": (("One. Two. Three.", None), ("One. Two. Three. Four. And the", True)),
    "over-120-words": (("Keep a fixed", None),),
    "short-sentences": (
        ("Go to bed at ten. " + "and so on " * 9, True),
        ("Go to bed", None),
    ),
    "three-bullets": (
        ("- Bedtime\n- Cof", None),
        ("- One\n- Two\n- Three\n- Fo", False),
    ),
    "numbered-list": (("1. Bedtime", None), ("1. Bedtime\n2. Cof", True), ("Go to 2", None)),
    "json": (('{"tips": ["bed', None),),
    "poem": (
        ("The moon is high,\nthe house is still,", None),
        (
            _POEM + "\n" + "and now a line that was cut off before it was over, long as it is, and",
            True,
        ),
        (PLAIN + "\n" + PLAIN, False),
    ),
    "letter": (("Dear Anna,\n\nI heard", None), ("Go to bed", False)),
    "exclamations": (
        ("Go to bed! Avoid coffee", True),
        ("Go to bed. Avoid", False),
        ("Go to", None),
    ),
    "questions-only": (("Is the room dark? Have you", True),),
    "three-emojis": (("Sleep 😴", None), ("😴🌙☕⭐", False)),
    "two-responses": (("One answer", None), ("A\n******\nB\n******\nC", False)),
    "quotation": (('"Go to bed', None), ("Go to bed", False)),
    "closing-phrase": (("Go to bed.", None),),
    "lower-case": (("go to bed at the same time every ni", True), ("Go to bed", False)),
    "river-and-bridge": (("A river", None),),
    "small-child": (
        (TRUE["small-child"][0] + " Furthermore, psychophysiological considerations", True),
        ("Go to", None),
    ),
    "pirate": (("Arr, matey! Go", True), ("Arr! Go", None)),
}
"""Answers that were cut off, with what a check has to say."""
