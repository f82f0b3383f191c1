"""The options of `serve`: flags and help.

Knows nothing about what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import typer

from amulet_local.cli import completions
from amulet_local.cli.command import WHOLE_VARIABLE
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import (
    numeric,
    option,
    preference_option,
    preset_option,
    profile_option,
    switch,
)
from amulet_local.cli.options import SOURCES
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.option import PREFERENCE, RUNTIME, changeable, some_of, with_help
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams

NETWORK = "Where it listens, and who may ask (flags as in llama-server)"
CLIENTS = "What clients may send"
EMBEDDING = "Embeddings"
LOAD = "How many requests"
SAMPLING = "Sampling of requests that leave it open"

SAMPLED = tuple(
    name
    for name, one in SamplingParams.options.items()
    if one.kind in ("number", "seed", "flag", "escaped") or name == "reasoning_format"
)
"""What a server's own default may be; grammars and stop texts are a request's."""

N_CTX = 4096
MAX_EMBEDDED = 8192
"""Tokens of a text that is embedded, where -c is 0: all of them are computed at once."""
CHUNK = 64
"""Tokens of a prompt computed at once: what others wait for at most."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of `serve`."""

    sources: Mapping[str, str] = field(default_factory=dict, metadata=SOURCES)
    model: Annotated[
        list[str] | None,
        typer.Option(
            *("-m", "--model"),
            rich_help_panel=RUNTIME,
            metavar="MODEL",
            help="Path of a GGUF file, or a name that `amulet-local models` lists; give it again "
            "for more models, which are loaded when they are asked for. Default: smollm2.",
            autocompletion=completions.models,
            show_default=False,
        ),
    ] = field(default=None, metadata=WHOLE_VARIABLE)
    models_dir: Annotated[
        str | None,
        option(
            "--models-dir",
            panel=RUNTIME,
            metavar="FOLDER",
            help="The models of a folder, loaded when they are asked for.",
        ),
    ] = None
    memory: Annotated[
        float | None,
        numeric(
            "--memory",
            panel=RUNTIME,
            metavar="GB",
            help="Of the files that are loaded at once, where there are several models: the least "
            "recently used is unloaded. Default: no limit.",
        ),
    ] = None
    idle_unload: Annotated[
        float | None,
        numeric(
            *("--idle-unload", "--sleep-idle-seconds"),
            panel=RUNTIME,
            metavar="SECONDS",
            help="Unload a model after so long without a request; the next one loads it again. "
            "Default: never.",
        ),
    ] = None
    host: Annotated[
        str,
        option(
            "--host",
            panel=NETWORK,
            metavar="ADDRESS",
            help="Address to listen on, or several with commas; any but this machine's own needs a "
            "key. Default: 127.0.0.1.",
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        numeric("--port", panel=NETWORK, help="Port; 0 takes a free one. Default: 8080."),
    ] = 8080
    socket: Annotated[
        str | None,
        option(
            "--socket",
            panel=NETWORK,
            metavar="PATH",
            help="Listen at a path of this machine instead, for its owner alone: see `amulet-local "
            "ask`. A socket that systemd hands over is taken before either.",
        ),
    ] = None
    idle_timeout: Annotated[
        float | None,
        numeric(
            "--idle-timeout",
            panel=NETWORK,
            metavar="SECONDS",
            help="End when nobody has asked for so long. Default: never.",
        ),
    ] = None
    api_key: Annotated[
        list[str] | None,
        option(
            "--api-key",
            panel=NETWORK,
            metavar="KEY",
            help="Answer those only who send this key; give it again for more. Better in "
            "AMULET_API_KEY or a file: others on this machine see a command's flags.",
        ),
    ] = None
    api_key_file: Annotated[
        str | None,
        option("--api-key-file", panel=NETWORK, metavar="FILE", help="Keys, one on each line."),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        option(
            "--allowed-host",
            panel=NETWORK,
            metavar="NAME",
            help="A name that this server is known by, such as a reverse proxy's; give it again "
            "for more.",
        ),
    ] = None
    cors_origin: Annotated[
        list[str] | None,
        option(
            "--cors-origin",
            "--cors-origins",
            panel=NETWORK,
            metavar="ORIGIN",
            help="Web pages and apps that may ask, e.g. https://chat.example.org or "
            "app://obsidian.md, localhost for those of this machine, or * for any; give it again "
            "for more. Default: none but its own.",
        ),
    ] = None
    alias: Annotated[
        list[str] | None,
        option(
            "-a",
            "--alias",
            panel=CLIENTS,
            metavar="NAME",
            help="What the model is called in answers and lists; give it again for more names. "
            "Default: the file's name.",
        ),
    ] = None
    strict_model: Annotated[
        bool,
        option(
            "--strict-model",
            panel=CLIENTS,
            help="Refuse requests that name another model, which the loaded one answers otherwise.",
        ),
    ] = False
    strict_fields: Annotated[
        bool,
        option(
            "--strict-fields",
            panel=CLIENTS,
            help="Refuse requests with fields that aren't known here, which are otherwise named in "
            "the answer's warnings.",
        ),
    ] = False
    tags: Annotated[
        list[str] | None,
        option(
            "--tags",
            panel=CLIENTS,
            metavar="NAME",
            help="Words about the model for lists of models; give it again for more.",
        ),
    ] = None
    slots: Annotated[
        bool,
        switch(
            "--slots",
            panel=CLIENTS,
            help="Whether /slots says what is being computed. Default: --slots.",
        ),
    ] = True
    slot_save_path: Annotated[
        str | None,
        option(
            "--slot-save-path",
            panel=CLIENTS,
            metavar="FOLDER",
            help="A folder of yours where clients may save what a place has in memory "
            "(/slots/0?action=save), and restore it.",
        ),
    ] = None
    no_ui: Annotated[
        bool, option("--no-ui", "--no-webui", panel=CLIENTS, help="Without the page to try it.")
    ] = False
    embedding: Annotated[
        bool,
        option(
            *("--embedding", "--embeddings", "--rerank", "--reranking"),
            panel=EMBEDDING,
            help="The model embeds texts and answers nothing: /v1/embeddings and /rerank.",
        ),
    ] = False
    embedding_model: Annotated[
        str | None,
        option(
            "--embedding-model",
            panel=EMBEDDING,
            metavar="MODEL",
            help="A second model that does so, beside the one that answers.",
        ),
    ] = None
    pooling: Annotated[
        str | None,
        option(
            "--pooling",
            panel=EMBEDDING,
            metavar="HOW",
            help="How the states of a text's tokens become its embedding: mean, cls, last, or none "
            "(one for each). Default: as the model says.",
        ),
    ] = None
    runtime: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                RuntimeParams.options,
                n_ctx="Most tokens of prompt and answer of a request; 0 is what the model was "
                f"trained with. Default: {N_CTX}.",
                n_batch="Tokens of a prompt computed at once; the others wait for so long. "
                f"Default: {CHUNK}, on a GPU 512.",
            )
        ),
    )
    reasoning: Annotated[
        str,
        option(
            "--reasoning",
            "-rea",
            panel=CLIENTS,
            metavar="WHEN",
            help="Whether a model that can think does so before it answers: on, off or auto, which "
            "is on here as in llama-server. Default: auto.",
        ),
    ] = "auto"
    sampling: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                some_of(SamplingParams.options, *SAMPLED, panel=SAMPLING),
                max_tokens="Most tokens of an answer; -1 is as many as fit. Default: -1.",
                temperature="Temperature, 0 is greedy. Default: 0.2.",
            )
        ),
    )
    parallel: Annotated[
        int,
        numeric("-np", "--parallel", panel=LOAD, help="Requests at the same time. Default: 2."),
    ] = 2
    queue: Annotated[
        int,
        numeric("--queue", panel=LOAD, help="Requests that wait for their turn. Default: 1000."),
    ] = 1000
    scheduler: Annotated[
        str,
        option(
            "--scheduler",
            panel=LOAD,
            metavar="HOW",
            help="interleaved (requests take turns, a token each), batched (all in one "
            "computation) or auto (batched on a GPU, and where this CPU makes more tokens so). "
            "Default: auto.",
        ),
    ] = "auto"
    max_preferences: Annotated[
        int | None,
        numeric(
            "--max-preferences",
            panel=LOAD,
            help="Most preferences in a request; each takes memory. Default: 8; batched, twice the "
            "places less one, 3 at least.",
        ),
    ] = None
    preference: Annotated[
        list[str] | None,
        preference_option(
            "--preference",
            panel=PREFERENCE,
            help="For requests that name none: a name or a text, with a weight if need be. Give it "
            "again to mix several.",
        ),
    ] = None
    avoid: Annotated[
        list[str] | None,
        preference_option(
            "--avoid",
            panel=PREFERENCE,
            help="For requests that avoid nothing: what answers should not be like.",
        ),
    ] = None
    profile: Annotated[
        str | None,
        profile_option(
            panel=PREFERENCE,
            help="Learn from /v1/amulet/feedback, and follow it where requests leave it open. Of "
            "several API keys, and of each `user`, it is a profile of its own.",
        ),
    ] = None
    preset: Annotated[
        str | None,
        preset_option(
            panel=PREFERENCE,
            help="For requests that set no strength: balanced, strong or paper. Default: balanced.",
        ),
    ] = None
    strength: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                some_of(AmuletParams.options, *changeable(AmuletParams.options), panel=PREFERENCE),
                guidance_scale="The same: the scale.",
                kl_target="The same: the KL target.",
                kl_budget="The same: the KL budget.",
                max_guidance="The same: a ceiling of the scale.",
                min_plausibility="The same: the share of the likeliest token's probability that a "
                "token needs.",
            )
        ),
    )
