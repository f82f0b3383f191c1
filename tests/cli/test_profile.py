"""`profile`: each command, and how what can't be done is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local.cli.options import AskingOptions, QuestionOptions
from amulet_local.cli.question import Question, read_options, read_settings
from amulet_local.common.errors import ProfileError
from amulet_local.profile.contents import Contents
from amulet_local.profile.feedback import Fact, Feedback
from amulet_local.profile.profile import Profile
from tests.cli.conftest import CallCli
from tests.cli.running import run

pytestmark = pytest.mark.lengthy

COMMANDS = (
    *("list", "create", "show", "history", "export", "edit", "import", "learn"),
    *("remember", "forget", "reset", "delete"),
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "data"))


def done(call: CallCli, *arguments: str | Path) -> str:
    outcome = call("profile", *arguments)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


def pick(better: str, at: float = 1_800_000_000.0, **differences: float) -> Feedback:
    return Feedback(
        at=at,
        kind="pick",
        origin="chat",
        model="m.gguf",
        question="Why?",
        better=better,
        worse="No.",
        differences=differences,
    )


@pytest.fixture
def me(call: CallCli) -> Profile:
    """A profile with 20 picks of what is terse or isn't long-winded, a strength and a fact."""
    done(call, "create", "me", "--preference", "terse", "--preference", "long-winded")
    profile = Profile("me")
    said = []
    for number in range(20):
        differences = {"terse": 0.4, "long-winded": 0.1}
        if number % 2:
            differences = {"terse": 0.1, "long-winded": -0.2}
        said.append(pick(f"Yes {number}.", **differences))
    strength = Feedback(
        at=1_800_000_100.0, kind="pick", origin="chat", model="m.gguf", strengths=(1.6, 1.0)
    )
    fact = Fact(at=1_800_000_200.0, origin="chat", text="The user is a vegetarian.")
    bank = profile.contents().bank
    profile.replace(Contents(bank=bank, feedback=(*said, strength), facts=(fact,)))
    return profile


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(call: CallCli, name: str) -> None:
    assert f"Examples:\n  amulet-local profile {name}" in done(call, name, "--help")


def test_show_says_what_was_learned_from_what_how_sure_and_what_changed(
    call: CallCli, me: Profile
) -> None:
    text = done(call, "show", "me")
    assert "Learned from 20 picks: answers follow terse:0." in text
    assert "  terse        +2." in text
    assert "  wanted\n" in text
    assert "  likely not wanted\n" in text
    assert "Strength with m.gguf: 1." in text
    assert "Estimates, give or take twice their deviation" in text
    assert "21 pieces of feedback, 0 examples, 1 fact" in text
    assert "picked one of two answers. The strength is 1." in text.splitlines()[-1]
    shown = json.loads(done(call, "show", "me", "--json"))
    assert shown["picks"] == 20
    assert shown["weights"]["terse"]["mean"] > 1
    assert shown["weights"]["long-winded"]["mean"] < 0
    assert shown["strengths"]["m.gguf"] > 1


def test_what_was_learned_from_is_counted_by_what_it_is(call: CallCli, me: Profile) -> None:
    one = me.contents().feedback[0]
    kinds = ("pick", "good", "like", "bad", "fix", "pick")
    bank = me.contents().bank
    me.replace(Contents(bank=bank, feedback=tuple(replace(one, kind=kind) for kind in kinds)))
    assert "Learned from 2 picks, 2 thumbs, 1 text, 1 change: " in done(call, "show", "me")


def test_what_the_last_pick_changed_is_said_in_weights_that_answers_follow(
    call: CallCli, me: Profile
) -> None:
    contents = me.contents()
    me.replace(replace(contents, feedback=contents.feedback[:1]))
    mix = me.taste().mix
    last = done(call, "show", "me").splitlines()[-1]
    assert len(mix) == 2
    assert all(f"{item.text} +0.00 -> {item.weight:+.2f}" in last for item in mix)


def test_a_new_profile_says_that_nothing_is_learned(call: CallCli) -> None:
    assert "profile create NAME" in done(call, "list")
    done(call, "create", "me")
    assert done(call, "list") == "me\n"
    assert done(call, "show", "me").startswith("Nothing is learned yet: answers are plain.\n")
    assert done(call, "history", "me") == "Nothing was said yet.\n"
    assert len(json.loads(done(call, "show", "me", "--json"))["weights"]) == 8


def test_what_is_forgotten_is_unlearned(call: CallCli, me: Profile) -> None:
    lines = done(call, "history", "me").splitlines()
    assert [line.split()[0] for line in lines] == [*(f"p{n}" for n in range(1, 22)), "f1"]
    assert done(call, "forget", "me", *(f"p{n}" for n in range(1, 21))) == (
        "20 entries are deleted for good\n"
    )
    assert json.loads(done(call, "show", "me", "--json"))["weights"]["terse"]["mean"] == 0
    assert done(call, "forget", "me", "--text", "VEGETARIAN") == "1 entry is deleted for good\n"
    assert "vegetarian" not in done(call, "export", "me")
    done(call, "reset", "me")
    assert done(call, "history", "me") == "Nothing was said yet.\n"
    done(call, "delete", "me")
    assert "no profile 'me'" in call("profile", "show", "me").error_line
    done(call, "create", "anna")
    assert "did you mean 'anna'?" in call("profile", "show", "ana").error_line
    done(call, "create", "Me")
    if not me.exists:  # on macOS both are one file
        assert "did you mean 'Me'?" in call("profile", "show", "me").error_line


def test_what_is_remembered_is_a_fact(call: CallCli, me: Profile) -> None:
    assert done(call, "remember", "me", "My dog is called Rex.") == "remembered as f2\n"
    assert done(call, "history", "me").count("fact: My dog is called Rex.") == 1
    assert call("profile", "remember", "me", " ").code == 2

    def asked(text: str, **options: Any) -> list[str]:
        found = read_options(QuestionOptions(prompt=text, profile="me", **options))
        return [item.name or item.text for item in found.preferences]

    assert asked("A poem about dogs") == ["terse", "long-winded", "memory"]
    assert asked("What is tea?") == ["terse", "long-winded"]
    assert asked("A poem about dogs", preference=["formal"]) == ["formal"]


def test_an_export_makes_the_same_profile(call: CallCli, me: Profile, tmp_path: Path) -> None:
    file = tmp_path / "me.json"
    file.write_text(done(call, "export", "me"), encoding="utf-8")
    done(call, "import", "you", file)
    assert Profile("you").contents() == me.contents()
    assert "--force replaces it" in call("profile", "import", "you", file).error_line
    me.path.write_bytes(b"damaged" * 1000)
    assert "--force" in call("profile", "show", "me").error_line
    done(call, "import", "me", file, "--force")
    assert Profile("you").contents() == me.contents()
    file.write_bytes(b"\xff")
    assert "UTF-8" in call("profile", "import", "you", file, "--force").error_line


def test_an_editor_changes_it(
    call: CallCli, me: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "edit.py"
    script.write_text(
        "import pathlib, sys\npath = pathlib.Path(sys.argv[-1])\n"
        "text = path.read_text()\npath.write_text(text.replace(*sys.argv[1:3]))\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script} vegetarian vegan")
    assert done(call, "edit", "me") == "me is changed\n"
    assert [item.text for item in me.contents().facts] == ["The user is a vegan."]
    assert done(call, "edit", "me") == "Nothing was changed.\n"
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script} {{ [")
    assert "no JSON" in call("profile", "edit", "me").error_line
    monkeypatch.setenv("VISUAL", f"{sys.executable} -c 1/0")
    assert "nothing is changed" in call("profile", "edit", "me").error_line
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    assert "can't be started" in call("profile", "edit", "me").error_line
    assert [item.text for item in me.contents().facts] == ["The user is a vegan."]


def test_what_cant_be_done_is_one_line(call: CallCli, me: Profile) -> None:
    for arguments, said in (
        (("create", "me"), "already"),
        (("create", "a/b"), "can't be called"),
        (("create", "you", "--preference", "formal:2"), "leave it out"),
        (("create", "you", "--preference", "formal", "--preference", "formal"), "twice"),
        (("show", "you"), "amulet-local profile create you"),
        (("forget", "me", "p77"), "no p77"),
        (("forget", "me", "77"), "lists them"),
        (("import", "you", "/no/such/file"), "can't be read"),
    ):
        assert said in call("profile", *arguments).error_line
    assert call("profile", "forget", "me").code == 2
    assert not Profile("you").exists


def test_answers_follow_a_profile_unless_something_else_is_asked_for(
    call: CallCli, me: Profile, tiny_gguf: Callable[..., Path]
) -> None:
    model = tiny_gguf("m.gguf")
    taste = me.taste()
    assert taste.factor("m.gguf") > 1

    def asked(**options: Any) -> Question:
        return read_settings(AskingOptions(model=str(model), **options))

    learned = asked(profile="me")
    assert learned.preferences == taste.mix
    assert learned.amulet is not None
    assert learned.amulet.guidance_scale == pytest.approx(1.5 * taste.factor("m.gguf"))
    assert learned.strength_from == "profile me"
    for name, value in (("preference", ["formal"]), ("avoid", ["formal"])):
        assert asked(profile="me", **{name: value}) == asked(**{name: value})
    for options in ({"preset": "strong"}, {"strength": {"guidance_scale": 3.0}}):
        other = asked(profile="me", **options)
        assert other.preferences == taste.mix
        assert other.amulet == asked(**options).amulet
        assert other.strength_from == asked(**options).strength_from
    done(call, "create", "new")
    assert asked(profile="new") == asked()
    with pytest.raises(ProfileError, match="profile create you"):
        asked(profile="you")


@pytest.mark.usefixtures("tiny_by_default")
def test_a_chat_without_a_terminal_learns(call: CallCli) -> None:
    done(call, "create", "me")
    said = b"Why?\n/good\n/better\n/better 1\n"
    outcome = run("chat", "--profile", "me", "-n", "4", "-c", "256", stdin=said)
    assert outcome.code == 3, outcome  # answers that were cut
    assert [item.kind for item in Profile("me").contents().feedback] == ["good", "pick"]
    outcome = run("chat", "-n", "4", "-c", "256", stdin=b"Why?\n/good\n")
    assert outcome.code == 1
    assert "--profile NAME" in outcome.err


@pytest.mark.usefixtures("tiny_by_default")
def test_texts_are_learned_from(call: CallCli, tmp_path: Path) -> None:
    done(call, "create", "me", "--preference", "formal")
    file = tmp_path / "liked.jsonl"
    file.write_text(
        '{"question": "Why?", "answer": "Because."}\n'
        '{"messages": [{"role": "user", "content": "How?"}], "token_ids": [500, 501], '
        '"liked": false}\n'
    )
    outcome = run("profile", "learn", "me", file, "-c", "256")
    assert (outcome.code, outcome.out.startswith("2 texts are learned from")) == (0, True), outcome
    first, second = Profile("me").contents().feedback
    assert (first.kind, first.question, first.better) == ("good", "Why?", "Because.")
    assert (second.kind, second.question, second.better) == ("bad", "How?", "")
    assert second.worse
    assert first.differences.keys() == second.differences.keys() != set()
