"""What the server grants one client, in bytes and seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from amulet_local.common.json_depth import MOST_NESTED

_OWN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits against clients that are broken or hostile.

    Attributes:
        body_bytes: longest body of a request.
        body_seconds: time for all of it to arrive.
        head_bytes: longest head of a request.
        head_seconds: time for all of it to arrive, on a new connection and on a kept one.
        stuck_seconds: how long a client may leave what is sent to it unread.
        json_depth: brackets within brackets.
        n_connections: connections at once.
    """

    body_bytes: int = 4 * 2**20
    body_seconds: float = 30.0
    head_bytes: int = 32 * 2**10
    head_seconds: float = 15.0
    stuck_seconds: float = 30.0
    json_depth: int = MOST_NESTED
    n_connections: int = 512


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    Attributes:
        api_keys: each of them opens the server; without any, everybody who reaches it may ask.
        hosts: names that may stand in the header Host, besides the address that was reached.
        origins: web pages that may ask from elsewhere, as their browsers call them; "*" is any,
            "localhost" any that this machine serves.
    """

    api_keys: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    origins: frozenset[str] = field(default_factory=frozenset)

    def allows(self, origin: str) -> bool:
        """Whether a page from there may ask."""
        own = "localhost" in self.origins and _OWN.fullmatch(origin) is not None
        return own or origin in self.origins or "*" in self.origins
