"""The endpoints of an embedding model: embeddings, and documents in the order of their relevance.

Knows nothing about how texts are embedded.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.embedder import Vector
from amulet_local.server import openapi
from amulet_local.server.access import json_object
from amulet_local.server.client_fields import unread
from amulet_local.server.served_embedder import Embedded, ServedEmbedder
from amulet_local.server.service import Service
from amulet_local.server.wire import with_warnings

MAX_TEXTS = 2048
"""Of a request; OpenAI's limit."""

_OF_EMBEDDINGS = ("input", "content", "encoding_format", "dimensions")
_OF_OLLAMA = ("input", "truncate", "dimensions", "options")
_OF_OLDER = ("prompt", "options")
_OF_RANKING = ("query", "documents", "texts", "top_n", "return_documents", "return_text")


def add_embeddings(app: FastAPI, service: Service) -> None:
    """Add them."""

    def tokens_of(texts: list[Any]) -> list[list[int]]:
        if len(texts) > MAX_TEXTS:
            raise InvalidParameterError(f"input: must not be more than {MAX_TEXTS} texts")
        return [service.embedder.token_ids(text) for text in texts]

    async def embed(ids: list[list[int]]) -> list[Embedded]:
        found = [await asyncio.to_thread(service.embedder.embed, one) for one in ids]
        service.figures.embedded(sum(one.n_tokens for one in found))
        return found

    @app.post("/v1/embeddings", openapi_extra=openapi.EMBEDDINGS, responses=openapi.ERRORS)
    async def embeddings(request: Request) -> Response:
        """Texts as vectors of length 1."""
        body = json_object(await request.body())
        embedder = service.embedder
        _check_has_one_vector(embedder)
        encoding = body.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise InvalidParameterError("encoding_format: must be float or base64")
        n_wanted = _dimensions(body, embedder)
        found = await embed(tokens_of(_texts(body.get("input"))))
        data = [
            {"object": "embedding", "index": number, "embedding": _encoded(vector, encoding)}
            for number, vector in enumerate(one.shortened(n_wanted) for one in found)
        ]
        name, warnings = _name(body, embedder), unread(body, _OF_EMBEDDINGS)
        whole = {"object": "list", "model": name, "data": data, "usage": _usage(found)}
        return JSONResponse(with_warnings(whole, warnings))

    @app.post("/embedding", include_in_schema=False)
    @app.post("/embeddings", include_in_schema=False)
    async def states(request: Request) -> Response:
        """The same in llama-server's shape: a list of rows for each text."""
        body = json_object(await request.body())
        found = await embed(tokens_of(_texts(body.get("input", body.get("content")))))
        rows = [np.atleast_2d(one.vector).tolist() for one in found]
        listed = [{"index": n, "embedding": row} for n, row in enumerate(rows)]
        listed[0] = with_warnings(listed[0], unread(body, ("input", "content")))
        return JSONResponse(listed)

    @app.post("/api/embed", include_in_schema=False)
    async def ollamas(request: Request) -> Response:
        """The same in Ollama's shape: texts that are too long count as far as they fit."""
        begun_ns = time.perf_counter_ns()
        body = json_object(await request.body())
        _check_has_one_vector(service.embedder)
        n_wanted = _dimensions(body, service.embedder)
        given = body.get("input")
        ids = tokens_of([] if given in (None, "", []) else _texts(given))
        warnings = unread(body, _OF_OLLAMA)
        if body.get("truncate") is not False:
            fitting = [service.embedder.fitting(one) for one in ids]
            n_cut = sum(len(one) < len(whole) for one, whole in zip(fitting, ids, strict=True))
            if n_cut:
                warnings.append(f"input: too long, so cut at the end: {n_cut} of {len(ids)}")
            ids = fitting
        found = await embed(ids)
        whole = {
            "model": _name(body, service.embedder),
            "embeddings": [one.shortened(n_wanted).tolist() for one in found],
            "total_duration": time.perf_counter_ns() - begun_ns,
            "load_duration": 0,
            "prompt_eval_count": sum(one.n_tokens for one in found),
        }
        return JSONResponse(with_warnings(whole, warnings))

    @app.post("/api/embeddings", include_in_schema=False)
    async def ollamas_older(request: Request) -> Response:
        """One text in Ollama's older shape."""
        body = json_object(await request.body())
        _check_has_one_vector(service.embedder)
        text = body.get("prompt")
        if not isinstance(text, str):
            raise InvalidParameterError("prompt: must be a text")
        found = await embed([service.embedder.token_ids(text)] if text else [])
        whole = {"embedding": [x for one in found for x in one.vector.tolist()]}
        return JSONResponse(with_warnings(whole, unread(body, _OF_OLDER)))

    async def rerank(request: Request) -> Response:
        """Documents by how well they answer the query."""
        body = json_object(await request.body())
        embedder = service.embedder
        has_texts = "documents" not in body and "texts" in body
        documents = body.get("texts" if has_texts else "documents")
        query = body.get("query")
        if embedder.pooling == "none":
            raise InvalidParameterError("pooling: texts have no one vector to compare")
        if not isinstance(query, str):
            raise InvalidParameterError("query: must be a text")
        if not (isinstance(documents, list) and documents) or not all(
            isinstance(text, str) for text in documents
        ):
            raise InvalidParameterError("documents: must be a list of texts")
        if len(documents) > MAX_TEXTS:
            raise InvalidParameterError(f"documents: must not be more than {MAX_TEXTS} texts")
        scores, n_tokens = await asyncio.to_thread(embedder.relevances, query, documents)
        service.figures.embedded(n_tokens)
        order = sorted(range(len(scores)), key=lambda n: -scores[n])[: _top(body, len(scores))]
        shown = "return_text" if has_texts else "return_documents"
        with_text = body.get(shown) is True
        warnings = unread(body, _OF_RANKING)
        if has_texts:
            scored = [
                {"index": n, "score": scores[n], **({"text": documents[n]} if with_text else {})}
                for n in order
            ]
            return JSONResponse(
                [*(with_warnings(one, warnings) for one in scored[:1]), *scored[1:]]
            )
        results = [
            {
                "index": n,
                "relevance_score": scores[n],
                **({"document": {"text": documents[n]}} if with_text else {}),
            }
            for n in order
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        name = _name(body, embedder)
        whole = {"object": "list", "model": name, "results": results, "usage": usage}
        return JSONResponse(with_warnings(whole, warnings))

    for path in ("/v1/rerank", "/rerank", "/v1/reranking", "/reranking"):
        app.add_api_route(path, rerank, methods=["POST"], include_in_schema=path == "/v1/rerank")


def _check_has_one_vector(embedder: ServedEmbedder) -> None:
    if embedder.pooling == "none":
        raise InvalidParameterError("pooling: a text has no one vector; use /embeddings")


def _texts(value: Any) -> list[Any]:
    """The texts of `input`: one, or a list of them, in which no token id stands by itself."""
    if isinstance(value, list) and not any(type(item) is int for item in value):
        if not value:
            raise InvalidParameterError("input: it is empty")
        return value
    if value is None:
        raise InvalidParameterError("input: there is none")
    return [value]


def _encoded(vector: Vector, encoding: str) -> Any:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()


def _dimensions(body: dict[str, Any], embedder: ServedEmbedder) -> int | None:
    """How many numbers of an embedding are wanted; None is all."""
    wanted = body.get("dimensions")
    if wanted is not None and (type(wanted) is not int or not 1 <= wanted <= embedder.n_embd):
        raise InvalidParameterError(f"dimensions: must be a whole number of 1 to {embedder.n_embd}")
    return wanted


def _top(body: dict[str, Any], n: int) -> int:
    top = body.get("top_n", n)
    if type(top) is not int or top < 0:
        raise InvalidParameterError("top_n: must be a whole number")
    return top


def _name(body: dict[str, Any], embedder: ServedEmbedder) -> str:
    return str(body.get("model") or embedder.name)


def _usage(found: list[Embedded]) -> dict[str, int]:
    n_tokens = sum(one.n_tokens for one in found)
    return {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
