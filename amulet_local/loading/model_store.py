"""Finds the GGUF file that a name stands for.

Knows nothing about what is in the file. A model is, in this order: a path; a file in a folder that
AMULET_MODELS names, in ./models, in the checkout's models/ or in ~/models, two folders below at
most; an entry of the catalogue; what another program has downloaded, under its name there.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from amulet_local.common.errors import (
    FileAccessError,
    InvalidParameterError,
    ModelFileError,
    ModelNotFoundError,
)
from amulet_local.loading.other_programs import cached_file, found_models, weights_in

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?[a-z]*")
_REPOSITORY = re.compile(
    r"(?:(?:https?://)?(?:hf\.co|huggingface\.co)/)?(\w[\w.-]*/\w[\w.-]*(?::[\w.-]+)?)", re.ASCII
)
"""What the Hugging Face hub calls a model, and what other programs do."""
_FILE_ON_HUB = re.compile(
    r"(?:https?://)?(?:hf\.co|huggingface\.co)/(\w[\w.-]*/\w[\w.-]*)/\S+", re.ASCII
)

_MOST_NAMED = 8

DEFAULT_MODEL = "smollm2"
"""The embedded default."""


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A model that can be named.

    Attributes:
        name: its name.
        package: the Python package that carries it; empty if it is on the hub.
        repository: that it is in on the Hugging Face hub; empty if a package carries it.
        file: its path in there.
        install: the command that brings it here.
        sha256, size_bytes: of the file.
        licence, description: for the reader.
    """

    name: str
    file: str
    install: str
    package: str = ""
    repository: str = ""
    sha256: str
    size_bytes: int
    licence: str
    description: str

    def path(self) -> Path | None:
        """Where the file is, None if it isn't here."""
        if self.repository:
            return cached_file(self.repository, self.file, self.sha256)
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / self.file
            if path.is_file():
                return path
        return None


def catalogue() -> dict[str, CatalogueEntry]:
    """The catalogue by name."""
    return dict(_catalogue())


@cache
def _catalogue() -> dict[str, CatalogueEntry]:
    here = Path(__file__).parent
    for path in (here / "catalogue.toml", here.parents[1] / "models" / "catalogue.toml"):
        if path.is_file():
            entries = tomllib.loads(path.read_text(encoding="utf-8"))
            return {name: _entry(name, entry) for name, entry in entries.items()}
    raise FileAccessError("the model catalogue is missing; install the package again")


def in_catalogue(text: str) -> CatalogueEntry | None:
    """The catalogue's model of a name, also as others spell it: `qwen2.5:0.5b`, `Llama3.2-1B`."""
    entries = catalogue()
    words = _words(text)
    return entries.get(text.strip().lower()) or next(
        (entry for name, entry in entries.items() if _words(name) == words), None
    )


def _words(name: str) -> list[str]:
    return _WORD.findall(name.lower())


def _entry(name: str, told: dict[str, Any]) -> CatalogueEntry:
    own = {"name": name, "install": f"amulet-local pull {name}"}
    return CatalogueEntry(**{**own, **{key: told[key] for key in told if key != "source"}})


def model_folders() -> list[Path]:
    """Folders that are searched for GGUF files, in order, existing ones only."""
    parts = os.environ.get("AMULET_MODELS", "").split(os.pathsep)
    named = [Path(os.path.expanduser(part)) for part in parts if part]
    checkout = Path(__file__).parents[2] / "models"
    folders = [*named, Path("models")]
    if (checkout / "catalogue.toml").is_file():
        folders.append(checkout)
    folders.append(Path("~/models").expanduser())
    return [
        folder for folder in dict.fromkeys(map(Path.absolute, folders)) if os.path.isdir(folder)
    ]


def own_folder() -> Path:
    """Where a model of the user's goes: the first folder that is searched; ~/models is made.

    Raises:
        FileAccessError: it can't be.
    """
    folders = model_folders()
    if folders:
        return folders[0]
    home = Path("~/models").expanduser()
    try:
        home.mkdir(parents=True)
    except OSError as error:
        raise FileAccessError(f"can't make {home}: {error.strerror}; -o says where else") from None
    return home


def local_models() -> Iterator[Path]:
    """GGUF files in the model folders."""
    for folder in model_folders():
        yield from weights_in(folder, "*", "*/*", "*/*/*")


def find_model(name: str | os.PathLike[str]) -> Path:
    """The file that `name` stands for; it may not be a sound one.

    Raises:
        InvalidParameterError: neither a text nor a path.
        ModelNotFoundError: nothing of that name; the message lists what there is.
    """
    if not isinstance(name, str | os.PathLike) or not isinstance(os.fspath(name), str):
        raise InvalidParameterError(
            f"a model is a path or a name, got {type(name).__name__}; see `amulet-local models`"
        )
    if not os.fspath(name):
        raise ModelNotFoundError("the model's name is empty; see `amulet-local models`")
    text = os.fspath(name)
    if not text or "\0" in text:
        raise ModelNotFoundError("a model needs a name or a path")
    try:
        return _find(text)
    except (OSError, RuntimeError) as error:  # a name too long, an unknown user after '~'
        raise ModelNotFoundError(f"no such model: {error}") from None


def _find(text: str) -> Path:
    text = _as_meant(text)
    path = Path(text).expanduser()
    is_bare_name = path.name == text
    if os.path.lexists(path) and not (is_bare_name and path.is_dir()):
        return _in_folder(path) if path.is_dir() else path
    if not is_bare_name:
        longer = path.with_name(f"{path.name}.gguf")
        if os.path.isfile(longer):
            return longer
        wanted = text.lower()
        for model in found_models():
            if model.name.lower() in (wanted, f"{wanted}:latest"):
                return model.path
        on_hub = _REPOSITORY.fullmatch(text) or _FILE_ON_HUB.fullmatch(text)
        is_address = "://" in text
        if on_hub:
            hint = f"to download it: amulet-local pull {on_hub[1]}"
        elif is_address:
            hint = "a model is a file on this machine: download it and give its path"
        else:
            beside = [file.name for file in weights_in(path.parent, "*")]
            meant = did_you_mean(path.name, beside)
            hint = f"{meant}`amulet-local models` lists those on this machine"
        shown = text if on_hub or is_address else path
        raise ModelNotFoundError(f"no such file: {shown}; {hint}")
    wanted = text.lower().removesuffix(".gguf")
    found = {p.stem.lower(): p for p in reversed(list(local_models()))}
    if wanted in found:
        return found[wanted]
    entry = catalogue().get(wanted)
    if entry is None and path.is_dir():
        return _in_folder(path)
    if entry is None:
        others = {model.name.lower(): model for model in reversed(found_models())}
        for called in (wanted, f"{wanted}:latest"):
            if called in others:
                return others[called].path
        entry = in_catalogue(wanted)
    if entry is None:
        names = (model.name for model in others.values())
        known = sorted({*catalogue(), *(p.stem for p in found.values()), *names})
        raise ModelNotFoundError(
            f"no model {text!r}: {did_you_mean(text, known)}give the path of a GGUF file, or put "
            f"it in ./models, ~/models or a folder that AMULET_MODELS names; known names: "
            f"{', '.join(known)}"
        )
    located = entry.path()
    if located is None:
        raise ModelNotFoundError(
            f"the model {entry.name!r} isn't installed; run: {entry.install}; or name another one: "
            f"`amulet-local models` lists what is on this machine"
        )
    return located


def _as_meant(text: str) -> str:
    """A name without what was left around it: blanks, quotes of a settings file, the "=" of
    `-m=FILE`, the beginning of a `file://` address; as it is where a file is called so."""
    if os.path.lexists(Path(text).expanduser()):
        return text
    meant = text.strip().removeprefix("=")
    if meant[:1] in ("'", '"') and meant[:1] == meant[-1:]:
        meant = meant[1:-1]
    if meant.startswith("file://"):
        meant = unquote(meant.removeprefix("file://").removeprefix("localhost"))
    return meant or text


def _in_folder(folder: Path) -> Path:
    """The one model that a folder holds; the folder itself where there is none.

    Raises:
        ModelNotFoundError: there are several; the message names them.
    """
    files = sorted(weights_in(folder, "*"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:_MOST_NAMED])
        others = f" and {len(files) - _MOST_NAMED} others" if len(files) > _MOST_NAMED else ""
        raise ModelNotFoundError(
            f"{folder} is a folder with several models: give the path of one: {names}{others}"
        )
    return files[0] if files else folder


def did_you_mean(text: str, known: list[str]) -> str:
    """A question after the name that is most like a text, or begins with it."""
    by_lower = {name.lower(): name for name in known}
    longer = [name for name in by_lower if text.lower() in name]
    close = longer or difflib.get_close_matches(text.lower()[:200], by_lower, n=1)
    return f"did you mean {by_lower[close[0]]!r}? " if close else ""


def names_of(model: str | os.PathLike[str], path: Path) -> tuple[str, ...]:
    """What a model can be called in the user's settings, the most telling first.

    Args:
        model: what the caller asked for.
        path: the file that `find_model` found for it.
    """
    listed = [entry.name for entry in catalogue().values() if Path(entry.file).name == path.name]
    return (str(model), *listed, path.name)


def digest_of(path: Path) -> str:
    """A file's SHA-256 digest in hexadecimal.

    Raises:
        FileAccessError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            if sys.version_info >= (3, 11):
                return hashlib.file_digest(file, "sha256").hexdigest()
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise FileAccessError(f"can't read {path}: {error.strerror}") from None


def verify_checksum(path: Path, sha256: str) -> None:
    """Compare a file with its SHA-256 digest in hexadecimal.

    Raises:
        ModelFileError: they differ.
        FileAccessError: the file can't be read.
    """
    actual = digest_of(path)
    if actual != sha256.lower():
        raise ModelFileError(
            f"{path.name} has the SHA-256 digest {actual}, expected {sha256}: it is damaged or "
            f"another file; install or download it again"
        )
