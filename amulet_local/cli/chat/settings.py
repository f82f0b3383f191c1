"""A chat's settings in words: what a line of text asks for, and what holds.

Knows the names of settings and nothing about terminals or turns.
"""

from __future__ import annotations

import re
from typing import Any

import typer

from amulet_local.cli.flag_names import without_python
from amulet_local.cli.flags import number
from amulet_local.cli.meant import unquoted
from amulet_local.common.errors import InvalidParameterError
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.option import Option
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.names import did_you_mean
from amulet_local.preferences.preference import Preference, PreferenceLike
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS, adjusted_strength

OFF = ("off", "none", "no")
_OFF_OR_ON = {
    **dict.fromkeys((*OFF, "false", "0"), False),
    **dict.fromkeys(("on", "true", "1"), True),
}


def _spellings(name: str, option: Option) -> list[str]:
    """What `/set` understands as this option; nothing if it isn't one of its."""
    words = (name, *option.chat, *option.flags.split()) if option.chat else ()
    return [word.lstrip("-").replace("-", "_") for word in words]


SAMPLING = {option.chat[0]: name for name, option in SamplingParams.options.items() if option.chat}
"""What `/set` takes -> the field."""

_ALIASES = {
    other: option.chat[0]
    for name, option in SamplingParams.options.items()
    for other in _spellings(name, option)
    if len(other) > 1
}
"""What else it understands -> what `/set` calls it."""
_AT_START = {
    other: option.flags.split()[0]
    for name, option in RuntimeParams.options.items()
    for other in _spellings(name, option)
}
"""What can't change in a chat -> the flag that sets it."""
_ELSEWHERE = {
    **dict.fromkeys(("verbose", "quiet"), "/stats has the figures of the last answer"),
    **dict.fromkeys(
        ("history", "nohistory"), "what is typed is kept, unless the chat begins with --no-save"
    ),
    **dict.fromkeys(("wordwrap", "nowordwrap"), "lines always break between words"),
    **dict.fromkeys(
        ("format", "noformat"), "for answers in JSON start the chat with --json-schema SCHEMA"
    ),
    **dict.fromkeys(
        ("think", "nothink"),
        "start the chat with --chat-template-kwargs '{\"enable_thinking\": false}', or true",
    ),
}
"""What Ollama's `/set` takes -> what does it here."""
GUARDS = [name for name, option in AmuletParams.options.items() if option.kind == "switch"]
"""What `/set` takes besides, to be on or off."""
_GUARD_OFF = re.compile(rf"--no-({'|'.join(GUARDS).replace('_', '-')})(?![\w-])")
_IN_CHAT = {
    **{field: f"/set {name}" for name, field in SAMPLING.items()},
    "guidance_scale": "/strength",
    "kl_budget": "/strength kl",
}
"""Option -> what sets it in a chat."""
_LEADING = re.compile(rf"^({'|'.join(_IN_CHAT)}):")
_STRENGTH = re.compile(r"(?:kl_budget|budget|kl)\s*=?\s*(\S+)", re.IGNORECASE)


def changed_preferences(text: str, present: tuple[Preference, ...]) -> list[PreferenceLike] | None:
    """What `/preference TEXT` asks for; None for none.

    Args:
        text: a name or a description; after a '+' one more than those that are there.
    """
    if text.lower() in OFF:
        return None
    if text.startswith("+"):
        return [*present, unquoted(text[1:].strip())]
    return [unquoted(text)]


def changed_strength(
    text: str, settings: ConversationSettings, own: UserModelSettings | None
) -> AmuletParams:
    """What `/strength TEXT` asks for: a guidance scale, a KL budget ("kl 0.8"), or both.

    Raises:
        InvalidParameterError: the text is no strength, or one that is out of range.
    """
    changes: dict[str, Any] = {}
    budget = _STRENGTH.search(text)
    if budget is not None:
        value = budget[1].lower()
        changes["kl_budget"] = None if value in OFF else _number("a KL budget", value)
        text = text[: budget.start()] + text[budget.end() :]
    if text.strip():
        changes["guidance_scale"] = _number("a strength", text.strip())
    if settings.amulet is not None:
        changed: AmuletParams = settings.amulet.replace(**changes)
        return changed
    return adjusted_strength(settings.preset, changes, own=own)


def present_strength(settings: ConversationSettings, own: UserModelSettings | None) -> AmuletParams:
    """The strength and guards that hold for the method amulet."""
    if settings.amulet is not None:
        return settings.amulet
    return adjusted_strength(settings.preset, {}, own=own)


def strength_in_words(settings: ConversationSettings) -> str:
    """The preset's name, or the scale and the budget that were asked for."""
    if settings.amulet is None:
        return settings.preset or DEFAULT_PRESET
    for name, preset in PRESETS.items():
        if preset.amulet == settings.amulet:
            return name
    scale = f"scale {settings.amulet.guidance_scale:.3g}"
    target, budget = settings.amulet.kl_target, settings.amulet.kl_budget
    parts = [scale, f"KL towards {target:g}" if target is not None else ""]
    return ", ".join(filter(None, [*parts, f"KL {budget:g}" if budget is not None else ""]))


def preferences_in_words(settings: ConversationSettings) -> str:
    """What answers should be like and what not; empty for nothing."""
    wanted = [item.label for item in settings.preference]
    return ", ".join([*wanted, *(f"not {item.label}" for item in settings.avoid)])


def set_as(name: str) -> str:
    """How `/set` sets what somebody took for a command; empty for what it doesn't set."""
    key = name.replace("-", "_")
    key = _ALIASES.get(key, key)
    if key.removeprefix("no_") in GUARDS:
        return f"/set {key.removeprefix('no_')} {'off' if key.startswith('no_') else 'on, or off'}"
    return f"/set {key} VALUE" if key in (*SAMPLING, "stop", "on_full") else ""


def check_settable(name: str) -> None:
    """Whether `/set` sets something of this name.

    Raises:
        InvalidParameterError: it doesn't; the message says what does, or what it sets.
    """
    key = _key(name)
    if key in _AT_START:
        raise InvalidParameterError(
            f"{name:.40} is fixed once the model is loaded: start the chat with {_AT_START[key]}"
        )
    if key in _ELSEWHERE:
        raise InvalidParameterError(f"/set knows no {name!r:.40}: {_ELSEWHERE[key]}")
    known = [*SAMPLING, "stop", "on_full", *GUARDS]
    if _ALIASES.get(key, key) not in known:
        raise InvalidParameterError(
            f"/set knows no {name!r:.40}; {did_you_mean(key, known)}known: {', '.join(known)}"
        )


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()


def changed_sampling(name: str, value: str, present: SamplingParams) -> SamplingParams:
    """What `/set NAME VALUE` asks for.

    Args:
        name: of SAMPLING, "stop", or another word for one of these.

    Raises:
        InvalidParameterError: the value can't be used.
    """
    key = _ALIASES.get(_key(name), _key(name))
    if key == "stop":
        return _replaced(present, stop=() if value.lower() in OFF else (value,))
    field = SAMPLING[key]
    if field == "seed" and value.lower() in (*OFF, "-1", "random"):
        return _replaced(present, seed=None)
    return _replaced(present, **{field: _number(f"/set {name:.40}", value)})


def changed_guard(
    name: str, value: str, settings: ConversationSettings, own: UserModelSettings | None
) -> AmuletParams:
    """The strength and guards that hold once `/set GUARD on` or `off` does.

    Raises:
        InvalidParameterError: the value is neither.
    """
    wanted = _OFF_OR_ON.get(value.lower())
    if wanted is None:
        raise InvalidParameterError(f"/set {name} takes on or off, not {value!r:.40}")
    changed: AmuletParams = present_strength(settings, own).replace(**{name: wanted})
    return changed


def in_chat(message: str) -> str:
    """What the library says, with what a chat has for the options and flags that it names."""
    message = _LEADING.sub(lambda match: f"{_IN_CHAT[match[1]]}:", without_python(message))
    message = message.replace("(-n)", "(/set n)")
    message = re.sub(r"\((-c[^)]*)\)", r"(amulet-local chat \1)", message)
    return _GUARD_OFF.sub(r"/set \1 off", message)


def sampling_in_words(sampling: SamplingParams) -> str:
    """What `/set` shows."""
    values = [f"{name} {getattr(sampling, field)}" for name, field in SAMPLING.items()]
    return ", ".join(value.replace("seed None", "seed random") for value in values)


def _replaced(present: SamplingParams, **changes: Any) -> SamplingParams:
    changed: SamplingParams = present.replace(**changes)
    return changed


def _number(what: str, text: str) -> int | float:
    try:
        return number(text)
    except typer.BadParameter:
        raise InvalidParameterError(f"{what} is a number, not {text!r:.60}") from None
