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
