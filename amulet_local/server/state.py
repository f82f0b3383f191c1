"""The endpoints that say what there is: the model, its places, what was counted.

Knows nothing about how requests are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from amulet_local.common.errors import ChatTemplateError, EngineClosedError
from amulet_local.engine import Engine
from amulet_local.llama import library
from amulet_local.openai.chat_completion import CHANGEABLE
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.server import openapi
from amulet_local.server.access import json_value
from amulet_local.server.failures import HttpError
from amulet_local.server.fields import text_fields
from amulet_local.server.generation_settings import generation_settings
from amulet_local.server.model_names import own_settings
from amulet_local.server.models import ModelFile
from amulet_local.server.said_to_clients import for_clients
from amulet_local.server.served_model import ServedModel
from amulet_local.server.service import Service
from amulet_local.steering.methods import METHODS
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS, adjusted_strength


def add_state(app: FastAPI, service: Service, version: str) -> None:
    """Add them."""
    last: dict[str, Any] = {}
    places = 0

    def entry(name: str, file: ModelFile) -> dict[str, Any]:
        model = file.model
        return {
            **_entry(name, service),
            "aliases": list(file.names.aliases),
            "tags": list(model.tags) if model else [],
            "meta": _meta(model) if model else None,
            "status": {"value": "loaded" if model else "unloaded"},
        }

    @app.get("/v1/models", responses=openapi.ERRORS)
    async def models() -> Response:
        """The models, also with each preference in their names; or the one that embeds texts."""
        service.check_ready()
        if service.models is None:
            data = [_entry(service.embedder.name, service)]
        else:
            names = await asyncio.to_thread(service.models.listed)
            data = [entry(name, file) for file, name in names]
        return JSONResponse({"object": "list", "data": data})

    @app.get("/models", include_in_schema=False)
    async def files() -> Response:
        """Each model once, as llama-server's clients expect it."""
        service.check_ready()
        if service.models is None:
            return await models()
        data = [entry(file.names.main, file) for file in service.models.files]
        return JSONResponse({"object": "list", "data": data})

    @app.get("/v1/models/{name:path}", responses=openapi.ERRORS)
    async def model(name: str) -> Response:
        """One of them."""
        service.check_ready()
        if service.models is None:
            return JSONResponse(_entry(service.embedder.name, service))
        file = service.models.find(name)
        found = await asyncio.to_thread(file.names.find, name)
        return JSONResponse(entry(found.name, file))

    @app.get("/health", responses=openapi.ERRORS)
    @app.get("/v1/health", include_in_schema=False)
    async def health() -> Response:
        """Whether requests are answered; 503 while the model loads."""
        service.check_ready()
        return JSONResponse({"status": "ok"})

    @app.get("/metrics", responses=openapi.ERRORS)
    async def metrics() -> Response:
        """Counters in Prometheus's format."""
        nonlocal places
        service.check_ready()
        pools = [model.pool for model in service.models.loaded] if service.models else []
        if pools or not service.is_asleep:
            places = sum(pool.n_places for pool in pools)
        text = service.figures.text(
            processing=sum(pool.n_active for pool in pools),
            waiting=sum(pool.n_queued for pool in pools),
            places=places,
        )
        response = PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")
        started = str(int(service.started_seconds)).encode()
        response.raw_headers.append((b"Process-Start-Time-Unix", started))  # as llama-server has it
        return response

    @app.get("/lora-adapters", responses=openapi.ERRORS)
    async def adapters() -> Response:
        """The adapters of the model, and how strong they are."""
        return JSONResponse(_adapters(service.model))

    @app.post("/lora-adapters", include_in_schema=False)
    async def scale_adapters(request: Request) -> Response:
        """Let adapters count otherwise from the next request on."""
        model = service.model
        scales = model.scales(json_value(await request.body()))
        if not model.pool.has_named_places:
            raise HttpError(
                501,
                "all places share the adapters' scales here; start the server with --scheduler "
                "interleaved, or with other scales: --lora FILE:SCALE",
                kind="not_supported_error",
            )
        model.adapter_scales = scales
        return JSONResponse({"success": True})

    @app.get("/props", responses=openapi.ERRORS)
    async def props() -> Response:
        """What the server has: the model, preferences, presets; as it was, while it is unloaded."""
        nonlocal last
        service.check_ready()
        if not service.is_asleep:
            try:
                last = await asyncio.to_thread(_props, service.model, version)
            except (EngineClosedError, HttpError):  # it was unloaded meanwhile
                if not (service.is_asleep and last):
                    raise
        now = {"endpoint_slots": service.shows_places, "is_sleeping": service.is_asleep}
        return JSONResponse({**last, **now})


def _props(model: ServedModel, version: str) -> dict[str, Any]:
    engine, own = model.engine, own_settings()
    built_in = [{"name": name, "text": text} for name, text in BUILT_IN_PREFERENCES.items()]
    strength = _default_strength(model)
    return {
        "default_generation_settings": {
            "id": 0,
            "n_ctx": engine.n_ctx,
            "is_processing": False,
            "speculative": False,
            "params": generation_settings(_default_sampling(model), model),
        },
        "total_slots": model.pool.n_places,
        "model_alias": model.names.main,
        "model_path": engine.model.path.name,
        "model_ftype": engine.model.file_type,
        "modalities": {"vision": False, "video": False, "audio": False},
        "endpoint_props": False,
        "endpoint_metrics": True,
        "chat_template": engine.model.chat_template or "",
        "chat_template_caps": _abilities(engine),
        "bos_token": model.vocabulary.bos_text,
        "eos_token": model.vocabulary.eos_text,
        "build_info": f"amulet-local {version}, llama.cpp {library.build_version()}",
        "amulet": {
            "preferences": built_in
            + [{"name": name, "text": text} for name, text in own.preferences.items()],
            "mixes": [{"name": name, "parts": list(parts)} for name, parts in own.mixes.items()],
            "presets": [
                {
                    "name": preset.name,
                    "summary": preset.summary,
                    "guidance_scale": preset.amulet.guidance_scale,
                    "kl_budget": preset.amulet.kl_budget,
                    "kl_target": preset.amulet.kl_target,
                }
                for preset in PRESETS.values()
            ],
            "default_preset": model.defaults.fields.get("preset", DEFAULT_PRESET),
            "default_strength": {
                "guidance_scale": strength.guidance_scale,
                "kl_budget": strength.kl_budget,
                "kl_target": strength.kl_target,
                "given": {
                    name: value
                    for name in CHANGEABLE
                    if (value := model.defaults.fields.get(name)) is not None
                },
            },
            "chat_problem": _chat_problem(engine),
            "methods": list(METHODS),
            "profile": model.profiles is not None,
            "schedule": engine.plan.schedule,
            "scheduler": model.pool.scheduler,
            "parallel": model.pool.n_places,
        },
    }


def _default_strength(model: ServedModel) -> AmuletParams:
    """What holds for requests that say nothing of it."""
    fields, own = text_fields(model.defaults.fields), model.engine.own_settings
    return fields.strength(own) or adjusted_strength(fields.preset, {}, own=own)


def _abilities(engine: Engine) -> Mapping[str, bool]:
    """Of the chat template; none where there is none."""
    try:
        return engine.template_abilities
    except ChatTemplateError:
        return {}


def _chat_problem(engine: Engine) -> str | None:
    """Why the model can't chat, if it can't."""
    try:
        engine.check_chat()
    except ChatTemplateError as error:
        return for_clients(str(error))
    return None


def _entry(name: str, service: Service) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(service.started_seconds),
        "owned_by": "local",
    }


def _default_sampling(model: ServedModel) -> SamplingParams:
    return text_fields(model.defaults.fields).sampling(model.engine.n_ctx)


def _meta(model: ServedModel) -> dict[str, Any]:
    about = model.engine.model
    return {
        "vocab_type": model.vocabulary.kind,
        "n_vocab": model.vocabulary.n_tokens,
        "n_ctx": model.engine.n_ctx,
        "n_ctx_train": about.n_ctx_train,
        "n_embd": about.n_embd,
        "n_params": about.n_params,
        "size": about.size_bytes,
        "ftype": about.file_type,
    }


def _adapters(model: ServedModel) -> list[dict[str, Any]]:
    scales = model.adapter_scales or [scale for _, scale in model.adapters]
    return [
        {"id": number, "path": Path(path).name, "scale": scale}
        for number, ((path, _), scale) in enumerate(zip(model.adapters, scales, strict=True))
    ]
