"""What all options have in common: frozen, checked, one line for what is wrong.

Knows nothing about particular options. Values out of range raise InvalidParameterError with the
field, the value and the limit in one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.readable import MOST_LINES
from amulet_local.params.choices import as_known, words_of
from amulet_local.params.option import Option, Options


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[Finite, Field(gt=0)]
NonNegative = Annotated[Finite, Field(ge=0)]
Probability = Annotated[Finite, Field(ge=0, le=1)]
Share = Annotated[Finite, Field(gt=0, le=1)]


OTHER_WORDS = {
    "temp": "temperature",
    "max_new_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "scale": "guidance_scale",
    "strength": "guidance_scale",
    "kl": "kl_target",
    "preferences": "preference",
}
"""What other programs call an option."""
OF_AN_ANSWER = ("preference", "avoid", "system", "preset", "method", "placement")
"""What an answer is asked for, beside the options."""


class StrictParams(BaseModel):
    """Frozen, keyword-only, no unknown names; a bad value raises InvalidParameterError.

    Attributes:
        options: what its fields say of themselves besides type, limits and default, by their public
            names and in the order of the help.
        elsewhere: what isn't a field and is asked for in another way, and a clause that says so.
        is_in_python: whether a program makes one, and may take it for another one of these.
    """

    options: ClassVar[Options] = {}
    _words: ClassVar[dict[str, tuple[str, ...]]] = {}
    elsewhere: ClassVar[dict[str, str]] = {}
    is_in_python: ClassVar[bool] = False

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # a type checker says so by itself

        def __new__(cls, *unnamed: Any, **_: Any) -> StrictParams:
            """Refuse an argument without its name."""
            if unnamed:
                first = next(iter(cls.options or cls.model_fields))
                example = f"{cls.__name__}({first}=...)"
                raise TypeError(f"{cls.__name__} takes its arguments by name: {example}")
            return super().__new__(cls)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Gather the options of the fields."""
        found = [
            (field.alias or name, item)
            for name, field in cls.model_fields.items()
            for item in field.metadata
            if isinstance(item, Option)
        ]
        cls.options = dict(sorted(found, key=lambda pair: pair[1].place))
        cls._words = {
            name: words
            for field_name, field in cls.model_fields.items()
            if (words := words_of(field.annotation))
            for name in (field_name, field.alias)
            if name
        }

    @model_validator(mode="wrap")
    @classmethod
    def _typed_error(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(data, dict):
            given = cls._words.keys() & data.keys()
            data = {**data, **{name: as_known(data[name], cls._words[name]) for name in given}}
        try:
            params = handler(data)
        except ValidationError as error:
            raise InvalidParameterError(_one_line(error, cls._instead_of)) from None
        cls._check_together(params)
        return params

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """What its options are called in a chat or as a flag, and the fields that these mean."""
        return {
            other.lstrip("-").replace("-", "_"): name
            for name, option in cls.options.items()
            for other in (*option.chat, *option.flags.split())
        }

    @classmethod
    def _instead_of(cls, given: str) -> str:
        """A clause that says what to write for what is no field; empty for no idea."""
        if given in cls.elsewhere:
            return cls.elsewhere[given]
        known = [field.alias or name for name, field in cls.model_fields.items()]
        name = cls.spellings().get(given) or OTHER_WORDS.get(given, given)
        if name in known:
            return f"did you mean {name!r}?"
        if cls.is_in_python:
            if name in OF_AN_ANSWER:
                return f"it is for an answer: engine.generate(..., {name}=...)"
            for other in StrictParams.__subclasses__():
                if other.is_in_python and name in other.options:
                    return f"it is a field of {other.__name__}: {other.__name__}({name}=...)"
        close = get_close_matches(given[:64], known, n=1)
        return f"did you mean {close[0]!r}?" if close else ""

    def _check_together(self) -> None:
        """Raise InvalidParameterError where values exclude each other."""

    def uses(self, name: str) -> bool:
        """Whether an option has a value that changes anything."""
        return bool(getattr(self, name) != self.options[name].neutral)

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, checked again."""
        return type(self)(**{**self.model_dump(exclude_unset=True), **changes})


def _one_line(error: ValidationError, instead_of: Callable[[str], str]) -> str:
    parts = []
    for detail in error.errors(include_url=False)[:MOST_LINES]:
        where = ".".join(str(part) for part in detail["loc"] if isinstance(part, str))
        shown = where if len(where) <= 60 else where[:57] + "..."
        message = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
        if detail["type"] == "extra_forbidden":
            hint = instead_of(where)
            parts.append(f"{shown}: no such parameter{hint and f'; {hint}'}")
        elif where:
            parts.append(f"{shown}: {message}, got {_shown(detail['input'])}")
        else:
            parts.append(message)
    if error.error_count() > MOST_LINES:
        parts.append(f"and so it is with {error.error_count() - MOST_LINES:,} others")
    return "; ".join(dict.fromkeys(parts))


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except (RecursionError, ValueError):  # nested too deep; a number of 5,000 digits
        return f"a {type(value).__name__} that is too large to be shown"
    return shown if len(shown) <= 60 else shown[:57] + "..."
