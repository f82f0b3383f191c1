"""Checks of the sampling options that are more than a number; sampling.py uses them.

Knows nothing about models: whether a token id exists is checked where the vocabulary is known. A
ValueError's message completes a sentence that begins with the option's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.json_schema import to_gbnf

MAX_BIASES = 10_000
"""Tokens that `logit_bias` may name."""
MAX_STOP_TEXTS = 64
MAX_STOP_CHARACTERS = 1000
"""Texts that end an answer and their length."""
MAX_BREAKERS = 64
MAX_BREAKER_BYTES = 40
"""Sequence breakers of DRY and their length; llama.cpp cuts longer ones."""


def biases(value: Any) -> dict[int, float]:
    """Token ids (or their digits, as JSON has them) to biases; False is llama.cpp's -inf."""
    if not isinstance(value, Mapping):
        raise ValueError("must map token ids to biases")
    if len(value) > MAX_BIASES:
        raise ValueError(f"must not name more than {MAX_BIASES} tokens")
    result = {}
    for token, bias in value.items():
        if isinstance(token, str) and token.isdecimal() and len(token) < 12:
            token = int(token)
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise ValueError(f"must map token ids to biases, and {str(token)[:20]!r} is none")
        bias = -math.inf if bias is False else bias
        is_number = isinstance(bias, int | float) and not isinstance(bias, bool)
        if not is_number or not (-100 <= bias <= 100 or bias == -math.inf):
            raise ValueError(f"must be from -100 to 100, or -inf for never, at token {token}")
        result[token] = float(bias)
    return result


def breaker(text: str) -> str:
    """A text that ends a sequence for DRY."""
    try:
        n_bytes = len(text.encode())
    except UnicodeEncodeError:
        n_bytes = 0
    if not 0 < n_bytes <= MAX_BREAKER_BYTES or "\0" in text:
        raise ValueError(
            f"must be texts of 1 to {MAX_BREAKER_BYTES} bytes, without NULs and lone surrogates"
        )
    return text


def stop_texts(value: Any) -> tuple[str, ...]:
    """Texts that end an answer: one, or several."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("must be a text or a list of texts")
    if len(texts) > MAX_STOP_TEXTS:
        raise ValueError(f"must not be more than {MAX_STOP_TEXTS} texts")
    for text in texts:
        if not 0 < len(text) <= MAX_STOP_CHARACTERS:
            raise ValueError(f"must be texts of 1 to {MAX_STOP_CHARACTERS} characters")
    return tuple(dict.fromkeys(texts))


def schema(value: Any) -> dict[str, Any] | str | None:
    """A JSON Schema as far as its type goes."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be a JSON Schema, as an object or as JSON text")
    return dict(value)


def checked_rules(text: str) -> gbnf.Grammar:
    """A grammar whose beginning can be computed.

    Raises:
        InvalidParameterError: see gbnf.parse and Automaton.
    """
    from amulet_local.grammar.automaton import Automaton  # imports NumPy

    rules = gbnf.parse(text)
    Automaton(rules)  # raises where even the beginning explodes
    return rules


def schema_rules(schema: Mapping[str, Any] | str) -> gbnf.Grammar:
    """The grammar of what validates against a JSON Schema.

    Raises:
        InvalidParameterError: it is no schema that a grammar can say, or one too large.
    """
    text = to_gbnf(schema)
    try:
        return checked_rules(text)
    except InvalidParameterError:
        raise InvalidParameterError("json_schema: it is too large or too ambiguous") from None
