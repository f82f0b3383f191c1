"""The models of `serve` out of its options: which there are, and how each is loaded.

Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from amulet_local.cli.inputs import chosen_model
from amulet_local.cli.loading import loading_progress
from amulet_local.cli.serve_options import CHUNK, MAX_EMBEDDED, ServeOptions
from amulet_local.cli.supervised import Uses, use_given
from amulet_local.cli.terminal import StatusLine
from amulet_local.common.errors import InvalidParameterError, ModelNotFoundError

if TYPE_CHECKING:
    from amulet_local.params.choices import Scheduler
    from amulet_local.params.runtime import RuntimeParams
    from amulet_local.server.model_names import ModelNames
    from amulet_local.server.models import Models
    from amulet_local.server.profiles import ServedProfiles
    from amulet_local.server.served_embedder import ServedEmbedder
    from amulet_local.server.served_model import Defaults, ServedModel

GB = 10**9


def models_named(options: ServeOptions) -> Uses:
    """The names or paths of all models, and what each is for."""
    from amulet_local.params.model_use import EMBEDDING

    named = [*(options.model or ()), *_in_folder(options.models_dir)] or [chosen_model(None)]
    use = EMBEDDING if options.embedding else use_given(options.runtime)
    embedding = [options.embedding_model] if options.embedding_model else []
    return [*((model, use) for model in named), *((model, EMBEDDING) for model in embedding)]


def models_of(
    options: ServeOptions, runtime: RuntimeParams, defaults: Defaults, status: StatusLine
) -> Models:
    """The models that answer; none is loaded yet.

    Raises:
        AmuletError: one isn't there, or the options don't fit together.
    """
    from amulet_local.loading.model_store import find_model, names_of
    from amulet_local.server.model_names import ModelNames
    from amulet_local.server.models import ModelFile, Models
    from amulet_local.server.profiles import ServedProfiles

    chosen = [*(options.model or ()), *_in_folder(options.models_dir)]
    aliases = parts(options.alias)
    if len(chosen) > 1 and (aliases or runtime.lora or runtime.control_vectors):
        raise InvalidParameterError("--alias and adapters are for one model; there are several")
    for flag, value in {"--memory": options.memory, "--idle-unload": options.idle_unload}.items():
        if value is not None and not value > 0:
            raise InvalidParameterError(f"{flag} must be above 0, got {value}")
    if options.memory is not None and len(chosen) < 2:
        raise InvalidParameterError("--memory is for several models; use -c and -np for one")
    profiles = None if options.profile is None else ServedProfiles(options.profile)
    files = []
    for model in chosen or [chosen_model(None)]:
        path = find_model(model)
        names = ModelNames(names_of(model, path), aliases=aliases, is_strict=options.strict_model)
        load = _loading(model, names, options, runtime, defaults, status, profiles)
        files.append(ModelFile(names, load, path.stat().st_size if path.is_file() else 0))
    return Models(
        files,
        memory_bytes=None if options.memory is None else int(options.memory * GB),
        idle_seconds=options.idle_unload,
    )


def _in_folder(folder: str | None) -> list[str]:
    """The models of a folder; of one in parts the first part.

    Raises:
        ModelNotFoundError: there are none.
    """
    if folder is None:
        return []
    path = Path(folder).expanduser()
    found = sorted(
        str(file)
        for file in path.glob("*.gguf")
        if "-of-" not in file.stem or "-00001-of-" in file.stem
    )
    if not found:
        raise ModelNotFoundError(f"--models-dir: there is no GGUF file in {folder!r}")
    return found


def _loading(
    model: str,
    names: ModelNames,
    options: ServeOptions,
    runtime: RuntimeParams,
    defaults: Defaults,
    status: StatusLine,
    profiles: ServedProfiles | None,
) -> Callable[[Callable[[], bool]], ServedModel]:
    """What loads a model."""

    def load(_ending: Callable[[], bool]) -> ServedModel:
        from amulet_local.engine import Engine
        from amulet_local.server.served_model import ServedModel

        engine = Engine(model, runtime, load_progress=loading_progress(model, status.show))
        try:
            pool = engine.pool(
                places=options.parallel,
                waiting=options.queue,
                scheduler=_scheduler(options),
                max_rows=None if options.max_preferences is None else options.max_preferences + 1,
                chunk=CHUNK if "n_batch" not in options.runtime else None,
            )
        except BaseException:
            engine.close()
            raise
        return ServedModel(
            engine,
            pool,
            names,
            defaults,
            has_strict_fields=options.strict_fields,
            tags=parts(options.tags),
            adapters=runtime.lora,
            profiles=profiles,
        )

    return load


def _scheduler(options: ServeOptions) -> Scheduler:
    """How places are computed: each in its own memory where clients are to have a hand in that."""
    needs_own = options.slot_save_path is not None or "lora" in options.runtime
    if options.scheduler == "auto" and needs_own:
        return "interleaved"
    return cast("Scheduler", options.scheduler)


def load_embedder(options: ServeOptions, runtime: RuntimeParams) -> ServedEmbedder:
    """The model that embeds texts.

    Raises:
        AmuletError: it can't be loaded.
    """
    from amulet_local.llama.embedder import Embedder, EmbedderSettings
    from amulet_local.loading.isolated import loading_safely
    from amulet_local.loading.model_store import find_model
    from amulet_local.params.model_use import EMBEDDING
    from amulet_local.server.served_embedder import ServedEmbedder

    if options.embedding and options.embedding_model is not None:
        raise InvalidParameterError("--embedding is for -m alone: leave out --embedding-model")
    own = next(iter(options.model or ()), None)
    path = find_model(options.embedding_model or chosen_model(own))
    with loading_safely(path, runtime.isolate, EMBEDDING):
        embedder = Embedder(
            path,
            EmbedderSettings(
                n_ctx=runtime.n_ctx or MAX_EMBEDDED,
                n_threads=runtime.n_threads,
                n_gpu_layers=runtime.n_gpu_layers if isinstance(runtime.n_gpu_layers, int) else -1,
                pooled=False,
                whole=True,
            ),
        )
    try:
        aliases = parts(options.alias) if options.embedding else []
        return ServedEmbedder(embedder, next(iter(aliases), path.stem), options.pooling)
    except BaseException:
        embedder.close()
        raise


def parts(texts: list[str] | None) -> list[str]:
    """What stands between the commas of these texts."""
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]
