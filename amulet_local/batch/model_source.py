"""A model's files, known by their SHA-256 digests, and how a machine gets them.

A file that a machine has under the model's name is used if it is the same one; else what the hub
has, or what is handed over in parts. Knows nothing about clusters or about what is in a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amulet_local.common.disk_space import check_space
from amulet_local.common.errors import FileAccessError, ModelFileError, ModelNotFoundError
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.llama.gguf import read_header
from amulet_local.llama.split_files import other_parts
from amulet_local.loading.hub import HubFile, HubModel, download, find_on_hub
from amulet_local.loading.model_store import digest_of, find_model, verify_checksum

PART_BYTES = 64 * 2**20
"""A file is handed over in parts of this size."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of a model.

    Attributes:
        name: without folders.
        size_bytes, sha256: of it.
    """

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model's files, in order, and where they may come from.

    Attributes:
        name: what the user calls it: a path, or a name.
        files: the first is the one that is opened.
        folder: where they are on the machine of the job; None if they aren't there.
        on_hub: where the hub has them.
    """

    name: str
    files: tuple[SourceFile, ...]
    folder: Path | None
    on_hub: HubModel | None

    @property
    def path(self) -> Path:
        """The first file, where it is on the machine of the job, or its name alone."""
        return (self.folder or Path()) / self.files[0].name

    @property
    def identity(self) -> str:
        """What tells it from another model, on every machine."""
        return " ".join(file.sha256 for file in self.files)


def source_of(name: str) -> ModelSource:
    """What a name stands for: files of this machine, or else of the hub, which aren't fetched here.

    Raises:
        ModelNotFoundError: neither has it.
        ModelFileError, FileAccessError, MissingExtraError: it can't be used or looked up.
    """
    try:
        path = find_model(name)
    except ModelNotFoundError:
        if "/" not in name or os.path.isabs(name):
            raise
        model = find_on_hub(name)
        return ModelSource(
            name=name, files=tuple(map(_of_hub, model.files)), folder=None, on_hub=model
        )
    paths = [path, *other_parts(path, read_header(path))]
    files = tuple(
        SourceFile(name=path.name, size_bytes=path.stat().st_size, sha256=digest_of(path))
        for path in paths
    )
    return ModelSource(name=name, files=files, folder=path.absolute().parent, on_hub=None)


def path_here(source: ModelSource) -> Path | None:
    """The first file on this machine; None if they have to be brought here.

    Raises:
        As `find_on_hub` and `download`, of a model of the hub.
    """
    candidates = [_folder_of(source) / source.files[0].name]
    with suppress(ModelNotFoundError):
        candidates.insert(0, find_model(source.name))
    for path in candidates:
        if _are_the_same(source, path):
            return path
    if source.on_hub is None:
        return None
    return download(source.on_hub, shows_progress=False, checking=lambda _: None)


def parts_of(source: ModelSource) -> Iterator[bytes]:
    """The files, one after the other, in parts of at most PART_BYTES.

    Raises:
        FileAccessError: they can't be read.
    """
    assert source.folder is not None
    for file in source.files:
        try:
            with (source.folder / file.name).open("rb") as opened:
                while part := opened.read(PART_BYTES):
                    yield part
        except OSError as error:
            raise FileAccessError(f"can't read {file.name}: {error.strerror}") from None


def take_over(source: ModelSource, n_parts: int, part: Callable[[int], bytes]) -> Path:
    """Write the files out of their parts into the cache folder; returns the path of the first.

    Args:
        part: gives one of `parts_of`, by its number.

    Raises:
        FileAccessError: there is no room, or no folder that is the user's alone.
        ModelFileError: what came isn't what was promised.
    """
    folder = private_folder(_folder_of(source))
    if folder is None:
        raise FileAccessError(f"can't keep the model in {_folder_of(source)}")
    check_space(folder / "x", sum(file.size_bytes for file in source.files))
    numbers = iter(range(n_parts))
    for file in source.files:
        partial = folder / f"{file.name}.{os.getpid()}"
        try:
            with partial.open("wb") as opened:
                while opened.tell() < file.size_bytes:
                    opened.write(part(next(numbers)))
            verify_checksum(partial, file.sha256)
            partial.replace(folder / file.name)
        except OSError as error:
            raise FileAccessError(f"can't write {partial}: {error.strerror}") from None
        finally:
            partial.unlink(missing_ok=True)
    return folder / source.files[0].name


def _folder_of(source: ModelSource) -> Path:
    return cache_folder() / "models" / source.files[0].sha256[:16]


def _are_the_same(source: ModelSource, first: Path) -> bool:
    """Whether the files beside this one, and it, are the model's."""
    paths = [first, *(first.with_name(file.name) for file in source.files[1:])]
    return all(
        path.is_file() and path.stat().st_size == file.size_bytes and digest_of(path) == file.sha256
        for path, file in zip(paths, source.files, strict=True)
    )


def _of_hub(file: HubFile) -> SourceFile:
    if file.sha256 is None:
        raise ModelFileError(f"the hub says no SHA-256 digest of {file.name}; pull it yourself")
    return SourceFile(
        name=file.name.rpartition("/")[2], size_bytes=file.size_bytes, sha256=file.sha256
    )
