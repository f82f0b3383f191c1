"""What people and programs write: templates, settings, conversations, lines, bodies, grammars."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import httpx

from amulet_local.batch.entries import Entry
from amulet_local.batch.input_lines import InputLine
from amulet_local.common.errors import (
    AmuletError,
    ChatTemplateError,
    ConversationFileError,
    InvalidParameterError,
    SettingsError,
)
from amulet_local.conversation.conversation_file import SavedConversation, parse, write
from amulet_local.grammar import gbnf
from amulet_local.grammar.automaton import DEAD, Automaton
from amulet_local.grammar.json_schema import to_gbnf
from amulet_local.preferences import settings_editor
from amulet_local.preferences.user_settings import UserSettings, parse_settings, settings_path
from amulet_local.prompts.builtin_templates import BUILTIN_TEMPLATES
from amulet_local.prompts.template_sandbox import CompiledTemplate
from amulet_local.server.app import make_app
from amulet_local.server.model_names import ModelNames
from amulet_local.server.models import ModelFile, Models
from amulet_local.server.served_model import Defaults, ServedModel
from amulet_local.server.service import Service
from tests.batch.scripted_job import job_model
from tests.fuzz.mutation import as_json, changed_bytes, changed_json, changed_text
from tests.fuzz.target import REFUSED, Target, refused
from tests.scripted import scripted_engine

TAKEN = "taken"

# ---------------------------------------------------------------------------------- templates

TEMPLATE_WORDS = (
    *("{{ ", " }}", "{% for m in messages %}", "{% endfor %}", "{% if m %}", "{% else %}"),
    *("{% endif %}", "{% set x = ", " %}", "{% macro f(a) %}", "{% endmacro %}", "{{ f(x) }}"),
    *(
        "|tojson",
        "|join(x)",
        "|map('upper')|list",
        "|sort",
        "|replace('a', x)",
        "|length",
        "|string",
    ),
    *("[::-1]", " ~ x", " * 9999999", " ** 999", "%999999d", "range(99999)", "namespace(a=x)"),
    *(
        ".__class__",
        "|attr('x')",
        ".format(x)",
        "loop.index",
        "caller()",
        "x.items()",
        "(",
        ")",
        "[",
    ),
    *(
        " recursive",
        "{% call f(x) %}",
        "{% endcall %}",
        "{{ loop(m) }}",
        "x = x + x",
        "'%s%s' % (x, x)",
    ),
)
TEMPLATES = (
    *BUILTIN_TEMPLATES.values(),
    "{% set ns = namespace(s='a') %}{% for i in range(90) %}{% set ns.s = ns.s * 2 %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is not number else x }}{% endfor %}",
    "{% for k, v in messages[0]|dictsort %}{{ k ~ v|string|indent(2) }}{% endfor %}",
    "{{ messages|tojson(indent=1) }}{{ messages|selectattr('role', 'equalto', 'user')|list }}",
)
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why? <|im_end|>"},
    {"role": "assistant", "content": "So."},
]


class Templates(Target):
    """Chat templates: compiled and rendered."""

    def make(self, rng: random.Random) -> bytes:
        """Source."""
        source = rng.choice(TEMPLATES)
        for _ in range(rng.randrange(1, 4)):
            source = changed_text(source, rng, TEMPLATE_WORDS, TEMPLATES)
        return source.encode("utf-8", "surrogatepass")

    def run(self, data: bytes) -> str:
        """Rendered, or an error of templates."""
        source = data.decode("utf-8", "surrogateescape")
        try:
            CompiledTemplate(source).render(
                {"messages": MESSAGES, "add_generation_prompt": True, "bos_token": "<s>"}
            )
        except ChatTemplateError as error:
            return refused(error)
        return TAKEN


# ---------------------------------------------------------------------------------- files

SETTINGS = (
    b"# mine\n[preferences]\nteacher = \"like a patient teacher\"\nPoet = '''\nin rhyme,\n"
    b'with a "moon"\'\'\'\nown = { text = "short", prompt = "Be {preference}." }\n\n[mixes]\n'
    b'work = [\n    "formal:0.7", "CONCISE:0.5",  # both\n    "teacher",\n]\n\n'
    b'[models.smollm2]\nguidance_scale = 2.5\n[models."Q.gguf"]\nkl_budget = "off"\n',
    b'[preferences]\nb.text = "x"\nb.prompt = "{preference}"\n[preferences.c]\ntext = "y"\n',
    b'preferences = { a = "x" }\nmixes = { m = ["a:2"] }\nmodels = { s = { kl_target = 1 } }\n',
)
TOML_WORDS = (
    b"[a]\n",
    b"[[a]]\n",
    b'"""',
    b"'''",
    b" = ",
    b"\r\n",
    b"1979-05-27",
    b"inf",
    b"0x",
    b"{}",
)


class Settings(Target):
    """The user's settings: read, and often changed by the editor, which keeps what they said."""

    def __init__(self, folder: Path) -> None:
        os.environ["AMULET_CONFIG"] = str(folder / "config")
        settings_path().parent.mkdir(exist_ok=True)

    def make(self, rng: random.Random) -> bytes:
        """A file; its last byte says whether it is edited."""
        return changed_bytes(rng.choice(SETTINGS), rng, (*SETTINGS, *TOML_WORDS))

    def run(self, data: bytes) -> str:
        """Read, or refused as settings."""
        try:
            before = parse_settings(data)
        except SettingsError as error:
            return refused(error)
        settings_path().write_bytes(data)
        for edit in (self._name, self._merge):
            try:
                edit(before)
            except AmuletError:
                assert settings_path().read_bytes() == data, "an edit that failed changed the file"
                return TAKEN
        after = parse_settings(settings_path().read_bytes())
        assert after.preferences == {**before.preferences, "fuzz": "x\n", "more": "y"}
        assert (after.mixes, after.models) == (before.mixes, before.models)
        return "edited"

    def _name(self, before: UserSettings) -> None:
        settings_editor.set_preference("fuzz", "x\n")

    def _merge(self, before: UserSettings) -> None:
        settings_editor.merge(UserSettings(preferences={"more": "y"}))


class Conversations(Target):
    """Saved conversations: read, and as they were after they are written again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "talk.json"

    def make(self, rng: random.Random) -> bytes:
        """A file."""
        value = changed_json(json.loads(CONVERSATION), rng)
        for _ in range(rng.randrange(2)):
            value = changed_json(value, rng)
        return as_json(value, rng)

    def run(self, data: bytes) -> str:
        """Read, or refused as a conversation."""
        try:
            saved: SavedConversation = parse(data)
        except ConversationFileError as error:
            return refused(error)
        write(self._path, saved)
        assert parse(self._path.read_bytes()) == saved, "it isn't what it was after a save"
        return TAKEN


CONVERSATION = """{
 "format": "amulet-local conversation", "version": 1, "model": "a.gguf",
 "settings": {"preference": [{"text": "in rhyme", "weight": 2.0, "name": "rhyme"}], "avoid": [],
  "method": "amulet", "preset": null, "system": "", "placement": "user", "on_full": "drop_oldest",
  "amulet": {"alpha": 1.5, "kl_budget": 0.25},
  "sampling": {"temperature": 0.3, "logit_bias": {"5": false, "7": 1.5}, "seed": 3, "stop": ["x"],
   "json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
 "turns": [{"question": "Why?", "answer": "So", "token_ids": [1, 2], "finish_reason": "stop",
  "n_dropped": 0, "preferences": ["concise", "in rhyme:-0.5"], "seed": 7, "reasoning": ""}]}"""

# ---------------------------------------------------------------------------------- requests

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20, "pattern": "^[a-z]+$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 130, "multipleOf": 5},
        "size": {"type": "number", "exclusiveMinimum": -1.5},
        "tags": {"type": "array", "items": {"enum": ["a", 1, None]}, "minItems": 1, "maxItems": 3},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["name"],
    "additionalProperties": False,
}
GRAMMAR = (
    'root ::= item ("," ws item)* "."\nitem ::= [a-z]{2,5} | "é" | digits? # one\n'
    'digits ::= [0-9]+ ("." [^a-z\\x00-\\x20])?\nws ::= " " | "\\n"\n'
)
ASKED: dict[str, Any] = {
    "messages": MESSAGES[:2],
    "max_tokens": 3,
    "temperature": 0.5,
    "preference": "concise",
    "seed": 3,
}
MEMBERS: tuple[tuple[str, Any], ...] = (
    *(("stream", True), ("n", 2), ("stop", ["x", "\n"]), ("logprobs", True), ("top_logprobs", 3)),
    *(("logit_bias", {"5": -100, "7": 1.5}), ("json_schema", SCHEMA), ("grammar", GRAMMAR)),
    *(
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        ),
    ),
    *(("preference", [{"name": "formal", "weight": 0.5}, {"text": "in rhyme", "weight": -1}]),),
    *(("amulet", {"alpha": 1.5, "kl_budget": 0.3}), ("method", "linear"), ("preset", "strong")),
    *(("tools", [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]),),
    *(("tool_choice", "auto"), ("prompt", "Why?"), ("prompt", [1, 2, 3]), ("echo", True)),
    *(("avoid", "verbose"), ("placement", "user"), ("system", "x"), ("response_prefix", "Well")),
    *(("template_arguments", {"a": 1}), ("top_k", 40), ("top_p", 0.9), ("min_p", 0.05)),
    *(("mirostat", 2), ("dry_sequence_breakers", ["\n"]), ("amulet_trace", 5), ("user", "x")),
    *(("stream_options", {"include_usage": True}), ("model", "scripted"), ("ignore_eos", True)),
    *(("input", "Hello"), ("content", "a b"), ("tokens", [1, 2]), ("max_output_tokens", 4)),
    *(("instructions", "Be brief."), ("think", False), ("options", {"num_predict": 3})),
)


class Lines(Target):
    """Lines of a batch job, in both forms: each is a request, or an error in its record."""

    def __init__(self, folder: Path) -> None:
        self._engine = scripted_engine(n_ctx=256)
        self._model = job_model(self._engine)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def make(self, rng: random.Random) -> bytes:
        """A line."""
        value: Any = {"id": "a", **ASKED}
        if rng.random() < 0.4:
            value = {
                "custom_id": "a",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": ASKED,
            }
        for _ in range(rng.randrange(1, 4)):
            value = changed_json(value, rng, MEMBERS)
        return as_json(value, rng)

    def run(self, data: bytes) -> str:
        """Requests, or an error; either way a record could be written."""
        entry = Entry(InputLine((0, 1), "a.jsonl", 1, data, None), "key", self._model, turn=0)
        if entry.error is None:
            return TAKEN
        record = json.dumps(entry.record(), ensure_ascii=False, allow_nan=False)
        assert len(record) < len(data) + 2000, "the record is longer than what it is about"
        return REFUSED


class Bodies(Target):
    """Bodies of requests to every path that takes one; no answer has a status of 500."""

    def __init__(self, folder: Path) -> None:
        engine = self._engine = scripted_engine(n_ctx=256)
        names = ModelNames(["scripted"])

        def make(ending: Any) -> ServedModel:
            return ServedModel(engine, engine.pool(places=1, waiting=1), names, Defaults(fields={}))

        self._service = Service(Models([ModelFile(names, make)]))
        self._service.load()
        self._app = make_app(self._service, version="0")
        self._paths = sorted(
            {
                route.path
                for route in self._app.routes
                if "POST" in (getattr(route, "methods", None) or ()) and "{" not in route.path
            }
        )

    def make(self, rng: random.Random) -> bytes:
        """A path and a body, a line each."""
        value: Any = dict(ASKED)
        for _ in range(rng.randrange(1, 5)):
            value = changed_json(value, rng, MEMBERS)
        return f"{rng.choice(self._paths)}\n".encode() + as_json(value, rng)

    def run(self, data: bytes) -> str:
        """The kind of status."""
        path, _, body = data.partition(b"\n")
        status = asyncio.run(self._answer(path.decode(), body))
        assert status != 500, "an unexpected error"
        return TAKEN if status < 400 else REFUSED

    def close(self) -> None:
        """Close the engine."""
        self._service.close()
        self._engine.close()

    async def _answer(self, path: str, body: bytes) -> int:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            answer = await client.post(
                path, content=body, headers={"content-type": "application/json"}, timeout=60
            )
        if answer.status_code < 500:
            for line in answer.text.splitlines():
                if line.startswith("data: {"):
                    json.loads(line[6:])
        return answer.status_code


# ---------------------------------------------------------------------------------- grammars

GRAMMAR_WORDS = (
    *("root ::= ", "::=", "|", "(", ")", "*", "+", "?", "{2,}", "{0,1999}", "{3}", "[^a]", "[a-z]"),
    *(
        '"\\x41"',
        "[\\u00e9-\\U0001F642]",
        ".",
        "\n",
        "# x",
        "item",
        "<a>",
        "<[5]>",
        '""',
        "((((",
        "[]",
    ),
)
GRAMMARS = (
    GRAMMAR,
    'root ::= "(" root ")" | ""\n',
    'root ::= a{1,9} b{2,}\na ::= b | c\nb ::= "x" a?\nc ::= .\n',
)
MATCHED = 'ab,é\n12.5{"name": "ab", "age": 5}((()))xx'.encode()


class Grammars(Target):
    """Grammars in GBNF: read, and a text matched."""

    def make(self, rng: random.Random) -> bytes:
        """Source."""
        source = changed_text(rng.choice(GRAMMARS), rng, GRAMMAR_WORDS, GRAMMARS)
        return source.encode("utf-8", "surrogatepass")

    def run(self, data: bytes) -> str:
        """Matched against a text, or refused."""
        return matched(data.decode("utf-8", "surrogateescape"))


def matched(source: str) -> str:
    """What becomes of a grammar."""
    try:
        automaton = Automaton(gbnf.parse(source))
        automaton.begin()
        state = automaton.start
        for byte in MATCHED:
            state = automaton.step(state, byte)
            if state == DEAD:
                break
    except InvalidParameterError as error:
        return refused(error)
    return TAKEN


SCHEMA_MEMBERS: tuple[tuple[str, Any], ...] = (
    *(("$ref", "#"), ("$ref", "#/properties/name"), ("allOf", [SCHEMA]), ("oneOf", [True, SCHEMA])),
    *(("pattern", "^(a|b){2,90}$"), ("minItems", 10**6), ("maxLength", 10**9), ("enum", [])),
    *(("prefixItems", [SCHEMA]), ("type", ["string", "null"]), ("const", {"a": [1]}), ("not", {})),
    *(("additionalProperties", {"$ref": "#"}), ("format", "uuid"), ("multipleOf", 1e-7)),
    *(
        ("minimum", -(10**30)),
        ("patternProperties", {"a": {}}),
        ("$defs", {"a": {"$ref": "#/$defs/a"}}),
    ),
)


class Schemas(Target):
    """JSON schemas: made into a grammar, and a text matched."""

    def make(self, rng: random.Random) -> bytes:
        """A schema."""
        value: Any = SCHEMA
        for _ in range(rng.randrange(1, 3)):
            value = changed_json(value, rng, SCHEMA_MEMBERS)
        return as_json(value, rng)

    def run(self, data: bytes) -> str:
        """Matched against a text, or refused."""
        try:
            source = to_gbnf(data.decode("utf-8", "surrogateescape"))
        except InvalidParameterError:
            return REFUSED
        return matched(source)
