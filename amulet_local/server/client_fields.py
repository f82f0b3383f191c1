"""What programs send beside what they ask for: other names, neutral values, habits.

Knows nothing about HTTP, models or what the fields do. Bodies of chat front ends, editors and
gateways hold each server's own fields at once; `understood` leaves those that fields.py reads, and
says which ask for something that isn't done here. A misspelt one is among these.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.readable import a_line_each, visible

HABITS = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prediction", "drop_params"),
        *("backend_sampling", "dynatemp_exponent"),
        *("adaptive_decay", "n_cache_reuse", "keep_alive", "truncation"),
        *("spaces_between_special_tokens", "chat_format"),
        *("chat_id", "session_id", "background_tasks"),  # Open WebUI's own, for itself
    }
)
"""Fields that change nothing about an answer, here or anywhere, whatever their value."""

TRUE_ELSEWHERE = frozenset({"skip_special_tokens", "parse_tool_calls"})
"""Fields that ask for something where they are false."""

ALWAYS = frozenset({"web_search_options"})
"""Fields that ask for something whatever they hold."""

RENAMED = {
    "n_cmpl": "n",
    "repetition_penalty": "repeat_penalty",
    "typ_p": "typical_p",
    "slot_id": "id_slot",
    "guided_json": "json_schema",
    "guided_grammar": "grammar",
}
"""Other servers' names for the same."""

SAMPLERS: Mapping[str, tuple[str, dict[str, float]]] = {
    "penalties": (
        "e",
        {"repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    ),
    "dry": ("d", {"dry_multiplier": 0.0}),
    "top_n_sigma": ("s", {}),
    "top_k": ("k", {"top_k": 0}),
    "typ_p": ("y", {"typical_p": 1.0}),
    "top_p": ("p", {"top_p": 1.0}),
    "min_p": ("m", {"min_p": 0.0}),
    "xtc": ("x", {"xtc_probability": 0.0}),
    "temperature": ("t", {"temperature": 1.0}),
}
"""llama.cpp's samplers in its order: the letter, and what leaving it out means."""
_NOTHING: tuple[Any, ...] = (False, 0, "", [], {})
_NOTHING_OR_NULL = (None, *_NOTHING)
_HARMLESS = HABITS | {"model"}
NEUTRAL: Mapping[str, Collection[Any] | Callable[[Any], bool]] = {
    "adaptive_target": lambda value: _is_number(value) and value < 0,
    "best_of": (1,),
    "features": lambda value: isinstance(value, Mapping) and not any(value.values()),
    "length_penalty": (1,),
    "modalities": (["text"],),
    "n_keep": (0, -1),
    "num_beams": (1,),
    "reasoning_budget": (-1,),
    "t_max_predict_ms": (0, -1),
    "tfs_z": (1,),
    "thinking_budget_tokens": (-1,),
    "top_n_sigma": lambda value: _is_number(value) and value <= 0,
    "verbosity": ("medium",),
}
"""Fields that nothing is done for, and what asks for nothing, besides 0, false and none."""

REASONING_FORMATS = {
    "auto": "separate",
    "deepseek": "separate",
    "deepseek-legacy": "separate",
    "none": "inline",
}
_OF_REASONING = ("effort", "enabled", "type", "summary", "generate_summary", "display")
"""What is done of `reasoning` and `thinking`; what is said of reasoning is all of it."""
_SMALLEST_SHARE = 1e-6
"""Of probability: the likeliest token alone."""


def understood(
    body: Mapping[str, Any],
    known: Collection[str],
    biased: Callable[[str], list[int]],
    n_tokens: int,
) -> tuple[dict[str, Any], list[str]]:
    """The fields that are read here, and a line for each other one that asks for something.

    Args:
        body: what a client sent.
        known: names that are read.
        biased: token ids of a text whose tokens are to be biased.
        n_tokens: of the vocabulary.

    Raises:
        InvalidParameterError: functions are to be called, or a logit_bias is no list or object.
    """
    given = {name: value for name, value in body.items() if value is not None}
    nested = given.pop("extra_body", None)  # of the openai client, sent as it is by gateways
    if isinstance(nested, Mapping):
        given = {**{k: v for k, v in nested.items() if v is not None}, **given}
    for name, own in RENAMED.items():
        if name in given and name not in known:
            given.setdefault(own, given.pop(name))
    lines = _without_tools(given)
    _plain_values(given)
    if "logit_bias" in given:
        given["logit_bias"], others = _biases(given["logit_bias"], biased, n_tokens)
        lines += others
    lines += [*_choice_of_samplers(given), *_reasoning(given)]
    kept, unknown = {}, []
    for name, value in given.items():
        if name in known:
            kept[name] = value
        elif (
            name not in HABITS
            and not name.startswith("speculative")
            and not _asks_nothing(name, value)
        ):
            unknown.append(name)
    return kept, [*lines, *_unknown(unknown, known)]


def unread(body: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """A line for each field of a body that isn't an answer's, asks for something and isn't read."""
    asking = [
        name
        for name, value in body.items()
        if name not in known and name not in _HARMLESS and value not in _NOTHING_OR_NULL
    ]
    return _unknown(asking, known)


def _unknown(names: Sequence[str], known: Collection[str]) -> list[str]:
    def line(name: str) -> str:
        near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.75)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{visible(f'{name:.40}')}: no such parameter, so it changes nothing{hint}"

    return a_line_each(names, line)


def _asks_nothing(name: str, value: Any) -> bool:
    neutral = NEUTRAL.get(name, ())
    if name in ALWAYS:
        return False
    if name in TRUE_ELSEWHERE:
        return value is not False
    if callable(neutral):
        return value in _NOTHING or neutral(value)
    return value in _NOTHING or value in neutral


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _choice_of_samplers(given: dict[str, Any]) -> list[str]:
    """Turn off the samplers that a client leaves out; another order than llama.cpp's stays, and so
    does the likeliest token for who asks for it (a temperature of 0).

    Returns:
        A line for those that aren't here.
    """
    value = given.get("samplers")
    if isinstance(value, str):
        letters = {letter: name for name, (letter, _) in SAMPLERS.items()}
        value = [letters.get(letter, letter) for letter in value]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        return []
    here = [name for name in value if name in SAMPLERS]
    if not here or here != [name for name in SAMPLERS if name in here]:
        return []
    del given["samplers"]
    for name, (_, off) in SAMPLERS.items():
        if name not in here and not (name == "temperature" and given.get(name) == 0):
            given.update(off)
    others = ", ".join(f"{name:.40}" for name in value if name not in here)
    return [f"samplers: {visible(others)} isn't done here, the others are"] if others else []


def _without_tools(given: dict[str, Any]) -> list[str]:
    """Leave out tools that aren't to be called, and those that a provider would run.

    Returns:
        A line for each kind of the latter.

    Raises:
        InvalidParameterError: they are, and are given as before there were tools.
    """
    kinds = []
    if isinstance(given.get("tools"), list):
        kinds = [*dict.fromkeys(filter(None, map(_kind_of_others, given["tools"])))]
        given["tools"] = [tool for tool in given["tools"] if not _kind_of_others(tool)]
    if not given.get("tools") or given.get("tool_choice") == "none":
        given.pop("parallel_tool_calls", None)
    for tools, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        chosen = given.get(choice, "auto")
        if chosen == "none" or (not given.get(tools) and chosen == "auto"):
            given.pop(tools, None)
            given.pop(choice, None)
        elif tools == "functions":
            raise InvalidParameterError(
                'functions: they aren\'t supported; send tools, or function_call "none"'
            )
    return a_line_each(
        kinds, lambda kind: f"tools: {visible(kind[:40])!r} is no function, so it isn't called here"
    )


def _kind_of_others(tool: Any) -> str:
    """What a tool is that is no function; nothing for one, or for what is no tool."""
    kind = tool.get("type", "function") if isinstance(tool, Mapping) else "function"
    return kind if isinstance(kind, str) and kind != "function" else ""


def _plain_values(given: dict[str, Any]) -> None:
    """Values in the one form that fields.py reads."""
    stop = given.get("stop")
    if isinstance(stop, list):
        given["stop"] = [text for text in stop if text not in ("", None)]
    if given.get("stop") in ("", []):
        del given["stop"]
    for name in ("top_p", "typical_p"):
        if name in given and given[name] == 0 and given[name] is not False:
            given[name] = _SMALLEST_SHARE
    if given.get("top_logprobs") == 0 or given.get("logprobs") is False:
        given.pop("top_logprobs", None)
    if not given.get("stream"):
        given.pop("stream_options", None)
    for name in ("grammar", "response_prefix"):
        if given.get(name) == "":
            del given[name]


def _biases(
    value: Any, biased: Callable[[str], list[int]], n_tokens: int
) -> tuple[dict[Any, Any], list[str]]:
    """Biases by token id; a text in place of an id stands for each of its tokens.

    Returns:
        Them, and a line for each token that this vocabulary hasn't: ids of another model's.
    """
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise InvalidParameterError(
            "logit_bias: must map tokens to biases, or be a list of such pairs"
        )
    result: dict[Any, Any] = {}
    unknown = []
    for token, bias in pairs:
        is_text = isinstance(token, str) and not token.strip().lstrip("-").isdecimal()
        for one in biased(token) if is_text else [token]:
            if isinstance(one, list | dict):
                raise InvalidParameterError("logit_bias: a token must be an id or a text")
            if _is_outside(one, n_tokens):
                unknown.append(f"{one!s:.40}")
            else:
                result[one] = bias
    return result, a_line_each(
        unknown, lambda one: f"logit_bias: this model has no token {one}, so it changes nothing"
    )


def _is_outside(token: Any, n_tokens: int) -> bool:
    """Whether it is an id, and one that the vocabulary hasn't."""
    digits = str(token).strip().lstrip("-0") if isinstance(token, int | str) else ""
    if not digits.isdecimal():
        return False
    return len(digits) > len(str(n_tokens)) or not 0 <= int(token) < n_tokens


def _reasoning(given: dict[str, Any]) -> list[str]:
    """How much a thinking model is to think, as variables of its chat template.

    Returns:
        A line for each thing that is asked for besides.
    """
    if isinstance(given.get("reasoning_format"), str):
        given["reasoning_format"] = _reasoning_format(given["reasoning_format"])
    reasoning = given.pop("reasoning", None)
    effort = given.pop("reasoning_effort", None)
    if isinstance(reasoning, Mapping):
        effort = reasoning.get("effort", effort)
    thinking = given.pop("thinking", None)
    enabled = given.pop("enable_thinking", None)
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("enabled"), bool):
        enabled = reasoning["enabled"]
    if isinstance(thinking, Mapping):
        enabled = thinking.get("type") != "disabled"
    elif isinstance(thinking, bool):
        enabled, thinking = thinking, None
    unread = [
        f"{name}: it is no object, so it changes nothing"
        for name, value in (("reasoning", reasoning), ("thinking", thinking))
        if value is not None and not isinstance(value, Mapping)
    ]
    if effort is not None and not isinstance(effort, str):
        unread.append("reasoning_effort: it is no text, so it changes nothing")
    others = [
        f"{name}.{key:.40}"
        for name, value in (("reasoning", reasoning), ("thinking", thinking))
        if isinstance(value, Mapping)
        for key in value
        if key not in _OF_REASONING and value[key] not in (None, False)
    ]
    unread += a_line_each(
        others, lambda name: f"{visible(name)}: it isn't done here, so it changes nothing"
    )
    if effort == "none" or 0 in (
        given.get("reasoning_budget"),
        given.get("thinking_budget_tokens"),
    ):
        enabled = False
    arguments = given.get("chat_template_kwargs", {})
    if not isinstance(arguments, Mapping):
        return unread
    wanted = {
        **({"reasoning_effort": effort} if isinstance(effort, str) and effort != "none" else {}),
        **({"enable_thinking": enabled} if isinstance(enabled, bool) else {}),
    }
    if wanted:
        given["chat_template_kwargs"] = {**wanted, **arguments}
    return unread


def _reasoning_format(name: str) -> str:
    """What llama-server's name for it is here.

    Raises:
        InvalidParameterError: it has no such one.
    """
    if name in REASONING_FORMATS.values():
        return name
    if name not in REASONING_FORMATS:
        *names, last = REASONING_FORMATS
        raise InvalidParameterError(
            f"reasoning_format: must be {', '.join(names)} or {last}, got {visible(name[:40])!r}"
        )
    return REASONING_FORMATS[name]
