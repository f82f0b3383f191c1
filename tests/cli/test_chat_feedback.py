"""What a chat's profile learns from /good, /bad, /better, /like and /fix, and what it changes."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest

from amulet_local import Engine, SamplingParams
from amulet_local.cli.chat import converse
from amulet_local.cli.chat.commands import SlashCommands
from amulet_local.cli.chat.feedback import ChatFeedback
from amulet_local.cli.chat.remembering import asked_to_remember
from amulet_local.cli.chat.screen import Screen
from amulet_local.cli.chat.slash import parsed
from amulet_local.cli.chat.talk import Chat
from amulet_local.cli.kept_chats import Keeper, TypedLines
from amulet_local.common.errors import InvalidRequestError
from amulet_local.preferences.preference import resolve
from amulet_local.profile import candidates
from amulet_local.profile.contents import Contents
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.profile import Profile
from amulet_local.profile.taste import DEVIATION
from amulet_local.steering.presets import PRESETS
from tests.scripted import scripted_engine

pytestmark = pytest.mark.lengthy

QUESTION = "How do I sleep better?"
BANK = resolve(["formal", "concise"])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return scripted_engine()


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "data"))
    made = Profile("me")
    made.create(Contents(bank=BANK))
    return made


class Talk:
    """A chat without a terminal."""

    def __init__(self, engine: Engine, profile: str | None, **more: bool) -> None:
        conversation = engine.conversation(sampling=SamplingParams(max_tokens=12))
        self.chat = Chat(
            engine,
            conversation,
            Screen(markdown=False),
            Keeper(enabled=False),
            model="scripted",
        )
        self._commands = SlashCommands(self.chat, ChatFeedback(self.chat, profile, **more))

    def say(self, text: str) -> None:
        said = parsed(text)
        if said is not None:
            self._commands.run(said)
        elif not self.chat.takes(text):
            self.chat.say(text)

    @property
    def mix(self) -> list[str]:
        return [item.label for item in self.chat.conversation.settings.preference]

    @property
    def answer(self) -> str:
        return self.chat.conversation.turns[-1].answer


@pytest.fixture
def talk(engine: Engine, profile: Profile) -> Talk:
    return Talk(engine, "me")


def last(profile: Profile) -> Feedback:
    return profile.contents().feedback[-1]


def test_a_thumb_is_the_answer_against_what_is_expected(
    engine: Engine, talk: Talk, profile: Profile
) -> None:
    talk.say(QUESTION)
    (measured,) = engine.log_ratios(
        QUESTION, talk.chat.conversation.turns[-1].token_ids, bank=BANK, finished=False
    )
    expected = [a - b for a, b in zip(measured.means, measured.expected, strict=True)]
    talk.say("/good")
    said = last(profile)
    assert (said.kind, said.better, said.worse) == ("good", talk.answer, "")
    assert (said.origin, said.model, said.question) == ("chat", "scripted.gguf", QUESTION)
    assert list(said.differences.values()) == pytest.approx(expected, abs=1e-6)
    talk.say("/bad")
    assert list(last(profile).differences.values()) == pytest.approx(
        [-value for value in expected], abs=1e-6
    )


def test_what_is_learned_is_followed_from_the_next_answer_on(
    talk: Talk, profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say(QUESTION)
    assert talk.mix == []
    for _ in range(6):
        talk.say("/like read a book")
    assert talk.mix == [item.label for item in profile.taste().mix] != []
    assert f"From here on: {', '.join(talk.mix)}." in capsys.readouterr().err
    talk.say("And how?")
    assert list(talk.chat.conversation.turns[-1].preferences) == talk.mix
    assert [item.text for item in profile.contents().examples] == ["read a book"] * 6


def test_another_preference_that_is_asked_for_stays(talk: Talk, profile: Profile) -> None:
    talk.say(QUESTION)
    talk.say("/preference in rhyme")
    talk.say("/like read a book")
    assert talk.mix == ["in rhyme"]
    assert len(profile.contents().feedback) == 1


def test_a_pick_of_two_answers(
    engine: Engine, talk: Talk, profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured() -> list[float]:
        turn = talk.chat.conversation.turns[-1]
        ended = turn.finish_reason == "stop"
        (found,) = engine.log_ratios(QUESTION, turn.token_ids, bank=BANK, finished=ended)
        return list(found.means)

    talk.say(QUESTION)
    own, own_means = talk.answer, measured()
    capsys.readouterr()
    talk.say("/better")
    shown = capsys.readouterr()
    assert talk.answer == own, "nothing is picked yet"
    other = shown.out.partition("--- 2 ---\n")[2].strip()
    assert other
    assert other != own.strip()
    assert "/better 1 for the answer before" in shown.err
    talk.say("/better 2")
    said = last(profile)
    assert (said.better.strip(), said.worse) == (other, own)
    assert talk.answer == said.better, "the chat goes on with it"
    expected = [a - b for a, b in zip(measured(), own_means, strict=True)]
    assert list(said.differences.values()) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InvalidRequestError, match="/better shows them"):
        talk.say("/better 1")


def test_the_answer_before_may_be_the_better_one(talk: Talk, profile: Profile) -> None:
    talk.say(QUESTION)
    own = talk.answer
    talk.say("/better")
    talk.say("/better 1")
    assert last(profile).better == own == talk.answer
    assert not last(profile).strengths


def test_two_answers_to_an_earlier_question_arent_picked_from(talk: Talk) -> None:
    talk.say(QUESTION)
    talk.say("/better")
    talk.say("And then?")
    with pytest.raises(InvalidRequestError, match="no two answers"):
        talk.say("/better 2")
    with pytest.raises(InvalidRequestError, match="picks one"):
        talk.say("/better 3")


def known(profile: Profile, *more: Feedback) -> None:
    """The mix is so well known that its strength is what is open: three picks of four agree."""
    picks = [
        Feedback(at=2e9, kind="pick", origin="test", differences={wanted.text: sign * 0.4})
        for sign in (-1, 1, 1, 1) * 40
        for wanted in BANK
    ]
    profile.replace(Contents(bank=BANK, feedback=(*picks, *more)))


def test_a_strength_is_tried_once_the_mix_is_known(engine: Engine, profile: Profile) -> None:
    known(profile)
    talk = Talk(engine, "me")
    talk.say(QUESTION)
    talk.say("/good")  # the mix is followed from here on
    talk.say(QUESTION)
    talk.say("/better")
    talk.say("/better 2")
    said = last(profile)
    assert said.strengths in ((2.0, 1.0), (0.5, 1.0))
    assert not said.differences
    factor = profile.taste().factor("scripted.gguf")
    assert factor != 1
    amulet = talk.chat.conversation.settings.amulet
    assert amulet is not None
    assert amulet.guidance_scale == pytest.approx(1.5 * factor)
    assert amulet.kl_target == pytest.approx(PRESETS["balanced"].amulet.kl_target * factor)
    assert amulet.echo_guard


def test_a_strength_that_is_asked_for_stays(engine: Engine, profile: Profile) -> None:
    strong = Feedback(at=2e9, kind="pick", origin="t", model="scripted.gguf", strengths=(1.6, 1.0))
    known(profile, strong)
    talk = Talk(engine, "me", keeps_strength=True)
    talk.say(QUESTION)
    talk.say("/strength 3")
    talk.say("/good")
    assert talk.chat.conversation.settings.amulet is not None
    assert talk.chat.conversation.settings.amulet.guidance_scale == 3


def test_a_fix_is_a_pair_and_takes_the_answers_place(
    talk: Talk, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.say(QUESTION)
    before = talk.answer
    talk.say("/fix read a book in bed")
    assert (last(profile).kind, last(profile).better) == ("fix", "read a book in bed")
    assert last(profile).worse == before
    script = tmp_path / "edit.py"
    script.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text('walk')\n")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    talk.say("/fix")
    assert talk.answer == "walk"
    assert last(profile).worse == "read a book in bed"
    talk.say("And then?")
    assert talk.chat.conversation.messages[-3]["content"] == "walk"
    monkeypatch.setenv("VISUAL", f"{sys.executable} -c 0")
    talk.say("/fix")
    assert len(profile.contents().feedback) == 2


def test_a_fix_makes_a_candidate_that_only_picks_give_weight(
    talk: Talk,
    profile: Profile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "LEAST_GAIN", -math.inf)  # of a model of random weights
    talk.say(QUESTION)
    talk.say("/fix read a book in bed")
    *_, candidate = bank = profile.contents().bank
    assert bank[:2] == BANK
    assert re.fullmatch(r"[a-z-]+( [a-z-]+){0,7}", candidate.text)
    assert f"a guess from your change: {candidate.text!r}" in capsys.readouterr().err
    taste = profile.taste()
    assert taste.weights.mean[2] == 0
    assert taste.weights.deviations[2] == pytest.approx(DEVIATION)
    assert candidate not in taste.mix
    talk.say("/like read a book")
    assert candidate.text in last(profile).differences
    assert profile.taste().weights.mean[2] != 0
    talk.say("And then?")
    assert talk.chat.conversation.messages[-3]["content"] == "read a book in bed"


def test_a_guess_that_the_models_rows_do_not_bear_out_is_not_kept(
    talk: Talk, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "LEAST_GAIN", math.inf)
    talk.say(QUESTION)
    talk.say("/fix read a book in bed")
    assert last(profile).kind == "fix"
    assert profile.contents().bank == BANK


def test_plain_words_are_remembered_once_the_user_has_said_yes(
    talk: Talk, profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    def facts() -> list[str]:
        return [item.text for item in profile.contents().facts]

    for answer, kept in (("no", []), ("What is yeast?", []), ("Yes", ["I am a vegetarian."])):
        n_turns = len(talk.chat.conversation.turns)
        talk.say("Please remember that I am a vegetarian.")
        said = capsys.readouterr().err
        assert "keep this in the profile me: 'I am a vegetarian.'? yes or no" in said
        assert len(talk.chat.conversation.turns) == n_turns
        assert facts() == []
        talk.say(answer)
        assert facts() == kept
        assert len(talk.chat.conversation.turns) == n_turns + (answer == "What is yeast?")
    talk.say("yes")
    assert talk.chat.conversation.turns[-1].question == "yes", "nothing was asked any more"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("remember that I am vegetarian", "I am vegetarian"),
        ("Remember: my dog is called Rex.\n", "My dog is called Rex."),
        ("Please, remember that it's\nlate", "It's\nlate"),
        ("Remember I'm a vegetarian.", "I'm a vegetarian."),
        ("please remember my name is Ann", "My name is Ann"),
        ("Remember my birthday?", ""),
        ("remember mythology", ""),
        ("Remember the Alamo!", ""),
        ("Remember that film?", ""),
        ("Do you remember that I am vegetarian", ""),
        ("remember thatcher", ""),
        ("remember that", ""),
        ("I remember: nothing", ""),
    ],
)
def test_what_asks_to_be_remembered(text: str, fact: str) -> None:
    assert asked_to_remember(text) == fact


def test_without_a_profile_plain_words_are_a_question(engine: Engine, profile: Profile) -> None:
    talk = Talk(engine, None)
    talk.say("Remember that I am a vegetarian.")
    assert len(talk.chat.conversation.turns) == 1


def test_the_last_answer_can_be_an_example(talk: Talk, profile: Profile) -> None:
    talk.say(QUESTION)
    talk.say("/like")
    (example,) = profile.contents().examples
    assert (example.question, example.text) == (QUESTION, talk.answer)


@pytest.mark.parametrize("command", ["/good", "/bad", "/better", "/like", "/fix", "/better 1"])
def test_what_cant_be_learned_is_said(engine: Engine, profile: Profile, command: str) -> None:
    with pytest.raises(InvalidRequestError, match="--profile NAME"):
        Talk(engine, None).say(command)
    with pytest.raises(InvalidRequestError, match="no answer yet"):
        Talk(engine, "me").say(command)


def test_without_a_profile_answers_are_what_they_were(engine: Engine, profile: Profile) -> None:
    """And with one that knows nothing."""
    answers = []
    for name in (None, "me"):
        talk = Talk(engine, name)
        talk.say(QUESTION)
        answers.append(talk.chat.conversation.turns)
    assert answers[0] == answers[1]


def test_what_is_remembered_is_put_in_where_it_matters_and_nowhere_else(
    engine: Engine, profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    talk, plain = Talk(engine, "me"), Talk(engine, None)
    talk.say("/remember I read in bed at night.")
    assert [item.text for item in profile.contents().facts] == ["I read in bed at night."]
    assert "forget me f1" in capsys.readouterr().err
    for each in (talk, plain):
        each.say("What is yeast?")
    assert talk.chat.conversation.turns == plain.chat.conversation.turns
    talk.say("How do I sleep at night?")
    assert talk.chat.conversation.turns[-1].preferences == ("memory",)
    talk.say("What is yeast?")
    assert talk.chat.conversation.turns[-1].preferences == ()
    talk.say("/preference formal")
    talk.say("How do I sleep at night?")
    assert talk.chat.conversation.turns[-1].preferences == ("formal",)
    with pytest.raises(InvalidRequestError, match="/remember TEXT"):
        talk.say("/remember")


def test_a_preference_that_was_asked_for_at_the_start_stays(
    engine: Engine, profile: Profile
) -> None:
    known(profile)
    talk = Talk(engine, "me", keeps_preference=True)
    talk.say(QUESTION)
    talk.say("/good")
    talk.say("And how?")
    assert talk.mix == []


class Keyboard:
    """What is typed, one after the other; None is Ctrl-C."""

    def __init__(self, *typed: str | None) -> None:
        self._typed = list(typed)

    def ask(self, begun: str = "") -> str:
        if not self._typed:
            raise EOFError
        text = self._typed.pop(0)
        if text is None:
            raise KeyboardInterrupt
        return text


def test_ctrl_c_is_a_no_where_something_is_asked(
    talk: Talk, profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.chat.screen.is_typed = True
    keyboard = Keyboard("Remember that I am a vegetarian.", None, "yes", None, None, "not reached")
    converse(talk.chat, talk._commands, keyboard, TypedLines(enabled=False))
    said = capsys.readouterr().err
    assert said.index("yes or no") < said.index("not kept") < said.index("Ctrl-C again")
    assert profile.contents().facts == ()
    assert [turn.question for turn in talk.chat.conversation.turns] == ["yes"]
