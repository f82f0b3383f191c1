"""amulet_local: make a GGUF model's answer follow your own preference while it decodes.

    from amulet_local import load

    with load("smollm2") as engine:
        print(engine.generate("How do I sleep better?", preference="concise").text)

Importing the package starts nothing, and loads its parts when they are first asked for: the
command line's help comes at once.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # for type checkers True all the same; `ask` has no time to import typing
if TYPE_CHECKING:
    from typing import Any

    from amulet_local import errors
    from amulet_local.common.errors import AmuletError
    from amulet_local.common.results import (
        Chunk,
        Generation,
        LogRatios,
        Score,
        Timings,
        TokenTrace,
        ToolCall,
        Usage,
    )
    from amulet_local.conversation.conversation import Conversation
    from amulet_local.conversation.conversation_settings import ConversationSettings
    from amulet_local.engine import Engine
    from amulet_local.isolation.load import load
    from amulet_local.learning.learned import Learned
    from amulet_local.learning.liked_texts import LikedText
    from amulet_local.params.amulet import AmuletParams
    from amulet_local.params.runtime import RuntimeParams
    from amulet_local.params.sampling import SamplingParams
    from amulet_local.preferences.preference import BUILT_IN_PREFERENCES, Preference
    from amulet_local.prompts.dialogue import Turn
    from amulet_local.steering.methods import METHODS
    from amulet_local.steering.presets import PRESETS

    __version__: str

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
    "LogRatios",
    "Preference",
    "RuntimeParams",
    "SamplingParams",
    "Score",
    "Timings",
    "TokenTrace",
    "ToolCall",
    "Turn",
    "Usage",
    "errors",
    "load",
]

_HOMES = {
    "common.errors": ("AmuletError",),
    "common.results": (
        *("Chunk", "Generation", "LogRatios", "Score", "Timings", "TokenTrace", "ToolCall"),
        "Usage",
    ),
    "conversation.conversation": ("Conversation",),
    "conversation.conversation_settings": ("ConversationSettings",),
    "engine": ("Engine",),
    "isolation.load": ("load",),
    "learning.learned": ("Learned",),
    "learning.liked_texts": ("LikedText",),
    "params.amulet": ("AmuletParams",),
    "params.runtime": ("RuntimeParams",),
    "params.sampling": ("SamplingParams",),
    "preferences.preference": ("BUILT_IN_PREFERENCES", "Preference"),
    "prompts.dialogue": ("Turn",),
    "steering.methods": ("METHODS",),
    "steering.presets": ("PRESETS",),
}

_INSTEAD = {
    **dict.fromkeys(
        ("Llama", "LLM", "Model", "AutoModelForCausalLM", "pipeline"),
        "; load('model.gguf', n_ctx=2048) takes its place",
    ),
    **dict.fromkeys(
        (
            *("generate", "stream_generate", "chat", "conversation", "create_chat_completion"),
            *("score", "answer_all"),
        ),
        "; it is a method of an engine: with load('model.gguf') as engine: ...",
    ),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "errors":
        return import_module("amulet_local.errors")
    if name == "__version__":
        return import_module("amulet_local.common.version").package_version()
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"amulet_local.{module}"), name)
            globals()[name] = value
            return value
    hint = _INSTEAD.get(name, "")
    if hint:
        from inspect import currentframe

        asking = frame.f_back if (frame := currentframe()) else None
        if asking and asking.f_code.co_name == "_handle_fromlist":
            # `from amulet_local import ...`, which would drop what an AttributeError says
            raise ImportError(f"cannot import name {name!r} from 'amulet_local'{hint}", name=name)
    said = f"module 'amulet_local' has no attribute {name!r}{hint}"
    raise AttributeError(said, name=name, obj=sys.modules[__name__])  # Python says what is like it


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
