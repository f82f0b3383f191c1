"""The endpoints about places: what is computed there, and what they have in memory.

Knows nothing about how requests are answered, or about how files are written (place_files.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.server import openapi
from amulet_local.server.access import json_object
from amulet_local.server.failures import HttpError
from amulet_local.server.generation_settings import generation_settings
from amulet_local.server.place_files import PlaceFiles
from amulet_local.server.served_model import ServedModel
from amulet_local.server.service import Service
from amulet_local.serving.places import SavedState
from amulet_local.serving.ticket import Ticket


def add_places(app: FastAPI, service: Service) -> None:
    """Add them."""

    @app.get("/slots", responses=openapi.ERRORS)
    async def slots() -> Response:
        """What is being computed, a place each."""
        if not service.shows_places:
            raise _not_supported("the server was started with --no-slots")
        return JSONResponse(_listed(service.model))

    @app.post("/slots/{number}", include_in_schema=False)
    async def act(number: str, request: Request) -> Response:
        """Save what a place has in memory, restore it, or erase it, once the place is free."""
        model, action = service.model, request.query_params.get("action")
        if action not in ("save", "restore", "erase"):
            raise InvalidParameterError("action: must be save, restore or erase")
        place = _place(model, number)
        if action == "erase":
            n_tokens = await asyncio.wrap_future(model.pool.forget(place))
            return JSONResponse({"id_slot": place, "n_erased": n_tokens})
        files = _files(service, model)
        name = json_object(await request.body()).get("filename")
        do = _save if action == "save" else _restore
        try:
            done = await do(model, files, place, name)
        except FileAccessError as error:
            raise HttpError(400, str(error), param="filename") from None
        return JSONResponse({"id_slot": place, "filename": name, **done})


async def _save(model: ServedModel, files: PlaceFiles, place: int, name: object) -> dict[str, Any]:
    started = time.perf_counter()
    rows = await asyncio.wrap_future(model.pool.export(place))
    n_bytes = await asyncio.to_thread(files.write, name, rows)
    return {
        "n_saved": max(len(tokens) for tokens, *_ in rows),
        "n_written": n_bytes,
        "timings": {"save_ms": 1000 * (time.perf_counter() - started)},
        "amulet": {"rows": len(rows)},
    }


async def _restore(
    model: ServedModel, files: PlaceFiles, place: int, name: object
) -> dict[str, Any]:
    started = time.perf_counter()
    rows, n_bytes = await asyncio.to_thread(files.read, name)
    _check(model, rows)
    if not await asyncio.wrap_future(model.pool.restore(place, rows)):
        raise FileAccessError(
            "llama.cpp can't use this file: it is another model's, or was made with other cache "
            "types or another -fa; the place is empty"
        )
    return {
        "n_restored": max(len(tokens) for tokens, *_ in rows),
        "n_read": n_bytes,
        "timings": {"restore_ms": 1000 * (time.perf_counter() - started)},
        "amulet": {"rows": len(rows)},
    }


def _check(model: ServedModel, rows: Sequence[SavedState]) -> None:
    """Refuse what this model can't have written.

    Raises:
        FileAccessError: it is.
    """
    n_tokens = model.vocabulary.n_tokens
    for tokens, *_ in rows:
        if len(tokens) > model.engine.n_ctx:
            raise FileAccessError(
                f"this file has {len(tokens)} tokens and the context holds {model.engine.n_ctx}"
            )
        if any(token >= n_tokens for token in tokens):
            raise FileAccessError("this file is another model's")


def _files(service: Service, model: ServedModel) -> PlaceFiles:
    if service.place_files is None:
        raise _not_supported("places aren't saved here; start the server with --slot-save-path")
    runtime = model.engine.runtime
    if runtime.lora or runtime.control_vectors:
        raise _not_supported(
            "places of a model with adapters aren't saved: their memory depends on the scales"
        )
    return service.place_files


def _place(model: ServedModel, number: str) -> int:
    n_places = model.pool.n_places
    if not number.isdecimal() or not int(number[:9]) < n_places:
        raise InvalidParameterError(f"there is no such place: they are 0 to {n_places - 1}")
    return int(number)


def _not_supported(message: str) -> HttpError:
    return HttpError(501, message, kind="not_supported_error")


def _listed(model: ServedModel) -> list[dict[str, Any]]:
    """The places, and what is computed there."""
    places = enumerate(model.pool.at_places)
    return [_place_at(number, ticket, model) for number, ticket in places]


def _place_at(number: int, ticket: Ticket | None, model: ServedModel) -> dict[str, Any]:
    about = {"id": number, "id_task": -1, "n_ctx": model.engine.n_ctx, "speculative": False}
    if ticket is None:
        return {**about, "is_processing": False, "next_token": [{"n_remain": -1, "n_decoded": 0}]}
    request, n_done = ticket.request, ticket.n_tokens
    n_prompt, n_cached = max(map(len, request.prompts)), ticket.control.n_cached
    most = request.sampling.max_tokens
    return {
        **about,
        "is_processing": True,
        "n_prompt_tokens": n_prompt + n_done,
        "n_prompt_tokens_processed": n_prompt - n_cached if n_done else 0,
        "n_prompt_tokens_cache": n_cached,
        "params": generation_settings(request.sampling, model),
        "next_token": [
            {"has_next_token": most > n_done, "n_remain": most - n_done, "n_decoded": n_done}
        ],
    }
