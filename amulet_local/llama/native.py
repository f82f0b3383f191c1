"""What is relied on of llama.cpp: its constants, its functions, and the versions that were tested.

llama.cpp promises neither. Numbers stand here because most of them are needed before llama_cpp is
imported; a test compares all of it with the installed package. A new version of llama-cpp-python
takes: run tests/llama/test_native.py, mend what it finds, and raise NEWEST_TESTED.
"""

from __future__ import annotations

OLDEST_TESTED = (0, 3, 36)
NEWEST_TESTED = (0, 3, 36)
"""Versions of llama-cpp-python, the first and the last with which the whole suite passed."""

DECODE_STOPPED = 2
"""What llama_decode returns when its abort callback ended it."""
DECODE_FAILURES = {1: "no room left in the KV cache", -1: "an invalid batch"}
"""Other values that it returns, and what they mean."""

CACHE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
"""ggml_type of each type that a KV cache may have."""

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1, "mlock": 3}
SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}
POOLING_NONE = 0

TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER_DEFINED = 1 << 0, 1 << 3, 1 << 4
"""Attributes of tokens."""

GPU_DEVICES = (1, 2)
"""GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU."""
LOG_DEBUG, LOG_WARN, LOG_ERROR, LOG_CONTINUE = 1, 3, 4, 5
"""Of ggml_log_level."""

GGML_FUNCTIONS = (
    "ggml_backend_dev_count",
    "ggml_backend_dev_description",
    "ggml_backend_dev_get",
    "ggml_backend_dev_memory",
    "ggml_backend_dev_name",
    "ggml_backend_dev_type",
)
"""Called in ggml's own library: llama_cpp has no names for them."""


def version_warning(version: str) -> str:
    """What a user should know about running with this version of llama-cpp-python.

    Args:
        version: such as "0.3.36"; what follows its three numbers doesn't count.

    Returns:
        One line; empty for a version that was tested.
    """
    parts = version.partition("+")[0].split(".")[:3]
    try:
        found = tuple(int(part) for part in parts)
    except ValueError:
        found = ()
    if OLDEST_TESTED <= found <= NEWEST_TESTED:
        return ""
    oldest, newest = (".".join(map(str, limit)) for limit in (OLDEST_TESTED, NEWEST_TESTED))
    tested = oldest if oldest == newest else f"{oldest} to {newest}"
    return (
        f"llama-cpp-python {version:.40} is not a version that this was tested with ({tested}); if "
        f"answers look wrong, install one of those"
    )
