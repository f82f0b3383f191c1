"""A judge's backend elsewhere: any endpoint that speaks OpenAI's chat completions.

Requests that fail for a passing reason are sent again by the `openai` client, with growing pauses,
and after the pause that the endpoint asks for (Retry-After, up to a minute). What an endpoint can
do is found out as it goes: a grammar and probabilities if it takes them, else less.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from amulet_local.common.errors import InvalidParameterError, JudgeError
from amulet_local.common.extras import missing_extra
from amulet_local.evaluation.judges.backend import Backend, Choice, decided, grammar_of, weighed
from amulet_local.evaluation.judges.options import JudgeOptions
from amulet_local.evaluation.judges.prompts import JudgePrompt

N_LISTED = 20
"""Alternatives of a token that are asked for, the most that OpenAI gives."""

N_REPLY_TOKENS = 16
N_REASONED_TOKENS = 4096
"""Most tokens of a reply; the second for endpoints that only take `max_completion_tokens`, which
counts a model's reasoning as well."""

CONNECT_SECONDS = 15.0
_OWN_HEADERS = ("OpenAI-Organization", "OpenAI-Project")


class EndpointBackend(Backend):
    """A client of one endpoint."""

    def __init__(self, options: JudgeOptions) -> None:
        """Make the client; nothing is sent yet.

        Raises:
            MissingExtraError: `openai` isn't installed.
            InvalidParameterError: the environment variable with the key isn't set.
        """
        try:
            import openai
        except ImportError:
            raise missing_extra("a judge at an endpoint needs openai", "eval") from None
        assert options.base_url is not None
        key = "none"  # the client wants one; endpoints without keys ignore it
        if options.api_key_env is not None:
            key = os.environ.get(options.api_key_env, "").strip()
            if not key:
                raise InvalidParameterError(
                    f"the environment variable {options.api_key_env} isn't set: it has to hold "
                    f"the API key"
                )
        self.name = options.model
        self.source = f"{options.model} at {options.base_url}"
        self._openai = openai
        self._client = openai.OpenAI(
            base_url=options.base_url,
            api_key=key,
            timeout=openai.Timeout(
                options.timeout_seconds, connect=min(CONNECT_SECONDS, options.timeout_seconds)
            ),
            max_retries=options.max_retries,
            # The client would take these from OPENAI_ORG_ID and OPENAI_PROJECT_ID.
            default_headers=dict.fromkeys(_OWN_HEADERS, openai.Omit()),
        )
        self._shape = 0

    def choose(self, prompt: JudgePrompt, labels: Sequence[str]) -> Choice:
        """Reply to a prompt with one of the labels.

        Raises:
            JudgeError: see Backend; the message says what the endpoint answered.
        """
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        shapes = _shapes(labels)
        while True:
            try:
                reply = self._client.chat.completions.create(
                    model=self.name, messages=messages, **shapes[self._shape]
                )
                return self._read(reply.model_dump(warnings=False), labels)
            except (self._openai.BadRequestError, self._openai.UnprocessableEntityError) as error:
                if self._shape + 1 == len(shapes):
                    raise JudgeError(f"{self.name}: {_one_line(error)}") from None
                self._shape += 1
            except self._openai.OpenAIError as error:
                raise JudgeError(f"{self.name}: {_one_line(error)}") from None
            except (ValueError, TypeError, AttributeError, RecursionError):  # not even JSON
                raise JudgeError(
                    f"{self.name}: the endpoint's reply isn't a chat completion"
                ) from None

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _read(self, reply: Mapping[str, Any], labels: Sequence[str]) -> Choice:
        choices = reply.get("choices") or [{}]
        text = (choices[0].get("message") or {}).get("content") or ""
        for token in _tokens(choices[0]):
            if token.get("token", "").strip() not in labels:
                continue
            choice = weighed(
                (
                    (item["token"], math.exp(min(item["logprob"], 0.0)))
                    for item in token.get("top_logprobs") or ()
                ),
                labels,
            )
            if choice is not None:
                return choice
        found = re.findall(rf"(?<![A-Za-z0-9])[{''.join(labels)}](?![A-Za-z0-9])", text)
        if not found:
            raise JudgeError(f"{self.name} replied {text[:40]!r}, not one of {list(labels)}")
        return decided(found[0], labels)


def _shapes(labels: Sequence[str]) -> list[dict[str, Any]]:
    """What is sent besides the messages: the most first, then what a 400 or 422 leaves out."""
    plain = {"max_tokens": N_REPLY_TOKENS, "temperature": 0.0}
    listed = {**plain, "logprobs": True, "top_logprobs": N_LISTED}
    return [
        {**listed, "extra_body": {"grammar": grammar_of(labels)}},
        listed,
        plain,
        {"max_completion_tokens": N_REASONED_TOKENS},
    ]


def _tokens(choice: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The tokens of a reply, where the endpoint lists them."""
    listed = (choice.get("logprobs") or {}).get("content") or ()
    yield from (token for token in listed if isinstance(token, Mapping))


def _one_line(error: Exception) -> str:
    """What went wrong, with the endpoint's own words, which hold no key of ours."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, Mapping) else None
    status = getattr(error, "status_code", None)
    head = f"HTTP {status}: " if status else ""
    return head + " ".join(str(said or error).split())[:300]
