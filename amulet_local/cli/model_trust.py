"""`amulet-local models verify` and `approve`: whether a file is whole, and whether it is trusted.

Knows nothing about lists of models or about what they are used for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amulet_local.cli import completions
from amulet_local.cli.flags import option
from amulet_local.cli.terminal import one_line, write
from amulet_local.common.errors import FileAccessError
from amulet_local.common.user_folders import cache_folder

if TYPE_CHECKING:
    from amulet_local.llama.gguf import GGUFHeader

MODEL = "The model"
_DIGEST = re.compile(r"(?:sha256-)?([0-9a-f]{64})")
"""How Hugging Face's and Ollama's caches call a file: after what is in it."""

MODEL_NAME = typer.Argument(
    help="A name that `amulet-local models` lists, or the path of a GGUF file.",
    metavar="MODEL",
    rich_help_panel=MODEL,
    show_default=False,
    autocompletion=completions.models,
)

VERIFY_EXAMPLES = """
amulet-local models verify smollm2"""
APPROVE_EXAMPLES = """
amulet-local models approve model.gguf
amulet-local models approve adapter.gguf
amulet-local models approve model.gguf --revoke"""


@dataclass(frozen=True, kw_only=True)
class ModelVerifyOptions:
    """Options of `models verify`."""

    model: Annotated[str, MODEL_NAME]


@dataclass(frozen=True, kw_only=True)
class ModelApproveOptions:
    """Options of `models approve`."""

    model: Annotated[str, MODEL_NAME]
    revoke: Annotated[bool, option("--revoke", panel=MODEL, help="Take it back.")] = False


def verify(options: ModelVerifyOptions) -> None:
    """Compare a file with the digest that is known of it, and try it out."""
    from amulet_local.llama.gguf import read_header
    from amulet_local.loading.approved_files import approve
    from amulet_local.loading.model_store import (
        catalogue,
        digest_of,
        find_model,
        verify_checksum,
    )

    path = find_model(options.model)
    header = read_header(path)
    known = _known_digest(path)
    if known is not None:
        verify_checksum(path, known)
        write(f"{one_line(path)} is whole: sha256 {known}\n")
    else:
        write(f"{one_line(path)} is a sound GGUF file; nothing else is known of it\n")
        digest = digest_of(path)
        write(f"sha256 {digest}\n")
        if any(entry.sha256 == digest for entry in catalogue().values()):
            approve(path)
            write("it is a file of the catalogue, and runs like one from now on\n")
    write(
        f"header: {one_line(header.architecture)}, {len(header.metadata)} keys and "
        f"{header.n_tensors} tensors within the limits\n"
        f"{_outcome_of_trial(path, header)}\n"
    )


def _outcome_of_trial(path: Path, header: GGUFHeader) -> str:
    from amulet_local.llama import trial
    from amulet_local.llama.generative import reason_not_embedding, reason_not_generative
    from amulet_local.params.model_use import EMBEDDING, TEXT

    reason = reason_not_generative(header)
    if reason is not None and reason_not_embedding(header) is not None:
        return f"not tried: {one_line(reason)}"
    reason = trial.try_out(path, TEXT if reason is None else EMBEDDING)
    if reason is not None:
        return f"it doesn't run: {one_line(reason)}"
    return "it loads and runs, in a process of its own"


def _known_digest(path: Path) -> str | None:
    """From the catalogue, or the name that a cache has given the file."""
    from amulet_local.loading.model_store import catalogue

    for entry in catalogue().values():
        located = entry.path()
        if located is not None and os.path.realpath(located) == os.path.realpath(path):
            return entry.sha256
    named = _DIGEST.fullmatch(Path(os.path.realpath(path)).name)
    return named[1] if named else None


def approve(options: ModelApproveOptions) -> None:
    """Take the user's word for a file, unless a trial shows at once that it kills llama.cpp."""
    from amulet_local.common.file_identity import file_identity
    from amulet_local.llama.gguf import read_header
    from amulet_local.llama.split_files import other_parts
    from amulet_local.loading import approved_files
    from amulet_local.loading.model_store import find_model

    path = find_model(options.model)
    if options.revoke:
        try:
            approved_files.revoke(path)
        except OSError as error:
            raise FileAccessError(
                f"{path} stays approved, that can't be taken back: {error.strerror}"
            ) from None
        if approved_files.is_approved(path):
            write(f"{one_line(path)} is of the catalogue, and stays approved\n")
        else:
            write(f"{one_line(path)} runs in a process of its own from now on\n")
        return
    try:
        tried = file_identity(path)
        header = read_header(path)
        outcome = _outcome_of_trial(path, header)
        if file_identity(path) != tried:
            raise FileAccessError(
                f"{path} was changed while it was tried, and isn't approved; do it again"
            )
        approved_files.approve(path, other_parts(path, header))
    except OSError as error:  # it has gone meanwhile
        raise FileAccessError(f"can't read {path}: {error.strerror}") from None
    if not approved_files.is_approved(path):
        raise FileAccessError(
            f"that can't be kept: {cache_folder()} can't be written, or others may write to it; "
            f"AMULET_CACHE names another folder"
        )
    write(
        f"{outcome}\n{one_line(path)} is approved: until it changes, it runs in the process that "
        f"asks for it. `--revoke` takes that back\n"
    )


def trust_commands() -> list[tuple[type[Any], Any, str, str, str, str]]:
    """Options, function, name, short help, help and examples of each."""
    return [
        (
            *(ModelVerifyOptions, verify, "verify", "Whether a model's file is whole."),
            "Check a file's structure, its SHA-256 digest where that is known (of the "
            "catalogue's models, and of what Hugging Face and Ollama have downloaded), and "
            "whether it loads and runs, in a process of its own.",
            VERIFY_EXAMPLES,
        ),
        (
            *(ModelApproveOptions, approve, "approve", "Trust a model's or an adapter's file."),
            "Say that you trust a file, of a model, a LoRA adapter or a control vector: it isn't "
            "run in a process of its own any more, so that a Python program needs no second "
            "process and a command begins sooner. If llama.cpp dies of it, so does the program. It "
            "is tried in a process of its own before that.",
            APPROVE_EXAMPLES,
        ),
    ]
