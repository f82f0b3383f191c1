"""Where parts of llama.cpp's source are found: llama-cpp-python's sdist.

The folder named by AMULET_LLAMA_CPP_SOURCE (the unpacked sdist), or else a download of the sdist
of the installed version into a cache folder, once for each part. Not committed: 76 MB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Read on import: the tests' environment is cleared of AMULET_ variables later.
_SOURCE = os.environ.get("AMULET_LLAMA_CPP_SOURCE")
_ROOT = Path("vendor", "llama.cpp")


class SourceMissingError(Exception):
    """The sdist is not there and can't be fetched."""


def models_folder() -> Path:
    """The folder with `ggml-vocab-*.gguf` and `templates/`."""
    return _folder(_ROOT / "models")


def server_tests_folder() -> Path:
    """The folder with llama-server's own tests."""
    return _folder(_ROOT / "tools" / "server" / "tests")


@cache
def _folder(part: Path) -> Path:
    if _SOURCE:
        folder = Path(_SOURCE) / part
        if not folder.is_dir():
            raise SourceMissingError(f"AMULET_LLAMA_CPP_SOURCE has no {part}")
        return folder
    name = f"llama_cpp_python-{version('llama-cpp-python')}"
    base = _cache_folder()
    if not (base / name / part).is_dir():
        try:
            _download(name, base, part)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            raise SourceMissingError(f"no sdist of llama-cpp-python: {error}") from error
    return base / name / part


def _cache_folder() -> Path:
    default = (
        Path.home() / "Library" / "Caches" if sys.platform == "darwin" else Path.home() / ".cache"
    )
    if sys.platform == "win32":
        default = Path(os.environ.get("LOCALAPPDATA", str(Path.home())))
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "amulet-local-tests"


def _download(name: str, base: Path, part: Path) -> None:
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as folder:
        requirement = f"llama-cpp-python=={version('llama-cpp-python')}"
        options = ["--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", folder]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, requirement],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=600,
        )
        unpacked = Path(folder) / "unpacked"
        with tarfile.open(Path(folder) / f"{name}.tar.gz") as archive:
            for member in archive:
                if member.isfile() and f"/{part.as_posix()}/" in member.name:
                    _unpack(archive, member, unpacked)
        target = base / name / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            (unpacked / part).rename(target)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / Path(*Path(member.name).parts[1:])
    content = archive.extractfile(member)
    if content is None or ".." in target.parts:
        raise tarfile.TarError(f"an unusable member: {member.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
