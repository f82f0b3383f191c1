"""What the loaded model is called in requests, with preferences in the name if need be.

`smollm2+creative` is the model smollm2 with the preference `creative`, for clients that can't send
fields; `smollm2+formal:0.7+concise` has two. Nothing in a name is ever a path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amulet_local.common.errors import AmuletError
from amulet_local.preferences.names import BUILT_IN_PREFERENCES, weighted
from amulet_local.preferences.preference import resolve
from amulet_local.preferences.user_settings import UserSettings, read_settings
from amulet_local.server.failures import HttpError

MAX_NAME_LENGTH = 300


@dataclass(frozen=True)
class ModelName:
    """A model's name taken apart.

    Attributes:
        name: as the response says it.
        preferences: from the name; empty if it has none.
    """

    name: str
    preferences: tuple[str, ...] = ()


class ModelNames:
    """The names of one loaded model.

    Attributes:
        main: the name that is listed.
        aliases: names that the user gave it.
    """

    def __init__(
        self, names: Sequence[str], *, aliases: Sequence[str] = (), is_strict: bool = False
    ) -> None:
        """Take note.

        Args:
            names: what it can be called; of a path only the file's name counts.
            aliases: further ones; the first is the one that is listed.
            is_strict: whether a name that isn't one of these is an error.
        """
        self._is_strict = is_strict
        self.aliases = tuple(aliases)
        files = [_sayable(name.replace("\\", "/").rsplit("/", 1)[-1]) for name in names]
        stems = [Path(file).stem if file.lower().endswith(".gguf") else file for file in files]
        self.main = next(iter(aliases), stems[0])
        self._known = {name.lower() for name in (*aliases, *files, *stems)}

    def listed(self) -> list[str]:
        """The model, and with each single preference."""
        own = own_settings()
        return [self.main] + [f"{self.main}+{name}" for name in (*BUILT_IN_PREFERENCES, *own.names)]

    def knows(self, asked: object) -> bool:
        """Whether it is one of these names, with something after a + or not."""
        return isinstance(asked, str) and asked.lower().split("+")[0] in self._known

    def find(self, asked: object) -> ModelName:
        """The model that a request asks for: the loaded one, whatever a client calls it.

        Programs have names of their own in their settings. A preference in the name counts.

        Raises:
            HttpError: 404, the name has something else after the model's, or it is another model's
                and that is an error here.
        """
        if asked in (None, ""):
            return ModelName(self.main)
        if isinstance(asked, str) and len(asked) <= MAX_NAME_LENGTH:
            if asked.lower() in self._known:
                return ModelName(asked)
            for known in sorted(self._known, key=len, reverse=True):
                if asked.lower().startswith(known + "+"):
                    parts = tuple(asked[len(known) + 1 :].split("+"))
                    if self._are_preferences(parts):
                        return ModelName(asked, parts)
                    raise _not_found(self.main)
            if not self._is_strict:
                parts = tuple(asked.split("+")[1:])
                return ModelName(asked, parts if parts and self._are_preferences(parts) else ())
        raise _not_found(self.main)

    def _are_preferences(self, parts: Sequence[str]) -> bool:
        try:
            named = all(weighted(part).is_name for part in parts)
            return named and bool(resolve(list(parts)))
        except AmuletError:
            return False


def _not_found(main: str) -> HttpError:
    return HttpError(
        404,
        f"no model is loaded under this name; loaded: {main}, and with a preference "
        f"{main}+creative",
        param="model",
        code="model_not_found",
    )


def own_settings() -> UserSettings:
    """The user's own names; none where the file can't be used."""
    try:
        return read_settings()
    except AmuletError:
        return UserSettings()


def _sayable(file: str) -> str:
    """A file's name in UTF-8; systems have others, which no answer could repeat."""
    return file.encode("utf-8", "backslashreplace").decode()
