"""Sampling options: what is taken, what is refused, and when the samplers are needed."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from amulet_local import SamplingParams
from amulet_local.common.errors import InvalidParameterError


@pytest.mark.parametrize(
    "field",
    [
        {"typical_p": 0},
        {"typical_p": 1.1},
        {"xtc_probability": -0.1},
        {"xtc_threshold": math.nan},
        {"dry_multiplier": -1},
        {"dry_base": 0.9},
        {"dry_allowed_length": -1},
        {"dry_penalty_last_n": -2},
        {"dry_sequence_breakers": "\n"},
        {"dry_sequence_breakers": [""]},
        {"dry_sequence_breakers": ["a\0b"]},
        {"dry_sequence_breakers": ["\ud800"]},
        {"dry_sequence_breakers": ["é" * 21]},
        {"dry_sequence_breakers": ["a"] * 65},
        {"mirostat": 3},
        {"mirostat_tau": -1},
        {"mirostat_eta": math.inf},
        {"logit_bias": [1, 2]},
        {"logit_bias": {-1: 1.0}},
        {"logit_bias": {"word" * 99: 1.0}},
        {"logit_bias": {True: 1.0}},
        {"logit_bias": {5: 100.5}},
        {"logit_bias": {5: math.inf}},
        {"logit_bias": {5: math.nan}},
        {"logit_bias": {5: True}},
        {"logit_bias": {5: "1"}},
        {"logit_bias": {5: 10**400}},
        {"logit_bias": dict.fromkeys(range(10_001), 1.0)},
        {"ignore_eos": "perhaps"},
        {"grammar": 5},
        {"grammar": "root ::= roo"},
        {"json_schema": 5},
        {"json_schema": ["a"]},
        {"json_schema": ""},
        {"json_schema": {"type": "text"}},
        {"json_schema": "\ud800"},
    ],
    ids=lambda field: str(field)[:40],
)
def test_what_is_out_of_range_is_refused_in_one_short_line(field: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{next(iter(field))}: ") as caught:
        SamplingParams(**field)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_biases_come_as_json_and_llama_cpp_have_them() -> None:
    taken = SamplingParams(logit_bias={"7": 1, 8: False, 9: -math.inf, 10: -100}).logit_bias
    assert taken == {7: 1.0, 8: -math.inf, 9: -math.inf, 10: -100.0}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"grammar": 'root ::= "a"', "json_schema": {}}, ["grammar", "json_schema"]),
        ({"grammar": 'root ::= "a"', "ignore_eos": True}, ["ignore_eos", "grammar"]),
        ({"json_schema": {}, "ignore_eos": True}, ["ignore_eos", "json_schema"]),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(InvalidParameterError, match="exclude each other") as caught:
        SamplingParams(**options)
    for name in names:
        assert re.search(rf"\b{name}\b", str(caught.value))


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({}, False),
        ({"top_k": 5, "typical_p": 0.5, "xtc_probability": 1, "mirostat": 2}, False),
        ({"repeat_penalty": 1.1}, True),
        ({"repeat_penalty": 1.1, "repeat_last_n": 0}, False),
        ({"dry_multiplier": 0.8}, True),
        ({"dry_multiplier": 0.8, "dry_penalty_last_n": 0}, False),
        ({"logit_bias": {5: 1.0}}, True),
        ({"logit_bias": {}}, False),
        ({"ignore_eos": True}, True),
        ({"grammar": 'root ::= "a"'}, True),
        ({"json_schema": {}}, True),
    ],
)
def test_greedy_decoding_needs_the_samplers_that_change_it(
    options: dict[str, Any], needed: bool
) -> None:
    assert SamplingParams(**options).changes_greedy == needed


def test_a_changed_copy_keeps_the_rest() -> None:
    schema = {"type": "integer"}
    first = SamplingParams(json_schema=schema, dry_sequence_breakers=["a"], logit_bias={3: 1})
    second = first.replace(seed=4)
    assert (second.seed, second.json_schema, second.logit_bias) == (4, schema, {3: 1.0})
    assert second.rules == first.rules
    assert first.replace(json_schema=None).rules is None
