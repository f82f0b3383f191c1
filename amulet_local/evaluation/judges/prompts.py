"""The prompts of a judge: read from a file, filled with texts that nobody trusts.

A text is put in once and never looked at again, so that a {placeholder} or a mark in it stays what
it is. Knows nothing about models and endpoints.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amulet_local.common.errors import FileAccessError, InvalidParameterError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_FILE_BYTES = 1 << 20

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_TEXTS = {
    "compare": ("question", "preference", "first", "second"),
    "rate": ("question", "preference", "answer"),
}


@dataclass(frozen=True, kw_only=True)
class JudgePrompt:
    """What a judge is asked: a system text and a user's text."""

    system: str
    user: str


@dataclass(frozen=True, kw_only=True)
class JudgePrompts:
    """Templates of both kinds of question.

    Attributes:
        compare, rate: with the placeholders that prompts.toml has.
    """

    compare: JudgePrompt
    rate: JudgePrompt

    @property
    def digest(self) -> str:
        """What tells these prompts from others."""
        parts = (self.compare.system, self.compare.user, self.rate.system, self.rate.user)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def comparison(self, *, question: str, preference: str, first: str, second: str) -> JudgePrompt:
        """Which of two answers, shown in this order, follows the preference better."""
        texts = {"question": question, "preference": preference, "first": first, "second": second}
        return _filled(self.compare, texts)

    def rating(self, *, question: str, preference: str, answer: str) -> JudgePrompt:
        """How well an answer follows the preference."""
        return _filled(
            self.rate, {"question": question, "preference": preference, "answer": answer}
        )


def load_prompts(path: Path | None) -> JudgePrompts:
    """Read prompts from a TOML file; the package's own if None.

    Raises:
        FileAccessError: it can't be read.
        InvalidParameterError: it isn't such a file; the message says what is wrong.
    """
    file = path or Path(__file__).with_name("prompts.toml")
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileAccessError(f"can't read {file}: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidParameterError(f"{file.name} is too large for a file of prompts")
    try:
        sections = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidParameterError(f"{file.name} isn't TOML: {error}") from None
    unknown = sections.keys() - _TEXTS.keys()
    if unknown:
        raise InvalidParameterError(
            f"{file.name} has [{min(unknown)[:40]}]: only [compare] and [rate] are known"
        )
    return JudgePrompts(**{kind: _section(kind, sections.get(kind), file.name) for kind in _TEXTS})


def _section(kind: str, section: Any, name: str) -> JudgePrompt:
    if (
        not isinstance(section, Mapping)
        or section.keys() != {"system", "user"}
        or not all(isinstance(text, str) for text in section.values())
    ):
        raise InvalidParameterError(f"{name}: [{kind}] has to hold the texts `system` and `user`")
    prompt = JudgePrompt(system=section["system"].strip(), user=section["user"].strip())
    known = {*_TEXTS[kind], "fence"}
    used = set(_PLACEHOLDER.findall(prompt.system + prompt.user))
    if used - known:
        raise InvalidParameterError(
            f"{name}: [{kind}] has {{{min(used - known)[:40]}}}, which stands for nothing; known: "
            f"{', '.join(sorted(known))}"
        )
    missing = set(_TEXTS[kind][1:]) - used
    if missing:
        raise InvalidParameterError(f"{name}: [{kind}] lacks {{{min(missing)}}}")
    return prompt


def _filled(prompt: JudgePrompt, texts: Mapping[str, str]) -> JudgePrompt:
    values = {**texts, "fence": _fence(texts)}

    def fill(template: str) -> str:
        return _PLACEHOLDER.sub(lambda match: values[match[1]], template)

    return JudgePrompt(system=fill(prompt.system), user=fill(prompt.user))


def _fence(texts: Mapping[str, str]) -> str:
    """A word that none of the texts holds, the same each time."""
    whole = "\0".join(texts.values()).encode("utf-8", "surrogatepass")
    for attempt in range(100):
        word = hashlib.sha256(whole + bytes([attempt])).hexdigest()[:10]
        if not any(word in text for text in texts.values()):
            return word
    raise AssertionError("a text holds a hundred digests of itself")
