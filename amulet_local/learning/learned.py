"""What was learned from texts: weights with their errors, and the file that they are kept in.

Knows nothing about models. The file is written as the user's settings file is (user_settings.py):
one mix, and the preferences in it that have to have a name, so that it is complete in itself.

The weights of the mix are the fitted ones, c: at guidance scale 1 it is the distribution under
which the texts are likeliest, and a strength above 1 exaggerates what makes them what they are.
The guards, which refer to the combination at scale 1, refer to the fit itself then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from amulet_local.common.errors import InvalidParameterError
from amulet_local.preferences.names import BUILT_IN_PREFERENCES, name_problem, weighted
from amulet_local.preferences.preference import Preference, PreferencesLike, resolve
from amulet_local.preferences.user_settings import (
    MAX_MEMBERS,
    parse_settings,
    read_settings,
    text_problem,
)

DIGITS = 4
"""Decimal places of a weight in a file."""


@dataclass(frozen=True, kw_only=True)
class LogLikelihoods:
    """Means per token, in nats, on the texts held out; on all texts if none were.

    Attributes:
        plain: under the plain prompt.
        single: under the best single preference with the weight that suits the texts best.
        single_name, single_weight: which that is.
        fitted: under the fitted weights.
        n_texts, n_tokens: what they were measured on.
        held_out: whether the fit hadn't seen these texts.
    """

    plain: float
    single: float
    single_name: str
    single_weight: float
    fitted: float
    n_texts: int
    n_tokens: int
    held_out: bool


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The weights under which some texts are likeliest.

    Attributes:
        preferences: the bank, each with its weight: the combination at guidance scale 1 is the
            fitted one. Goes into `preference=` as it is.
        standard_errors: of the weights; infinite where the texts say nothing about one.
        n_texts, n_disliked: texts that the weights were fitted to, and how many of them are
            disliked.
        n_tokens: tokens of these texts.
        ridge: of the prior, 0 for none.
        log_likelihoods: what the weights are worth.
        tail_error_nats: mean error of a token's log-likelihood from lumping the tail, against the
            whole vocabulary at some positions.
        tail_shift: the most that this moves a weight, in standard errors.
        warnings: what to know before using the weights, one line each.
    """

    preferences: tuple[Preference, ...]
    standard_errors: tuple[float, ...]
    n_texts: int
    n_disliked: int
    n_tokens: int
    ridge: float
    log_likelihoods: LogLikelihoods
    tail_error_nats: float
    tail_shift: float
    warnings: tuple[str, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights alone."""
        return tuple(item.weight for item in self.preferences)

    @property
    def z_values(self) -> tuple[float, ...]:
        """Weights divided by their standard errors."""
        return tuple(
            weight / error for weight, error in zip(self.weights, self.standard_errors, strict=True)
        )


def as_toml(learned: Learned, name: str, *, model: str) -> bytes:
    """The file that makes the weights a mix of the user's own.

    Args:
        name: of the mix.
        model: what the texts were judged with, for a comment.

    Raises:
        InvalidParameterError: not a name, one that a preference in the mix has, or no weight is
            left after rounding.
    """
    check_mix_name(name, learned.preferences)
    values: dict[str, str] = {}
    taken = {item.name.lower() for item in learned.preferences} | set(BUILT_IN_PREFERENCES)
    members = []
    for preference in learned.preferences:
        weight = f"{preference.weight:.{DIGITS}f}"
        if float(weight):
            members.append(_member(preference, weight, values, _free_name(name, taken)))
    if not members:
        raise InvalidParameterError(
            "every weight is 0: these texts are as likely under the plain prompt as under any "
            "preference of the bank, so there is nothing to keep; try another bank (--preference)"
        )
    likelihoods = learned.log_likelihoods
    lines = [
        f"# Learned from {learned.n_texts} texts, {learned.n_tokens} tokens, with "
        f"{_printable(model)}, ridge {learned.ridge:g}.",
        f"# Log-likelihood per token: plain {likelihoods.plain:.4f}, fitted "
        f"{likelihoods.fitted:.4f}{' (held out)' if likelihoods.held_out else ''}.",
        "# The weights hold at guidance scale 1; a higher one exaggerates.",
        "",
    ]
    if values:
        lines.append("[preferences]")
        lines += [f"{key} = {value}" for key, value in values.items()]
        lines.append("")
    lines += ["[mixes]", f"{name} = [", *(f"    {_quoted(member)}," for member in members), "]", ""]
    data = "\n".join(lines).encode()
    parse_settings(data)
    return data


def check_mix_name(name: str, preferences: Iterable[Preference]) -> None:
    """Refuse a name that a mix of these preferences can't have.

    Raises:
        InvalidParameterError: it is no name, or that of one of them.
    """
    problem = name_problem(name)
    if name.lower() in (item.name.lower() for item in preferences):
        problem = "a preference of the bank is called so"
    if problem is not None:
        raise InvalidParameterError(
            f"the mix can't be called {name!r:.80}: {problem}; choose another (--name)"
        )


def _member(preference: Preference, weight: str, values: dict[str, str], free_name: str) -> str:
    """A part of the mix as the file has it; adds to `values` what has to be in [preferences]."""
    name = preference.name
    if BUILT_IN_PREFERENCES.get(name) == preference.text:
        return f"{name}:{weight}"
    value = _quoted(preference.text)
    if preference.prompt:
        value = f"{{ text = {value}, prompt = {_quoted(preference.prompt)} }}"
    elif name_problem(name) is not None:
        member = f"{preference.text}:{weight}"
        read = weighted(member)
        if not read.is_name and (read.text, read.weight) == (preference.text, float(weight)):
            return member
    if name_problem(name) is not None:
        name = free_name
    values[name] = value
    return f"{name}:{weight}"


def _free_name(mix: str, taken: set[str]) -> str:
    """A name for a text that needs one; taken from then on."""
    names = (f"{mix[:56]}-{number}" for number in range(1, 1000))
    name = next(name for name in names if name.lower() not in taken)
    taken.add(name.lower())
    return name


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + re.sub(r'["\\\n\t\r]', lambda match: escapes[match[0]], text) + '"'


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def bank_of(wanted: PreferencesLike) -> tuple[Preference, ...]:
    """The preferences to learn weights for: those given, else the built-in and the user's own.

    Raises:
        InvalidParameterError: more than a mix can have, two that say the same, one with a weight,
            or one that the user's settings file couldn't keep.
        UnknownPreferenceError, SettingsError, FileAccessError: as `resolve`.
    """
    if wanted is None:
        wanted = [*BUILT_IN_PREFERENCES, *read_settings().preferences]
    preferences = resolve(wanted)
    if len(preferences) > MAX_MEMBERS:
        raise InvalidParameterError(
            f"the bank has {len(preferences)} preferences, and a mix at most {MAX_MEMBERS}; choose "
            f"some (bank=, --preference)"
        )
    seen: dict[str, str] = {}
    for item in preferences:
        problem = text_problem(item.text)
        if problem is not None:
            raise InvalidParameterError(f"{item.label!r:.60} can't be kept: {problem}")
        if item.weight != 1:
            raise InvalidParameterError(
                f"{item.label!r:.100} has a weight, which is what is to be learned; leave it out"
            )
        if item.instruction in seen:
            raise InvalidParameterError(
                f"{item.label!r:.60} and {seen[item.instruction]!r:.60} are the same preference"
            )
        seen[item.instruction] = item.label
    return preferences
