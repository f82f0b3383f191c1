"""Finds the GGUF files that other programs have downloaded: those of PROGRAMS.

Knows where they keep them, and nothing about what is in a file. Ollama's files have no names of
their own: a manifest says which blob a model's name stands for. Jan's are often called model.gguf
and have the name of their folder.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

PROGRAMS = "llama.cpp, Ollama, LM Studio, Jan, GPT4All and Hugging Face"
MAX_MANIFEST_BYTES = 1 << 20
OLLAMA_REGISTRY = "registry.ollama.ai"
"""Whose models Ollama names without it."""

_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_FIRST_PART = re.compile(r"(.+)-00001-of-(\d{5})\.gguf")
_OLLAMA_WEIGHTS = "application/vnd.ollama.image.model"
_OLLAMA_SERVICES = (
    Path("/usr/share/ollama/.ollama/models"),  # its installer's service
    Path("/var/snap/ollama/common/models"),
)
_IN_SNAPSHOTS = ("models--*/snapshots/*/*", "models--*/snapshots/*/*/*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FoundModel:
    """A model's file.

    Attributes:
        name: what it is called there.
        path: the file.
        program: whose it is.
    """

    name: str
    path: Path
    program: str


def found_models() -> list[FoundModel]:
    """What is there, by program and name; each file once."""
    found: dict[str, FoundModel] = {}
    ways = (_of_llama_cpp, _of_ollama, _of_lm_studio, _of_jan, _of_gpt4all, _of_hugging_face)
    for way in ways:
        for model in way():
            found.setdefault(os.path.realpath(model.path), model)
    return list(found.values())


def parts_of(path: Path) -> list[Path]:
    """The files of a model in several, by the first of them; else the one file."""
    first = _FIRST_PART.fullmatch(path.name)
    if first is None:
        return [path]
    name, n_parts = first.groups()
    named = (f"{name}-{n:05d}-of-{n_parts}.gguf" for n in range(2, int(n_parts) + 1))
    return [path, *filter(os.path.isfile, map(path.with_name, named))]


def weights_in(folder: Path, *patterns: str) -> list[Path]:
    """GGUF files that can be loaded by themselves: no later part of a model, no projector.

    Links to what is gone are among them.
    """
    return [
        path
        for pattern in patterns
        for path in _matches(folder, pattern)
        if path.suffix.lower() == ".gguf"
        and not (_LATER_PART.search(path.name) or path.name.lower().startswith("mmproj"))
        and not os.path.isdir(path)
    ]


def _of_llama_cpp() -> Iterator[FoundModel]:
    """Its own cache; a newer one shares Hugging Face's, unless LLAMA_CACHE names another one."""
    mac = Path.home() / "Library" / "Caches"
    caches = mac if sys.platform == "darwin" else _caches()
    folder = _folder("LLAMA_CACHE", caches / "llama.cpp")
    yield from _files("llama.cpp", folder, "*", *_IN_SNAPSHOTS)


def _of_lm_studio() -> Iterator[FoundModel]:
    """The folder that its settings name is LM Studio's own; a pointer says where these are."""
    pointed = _text(Path.home() / ".lmstudio-home-pointer").strip()
    usual = (Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio")
    for home in (*([Path(pointed)] if pointed else []), *usual):
        for folder in (_setting(home / "settings.json", "downloadsFolder"), home / "models"):
            if folder is not None:
                yield from _files("LM Studio", folder, "*/*/*")


def _of_jan() -> Iterator[FoundModel]:
    home = _data() / "Jan"
    named = _setting(home / "settings.json", "data_folder")
    for folder in dict.fromkeys(
        (_folder("JAN_DATA_FOLDER", named or home / "data"), home / "data")
    ):
        for place in (folder / "llamacpp" / "models", folder / "models"):
            for model in _files("Jan", place, "*", "*/*", "*/*/*", "*/*/*/*"):
                within = model.path.parent.relative_to(place).as_posix()
                yield replace(model, name=within if model.name == "model" else model.name)


def _of_gpt4all() -> Iterator[FoundModel]:
    for folder in (_data() / "nomic.ai" / "GPT4All", Path.home() / ".cache" / "gpt4all"):
        yield from _files("GPT4All", folder, "*")


def hugging_face_folder() -> Path:
    """Where Hugging Face's own programs keep what they have downloaded."""
    home = _folder("HF_HOME", _caches() / "huggingface")
    return _folder("HF_HUB_CACHE", _folder("HUGGINGFACE_HUB_CACHE", home / "hub"))


def cached_file(repository: str, name: str, sha256: str) -> Path | None:
    """A file of a repository in Hugging Face's cache; None if it isn't there, or is another one.

    The cache calls contents by their digests, where the system has links.
    """
    folder = hugging_face_folder() / f"models--{repository.replace('/', '--')}"
    for path in _matches(folder, f"snapshots/*/{name}"):
        called = os.path.basename(os.path.realpath(path))
        if os.path.isfile(path) and (called == sha256 or not _HEXADECIMAL.fullmatch(called)):
            return path
    return None


def _of_hugging_face() -> Iterator[FoundModel]:
    yield from _files("Hugging Face", hugging_face_folder(), *_IN_SNAPSHOTS)


def _of_ollama() -> Iterator[FoundModel]:
    own = _folder("OLLAMA_MODELS", Path.home() / ".ollama" / "models")
    for folder in dict.fromkeys((own, *_OLLAMA_SERVICES)):
        for manifest in _matches(folder / "manifests", "*/*/*/*"):
            blob = _blob(folder, manifest)
            if blob is not None:
                host, owner, model, tag = manifest.relative_to(folder / "manifests").parts
                named = [owner, model] if host == OLLAMA_REGISTRY else [host, owner, model]
                if named[0] == "library":
                    del named[0]
                yield FoundModel(name=f"{'/'.join(named)}:{tag}", path=blob, program="Ollama")


def _blob(folder: Path, manifest: Path) -> Path | None:
    """The weights that a manifest names; None if it names none that are there."""
    try:
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        digests = [item["digest"] for item in layers if item["mediaType"] == _OLLAMA_WEIGHTS]
        if len(digests) != 1 or not _DIGEST.fullmatch(digests[0]):
            return None
        blob = folder / "blobs" / digests[0].replace(":", "-")
        return blob if os.path.isfile(blob) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(program: str, folder: Path, *patterns: str) -> Iterator[FoundModel]:
    for path in filter(os.path.isfile, weights_in(folder, *patterns)):
        yield FoundModel(name=path.stem, path=path, program=program)


def _matches(folder: Path, pattern: str) -> list[Path]:
    """What is there of a pattern; a folder that can't be read, or that is gone, hides no other.

    `Path.glob` ends at the first folder that goes while it looks, and at a link that is too long.
    """
    found = [folder]
    for part in pattern.split("/"):
        found = [path / name for path in found for name in fnmatch.filter(_names(path), part)]
    return sorted(found)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):  # the latter of a NUL in a path
        return []


def _text(path: Path) -> str:
    """A small file's text; empty where it can't be read."""
    try:
        return path.read_text("utf-8") if path.stat().st_size <= MAX_MANIFEST_BYTES else ""
    except (OSError, ValueError):
        return ""


def _setting(path: Path, key: str) -> Path | None:
    """The folder that a program's settings name."""
    try:
        found = json.loads(_text(path) or "{}")[key]
        return Path(found) if isinstance(found, str) and found else None
    except (ValueError, KeyError, TypeError):
        return None


def _caches() -> Path:
    return _folder("XDG_CACHE_HOME", Path.home() / ".cache")


def _data() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return _folder("XDG_DATA_HOME", Path.home() / ".local" / "share")


def _folder(variable: str, usual: Path) -> Path:
    named = os.environ.get(variable)
    return Path(named).expanduser() if named else usual
