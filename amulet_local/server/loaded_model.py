"""A loaded model behind the server, and what a request's body asks of it.

Knows nothing about HTTP but its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amulet_local.answering.request import Request
from amulet_local.common.errors import InvalidParameterError
from amulet_local.engine import Engine
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.openai.chat_completion import choices
from amulet_local.preferences.preference import resolve
from amulet_local.server.fields import (
    STRENGTH,
    ServedFields,
    chat_fields,
    messages_of,
    prompt_of,
    text_fields,
)
from amulet_local.server.model_names import ModelNames, NamedModel
from amulet_local.serving.pool import Pool
from amulet_local.steering.presets import DEFAULT_PRESET


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What holds for requests that say nothing.

    Attributes:
        fields: of a request's body: preference, avoid, preset, guidance_scale, kl_budget, ...
    """

    fields: Mapping[str, Any] = field(default_factory=dict)

    def under(self, body: Mapping[str, Any], named: NamedModel) -> dict[str, Any]:
        """A body with what it leaves open: from the model's name, then the defaults.

        An empty list of preferences is none at all, whatever the defaults say.

        A strength is one thing: where the body sets a part of it, no default preset of the
        server's is mixed in, but for the values that the preset leaves open.
        """
        given = {name: value for name, value in body.items() if value is not None}
        if named.preferences:
            given.setdefault("preference", list(named.preferences))
        replaced = STRENGTH if "amulet" in given or "preset" in given else ()
        merged = {k: v for k, v in self.fields.items() if k not in replaced} | given
        none = [name for name in ("preference", "avoid") if merged.get(name) == []]
        return {name: value for name, value in merged.items() if name not in none}


class Loaded:
    """A model that is loaded, and its places.

    Attributes:
        engine, pool: these.
        names: what the model is called.
        defaults: what holds for requests that say nothing.
    """

    def __init__(self, engine: Engine, pool: Pool, names: ModelNames, defaults: Defaults) -> None:
        self.engine, self.pool, self.names, self.defaults = engine, pool, names, defaults

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the model."""
        return self.engine.model.vocabulary

    def chat(self, body: Mapping[str, Any]) -> Asked:
        """What the body of a chat completion asks for.

        Raises:
            AmuletError, HttpError: it can't be done.
        """
        messages = messages_of(body)

        def make(fields: ServedFields, arguments: dict[str, Any]) -> Request:
            return self.engine.request(
                messages, system=None, n_top=fields.n_alternatives, **arguments
            )

        return self._asked(body, chat_fields, make)

    def text(self, body: Mapping[str, Any]) -> Asked:
        """What the body of a text completion asks for.

        A preference becomes a line before the prompt, in a row of its own.

        Raises:
            AmuletError, HttpError: it can't be done.
        """
        prompt = prompt_of(body)

        def tokens(before: str) -> list[int]:
            if isinstance(prompt, str):
                return self.vocabulary.tokenize(
                    before + prompt, add_special=True, parse_special=False
                )
            if not before:
                return list(prompt)
            start = self.vocabulary.tokenize(before, add_special=False, parse_special=False)
            n_first = int(bool(prompt) and prompt[0] == self.vocabulary.bos_id)
            return [*prompt[:n_first], *start, *prompt[n_first:]]

        def make(fields: ServedFields, arguments: dict[str, Any]) -> Request:
            for name in ("placement", "response_prefix", "template_arguments"):
                if arguments.pop(name):
                    raise InvalidParameterError(f"{name}: is for chat completions only")
            preferences = resolve(arguments.pop("preference"), avoid=arguments.pop("avoid"))
            return self.engine.request_from_tokens(
                tokens(""),
                [tokens(f"{item.instruction}\n\n") for item in preferences] or None,
                weights=[item.weight for item in preferences],
                n_top=fields.n_alternatives,
                labels=[item.label for item in preferences],
                default=DEFAULT_PRESET,
                own=self.engine.own_settings,
                **arguments,
            )

        return self._asked(body, text_fields, make)

    def _asked(
        self,
        body: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], ServedFields],
        make: Callable[[ServedFields, dict[str, Any]], Request],
    ) -> Asked:
        named = self.names.find(body.get("model"))
        return Asked(
            body=self.defaults.under(body, named), named=named, read=read, make=make, loaded=self
        )


class Asked:
    """A completion that was asked for, which may be asked for otherwise while it runs.

    Attributes:
        fields: of the body.
        name: the model's, for the response.
        n_choices: answers.
    """

    def __init__(
        self,
        *,
        body: dict[str, Any],
        named: NamedModel,
        read: Callable[[Mapping[str, Any]], ServedFields],
        make: Callable[[ServedFields, dict[str, Any]], Request],
        loaded: Loaded,
    ) -> None:
        self._body, self._read, self._make, self._loaded = body, read, make, loaded
        self.fields = read(body)
        self.name = named.name
        self._samplings = choices(self.fields.sampling(loaded.engine.n_ctx), self.fields.n)

    @property
    def n_choices(self) -> int:
        """Answers."""
        return len(self._samplings)

    def request(self, index: int) -> Request:
        """The request for one of the answers.

        Raises:
            AmuletError: something about it can't be done.
        """
        request = self._request(self.fields, index)
        self._loaded.pool.check(request)
        return request

    def changed(self, changes: Mapping[str, Any], index: int) -> Request:
        """The same with another strength or preference, which holds from now on.

        Args:
            changes: fields. A strength replaces all of the one before; preferences that aren't
                mentioned stay, None is none.

        Raises:
            AmuletError: something about it can't be done; nothing has changed.
        """
        body = dict(self._body)
        if set(changes) & set(STRENGTH):
            body = {name: value for name, value in body.items() if name not in STRENGTH}
        body |= changes
        fields = self._read(body)
        request = self._request(fields, index)
        self._loaded.pool.check(request)
        self._body, self.fields = body, fields
        return request

    def _request(self, fields: ServedFields, index: int) -> Request:
        own = self._loaded.engine.own_settings
        return self._make(fields, fields.arguments(self._samplings[index], own))
