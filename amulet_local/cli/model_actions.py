"""What `amulet-local models` does with one model: show, pull, quantize, remove.

Knows nothing about lists of models, or about whether a file is trusted: model_trust.py does.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from amulet_local.cli import completions
from amulet_local.cli.command import add_command
from amulet_local.cli.exit_codes import EXIT_ERROR
from amulet_local.cli.flags import json_option, option
from amulet_local.cli.json_format import write_json
from amulet_local.cli.model_listing import inspected, size_in_words
from amulet_local.cli.model_trust import MODEL, MODEL_NAME, trust_commands
from amulet_local.cli.terminal import (
    RewritingStream,
    StatusLine,
    note,
    one_line,
    stderr_is_terminal,
    write,
)
from amulet_local.common.errors import FileAccessError, InvalidParameterError

SHOW_EXAMPLES = """
amulet-local models show smollm2
amulet-local models show model.gguf --json"""
PULL_EXAMPLES = """
amulet-local models pull qwen2.5-1.5b
amulet-local models pull Qwen/Qwen2.5-1.5B-Instruct-GGUF
amulet-local models pull bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_0"""
QUANTIZE_EXAMPLES = """
amulet-local models quantize model-F16.gguf Q4_K_M
amulet-local models quantize model-Q8_0.gguf Q4_0 -o small.gguf --again"""
REMOVE_EXAMPLES = """
amulet-local models remove small --yes"""


@dataclass(frozen=True, kw_only=True)
class ModelShowOptions:
    """Options of `models show`."""

    model: Annotated[str, MODEL_NAME]
    json: Annotated[bool, json_option("The same as one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class ModelPullOptions:
    """Options of `models pull`."""

    model: Annotated[
        str,
        typer.Argument(
            help="A name of the catalogue, which `amulet-local models` lists, or a repository of "
            "the Hugging Face hub, and which quantisation of it; Q4_K_M, or what is nearest, if "
            "none is named.",
            metavar="MODEL",
            autocompletion=completions.models_to_pull,
            rich_help_panel=MODEL,
            show_default=False,
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class ModelQuantizeOptions:
    """Options of `models quantize`."""

    model: Annotated[str, MODEL_NAME]
    type: Annotated[
        str,
        typer.Argument(
            help="Q4_K_M, Q4_0, Q8_0, ...: llama.cpp's names.",
            metavar="TYPE",
            rich_help_panel=MODEL,
            show_default=False,
        ),
    ]
    output: Annotated[
        str | None,
        option(
            *("-o", "--output"),
            panel=MODEL,
            metavar="FILE",
            help="Default: the type in the place of the model's own in its name, in its folder; of "
            "another program's model and of a package's, in a folder of models.",
        ),
    ] = None
    again: Annotated[
        bool,
        option(
            "--again",
            panel=MODEL,
            help="Take a model that is quantised already; it loses more than from F16.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ModelRemoveOptions:
    """Options of `models remove`."""

    model: Annotated[str, MODEL_NAME]
    yes: Annotated[bool, option("--yes", panel=MODEL, help="Don't ask.")] = False


@dataclass(frozen=True, kw_only=True)
class ModelMemory:
    """What a model takes, in bytes and tokens; None where its file doesn't say enough.

    Attributes:
        available_bytes: of this machine's memory now.
        cache_bytes_per_token: of the KV cache of a row in 16 bits.
        n_ctx_train: the context that it was trained with.
        n_ctx_fits: the context that fits with the weights and two rows: the plain prompt's and a
            preference's.
    """

    available_bytes: int | None
    cache_bytes_per_token: int | None
    n_ctx_train: int | None
    n_ctx_fits: int | None


def memory_of(path: Path) -> ModelMemory:
    """What a model takes here.

    Raises:
        ModelError, FileAccessError: the file can't be used.
    """
    from amulet_local.llama import memory
    from amulet_local.llama.gguf import read_header

    header = read_header(path)
    trained = header.metadata.get(f"{header.architecture}.context_length")
    n_ctx_train = trained if isinstance(trained, int) else None
    per_token = memory.kv_cache_bytes(header, 1, "f16", "f16")
    available = memory.available_bytes()
    fits = None
    if available is not None and per_token and n_ctx_train is not None:
        left = max(0, available - path.stat().st_size)
        fits = min(n_ctx_train, left // (2 * per_token))
    return ModelMemory(
        available_bytes=available,
        cache_bytes_per_token=per_token,
        n_ctx_train=n_ctx_train,
        n_ctx_fits=fits,
    )


def show(options: ModelShowOptions) -> None:
    """Print what a model is and takes."""
    from amulet_local.llama.gguf import read_header
    from amulet_local.loading.approved_files import is_approved
    from amulet_local.loading.model_store import find_model

    path = find_model(options.model)
    approved = is_approved(path)
    listing, memory = inspected(options.model, path), memory_of(path)
    metadata = {
        key: value
        for key, value in read_header(path).metadata.items()
        if isinstance(value, str | int | float) and not key.endswith("chat_template")
    }
    if options.json:
        write_json(
            {
                **asdict(listing),
                "approved": approved,
                "memory": asdict(memory),
                "metadata": metadata,
            }
        )
        return
    licence = metadata.get("general.license")
    lines = [
        one_line(path),
        f"  {listing.kind}, {size_in_words(listing.size_bytes)}"
        + (f", licence {one_line(licence)}" if licence else ""),
    ]
    lines.append(
        "  approved: runs in the process that asks for it"
        if approved
        else "  not approved: runs in a process of its own (`amulet-local models approve`)"
    )
    if listing.problem:
        lines.append(f"  {listing.problem}")
    lines.append(f"  chat template: {'yes' if listing.has_template else 'none'}")
    if memory.n_ctx_train is not None:
        lines.append(f"  trained with {memory.n_ctx_train} tokens of context")
    if memory.n_ctx_fits is not None and memory.cache_bytes_per_token:
        lines.append(
            f"  {memory.cache_bytes_per_token / 1e3:.0f} KB a token and row; with the plain row "
            f"and one preference's, {memory.n_ctx_fits} tokens fit into "
            f"{size_in_words(memory.available_bytes)} of free memory"
        )
    write("\n".join(lines) + "\n")


def pull(options: ModelPullOptions) -> None:
    """Download a model, or what is missing of it."""
    from amulet_local.loading.hub import download, find_on_hub

    status = StatusLine()
    status.show("asking the hub")
    try:
        model = find_on_hub(options.model)
    finally:
        status.erase()
    first = model.files[0]
    note(f"{one_line(first.name)}, {size_in_words(model.size_bytes)}")
    bars: Any = RewritingStream(sys.stderr) if stderr_is_terminal() else sys.stderr
    try:
        with contextlib.redirect_stderr(bars):
            path = download(
                model,
                shows_progress=stderr_is_terminal(),
                checking=lambda file: status.show(f"checking {one_line(file.name)}"),
            )
    finally:
        status.erase()
    write(f"{one_line(path)}\n")
    note(f"to talk with it: amulet-local chat -m {shlex.quote(path.stem)}")


def quantize(options: ModelQuantizeOptions) -> None:
    """Write a model in another type."""
    from amulet_local.common.disk_space import check_space
    from amulet_local.common.private_files import put_in_place
    from amulet_local.common.termination import terminated_in_order
    from amulet_local.llama.gguf import read_header
    from amulet_local.llama.quantising import quantisation_type, quantise
    from amulet_local.loading.model_store import find_model

    source = find_model(options.model)
    type_name, file_type = quantisation_type(options.type)
    read_header(source)
    target = _target(options, source, type_name)
    if target.exists():
        raise FileAccessError(f"{target} exists; remove it, or give another name with -o")
    check_space(target, source.stat().st_size)
    part = target.with_name(f"{target.name}.part")
    status = StatusLine()

    def tell() -> None:
        size = part.stat().st_size if part.exists() else 0
        status.show(f"quantising to {type_name}: {size_in_words(size)} written")

    try:
        with terminated_in_order():
            quantise(source, part, file_type, again=options.again, waiting=tell)
            put_in_place(part, target)
    except OSError as error:
        raise FileAccessError(f"can't write {target}: {error.strerror}") from None
    finally:
        status.erase()
        part.unlink(missing_ok=True)
    write(f"{one_line(target)}, {size_in_words(target.stat().st_size)}\n")


def _target(options: ModelQuantizeOptions, source: Path, type_name: str) -> Path:
    """Where the new file goes: beside the model, or where it is the user's if the model isn't."""
    from amulet_local.loading.model_store import local_models, own_folder

    if options.output is not None:
        return Path(options.output)
    is_own = source == Path(options.model).expanduser() or source in local_models()
    # Other programs call files by digests, or all alike.
    named = source.stem if is_own else re.sub(r"[^\w.-]+", "-", options.model.rpartition("/")[2])
    stem = re.sub(r"[-.]?(?:B?F(?:16|32)|I?Q\d\w*)$", "", named, flags=re.IGNORECASE)
    return (source.parent if is_own else own_folder()) / f"{stem}-{type_name}.gguf"


def remove(options: ModelRemoveOptions) -> None:
    """Delete a model's file, if it lies in a folder of models."""
    from amulet_local.loading.model_store import find_model, local_models
    from amulet_local.loading.other_programs import parts_of

    path = find_model(options.model)
    if path.absolute() not in [known.absolute() for known in local_models()]:
        raise InvalidParameterError(
            f"{one_line(path)} is in no folder of models; what another program or a package "
            f"has brought is theirs to remove"
        )
    parts = parts_of(path)
    others = f" and its {len(parts) - 1} further parts" if len(parts) > 1 else ""
    if not options.yes and not _is_agreed(f"Delete {one_line(path)}{others}?"):
        note("nothing is deleted; --yes deletes without asking")
        raise SystemExit(EXIT_ERROR)
    for part in reversed(parts):
        try:
            part.unlink()
        except OSError as error:
            raise FileAccessError(f"can't remove {part}: {error.strerror}") from None
    write(f"{one_line(path)}{others} {'are' if others else 'is'} gone\n")


def _is_agreed(question: str) -> bool:
    """Whether somebody says yes; Ctrl-C, or nobody there, is a no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        note("")
        return False


def add_actions(group: typer.Typer) -> None:
    """Add the commands."""
    kinds: list[tuple[type[Any], Any, str, str, str, str]] = [
        (
            *(ModelShowOptions, show, "show", "What a model is, and what it takes."),
            "Show a model's kind, its size, and the context that fits this machine's memory.",
            SHOW_EXAMPLES,
        ),
        *trust_commands(),
        (
            *(ModelPullOptions, pull, "pull", "Download a model from the Hugging Face hub."),
            "Download a GGUF file from the Hugging Face hub (the extra `hub`) into its own cache, "
            "where it has a name. A download that was stopped goes on; what came is compared with "
            "the SHA-256 digest that the catalogue or the hub says. HF_ENDPOINT, HF_HOME, "
            "HF_TOKEN and HF_HUB_OFFLINE are heeded.",
            PULL_EXAMPLES,
        ),
        (
            *(ModelQuantizeOptions, quantize, "quantize", "Write a model in another type."),
            "Write a model in another type, by llama.cpp's own quantiser.",
            QUANTIZE_EXAMPLES,
        ),
        (
            *(ModelRemoveOptions, remove, "remove", "Delete a file of a models folder."),
            "Delete a model's file. What another program has downloaded isn't touched.",
            REMOVE_EXAMPLES,
        ),
    ]
    for options, action, name, short_help, help, examples in kinds:
        add_command(
            group,
            options,
            action,
            name=name,
            short_help=short_help,
            help=help,
            examples=examples,
            environment=False,
        )
