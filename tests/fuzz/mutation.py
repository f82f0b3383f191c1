"""Changes bytes, texts and JSON values at random, from what a generator of random numbers draws.

Knows nothing about what they mean.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Sequence
from typing import Any

BYTES = b'\x00\x01\x02\x04\x08\x09\x0a\x20"%0{}[]<\\\x7f\x80\xc3\xed\xf0\xfe\xff'
NUMBERS = (0, 1, 2, 13, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    "",
    " ",
    "\0",
    "\ud800",
    "\u202e",
    "🙂",
    "a" * 5000,
    "<|im_end|>",
    "../../etc/passwd",
    "-1",
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, *NUMBERS, -1, -(2**31), -(2**63), 10**400, 0.0, -0.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), *TEXTS, [], {}, [[]], [None], {"": None}),
)
MAX_BYTES = 1 << 20


def changed_bytes(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with some bytes changed, taken away or added; also parts of itself and of others."""
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(9):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                changed[at : at + 1] = bytes((rng.choice(BYTES),))
            case 2:
                changed[at : at + 8] = struct.pack("<Q", rng.choice(NUMBERS))
            case 3:
                changed[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS) & 0xFFFFFFFF)
            case 4:
                del changed[at : at + rng.randrange(1, 17)]
            case 5:
                changed[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 6:
                changed[at : at + 1] = bytes(
                    b ^ 1 << rng.randrange(8) for b in changed[at : at + 1]
                )
            case 7:
                begin = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[begin : begin + rng.randrange(1, 64)]
            case _:
                other = rng.choice(others) if others else data
                begin = rng.randrange(len(other) + 1)
                changed[at:at] = other[begin : begin + rng.randrange(1, 200)]
    return bytes(changed[:MAX_BYTES])


def changed_text(text: str, rng: random.Random, words: Sequence[str], parts: Sequence[str]) -> str:
    """`text` with words of its language put in, and pieces cut, doubled, or taken from others."""
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.randrange(1, 40))
        match rng.randrange(6):
            case 0:
                text = text[:at] + rng.choice(words) + text[at:]
            case 1:
                text = text[:at] + rng.choice(words) + text[end:]
            case 2:
                text = text[:at] + text[end:]
            case 3:
                text = text[:at] + text[at:end] * rng.choice((2, 3, 50)) + text[end:]
            case 4:
                other = rng.choice(parts)
                begin = rng.randrange(len(other) + 1)
                text = text[:at] + other[begin : begin + rng.randrange(1, 120)] + text[at:]
            case _:
                text = text[:at] + str(rng.choice(VALUES)) + text[at:]
    return text[: MAX_BYTES // 4]


def changed_json(value: Any, rng: random.Random, members: Sequence[tuple[str, Any]] = ()) -> Any:
    """A JSON value with one place changed: another value, a member or item more or less.

    Args:
        members: that may be added to an object, as they are or changed.
    """
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(list(value))
        kind = rng.randrange(8)
        rest = {key: item for key, item in value.items() if key != name}
        if kind == 0:
            return rest
        if kind == 1:
            return {**rest, rng.choice((*TEXTS, name.upper(), name + "_")): value[name]}
        if kind in (2, 3) and members:
            key, item = rng.choice(members)
            return {**value, key: item if rng.random() < 0.5 else changed_json(item, rng)}
        return {**value, name: changed_json(value[name], rng, members)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        kind = rng.randrange(6)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value[:at] + [value[at]] * rng.choice((2, 3, 40)) + value[at + 1 :]
        return [*value[:at], changed_json(value[at], rng, members), *value[at + 1 :]]
    kind = rng.randrange(6)
    if isinstance(value, str) and kind < 2:
        at = rng.randrange(len(value) + 1)
        return value[:at] + rng.choice(TEXTS) + value[at:]
    if isinstance(value, int | float) and kind < 2:
        return value * rng.choice((-1, 2, 1000)) if isinstance(value, int) else value / 3
    if kind == 2:
        for _ in range(rng.choice((1, 2, 60, 300))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    return rng.choice(VALUES)


def as_json(value: Any, rng: random.Random) -> bytes:
    """JSON of a value, seldom with changed bytes."""
    data = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return changed_bytes(data, rng) if rng.random() < 0.15 else data
