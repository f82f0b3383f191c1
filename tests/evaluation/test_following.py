"""Who follows, by a check, and the strength that is chosen by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.evaluation.following import CheckedAnswer, Following, checks_of, following
from amulet_local.evaluation.recommendation import recommend_checked
from amulet_local.preferences.preference import Preference, resolve

DASHES = Preference(text="as a list of things to buy")


def counted(*n_sound: int) -> dict[str, Following]:
    """Settings "1", "2", ... with so many of ten answers that follow."""
    return {
        str(number): Following(n_sound=n, n_unknown=0, n_answers=10)
        for number, n in enumerate(n_sound, 1)
    }


@pytest.mark.parametrize(
    ("n_sound", "name"),
    [((2, 7, 9, 4), "3"), ((2, 9, 9, 9), "2"), ((9, 3, 9), "1"), ((0, 0, 1), "3")],
)
def test_the_smallest_strength_with_the_highest_share_is_chosen(
    n_sound: tuple[int, ...], name: str
) -> None:
    found = counted(*n_sound)
    chosen = recommend_checked(found, strengths=list(found))
    assert chosen is not None
    assert (chosen.name, chosen.n_sound, chosen.n_prompted) == (name, max(n_sound), n_sound[0])


def test_the_papers_strength_is_no_choice() -> None:
    chosen = recommend_checked(counted(2, 5, 9), strengths=["1", "2"])
    assert chosen is not None
    assert chosen.name == "2"


def test_where_no_answer_follows_there_is_nothing_to_choose_by() -> None:
    assert recommend_checked(counted(0, 0), strengths=["1", "2"]) is None


def test_an_answer_counts_that_follows_and_is_not_broken() -> None:
    answers = [
        CheckedAnswer(question="", preference="", text="", follows=follows, is_broken=broken)
        for follows in (True, False, None)
        for broken in (True, False)
    ]
    assert following(answers) == Following(n_sound=1, n_unknown=2, n_answers=6)


def test_a_pattern_checks_the_one_preference() -> None:
    (check,) = checks_of([DASHES], "regex:^- ").values()
    assert check.name == "regex:^- "
    assert check.follows("Why?", "To buy:\n- yeast", cut=True) is True
    assert check.follows("Why?", "Yeast - and flour.", cut=False) is False


def test_a_file_of_python_checks_with_the_question(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def follows(question, answer):\n    return question in answer or None\n")
    (check,) = checks_of([DASHES], f"python:{file}").values()
    assert check.follows("Why?", "Why? Because.", cut=False) is True
    assert check.follows("Why?", "Because.", cut=False) is None


def test_a_preference_of_the_bank_has_its_rule_and_others_have_none() -> None:
    ruled, free = Preference(text="in lower case only"), Preference(text="with the sea in mind")
    (check,) = checks_of([ruled], None).values()
    assert check.follows("Why?", "because it is.", cut=False) is True
    assert check.follows("Why?", "Because it is.", cut=False) is False
    assert checks_of([free], None) == {}
    assert checks_of([ruled, free], None) == {}


def test_one_check_is_for_one_preference() -> None:
    with pytest.raises(InvalidParameterError, match="--check is for one preference"):
        checks_of([*resolve("concise"), DASHES], "regex:x")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("regex:(", InvalidParameterError),
        ("words:3", InvalidParameterError),
        ("python:/no/such/file.py", FileAccessError),
    ],
)
def test_what_is_no_check_is_refused(given: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        checks_of([DASHES], given)
