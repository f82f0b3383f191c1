"""Where llama.cpp's own vocabularies and chat templates are found: llama-cpp-python's sdist.

The folder named by AMULET_LLAMA_CPP_SOURCE (the unpacked sdist), or else a download of the sdist
of the installed version into a cache folder, once. Not committed: 76 MB.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import urllib.request
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Read on import: the tests' environment is cleared of AMULET_ variables later.
_SOURCE = os.environ.get("AMULET_LLAMA_CPP_SOURCE")
_MODELS = Path("vendor", "llama.cpp", "models")


class SourceMissingError(Exception):
    """The sdist is not there and can't be fetched."""


@cache
def models_folder() -> Path:
    """The folder with `ggml-vocab-*.gguf` and `templates/`."""
    if _SOURCE:
        folder = Path(_SOURCE) / _MODELS
        if not folder.is_dir():
            raise SourceMissingError(f"AMULET_LLAMA_CPP_SOURCE has no {_MODELS}")
        return folder
    name = f"llama_cpp_python-{version('llama-cpp-python')}"
    base = _cache_folder()
    if not (base / name / _MODELS).is_dir():
        try:
            _download(name, base)
        except (OSError, LookupError, tarfile.TarError) as error:
            raise SourceMissingError(f"no sdist of llama-cpp-python: {error}") from error
    return base / name / _MODELS


def _cache_folder() -> Path:
    default = (
        Path.home() / "Library" / "Caches" if sys.platform == "darwin" else Path.home() / ".cache"
    )
    if sys.platform == "win32":
        default = Path(os.environ.get("LOCALAPPDATA", str(Path.home())))
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "amulet-local-tests"


def _download(name: str, base: Path) -> None:
    # `pip download` of an sdist builds its metadata first (CMake); the index's JSON names the file.
    project_url = f"https://pypi.org/pypi/llama-cpp-python/{version('llama-cpp-python')}/json"
    with urllib.request.urlopen(project_url, timeout=30) as response:
        files = json.load(response)["urls"]
    url = next((f["url"] for f in files if f["packagetype"] == "sdist"), None)
    if url is None:
        raise LookupError("the index lists none")
    base.mkdir(parents=True, exist_ok=True)
    partial = base / f"{name}.{os.getpid()}.partial"
    unpacked = base / f"{name}.{os.getpid()}.unpacked"
    try:
        with urllib.request.urlopen(url, timeout=60) as response, partial.open("wb") as file:
            shutil.copyfileobj(response, file)
        with tarfile.open(partial) as archive:
            wanted = [m for m in archive if m.isfile() and _MODELS.as_posix() in m.name]
            for member in wanted:
                target = unpacked / Path(*Path(member.name).parts[1:])
                if ".." in target.parts:
                    raise tarfile.TarError(f"a path leaves its folder: {member.name}")
                content = archive.extractfile(member)
                if content is None:
                    raise tarfile.TarError(f"{member.name} has no content")
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)
        if not (base / name).exists():
            unpacked.rename(base / name)
    finally:
        partial.unlink(missing_ok=True)
        shutil.rmtree(unpacked, ignore_errors=True)
