"""Embeddings and the order of documents, on states that any model has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import openai
import pytest

from amulet_local import errors
from amulet_local.llama.embedder import Embedder, EmbedderSettings
from amulet_local.server.limits import Access, Limits
from amulet_local.server.served_embedder import ServedEmbedder
from tests.llama_server_suite.standins import write_bert
from tests.server.conftest import Server

TEXT = "What is yeast for?"


@pytest.fixture(scope="module")
def embedder(tiny_path: Path) -> Iterator[Embedder]:
    settings = EmbedderSettings(n_ctx=128, n_threads=1, pooled=False, whole=True)
    made = Embedder(tiny_path, settings)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(embedder: Embedder) -> Iterator[Server]:
    yield from _serving(embedder, "mean")


@pytest.fixture(scope="module")
def unpooled(embedder: Embedder) -> Iterator[Server]:
    yield from _serving(embedder, "none")


class _Lasting(ServedEmbedder):
    def close(self) -> None:
        """Leave the model to the fixture."""


def _serving(embedder: Embedder, pooling: str) -> Iterator[Server]:
    server = Server(
        None, Access(), Limits(), load_embedder=lambda: _Lasting(embedder, "small", pooling)
    )
    try:
        assert server.ready.wait(60)
        yield server
    finally:
        server.close()


def told(server: Server, path: str, **body: Any) -> Any:
    response = server.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def vectors(server: Server, value: Any) -> list[list[float]]:
    return [one["embedding"] for one in told(server, "/v1/embeddings", input=value)["data"]]


def test_an_embedding_is_the_mean_of_a_text_s_states_of_length_one(
    server: Server, embedder: Embedder
) -> None:
    ids = embedder.model.vocabulary.tokenize(TEXT, add_special=True, parse_special=False)
    alone = embedder.hidden_states(ids, range(len(ids)))  # token by token
    mean = alone.mean(axis=0)
    body = told(server, "/v1/embeddings", input=TEXT)
    np.testing.assert_allclose(
        body["data"][0]["embedding"], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5
    )
    assert body["usage"] == {"prompt_tokens": len(ids), "total_tokens": len(ids)}


def test_a_text_may_be_given_in_every_form(server: Server, embedder: Embedder) -> None:
    ids = embedder.model.vocabulary.tokenize(TEXT, add_special=True, parse_special=False)
    (plain,) = vectors(server, TEXT)
    parts = {"content": [{"type": "text", "text": "What is "}, {"type": "text", "text": TEXT[8:]}]}
    for form in (ids, {"prompt_string": TEXT}, parts, [TEXT]):
        assert vectors(server, form) == [plain]
    assert vectors(server, [TEXT, ids, {"prompt_string": TEXT}]) == [plain] * 3
    assert len(vectors(server, [12, 34, "text", 56])) == 1
    assert vectors(server, "") == [[0.0] * len(plain)]


@pytest.mark.parametrize(
    "value",
    [
        *([], {}, None, 1, [1.5], [[1, None]], [12, 10**9], {"content": "text"}),
        {"content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        "so " * 200,
    ],
)
def test_what_is_no_text_or_too_long_is_refused(server: Server, value: Any) -> None:
    response = server.client.post("/v1/embeddings", json={"input": value})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["message"]
    assert error["param"] in ("input", None)  # None: what llama.cpp's vocabulary refuses


def test_the_openai_client_gets_the_same_numbers_in_base64(server: Server) -> None:
    """It asks for them so, and takes them apart."""
    client = openai.OpenAI(api_key="none", base_url=f"{server.url}/v1")
    found = client.embeddings.create(model="any", input=[TEXT, "Bread"])
    assert found.model == "any"
    plain = vectors(server, [TEXT, "Bread"])
    np.testing.assert_allclose([one.embedding for one in found.data], plain, rtol=1e-6, atol=1e-8)
    raw = told(server, "/v1/embeddings", input=TEXT, encoding_format="base64")
    decoded = np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_allclose(decoded, plain[0], rtol=1e-6, atol=1e-8)


def test_fewer_dimensions_are_the_first_ones_of_length_one(server: Server) -> None:
    (plain,) = vectors(server, TEXT)
    (short,) = told(server, "/v1/embeddings", input=TEXT, dimensions=8)["data"]
    first = np.array(plain[:8])
    np.testing.assert_allclose(short["embedding"], first / np.linalg.norm(first), rtol=1e-6)
    for wrong in (0, -1, len(plain) + 1, 1.5, "8", True):
        refused = server.client.post("/v1/embeddings", json={"input": TEXT, "dimensions": wrong})
        assert refused.status_code == 400


def test_ollama_s_shapes_have_the_same_numbers(server: Server, embedder: Embedder) -> None:
    [first] = vectors(server, TEXT)
    body = told(server, "/api/embed", model="any", input=[TEXT, "Bread."])
    assert body["embeddings"][0] == first
    assert (
        body["prompt_eval_count"]
        == told(server, "/v1/embeddings", input=[TEXT, "Bread."])["usage"]["prompt_tokens"]
    )
    assert (body["model"], body["total_duration"] > 0) == ("any", True)
    assert "amulet" not in body
    assert told(server, "/api/embed", input=TEXT, dimensions=2)["embeddings"] == [
        one["embedding"] for one in told(server, "/v1/embeddings", input=TEXT, dimensions=2)["data"]
    ]
    assert told(server, "/api/embeddings", prompt=TEXT)["embedding"] == first
    assert told(server, "/api/embeddings", prompt="")["embedding"] == []
    for nothing in ({}, {"input": ""}, {"input": []}):
        assert told(server, "/api/embed", **nothing)["embeddings"] == []
    refused = server.client.post("/api/embed", json={"input": 3.5})
    assert refused.status_code == 400
    assert isinstance(refused.json()["error"], str)


def test_ollama_s_texts_count_as_far_as_they_fit_which_is_said(
    server: Server, embedder: Embedder
) -> None:
    long = "yeast " * 500
    ids = embedder.model.vocabulary.tokenize(long, add_special=True, parse_special=False)
    body = told(server, "/api/embed", input=[long, TEXT])
    mean = embedder.hidden_states(
        [*ids[: embedder.n_ctx - 1], ids[-1]], range(embedder.n_ctx)
    ).mean(axis=0)
    np.testing.assert_allclose(
        body["embeddings"][0], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5
    )
    assert "1 of 2" in body["amulet"]["warnings"][0]
    whole = server.client.post("/api/embed", json={"input": long, "truncate": False})
    assert whole.status_code == 400
    assert str(len(ids)) in whole.json()["error"]


def test_documents_come_back_and_what_isn_t_done_is_named(server: Server) -> None:
    asked = {"query": "tea", "documents": ["bread", "tea"], "max_chunks_per_doc": 3}
    ranked = told(server, "/v1/rerank", **asked, return_documents=True)
    assert sorted(one["document"]["text"] for one in ranked["results"]) == ["bread", "tea"]
    assert "max_chunks_per_doc" in ranked["amulet"]["warnings"][0]
    whole = told(server, "/v1/embeddings", input=TEXT, input_type="query")
    assert "input_type" in whole["amulet"]["warnings"][0]
    assert "amulet" not in told(server, "/v1/embeddings", input=TEXT, user="me")
    (first,) = told(server, "/embeddings", input=TEXT, embd_normalize=1)
    assert "embd_normalize" in first["amulet"]["warnings"][0]


def test_without_pooling_every_token_has_its_states(unpooled: Server, server: Server) -> None:
    (one,) = told(unpooled, "/embeddings", input=TEXT)
    mean = np.mean(one["embedding"], axis=0)
    np.testing.assert_allclose(mean / np.linalg.norm(mean), vectors(server, TEXT)[0], rtol=1e-9)
    assert unpooled.client.post("/v1/embeddings", json={"input": TEXT}).status_code == 400
    assert told(server, "/embedding", content=TEXT) == [
        {"index": 0, "embedding": vectors(server, TEXT)}
    ]


def test_documents_come_in_the_order_of_their_cosines(server: Server) -> None:
    documents = ["The market fell.", TEXT, "What is bread for?"]
    query, *others = (np.array(vector) for vector in vectors(server, [TEXT, *documents]))
    cosines = [float(query @ other) for other in others]
    body = told(server, "/rerank", query=TEXT, documents=documents)
    best = body["results"]
    assert [one["index"] for one in best] == sorted(range(3), key=lambda n: -cosines[n])
    assert (best[0]["index"], best[0]["relevance_score"]) == (1, pytest.approx(1.0))
    assert body["usage"]["prompt_tokens"] > 0
    assert (
        told(server, "/v1/rerank", query=TEXT, documents=documents, top_n=2)["results"] == best[:2]
    )
    listed = told(server, "/rerank", query=TEXT, texts=documents, top_n=1, return_text=True)
    assert listed == [{"index": 1, "score": best[0]["relevance_score"], "text": TEXT}]
    for wrong in ([], None, 1, [1]):
        refused = server.client.post("/rerank", json={"query": TEXT, "documents": wrong})
        assert refused.status_code == 400


def test_a_model_for_ranking_is_asked_for_its_own_score(tmp_path: Path) -> None:
    words = ["what", "is", "yeast", "for", "bread", "markets", "fell", "today"]
    ranking, plain = tmp_path / "ranking.gguf", tmp_path / "plain.gguf"
    write_bert(ranking, words, gguf.PoolingType.RANK)
    write_bert(plain, words, gguf.PoolingType.CLS)  # the same weights, without the head
    settings = EmbedderSettings(n_ctx=64, n_threads=1, pooled=False, whole=True)
    encoder, ranker = Embedder(plain, settings), Embedder(ranking, settings)
    documents = ["bread is for today", "markets fell", "yeast"]
    query = "what is yeast for"
    head = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(ranking).tensors}
    pairs = [encoder.pair(query, document) for document in documents]
    expected = []
    for pair in pairs:
        inner = np.tanh(head["cls.weight"] @ encoder.token_states(pair)[0] + head["cls.bias"])
        expected.append(float((head["cls.output.weight"] @ inner + head["cls.output.bias"])[0]))
    encoder.close()
    assert [ranker.model.vocabulary.spelling(token) for token in pairs[2]] == (
        ["[CLS]", "▁what", "▁is", "▁yeast", "▁for", "[SEP]", "▁yeast"]
        + (["[SEP]"] if pairs[2][-1] == pairs[2][5] else [])
    )
    server = Server(None, Access(), Limits(), load_embedder=lambda: ServedEmbedder(ranker, "r"))
    try:
        assert server.ready.wait(60)
        body = told(server, "/rerank", query=query, documents=documents)
        scores = {one["index"]: one["relevance_score"] for one in body["results"]}
        np.testing.assert_allclose([scores[n] for n in range(3)], expected, rtol=1e-4)
        assert list(scores) == sorted(scores, key=lambda n: -scores[n])
        assert body["usage"]["prompt_tokens"] == sum(map(len, pairs))
        refused = server.client.post("/v1/embeddings", json={"input": query})
        assert refused.status_code == 400
        assert "/rerank" in refused.json()["error"]["message"]
        with pytest.raises(errors.InvalidParameterError, match="ranking"):
            ServedEmbedder(ranker, "r", "mean")
    finally:
        server.close()


def test_a_server_that_embeds_answers_nothing_and_says_so(server: Server) -> None:
    assert server.chat().status_code == 501
    assert server.client.get("/health").json() == {"status": "ok"}
    assert [one["id"] for one in server.client.get("/v1/models").json()["data"]] == ["small"]
    told(server, "/v1/embeddings", input=TEXT)
    lines = server.client.get("/metrics").text.splitlines()
    assert any(
        line.startswith("llamacpp:prompt_tokens_total") and line[-2:] != " 0" for line in lines
    )


def test_how_texts_are_pooled_is_said_by_the_model_or_the_user(embedder: Embedder) -> None:
    with pytest.raises(errors.UnsupportedModelError, match="--pooling"):
        ServedEmbedder(embedder, "small")
    with pytest.raises(errors.InvalidParameterError, match="most"):
        ServedEmbedder(embedder, "small", "most")
    ids = ServedEmbedder(embedder, "small", "last").token_ids(TEXT)
    states = ServedEmbedder(embedder, "small", "none").embed(ids).vector
    for pooling, row in (("last", states[-1]), ("cls", states[0])):
        vector = ServedEmbedder(embedder, "small", pooling).embed(ids).vector
        np.testing.assert_allclose(vector, row / np.linalg.norm(row), rtol=1e-9)
