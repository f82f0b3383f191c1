"""The grammar of an answer that may have, or has to have, tool calls.

Knows nothing about tokens. One grammar describes the whole answer: what is said, in which nothing
but a trigger of the form is held to anything, and from a trigger on calls whose arguments validate
against the function's schema. An answer that ends does so outside of a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from amulet_local.calling import free_text
from amulet_local.calling.forms import CallForm
from amulet_local.calling.notation import rule
from amulet_local.calling.tagged_arguments import is_text, tagged_rules
from amulet_local.calling.tools import Tools
from amulet_local.common.errors import InvalidParameterError
from amulet_local.grammar import gbnf
from amulet_local.grammar.json_rules import PRIMITIVES, quoted
from amulet_local.grammar.json_schema import to_rules
from amulet_local.grammar.schema_keywords import UnsupportedError

MAX_CALLS = 64
"""In one answer: a model that repeats itself comes to an end."""

_HARMONY = {"<|channel|>analysis<|message|>": "<|end|>"}
_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, kw_only=True)
class Calling:
    """How calls of one answer are written and held to their functions.

    Attributes:
        form: the form.
        rules: the grammar of the whole answer.
        forced: whether the answer has to be a call.
        fences: what begins a call without a trigger, and its name.
        texts: of each function the arguments that are texts.
        warnings: what isn't enforced.
    """

    form: CallForm
    rules: gbnf.Grammar
    forced: bool
    fences: Mapping[str, str]
    texts: Mapping[str, frozenset[str]]
    warnings: tuple[str, ...] = ()


def calling(
    tools: Tools,
    form: CallForm,
    *,
    closing_tag: str = "",
    reasoning_tags: Mapping[str, str] | None = None,
    said: Mapping[str, Any] | str | None = None,
) -> Calling:
    """The calls of an answer.

    Args:
        closing_tag: what ends the reasoning that the prompt has opened; empty if none.
        reasoning_tags: what may open reasoning in the answer, and what closes that.
        said: the JSON Schema of what is said where no call is made; None leaves it free.

    Raises:
        InvalidParameterError: a schema that isn't one, or one too large.
    """
    rules, warnings = _calls(tools, form)
    rules |= _said(tools, form, said)
    begins = "call-start" if tools.forced else "said"
    if closing_tag and not form.ends_reasoning:
        rules |= free_text.until(
            "thought", {closing_tag: f"gap {begins}"}, may_end=not tools.forced
        )
        root = "thought"
    else:
        root, more = _after_reasoning(begins, form, reasoning_tags or {}, tools.forced)
        rules |= more
    rules = {"root": root, "gap": "[ \\n\\t]{0,4}", "ws": PRIMITIVES["ws"], **rules}
    text = "".join(f"{name} ::= {body}\n" for name, body in rules.items())
    try:
        parsed = _parsed(text)
    except InvalidParameterError as error:
        raise InvalidParameterError(
            f"tools: their schemas are too large together ({error})"
        ) from None
    return Calling(
        form=form,
        rules=parsed,
        forced=tools.forced,
        fences={} if tools.forced or said is not None else form.fences(tools.names),
        texts={
            name: frozenset(
                key
                for key, schema in (tools.parameters(name).get("properties") or {}).items()
                if is_text(schema)
            )
            for name in tools.names
        },
        warnings=tuple(warnings),
    )


@lru_cache(maxsize=8)
def _parsed(text: str) -> gbnf.Grammar:
    from amulet_local.grammar.automaton import Automaton  # imports NumPy

    rules = gbnf.parse(text)
    Automaton(rules)  # raises where even the beginning explodes
    return rules


def _calls(tools: Tools, form: CallForm) -> tuple[dict[str, str], list[str]]:
    """Rules for what follows a trigger: `calls`; and `call-start` with the trigger before it."""
    rules: dict[str, str] = {}
    warnings = []
    heads = []
    for i, name in enumerate(tools.names):
        prefix = f"f{i}-"
        parameters = tools.parameters(name)
        try:
            if form.tags is not None:
                tagged, unheld = tagged_rules(parameters, prefix, form.tags)
                rules |= tagged
                warnings += [f"tools: {name}: {text}" for text in unheld]
            else:
                rules |= to_rules(parameters, prefix)
        except UnsupportedError as error:
            if form.tags is not None:
                rules |= tagged_rules(_any_texts(parameters), prefix, form.tags)[0]
            else:
                rules |= to_rules(_ANY_OBJECT, prefix)
            warnings.append(f"tools: the arguments of {name} are held to no schema: {error}")
        except InvalidParameterError as error:
            raise InvalidParameterError(f"tools: the parameters of {name}: {error}") from None
        heads.append(f"{rule(form.head, name)} {prefix}root")
    rules["call"] = " | ".join(heads)
    tail = rule(form.tail)
    more = ""
    if tools.parallel and form.between:
        rules["more"] = f"{rule(form.between)} call {tail}"
        more = f" more{{0,{MAX_CALLS - 1}}}"
    rules["calls"] = f"{rule(form.lead)} call {tail}{more} {rule(form.end)}"
    triggers = " | ".join(quoted(trigger) for trigger in form.triggers)
    rules["call-start"] = f"({triggers}) calls"
    return rules, warnings


def _any_texts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of the same arguments, each of them any text."""
    return {"properties": {name: {"type": "string"} for name in parameters["properties"]}}


def _said(tools: Tools, form: CallForm, schema: Mapping[str, Any] | str | None) -> dict[str, str]:
    """Rules for what is said and the calls after it: `said`."""
    if tools.forced:
        return {}
    if schema is not None:
        return {"said": "call-start | said-root", **to_rules(schema, "said-")}
    if not form.only_at_start:
        follows: dict[str, str | None] = {**dict.fromkeys(_shortest(form.triggers), "calls")}
        for text, name in form.bare(tools.names).items():
            follows[text] = f'f{tools.names.index(name)}-root ws "}}" (ws "```")?'
        return free_text.until("said", follows, may_end=True)
    (trigger,) = form.triggers
    return {"said": "call-start | text", **free_text.unless_begins("text", trigger)}


def _shortest(triggers: Sequence[str]) -> list[str]:
    """Those that no other one of them is the end of."""
    return [
        one
        for one in triggers
        if not any(one != other and one.endswith(other) for other in triggers)
    ]


def _after_reasoning(
    begins: str, form: CallForm, tags: Mapping[str, str], forced: bool
) -> tuple[str, dict[str, str]]:
    """The root and further rules where the answer itself may begin with reasoning."""
    pairs = dict(_HARMONY) if form.ends_reasoning else dict(tags)
    rules: dict[str, str] = {}
    choices = [begins]
    for i, (opening, closing) in enumerate(pairs.items()):
        name = f"thought{'abcdefgh'[i]}"
        rules |= free_text.until(name, {closing: f"gap {begins}"}, may_end=not forced)
        choices.append(f"gap {quoted(opening)} {name}")
    return " | ".join(choices), rules
