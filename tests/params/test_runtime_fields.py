"""What a type checker knows of `load`, and what is said at run time."""

from __future__ import annotations

from importlib.resources import files
from typing import get_type_hints

import pytest

from amulet_local import RuntimeParams, load
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.runtime_fields import RuntimeFields


def test_the_package_says_that_it_is_typed() -> None:
    assert files("amulet_local").joinpath("py.typed").is_file()


def test_the_arguments_of_load_are_the_fields_of_runtime_params() -> None:
    assert list(get_type_hints(RuntimeFields)) == list(RuntimeParams.model_fields)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("n_ctxx", "n_ctxx: no such parameter; did you mean 'n_ctx'"),
        ("temperature", r"for an answer: engine.generate\(...\) with sampling=SamplingParams"),
        ("preference", r"for an answer: engine.generate\(..., preference="),
        ("kl_budget", "amulet="),
        ("ctx_size", "did you mean 'n_ctx'"),
        ("model_path", r"load\('model.gguf', "),
    ],
)
def test_a_mistaken_argument_of_load_is_answered_with_what_to_write(name: str, hint: str) -> None:
    with pytest.raises(InvalidParameterError, match=hint):
        load("no-such-model", **{name: 2})  # type: ignore[arg-type]
