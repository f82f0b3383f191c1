"""The user's settings file: preferences and mixes with a name, and settings of single models.

    [preferences]
    teacher = "like a patient teacher, with an example"
    rhyme = { text = "in rhyme", prompt = "Write all of the answer {text}." }

    [mixes]
    work = ["formal:0.7", "concise:0.5", "teacher", "sycophantic:-0.5"]

    [models.smollm2]
    guidance_scale = 2.5

    [models."Qwen2.5-7B-Instruct-Q4_K_M"]
    kl_budget = 0.6

Reads `settings.toml` in the user's configuration folder and checks all of it; settings_editor.py
changes it. Knows nothing about prompts or engines.

- Names have Latin letters, digits, '-' and '_'. Upper and lower case are the same, a preference
  and a mix can't share a name, and no name may be a built-in one.
- The text of a preference is taken as it stands. Instead of a text there may be a table, whose
  `prompt` is the sentence that goes into the prompt as it is, with {text} for the table's `text`; a
  prompt without {text} needs none. {{ and }} are braces.
- What a mix is made of is written as for
  --preference: built-in names, names of [preferences] and free text, each with a weight if it isn't
  1 (the rule is names.py's). A mix can't be part of a mix.
- A model is called what -m gets, what the catalogue calls it, or as its file without the folder;
  '.gguf' may be left out. A name with a dot needs quotes. Where several fit, the first of these
  three counts.
- guidance_scale, 0 to 20, kl_budget, 0 to 1000 nats or "off", and kl_target, 0 to 1000 nats, are
  the strength with that model where none is asked for: they take the place of the default
  preset's. `amulet-local tune` writes them.

Whatever else is in the file is an error that says the line. No file is the same as an empty one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

from pydantic import Field

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidParameterError, SettingsError
from amulet_local.common.toml_lines import line_of
from amulet_local.common.user_folders import config_folder
from amulet_local.params.base import StrictParams
from amulet_local.preferences.names import (
    BUILT_IN_PREFERENCES,
    WeightedText,
    did_you_mean,
    is_name,
    name_problem,
    weighted,
    word_problem,
)
from amulet_local.preferences.wording import from_template, template_problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_FILE_BYTES = 64 * 1024
MAX_ENTRIES = 500
"""Most preferences, mixes and models, each."""
MAX_TEXT_LENGTH = 4000
"""Longest text of a preference, in characters."""
MAX_MEMBERS = 16
"""Most preferences in a mix; each is a row to compute."""
MAX_GUIDANCE_SCALE = 20
MAX_KL_BUDGET = 1000
Scale: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=MAX_GUIDANCE_SCALE)]
KlBudget: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=MAX_KL_BUDGET)] | Literal["off"]
"""Nats a token, or no budget."""
KlTarget: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=MAX_KL_BUDGET)]
"""Nats a token, on average."""

_FILE_NAME = "settings.toml"
_TABLES = ("preferences", "mixes", "models")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){64}""")
"""A key of so many parts, for which tomllib takes the square of them: 20,000 cost 4 s."""
_END = re.compile(r"(.*) \(at (?:line ([0-9]+), column [0-9]+|end of document)\)", re.DOTALL)


class UserModelSettings(StrictParams):
    """What the user wants with one model. What a file may set is described, for what is wrong.

    Attributes:
        guidance_scale, kl_budget, kl_target: the strength where none is asked for, each None for
            the default preset's; a scale or budget without a target has none.
        warnings: why the settings file wasn't used, if it wasn't.

    Raises:
        InvalidParameterError: a value is out of range.
    """

    guidance_scale: Scale | None = Field(
        default=None, description=f"a number from 0 to {MAX_GUIDANCE_SCALE}"
    )
    kl_budget: KlBudget | None = Field(
        default=None, description=f'a number from 0 to {MAX_KL_BUDGET} or "off"'
    )
    kl_target: KlTarget | None = Field(
        default=None, description=f"a number from 0 to {MAX_KL_BUDGET}"
    )
    warnings: tuple[str, ...] = ()

    @property
    def as_written(self) -> dict[str, float | str]:
        """What is set of the strength, as the file has it."""
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name in MODEL_KEYS
            if (value := getattr(self, name)) is not None
        }

    @property
    def strength(self) -> dict[str, float | None]:
        """What is set of the strength, as fields of AmuletParams."""
        return {
            name: None if value == "off" else value
            for name in MODEL_KEYS
            if (value := getattr(self, name)) is not None
        }


PREFERENCE_KEYS = ("text", "prompt")
"""What a preference's table may hold."""

MODEL_KEYS = {
    name: one.description
    for name, one in UserModelSettings.model_fields.items()
    if one.description is not None
}
"""What a model's table may hold: keys, and what their values have to be."""


@dataclass(frozen=True, kw_only=True)
class UserSettings:
    """The content of the file, in its order.

    Attributes:
        preferences: texts by name.
        prompts: templates of those that have one, by name.
        mixes: what they are made of, as it is written, by name.
        models: settings by model.
    """

    preferences: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    prompts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    mixes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, UserModelSettings] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the preferences and mixes."""
        return (*self.preferences, *self.mixes)

    def own_name(self, name: str) -> str | None:
        """A name as the file has it, None if it isn't there."""
        return next((own for own in self.names if own.lower() == name.lower()), None)

    def of_model(self, names: Iterable[str]) -> UserModelSettings:
        """Settings of the model that has these names, the most telling first."""
        own = self.own_model(names)
        return UserModelSettings() if own is None else self.models[own]

    def own_model(self, names: Iterable[str]) -> str | None:
        """What the file calls the model that has these names, None if it isn't there."""
        by_name = {_model_key(name): name for name in self.models}
        return next((by_name[key] for key in map(_model_key, names) if key in by_name), None)


def settings_path() -> Path:
    """Where the file is, or would be: in the folder for settings, or what that names, if a file."""
    named = config_folder()
    is_file = named.suffix == ".toml" and not os.path.isdir(named)
    return named if is_file else named / _FILE_NAME


def read_settings() -> UserSettings:
    """What the user's file says.

    Raises:
        FileAccessError: it is there and can't be read.
        SettingsError: something in it can't be used.
    """
    data = read_bytes(settings_path())
    return UserSettings() if data is None else parse_settings(data)


def settings_of_model(names: Iterable[str]) -> UserModelSettings:
    """Settings of the model that has these names, see model_store.names_of.

    A file that can't be used is a warning here: nobody who loads a model asked for the file.
    """
    try:
        return read_settings().of_model(names)
    except (FileAccessError, SettingsError) as error:
        return UserModelSettings(warnings=(f"your settings aren't used: {error}",))


def read_bytes(path: Path) -> bytes | None:
    """The file as it is, None if there is none.

    Raises:
        FileAccessError: it can't be read, is too large, or is no file.
    """
    try:
        data = private_files.beginning(path, MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileAccessError(f"can't read the settings file {path}: {error.strerror}") from None
    if data is None:
        raise FileAccessError(f"the settings file {path} isn't a file")
    if len(data) > MAX_FILE_BYTES:
        raise FileAccessError(
            f"the settings file {path} has more than {MAX_FILE_BYTES // 1024} KiB"
        )
    return data


def parse_settings(data: bytes) -> UserSettings:
    """What the bytes of a settings file say.

    Raises:
        SettingsError: something in them can't be used.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(data.count(b"\n", 0, error.start) + 1, "not UTF-8 text; convert the file")
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        _refuse(text.count("\n", 0, long_key.start()) + 1, "a key of more than 64 parts")
    return _Document(text).settings()


def text_problem(text: str) -> str | None:
    """Why a preference can't have this text, None if it can."""
    if not text.strip():
        return "there is no text"
    if len(text) > MAX_TEXT_LENGTH:
        return f"the text has {len(text)} characters, at most {MAX_TEXT_LENGTH} are allowed"
    control = _CONTROL.search(text)
    if control is not None:
        return f"the text has the control character {control[0]!r} in it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text isn't UTF-8"
    return None


class _Document:
    """A parsed file: checks one table after the other, and knows the lines for what is wrong."""

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = _END.fullmatch(str(error))
            reason = found[1] if found else str(error)
            line = int(found[2]) if found and found[2] else text.rstrip().count("\n") + 1
            _refuse(line, f"not TOML: {reason[:1].lower()}{reason[1:]}")
        except (ValueError, RecursionError):  # a number of 5,000 digits; 1,000 brackets
            _refuse(self._last_good_line() + 1, "not TOML: a number or a list that is too large")

    def settings(self) -> UserSettings:
        """Everything in the file."""
        for table, entries in self._content.items():
            if table not in _TABLES:
                kind = "table" if isinstance(entries, dict) else "key"
                self._fail([table], f"unknown {kind}; {did_you_mean(table, _TABLES)}{_known()}")
            if not isinstance(entries, dict):
                self._fail([table], f"has to be a table, with [{table}] on a line of its own")
            if len(entries) > MAX_ENTRIES:
                self._fail([table], f"has {len(entries)} entries, at most {MAX_ENTRIES} can be")
        self._check_names()
        preferences, prompts = {}, {}
        for name in self._table("preferences"):
            preferences[name], prompt = self._preference(name)
            if prompt:
                prompts[name] = prompt
        mixes = {name: self._mix(name) for name in self._table("mixes")}
        return UserSettings(
            preferences=MappingProxyType(preferences),
            prompts=MappingProxyType(prompts),
            mixes=MappingProxyType(mixes),
            models=MappingProxyType(dict(self._models())),
        )

    def _table(self, name: str) -> dict[str, Any]:
        table: dict[str, Any] = self._content.get(name, {})
        return table

    def _check_names(self) -> None:
        taken: dict[str, str] = {}
        for table in ("preferences", "mixes"):
            for name in self._table(table):
                problem = name_problem(name)
                if problem is not None:
                    self._fail([table, name], problem)
                if name.lower() in taken:
                    self._fail([table, name], f"{taken[name.lower()]} is called so already")
                taken[name.lower()] = f"{table}.{name}"

    def _preference(self, name: str) -> tuple[str, str]:
        """The text of a preference and its template, empty if it has none."""
        where = ["preferences", name]
        value = self._table("preferences")[name]
        if not isinstance(value, dict):
            return self._text_at(where, value), ""
        for key in value:
            if key not in PREFERENCE_KEYS:
                hint = did_you_mean(key, PREFERENCE_KEYS)
                self._fail([*where, key], f"unknown key; {hint}there are text and prompt")
        if not value:
            self._fail(where, "has neither a text nor a prompt")
        text = self._text_at([*where, "text"], value["text"]) if "text" in value else ""
        if "prompt" not in value:
            return text, ""
        prompt = self._text_at([*where, "prompt"], value["prompt"])
        problem = template_problem(prompt, has_text=bool(text))
        if problem is None:
            problem = text_problem(from_template(prompt, text))
        if problem is not None:
            self._fail([*where, "prompt"], problem)
        return text or from_template(prompt, ""), prompt

    def _text_at(self, where: Sequence[str], text: object) -> str:
        problem = text_problem(text) if isinstance(text, str) else "has to be a text in quotes"
        if problem is not None:
            self._fail(where, problem)
        assert isinstance(text, str)
        return text

    def _mix(self, name: str) -> tuple[str, ...]:
        members = self._table("mixes")[name]
        if not isinstance(members, list) or not members:
            self._fail(["mixes", name], 'has to be a list such as ["formal:0.7", "concise"]')
        if len(members) > MAX_MEMBERS:
            self._fail(["mixes", name], f"has {len(members)} parts, at most {MAX_MEMBERS} can be")
        parts = [self._member(name, place, member) for place, member in enumerate(members)]
        if not any(part.weight for part in parts):
            self._fail(["mixes", name], "every weight is 0, so there is nothing to follow")
        return tuple(members)

    def _member(self, mix: str, place: int, member: object) -> WeightedText:
        where: list[str | int] = ["mixes", mix, place]
        if not isinstance(member, str):
            self._fail(where, f"{_short(member)} has to be a text in quotes")
        problem = text_problem(member)
        if problem is not None:
            self._fail(where, problem)
        try:
            part = weighted(member)
        except InvalidParameterError as error:
            self._fail(where, str(error))
        if part.is_name:
            self._check_member_name(where, part.text)
        return part

    def _check_member_name(self, where: Sequence[str | int], name: str) -> None:
        known = [*BUILT_IN_PREFERENCES, *self._table("preferences")]
        if name.lower() in map(str.lower, known):
            return
        if name.lower() in map(str.lower, self._table("mixes")):
            self._fail(where, f"{name!r:.80} is a mix; a mix can't be part of a mix")
        problem = word_problem(name, known)
        if problem is not None:
            self._fail(where, problem)

    def _models(self) -> Iterator[tuple[str, UserModelSettings]]:
        taken: dict[str, str] = {}
        for model, entries in self._table("models").items():
            where = ["models", model]
            if not isinstance(entries, dict):
                self._fail(where, f"has to be a table, with [models.{_quoted(model)}] on a line")
            key = _model_key(model)
            if not key:
                self._fail(where, "a model needs a name")
            if key in taken:
                self._fail(where, f"models.{_quoted(taken[key])} is the same model")
            taken[key] = model
            for name, value in entries.items():
                self._check_strength(where, name, value)
            yield model, UserModelSettings(**entries)

    def _check_strength(self, model: Sequence[str], name: str, value: object) -> None:
        where = [*model, name]
        if name not in MODEL_KEYS:
            self._fail(where, _unknown_model_key(model[-1], name, value))
        try:
            UserModelSettings(**{name: value})
        except InvalidParameterError:
            self._fail(where, f"has to be {MODEL_KEYS[name]}, not {_short(value)}")

    def _last_good_line(self) -> int:
        """The last line up to which the text can be parsed."""
        low, high = 0, self._text.count("\n") + 1
        lines = self._text.split("\n")
        while high - low > 1:
            middle = (low + high) // 2
            try:
                tomllib.loads("\n".join(lines[:middle]))
                low = middle
            except tomllib.TOMLDecodeError:
                low = middle  # cut in the middle of a value; the trouble comes later
            except (ValueError, RecursionError):
                high = middle
        return low

    def _fail(self, keys: Sequence[str | int], reason: str) -> NoReturn:
        names = [_quoted(key) for key in keys if isinstance(key, str)]
        _refuse(line_of(self._text, keys), f"{'.'.join(names)}: {reason.strip()}")


def _refuse(line: int, reason: str) -> NoReturn:
    raise SettingsError(f"{settings_path().name}, line {line}: {reason}", line=line)


def _model_key(name: str) -> str:
    return name.lower().removesuffix(".gguf")


def _known() -> str:
    return "there are " + ", ".join(f"[{table}]" for table in _TABLES)


def _unknown_model_key(model: str, key: str, value: object) -> str:
    if isinstance(value, dict):
        whole = f"{model}.{key}"
        return f"a name with a dot in it needs quotes: [models.{_quoted(whole)}]"
    return f"unknown key; {did_you_mean(key, MODEL_KEYS)}there are {' and '.join(MODEL_KEYS)}"


def _quoted(key: str) -> str:
    """A key as TOML spells it, more or less; safe to print."""
    return key[:80] if is_name(key) else '"' + repr(key[:80])[1:-1] + '"'


def _short(value: object) -> str:
    if isinstance(value, dict | list):  # may be nested too deep to be shown
        return "a table" if isinstance(value, dict) else "a list"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
