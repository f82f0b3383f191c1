"""An answer has the form that was asked for, whatever the model would say.

The rows are random: words, marks, spaces, ends of lines and of the answer come as they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.preferences.form import ANY_FORM, Form, form_of
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from tests.scripted import END, ScriptedVocabulary

VOCABULARY = ScriptedVocabulary()
PLAN = RowPlan(has_plain=True, weights=(1.0,))
N_TOKENS = 150
SEEDS = range(4)
NEW_LINE = VOCABULARY.pieces.index(b"\n")
OFTEN = [b" ", b"\n", b".", b"!", b"?", b",", b"-", b'"', b"*", b"1", b"A", b"a", b"I"]


def _likely() -> np.ndarray:
    """Words and some marks are likely, bytes of other scripts aren't."""
    row = np.zeros(VOCABULARY.n_tokens, dtype=np.float32)
    for token, piece in enumerate(VOCABULARY.pieces):
        if len(piece) == 1:
            row[token] = 1.5 if piece in OFTEN else -30.0
    row[NEW_LINE] += 2.0
    row[: len(VOCABULARY.special_tokens)] = -30.0
    return row


LIKELY = _likely()


def rows(rng: np.random.Generator, end: float) -> list[np.ndarray]:
    """Two rows, of which the second is a little different."""
    plain = LIKELY + rng.normal(size=LIKELY.shape).astype(np.float32)
    plain[END] = end
    return [plain, plain + rng.normal(scale=0.3, size=plain.shape).astype(np.float32)]


def steering(form: Form, **named: object) -> Steering:
    amulet = AmuletParams(guidance_scale=2, form_guard=True)
    return Steering(
        PLAN,
        amulet,
        Realigner(VOCABULARY.n_tokens),
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
        form=form,
        **{"end_tokens": VOCABULARY.end_tokens, **named},  # type: ignore[arg-type]
    )


def said(form: Form, seed: int, *, draws: bool = True, end: float = -2.0) -> tuple[str, bool]:
    """An answer of random rows, and whether it ended by itself."""
    rng = np.random.default_rng(seed)
    made, text, realigner = steering(form, is_drawn=draws), "", Realigner(VOCABULARY.n_tokens)
    for _ in range(N_TOKENS):
        combination = made.combine(rows(rng, end))
        token = made.likeliest()
        if draws:
            logits = realigner.combine(*combination).astype(np.float64)
            p = np.exp(logits - logits.max())
            token = int(rng.choice(len(p), p=p / p.sum()))
        if token in VOCABULARY.end_tokens:
            return text, True
        text += VOCABULARY.pieces[token].decode("utf-8", "ignore")
        made.accept(token, VOCABULARY.pieces[token].decode("utf-8", "ignore"))
    return text, False


ALWAYS: list[tuple[str, Callable[[str], bool]]] = [
    ("in lower case", str.islower),
    ("in capital letters", str.isupper),
    ("without commas", lambda text: "," not in text),
    ("no exclamation marks or question marks", lambda text: not re.search("[!?]", text)),
    ("without digits", lambda text: not re.search(r"\d", text)),
    ("no punctuation", lambda text: not re.search("[.,!?]", text)),
    ("without quotation marks", lambda text: '"' not in text),
    ("no bullet points", lambda text: not re.search(r"(?m)^\s*(?:[-*] |\d)", text)),
    ("no markdown", lambda text: not re.search(r"(?m)[*`]|^\s*(?:#|- )", text)),
    ("without the letter e", lambda text: "e" not in text.lower()),
    ('never use the word "you"', lambda text: not re.search(r"(?i)\byou\b", text)),
    ("without dashes", lambda text: "-" not in text),
    (
        'starting with the word "Honestly"',
        lambda text: re.match(r"Honestly(?!\w)", text) is not None,
    ),
    ("in at most two paragraphs", lambda text: len(re.findall(r"\n[ \t]*\n\s*\S", text)) <= 1),
]
"""What holds at every place of an answer."""

AT_THE_END: list[tuple[str, Callable[[str], bool]]] = [
    ('end with "Stay curious!"', lambda text: text.endswith("Stay curious!")),
    (
        "in double quotation marks",
        lambda text: text[0] == text.strip()[-1] == '"' and len(text) > 1,
    ),
    (
        'begin with "Well" and end with "over"',
        lambda text: re.fullmatch(r"(?s)Well\b.*over", text) is not None,
    ),
    ("in one word", lambda text: len(text.split()) <= 1 or not re.search(r"\w\W+\w", text)),
]
"""What holds where an answer has ended."""


@pytest.mark.parametrize("draws", [False, True])
@pytest.mark.parametrize(("wish", "holds"), ALWAYS, ids=[wish for wish, _ in ALWAYS])
def test_what_would_break_the_form_never_comes(
    wish: str, holds: Callable[[str], bool], draws: bool
) -> None:
    form = form_of(wish)
    assert form
    broken = 0
    for seed in SEEDS:
        text, _ = said(form, seed, draws=draws)
        assert holds(text), text
        broken += not all(holds(said(ANY_FORM, seed, draws=draws)[0]) for draws in (False, True))
    assert broken, "rows that keep the form by themselves show nothing"


@pytest.mark.parametrize("draws", [False, True])
@pytest.mark.parametrize(("wish", "holds"), AT_THE_END, ids=[wish for wish, _ in AT_THE_END])
def test_an_answer_ends_as_was_asked(wish: str, holds: Callable[[str], bool], draws: bool) -> None:
    n_ended = 0
    for seed in SEEDS:
        text, ended = said(form_of(wish), seed, draws=draws, end=5.0)
        n_ended += ended
        assert not ended or holds(text), text
    assert n_ended


def told(form: Form, script: str) -> str:
    """What is left of a text that is all that the rows find likely."""
    made, text = steering(form), ""
    for letter in script:
        wanted = VOCABULARY.pieces.index(letter.encode())
        row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
        row[wanted], row[END] = 0.0, -8.0
        made.combine([row, row.copy()])
        if (token := made.likeliest()) in VOCABULARY.end_tokens:
            return text
        piece = VOCABULARY.pieces[token].decode()
        text += piece
        made.accept(token, piece)
    return text


@pytest.mark.parametrize(
    ("wish", "script", "kept"),
    [
        (
            "at most 8 words",
            "- rest a lot\n- see a doctor\n- drink more\n",
            "- rest a lot\n- see a doctor",
        ),
        (
            "at most 11 words",
            "What you can do at home is this:\n- rest\n- drink\n- sleep\n- eat\n",
            "What you can do at home is this:\n- rest\n- drink\n- sleep",
        ),
        ("at most 20 characters", "1. Read\n2. Sleep\n3. Eat well\n", "1. Read\n2. Sleep"),
        (
            "at most 9 words",
            "Rest a lot. See a doctor. Drink more. Eat.",
            "Rest a lot. See a doctor. Drink more.",
        ),
    ],
)
def test_a_limit_ends_an_answer_before_what_would_not_fit(
    wish: str, script: str, kept: str
) -> None:
    assert told(form_of(wish), script).strip() == kept
    assert told(ANY_FORM, script) == script


def chosen(wish: str, text: str, likely: str) -> str:
    """What comes behind a text, of these letters, the likeliest first."""
    made = steering(form_of(wish))
    for letter in text:
        made.accept(VOCABULARY.pieces.index(letter.encode()), letter)
    row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    for n, letter in enumerate(likely):
        row[VOCABULARY.pieces.index(letter.encode())] = -n
    made.combine([row, row.copy()])
    return VOCABULARY.pieces[made.likeliest()].decode()


@pytest.mark.parametrize(
    ("wish", "text", "likely", "comes"),
    [
        ("in one sentence", "Certainly", "!.,", ","),
        ("in at most two sentences", "Sure", "\n,", ","),
        ("in ten sentences", "Certainly", "!.,", "!"),
        ("in one sentence", "Certainly true", "!.,", "!"),
        ("in one sentence", "Three of them:", "\n a", " "),
        ("in two sentences", "Three of them:", "\n a", "\n"),
        ("as a haiku in one sentence", "An old pond,", "\n a", "\n"),
    ],
)
def test_none_of_a_few_sentences_says_nothing_and_an_only_one_is_no_list(
    wish: str, text: str, likely: str, comes: str
) -> None:
    assert chosen(wish, text, likely) == comes


def test_a_heading_is_no_hashtag() -> None:
    assert chosen("with two or more headings", "#", "A ") == " "
    assert chosen("with two or more headings", "# A\n##", "A ") == " "
    assert chosen("with two or more headings", "# A\nC#", "A ") == "A"
    assert chosen("with two or more headings", "# ", "#\nA") == "A"
    assert chosen("with two or more headings", "# A\n#", "\n #") == " "


def test_an_emoji_that_has_begun_is_ended_before_another_one_is_asked_for() -> None:
    made = steering(form_of("with exactly two emojis"))
    first, *rest = "🎈".encode()
    made.accept(VOCABULARY.pieces.index(bytes([first])), "")
    row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    row[END], row[VOCABULARY.pieces.index(bytes(rest[:1]))] = 0.0, -3.0
    made.combine([row, row.copy()])
    assert VOCABULARY.pieces[made.likeliest()] == bytes(rest[:1])
