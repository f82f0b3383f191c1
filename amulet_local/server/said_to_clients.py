"""What a client is told in a message of the library: fields, not flags or arguments of Python.

What is set where the server is started is said to be. Knows nothing about where a message goes.
"""

from __future__ import annotations

import re

from amulet_local.common.field_names import in_json

_LARGER = re.compile(r"; use a larger one \(n_ctx, -c\)")
_LARGER_FOR = re.compile(r"(shorten it) or use a larger context \(n_ctx, -c (\d+)\)")
_OTHER_TEMPLATE = re.compile(
    r"choose another one with --chat-template \(chat_template= in Python\)"
)
_NO_TEMPLATE = re.compile(
    r"`generate --raw` \(chat_template='raw' in Python\) (goes on with a text; if it was trained "
    r"to chat), name its family: (--chat-template \S+) \(chat_template= in Python\)"
)


def for_clients(message: str) -> str:
    """A message with what its reader can do, who sends requests."""
    message = _LARGER.sub("; start the server with a larger one", message)
    message = _LARGER_FOR.sub(r"\1, or start the server with a context of \2", message)
    message = _OTHER_TEMPLATE.sub("start the server with another one (--chat-template)", message)
    message = _NO_TEMPLATE.sub(r'/v1/completions \1, start the server with "\2"', message)
    return in_json(message)
