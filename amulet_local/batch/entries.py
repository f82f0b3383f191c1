"""A line of a job: the requests that it makes, and the record that comes of their answers.

Knows nothing about files. A line is in this program's own form, or OpenAI's batch-file form; the
record has the form of the line unless another one is asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NoReturn

from amulet_local.answering.request import Request
from amulet_local.batch.input_lines import MAX_LINE_BYTES, InputLine
from amulet_local.batch.line_fields import JobSettings, read_line
from amulet_local.common.errors import (
    AmuletError,
    InvalidParameterError,
    InvalidRequestError,
    unexpected,
)
from amulet_local.common.json_depth import MOST_NESTED, shallow
from amulet_local.common.results import Chunk, Generation
from amulet_local.engine import Engine
from amulet_local.openai.chat_completion import choices
from amulet_local.params.runtime import RuntimeParams
from amulet_local.server.client_fields import understood
from amulet_local.server.completion_prompt import ChatPrompt, CompletionPrompt, TextPrompt
from amulet_local.server.failures import HttpError
from amulet_local.server.model_names import ModelNames
from amulet_local.server.served_model import Defaults
from amulet_local.server.traced_answers import TracedAnswers, TracedChatAnswers

Form = Literal["own", "openai"]

KINDS: Mapping[str, type[CompletionPrompt]] = {
    "/v1/chat/completions": ChatPrompt,
    "/v1/completions": TextPrompt,
}
"""What may be asked in OpenAI's form."""
_TEXTS = (".txt", ".txt.gz")
"""How files end whose lines are questions as they stand, but for those that are JSON."""
_LISTED = "`jq -c '.[]' FILE` makes a line of each object of a list, `jq -c . FILE` of one object"


@dataclass(frozen=True, kw_only=True)
class JobModel:
    """What lines are answered with.

    Attributes:
        engine, names: the loaded model and what it is called.
        settings: what holds for lines that say nothing.
        form: of all records; None is each line's own.
    """

    engine: Engine
    names: ModelNames
    settings: JobSettings
    form: Form | None = None


class Entry:
    """A line and what has come of it so far.

    Attributes:
        key: of the line's content.
        line: where it is.
        requests: to be answered; none if it is bad.
        error: why it is bad, or has no answer.
        turn: how many entries were made before it.
        tries: how often its requests were made.
    """

    def __init__(self, line: InputLine, key: str, model: JobModel, *, turn: int) -> None:
        """Read the line; what is wrong with it is its `error`."""
        self.key, self.line, self.turn = key, line, turn
        self.requests: list[Request] = []
        self.error: AmuletError | HttpError | None = None
        self.tries = 0
        self._model = model
        self._id: Any = None
        self._answers: TracedAnswers | None = None
        self._form: Form = model.form or "own"
        try:
            if line.problem:
                raise InvalidRequestError(line.problem)
            value = _json_of(line)
            is_openai = isinstance(value, Mapping) and "url" in value and "body" in value
            self._form = model.form or ("openai" if is_openai else "own")
            if isinstance(value, Mapping):
                self._id = value.get("custom_id" if is_openai else "id")
            self.requests = self._asked_openai(value) if is_openai else [self._asked(value)]
        except (AmuletError, HttpError) as error:
            self.error = error
        except Exception as error:  # a bug: the other lines are answered
            self.error = unexpected(error)
        self.restart()

    def restart(self) -> None:
        """Forget what has come: its requests are made, for the first time or again."""
        self.tries += 1
        self._chunks: list[list[Chunk]] = [[] for _ in self.requests]

    def take(self, index: int, piece: Chunk | AmuletError) -> None:
        """Note what comes of one of the requests."""
        if isinstance(piece, AmuletError):
            self.error = self.error or piece
        else:
            self._chunks[index].append(piece)

    @property
    def generations(self) -> list[Generation]:
        """The answers that are complete."""
        ends = [chunks[-1].generation for chunks in self._chunks if chunks]
        return [generation for generation in ends if generation is not None]

    @property
    def is_done(self) -> bool:
        """Whether every request has its answer, or there is an error instead."""
        return self.error is not None or len(self.generations) == len(self.requests)

    def record(self) -> dict[str, Any]:
        """What is written for the line."""
        try:
            return self._record()
        except Exception as error:  # a bug: the other lines have their records
            self.error = unexpected(error)
            return self._record()

    def _record(self) -> dict[str, Any]:
        where = {"file": self.line.file} if self.line.file else {}
        if self._form == "openai":
            failed = {"code": _code(self.error), "message": self._message()} if self.error else None
            return {
                "id": f"batch_req_{self.key}",
                "custom_id": self._id,
                "response": None if self.error else self._response(),
                "error": failed,
                **where,
                "line": self.line.number,
            }
        head = {"key": self.key, **where, "line": self.line.number, "id": self._id}
        if self.error is not None:
            return {**head, "error": {"code": _code(self.error), "message": self._message()}}
        return {**head, **_own_record(self.generations)}

    def _message(self) -> str:
        return f"line {self.line.number}: {self.error}"

    def _asked(self, value: Any) -> Request:
        if not isinstance(value, Mapping | str):
            hint = f"; {_LISTED}" if isinstance(value, list) else ""
            raise InvalidRequestError(
                f"a line is an object or a text, not {type(value).__name__}{hint}"
            )
        engine = self._model.engine
        request = engine.request(**self._model.settings.ask(read_line(value), engine.own_settings))
        if self._form == "openai":
            self._answers = TracedChatAnswers(
                model=self._model.names.main,
                vocabulary=engine.model.vocabulary,
                stream=False,
                n_logprobs=None,
                n=1,
                trace=None,
                echo=False,
            )
        return request

    def _asked_openai(self, value: Mapping[str, Any]) -> list[Request]:
        kind = KINDS.get(str(value["url"]))
        body, engine = value["body"], self._model.engine
        if kind is None or value.get("method", "POST") != "POST":
            raise InvalidParameterError(f"url: must be POST to {' or '.join(KINDS)}")
        if not isinstance(body, Mapping):
            raise InvalidParameterError("body: must be an object")
        vocabulary = engine.model.vocabulary

        def biased(text: str) -> Sequence[int]:
            return vocabulary.tokenize(text, add_special=False, parse_special=False)

        given, unknown = understood(
            body, kind.known, lambda text: list(biased(text)), vocabulary.n_tokens
        )
        for name in ("stream", "stream_options"):
            given.pop(name, None)
        prompt = kind(given)
        model = self._model.names.find(given.get("model"))
        defaults = Defaults(fields=self._model.settings.body_defaults())
        fills_gap = prompt.fills_gap(given, vocabulary)
        fields = prompt.fields(defaults.under(given, model, fills_gap=fills_gap))
        samplings = choices(fields.sampling(engine.n_ctx), fields.n)
        self._answers = kind.answers(
            model=model.name,
            vocabulary=vocabulary,
            stream=False,
            n_logprobs=fields.n_logprobs,
            n=fields.n,
            trace=fields.amulet_trace,
            echo=getattr(fields, "echo", False),
        )
        return [
            replace(request, warnings=(*request.warnings, *unknown))
            for which in range(prompt.n_prompts)
            for sampling in samplings
            for request in [
                prompt.request(
                    engine, fields, fields.arguments(sampling, engine.own_settings), which
                )
            ]
        ]

    def _response(self) -> dict[str, Any]:
        answers = self._answers
        assert answers is not None
        for index, (request, chunks) in enumerate(zip(self.requests, self._chunks, strict=True)):
            answers.expect(request)
            answers.begin(index)
            for chunk in chunks:
                answers.take(index, chunk)
            assert chunks[-1].generation is not None
            answers.end(index, chunks[-1].generation)
        return {"status_code": 200, "request_id": answers.id, "body": answers.whole()}


def settings_digest(model: JobModel) -> str:
    """Eight hexadecimal digits of everything but the line that an answer depends on."""
    engine = model.engine
    return digest_of_settings(
        model.settings,
        engine.runtime,
        identity=engine.model.identity,
        own_strength=engine.own_settings.strength,
    )


def digest_of_settings(
    settings: JobSettings,
    runtime: RuntimeParams,
    *,
    identity: str,
    own_strength: Mapping[str, Any],
) -> str:
    """The same where no engine is loaded.

    Args:
        runtime: how it would be loaded.
        identity: what tells the model's file from another.
        own_strength: what the user keeps for the model.
    """
    parts = {
        "model": identity,
        "preferences": [[item.instruction, item.weight] for item in settings.preferences],
        "method": settings.method,
        "preset": settings.preset,
        "amulet": settings.amulet and settings.amulet.model_dump(mode="json", warnings=False),
        "sampling": settings.sampling.model_dump(mode="json", warnings=False),
        "system": settings.system,
        "placement": settings.placement,
        "own": dict(own_strength),
        "runtime": runtime.model_dump(
            mode="json",
            warnings=False,
            include={
                *("lora", "control_vectors", "control_vector_layers", "adapters_on"),
                *("chat_template", "template_arguments"),
            },
        ),
    }
    return _digest(json.dumps(parts, sort_keys=True, default=str).encode(), 8)


def key_of(line: InputLine, settings: str) -> str:
    """A line's key: digits of the settings, then of its content."""
    return settings + _digest(line.data or b"", 24)


def _digest(data: bytes, n_digits: int) -> str:
    return hashlib.sha256(data.strip()).hexdigest()[:n_digits]


def _json_of(line: InputLine) -> Any:
    if line.data is None:
        raise InvalidRequestError(f"the line has more than {MAX_LINE_BYTES} bytes")

    def no_constant(text: str) -> NoReturn:
        raise ValueError(f"{text:.20} is no number of JSON")

    def finite(text: str) -> float:
        return number if math.isfinite(number := float(text)) else no_constant(text)

    if not shallow(line.data, MOST_NESTED):
        raise InvalidRequestError(f"the JSON is nested more than {MOST_NESTED} deep")
    try:
        text = line.data.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError("the line isn't UTF-8 text; save the file in UTF-8") from None
    if line.file.lower().endswith(_TEXTS) and not text.lstrip().startswith(("{", '"')):
        if "\0" in text:
            raise InvalidRequestError("the line has NULs: this is no text in UTF-8")
        return text.strip()
    try:
        return json.loads(text, parse_constant=no_constant, parse_float=finite)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("[") or text.strip() == "{":
            raise InvalidRequestError(f"no JSON that ends in its line; {_LISTED}") from None
        reason = str(error).partition(";")[0]  # what follows is advice for programmers
        raise InvalidRequestError(
            f'no JSON: {reason:.200}; a question is {{"prompt": "..."}}, a line of a .txt file, or '
            f"a row of a .csv file"
        ) from None


def _code(error: Exception | None) -> str:
    return type(error).__name__


def _own_record(generations: Sequence[Generation]) -> dict[str, Any]:
    """Of a line in OpenAI's form that asks for several answers, what each has is a list."""
    first = generations[0]
    texts = [generation.text for generation in generations]
    record: dict[str, Any] = {"text": texts[0] if len(texts) == 1 else texts}
    applied = [item.applied and asdict(item.applied) for item in generations]
    if any(generation.reasoning for generation in generations):
        reasoning = [generation.reasoning for generation in generations]
        record["reasoning"] = reasoning[0] if len(texts) == 1 else reasoning
    record |= {
        "finish_reason": first.finish_reason,
        "prompt_tokens": first.usage.prompt_tokens,
        "completion_tokens": sum(item.usage.completion_tokens for item in generations),
        "method": first.method,
        "preferences": list(first.preferences),
        "preset": first.preset,
        "guidance_scale": first.guidance_scale,
        "applied": applied[0] if len(texts) == 1 else applied,
        "seed": first.seed,
    }
    calls = [asdict(call) for generation in generations for call in generation.tool_calls]
    if calls:
        record["tool_calls"] = calls
    if first.warnings:
        record["warnings"] = list(first.warnings)
    return record
