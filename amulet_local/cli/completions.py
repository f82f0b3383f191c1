"""What a shell may offer for the value of an option. Called by typer when Tab is pressed.

Knows names only, and says nothing where one can't be had: a broken settings file must not break a
command line that is being typed.
"""

from __future__ import annotations

from amulet_local.common.errors import AmuletError


def preferences(incomplete: str) -> list[str]:
    """Names of preferences and mixes, the user's own ones too."""
    from amulet_local.preferences.names import BUILT_IN_PREFERENCES

    names = list(BUILT_IN_PREFERENCES)
    try:
        from amulet_local.preferences.user_settings import read_settings

        names += read_settings().names
    except AmuletError:
        pass
    return _beginning(incomplete, names)


def presets(incomplete: str) -> list[str]:
    """Names of presets."""
    from amulet_local.steering.presets import PRESETS

    return _beginning(incomplete, list(PRESETS))


def methods(incomplete: str) -> list[str]:
    """Names of decoding methods."""
    from amulet_local.steering.methods import METHODS

    return _beginning(incomplete, list(METHODS))


def models(incomplete: str) -> list[str]:
    """Names of the catalogue, of files in the model folders and of other programs' models."""
    from amulet_local.loading.model_store import catalogue, local_models
    from amulet_local.loading.other_programs import found_models

    try:
        named = (name for name, entry in catalogue().items() if entry.package or entry.path())
        files = (path.stem for path in local_models())
        others = (model.name for model in found_models())
        return _beginning(incomplete, list(dict.fromkeys([*named, *files, *others])))
    except AmuletError:
        return []


def models_to_pull(incomplete: str) -> list[str]:
    """Names of the catalogue that stand for files on the hub."""
    from amulet_local.loading.model_store import catalogue

    return _beginning(incomplete, [name for name, one in catalogue().items() if one.repository])


def chats(incomplete: str) -> list[str]:
    """Names of chats that are kept."""
    from amulet_local.cli.kept_chats import saved_chats

    return _beginning(incomplete, [path.stem for path in saved_chats()])


def profiles(incomplete: str) -> list[str]:
    """Names of profiles."""
    from amulet_local.profile.profile import listed

    return _beginning(incomplete, listed())


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
