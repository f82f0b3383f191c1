"""amulet_local: make a GGUF model's answer follow your own preference while it decodes.

    from amulet_local import load

    with load("smollm2") as engine:
        print(engine.generate("How do I sleep better?", preference="concise").text)

Importing the package starts nothing: llama.cpp and Numba are loaded when a model is.
"""

from amulet_local import errors
from amulet_local.decoding import METHODS
from amulet_local.engine import Engine, load
from amulet_local.errors import AmuletError
from amulet_local.params import AmuletParams, RuntimeParams, SamplingParams
from amulet_local.preferences import BUILT_IN_PREFERENCES, Preference
from amulet_local.results import Chunk, Generation, Score, Timings, Usage

__all__ = [
    "BUILT_IN_PREFERENCES",
    "METHODS",
    "AmuletError",
    "AmuletParams",
    "Chunk",
    "Engine",
    "Generation",
    "Preference",
    "RuntimeParams",
    "SamplingParams",
    "Score",
    "Timings",
    "Usage",
    "errors",
    "load",
]
