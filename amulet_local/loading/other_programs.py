"""Finds the GGUF files that llama.cpp, Ollama, LM Studio and Hugging Face have downloaded.

Knows where they keep them, and nothing about what is in a file. Ollama's files have no names of
their own: a manifest says which blob a model's name stands for.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_MANIFEST_BYTES = 1 << 20

_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_OLLAMA_WEIGHTS = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


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
    found: dict[Path, FoundModel] = {}
    for model in (*_of_llama_cpp(), *_of_ollama(), *_of_lm_studio(), *_of_hugging_face()):
        found.setdefault(model.path.resolve(), model)
    return list(found.values())


def _of_llama_cpp() -> Iterator[FoundModel]:
    home = Path.home()
    mac = home / "Library" / "Caches"
    caches = mac if sys.platform == "darwin" else _folder("XDG_CACHE_HOME", home / ".cache")
    folder = _folder("LLAMA_CACHE", caches / "llama.cpp")
    yield from _files("llama.cpp", folder, "*.gguf")


def _of_lm_studio() -> Iterator[FoundModel]:
    for folder in (".lmstudio/models", ".cache/lm-studio/models"):
        yield from _files("LM Studio", Path.home() / folder, "*/*/*.gguf")


def hugging_face_folder() -> Path:
    """Where Hugging Face's own programs keep what they have downloaded."""
    home = _folder("HF_HOME", Path.home() / ".cache" / "huggingface")
    return _folder("HF_HUB_CACHE", home / "hub")


def _of_hugging_face() -> Iterator[FoundModel]:
    folder = hugging_face_folder()
    for pattern in ("*.gguf", "*/*.gguf"):
        yield from _files("Hugging Face", folder, f"models--*/snapshots/*/{pattern}")


def _of_ollama() -> Iterator[FoundModel]:
    own = _folder("OLLAMA_MODELS", Path.home() / ".ollama" / "models")
    for folder in dict.fromkeys((own, Path("/usr/share/ollama/.ollama/models"))):
        for manifest in _matches(folder / "manifests", "*/*/*/*"):
            blob = _blob(folder, manifest)
            if blob is not None:
                name = f"{manifest.parent.name}:{manifest.name}"
                owner = manifest.parent.parent.name
                yield FoundModel(
                    name=name if owner == "library" else f"{owner}/{name}",
                    path=blob,
                    program="Ollama",
                )


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
        return blob if blob.is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(program: str, folder: Path, pattern: str) -> Iterator[FoundModel]:
    for path in _matches(folder, pattern):
        if not (_LATER_PART.search(path.name) or path.name.lower().startswith("mmproj")):
            yield FoundModel(name=path.stem, path=path, program=program)


def _matches(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except OSError:
        return []


def _folder(variable: str, usual: Path) -> Path:
    named = os.environ.get(variable)
    return Path(named).expanduser() if named else usual
