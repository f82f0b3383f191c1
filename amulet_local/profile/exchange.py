"""A profile as JSON that a person can read and change, and back.

Knows nothing about files. What was learned is in it for people: it is no part of what is read
back, since it follows from the rest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from amulet_local.common.errors import InvalidParameterError, ProfileError
from amulet_local.preferences.preference import Preference
from amulet_local.profile.contents import Contents, checked_bank
from amulet_local.profile.feedback import KINDS, Example, Fact, Feedback, Forgotten

FORMAT = "amulet-local profile"
VERSION = 1
MAX_BYTES = 64 * 2**20


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError('must be a time such as "2026-01-31T12:00:00+00:00"')
    moment = datetime.fromisoformat(value)
    try:
        return (
            moment.replace(tzinfo=moment.tzinfo or timezone.utc)
            .astimezone(timezone.utc)
            .timestamp()
        )
    except OverflowError:
        raise ValueError("must be of the years 1 to 9999, in UTC as well") from None


def _in_words(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


_Moment = Annotated[float, BeforeValidator(_seconds), PlainSerializer(_in_words)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _ExportEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _PreferenceEntry(_ExportEntry):
    name: str = ""
    text: str
    prompt: str = ""


class _FeedbackEntry(_ExportEntry):
    at: _Moment
    kind: Literal[KINDS]  # type: ignore[valid-type]
    origin: str = ""
    model: str = ""
    question: str = ""
    better: str = ""
    worse: str = ""
    differences: dict[str, _Finite] = {}
    strengths: Annotated[list[Annotated[_Finite, Field(gt=0)]], Field(max_length=2)] = []


class _ExampleEntry(_ExportEntry):
    at: _Moment
    origin: str = ""
    question: str = ""
    text: str


class _FactEntry(_ExportEntry):
    at: _Moment
    origin: str = ""
    text: str


class _ForgottenEntry(_ExportEntry):
    at: _Moment
    feedback: _Count = 0
    examples: _Count = 0
    facts: _Count = 0


class _ProfileDocument(_ExportEntry):
    format: Literal["amulet-local profile"]
    version: int
    learned: Any = None
    preferences: list[_PreferenceEntry]
    feedback: list[_FeedbackEntry] = []
    examples: list[_ExampleEntry] = []
    facts: list[_FactEntry] = []
    forgotten: list[_ForgottenEntry] = []


def as_json(contents: Contents) -> str:
    """All of a profile, indented."""
    names = {item.text: item.name or item.text for item in contents.bank}
    document = _ProfileDocument(
        format=FORMAT,
        version=VERSION,
        learned=learned(contents),
        preferences=[
            _PreferenceEntry(name=item.name, text=item.text, prompt=item.prompt)
            for item in contents.bank
        ],
        feedback=[
            _FeedbackEntry(**{**_fields(item), "differences": _renamed(item.differences, names)})
            for item in contents.feedback
        ],
        examples=[_ExampleEntry(**_fields(item)) for item in contents.examples],
        facts=[_FactEntry(**_fields(item)) for item in contents.facts],
        forgotten=[_ForgottenEntry(**_fields(item)) for item in contents.forgotten],
    )
    return json.dumps(document.model_dump(), indent=2, ensure_ascii=False) + "\n"


def learned(contents: Contents) -> dict[str, Any]:
    """What follows from the feedback, for people and for programs."""
    taste = contents.taste()
    models = sorted({item.model for item in contents.feedback if item.strengths})
    return {
        "mix": [item.label for item in taste.mix],
        "weights": {
            item.label: {"mean": round(float(mean), 4), "deviation": round(float(deviation), 4)}
            for item, mean, deviation in zip(
                taste.bank, taste.weights.mean, taste.weights.deviations, strict=True
            )
        },
        "covariance": [[round(float(x), 5) for x in row] for row in taste.weights.covariance],
        "picks": len(taste.told),
        "picks_before_a_change": taste.n_before_change,
        "strengths": {model: taste.factor(model) for model in models},
    }


def from_json(text: str) -> Contents:
    """The contents that a text has.

    Raises:
        ProfileError: it isn't an export, or something in it can't be used, with its place.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProfileError(f"that is no JSON: {error.msg} in line {error.lineno}") from None
    except (ValueError, RecursionError):  # a number of 5,000 digits; 10,000 brackets
        raise ProfileError("that is no JSON that can be read") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ProfileError('that is no exported profile: its "format" isn\'t there')
    if value.get("version") != VERSION:
        raise ProfileError(
            f"that profile is of version {value.get('version')!r:.20}, and this program knows "
            f"{VERSION}; use a newer one"
        )
    try:
        document = _ProfileDocument.model_validate(value)
        return _contents(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
        ).removeprefix(".")
        raise ProfileError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
    except InvalidParameterError as error:
        raise ProfileError(f"preferences: {error}") from None


def _contents(document: _ProfileDocument) -> Contents:
    bank = checked_bank([Preference(**item.model_dump()) for item in document.preferences])
    texts = {item.name or item.text: item.text for item in bank}
    return Contents(
        bank=bank,
        feedback=tuple(
            Feedback(
                **{
                    **_values(item),
                    "differences": _renamed(item.differences, texts),
                    "strengths": tuple(item.strengths),
                }
            )
            for item in document.feedback
        ),
        examples=tuple(Example(**_values(item)) for item in document.examples),
        facts=tuple(Fact(**_values(item)) for item in document.facts),
        forgotten=tuple(Forgotten(**_values(item)) for item in document.forgotten),
    )


def _values(entry: _ExportEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in type(entry).model_fields}


def _fields(item: Feedback | Example | Fact | Forgotten) -> dict[str, Any]:
    found = dataclasses.asdict(item)
    found.pop("id", None)
    return {**found, "at": _in_words(item.at)}


def _renamed(values: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    return {names.get(name, name): round(value, 6) for name, value in values.items()}
