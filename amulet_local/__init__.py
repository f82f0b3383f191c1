"""amulet_local: make a GGUF model's answer follow your own preference while it decodes.

    from amulet_local import load

    with load("smollm2") as engine:
        print(engine.generate("How do I sleep better?", preference="concise").text)

Importing the package starts nothing, and loads its parts when they are first asked for: the
command line's help comes at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amulet_local import errors
    from amulet_local.conversation import Conversation
    from amulet_local.conversation_settings import ConversationSettings
    from amulet_local.decoding import METHODS
    from amulet_local.dialogue import Turn
    from amulet_local.engine import Engine, load
    from amulet_local.errors import AmuletError
    from amulet_local.learned import Learned
    from amulet_local.liked_texts import LikedText
    from amulet_local.params import AmuletParams, RuntimeParams, SamplingParams
    from amulet_local.preferences import BUILT_IN_PREFERENCES, Preference
    from amulet_local.presets import PRESETS
    from amulet_local.results import Chunk, Generation, Score, Timings, TokenTrace, Usage

__all__ = [
    "BUILT_IN_PREFERENCES",
    "METHODS",
    "PRESETS",
    "AmuletError",
    "AmuletParams",
    "Chunk",
    "Conversation",
    "ConversationSettings",
    "Engine",
    "Generation",
    "Learned",
    "LikedText",
    "Preference",
    "RuntimeParams",
    "SamplingParams",
    "Score",
    "Timings",
    "TokenTrace",
    "Turn",
    "Usage",
    "errors",
    "load",
]

_HOMES = {
    "conversation": ("Conversation",),
    "conversation_settings": ("ConversationSettings",),
    "decoding": ("METHODS",),
    "dialogue": ("Turn",),
    "engine": ("Engine", "load"),
    "errors": ("AmuletError",),
    "learned": ("Learned",),
    "liked_texts": ("LikedText",),
    "params": ("AmuletParams", "RuntimeParams", "SamplingParams"),
    "preferences": ("BUILT_IN_PREFERENCES", "Preference"),
    "presets": ("PRESETS",),
    "results": ("Chunk", "Generation", "Score", "Timings", "TokenTrace", "Usage"),
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("amulet_local.errors")
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"amulet_local.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'amulet_local' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
