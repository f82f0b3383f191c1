"""Every field says what it is as an option, once, and what it says agrees with its type."""

from __future__ import annotations

import copy
import pickle
from typing import Any, get_args, get_origin

import pytest

from amulet_local import AmuletParams, RuntimeParams, SamplingParams
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.derived_fields import plain_type
from amulet_local.params.learn import LearnParams
from amulet_local.params.option import Option

PARAMS = (AmuletParams, SamplingParams, RuntimeParams, LearnParams)
IN_PYTHON_ALONE = {"tail_tokens"}
ANSWERS = (AmuletParams, SamplingParams, RuntimeParams)
"""What one command takes together."""
NUMBERS = {int, float}
TYPES: dict[str, set[Any]] = {
    "number": NUMBERS,
    "seed": {int},
    "layers": {int, str},
    "text": {str, dict},
    "numbers": {tuple},
    "range": {tuple},
    "texts": {tuple},
    "escaped": {tuple},
    "words": {tuple},
    "json": {dict},
    "biases": {dict},
    "switch": {bool},
    "flag": {bool},
    "off": {bool},
}


@pytest.mark.parametrize("kind", PARAMS)
def test_a_value_without_its_name_is_answered_with_how_to_give_one(kind: Any) -> None:
    field = next(iter(kind.options))
    expected = f"{kind.__name__} takes its arguments by name: {kind.__name__}\\({field}=...\\)"
    with pytest.raises(TypeError, match=expected):
        kind(2048)
    made = kind()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


def fields_of(params: Any) -> dict[str, Any]:
    return {field.alias or name: field for name, field in params.model_fields.items()}


def kinds_of(type_: Any) -> set[Any]:
    """Classes of the values that a type allows, but for None."""
    if (origin := get_origin(type_)) in (tuple, dict):
        return {origin}
    parts = get_args(type_)
    if not parts:
        return set() if type_ is type(None) else {type_}
    if all(isinstance(part, str) for part in parts):
        return {str}
    return set().union(*(kinds_of(part) for part in parts))


@pytest.mark.parametrize("params", PARAMS)
def test_every_field_says_once_what_it_is_as_an_option(params: Any) -> None:
    said = {
        name: [item for item in field.metadata if isinstance(item, Option)]
        for name, field in fields_of(params).items()
        if name not in IN_PYTHON_ALONE
    }
    assert all(len(options) == 1 for options in said.values())
    assert {name: options[0] for name, options in said.items()} == params.options


def test_no_two_options_of_a_command_share_a_name() -> None:
    options = [one for params in ANSWERS for one in params.options.values()]
    flags = [flag for one in options for flag in one.flags.split()]
    flags += [flag for one in options if one.file for flag in one.file.flags.split()]
    flags += [f"--no-{one.flag[2:]}" for one in options if one.kind == "switch"]
    for names in (
        flags,
        [name for params in ANSWERS for name in params.options],
        [name for one in options for name in one.chat],
        [one.eval for one in options if one.eval],
    ):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("params", PARAMS)
def test_how_a_value_is_written_agrees_with_its_type(params: Any) -> None:
    for name, field in fields_of(params).items():
        if name in IN_PYTHON_ALONE:
            continue
        kind = params.options[name].kind
        assert kinds_of(plain_type(field.annotation)) <= TYPES[kind], name
        if kind in ("flag", "off"):
            assert field.default is (kind == "off"), name


@pytest.mark.parametrize("params", PARAMS)
def test_a_neutral_value_is_within_the_limits_and_changes_nothing(params: Any) -> None:
    for name, one in params.options.items():
        if one.neutral is not None:
            assert not params(**{name: one.neutral}).uses(name)


@pytest.mark.parametrize("levels", [0, 100_000])
def test_what_is_too_large_to_be_shown_is_refused_in_one_line(levels: int) -> None:
    value: Any = 10**5000
    for _ in range(levels):
        value = {"x": value}
    with pytest.raises(InvalidParameterError, match=r"^alpha: .{1,80}, got a (int|dict) that is"):
        AmuletParams(alpha=value)


def test_low_memory_sets_what_isnt_given() -> None:
    assert RuntimeParams(low_memory=True).n_batch == 64
    small = RuntimeParams(low_memory=True, n_batch=32, cache_type_v="f16")
    assert (small.n_batch, small.cache_type_k, small.cache_type_v) == (32, "q8_0", "f16")
    assert small.replace(n_ctx=64).n_batch == 32
    assert RuntimeParams(low_memory=False) == RuntimeParams()


@pytest.mark.parametrize(
    ("name", "meant"), [("temp", "temperature"), ("predict", "max_tokens"), ("ngl", "n_gpu_layers")]
)
def test_a_flags_name_is_answered_with_the_fields(name: str, meant: str) -> None:
    kind = RuntimeParams if name == "ngl" else SamplingParams
    with pytest.raises(InvalidParameterError, match=f"{name}: .* did you mean '{meant}'"):
        kind(**{name: 3})
