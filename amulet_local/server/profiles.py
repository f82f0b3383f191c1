"""The profiles of those who ask a server: one each, kept apart by API key and by `user`.

Knows nothing about HTTP. A key's profiles are its own: `user` tells apart who shares a key, and
can't reach another key's. With one key or none, and without a `user`, it is the profile that the
server was started with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.model import Model
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.profile.contents import Contents
from amulet_local.profile.listener import last_question
from amulet_local.profile.profile import Profile, listed
from amulet_local.profile.recall import with_memory
from amulet_local.profile.strength import scaled
from amulet_local.server.access import KEY
from amulet_local.server.fields import STRENGTH
from amulet_local.steering.presets import adjusted_strength

MAX_PROFILES = 1000
"""Most profiles that a server makes: `user` is whatever a client says."""

_USER = re.compile(r"[A-Za-z0-9_-]{1,40}")
_WANTED = ("preference", "avoid", "method")


class ServedProfiles:
    """The profiles of a server."""

    def __init__(self, name: str) -> None:
        """Take note.

        Args:
            name: of the profile that there is; others are called after it, and are about the same
                preferences.

        Raises:
            InvalidParameterError: no profile can be called so.
            ProfileError: it can't be used.
        """
        self._first = Profile(name)
        self._first.check()

    def of(self, user: object, *, create: bool = False) -> Profile:
        """The profile of who asks; it may not exist.

        Args:
            user: the request's field.
            create: make it if need be.

        Raises:
            InvalidParameterError: `user` is no text, or there are too many profiles.
            ProfileError: it can't be made.
        """
        parts = [self._first.name]
        if KEY.get():
            parts.append(f"key-{KEY.get()}")
        if user not in (None, ""):
            if not isinstance(user, str):
                raise InvalidParameterError("user: must be a text")
            parts.append(f"user-{user if _USER.fullmatch(user) else _digest(user)}")
        profile = Profile(".".join(parts))
        if create and not profile.exists:
            if len(listed()) >= MAX_PROFILES:
                raise InvalidParameterError(
                    f"there are {MAX_PROFILES} profiles already; delete some, or leave out user"
                )
            profile.create(self.empty())
        return profile

    def empty(self) -> Contents:
        """What is in a profile that is made here.

        Raises:
            ProfileError: the profile that the others are called after can't be read.
        """
        return Contents(bank=self._first.contents().bank)

    def filled(
        self, body: Mapping[str, Any], user: object, *, model: Model, own: UserModelSettings
    ) -> dict[str, Any]:
        """A body's fields with what was learned of who asks, where it leaves them open.

        Args:
            body: what the request says, its messages too.
            model: what answers.
            own: what the settings keep for it.

        Raises:
            As `of`, and ProfileError: the profile can't be read.
        """
        profile = self.of(user)
        if any(name in body for name in _WANTED) or not profile.exists:
            return {}
        contents = profile.contents()
        taste = contents.taste()
        question = last_question(body.get("messages"))
        wanted = with_memory(taste.mix, contents, question, model.vocabulary.count)
        if not wanted:
            return {}
        found: dict[str, Any] = {"preference": list(wanted)}
        factor = taste.factor(model.path.name)
        if factor != 1 and not any(name in body for name in STRENGTH):
            found["amulet"] = scaled(adjusted_strength(None, {}, own=own), factor)
        return found


def _digest(user: str) -> str:
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16]
