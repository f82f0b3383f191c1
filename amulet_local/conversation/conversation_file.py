"""A conversation as a JSON file: what was said and the settings, not the model.

Knows nothing about models; a file's token ids are only believed where they spell the text
(dialogue.py), so that a changed file does no harm. The first thing in it that can't be used is an
error that names its place. One turn is one line.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, get_args

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError, ConversationFileError, InvalidRequestError
from amulet_local.common.results import FinishReason
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference
from amulet_local.prompts.dialogue import Turn

VERSION = 1
MAX_FILE_BYTES = 16 << 20
"""Some hundred thousand words with their tokens."""

_FORMAT = "amulet-local conversation"
_MAX_TOKEN_ID = 2**31 - 1

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class SavedConversation:
    """What a file holds.

    Attributes:
        model: the name of the model's file.
        settings: of the conversation.
        turns: all of them.
    """

    model: str
    settings: ConversationSettings
    turns: tuple[Turn, ...]


def write(path: str | os.PathLike[str], saved: SavedConversation) -> None:
    """Write a file, whole or not at all, for its owner only.

    Raises:
        InvalidRequestError: something in it can't be kept as JSON, or it is too large.
        FileAccessError: it can't be written; a file that was there is as it was.
    """
    try:
        data = _text(saved).encode()
        same = _text(parse(data)) == data.decode()
    except (TypeError, ValueError, RecursionError, ConversationFileError):
        same = False
    if not same:
        raise InvalidRequestError(
            "the conversation can't be saved: its settings hold something that JSON doesn't have"
        )
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRequestError(
            f"the conversation can't be saved: it would take {len(data) >> 20} MiB, at most "
            f"{MAX_FILE_BYTES >> 20} are allowed"
        )
    private_files.write(path, data)


def read(path: str | os.PathLike[str]) -> SavedConversation:
    """What `write` wrote.

    Raises:
        FileAccessError: it can't be read or is too large.
        ConversationFileError: something in it can't be used.
    """
    data = private_files.read(path, max_bytes=MAX_FILE_BYTES)
    try:
        return parse(data)
    except ConversationFileError as error:
        where = f"{error.place}: " if error.place else ""
        raise ConversationFileError(
            f"the conversation {os.fspath(path)} can't be used: {where}{error}", place=error.place
        ) from None


def parse(data: bytes) -> SavedConversation:
    """What the bytes of a file say.

    Raises:
        ConversationFileError: see `read`; the message doesn't repeat the place.
    """
    whole = _Fields("", _json(data))
    if whole.content.get("format") != _FORMAT:
        _refuse("", f'this is no saved conversation ("format" isn\'t {_FORMAT!r})')
    version = whole.take("version", _integer(1, None))
    if version > VERSION:
        _refuse(
            "version",
            f"it was saved in the newer format {version}, and this program reads {VERSION}; "
            f"update amulet-local",
        )
    whole.take("format", _string)
    model = whole.take("model", _string)
    settings = whole.take("settings", _settings)
    turns = tuple(whole.take("turns", _list_of(_turn)))
    whole.end()
    for index, turn in enumerate(turns):
        if turn.n_dropped > index:
            _refuse(f"turns[{index}].n_dropped", f"must be 0 to {index}, got {turn.n_dropped}")
    return SavedConversation(model=model, settings=settings, turns=turns)


def _text(saved: SavedConversation) -> str:
    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    settings = saved.settings
    amulet, sampling = settings.amulet, settings.sampling
    fields: dict[str, Any] = {
        **vars(settings),
        "preference": [_preference_fields(item) for item in settings.preference],
        "avoid": [_preference_fields(item) for item in settings.avoid],
        "amulet": amulet and amulet.model_dump(exclude_unset=True, by_alias=True),
        "sampling": {name: getattr(sampling, name) for name in sorted(sampling.model_fields_set)},
    }
    if sampling.logit_bias:
        fields["sampling"]["logit_bias"] = {
            str(token): False if bias == -math.inf else bias
            for token, bias in sampling.logit_bias.items()
        }
    turns = ",\n".join("  " + dumped(vars(turn)) for turn in saved.turns)
    parts = {
        "format": dumped(_FORMAT),
        "version": dumped(VERSION),
        "model": dumped(saved.model),
        "settings": dumped(fields),
        "turns": f"[\n{turns}\n ]" if turns else "[]",
    }
    return "{\n" + ",\n".join(f' "{name}": {value}' for name, value in parts.items()) + "\n}\n"


def _preference_fields(preference: Preference) -> dict[str, Any]:
    fields = dict(vars(preference))
    if not preference.prompt:
        del fields["prompt"]  # files of before have none
    return fields


def _json(data: bytes) -> Any:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number of JSON")

    def no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice!r:.60} is there twice")
        return content

    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(f"line {line}", "not UTF-8 text")
    try:
        return json.loads(text, parse_constant=no_constant, object_pairs_hook=no_twice)
    except json.JSONDecodeError as error:
        _refuse(f"line {error.lineno}, column {error.colno}", f"not JSON: {error.msg}")
    except RecursionError:
        _refuse("", "not a conversation: it is nested too deeply")
    except ValueError as error:
        _refuse("", f"not a conversation: {str(error)[:200]}")


def _refuse(place: str, problem: str) -> NoReturn:
    raise ConversationFileError(problem, place=place)


class _Fields:
    """The members of a JSON object, taken one by one."""

    def __init__(self, place: str, content: Any) -> None:
        if not isinstance(content, dict):
            _refuse(place, f"must be an object, got {_shown(content)}")
        self.content: dict[str, Any] = content
        self._place = place
        self._taken: set[str] = set()

    def take(self, name: str, check: Callable[[str, Any], Value]) -> Value:
        place = f"{self._place}.{name}" if self._place else name
        if name not in self.content:
            _refuse(place, "it is missing")
        self._taken.add(name)
        return check(place, self.content[name])

    def end(self) -> None:
        """Refuse what nobody took."""
        for name in self.content:
            if name not in self._taken:
                _refuse(self._place, f"there is no such thing as {name!r:.60} here")


def _shown(value: Any) -> str:
    return f"{value!r:.40}" if isinstance(value, str | int | float | None) else type(value).__name__


def _string(place: str, value: Any) -> str:
    if not isinstance(value, str):
        _refuse(place, f"must be a text, got {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(place, "it holds a lone surrogate, which UTF-8 can't express")
    return value


def _integer(lowest: int, highest: int | None) -> Callable[[str, Any], int]:
    def check(place: str, value: Any) -> int:
        if type(value) is not int or value < lowest or (highest is not None and value > highest):
            up_to = f" to {highest}" if highest is not None else " or more"
            _refuse(place, f"must be a whole number, {lowest}{up_to}, got {_shown(value)}")
        return value

    return check


def _number(place: str, value: Any) -> float:
    if type(value) not in (int, float):
        _refuse(place, f"must be a number, got {_shown(value)}")
    return float(value) if abs(value) < 1e300 else math.inf


def _optional(check: Callable[[str, Any], Value]) -> Callable[[str, Any], Value | None]:
    return lambda place, value: None if value is None else check(place, value)


def _list_of(check: Callable[[str, Any], Value]) -> Callable[[str, Any], list[Value]]:
    def check_all(place: str, value: Any) -> list[Value]:
        if not isinstance(value, list):
            _refuse(place, f"must be a list, got {_shown(value)}")
        return [check(f"{place}[{index}]", item) for index, item in enumerate(value)]

    return check_all


def _mapping(place: str, value: Any) -> Mapping[str, Any]:
    return _Fields(place, value).content


def _made(place: str, make: Callable[[], Value]) -> Value:
    """What one of our own types makes of a value; its complaint, with the place."""
    try:
        return make()
    except AmuletError as error:
        _refuse(place, str(error))
    except RecursionError:
        _refuse(place, "it is nested too deeply")


def _preference(place: str, value: Any) -> Preference:
    fields = _Fields(place, value)
    text, weight = fields.take("text", _string), fields.take("weight", _number)
    name = fields.take("name", _string)
    prompt = fields.take("prompt", _string) if "prompt" in fields.content else ""
    fields.end()
    return _made(place, lambda: Preference(text=text, weight=weight, name=name, prompt=prompt))


def _settings(place: str, value: Any) -> ConversationSettings:
    fields = _Fields(place, value)
    optional_string = _optional(_string)
    changes: dict[str, Any] = {
        "preference": tuple(fields.take("preference", _list_of(_preference))) or None,
        "avoid": tuple(fields.take("avoid", _list_of(_preference))) or None,
        **{
            name: fields.take(name, optional_string)
            for name in ("method", "preset", "system", "placement", "on_full")
        },
    }
    amulet = fields.take("amulet", _optional(_mapping))
    sampling = fields.take("sampling", _mapping)
    fields.end()
    if amulet is not None:
        changes["amulet"] = _made(f"{place}.amulet", lambda: AmuletParams(**amulet))
    changes["sampling"] = _made(f"{place}.sampling", lambda: SamplingParams(**sampling))
    return _made(place, lambda: ConversationSettings().changed(changes))


def _turn(place: str, value: Any) -> Turn:
    fields = _Fields(place, value)
    turn = Turn(
        question=fields.take("question", _question),
        answer=fields.take("answer", _string),
        token_ids=tuple(fields.take("token_ids", _list_of(_integer(0, _MAX_TOKEN_ID)))),
        finish_reason=fields.take("finish_reason", _finish_reason),
        n_dropped=fields.take("n_dropped", _integer(0, None)),
        preferences=tuple(fields.take("preferences", _list_of(_string))),
        seed=fields.take("seed", _optional(_integer(0, 2**32 - 2))),
        reasoning=fields.take("reasoning", _string),
    )
    fields.end()
    return turn


def _question(place: str, value: Any) -> str:
    if not _string(place, value).strip():
        _refuse(place, "it is blank")
    return _string(place, value)


def _finish_reason(place: str, value: Any) -> FinishReason:
    for known in get_args(FinishReason):
        if value == known:
            return known  # type: ignore[no-any-return]
    return _refuse(
        place, f"must be one of {', '.join(get_args(FinishReason))}, got {_shown(value)}"
    )
