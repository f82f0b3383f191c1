"""What becomes of what a model would say, where a form was asked for.

The rows follow a script: its next token is the likeliest, then the end of the answer, then the
tokens of another text. What was required in between is said and doesn't move the script.
"""

from __future__ import annotations

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.preferences.form import Form, form_of
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from amulet_local.text.json_position import JsonPosition
from tests.scripted import END, ScriptedVocabulary

VOCABULARY = ScriptedVocabulary(["\U0001f600", " \U0001f600", " don", " Don", "don", "'ll"])
PLAN = RowPlan(has_plain=True, weights=(1.0,))
MOST_TOKENS = 120
EMOJIS = [VOCABULARY.pieces.index(form.encode()) for form in ("\U0001f600", " \U0001f600")]
MARKS = {VOCABULARY.pieces.index(mark) for mark in (b".", b"!", b"?", b";")}


class Speaker:
    """Says a script under a form."""

    def __init__(self, form: Form, **named: object) -> None:
        self.text = ""
        self.ended = False
        self.steering = Steering(
            PLAN,
            AmuletParams(guidance_scale=1.5, form_guard=True),
            Realigner(VOCABULARY.n_tokens),
            vocabulary=VOCABULARY,  # type: ignore[arg-type]
            form=form,
            **{"end_tokens": VOCABULARY.end_tokens, **named},  # type: ignore[arg-type]
        )

    def say(self, script: str, otherwise: str = " more.", by: float = 5.0) -> str:
        """The answer.

        Args:
            otherwise: what comes where the script is over and the answer doesn't end.
            by: nats by which the script's next token is likelier than anything else.
        """
        left, rest = (self._tokens(text) for text in (script, otherwise))
        for _ in range(MOST_TOKENS):
            row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
            row[VOCABULARY.tokenize(".", add_special=False, parse_special=False)] = -by
            row[rest[:1]] = -4.0
            row[EMOJIS] = -15.0
            row[END] = -by - 1
            row[left[:1] or [END]] = 0.0
            self.steering.combine([row, row.copy()])
            token = self.steering.likeliest()
            if token == END:
                self.ended = True
                break
            if left[:1] == [token] or (left and {left[0], token} <= MARKS):
                del left[0]
            elif rest[:1] == [token]:
                del rest[0]
            self.take(token)
        return self.text

    def take(self, token: int) -> None:
        piece = VOCABULARY.pieces[token].decode()
        self.text += piece
        self.steering.accept(token, piece)

    @staticmethod
    def _tokens(text: str) -> list[int]:
        return VOCABULARY.tokenize(text, add_special=False, parse_special=False)


def said(wish: str, script: str, otherwise: str = " more.") -> str:
    form = form_of(wish)
    assert form
    speaker = Speaker(form)
    text = speaker.say(script, otherwise)
    assert speaker.ended
    return text


@pytest.mark.parametrize(
    ("wish", "script", "answer"),
    [
        ("in two sentences", "Be kind. Read. Walk. Sleep.", "Be kind. Read."),
        ("in at most two sentences", "Be kind.", "Be kind."),
        ("in exactly two sentences", "Be kind.", "Be kind. more."),
        ("in one sentence", "It is 3.5 days. Or 4.", "It is 3.5 days."),
        ("in one sentence", "Dr. Name can read. Ask him.", "Dr. Name can read."),
        ("in one sentence", 'He said "Read." Then he left.', 'He said "Read."'),
        ("in two sentences", "1. Be kind.\n2. Read.\n3. Walk.", "1. Be kind.\n2. Read."),
        (
            "in at most 8 words",
            "It is for you. Be kind to bread. And walk.",
            "It is for you. Be kind to bread.",
        ),
        (
            "in at most 8 words",
            "It is for you all day. Be kind to it now.",
            "It is for you all day.",
        ),
        (
            "under 35 characters",
            "It is for you all. Be kind to bread, water.",
            "It is for you all.",
        ),
        ("in one word", "Yeast is bread.", "Yeast"),
        ("with two emojis", "Be kind.", "Be kind. \U0001f600 \U0001f600"),
        ('with the word "bread"', "Be kind. Ask for bread.", "Be kind. Ask for bread."),
        ("use the word bread twice", "Ask for bread. Or Bread.", "Ask for bread. Or Bread."),
        ("as three bullet points", "- bed\n- tea\n- walk\n- read", "- bed\n- tea\n- walk\n"),
        (
            "as three bullet points",
            "- bed\n  - warm\n- tea\n- walk\n- a",
            "- bed\n  - warm\n- tea\n- walk\n",
        ),
        (
            "as three bullet points",
            "- bed\n- tea\n- walk\n\nGood night.",
            "- bed\n- tea\n- walk\n\nGood night.",
        ),
        ("as a list of 3 items", "1. bed\n2. tea", "1. bed\n2. tea\n3.  more"),
        ("in two paragraphs", "Be kind.\n\nRead.\n\nWalk.", "Be kind.\n\nRead.\n"),
        ("in two paragraphs", "Be kind.", "Be kind.\n\n more"),
        ("in one paragraph", "Be kind:\n- bed\n\nRead.", "Be kind:\n- bed\n more\nRead."),
        ('begin with "Well"', " you can.", "Well you can."),
        ('begin with "well, you"', " can.", "Well, you can."),
        ('end with "over"', "Be kind.", "Be kind. over"),
        ('end with "over"', "Be kind.\n\nRead.", "Be kind.\n\nRead.\n\nover"),
        ('end with "Read it."', "Be kind. Read it. And more.", "Be kind. Read it."),
        ('end with "Read it."', "Read it. Be kind.", " moreRead it."),
        ("in double quotation marks", "Be kind.", '"Be kind."'),
        (
            "every sentence ends with an exclamation mark",
            "Be kind. Read 3.5 days?",
            "Be kind! Read 3.5 days!",
        ),
        ("every sentence must end in a question mark", "Be kind!", "Be kind?"),
        ("each sentence on its own line", "Be kind. Read.\nWalk.", "Be kind.\n Read.\nWalk."),
        ('two sentences, ending with "over"', "Be kind. Read. Walk.", "Be kind. Read. over"),
        ("with a semicolon", "Be kind. Read. Walk.", "Be kind; Read. Walk."),
        ("as a numbered list", "1. Read.\n2. Walk.", "1. Read.\n2. Walk."),
        ("bullet points", "- Read.", "- Read.\n-  more"),
        ("in two lines", "Be kind.\nRead.\nWalk.", "Be kind.\nRead."),
        ("as a haiku", "Be kind.\n\nRead.", "Be kind.\n\nRead.\n more"),
        ("in one line", "Be kind.\nRead.", "Be kind."),
        ("with a heading", " Read.\nBe kind.", "# Read.\nBe kind."),
        ("with a title, but without markdown", "Be kind.", "Be kind."),
        ("end with a question", "Be kind. Why?", "Be kind. Why?"),
        ("start with a question", "What is yeast. Bread.", "What is yeast? Bread."),
        ("questions only", "Why. Name three rivers! Be kind?", "Why? Name three rivers? Be kind?"),
        ("with a P.S.", "Be kind.", "Be kind.\n\nP.S. more"),
    ],
)
def test_an_answer_comes_in_its_form(wish: str, script: str, answer: str) -> None:
    assert said(wish, script) == answer


@pytest.mark.parametrize(
    ("wish", "script", "otherwise", "answer"),
    [
        ("with hashtags", "Be kind.", "bread", "Be kind. #bread"),
        ("at least 4 words", "Be kind.", " Read it.", "Be kind. Read it"),
        ("in one line", "Be\nkind.", " kind.", "Be kind."),
        ("end with a question", "Be kind.", " more.", "Be kind. How?"),
        ("end with a question", "Be kind. Why more.", " more.", "Be kind. Why more. How?"),
    ],
)
def test_what_an_answer_lacks_comes_where_it_would_end(
    wish: str, script: str, otherwise: str, answer: str
) -> None:
    assert said(wish, script, otherwise) == answer


def test_a_last_question_is_in_the_case_that_was_asked_for() -> None:
    text = said("lower case, with a question at the end", "of bread.")
    assert text.startswith("of bread. ")
    assert text.endswith("?")
    assert text.islower()


def refused_pieces(wish: str, said: str) -> set[str]:
    """The tokens that don't come behind a text, each where it would be the likeliest."""
    steering = Speaker(form_of(wish)).steering
    steering.accept(0, said)
    row = np.zeros(VOCABULARY.n_tokens, dtype=np.float32)
    left = steering.combine([row, row.copy()])
    kept = range(VOCABULARY.n_tokens) if left.tokens is None else left.tokens
    finite = [token for token in kept if np.isfinite(left.preference[token])]
    everything = {piece.decode("utf-8", "ignore") for piece in VOCABULARY.pieces}
    return everything - {VOCABULARY.pieces[token].decode("utf-8", "ignore") for token in finite}


def test_each_word_of_a_title_begins_with_a_capital_letter() -> None:
    assert {" kind", " walk"} <= refused_pieces("in title case", "Be")
    assert not {"k", "kind", " Name", "."} & refused_pieces("in title case", "Be")
    assert {"k", "kind", " kind"} <= refused_pieces("in title case", "Be ")


def test_nothing_is_contracted_and_a_genitive_stays() -> None:
    assert {"'"} <= refused_pieces("no contractions", "it")
    assert "'" not in refused_pieces("no contractions", "the cat")
    assert {" don", " Don", "don", "'ll"} <= refused_pieces("no contractions", "you ")
    assert {" don", "'ll"} <= refused_pieces("no contractions", "the cat")
    assert "don" not in refused_pieces("no contractions", "lon")


@pytest.mark.parametrize("by", [1.0, 9.0])
def test_near_a_limit_a_sentence_ends_where_that_is_hardly_less_likely(by: float) -> None:
    speaker = Speaker(form_of("in at most 10 words"))
    text = speaker.say("It is for you and on and on and on and on and on.", by=by)
    assert (len(text.split()) <= 10) == (by == 1.0)
    told = speaker.steering.warnings
    assert told == (
        () if by == 1.0 else ("the answer has 14 words, and the preference says at most 10",)
    )


@pytest.mark.parametrize("likely", [False, True])
def test_a_mark_stands_only_where_the_plain_prompt_may_end_a_sentence(likely: bool) -> None:
    steering = Speaker(form_of("every sentence ends with an exclamation mark")).steering
    mark = VOCABULARY.pieces.index(b"!")
    steering.accept(VOCABULARY.pieces.index(b"Be"), "Be")
    plain = np.zeros(VOCABULARY.n_tokens, dtype=np.float32)
    plain[[*MARKS]] = -1.0 if likely else -9.0
    wished = plain.copy()
    wished[mark] = 9.0
    steering.combine([plain, wished])
    assert (steering.likeliest() == mark) == likely


def test_no_emoji_follows_the_last_one() -> None:
    steering = Speaker(form_of("with exactly one emoji")).steering
    row = np.zeros(VOCABULARY.n_tokens, dtype=np.float32)
    row[EMOJIS] = 9.0
    steering.combine([row, row.copy()])
    assert steering.likeliest() in EMOJIS
    steering.accept(EMOJIS[0], "\U0001f600")
    steering.combine([row, row.copy()])
    assert steering.likeliest() not in EMOJIS


def test_without_a_word_an_answer_goes_on_for_two_sentences_and_says_so() -> None:
    speaker = Speaker(form_of('with the word "yeast"'))
    assert speaker.say("Be kind. Read.", " more. Read. Walk.") == "Be kind. Read. more. Read."
    assert speaker.steering.warnings == (
        "the answer has 'yeast' never, and the preference asks for it",
    )


@pytest.mark.parametrize(
    ("n_sentences", "nats", "comes"), [(0, 0.4, 1), (0, 0.6, 0), (1, 1.9, 1), (2, 3.4, 1)]
)
def test_a_word_comes_where_it_is_hardly_less_likely(
    n_sentences: int, nats: float, comes: bool
) -> None:
    steering = Speaker(form_of('with the word "yeast"')).steering
    for text in ("Be kind. " * n_sentences + "Be",):
        steering.accept(0, text)
    row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    word, other = (VOCABULARY.pieces.index(piece) for piece in (b" yeast", b" kind"))
    row[[other, word]] = 0.0, -nats
    steering.combine([row, row.copy()])
    assert steering.likeliest() == (word if comes else other)


def test_few_words_are_no_number_that_an_answer_has_to_keep() -> None:
    speaker = Speaker(form_of("very short"))
    assert speaker.say("Be kind to it. " * 3 + "Walk on and on and on. " * 3).count(".") == 4
    assert speaker.ended
    speaker = Speaker(form_of("very short"))
    assert len(speaker.say("on and " * 12 + "on.", by=9.0).split()) == 25
    assert speaker.steering.warnings == ()


@pytest.mark.parametrize(
    ("said", "nats", "comes"),
    [
        ("Be", 0.4, True),
        ("Be", 0.6, False),
        ("Be kind. Read", 2.9, True),
        ("Be kind. Read", 3.1, False),
        ("Be kind; not bread", 0.1, False),
        ("Be ", 0.1, False),
    ],
)
def test_a_mark_comes_once_in_a_sentence_where_it_is_hardly_less_likely(
    said: str, nats: float, comes: bool
) -> None:
    steering = Speaker(form_of("with a semicolon")).steering
    steering.accept(0, said)
    row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    mark, other = (VOCABULARY.pieces.index(piece) for piece in (b";", b" kind"))
    row[[other, mark]] = 0.0, -nats
    steering.combine([row, row.copy()])
    assert steering.likeliest() == (mark if comes else other)


@pytest.mark.parametrize(
    ("said", "otherwise", "nats", "comes"),
    [
        ("Be kind.", " kind", 2.9, True),
        ("Be kind.", " kind", 3.1, False),
        ("Be kind. Read.", " kind", 5.4, True),
        ("Be kind", " kind", 0.1, False),
        ("- Be kind\n- Read", "\n", 5.4, True),
        ("- Be kind\n- Read", "\n", 5.6, False),
        ("Be kind. \U0001f600", " kind", 0.1, False),
        ("Be kind. \U0001f600 Read. \U0001f600 Walk. \U0001f600 Ask.", " kind", 0.1, False),
    ],
)
def test_an_emoji_stands_behind_a_sentence_where_it_is_hardly_less_likely(
    said: str, otherwise: str, nats: float, comes: bool
) -> None:
    steering = Speaker(form_of("lots of emojis")).steering
    steering.accept(0, said)
    row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    other = VOCABULARY.pieces.index(otherwise.encode())
    row[[other, EMOJIS[0]]] = 0.0, -nats
    steering.combine([row, row.copy()])
    assert steering.likeliest() == (EMOJIS[0] if comes else other)


@pytest.mark.parametrize(
    ("said", "comes"),
    [
        ("Be kind \U0001f600", True),
        ("Be kind \U0001f600\U0001f600", False),
        ("\U0001f600 \U0001f600 ", False),
        ("\U0001f600 \U0001f600 Be", True),
        ("\U0001f600 \U0001f600\u200d", True),
        ("\U0001f600\ufe0f \U0001f600\ufe0f", False),
    ],
)
def test_a_third_emoji_in_a_row_waits_for_a_word(said: str, comes: bool) -> None:
    steering = Speaker(form_of("lots of emojis")).steering
    steering.accept(0, said)
    row = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    other = VOCABULARY.pieces.index(b" kind")
    row[[other, EMOJIS[0]]] = 0.0, 5.0
    steering.combine([row, row.copy()])
    assert steering.likeliest() == (EMOJIS[0] if comes else other)


@pytest.mark.parametrize(
    ("said", "plain_nats", "comes"),
    [
        ("\U0001f600", -4.0, False),  # a word that the plain prompt finds likely
        ("\U0001f600", -6.0, True),  # it says something else there
        ("Be kind \U0001f600", -4.0, True),
        ("\U0001f600\u200d", -4.0, True),
    ],
)
def test_behind_an_emoji_that_an_answer_begins_with_comes_a_word(
    said: str, plain_nats: float, comes: bool
) -> None:
    steering = Speaker(form_of("lots of emojis")).steering
    steering.accept(0, said)
    plain = np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32)
    preferred = plain.copy()
    word = VOCABULARY.pieces.index(b" kind")
    plain[[word, EMOJIS[0]]] = plain_nats, 0.0
    preferred[[word, EMOJIS[0]]] = -12.0, 0.0
    steering.combine([plain, preferred])
    assert steering.likeliest() == (EMOJIS[0] if comes else word)


def test_what_there_is_of_an_answer_counts() -> None:
    speaker = Speaker(form_of('two sentences, beginning with "Be"'), begun="Be kind.")
    assert speaker.say(" Read. Walk.") == " Read."


def test_no_code_stands_in_for_a_sentence_that_is_lacking() -> None:
    for wish in ("in two sentences", "at least 3 words"):
        assert Speaker(form_of(wish)).say("Be kind.```").startswith("Be kind. more")


def test_code_and_reasoning_are_left_alone() -> None:
    speaker = Speaker(form_of("without digits"))
    assert speaker.say("Be `12` 12").startswith("Be `12`  more.")
    speaker = Speaker(form_of("without digits"))
    speaker.steering.in_reasoning = True
    assert speaker.say("Be 12", " more.") == "Be 12"


def test_an_answer_that_is_json_is_left_alone() -> None:
    speaker = Speaker(form_of("without digits"), json_position=JsonPosition())
    assert speaker.say('{"a": 12}') == '{"a": 12}'


def test_where_nothing_ends_an_answer_no_length_does() -> None:
    speaker = Speaker(form_of('one sentence, ending with "over"'), end_tokens=())
    assert speaker.say("Be kind. Read.").startswith("Be kind. Read.")


def test_another_form_is_kept_from_where_it_is_asked_for() -> None:
    speaker = Speaker(form_of("without digits"))
    rows = [np.zeros(VOCABULARY.n_tokens, dtype=np.float32) for _ in range(2)]
    digit = VOCABULARY.pieces.index(b"1")
    for row in rows:
        row[digit] = 9.0
    speaker.steering.combine(rows)
    assert speaker.steering.likeliest() != digit
    speaker.steering.change(PLAN, speaker.steering.amulet, form=Form(), same_rows=True)
    speaker.steering.combine(rows)
    assert speaker.steering.likeliest() == digit
