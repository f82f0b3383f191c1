"""The page, in a real browser, on the real server with the embedded model."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from amulet_local.cli.answering import applied_in_words
from amulet_local.common import readable
from amulet_local.common.html_page import SHARED_ASSETS
from amulet_local.common.results import AppliedStrength
from amulet_local.explanation import explanation
from amulet_local.server.said_to_clients import for_clients
from tests.conftest import missing
from tests.gguf_edit import copy_without
from tests.server.page.browsing import CONTRASTS, PHONE, TOKEN, Visits, answered, ask, controls
from tests.server.page.serving import Served, serving

HOSTILE = "</script><img src=x onerror='window.taken = 1'>\u202eevil\u2066 \x1b[31m\x00\x07<b>"


def shown(text: str) -> str:
    """The text as a page shows it: a small model's may have control characters."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def test_both_answers_are_the_servers_and_come_with_their_timings(
    visit: Visits, served: Served
) -> None:
    page = visit(served.url)
    ask(page)
    answered(page)
    messages = [{"role": "user", "content": "How can I learn to cook?"}]
    common = {"model": "smollm2", "messages": messages, "max_tokens": 16, "temperature": 0}
    expected = {
        "#plain": served.post("v1/chat/completions", {**common, "method": "base"}),
        "#realigned": served.post("v1/chat/completions", {**common, "preference": "creative"}),
    }
    for panel, result in expected.items():
        content = result["choices"][0]["message"]["content"]
        assert page.text_content(f"{panel} .text") == shown(content)
        n = result["usage"]["completion_tokens"]
        assert re.match(rf"{n} tokens · [\d.]+ tokens/s", page.inner_text(f"{panel} .figures"))
    applied = r"guidance scale [\d.]+ \([\d.]+ to [\d.]+\), KL [\d.]+ nats a token$"
    assert re.match(applied, page.inner_text("#realigned .applied"))
    assert page.text_content("#plain .applied") == ""
    assert "×" not in page.inner_text("#ratio")  # of answers that slow each other down
    assert "afterwards" in page.inner_text("#ratio")


def test_speeds_are_compared_where_the_answers_come_one_after_the_other(
    visit: Visits, served_long: Served
) -> None:
    page = visit(served_long.url, max_tokens=32, plain="after")
    ask(page)
    answered(page)
    shown = [
        float(re.findall(r"([\d.]+) tokens/s", page.inner_text(f"{panel} .figures"))[0])
        for panel in ("#realigned", "#plain")
    ]
    ratio = re.fullmatch(r"Realigned at ([\d.]+)× the plain speed", page.inner_text("#ratio"))
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(shown[0] / shown[1], rel=0.1)


def test_an_answers_end_moves_nothing_above_it(visit: Visits, served_slowly: Served) -> None:
    page = visit(served_slowly.url, max_tokens=16, plain="never")
    ask(page)
    page.wait_for_selector(f"{TOKEN}:nth-child(2)")
    tops = "[...document.querySelectorAll('.text')].map((text) => text.getBoundingClientRect().top)"
    before = page.evaluate(tops)
    answered(page)
    assert "guidance scale" in page.inner_text("#realigned .applied")
    assert page.evaluate(tops) == before


def test_tokens_are_tinted_and_explained_by_their_trace(visit: Visits, served: Served) -> None:
    page = visit(served.url)
    page.get_by_role("button", name="strong").click()
    ask(page)
    answered(page)
    chunks = served.stream(
        "v1/chat/completions",
        {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "How can I learn to cook?"}],
            "max_tokens": 16,
            "temperature": 0,
            "preference": "creative",
            "preset": "strong",
            "amulet_trace": 5,
        },
    )
    trace = [
        token
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["delta"].get("content")
        for token in choice["amulet"]["tokens"]
    ]
    shown = page.locator(TOKEN)
    assert shown.count() == len(trace)
    steps = [explanation.step(token["realigned"] - token["plain"]) for token in trace]
    assert any(steps)
    for i, step in enumerate(steps):
        side = "up" if step > 0 else "down"
        classes = (shown.nth(i).get_attribute("class") or "").split()
        assert [name for name in classes if name[:2] in ("up", "do")] == (
            [f"{side}{abs(step)}"] if step else []
        )
    shown.nth(3).hover()
    rows = page.locator("#dock .row")
    assert rows.locator("h3").all_inner_texts() == ["plain", "creative", "realigned"]
    token = trace[3]
    shares = [token["plain"], *token["preferences"], token["realigned"]]
    assert rows.locator(".share").all_inner_texts() == [readable.percent(share) for share in shares]
    for i, top in ((0, "top_plain"), (2, "top_realigned")):
        expected = [readable.percent(other["logprob"]) for other in token[top]]
        assert rows.nth(i).locator(".value").all_inner_texts() == expected
        names = rows.nth(i).locator(".label").all_inner_texts()
        assert [name.strip("␣") for name in names] == [
            other["text"].strip().replace("\ufffd", "(part of a character)") for other in token[top]
        ]
        assert len(names) == 5
    assert readable.times_likelier(token["realigned"] - token["plain"]) in page.inner_text(
        "#dock .head"
    )


def test_everything_works_by_keyboard(visit: Visits, served_slowly: Served) -> None:
    page = visit(served_slowly.url, max_tokens=800)
    page.locator("#question").focus()
    page.keyboard.type("What is tea?")
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) != "none"
        stops.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if stops[-1] == "text":
            break
    assert {"chip", "own", "add", "ask", "strength", "mark", "text"} <= set(stops)
    page.locator("#own").focus()
    page.keyboard.type("like a pirate")
    page.keyboard.press("Enter")
    assert page.locator(".pick").count() == 1
    page.locator("#question").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{TOKEN}:nth-child(6)")
    page.keyboard.press("Escape")
    answered(page)
    assert page.inner_text("#status") == "Stopped."
    page.locator("#realigned .text").focus()
    last = f"token {page.locator(TOKEN).count()}"
    places = []
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowLeft", "End"):
        page.keyboard.press(key)
        places.append(page.inner_text("#dock .place"))
        assert page.locator(f"{TOKEN}.on").count() == 1
    assert places == ["token 1", "token 2", "token 3", "token 2", last]
    assert page.locator("#dock .row").count() == 3


def change_and_more(page: Any) -> None:
    """Some tokens after a change that has just been made; then the answer is stopped."""
    so_far = page.locator(TOKEN).count()
    page.wait_for_selector(f"{TOKEN}:nth-child({so_far + 5})")
    page.keyboard.press("Escape")
    answered(page)


def test_the_strength_acts_while_text_streams(visit: Visits, served_slowly: Served) -> None:
    page = visit(served_slowly.url, max_tokens=800, plain="never")
    told = controls(page)
    ask(page, "Tell me a story about the sea.")
    page.wait_for_selector(f"{TOKEN}:nth-child(4)")
    page.locator("#strength").press("Home")
    change_and_more(page)
    assert told[0]["guidance_scale"] == 0
    assert told[0]["id"]
    page.locator("#realigned .text").press("Home")
    assert "guidance scale 0" not in page.inner_text("#dock .facts")
    page.keyboard.press("End")
    assert page.inner_text("#dock .facts").endswith("guidance scale 0")


def test_a_preference_that_is_added_while_text_streams_is_followed(
    visit: Visits, served_slowly: Served
) -> None:
    page = visit(served_slowly.url, max_tokens=800, plain="never")
    told = controls(page)
    ask(page, "Tell me a story about the sea.")
    page.wait_for_selector(f"{TOKEN}:nth-child(4)")
    page.get_by_role("button", name="concise").click()
    page.wait_for_function(  # its prompt is read first, while tokens go on without it
        """() => {
            const end = new KeyboardEvent("keydown", { key: "End" });
            document.querySelector("#realigned .text").dispatchEvent(end);
            return document.querySelector("#dock .rows").textContent.includes("concise");
        }"""
    )
    change_and_more(page)
    assert told[0].keys() == {"id", "preference"}  # the strength stays as it is
    assert told[0]["preference"] == ["creative", "concise"]
    page.locator("#realigned .text").press("End")
    rows = page.locator("#dock .row h3").all_inner_texts()
    assert rows == ["plain", "creative", "concise", "realigned"]


def test_a_phone_never_scrolls_sideways_and_a_tap_shows_the_alternatives(
    visit: Visits, served: Served
) -> None:
    page = visit(served.url, max_tokens=8, **PHONE)
    widths = []

    def measure() -> None:
        widths.append(page.evaluate("document.scrollingElement.scrollWidth"))

    measure()
    assert page.inner_text("#strength-note").endswith(
        "then as the answer needs it; with all guards"
    )
    page.get_by_role("button", name="concise").click()
    page.fill("#own", "like " + "w" * 100)
    page.press("#own", "Enter")
    page.fill(".pick:last-child input[type=number]", "0")
    page.get_by_text("Copy as code").click()
    page.get_by_text("Options").click()
    measure()
    ask(page)
    answered(page)
    measure()
    assert not page.locator("#dock").is_visible()
    page.locator(TOKEN).nth(2).tap()
    assert page.locator("#dock .row").count() == 5
    measure()
    page.locator("#dock .close").tap()
    assert not page.locator("#dock").is_visible()
    assert widths == [360] * 4
    plain, realigned = (page.locator(name).bounding_box() for name in ("#plain", "#realigned"))
    assert plain["y"] >= realigned["y"] + realigned["height"]


def test_hostile_text_stays_text(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=100)
    rule = {"grammar": f"root ::= {json.dumps(HOSTILE.replace(chr(0), ''), ensure_ascii=False)}"}

    def forced(route: Any) -> None:
        route.continue_(post_data=json.dumps({**route.request.post_data_json, **rule}))

    page.route("**/v1/chat/completions", forced)
    ask(page, HOSTILE)
    answered(page)
    shown = readable.visible(HOSTILE.replace("\0", ""))
    for panel in ("#plain", "#realigned"):
        assert page.text_content(f"{panel} .text") == shown
        assert (
            page.locator(f"{panel} .text").evaluate("e => e.querySelectorAll(':not(span)').length")
            == 0
        )
    assert page.evaluate("window.taken") is None
    page.locator(TOKEN).first.hover()
    assert page.locator("#dock :is(script, img, b)").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_every_state(
    visit: Visits, scheme: str, served: Served
) -> None:
    page = visit(served.url, color_scheme=scheme, max_tokens=8)
    page.get_by_text("Copy as code").click()
    page.get_by_role("button", name="paper").click()
    page.fill(".pick input[type=number]", "-0.5")
    page.fill(".pick input[type=number]", "1.5")
    ask(page)
    answered(page)
    classes = [f"{side}{i}" for side in ("up", "down") for i in range(1, 5)]
    page.evaluate(
        """(names) => names.forEach((name) => {
            const span = document.createElement("span");
            span.className = `t ${name}`;
            span.textContent = name;
            document.querySelector("#realigned .text").append(span);
        })""",
        classes,
    )
    result = page.evaluate(CONTRASTS)
    assert result["seen"] > 60
    assert result["low"] == []


def test_the_theme_is_all_that_outlasts_the_tab(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=4, color_scheme="light")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    page.select_option("#theme", "dark")
    dark = page.evaluate(background)
    assert dark != light
    ask(page)
    answered(page)
    page.reload()
    assert page.evaluate(background) == dark
    assert page.input_value("#question") == ""
    stored = page.evaluate("[{...localStorage}, Object.keys(sessionStorage), document.cookie]")
    assert stored == [{"amulet-theme": "dark"}, ["amulet-conversation"], ""]
    page.select_option("#theme", "")
    assert page.evaluate(background) == light
    assert page.evaluate("localStorage.length") == 0


def test_copied_code_gives_the_answer_that_is_shown(
    visit: Visits, tmp_path: Path, served: Served
) -> None:
    page = visit(served.url, max_tokens=8, permissions=["clipboard-read", "clipboard-write"])
    page.fill("#own", 'in the "style" of O\'Brien, $HOME')
    page.press("#own", "Enter")
    page.fill(".pick:first-child input[type=number]", "-0.5")
    page.get_by_role("button", name="strong").click()
    page.get_by_text("Copy as code").click()
    ask(page, 'What\'s "tea" in `$HOME`\\n?\nSay it.')
    answered(page)
    shown = page.text_content("#realigned .text")
    copied = {}
    for name in ("curl", "python"):
        page.locator(f"[data-copy={name}]").click()
        page.wait_for_selector(f"#status:text-matches('as {name}', 'i')")
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    program = tmp_path / "copied.py"
    program.write_text(copied["python"], encoding="utf-8")
    run = [sys.executable, "-W", "ignore", str(program)]
    by_python = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert by_python.removesuffix("\n") == shown
    if shutil.which("curl") is None:
        missing("curl isn't installed")
    by_curl = subprocess.run(["sh", "-c", copied["curl"]], capture_output=True, check=True).stdout
    assert json.loads(by_curl)["choices"][0]["message"]["content"] == shown


def test_a_warning_speaks_of_the_page(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=0)
    page.wait_for_selector("#state.good")
    warnings = [
        for_clients(line)
        for line in (
            "the answer began to repeat itself (once); the strength was lowered (watch=False, "
            "--no-watch: left alone)",
            "the model was still reasoning after 9 tokens: no answer; allow more of them "
            "(max_tokens, -n)",
            "the answer was cut after 9 tokens, because the context of 64 is full; use a larger "
            "one (n_ctx, -c)",
        )
    ]
    warnings += [
        "guidance scale 118 is above 10 (a hint, no flag)",
    ]
    said = page.evaluate(
        """async (warnings) => warnings.map((await import("/page/text.js")).onPage)""", warnings
    )
    assert said == [
        "The answer began to repeat itself (once); the strength was lowered.",
        "The model was still reasoning after 9 tokens: no answer; allow more tokens under Options.",
        "The answer was cut after 9 tokens, because the context of 64 is full; start the server "
        "with a larger one.",
        "Guidance scale 118 is above 10 (a hint, no flag).",
    ]


def test_a_model_that_can_t_chat_is_said_before_anything_is_asked(
    visit: Visits, tiny_path: Path, tmp_path: Path
) -> None:
    mute = tmp_path / "mute.gguf"
    copy_without(tiny_path, mute, "tokenizer.chat_template")
    with serving(mute, "--parallel", "1", "-c", "256", "--kl-target", "0.3") as served:
        page = visit(served.url, max_tokens=0)
        page.wait_for_selector("#state.bad")
        said = page.inner_text("#realigned")
        assert 'start the server with "--chat-template chatml"' in said
        assert "--raw" not in said
        assert page.is_disabled("#ask")
        assert page.inner_text("#strength-value") == "guidance scale 1.5, KL target 0.3 nats"


def test_a_conversation_can_go_on(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=4)
    sent: list[list[dict[str, str]]] = []
    page.on(
        "request",
        lambda request: (
            sent.append(json.loads(request.post_data or "")["messages"])
            if request.url.endswith("/chat/completions")
            else None
        ),
    )
    ask(page, "First?")
    answered(page)
    answer = page.text_content("#plain .text")
    page.check("#go-on")
    ask(page, "Second?")
    answered(page)
    assert [len(messages) for messages in sent] == [1, 1, 3, 3]
    went_on = [messages for messages in sent[2:] if messages[1]["content"] == answer]
    assert went_on[0][0] == {"role": "user", "content": "First?"}
    assert went_on[0][2] == {"role": "user", "content": "Second?"}
    assert "question 2" in page.inner_text("#turns")
    assert page.locator("#plain .turn summary").all_inner_texts() == ["First?"]
    page.click("#plain .turn summary")
    assert page.text_content("#plain .turn-answer") == answer
    page.uncheck("#go-on")
    ask(page, "Third?")
    answered(page)
    assert [len(messages) for messages in sent[4:]] == [1, 1]
    assert page.locator(".turn").count() == 0


def test_a_conversation_outlasts_a_reload_and_ends_with_its_tab(
    visit: Visits, served: Served
) -> None:
    page = visit(served.url, max_tokens=4)
    first_question = f"First, {'and then ' * 30}?"
    ask(page, first_question)
    answered(page)
    answer = page.text_content("#realigned .text")
    page.check("#go-on")
    page.reload()
    page.wait_for_selector("#state.good")
    assert page.locator("#realigned .turn summary").all_inner_texts() == [first_question]
    assert page.inner_text("#realigned .turn-answer") == answer
    assert page.is_checked("#go-on")
    with page.expect_request("**/chat/completions") as request:
        ask(page, "Second?")
    answered(page)
    first, second, third = request.value.post_data_json["messages"]
    assert [first["content"], third["content"]] == [first_question, "Second?"]
    assert second["role"] == "assistant"
    widths = "[...document.querySelectorAll('.panel')].map((p) => p.scrollWidth - p.clientWidth)"
    assert page.evaluate(widths) == [0, 0]
    page.reload()
    assert page.locator("#plain .turn summary").all_inner_texts() == [first_question, "Second?"]
    other = page.context.new_page()
    other.goto(served.url)
    assert other.locator(".turn").count() == 0
    assert other.is_hidden("#go-on-label")


def test_markdown_is_read_as_it_comes(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=0)
    page.wait_for_selector("#state.good")
    texts = {
        "a **b** c": [["a ", ""], ["**", "mark"], ["b", "b"], ["**", "mark"], [" c", ""]],
        "a **b": [["a ", ""], ["**", "mark"], ["b", "b"]],
        "# H *i*\n- x": [
            ["# ", "mark"],
            ["H ", "h"],
            ["*", "mark"],
            ["i", "h i"],
            ["*", "mark"],
            ["\n", ""],
            ["-", "bullet"],
            [" x", ""],
        ],
        "```py\nx * y\n```\nz `c`": [
            ["```py\n", "mark"],
            ["x * y\n", "pre"],
            ["```\n", "mark"],
            ["z ", ""],
            ["`", "mark"],
            ["c", "code"],
            ["`", "mark"],
        ],
        "|A|\n|---|:-:|\n|`b` | **c|\n|": [
            ["|", "mark"],
            ["A", "b"],
            ["|", "mark"],
            ["\n", ""],
            ["|---|:-:|\n", "mark"],
            ["|", "mark"],
            ["`", "mark"],
            ["b", "code"],
            ["`", "mark"],
            [" ", "mark"],
            ["|", "bar"],
            [" ", "mark"],
            ["**c", ""],
            ["|", "mark"],
            ["\n", ""],
            ["|", "mark"],
        ],
        "| x | is\n| y |": [["| x | is", ""], ["\n", ""], ["| y |", ""]],
        "2 * 3 * 4, **\nnot": [["2 * 3 * 4, **", ""], ["\n", ""], ["not", ""]],
    }
    read = page.evaluate(
        """async (texts) => {
            const { styled } = await import("/page/markdown.js");
            const read = (text) => styled(text).map(([a, b, kind]) => [text.slice(a, b), kind]);
            return texts.map(read);
        }""",
        list(texts),
    )
    assert read == list(texts.values())
    html = page.evaluate(
        """async () => {
            const { Answer } = await import("/page/answer.js");
            const answer = new Answer(document.querySelector("#plain"));
            for (const content of ["1. *", "*Bold", "*", "* and `co", "de`"]) {
                answer.push({ choices: [{ delta: { content } }] });
            }
            answer.end(null, "stop");
            return document.querySelector("#plain .text").innerText;
        }"""
    )
    assert html == "1. Bold and code"


def test_a_long_answer_is_appended_and_never_made_anew(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=50, plain="never")
    page.evaluate(
        """() => {
            window.removed = 0;
            new MutationObserver((records) => {
                for (const { removedNodes } of records) window.removed += removedNodes.length;
            }).observe(document.querySelector("#realigned .text"), { childList: true });
        }"""
    )
    ask(page, "Tell me a long story about the sea, with many details.")
    page.wait_for_selector(f"{TOKEN}:nth-child(3)")
    first = page.locator(TOKEN).first.element_handle()
    before = page.evaluate("window.removed")
    answered(page)
    assert page.locator(TOKEN).count() > 10
    assert first.evaluate("node => node.isConnected")
    assert page.evaluate("window.removed") == before


def test_what_was_chosen_for_a_person_gives_way_to_their_words_and_what_they_chose_stays(
    visit: Visits, served: Served
) -> None:
    page = visit(served.url, max_tokens=0)
    page.wait_for_selector("#state.good")
    names = page.locator(".pick-name")
    assert names.all_inner_texts() == ["creative"]
    page.fill("#own", "like a pirate")
    page.press("#own", "Enter")
    assert names.all_inner_texts() == ["like a pirate"]
    creative = page.get_by_role("button", name="creative", exact=True)
    assert creative.get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="concise").click()
    page.fill("#own", "in rhyme")
    page.press("#own", "Enter")
    assert names.all_inner_texts() == ["like a pirate", "concise", "in rhyme"]
    again = visit(served.url, max_tokens=0)
    again.wait_for_selector("#state.good")
    again.fill(".weight input[type=number]", "0.5")
    again.fill("#own", "in rhyme")
    again.press("#own", "Enter")
    assert again.locator(".pick-name").all_inner_texts() == ["creative", "in rhyme"]


def test_quotes_around_words_of_ones_own_are_no_part_of_them(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=0)
    page.wait_for_selector("#state.good")
    typed = ["“like a pirate”", '"concise"', "«en français»", "‹x›", '"a" and "b"', "don't, can't"]
    for text in typed:
        page.fill("#own", text)
        page.press("#own", "Enter")
    shown = ["like a pirate", "concise", "en français", "‹x›", '"a" and "b"', "don't, can't"]
    assert page.locator(".pick-name").all_inner_texts() == shown
    concise = page.get_by_role("button", name="concise", exact=True)
    assert concise.get_attribute("aria-pressed") == "true"


def test_a_word_that_is_no_name_is_taken_as_words(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=4, plain="never")
    page.get_by_role("button", name="creative", exact=True).click()
    page.fill("#own", "creativ")
    page.press("#own", "Enter")
    ask(page)
    answered(page)
    assert page.inner_text("#realigned .note") == "Cut off after 4 tokens."
    page.locator("#realigned .text").press("End")
    assert page.locator("#dock .row h3").nth(1).inner_text() == "creativ"


def test_without_a_preference_there_is_a_plain_answer_only(visit: Visits, served: Served) -> None:
    page = visit(served.url)
    page.get_by_role("button", name="creative", exact=True).click()
    assert page.locator("#none").is_visible()
    ask(page)
    answered(page)
    assert page.text_content("#plain .text")
    assert page.locator(TOKEN).count() == 0
    assert "nothing to realign" in page.inner_text("#realigned .text")


def test_figures_and_names_are_those_of_the_terminal(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=0)
    page.wait_for_selector("#state.good")
    values = [0.0, -0.01, -0.7, -3.2, -7.77, -9.2, -12.0, -40.0, -800.0]
    ratios = [
        10.0,
        14.5,
        16.0,
        -21.0,
        28.0,
        0.0,
        0.02,
        -0.03,
        0.4,
        -0.4,
        1.2,
        2.3,
        3.5,
        -3.5,
        8.0,
        9.5,
        -9.5,
        40.0,
    ]
    script = """async ([values, ratios, text]) => {
        const { percent, timesLikelier, step, visible } = await import("/page/text.js");
        return [values.map(percent), ratios.map(timesLikelier), ratios.map(step), visible(text)];
    }"""
    percents, words, steps, text = page.evaluate(script, [values, ratios, HOSTILE])
    assert percents == [readable.percent(value) for value in values]
    assert words == [readable.times_likelier(ratio) for ratio in ratios]
    assert steps == [explanation.step(ratio) for ratio in ratios]
    assert text == readable.visible(HOSTILE)


@pytest.mark.parametrize(
    "applied",
    [
        AppliedStrength(mean_scale=2.456, lowest_scale=1.25, highest_scale=3.0, mean_kl=0.0843),
        AppliedStrength(mean_scale=1.5, lowest_scale=1.5, highest_scale=1.5, mean_kl=0.11),
        AppliedStrength(mean_scale=1.0, lowest_scale=1.0, highest_scale=1.0, mean_kl=0.0),
    ],
)
def test_what_applied_is_said_as_on_the_terminal(
    visit: Visits, served: Served, applied: AppliedStrength
) -> None:
    script = """async (applied) => {
        const { appliedInWords } = await import("/page/answer.js");
        return appliedInWords(applied);
    }"""
    said = visit(served.url, max_tokens=0).evaluate(script, dataclasses.asdict(applied))
    assert said == applied_in_words(applied)


def test_pieces_of_tokens_are_the_whole_text(visit: Visits, served: Served) -> None:
    page = visit(served.url, max_tokens=0)
    part = "\ufffd"
    cases: list[tuple[list[str], str, list[str]]] = [
        ([" a", " b"], " a b", [" a", " b"]),
        ([part, part, part], "🦥", ["", "", "🦥"]),
        ([part, part, " is"], "é is", ["", "é", " is"]),
        (["a", part, part, "b", part], "aéb", ["a", "", "é", "b", ""]),
        (["x", "END"], "x", ["x", ""]),
        (["b"], "ab", ["ab"]),
        ([part], "tail", ["tail"]),
    ]
    script = """async (cases) => {
        const { pieces } = await import("/page/answer.js");
        return cases.map(([names, text]) => pieces(names.map((name) => ({ text: name })), text));
    }"""
    assert page.evaluate(script, cases) == [expected for *_, expected in cases]


def test_the_tints_are_those_of_the_explanation_page() -> None:
    here = (resources.files("amulet_local.server") / "page" / "page.css").read_text("utf-8")
    other = (resources.files("amulet_local.explanation.page") / "page.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+)", part)) for part in other.split("@media", 2)[:2]
    )
    mine = {
        name: (a, b) for name, a, b in re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", here)
    }
    for name in ("strong", *(f"{side}{i}" for side in ("up", "down") for i in range(1, 5))):
        assert mine[name] == (light[name], dark[name]), name


def test_the_page_sets_text_and_nothing_else() -> None:
    own = resources.files("amulet_local.server").joinpath("page").iterdir()
    shared = (resources.files("amulet_local.common").joinpath(name) for name in SHARED_ASSETS)
    for file in (*own, *shared):
        text = file.read_text("utf-8")
        if file.name.endswith(".js"):
            ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\("
            assert not re.search(ways, text), file.name
        if file.name.endswith(".html"):
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text)
        assert not re.search(r"(src|href)=.?(https?:)?//|\burl\(|@import", text), file.name
