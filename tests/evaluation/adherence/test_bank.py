"""The bank's rules on answers written by hand, and its halves."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.common.errors import MissingExtraError
from amulet_local.evaluation.adherence import language
from amulet_local.evaluation.adherence.bank import BANK, GROUPS, ruled_preference, split
from amulet_local.preferences.preference import Preference
from tests.evaluation.adherence.examples import CUT, FALSE, QUESTION, TRUE

NAMED = {item.name: item for item in BANK}

IFEVAL = {
    "keywords": {"existence", "frequency", "forbidden_words", "letter_frequency"},
    "language": {"response_language"},
    "length_constraints": {
        "number_sentences",
        "number_paragraphs",
        "number_words",
        "nth_paragraph_first_word",
    },
    "detectable_content": {"number_placeholders", "postscript"},
    "detectable_format": {
        "number_bullet_lists",
        "constrained_response",
        "number_highlighted_sections",
        "multiple_sections",
        "json_format",
        "title",
    },
    "combination": {"two_responses", "repeat_prompt"},
    "startend": {"end_checker", "quotation"},
    "change_case": {"capital_word_frequency", "english_capital", "english_lowercase"},
    "punctuation": {"no_comma"},
}
"""The 25 kinds of arXiv 2311.07911."""


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in TRUE.items() for text in texts]
)
def test_an_answer_that_follows_is_seen_to(name: str, text: str) -> None:
    assert NAMED[name].follows(QUESTION, text) is True


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in FALSE.items() for text in texts]
)
def test_an_answer_that_does_not_follow_is_seen_not_to(name: str, text: str) -> None:
    assert NAMED[name].follows(QUESTION, text) is False


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [(name, text, found) for name, cases in CUT.items() for text, found in cases],
)
def test_what_was_cut_off_is_not_held_against_an_answer(
    name: str, text: str, found: bool | None
) -> None:
    assert NAMED[name].follows(QUESTION, text, cut=True) is found


@pytest.mark.parametrize("name", NAMED)
def test_an_answer_that_follows_is_never_blamed_for_being_cut(name: str) -> None:
    for text in TRUE[name]:
        assert NAMED[name].follows(QUESTION, text, cut=True) is not False


def test_every_preference_has_examples_of_both_kinds() -> None:
    assert set(TRUE) == set(FALSE) == set(NAMED)
    assert all(len(set(texts)) >= 2 for texts in [*TRUE.values(), *FALSE.values()])


def test_the_bank_has_forty_preferences_in_eight_groups_with_two_wordings_each() -> None:
    assert len(BANK) == len(NAMED) >= 40
    assert len(GROUPS) == 8
    sizes = Counter(item.group for item in BANK)
    assert set(sizes) == set(GROUPS)
    assert min(sizes.values()) >= 5
    assert all(2 <= len(set(item.wordings)) <= 3 for item in BANK)
    wordings = [wording.lower() for item in BANK for wording in item.wordings]
    assert len(set(wordings)) == len(wordings)


def test_names_of_ifeval_are_those_that_were_published() -> None:
    for item in BANK:
        if item.ifeval:
            kind, _, name = item.ifeval.partition(":")
            assert name in IFEVAL[kind]


@pytest.mark.parametrize("item", BANK, ids=NAMED)
def test_a_wording_is_found_in_whatever_sentence_a_prompt_makes_of_it(item: object) -> None:
    for wording in item.wordings:  # type: ignore[attr-defined]
        for text in (
            wording,
            f" {wording.upper()} ",
            f"Answer {wording}.",
            Preference(text=wording).instruction,
        ):
            assert ruled_preference(text) is item


def test_what_is_no_wording_is_found_nowhere() -> None:
    for text in ("", "formal", "in", "answer", "in lower case", "not in lower case only"):
        assert ruled_preference(text) is None


def test_halves_are_disjoint_balanced_and_drawn_by_the_seed() -> None:
    for seed in range(20):
        choosing, confirming = split(seed)
        assert sorted([*choosing, *confirming], key=BANK.index) == list(BANK)
        assert abs(len(choosing) - len(confirming)) <= 1
        for group in GROUPS:
            sizes = [sum(item.group == group for item in half) for half in (choosing, confirming)]
            assert abs(sizes[0] - sizes[1]) <= 1
        assert split(seed) == (choosing, confirming)
    assert len({split(seed)[0] for seed in range(20)}) > 15


def test_halves_do_not_depend_on_the_state_of_random() -> None:
    random.seed(1)
    first = split(3)
    random.seed(2)
    assert split(3) == first


@given(text=st.text(max_size=300), cut=st.booleans())
def test_any_text_can_be_checked(text: str, cut: bool) -> None:
    for item in BANK:
        found = item.follows(QUESTION, text, cut=cut)
        assert found in (True, False) or (cut and found is None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "stretch",
    ["- ", "a.b", "**", "`", "| ", "!", "<<", "[", "\n", " ", "a", "😴\u200d", "a. ", "***"],
)
@pytest.mark.lengthy
def test_no_rule_takes_long_for_a_long_answer(stretch: str) -> None:
    for item in BANK:
        item.follows(QUESTION, stretch * 10_000 + "x")


def test_expressions_of_the_question_make_no_persona() -> None:
    pirate = NAMED["pirate"]
    answer = "Arr and matey are words of pirates."
    assert pirate.follows("Why do pirates talk?", answer)
    assert pirate.follows("What do arr and matey mean?", answer) is False


def test_words_that_read_alike_are_in_no_lexicon_twice() -> None:
    from amulet_local.evaluation.adherence import lexicons

    for name, entries in vars(lexicons).items():
        if name.isupper():
            assert len(set(entries)) == len(entries)
            assert all(
                re.fullmatch(r"\S.*\S|\S", entry) and entry == entry.lower() for entry in entries
            )


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    language._identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    try:
        with pytest.raises(MissingExtraError, match=r"py3langid.*amulet-local\[eval\]"):
            NAMED["spanish"].follows(QUESTION, "El cielo es azul.")
        assert NAMED["poem"].follows(QUESTION, TRUE["poem"][0])
    finally:
        language._identifier.cache_clear()


def test_importing_the_bank_imports_neither_model_nor_extra() -> None:
    script = (
        "import sys\n"
        "import amulet_local.evaluation.adherence.bank\n"
        "assert not {'py3langid', 'llama_cpp', 'emoji'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
