"""The page of an explained answer in a browser: what one reads isn't covered."""

from __future__ import annotations

from pathlib import Path

from amulet_local import Engine
from amulet_local.explanation.page import page
from tests.explanation.test_page import explanation_of
from tests.server.page.browsing import CONTRASTS, PHONE, chromium


def test_on_a_phone_the_details_come_when_asked_for_and_go_again(
    shallow_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    vocabulary = shallow_engine.model.vocabulary
    text = page(explanation_of(vocabulary, "Bread rises by yeast. " * 30))
    path.write_text(text, encoding="utf-8")
    with chromium() as browser:
        wide = browser.new_page(viewport={"width": 1280, "height": 800})
        wide.goto(path.as_uri())
        assert wide.locator("#details .row").count() == 3
        assert wide.locator("#details").is_visible()
        assert not wide.locator("#details .close").is_visible()
        long = "document.querySelector('#details li .label').textContent = 'through '.repeat(9)"
        wide.evaluate(long)
        shares = [share.bounding_box()["y"] for share in wide.locator("#details .share").all()]
        assert len(set(shares)) == 1
        phone = browser.new_page(**PHONE)
        phone.goto(path.as_uri())
        details = phone.locator("#details")
        assert not details.is_visible()
        assert phone.get_by_text("A tap on a token").is_visible()
        token = phone.locator("#answer .t").nth(40)
        token.tap()
        assert details.is_visible()
        assert details.locator(".place, .note").first.inner_text().startswith("token 41 of")
        box, over = token.bounding_box(), details.bounding_box()
        assert box["y"] + box["height"] <= over["y"]
        assert phone.evaluate("document.scrollingElement.scrollWidth") == 360
        assert phone.evaluate(CONTRASTS)["low"] == []
        details.locator(".close").tap()
        assert not details.is_visible()


MARKDOWN = """## Bread

1. **Knead** the *dough*, 2 * 3 * 4 times
- set `timer`

```py
x = "**"
```
End"""


def test_an_answer_is_shown_as_markdown_and_tokens_stay_tokens(
    shallow_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    explanation = explanation_of(shallow_engine.model.vocabulary, MARKDOWN + "<|im_end|>")
    path.write_text(page(explanation), encoding="utf-8")
    with chromium() as browser:
        complaints: list[str] = []
        shown = browser.new_page(viewport={"width": 1280, "height": 800})
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("console", lambda message: complaints.append(message.text))
        shown.goto(path.as_uri())
        answer = shown.locator("#answer")
        lines = [line for line in answer.inner_text().split("\n") if line.strip()]
        assert lines[0] == "Bread"
        assert lines[1:3] == ["1. Knead the dough, 2 * 3 * 4 times", "- set timer"]
        assert lines[3] == 'x = "**"'
        assert lines[4].startswith("End")
        assert "<|im_end|>" in lines[-1]
        looks = {
            kind: shown.evaluate(
                """(kind) => {
                  const spans = [...document.querySelectorAll(`#answer .md-${kind}`)];
                  const style = getComputedStyle(spans[0]);
                  const text = spans.map((span) => span.textContent).join("");
                  return [text, style.fontWeight, style.fontStyle, style.fontFamily];
                }""",
                kind,
            )
            for kind in ("h", "b", "i", "code", "pre")
        }
        texts = {kind: look[0] for kind, look in looks.items()}
        assert texts == {
            "h": "Bread",
            "b": "Knead",
            "i": "dough",
            "code": "timer",
            "pre": 'x = "**"\n',
        }
        assert looks["b"][1] == looks["h"][1] == "700"
        assert looks["i"][2] == "italic"
        assert "monospace" in looks["code"][3]
        assert "monospace" in looks["pre"][3]
        assert answer.locator("> .t").count() == len(explanation.tokens)
        answer.locator(".t").first.focus()
        shown.keyboard.press("End")
        n = len(explanation.tokens)
        assert f"token {n} of {n}" in shown.inner_text("#details .note")
        assert complaints == []
