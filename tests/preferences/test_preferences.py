"""From what a caller gives as a preference to the preferences that are meant."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.common.errors import InvalidParameterError, SettingsError, UnknownPreferenceError
from amulet_local.preferences import user_settings
from amulet_local.preferences.preference import (
    BUILT_IN_PREFERENCES,
    MOST_PREFERENCES,
    Preference,
    resolve,
)

REPOSITORY = Path(__file__).parent.parent.parent

SETTINGS = """\
[preferences]
Teacher = "like a patient teacher"
odd = "at the pace of x:0.5"
[mixes]
work = ["formal:0.7", "teacher", "in rhyme:-0.5"]
twice = ["concise:2"]
"""


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file with preferences and mixes."""
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))
    path = user_settings.settings_path()
    path.write_text(SETTINGS)
    return path


def summary(preferences: tuple[Preference, ...]) -> list[tuple[str, float]]:
    return [(item.name or item.text, item.weight) for item in preferences]


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        (None, []),
        ("concise", [("concise", 1)]),
        (" Concise ", [("concise", 1)]),
        ("concise:0.7", [("concise", 0.7)]),
        (["concise:2", "FORMAL:-0.5"], [("concise", 2), ("formal", -0.5)]),
        ("in the style of a pirate", [("in the style of a pirate", 1)]),
        ("in the style of a pirate:0.5", [("in the style of a pirate", 0.5)]),
        ("open at 10:30", [("open at 10:30", 1)]),
        (Preference(text="x y:0.5", weight=0.25), [("x y:0.5", 0.25)]),
        (("concise", Preference(text="concise")), [("concise", 1), ("concise", 1)]),
        ("teacher", [("Teacher", 1)]),
        ("TEACHER:-2", [("Teacher", -2)]),
        ("work", [("formal", 0.7), ("Teacher", 1), ("in rhyme", -0.5)]),
        ("work:-2", [("formal", -1.4), ("Teacher", -2), ("in rhyme", 1)]),
        (
            ["work", "pleasant"],
            [("formal", 0.7), ("Teacher", 1), ("in rhyme", -0.5), ("pleasant", 1)],
        ),
    ],
)
def test_names_texts_and_weights(settings_file: Path, given_: Any, meant: Any) -> None:
    found = resolve(given_)
    assert summary(found) == [(name, pytest.approx(weight)) for name, weight in meant]


def test_texts_of_names_are_taken_as_they_stand(settings_file: Path) -> None:
    (odd,) = resolve("odd")
    assert odd == Preference(text="at the pace of x:0.5", name="odd")
    (teacher,) = resolve("teacher")
    assert teacher.text == "like a patient teacher"
    (concise,) = resolve("concise")
    assert concise.text == BUILT_IN_PREFERENCES["concise"]


@pytest.mark.parametrize(
    ("avoid", "meant"),
    [
        ("sycophantic", [("sycophantic", -1)]),
        ("sycophantic:0.5", [("sycophantic", -0.5)]),
        ("sycophantic:-0.5", [("sycophantic", 0.5)]),
        (["like a robot", "verbose:2"], [("like a robot", -1), ("verbose", -2)]),
        (Preference(text="like a robot", weight=3), [("like a robot", -3)]),
        ("work", [("formal", -0.7), ("Teacher", -1), ("in rhyme", 0.5)]),
    ],
)
def test_what_is_avoided_gets_its_weight_negated(
    settings_file: Path, avoid: Any, meant: list[tuple[str, float]]
) -> None:
    assert summary(resolve(avoid=avoid)) == meant
    assert summary(resolve("pleasant", avoid=avoid)) == [("pleasant", 1), *meant]


@given(st.lists(st.sampled_from(sorted(BUILT_IN_PREFERENCES)), min_size=1, unique=True))
def test_avoiding_is_the_opposite_of_following(names: list[str]) -> None:
    followed, avoided = resolve(names), resolve(avoid=names)
    assert [item.weight for item in avoided] == [-item.weight for item in followed]
    assert [item.instruction for item in avoided] == [item.instruction for item in followed]


@pytest.mark.parametrize(
    ("preference", "avoid", "words"),
    [
        ("", None, "must be a text, and not empty, got ''"),
        ([], None, "empty"),
        (None, [], "empty"),
        (3, None, "preference must be a name"),
        (None, {"concise"}, "avoid must be a name"),
        ([3], None, "got int"),
        ("concise:0", None, "weight 0"),
        (["concise:0", "formal:0.0"], "verbose:0", "weight 0"),
        ("concise", "concise", "cancel"),
        (["concise:0.1", "concise:0.2"], "concise:0.3", "cancel"),
        (["work", "work:-1"], None, "cancel"),
        ("concise:1,5", None, "must be a number"),
        ("concise:2000", None, "from -1000 to 1000"),
        ("twice:600", None, "from -1000 to 1000"),
        ("concise:nan", None, "must be a number"),
        ("http://x", None, "must be a number"),
    ],
)
def test_what_leaves_nothing_to_follow_is_refused(
    settings_file: Path, preference: Any, avoid: Any, words: str
) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        resolve(preference, avoid=avoid)


@pytest.mark.parametrize("argument", ["preference", "avoid"])
def test_of_very_many_preferences_none_is_looked_at(argument: str) -> None:
    """A body of the server's has room for a million; ten thousand took 20 seconds."""
    wanted: list[Any] = ["concise"] * MOST_PREFERENCES
    assert len(resolve(**{argument: wanted})) == MOST_PREFERENCES
    for more in (["formal"], ["formal", {"no": "preference"}]):
        with pytest.raises(InvalidParameterError, match="at most 256"):
            resolve(**{argument: [*wanted, *more]})


@pytest.mark.parametrize("called", ["concise!", "Concise!!", " concise! "])
def test_a_name_that_is_called_out_is_the_name(called: str) -> None:
    assert resolve(called) == resolve("concise")


def test_what_cancels_in_part_is_followed_in_part() -> None:
    assert summary(resolve(["concise", "formal"], avoid="formal"))[0] == ("concise", 1)
    assert resolve("formal:0.001", avoid="concise:0.001")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("concis", "did you mean 'concise'?"),
        ("teachr:0.5", "no preference is called 'teachr'; did you mean 'Teacher'?"),
        ("wrok", "did you mean 'work'?"),
        ("q_1", "known: creative, .*, uplifting, Teacher, odd, work, twice; or describe"),
        ("formall", "did you mean 'formal'\\? As a text it takes a full stop: 'formall.'"),
        ("x" * 100_000, "no preference is called"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(settings_file: Path, name: str, words: str) -> None:
    with pytest.raises(UnknownPreferenceError, match=words) as error:
        resolve(name)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("word", "instruction"),
    [
        ("funny", "Make the answer funny."),
        ("Shakespearean", "Make the answer Shakespearean."),
        ("briefly", "Answer the question briefly."),
        ("easy-going", "Make the answer easy-going."),
        ("rhyme", "Answer the question and rhyme."),
        ("informal", "Make the answer informal."),
        ("normal", "Make the answer normal."),
        ("formel", "Make the answer formel."),
        ("komplex", "Make the answer komplex."),
        ("formall.", "Make the answer formall."),
        ("add", "Answer the question and add."),
    ],
)
def test_a_word_that_names_nothing_is_a_text(
    settings_file: Path, word: str, instruction: str
) -> None:
    (preference,) = resolve(word)
    assert (preference.name, preference.text) == ("", word)
    assert preference.instruction == instruction
    assert summary(resolve(f"{word}:0.5", avoid="sad:2")) == [(word, 0.5), ("sad", -2)]


def test_a_mix_may_have_a_word_that_names_nothing(settings_file: Path) -> None:
    settings_file.write_text("[mixes]\nwork = ['funny:0.5', 'formal']\n")
    assert summary(resolve("work:2")) == [("funny", 1), ("formal", 2)]


def test_a_broken_file_disturbs_only_those_who_need_it(settings_file: Path) -> None:
    settings_file.write_text(SETTINGS + "oops\n")
    assert resolve(["concise", "formal:0.5", "like a pirate"], avoid="verbose")
    for name in ("teacher", "work:0.5", "funny"):
        with pytest.raises(SettingsError, match=r"settings\.toml, line 7: not TOML"):
            resolve(name)


def test_the_file_is_read_when_it_is_needed(settings_file: Path) -> None:
    settings_file.unlink()
    assert resolve("teacher")[0].name == ""
    settings_file.write_text(SETTINGS)
    assert resolve("teacher")[0].name == "Teacher"


def test_labels_say_name_and_weight() -> None:
    labels = [item.label for item in resolve(["concise:2", "in rhyme:-0.5"], avoid="formal")]
    assert labels == ["concise:2", "in rhyme:-0.5", "formal:-1"]
    assert Preference(text="kind").label == "kind"


def test_a_preference_without_its_names_is_answered_with_what_to_write() -> None:
    unnamed: Any = ("like a pirate", 0.5)
    with pytest.raises(TypeError, match=r"by name: Preference\(text='in rhyme', weight=0.5\)"):
        Preference(*unnamed)
    misspelt: Any = {"text": "like a pirate", "wieght": 0.5}
    with pytest.raises(TypeError, match="Preference has no 'wieght'; did you mean 'weight'"):
        Preference(**misspelt)
    with pytest.raises(TypeError, match="no 'zzz'; it has text, weight, name, prompt"):
        Preference(text="a", **dict[str, Any](zzz=1))
    with pytest.raises(InvalidParameterError, match=r"must be a number from .* got '0.5'"):
        Preference(text="a", weight=cast(Any, "0.5"))
    whole = Preference(text="kind", weight=2, name="k", prompt="Be {text}.")
    assert pickle.loads(pickle.dumps(whole)) == copy.deepcopy(whole) == whole
    assert dataclasses.replace(whole, weight=1).weight == 1


def test_resolving_built_in_names_doesnt_load_the_editor() -> None:
    script = (
        "import sys\n"
        "from amulet_local.preferences.preference import resolve\n"
        "resolve(['concise:0.5', 'in rhyme'], avoid='formal')\n"
        "assert 'tomlkit' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True)


@pytest.mark.parametrize("given", [("concise", 0.3), {"concise": 0.3}])
def test_a_weight_in_another_form_is_answered_with_ours(given: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r'\["formal:0.7", "concise:0.3"\]'):
        resolve(given)


@pytest.mark.parametrize(
    "text", ["concise,formal:0.5", "concise, formal:0.5", "Concise + formal:0.5"]
)
def test_names_with_commas_between_them_are_a_mix(text: str) -> None:
    assert resolve(text) == resolve(["concise", "formal:0.5"])


@pytest.mark.parametrize("text", ["concise, blunt", "formal, please", "a, b", "concise,", "C++"])
def test_other_texts_with_commas_stay_texts(text: str) -> None:
    (preference,) = resolve(text)
    assert preference.text == text


def test_a_weight_after_an_equals_sign_is_answered_with_a_colon() -> None:
    with pytest.raises(InvalidParameterError, match=r"colon: formal:0\.5, not 'formal=0\.5'"):
        resolve("formal=0.5")
