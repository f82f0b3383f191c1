"""The page where something goes wrong: keys, busy and failing servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.browsing import Visits, answered, ask
from tests.server.page.serving import Served, serving

KEY = "a-key-for-tests-only"


@pytest.fixture(scope="module")
def strict(tiny_path: Path) -> Iterator[Served]:
    """One place, no queue, and a key."""
    options = ("--parallel", "1", "--queue", "0", "-c", "512", "--schedule", "serial")
    with serving(tiny_path, *options, "--api-key", KEY) as served:
        yield served


def test_an_empty_question_isnt_asked(visit: Visits, served: Served) -> None:
    page = visit(served.url)
    page.locator("#ask").click()
    assert page.inner_text("#status") == "Write a question first."
    assert page.evaluate("document.activeElement.id") == "question"


def test_a_server_that_loads_its_model_is_waited_for(visit: Visits, strict: Served) -> None:
    page = visit(strict.url, max_tokens=0)
    page.wait_for_selector("#key[open]")
    answers = iter([503, 503])

    def loading(route: Any) -> None:
        if next(answers, None) is None:
            route.continue_()
        else:
            error = {"error": {"message": "Loading model", "code": "loading"}}
            route.fulfill(status=503, json=error, headers={"Retry-After": "1"})

    page.route("**/health", loading)
    page.reload()
    page.wait_for_selector("#state:text-is('loading the model')")
    assert page.locator("#ask").is_disabled()
    page.wait_for_selector("#key[open]")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#state.good")
    assert page.locator("#ask").is_enabled()


def test_a_server_that_was_away_is_found_again(visit: Visits, served: Served) -> None:
    page = visit(served.url)
    page.fill("#own", "like a pirate")
    page.press("#own", "Enter")
    page.route("**/*", lambda route: route.abort())
    ask(page)
    answered(page)
    for panel in ("#plain", "#realigned"):
        said = page.inner_text(f"{panel} .note")
        assert said == "The server can't be reached. Is it still running?"
    page.wait_for_selector("#state.bad")
    page.unroute("**/*")
    page.wait_for_selector("#state.good")
    assert page.locator(".pick-name").all_inner_texts() == ["like a pirate"]


def test_what_the_server_refuses_is_said(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=24)
    ask(page, "word " * 3000)
    answered(page)
    said = page.inner_text("#realigned .note")
    assert said.startswith("The server refused this request: ")
    assert "1024" in said


def test_the_key_is_asked_for_and_kept_in_memory_only(visit: Visits, strict: Served) -> None:
    page = visit(strict.url, max_tokens=0)
    page.wait_for_selector("#key[open]")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The server doesn't take this key.")
    page.keyboard.type("schlüssel mit leerzeichen")
    page.keyboard.press("Enter")
    assert page.inner_text("#key-problem").startswith("A key has")
    page.fill("#key-text", KEY)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector("#state.good")
    page.get_by_text("Copy as code").click()
    page.wait_for_selector("#curl:not(:empty)")
    assert "$AMULET_API_KEY" in page.inner_text("#curl")
    assert 'os.environ["AMULET_API_KEY"]' in page.inner_text("#python")
    assert KEY not in page.content()
    assert page.input_value("#key-text") == ""
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [
        0,
        0,
        "",
    ]
    page.reload()
    page.wait_for_selector("#key[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#state:text-is('This server asks for an API key.')")
    page.get_by_role("button", name="Enter the API key").click()
    page.wait_for_selector("#key[open]")


def test_a_busy_server_is_waited_for(visit: Visits, strict: Served) -> None:
    page = visit(strict.url, max_tokens=0)
    page.wait_for_selector("#key[open]")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#state.good")
    page.get_by_text("Options").click()
    page.fill("#max-tokens", "64")
    with strict.slowed():
        ask(page)
        page.wait_for_selector("text=the server is busy: trying again in")
    answered(page)
    for panel in ("#plain", "#realigned"):
        assert page.inner_text(f"{panel} .figures").startswith("64 tokens")
        assert "error" not in (page.get_attribute(f"{panel} .note", "class") or "")


def test_a_stream_that_breaks_off_is_said_and_keeps_what_came(
    visit: Visits, served: Served
) -> None:
    page = visit(served.url)
    start = {
        "id": "c",
        "choices": [{"index": 0, "delta": {"content": "Half"}, "finish_reason": None}],
    }
    fault = {"error": {"message": "the model\u202e broke", "type": "server_error"}}
    ends = iter(["", "", f"data: {json.dumps(fault)}\n\n", f"data: {json.dumps(fault)}\n\n"])

    def broken(route: Any) -> None:
        body = f": hello\r\n\r\ndata: {json.dumps(start)}\n\n{next(ends)}"
        route.fulfill(body=body, headers={"Content-Type": "text/event-stream"})

    page.route("**/v1/chat/completions", broken)
    for expected in ("The connection ended before the answer did.", "the model\\u202e broke"):
        ask(page)
        answered(page)
        for panel in ("#plain", "#realigned"):
            assert page.inner_text(f"{panel} .note") == expected
            assert page.text_content(f"{panel} .text") == "Half"
