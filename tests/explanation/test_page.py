"""The page of an explained answer: well-formed, alone, and unmoved by hostile text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from amulet_local import Engine
from amulet_local.explanation.explanation import Explanation, explain
from amulet_local.explanation.page import page
from amulet_local.llama.vocabulary import Vocabulary
from tests.explained import traced_text

VOID = {"meta", "link", "br"}
HOSTILE = (
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> ]]> "
    '" onmouseover="alert(3) \' & &lt; </style> \u202eevil\u2066 \x1b[31m\x00\x07 \u2028 🦥 {{7*7}}'
)


class Reader(HTMLParser):
    """Reads a page strictly: every element that begins has to end, in the right order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.shown = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), tag
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.stack[-1] if self.stack else ""
        self.texts.setdefault(inside, []).append(data)
        if inside not in ("script", "style"):
            self.shown += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]


@pytest.fixture(scope="module")
def vocabulary(tiny_engine: Engine) -> Vocabulary:
    return tiny_engine.model.vocabulary


def explanation_of(vocabulary: Vocabulary, text: str, **more: Any) -> Explanation:
    answer = traced_text(vocabulary, text, preferences=more.pop("preferences", ("concise",)))
    return explain(answer, vocabulary, **{"question": "Why?", "model": "smollm2", **more})


@pytest.fixture(scope="module")
def hostile(vocabulary: Vocabulary) -> str:
    return page(
        explanation_of(
            vocabulary, HOSTILE, question=HOSTILE, model=HOSTILE, preferences=(HOSTILE, "b")
        )
    )


def data_of(reader: Reader) -> dict[str, Any]:
    (text,) = (text for text in reader.texts["script"] if text.startswith("{"))
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_page_shows_every_token_and_its_figures(vocabulary: Vocabulary) -> None:
    explanation = explanation_of(vocabulary, "Sleep well, and\ndream of 日本.")
    reader = Reader(page(explanation))
    n_tokens = len(explanation.tokens)
    spans = [found for found in reader.all("span") if "data-i" in found]
    assert [found["data-i"] for found in spans] == [str(i) for i in range(n_tokens)]
    assert len(reader.all("rect", **{"class": "bar"})) == n_tokens
    assert len(reader.all("tr")) == n_tokens + 1
    assert "Sleep well, and\ndream of 日本." in reader.shown
    data = data_of(reader)
    assert data["rows"] == ["plain", "concise", "realigned"]
    assert len(data["tokens"]) == n_tokens
    for token in data["tokens"]:
        assert len(token["shares"]) == len(token["tops"]) == 3
        assert {sum(item[4] for item in top) for top in token["tops"]} == {1}


def test_the_answer_is_one_stop_of_the_tab_key(vocabulary: Vocabulary) -> None:
    reader = Reader(page(explanation_of(vocabulary, "One two three.")))
    stops = [found["tabindex"] for found in reader.all("span") if "data-i" in found]
    assert stops.count("0") == 1
    assert set(stops) == {"0", "-1"}


def test_tokens_are_tinted_by_their_step(vocabulary: Vocabulary) -> None:
    explanation = explanation_of(vocabulary, " ".join(["word"] * 40))
    reader = Reader(page(explanation))
    classes = [found["class"] or "" for found in reader.all("span") if "data-i" in found]
    for token, names in zip(explanation.tokens, classes, strict=True):
        assert (f"up{token.step}" in names.split()) == (token.step > 0)
    assert {token.step for token in explanation.tokens} == {0, 1, 2, 3, 4}


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(hostile: str) -> None:
    reader = Reader(hostile)
    (policy,) = reader.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.split(" ", 1) for rule in str(policy["content"]).split("; "))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    for tag in ("style", "script"):
        *_, text = re.findall(f"<{tag}(?: type=.module.)?>(.*?)</{tag}>", hostile, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert rules == {}


def test_nothing_is_fetched(hostile: str) -> None:
    reader = Reader(hostile)
    for _, attributes in reader.elements:
        assert not {"src", "href", "srcset", "action", "data", "poster"} & set(attributes)
    (style,) = reader.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    script = reader.texts["script"][-1]
    for way_out in ("fetch", "XMLHttpRequest", "import(", "WebSocket", "sendBeacon", "innerHTML"):
        assert way_out not in script


def test_hostile_text_stays_text(hostile: str) -> None:
    reader = Reader(hostile)
    assert len(reader.all("script")) == 2
    assert len(reader.all("style")) == 1
    assert reader.all("img") == []
    for _, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert "<script>alert(1)</script>" in reader.shown  # as text, to be read


def test_data_for_the_script_has_nothing_that_means_something_in_html(hostile: str) -> None:
    (data,) = re.findall('<script type="application/json" id="data">(.*?)</script>', hostile)
    assert data.isascii()
    assert not set("<>&") & set(data)
    names = [token["name"][0] for token in json.loads(data)["tokens"]]
    assert "alert(1)" in "".join(names)


def test_characters_that_act_on_their_surroundings_are_shown(hostile: str) -> None:
    data = json.dumps(data_of(Reader(hostile)), ensure_ascii=False)
    for text in (hostile, data):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "\\u202e" in hostile
    assert "\\x1b" in hostile


def test_blanks_of_a_token_can_be_seen(vocabulary: Vocabulary) -> None:
    data = data_of(Reader(page(explanation_of(vocabulary, "a b\n\n\tc  d"))))
    names = [token["name"][0] for token in data["tokens"]]
    assert not any(name != name.strip() for name in names)
    assert "".join(names) == "a␣b↵↵⇥c␣␣d"


def test_impossible_tokens_are_shown_as_such(vocabulary: Vocabulary) -> None:
    answer = traced_text(vocabulary, "one two")
    first, second = answer.trace or ()
    trace = (
        dataclasses.replace(first, plain=-math.inf),
        dataclasses.replace(second, plain=None, realigned=-math.inf, kl=0.0),
    )
    text = page(explain(dataclasses.replace(answer, trace=trace), vocabulary))
    data = data_of(Reader(text))
    assert [token["moved"] for token in data["tokens"]] == [
        "impossible under the plain prompt",
        "",
    ]
    assert data["tokens"][0]["shares"][0] == "0%"
    assert data["tokens"][1]["shares"][0] == "-"


def test_an_answer_that_nothing_moved_has_an_empty_chart(vocabulary: Vocabulary) -> None:
    answer = traced_text(vocabulary, "one")
    trace = tuple(dataclasses.replace(item, kl=0.0) for item in answer.trace or ())
    reader = Reader(page(explain(dataclasses.replace(answer, trace=trace), vocabulary)))
    (bar,) = reader.all("rect", **{"class": "bar"})
    assert bar["height"] == "0.00"


def test_an_answer_of_one_token_has_one(vocabulary: Vocabulary) -> None:
    explained = explanation_of(vocabulary, "a")
    one = dataclasses.replace(explained, tokens=explained.tokens[:1])
    assert "<summary>The token as a table</summary>" in page(one)


@pytest.mark.parametrize(("reason", "is_cut"), [("length", True), ("stop", False)])
def test_an_answer_that_was_cut_is_said_to_be(
    vocabulary: Vocabulary, reason: str, is_cut: bool
) -> None:
    answer = dataclasses.replace(traced_text(vocabulary, "one"), finish_reason=reason)
    shown = Reader(page(explain(answer, vocabulary))).shown
    assert ("Cut off after 1 token." in shown) == is_cut
