"""A real browser for tests: visits to a page, what is done there, and how readable it is."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import missing

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MACOS_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}
TOKEN = "#realigned .t"

CONTRASTS = """() => {
  const parts = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).slice(0, 3).map((value) => value / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const isField = element.matches("input:not([type=range]), textarea, select");
    if (!(own || isField) || !element.checkVisibility()) continue;
    if (element.matches("option, :disabled, .unseen, .unseen *, noscript, .skip")) continue;
    const style = getComputedStyle(element);
    const pair = [light(style.color), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push(`${element.outerHTML.slice(0, 90)} ${ratio.toFixed(2)}`);
  }
  return { seen, low };
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's chromium, another that is on the path, or macOS's own place for Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", MACOS_CHROME)
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        missing("no chromium on the path: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        missing("playwright isn't installed: pip install '.[test]'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visits:
    """Opens pages, and takes note of what they ask for and complain of."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self._hosts: set[str] = set()
        self._asked: set[str] = set()
        self._complaints: list[str] = []

    def __call__(
        self, url: str, *, max_tokens: int = 16, plain: str = "together", **options: Any
    ) -> Any:
        """The page at `url`, ready for a question; with max_tokens=0 as it is.

        Args:
            plain: when the plain answer comes: "together", "after" or "never".
            **options: of a browser's context.
        """
        context = self._browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, **options}
        )
        self._contexts.append(context)
        self._hosts.add(url.split("/")[2])
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("request", lambda request: self._asked.add(request.url))
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on("console", self._note)
        page.goto(url)
        if max_tokens:
            page.wait_for_selector("#state.good")
            page.get_by_text("Options").click()
            page.fill("#max-tokens", str(max_tokens))
            page.select_option("#plain-when", plain)
            page.get_by_text("Options").click()
        return page

    def _note(self, message: Any) -> None:
        if "Failed to load resource" not in message.text:  # a status that isn't 200
            self._complaints.append(message.text)

    def close(self) -> None:
        """Nothing was asked elsewhere, and nothing complained."""
        for context in self._contexts:
            context.close()
        assert self._complaints == []
        asked = {url.split("/")[2] for url in self._asked if not url.startswith(("data:", "blob:"))}
        assert asked == self._hosts


def ask(page: Any, question: str = "How can I learn to cook?") -> None:
    """Write a question and press Enter."""
    page.fill("#question", question)
    page.press("#question", "Enter")


def answered(page: Any) -> None:
    """Wait until both answers are over."""
    page.wait_for_selector("#ask:visible")


def controls(page: Any) -> list[dict[str, Any]]:
    """What the page tells the server about running answers, from now on."""
    told: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("/control"):
            told.append(request.post_data_json)

    page.on("request", note)
    return told
