"""llama-server's own completions: their requests as text completions, and answers in their shape.

Knows nothing about HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from amulet_local.answering.request import Request
from amulet_local.common.results import Alternative, Chunk, Generation, TokenTrace
from amulet_local.openai.chat_completion import MAX_TOP_LOGPROBS
from amulet_local.openai.shapes import finite
from amulet_local.server.completion_prompt import TextPrompt
from amulet_local.server.fields import TextFields
from amulet_local.server.traced_answers import TracedTextAnswers
from amulet_local.server.wire import TELEMETRY, Deltas, Wire, event
from amulet_local.serving.ticket import Ticket


class CompletionFields(TextFields):
    """Fields of /completion, besides its prompt.

    Attributes:
        n_probs: likeliest tokens that are listed with each token; 0 lists none.
        post_sampling_probs: what is listed are probabilities of what the samplers left.
        return_tokens: an answer at once has its token ids; one in pieces always does.
        response_fields: what is wanted of the answer, such as "timings/prompt_n"; all if empty.
    """

    n_probs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] = 0
    post_sampling_probs: bool = False
    return_tokens: bool = False
    response_fields: list[str] = Field(default=[])

    @property
    def n_logprobs(self) -> int | None:
        """Alternatives whose log-probabilities are wanted."""
        return self.n_probs or super().n_logprobs


class LlamaServerAnswers(TracedTextAnswers):
    """Text completions with what llama-server says besides: prompts, token ids, probabilities."""

    def expect(self, request: Request, ticket: Ticket | None = None) -> None:
        """Take note of the prompt."""
        super().expect(request, ticket)
        self._prompt = self._vocabulary.text(request.prompts[0])
        self._n_ctx = request.n_ctx
        self._waiting: list[int] = []

    def take(self, index: int, chunk: Chunk) -> list[dict[str, Any]]:
        """Pieces with their token ids."""
        self._waiting += chunk.token_ids
        n_before = len(self._traces)
        pieces = super().take(index, chunk)
        if pieces:
            traces = self._traces[n_before:]
            pieces[-1]["choices"][0] |= {"tokens": self._waiting, **self._probabilities(traces)}
            self._waiting = []
        return pieces

    def end(self, index: int, generation: Generation) -> dict[str, Any]:
        """The piece that ends an answer."""
        piece = super().end(index, generation)
        usage = generation.usage
        is_full = usage.prompt_tokens + usage.completion_tokens >= self._n_ctx
        trace: dict[str, Any] = self._choices[-1].get("amulet", {})
        followed: dict[str, Any] = self._ending["amulet"]
        ended = {
            **self._ending,
            "amulet": trace | followed,
            "prompt": self._prompt,
            "truncated": generation.finish_reason == "length" and is_full,
            "id_slot": -1 if self._ticket is None else self._ticket.named_place,
        }
        piece["choices"][0] |= {**ended, "tokens": self._waiting}
        self._choices[-1] |= {
            **ended,
            "tokens": list(generation.token_ids),
            **self._probabilities([*self._traces, *self._pending]),
        }
        return piece

    def _probabilities(self, traces: Sequence[TokenTrace]) -> dict[str, Any]:
        if self._n_logprobs is None:
            return {}
        is_drawn = self._lists_drawn
        name = "top_probs" if is_drawn else "top_logprobs"
        listed = [
            {
                **self._listed(
                    trace.token_id, trace.text, trace.drawn if is_drawn else trace.realigned
                ),
                name: [
                    self._listed(other.token_id, other.text, other.log_probability)
                    for other in self._top(trace)
                ],
            }
            for trace in traces
        ]
        return {"completion_probabilities": listed}

    def _top(self, trace: TokenTrace) -> Sequence[Alternative]:
        if self._lists_drawn:
            return trace.top_drawn[: self._n_logprobs or 0]
        return super()._top(trace)

    def _listed(self, token: int, text: str, log_probability: float) -> dict[str, Any]:
        return {
            "id": token,
            "token": text,
            "bytes": list(self._vocabulary.piece(token)),
            **(
                {"prob": math.exp(log_probability)}
                if self._lists_drawn
                else {"logprob": finite(log_probability)}
            ),
        }


class LlamaServerPrompt(TextPrompt):
    """The prompt of /completion."""

    answers = LlamaServerAnswers
    fields_type = CompletionFields
    known = frozenset({"prompt", *CompletionFields.model_fields})


class LlamaServerWire(Wire):
    """Pieces of content; the last one has the figures, and nothing follows it."""

    def __init__(
        self, fields: CompletionFields, settings: Mapping[str, Any], *, several: bool
    ) -> None:
        """Nothing is said yet.

        Args:
            settings: what is said of length and sampling.
            several: whether there were several prompts, so that an answer is a list.
        """
        self._fields, self._settings, self._several = fields, settings, several
        self._said: dict[int, Deltas] = {}

    def whole(self, answer: dict[str, Any]) -> Any:
        """One object, or a list of them where there are several prompts."""
        found = []
        for choice in answer["choices"]:
            deltas = Deltas()
            deltas.take({**answer, "choices": [choice]})
            complete = self._complete(deltas, choice, deltas.text)
            if not self._fields.return_tokens:
                complete["tokens"] = []
            found.append(self._wanted(complete))
        return found if self._several or len(found) > 1 else found[0]

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """An event for a text, and one at the end."""
        return [event(self._said_by(piece))] if piece["choices"] else []

    def _said_by(self, piece: dict[str, Any]) -> dict[str, Any]:
        choice = piece["choices"][0]
        deltas = self._said.setdefault(choice["index"], Deltas())
        text, _ = deltas.take(piece)
        if deltas.last:
            return self._wanted(self._complete(deltas, choice, text))
        return {
            "index": choice["index"],
            "content": text,
            "tokens": choice.get("tokens", []),
            "stop": False,
            "id_slot": -1,
            **{name: piece[name] for name in TELEMETRY if name in piece},
            **({"amulet": choice["amulet"]} if "amulet" in choice else {}),
            **_probabilities(choice),
        }

    def end(self) -> Iterable[bytes]:
        """Nothing."""
        return []

    def _complete(self, deltas: Deltas, choice: Mapping[str, Any], text: str) -> dict[str, Any]:
        timings = choice["timings"]
        cached = timings["cache_n"]
        return {
            "index": choice["index"],
            "content": text,
            "tokens": choice["tokens"],
            "id_slot": choice["id_slot"],
            "stop": True,
            "model": deltas.last["model"],
            "tokens_predicted": timings["predicted_n"],
            "tokens_evaluated": timings["prompt_n"] + cached,
            "tokens_cached": timings["prompt_n"] + cached + max(0, timings["predicted_n"] - 1),
            "generation_settings": self._settings,
            "prompt": choice["prompt"],
            "has_new_line": "\n" in deltas.text,
            "truncated": choice["truncated"],
            "stop_type": choice["stop_type"],
            "stopping_word": choice["stopping_word"],
            "timings": timings,
            "amulet": choice["amulet"],
            **_probabilities(choice),
        }

    def _wanted(self, complete: dict[str, Any]) -> dict[str, Any]:
        """Those of its fields that were asked for, by their paths."""
        if not self._fields.response_fields:
            return complete
        found = {}
        for path in self._fields.response_fields:
            value: Any = complete
            for name in path.split("/"):
                value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
            if value is not _MISSING:
                found[path] = value
        return found


class BothWire(LlamaServerWire):
    """OpenAI's objects and events with llama-server's fields beside theirs.

    For an address that means either, by which base URL a client was given.
    """

    def whole(self, answer: dict[str, Any]) -> Any:
        """One object; of several prompts it is OpenAI's."""
        own = super().whole(answer)
        return answer if isinstance(own, list) else {**own, **answer}

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """An event for each."""
        return [event({**(self._said_by(piece) if piece["choices"] else {}), **piece})]

    def end(self) -> Iterable[bytes]:
        """OpenAI's."""
        return Wire.end(self)


_MISSING = object()


def _probabilities(choice: Mapping[str, Any]) -> dict[str, Any]:
    name = "completion_probabilities"
    return {name: choice[name]} if name in choice else {}
