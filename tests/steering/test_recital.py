"""What the echo guard takes for a recital, and that no answer gets around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local import AmuletParams, Engine
from amulet_local.llama.word_starts import WordStarts
from amulet_local.optimizer.realigner import Realigner
from amulet_local.optimizer.row_pair import RowPair
from amulet_local.preferences.wording import FACTS_FRAME, as_instruction
from amulet_local.steering.guards.base import Surroundings
from amulet_local.steering.guards.echo import OPENS_ANYHOW_NATS, EchoGuard
from amulet_local.steering.recital import OPENING_WORDS, REFUSED_AFTER, Recital
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from amulet_local.steering.step import Step
from amulet_local.steering.text_so_far import TextSoFar
from amulet_local.text.words import GrowingWords, words_of

QUESTION = "How can I learn to cook?"
LATER = "one two three four five six seven eight nine ten and so on and on it goes "


def after(text: str) -> GrowingWords:
    words = GrowingWords()
    words.push(text)
    return words


def refused(preference: str, answer: str, question: str = QUESTION) -> set[str]:
    """Words that are refused after an answer's beginning, if the preference makes them likelier."""
    recital = Recital([as_instruction(preference)], question)
    return recital.refused(after(answer)) | recital.openers(after(answer))


# --- the words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preference", "answer", "word"),
    [
        ("like a sarcastic uncle", "", "like"),
        ("like a sarcastic uncle", "Sure! ", "like"),
        ("as a bulleted list", "Here is your answer ", "as"),
        ("in German", "Sure, here's an answer ", "in"),
        ("for a five-year-old", "Let me explain it ", "for"),
        ("for a five-year-old", "Cooking is fun for a ", "five"),
        ("auf Deutsch, kurz und herzlich", "Klar, ", "auf"),
        ("be a „grumpy old sailor“", "", "grumpy"),
        ("be a 'grumpy old sailor'", "Well, ", "grumpy"),
        ("for a ten-year-old, with a funny joke", "Okay, ", "with"),
        ("with an example", "Learn with an ", "example"),
        ("like a sarcastic uncle", "Speaking as a ", "sarcastic"),
        ("日本語で、やさしく説明して", "", "日本語で"),
        ("日本語で、やさしく説明して", "はい。", "やさしく説明して"),
        ("用中文简短回答", "", "用中文简短回答"),
    ],
)
def test_the_opening_neither_recites_nor_announces(preference: str, answer: str, word: str) -> None:
    assert word in refused(preference, answer)


@pytest.mark.parametrize(
    ("preference", "answer"),
    [
        ("like a sarcastic uncle", "Cooking is "),
        ("in Spanish, as a list", "Ingredients: make a "),
        ("in the style of a pirate", "You learn this in "),
        ("in Spanish", LATER + "the word is "),
        ("as a bulleted list", LATER + "and make a "),
        ("use simple words", ""),
        ("a haiku", "A "),
        ("step by step", "You do it step by "),
        ("you are HAL 9000", "HAL "),
        ("vegetarian, under 20 minutes", "For a vegetarian meal under 20 "),
    ],
)
def test_words_of_an_ordinary_sentence_stay_possible(preference: str, answer: str) -> None:
    assert not refused(preference, answer) & set(words_of(preference))


def test_after_three_words_the_next_is_refused_and_after_two_it_gains_nothing() -> None:
    recital = Recital([as_instruction("like a very old and tired sailor")], QUESTION)
    for said, held, denied in (
        ("like", set(), set()),
        ("like a", {"very"}, set()),
        ("like a very", {"old"}, {"old"}),
        ("LIKE, A.\nVery  old", {"and"}, {"and"}),
    ):
        assert recital.held(after(LATER + said)) == held
        assert recital.refused(after(LATER + said)) == denied


def test_what_is_put_before_a_quality_opens_no_answer() -> None:
    assert refused("all lowercase", "make the ") == {"answer"}
    assert refused("all lowercase", LATER + "make the ") == set()
    assert refused("in lower case", "make the ") == set()


def test_the_last_word_of_a_short_preference_is_refused() -> None:
    assert refused("in rhymed German", LATER + "in rhymed") == {"german"}
    assert refused("as a list", LATER + "as a") == {"list"}
    assert refused("funny", LATER + "be") == set()


@pytest.mark.parametrize(
    ("preference", "answer", "word"),
    [
        ("in Spanish", "In ", "spanish"),
        ("in Spanish", "Sure. In ", "spanish"),
        ("like a pirate", "Like a ", "pirate"),
    ],
)
def test_a_phrase_that_opens_is_refused_at_its_second_word(
    preference: str, answer: str, word: str
) -> None:
    assert word in refused(preference, answer)


@pytest.mark.parametrize("answer", ["The word in ", "It is called paella in ", LATER + "in "])
def test_the_second_word_may_follow_where_nothing_opens(answer: str) -> None:
    assert "spanish" not in refused("in Spanish", answer)


@pytest.mark.parametrize("said", ["Bien sûr, je peux expliquer cela en ", LATER + "en "])
def test_of_two_words_the_last_may_be_said(said: str) -> None:
    assert refused("en français", said) == set()


def test_a_compound_is_decided_on_at_its_first_part() -> None:
    assert refused("for a ten-year-old", LATER + "for a ") == {"ten"}
    assert refused("for a ten-year-old", LATER + "for a ten-") == set()
    assert refused("for a ten-year-old with wit", LATER + "for a Ten Year old ") == {"with"}


def test_what_the_question_says_is_no_recital() -> None:
    question = "How do I say thanks in Spanish?"
    assert refused("in Spanish", LATER + "in", question) == set()


@pytest.mark.parametrize(
    ("preference", "answer", "word"),
    [
        ("sprich wie ein mürrischer alter Seemann", "wie ein ", "mürrischer"),
        ("habla como un viejo marinero gruñón", "como un ", "viejo"),
        ("parle comme un vieux marin fatigué", "comme un ", "vieux"),
    ],
)
def test_after_an_article_of_another_language_two_words_are_enough(
    preference: str, answer: str, word: str
) -> None:
    assert refused(preference, LATER + answer) == {word}


def test_an_article_of_any_language_opens_no_recital() -> None:
    assert refused("un poema divertido", "") == set()
    assert refused("poema divertido", "") == {"poema"}


def test_an_article_that_opens_is_followed_by_no_word_of_the_wish() -> None:
    assert "nederlands" in refused("in het Nederlands, vriendelijk", "Het ")
    assert "nederlands" not in refused("in het Nederlands, vriendelijk", LATER + "het ")


def test_what_an_answer_is_like_may_be_said_with_another_word_than_the_wishs() -> None:
    """It isn't handed out."""
    wish = "wie ein mürrischer alter Seemann"
    assert refused(wish, "Als ein mürrischer alter ") == set()
    assert "seemann" in refused(wish, "Oh, ein mürrischer alter ")
    assert "seemann" in refused(wish, "Wie ein mürrischer alter ")


def test_a_script_without_spaces_opens_with_no_likeness() -> None:
    assert {"像", "就像"} <= refused("像一个老船长一样", "")
    assert "像" not in refused("like an old captain", "")


def test_what_is_quoted_may_be_said() -> None:
    preference = 'like a tale that begins with "once upon a time there was"'
    assert refused(preference, LATER + "once upon a") == set()
    assert refused(preference, LATER + "a tale that") == {"begins"}


def test_a_wish_that_is_itself_in_quotation_marks_is_not_to_be_said() -> None:
    assert refused('"like a pirate" and short', LATER + "like a pirate ") == {"and"}
    assert "like" in refused('"like a pirate" and short', "")


@pytest.mark.parametrize(
    ("preference", "answer", "word"),
    [
        ("be a „grumpy old sailor“", "“Grumpy old ", "sailor"),
        ("like a “bored teenager”", "Like a ", "bored"),
        ("wie ein „mürrischer alter Seemann“", LATER + "wie ein ", "mürrischer"),
        ("sé un «marinero gruñón»", "Un ", "marinero"),
    ],
)
def test_what_an_answer_is_to_be_like_is_refused_in_whatever_marks(
    preference: str, answer: str, word: str
) -> None:
    assert word in refused(preference, answer)


def test_a_single_word_opens_no_answer_and_may_be_said_in_it() -> None:
    assert refused("pirate", "") == {"pirate"}
    assert refused("pirate", "Ahoy! ") == {"pirate"}
    assert refused("pirate", "The ") == set()
    assert refused("pirate", LATER + "said. ") == set()


def test_what_is_put_before_a_quality_recites_as_well() -> None:
    assert refused("funny", "Sure, I'll make the answer ") == {"funny"}
    assert refused("short and dry", LATER + "make the answer ") == {"short"}
    assert refused("short and dry", LATER + "the answer ") == set()


def test_who_it_is_like_is_not_spoken_to() -> None:
    assert "butler" in refused("like a butler", "")
    assert "pirat" in refused("wie ein Pirat", "")
    assert {"sherlock", "holmes"} <= refused("like Sherlock Holmes", "")
    assert "gollum" in refused("like Gollum", "Oh! ")
    assert refused("like a butler", "Oh, ") == {"like", "butler"}
    assert refused("as if you were tired", "") == {"as"}


def test_what_stands_behind_a_name_is_none_of_it() -> None:
    assert "pirate" in refused("like a pirate and with emojis", "")
    assert {"surfer", "dude"} <= refused("like a surfer dude in at most three sentences", "")


def test_what_any_subject_has_is_no_recital() -> None:
    assert refused("the pros and cons", LATER + "the pros and ") == set()
    assert refused("with pros and cons, for a child", "The pros and ") == set()
    assert refused("the sun and moon", LATER + "the sun and ") == {"moon"}


def test_whose_style_it_is_opens_no_answer() -> None:
    assert refused("valley girl", "In the ") == {"style"}
    assert refused("valley girl", LATER + "in the style of ") == {"valley"}
    assert refused("valley girl", LATER + "in the ") == set()
    assert Recital(["in the style of an old sailor"], "").openers(after("")) == {"old", "sailor"}


def test_what_is_told_is_said_where_it_helps_and_not_at_length() -> None:
    fact = "My company is called Blue Kite and sells kites."
    told = Recital([f"{FACTS_FRAME} {fact}"], QUESTION)
    for begun in ("", "My company ", "Blue ", "My company is called Blue "):
        assert not told.refused(after(begun)) | told.held(after(begun)) | told.openers(after(begun))
    assert told.refused(after("My company is called Blue Kite ")) == {"and"}
    assert "kite" in refused("a Blue Kite company", "A Blue ")


def test_equal_prompts_hold_nothing_back() -> None:
    assert Recital([""], QUESTION).refused(after("")) == set()


# --- the tokens ---------------------------------------------------------------------------------

TEXTS = (
    "like a sarcastic uncle",
    "for a ten-year-old, with a funny joke",
    "as a bulleted list",
    "auf Deutsch, kurz und herzlich",
    "über Äpfel, mit Gefühl und Ärger",
    "in rhymed German",
)
FILLERS = (" well", " so", " then", " soup", ".", ",", "\n", " salt")


class Spelled:
    """A vocabulary with every beginning and end of the preferences' words, in three cases."""

    def __init__(self) -> None:
        words = {word for text in TEXTS for word in words_of(text)}
        parts = {part for w in words for i in range(1, len(w) + 1) for part in (w[:i], w[i:])}
        forms = {f(part) for part in parts if part for f in (str.lower, str.upper, str.capitalize)}
        texts = sorted({mark + form for form in forms for mark in ("", " ", "-")} | {*FILLERS})
        self.pieces = [bytes((i,)) for i in range(256)] + [text.encode() for text in texts]
        self.n_tokens = len(self.pieces)
        self.texts = [piece.decode("utf-8", "ignore") for piece in self.pieces]
        self.is_filler = np.array([text in FILLERS for text in self.texts])
        self.word_starts = WordStarts(self.pieces)

    def piece(self, token: int) -> bytes:
        return self.pieces[token]


@cache
def spelled() -> Spelled:
    return Spelled()


def ids(text: str) -> list[int]:
    return list(text.encode())


def step(plain: np.ndarray, preference: np.ndarray) -> Step:
    realigner = Realigner(len(plain))
    return Step(realigner, RowPair(realigner, plain, preference), 1.5, 0.0, True)


def is_refused(guard: EchoGuard, token: int, n_tokens: int, *, gain: float = 20.0) -> bool:
    """Whether a token is refused where the preference makes it likelier by so many nats."""
    plain, preference = np.zeros((2, n_tokens), dtype=np.float32)
    preference[token] = gain
    return token in guard.refused(step(plain, preference))


def refused_pieces(guard: EchoGuard, pieces: Sequence[bytes]) -> set[str]:
    """The tokens that are refused, each where it is the one that the preference makes likelier."""
    return {
        piece.decode("utf-8", "ignore")
        for token, piece in enumerate(pieces)
        if is_refused(guard, token, len(pieces))
    }


def guided(preference: str) -> Steering:
    vocabulary = spelled()
    asked = f"{QUESTION}\nAnswer"
    prompts = [ids(f"{asked} the question."), ids(f"{QUESTION}\n{as_instruction(preference)}")]
    return Steering(
        RowPlan(has_plain=True, weights=(1.0,)),
        AmuletParams(guidance_scale=1.5, echo_guard=True),
        Realigner(vocabulary.n_tokens),
        prompts=prompts,
        vocabulary=vocabulary,  # type: ignore[arg-type]
    )


class Reciter:
    """Rows that recite a text: spelled as it is, or else in any other way, or else they ramble."""

    def __init__(self, text: str, seed: int) -> None:
        self.words = text.replace("-", " ").replace(",", "").split()
        self.rng = np.random.default_rng(seed)
        self.said = b""
        self.next = 0

    def row(self) -> np.ndarray:
        row = self.rng.normal(size=spelled().n_tokens).astype(np.float32)
        row[~spelled().is_filler] -= 9
        rest, begun = self.words[self.next], self.begun
        rest = rest[len(begun) :]
        starts_bare = not self.ends_in_word or begun
        for token, text in enumerate(spelled().texts):
            bare = text if begun else text.lstrip(" -")
            if not bare or (bare == text and not starts_bare):
                continue
            if rest.lower().startswith(bare.lower()):
                row[token] += 40 if rest == bare else 20
        return row

    @property
    def ends_in_word(self) -> bool:
        return self.said.decode("utf-8", "ignore")[-1:].isalnum()

    @property
    def begun(self) -> str:
        last = words_of(self.said.decode("utf-8", "ignore"))[-1:]
        goal = self.words[self.next]
        is_begun = self.ends_in_word and bool(last) and len(last[0]) < len(goal)
        return last[0] if is_begun and goal.lower().startswith(last[0]) else ""

    def push(self, piece: bytes) -> None:
        self.said += piece
        last = words_of(self.said.decode("utf-8", "ignore"))[-1:]
        if last == [self.words[self.next].lower()] and self.ends_in_word:
            self.next = (self.next + 1) % len(self.words)
        elif not self.begun and self.rng.random() < 0.3:
            self.next = int(self.rng.integers(len(self.words)))


def runs(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@pytest.mark.lengthy
@settings(max_examples=40)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32 - 1))
def test_no_answer_recites_however_it_is_spelled(preference: str, seed: int) -> None:
    steering, rows = guided(preference), Reciter(preference, seed)
    for _ in range(40):
        row = rows.row()
        steering.combine([np.zeros_like(row), row])
        token = steering.likeliest()
        piece = spelled().pieces[token]
        rows.push(piece)
        steering.accept(token, "")
    answer = rows.said.decode("utf-8", "replace")
    body = preference.replace(",", "").split()
    whole = [word for unit in body for word in words_of(unit)]
    n = len(words_of(" ".join(body[: REFUSED_AFTER + 1])))
    assert not runs(words_of(answer), n) & runs(whole, n), answer
    normal = {word.lower(): word for word in rows.words}
    for word in answer.replace("-", " ").replace(".", " ").replace(",", " ").split()[:-1]:
        spelled_as = normal.get(word.lower(), word)
        assert word in (spelled_as, spelled_as.capitalize()), answer


def test_every_spelling_of_a_refused_word_is_refused_and_none_within_a_word() -> None:
    vocabulary, text = spelled(), TextSoFar()
    amulet = AmuletParams(guidance_scale=1.5, echo_guard=True)
    prompts = [ids("Answer the question."), ids("Answer like a sarcastic uncle.")]
    around = Surroundings(amulet=amulet, text=text, prompts=prompts, vocabulary=vocabulary)  # type: ignore[arg-type]
    guard = EchoGuard(around)
    for token in ids(LATER + "like a sarcastic"):
        guard.accept(token, None)

    def denied() -> set[str]:
        return refused_pieces(guard, vocabulary.pieces)

    assert {" uncle", " Uncle", " UNCLE", "-unc", " U", "-u"} <= denied()
    assert {"uncle", "UNCLE", "Unc", "U"} <= denied()  # "sarcasticUncle"
    assert not {"u", " ", " s", " well"} & denied()
    assert "unc" in denied()  # "sarcasticunc"
    guard.accept(ids(" ")[0], None)
    assert {" uncle", "UNCLE", "Uncle", "unc", "u", "U"} <= denied()
    guard.accept(ids("a")[0], None)
    assert denied() == set()


def guarded(instruction: str, said: str, pieces: Sequence[str]) -> set[str]:
    """What the guard refuses after an answer's beginning, of a vocabulary of these."""
    vocabulary = Spelled()
    vocabulary.pieces += [piece.encode() for piece in pieces]
    vocabulary.word_starts = WordStarts(vocabulary.pieces)
    guard = EchoGuard(
        Surroundings(
            amulet=AmuletParams(guidance_scale=1.5, echo_guard=True),
            text=TextSoFar(),
            prompts=[ids("Answer the question."), ids(instruction)],
            vocabulary=vocabulary,  # type: ignore[arg-type]
        )
    )
    for token in ids(said):
        guard.accept(token, None)
    return refused_pieces(guard, vocabulary.pieces)


def test_a_word_of_the_same_root_does_not_take_the_refused_ones_place() -> None:
    others = (" patience", " Patient", " patio", " path", " friendly")
    denied = guarded("Answer like a patient teacher.", "Let me explain it like a", others)
    assert {" patience", " Patient"} <= denied
    assert not {" path", " friendly"} & denied
    assert " without" not in guarded("Answer with wit.", "Sure, ", (" without", " with"))


def test_what_would_recite_is_followed_by_what_both_prompts_would_say() -> None:
    """Not by another spelling of it, which the preference prompt finds likely and the plain one
    never would."""
    vocabulary = spelled()
    names = ("german", " soup", " well", " salt")
    recital, spelling, common, plain_only = (vocabulary.pieces.index(n.encode()) for n in names)
    plain, preference = np.zeros((2, vocabulary.n_tokens), dtype=np.float32)
    plain[[plain_only, common, spelling]] = 12.0, 11.0, -9.0
    preference[[spelling, common, plain_only]] = 13.0, 10.0, -9.0
    chosen = {}
    for wish in (0.0, 16.0):
        preference[recital] = wish
        steering = guided("in rhymed German")
        for token in ids(LATER + "in rhymed "):
            steering.accept(token, chr(token))
        steering.combine([plain, preference])
        chosen[wish] = steering.likeliest()
    assert chosen == {0.0: spelling, 16.0: common}


def test_an_answer_in_a_script_without_spaces_does_not_open_with_its_instruction() -> None:
    denied = guarded("Answer 日本語で、やさしく説明して.", "", ("日", "日本", "やさ", "料理"))
    assert {"日", "日本", "やさ"} <= denied
    assert "料理" not in denied


def guard_against(instruction: str, vocabulary: Spelled) -> EchoGuard:
    return EchoGuard(
        Surroundings(
            amulet=AmuletParams(guidance_scale=1.5, echo_guard=True),
            text=TextSoFar(),
            prompts=[ids("Answer the question."), ids(instruction)],
            vocabulary=vocabulary,  # type: ignore[arg-type]
        )
    )


@pytest.mark.parametrize("case", [str.lower, str.capitalize])
def test_what_opens_the_plain_answer_is_no_recital(case: Callable[[str], str]) -> None:
    """ "In" begins "In German", and "Inflation" as well; the preference may change its case."""
    vocabulary = Spelled()
    guard = guard_against("Answer in German.", vocabulary)
    token, usual = (vocabulary.pieces.index(text.encode()) for text in (case("in"), "In"))
    plain, preference = np.zeros((2, vocabulary.n_tokens), dtype=np.float32)
    preference[token] = 12.0
    assert token in guard.refused(step(plain, preference))
    plain[usual] = 12.0 - 0.9 * OPENS_ANYHOW_NATS
    assert token not in guard.refused(step(plain, preference))


def test_a_letter_may_open_an_answer_whatever_word_it_begins() -> None:
    vocabulary = spelled()
    guard = guard_against("Answer as a bulleted list.", vocabulary)
    denied = refused_pieces(guard, vocabulary.pieces)
    assert {"as", "As", " AS"} <= denied
    assert not {"a", "A", " A"} & denied


def test_a_letter_that_is_no_word_begins_no_refused_one() -> None:
    denied = guarded("Make the answer pirate.", "", ("P", " pi", "S", "pies"))
    assert {"P", " pi"} <= denied
    assert not {"S", "pies"} & denied


@pytest.mark.parametrize("placement", ["system", "user", "contrast"])
def test_real_prompts_recite_their_own_instruction(tiny_engine: Engine, placement: str) -> None:
    vocabulary = tiny_engine.model.vocabulary
    instruction = as_instruction("in the cheerful style of an old sailor who loves rhymes")
    plain = "Answer the question." if placement == "contrast" else ""
    where = "user" if placement == "contrast" else placement
    prompts, *_ = tiny_engine._prompter.prompts(
        "How do I sleep?", [plain, instruction], system=None, placement=where
    )
    amulet = AmuletParams(guidance_scale=1.5, echo_guard=True)
    guard = EchoGuard(
        Surroundings(amulet=amulet, text=TextSoFar(), prompts=prompts, vocabulary=vocabulary)
    )

    def one(text: str) -> int:
        (token,) = vocabulary.tokenize(text, add_special=False, parse_special=False)
        return token

    n_tokens = vocabulary.n_tokens
    assert is_refused(guard, one("In"), n_tokens)
    for token in vocabulary.tokenize(
        LATER + "in the cheerful", add_special=False, parse_special=False
    ):
        guard.accept(token, None)
    assert is_refused(guard, one(" style"), n_tokens)
    assert not is_refused(guard, one(" way"), n_tokens)
    assert len(words_of(LATER)) > OPENING_WORDS
