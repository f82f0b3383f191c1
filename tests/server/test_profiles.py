"""What a server learns from feedback, of whom, and whose answers follow it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from amulet_local import Engine
from amulet_local.common.errors import ProfileError
from amulet_local.preferences.preference import resolve
from amulet_local.profile import candidates
from amulet_local.profile.contents import Contents
from amulet_local.profile.feedback import Fact, Feedback
from amulet_local.profile.profile import Profile, listed
from amulet_local.server import profiles
from amulet_local.server.limits import Access
from amulet_local.server.profiles import ServedProfiles
from tests.scripted import scripted_engine
from tests.server.conftest import Server, lasting, running

pytestmark = pytest.mark.lengthy

HI = [{"role": "user", "content": "How do I sleep better?"}]
BANK = resolve(["formal", "concise"])
LIKES_FORMAL = Feedback(
    at=2e9, kind="pick", origin="test", differences={BANK[0].text: 0.4, BANK[1].text: 0.0}
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with scripted_engine() as made, lasting(made) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "data"))


@pytest.fixture
def me() -> Profile:
    """A profile that has learned something."""
    made = Profile("me")
    made.create(Contents(bank=BANK, feedback=(LIKES_FORMAL,) * 9))
    return made


def feedback(server: Server, key: str = "", **body: Any) -> httpx.Response:
    return server.client.post(
        "/v1/amulet/feedback",
        json={"messages": HI, **body},
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )


def followed(server: Server, key: str = "", **body: Any) -> list[str]:
    """The preferences that an answer follows."""
    response = server.client.post(
        "/v1/chat/completions",
        json={"messages": HI, "max_tokens": 2, **body},
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )
    assert response.status_code == 200, response.text
    found: list[str] = response.json()["amulet"]["preferences"]
    return found


def test_answers_follow_what_was_learned_where_nothing_else_is_said(
    engine: Engine, me: Profile
) -> None:
    mix = [item.label for item in me.taste().mix]
    assert mix
    with running(engine, profile="me", defaults={"avoid": "verbose"}) as server:
        assert followed(server) == [*mix, "verbose:-1"]
        assert followed(server, preference="creative", avoid=[]) == ["creative"]
        assert followed(server, preference=[], avoid=[]) == []
        assert followed(server, model="smollm2+creative", avoid=[]) == ["creative"]


def test_a_gap_is_filled_by_nothing_that_was_learned(engine: Engine, me: Profile) -> None:
    assert me.taste().mix
    with running(engine, profile="me") as server:
        asked = {"prompt": "def add(a,", "max_tokens": 2}
        for more, is_followed in (({}, True), ({"suffix": "return c"}, False)):
            answer = server.client.post("/v1/completions", json=asked | more).json()
            assert bool(answer["amulet"]["preferences"]) == is_followed


def test_the_strength_that_was_learned_goes_with_it(engine: Engine, me: Profile) -> None:
    stronger = Feedback(
        at=2e9, kind="pick", origin="test", model="scripted.gguf", strengths=(1.6, 1.0)
    )
    me.add(stronger)
    factor = me.taste().factor("scripted.gguf")
    assert factor > 1
    with running(engine, profile="me") as server:

        def scale(**body: Any) -> float:
            return float(server.chat(messages=HI, **body).json()["amulet"]["guidance_scale"])

        assert scale() == pytest.approx(1.5 * factor)
        settings = server.chat(messages=HI).json()["amulet"]["settings"]
        sources = [settings[name]["from"] for name in ("preference", "guidance_scale", "max_gain")]
        assert sources == ["profile", "profile", "preset balanced"]
        assert scale(preset="strong") == 2.0
        assert scale(guidance_scale=3.0) == 3.0


def test_feedback_changes_the_next_answer(engine: Engine, me: Profile) -> None:
    me.replace(Contents(bank=BANK))
    with running(engine, profile="me") as server:
        assert followed(server) == []
        for _ in range(8):
            response = feedback(server, chosen="read a book", rejected="tea and water")
            assert response.status_code == 200, response.text
        said = response.json()
        assert said["profile"] == "me"
        assert said["changed"]
        assert followed(server) == [item.label for item in me.taste().mix] != []
        weights = {item["name"]: item["weight"] for item in said["preference"]}
        assert weights == {item.name: item.weight for item in me.taste().mix}
    (*_, last) = me.contents().feedback
    assert (last.question, last.better, last.origin) == (HI[0]["content"], "read a book", "server")
    ours, other = (
        engine.log_ratios(HI[0]["content"], text, bank=list(BANK))[0].means
        for text in (last.better, last.worse)
    )
    expected = [a - b for a, b in zip(ours, other, strict=True)]
    assert list(last.differences.values()) == pytest.approx(expected, abs=1e-6)


def test_every_kind_of_feedback_is_kept_as_what_it_is(engine: Engine, me: Profile) -> None:
    me.replace(Contents(bank=BANK))
    with running(engine, profile="me") as server:
        for body in (
            {"response": "read", "rating": 1},
            {"response": "read", "rating": -1},
            {"response": "read", "edited": "read more"},
            {"chosen": "read", "rejected": "walk"},
            {
                "like": "tea",
                "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}]}],
            },
        ):
            assert feedback(server, **body).status_code == 200
    contents = me.contents()
    assert [item.kind for item in contents.feedback] == ["good", "bad", "fix", "pick", "like"]
    assert [(item.question, item.text) for item in contents.examples] == [("?", "tea")]


@pytest.mark.parametrize("least", [-math.inf, math.inf])
def test_an_edit_makes_a_candidate_where_the_rows_bear_it_out(
    engine: Engine, me: Profile, monkeypatch: pytest.MonkeyPatch, least: float
) -> None:
    monkeypatch.setattr(candidates, "LEAST_GAIN", least)  # of a model of random weights
    me.replace(Contents(bank=BANK))
    with running(engine, profile="me") as server:
        said = feedback(server, response="read", edited="read more").json()
    *_, last = bank = me.contents().bank
    assert said["guess"] == (last.text if least < 0 else None)
    assert len(bank) == len(BANK) + (least < 0)


def test_an_edit_is_kept_where_nothing_more_is_answered(engine: Engine, me: Profile) -> None:
    me.replace(Contents(bank=BANK))
    with running(engine, profile="me") as server:
        server.service.model.pool.drain()
        response = feedback(server, response="read", edited="read more")
    assert (response.status_code, response.json()["guess"]) == (200, None)
    assert [item.kind for item in me.contents().feedback] == ["fix"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response": "a"},
        {"rating": 1},
        {"response": "a", "rating": 2},
        {"response": "a", "rating": 1, "edited": "b"},
        {"chosen": "a"},
        {"chosen": "", "rejected": "a"},
        {"response": "a", "rating": 1, "user": 7},
        {"response": "a", "rating": 1, "raiting": 1},
        {"response": "a", "rating": 1, "messages": []},
        {"response": "a", "rating": 1, "messages": [{"role": "assistant", "content": "Hi"}]},
        {"response": "a " * 9000, "rating": 1, "messages": HI * 2000},
    ],
)
def test_what_says_nothing_is_refused(engine: Engine, me: Profile, body: dict[str, Any]) -> None:
    with running(engine, profile="me") as server:
        response = feedback(server, **body)
        if "a " * 9000 in body.values():  # the beginning of an answer counts
            assert response.status_code == 200
            return
        assert response.status_code == 400, response.text
    assert len(me.contents().feedback) == 9


def test_a_thumb_as_open_webui_has_it_is_taken(engine: Engine, me: Profile) -> None:
    messages = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "How do I sleep?"},
        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "read a book"},
    }
    body = {
        "type": "rating",
        "data": {"rating": -1, "model_id": "m"},
        "meta": {"message_id": "b"},
        "snapshot": {"chat": {"chat": {"history": {"messages": messages}}}},
    }
    with running(engine, profile="me") as server:
        response = server.client.post("/v1/amulet/feedback", json=body)
        assert response.status_code == 200, response.text
        last = me.contents().feedback[-1]
        assert (last.kind, last.question, last.worse) == ("bad", "How do I sleep?", "read a book")
        unrated = {**body, "data": {"rating": None}}
        assert server.client.post("/v1/amulet/feedback", json=unrated).status_code == 400


def test_a_profile_is_shown_to_whom_it_is_of(engine: Engine, me: Profile) -> None:
    me.add(Fact(at=0.0, origin="t", text="I sleep on a boat."))
    with running(engine, profile="me") as server:
        shown = server.client.get("/v1/amulet/profile").json()
        assert (shown["object"], shown["profile"]) == ("amulet.profile", "me")
        first = shown["weights"][0]
        taste = me.taste()
        assert (first["name"], first["says"]) == ("formal", "likely wanted")
        assert first["mean"] == pytest.approx(taste.weights.mean[0], abs=1e-3)
        middles = [point["mean"] for point in first["history"]]
        assert len(middles) == 9
        assert middles == sorted(middles)
        assert all(point["low"] < point["mean"] < point["high"] for point in first["history"])
        assert [item["text"] for item in shown["facts"]] == ["I sleep on a boat."]
        assert len(shown["feedback"]) == 9
        of_ann = server.client.get("/v1/amulet/profile", params={"user": "ann"}).json()
        assert (of_ann["facts"], of_ann["feedback"]) == ([], [])
        assert listed() == ["me"], "looking makes no profile"
    with running(engine, profile="me", access=Access(api_keys=("one", "two"))) as server:
        assert server.client.get("/v1/amulet/profile").status_code == 401
        asked = server.client.get("/v1/amulet/profile", headers={"Authorization": "Bearer two"})
        assert asked.json()["facts"] == []
    with running(engine) as server:
        assert server.client.get("/v1/amulet/profile").status_code == 501


def test_users_are_told_apart(engine: Engine, me: Profile) -> None:
    with running(engine, profile="me") as server:
        mine = followed(server)
        assert followed(server, user="ann") == []
        assert listed() == ["me"], "asking makes no profile"
        feedback(server, user="ann", like="read")
        feedback(server, user="../../me", like="read")
        names = listed()
        assert names[0] == "me"
        assert names[-1] == "me.user-ann"
        assert len(names) == 3
        assert followed(server) == mine
        assert Profile("me.user-ann").contents().bank == BANK


def test_a_key_reaches_no_other_keys_profile(engine: Engine, me: Profile) -> None:
    with running(engine, profile="me", access=Access(api_keys=("one", "two"))) as server:
        assert feedback(server, like="read").status_code == 401
        for _ in range(6):
            first = feedback(server, "one", like="read a book").json()["profile"]
        second = feedback(server, "two", like="tea").json()["profile"]
        assert len({first, second, "me"}) == 3
        assert followed(server, "one") != followed(server, "two")
        taken = first.removeprefix("me.")
        assert feedback(server, "two", like="x", user=taken).json()["profile"] not in (first, "me")
    with running(engine, profile="me", access=Access(api_keys=("one",))) as server:
        assert feedback(server, "one", like="read").json()["profile"] == "me"


def test_the_number_of_profiles_has_a_limit(
    engine: Engine, me: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MAX_PROFILES", 2)
    with running(engine, profile="me") as server:
        assert feedback(server, user="ann", like="read").status_code == 200
        assert feedback(server, user="ben", like="read").status_code == 400
        assert feedback(server, user="ann", like="read").status_code == 200


def test_without_a_profile_nothing_is_learned_and_nothing_is_another(
    engine: Engine, me: Profile
) -> None:
    me.replace(Contents(bank=BANK))
    given = {"messages": HI, "max_tokens": 8, "temperature": 0, "user": "ann"}
    texts = []
    for name in (None, "me"):
        with running(engine, profile=name) as server:
            texts.append(server.chat(**given).json()["choices"])
            code = feedback(server, response="a", rating=1).status_code
            assert code == (200 if name else 501)
    assert texts[0] == texts[1]


def test_a_server_needs_its_profile_to_be_there(me: Profile) -> None:
    with pytest.raises(ProfileError, match="profile create you"):
        ServedProfiles("you")


def test_what_is_remembered_is_put_in_where_it_matters(engine: Engine, me: Profile) -> None:
    me.replace(Contents(bank=BANK, facts=(Fact(at=0.0, origin="t", text="I sleep on a boat."),)))
    with running(engine, profile="me") as server:
        assert followed(server) == ["memory"]
        other = [{"role": "user", "content": "What is yeast?"}]
        assert followed(server, messages=other) == []
        assert followed(server, messages=[*HI, {"role": "assistant", "content": "?"}, *other]) == []
        assert followed(server, preference="formal") == ["formal"]
