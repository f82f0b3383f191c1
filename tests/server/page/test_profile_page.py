"""The page of a profile, and what the other page says to it, in a real browser on a real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from amulet_local.preferences.preference import resolve
from amulet_local.profile.contents import Contents
from amulet_local.profile.feedback import Example, Fact, Feedback
from amulet_local.profile.profile import Profile
from tests.server.page.browsing import CONTRASTS, PHONE, Visits, answered, ask
from tests.server.page.serving import Served, serving

pytestmark = pytest.mark.lengthy

BANK = resolve(["formal", "concise"])
HOSTILE = "<img src=x onerror='window.taken = 1'>\u202eevil \x1b[31m"
LIKES_FORMAL = Feedback(
    at=1.8e9,
    kind="pick",
    origin="chat",
    question="How do I write to my landlord?",
    better="**Dear** Sir,",
    worse=HOSTILE,
    differences={BANK[0].text: 0.4, BANK[1].text: -0.05},
)


@pytest.fixture
def me(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile with everything in it, in a data folder of its own."""
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "data"))
    made = Profile("me")
    made.create(
        Contents(
            bank=BANK,
            feedback=(LIKES_FORMAL,) * 9,
            facts=(
                Fact(at=1.8e9, origin="chat", text="I am a vegetarian."),
                Fact(at=1.8e9, origin="chat", text="the surprise party"),
            ),
            examples=(Example(at=1.8e9, origin="chat", question="Tea?", text="With pleasure."),),
        )
    )
    made.forget(["f2"])
    return made


@pytest.fixture
def learning(me: Profile, tiny_path: Path) -> Iterator[Served]:
    assert os.environ["AMULET_DATA"]
    with serving(tiny_path, "--profile", "me", "-c", "512", "--schedule", "serial") as served:
        yield served


def test_a_profile_is_shown_with_all_that_it_is_made_of(
    visit: Visits, learning: Served, me: Profile
) -> None:
    for options in ({}, {"color_scheme": "dark"}, PHONE):
        page = visit(f"{learning.url}profile", max_tokens=0, **options)
        page.wait_for_selector("#weights .curve")
        assert page.inner_text("#mix").startswith("Learned from 9 picks: answers follow formal:")
        first = page.locator("#weights li").first
        assert first.locator(".name").inner_text() == "formal"
        mean = me.taste().weights.mean[0]
        assert f"+{mean:.2f} (" in first.locator(".figures").inner_text()
        assert len((first.locator(".mean").get_attribute("points") or "").split()) == 9
        assert page.locator("#facts li").all_inner_texts()[0].endswith("I am a vegetarian.")
        assert page.locator("#facts li").count() == 1
        assert "With pleasure." in page.inner_text("#examples")
        assert page.locator("#feedback li .md-b").first.inner_text() == "Dear"
        assert page.locator("#feedback li").count() == 9
        assert "1 fact" in page.inner_text("#forgotten")
        assert "surprise" not in page.content()
        assert page.evaluate("window.taken") is None
        assert page.evaluate(CONTRASTS)["low"] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_thumbs_a_pick_and_an_edit_reach_the_profile(
    visit: Visits, learning: Served, me: Profile
) -> None:
    page = visit(learning.url, max_tokens=8)
    assert page.get_attribute(".chip", "aria-pressed") == "true"  # what was learned comes first
    ask(page, "Tell me of tea.")
    answered(page)

    def say(panel: str, name: str) -> None:
        page.locator(panel).get_by_role("button", name=name).click()

    def learned(panel: str, n: int) -> Feedback:
        page.wait_for_function(
            "([panel]) => document.querySelector(`${panel} .say .note`).textContent"
            ".match(/From here on: .*formal/) !== null",
            arg=[panel],
        )
        feedback = me.contents().feedback
        assert len(feedback) == n
        return feedback[-1]

    texts = {panel: page.text_content(f"{panel} .text") for panel in ("#realigned", "#plain")}
    say("#realigned", "Good")
    last = learned("#realigned", 10)
    assert (last.kind, last.question) == ("good", "Tell me of tea.")
    assert last.better == texts["#realigned"]
    say("#plain", "Bad")
    assert learned("#plain", 11).worse == texts["#plain"]
    say("#plain", "Edit")
    page.keyboard.press("Escape")
    say("#plain", "Edit")
    page.fill("#plain .edit textarea", f"Tea is **hot**. {HOSTILE}")
    page.locator("#plain .edit").get_by_role("button", name="Save").click()
    page.wait_for_selector("#plain .text .md-b")
    last = learned("#plain", 12)
    assert (last.kind, last.worse) == ("fix", texts["#plain"])
    assert last.better.startswith("Tea is **hot**.")
    assert page.evaluate("window.taken") is None
    assert page.evaluate(CONTRASTS)["low"] == []


def test_of_two_answers_one_is_picked(visit: Visits, learning: Served, me: Profile) -> None:
    page = visit(learning.url, max_tokens=16)
    page.get_by_role("button", name="sycophantic").click()
    page.get_by_role("button", name="strong").click()
    ask(page, "Tell me of tea.")
    answered(page)
    texts = {panel: page.text_content(f"{panel} .text") for panel in ("#realigned", "#plain")}
    assert texts["#realigned"] != texts["#plain"]
    page.locator("#plain").get_by_role("button", name="I prefer this one").click()
    page.wait_for_selector("#plain .say [aria-pressed=true]")
    last = me.contents().feedback[-1]
    assert (last.kind, last.better, last.worse) == ("pick", texts["#plain"], texts["#realigned"])


def test_without_a_profile_nothing_is_offered(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=4)
    ask(page, "Tea?")
    answered(page)
    assert page.locator(".say:visible").count() == 0
    assert not page.is_visible("#profile-link")
    page = visit(f"{served.url}profile", max_tokens=0)
    page.wait_for_selector("#state.bad")
    assert "start the server with --profile NAME" in page.inner_text("#state")
