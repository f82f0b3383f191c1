"""What a judge says of a sweep's answers, and when it isn't asked."""

from __future__ import annotations

from typing import Any

import pytest

from amulet_local.evaluation.adherence.bank import ruled_preference
from amulet_local.evaluation.adherence.known_pairs import known_pairs
from amulet_local.evaluation.following import CheckedAnswer
from amulet_local.evaluation.judges import JudgeOptions, open_judge
from amulet_local.evaluation.recommendation import Preferred, recommend_preferred
from amulet_local.evaluation.sweep import settings_of
from amulet_local.evaluation.tuning_judge import KNOWN_EVERY, preferred
from amulet_local.evaluation.tuning_study import Measurement, SweepPlan
from amulet_local.preferences.preference import resolve
from tests.evaluation.judges.endpoints import Answer, Reply, completion, serving, shown

TEXTS = {"preference prompt": "No.", "scale 1.5": "Tea.", "scale 2": "Tea, please."}


def good(body: dict[str, Any], place: str) -> bool:
    """Whether the answer at a place follows by rule; of other preferences, whether it has tea."""
    text = shown(body, f"answer {place}")
    rule = ruled_preference(shown(body, "preference"))
    return "Tea" in text if rule is None else bool(rule.follows(shown(body, "question"), text))


def knows(body: dict[str, Any]) -> Reply:
    first, second = (good(body, place) for place in "AB")
    return completion("C" if first == second else "A" if first else "B")


def sees_the_first(body: dict[str, Any]) -> Reply:
    return completion("A")


def said_by(answer: Answer) -> tuple[Preferred, int]:
    plan = SweepPlan(
        settings=settings_of("scale", (1.5, 2.0)),
        preferences=resolve("in a friendly tone"),
        questions=("Why?", "How?"),
        max_tokens=8,
    )
    made = Measurement(plan=plan)
    for setting in plan.settings:
        made.made[setting.name] = [
            CheckedAnswer(
                question=question,
                preference="in a friendly tone",
                text=TEXTS.get(setting.name, "Tea tea tea."),
                follows=None,
                is_broken=setting.value is None or (setting.value == 2.0 and question == "How?"),
            )
            for question in plan.questions
        ]
    with serving(answer) as endpoint:
        options = JudgeOptions(base_url=endpoint.base_url, model="m", max_retries=0)
        with open_judge(options) as judge:
            found = preferred(judge, made, lambda text: None)
        return found, len(endpoint.requests)


def test_answers_are_compared_with_the_prompts_and_broken_ones_lose() -> None:
    found, _ = said_by(knows)
    assert found.agreement.value == 1
    shares = {name: item.value for name, item in found.shares.items()}
    assert shares == pytest.approx(
        {"preference prompt": 0.5, "scale 1.5": 1.0, "scale 2": 0.5, "paper, no guards": 0.0}
    )
    chosen = recommend_preferred(found, strengths=["preference prompt", "scale 1.5", "scale 2"])
    assert chosen is not None
    assert (chosen.name, chosen.share, chosen.n_answers) == ("scale 1.5", 1.0, 2)


def test_a_judge_that_sees_only_the_order_is_asked_for_nothing_but_known_pairs() -> None:
    found, n_requests = said_by(sees_the_first)
    assert found.agreement.value == 0.5
    assert not found.shares
    assert n_requests == 2 * len(known_pairs()[::KNOWN_EVERY])
