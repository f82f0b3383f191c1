"""Words that options, presets, methods and templates go by may be written in capitals."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from amulet_local.benchmark.settings import parse_parts
from amulet_local.common.errors import AmuletError, InvalidParameterError
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.evaluation.experiment.contestants import contestant
from amulet_local.evaluation.scorers.registry import expand
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.base import StrictParams
from amulet_local.params.choices import as_known, words_of
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.prompts.builtin_templates import builtin_template
from amulet_local.steering.methods import METHODS, method_named
from amulet_local.steering.presets import PRESETS, preset_named

FIELDS = [
    (kind, field.alias or name, word)
    for kind in (RuntimeParams, SamplingParams, AmuletParams)
    for name, field in kind.model_fields.items()
    for word in words_of(field.annotation)
]


@pytest.mark.parametrize(("kind", "name", "word"), FIELDS, ids=lambda item: str(item)[-20:])
def test_an_options_word(kind: type[StrictParams], name: str, word: str) -> None:
    assert kind(**{name: word.upper()}) == kind(**{name: word})


def test_there_are_such_options() -> None:
    assert {"schedule", "cache_type_k", "flash_attention"} <= {name for _, name, _ in FIELDS}


def test_what_is_given_stays_as_it_was() -> None:
    given: dict[str, Any] = {"schedule": "SERIAL"}
    assert RuntimeParams.model_validate(given).schedule == "serial"
    assert given == {"schedule": "SERIAL"}


@pytest.mark.parametrize("value", ["loud", "", 3, None, ["serial"]])
def test_what_is_none_of_the_words_stays_what_it_is(value: object) -> None:
    assert as_known(value, ("serial", "auto")) is value


def test_another_word_is_still_refused_as_it_was_written() -> None:
    with pytest.raises(InvalidParameterError, match="'Loud'"):
        RuntimeParams(schedule="Loud")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset(name: str) -> None:
    assert preset_named(name.capitalize()).name == name


def test_a_name_is_no_attribute_and_python_says_what_to_write() -> None:
    presets: Any = PRESETS
    with pytest.raises(AttributeError, match=r"write \['balanced'\] instead of \.balanced$"):
        _ = presets.balanced
    with pytest.raises(AttributeError, match=r"attribute 'loud'$"):
        _ = presets.loud
    assert copy.deepcopy(presets) == pickle.loads(pickle.dumps(presets)) == presets


@pytest.mark.parametrize("name", METHODS)
def test_a_method(name: str) -> None:
    assert method_named(name.upper()).name == name


def test_a_method_with_its_strength() -> None:
    assert contestant("Amulet:Balanced+KL=0.3") == contestant("amulet:balanced+kl=0.3")
    assert contestant("Strong") == contestant("strong")
    assert contestant("Pref@Creative").only == ("Creative",)


def test_a_conversations_settings() -> None:
    settings = ConversationSettings().changed(
        {"preset": "STRONG", "placement": "System", "on_full": "Drop_Oldest", "method": "Base"}
    )
    found = (settings.preset, settings.placement, settings.on_full, settings.method)
    assert found == ("strong", "system", "drop_oldest", "base")


def test_a_template_a_scorer_and_a_part_of_the_benchmark() -> None:
    assert builtin_template("Gemma") == builtin_template("gemma")
    assert expand(["Margin"]) == expand(["margin"])
    assert parse_parts(["Decode", "decode"], ("decode", "prefill")) == ("decode",)
    for wrong in (lambda: builtin_template("Gem"), lambda: expand(["Marg"])):
        with pytest.raises(AmuletError):
            wrong()
