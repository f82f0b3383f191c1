"""Changes the user's settings file: preferences, mixes, and the strength kept for a model.

Comments and order stay. A file is written whole or not at all, for its owner only; one that is
broken stays as it is. What will be written is read again first, and has to say what the file said
before and the one change. Two programs that change the file at once wait for each other, and an
editor's change meanwhile is kept. Knows nothing about what preferences are for.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from amulet_local.common import private_files
from amulet_local.common.errors import (
    FileAccessError,
    InvalidParameterError,
    SettingsError,
    UnknownPreferenceError,
)
from amulet_local.common.folder_lock import locked
from amulet_local.preferences.names import (
    BUILT_IN_PREFERENCES,
    did_you_mean,
    name_problem,
    weighted,
)
from amulet_local.preferences.user_settings import (
    MAX_FILE_BYTES,
    MODEL_KEYS,
    UserModelSettings,
    UserSettings,
    parse_settings,
    read_bytes,
    settings_path,
    text_problem,
)

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

Value = TypeVar("Value")

LOCK_SECONDS = 10.0
"""How long another program that changes the file is waited for."""

_ATTEMPTS = 5
_OTHER_FOLDER = "AMULET_CONFIG names another folder"
_BY_HAND = "the settings file is written in a way that can't be changed here; edit it by hand"


class _ChangedMeanwhileError(Exception):
    """The file isn't any more what was read."""


def set_preference(name: str, text: str, *, prompt: str = "", force: bool = False) -> Path:
    """Give a text a name; returns the file.

    Args:
        name: Latin letters, digits, '-' and '_'; upper and lower case are the same.
        text: taken as it stands, whatever it ends in.
        prompt: its template, if it has one of its own.
        force: replace a preference or mix of that name.

    Raises:
        InvalidParameterError: not a name, one that is taken, or not a text.
        FileAccessError, SettingsError: the file can't be used or written; it is as it was.
    """
    _check_name(name)
    text, prompt = text.replace("\r\n", "\n"), prompt.replace("\r\n", "\n")
    for part in (text, prompt) if prompt else (text,):
        _check_text(name, part)

    def edit(settings: UserSettings) -> UserSettings:
        own = _name_to_use(settings, name, force=force)
        return replace(
            settings,
            preferences={**settings.preferences, own: text},
            prompts=_without(settings.prompts, own) | ({own: prompt} if prompt else {}),
            mixes=_without(settings.mixes, own),
        )

    return _change(edit)


def set_mix(name: str, members: Sequence[str], *, force: bool = False) -> Path:
    """Give a mix a name; returns the file.

    Args:
        name: as for `set_preference`.
        members: names or texts, each with a weight at its end if it isn't 1.
        force: replace a preference or mix of that name.

    Raises:
        As `set_preference`; also for a member that doesn't exist.
    """
    _check_name(name)
    for member in members:
        _check_text(name, member)

    def edit(settings: UserSettings) -> UserSettings:
        own = _name_to_use(settings, name, force=force)
        return replace(
            settings,
            preferences=_without(settings.preferences, own),
            prompts=_without(settings.prompts, own),
            mixes={**settings.mixes, own: tuple(members)},
        )

    return _change(edit)


def merge(other: UserSettings, *, force: bool = False) -> Path:
    """Take over all preferences and mixes of another file; returns the user's own.

    What is there already with the same content stays as it is.

    Args:
        other: what the other file says.
        force: replace preferences and mixes of these names.

    Raises:
        InvalidParameterError: a name is taken, the other file has nothing to take over, or it has
            settings of models, which aren't taken over.
        FileAccessError, SettingsError: the user's file can't be used or written; it is as it was.
    """
    if other.models:
        raise InvalidParameterError(
            "the file has settings of models, and only preferences and mixes are taken over; "
            "remove [models] from it"
        )
    if not other.names:
        raise InvalidParameterError("the file has no preferences and no mixes")

    def edit(settings: UserSettings) -> UserSettings:
        preferences, mixes = dict(settings.preferences), dict(settings.mixes)
        prompts = dict(settings.prompts)
        for table, added in ((preferences, other.preferences), (mixes, other.mixes)):
            for name, value in added.items():
                own = settings.own_name(name)
                prompt = other.prompts.get(name)
                if own is not None and (table.get(own), prompts.get(own)) == (value, prompt):
                    continue
                own = _name_to_use(settings, name, force=force)
                for old in (preferences, mixes, prompts):
                    old.pop(own, None)
                table[own] = value  # type: ignore[assignment]
                if prompt is not None:
                    prompts[own] = prompt
        return replace(settings, preferences=preferences, prompts=prompts, mixes=mixes)

    return _change(edit)


def remove(name: str) -> Path:
    """Remove a preference or mix; returns the file.

    Raises:
        UnknownPreferenceError: the file has none of that name.
        InvalidParameterError: it is built in, or a part of a mix.
        FileAccessError, SettingsError: the file can't be used or written; it is as it was.
    """
    if name.lower() in BUILT_IN_PREFERENCES:
        raise InvalidParameterError(f"{name!r} is built in and can't be removed")

    def edit(settings: UserSettings) -> UserSettings:
        own = settings.own_name(name)
        if own is None:
            hint = did_you_mean(name, settings.names).rstrip()
            raise UnknownPreferenceError(
                f"no preference of yours is called {name!r:.80}{'; ' if hint else ''}{hint}"
            )
        for mix, members in settings.mixes.items():
            if own.lower() in (weighted(member).text.lower() for member in members):
                raise InvalidParameterError(
                    f"{own!r} is a part of the mix {mix!r}: change or remove that first"
                )
        return replace(
            settings,
            preferences=_without(settings.preferences, own),
            prompts=_without(settings.prompts, own),
            mixes=_without(settings.mixes, own),
        )

    return _change(edit)


def set_model_strength(names: Sequence[str], strength: UserModelSettings) -> Path:
    """Keep a strength for a model, in the place of the one it had; returns the file.

    Args:
        names: what the model can be called, see model_store.names_of; the entry that counts for it
            is changed, and a new one gets the first of them that is no path, without '.gguf'.
        strength: with neither scale nor budget the model's entry is emptied.

    Raises:
        FileAccessError, SettingsError: the file can't be used or written; it is as it was.
    """

    return _change(_model_edit(names, strength))


def check_model_strength(names: Sequence[str]) -> None:
    """Whether a strength for this model could be kept, before minutes are spent on finding it.

    Raises:
        FileAccessError, SettingsError: the file can't be used or written.
    """
    path = settings_path()
    folder = Path(os.path.realpath(path)).parent
    while not folder.exists():
        folder = folder.parent
    try:
        private_files.try_folder(folder)
    except OSError as error:
        raise FileAccessError(
            f"the settings file {path} can't be written: nothing can be made in {folder}: "
            f"{error.strerror}; {_OTHER_FOLDER}"
        ) from None
    _edited(read_bytes(path) or b"", _model_edit(names, UserModelSettings(guidance_scale=1.5)))


def _model_edit(
    names: Sequence[str], strength: UserModelSettings
) -> Callable[[UserSettings], UserSettings]:
    """The edit that keeps a strength."""

    def edit(settings: UserSettings) -> UserSettings:
        own = settings.own_model(names)
        if own is None:
            if not strength.strength:
                return settings
            name = next(name for name in names if os.path.basename(name) == name)
            own = re.sub(r"(?i)\.gguf$", "", name)
        return replace(settings, models={**settings.models, own: strength})

    return edit


def _check_name(name: str) -> None:
    problem = name_problem(name)
    if problem is not None:
        raise InvalidParameterError(f"a preference can't be called {name!r:.80}: {problem}")


def _check_text(name: str, text: str) -> None:
    problem = text_problem(text)
    if problem is not None:
        raise InvalidParameterError(f"the preference {name!r} can't be kept: {problem}")


def _name_to_use(settings: UserSettings, name: str, *, force: bool) -> str:
    """The name as the file spells it, if it may be used."""
    own = settings.own_name(name)
    if own is None:
        return name
    if not force:
        kind = "mix" if own in settings.mixes else "preference"
        raise InvalidParameterError(f"there is a {kind} {own!r} already; --force replaces it")
    return own


def _without(entries: Mapping[str, Value], name: str) -> dict[str, Value]:
    return {key: value for key, value in entries.items() if key != name}


def _change(edit: Callable[[UserSettings], UserSettings]) -> Path:
    """Apply an edit to the file; returns its path."""
    path = settings_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = private_files.place(path)  # a link stays one
        with locked(target.parent, LOCK_SECONDS):
            for _ in range(_ATTEMPTS):
                before = read_bytes(target)
                after = _edited(before or b"", edit)

                def check(before: bytes | None = before) -> None:
                    if read_bytes(target) != before:
                        raise _ChangedMeanwhileError

                with contextlib.suppress(_ChangedMeanwhileError):
                    private_files.replace(target, [after], last=check)
                    return path
    except OSError as error:
        raise FileAccessError(
            f"the settings file {path} can't be written: {error.strerror}; {_OTHER_FOLDER}"
        ) from None
    raise FileAccessError(f"another program keeps changing the settings file {path}; try again")


def _edited(data: bytes, edit: Callable[[UserSettings], UserSettings]) -> bytes:
    """The file's new content, which says what it has to."""
    settings = parse_settings(data)
    wanted = edit(settings)
    try:
        after = _with_changes(data.decode("utf-8-sig"), settings, wanted).encode()
    except Exception:  # tomlkit's own errors, and what an odd file may bring to light in it
        raise FileAccessError(_BY_HAND) from None
    if len(after) > MAX_FILE_BYTES:
        raise InvalidParameterError(
            f"the settings file would have more than {MAX_FILE_BYTES // 1024} KiB; remove something"
        )
    try:
        result = parse_settings(after)
    except SettingsError as error:
        reason = str(error).split(": ", 1)[1]
        raise InvalidParameterError(f"that can't be kept: {reason}") from None
    if result != wanted:
        raise FileAccessError(_BY_HAND)
    return after


def _with_changes(text: str, settings: UserSettings, wanted: UserSettings) -> str:
    """The file's text with what is different in `wanted`."""
    import tomlkit  # 30 ms that reading doesn't need

    document = tomlkit.parse(text)
    for table in ("preferences", "mixes"):
        old, new = _written(settings, table), _written(wanted, table)
        for name in old:
            if name not in new:
                del document[table][name]
        for name, value in new.items():
            if old.get(name) == value:
                continue
            if table not in document:
                if document.as_string().strip():
                    document.add(tomlkit.nl())
                document.add(table, tomlkit.table())
            if name in document[table] and isinstance(old.get(name), dict):
                del document[table][name]
            document[table][name] = _toml_value(value)
    for name, model in wanted.models.items():
        if settings.models.get(name) != model:
            _change_model(document, name, model)
    return document.as_string()


def _written(settings: UserSettings, table: str) -> dict[str, Any]:
    """What a table of preferences or mixes says, as the file has it."""
    if table == "mixes":
        return {name: list(members) for name, members in settings.mixes.items()}
    return {
        name: {"text": text, "prompt": settings.prompts[name]} if name in settings.prompts else text
        for name, text in settings.preferences.items()
    }


def _toml_value(value: Any) -> Any:
    import tomlkit

    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    if isinstance(value, str) and "\n" in value and value[0] != "\n":  # TOML drops one there
        return tomlkit.string(value, multiline=True)
    return value


def _change_model(document: TOMLDocument, name: str, model: UserModelSettings) -> None:
    """Write the strength of one model; what surrounds it stays, and an empty table may."""
    import tomlkit

    if "models" not in document:
        if document.as_string().strip():
            document.add(tomlkit.nl())
        document.add("models", tomlkit.table(is_super_table=True))
    models: Any = document["models"]
    if name not in models:
        if models and isinstance(models, tomlkit.items.Table):  # all of them stand together
            models.add(tomlkit.nl())
        models[name] = tomlkit.table()
    values = model.as_written
    for key in MODEL_KEYS:
        if key in values:
            models[name][key] = values[key]
        elif key in models[name]:
            del models[name][key]
