"""Markdown as lines for a terminal.

Knows nothing about where on the screen they go. The text is a model's: none of it is taken for
HTML, an image or the target of a link, so that all of it is shown.
"""

from __future__ import annotations

import io
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

_THEME = "ansi_dark"
_STYLES = Theme({"markdown.code": "cyan", "markdown.h1": "bold", "markdown.hr": "dim"})
"""No backgrounds: they would suit dark terminals only."""


class _Heading(Heading):
    """At the left, in bold."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        self.text.stylize("bold underline" if self.tag == "h1" else "bold")
        yield self.text


class _CodeBlock(CodeBlock):
    """As it stands, so that it can be copied: no frame and no indentation.

    Lines that are too long are the terminal's to break, which puts no line end into what is copied;
    those inside a list can't be, beside whose numbers they stand.
    """

    breaks_lines = False

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _CodeBlock:
        """One of a fence or of indented lines."""
        block = super().create(markdown, token)
        assert isinstance(block, _CodeBlock)
        block.breaks_lines = token.level > 0
        return block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = Text(str(self.text).rstrip())
        if not console.no_color:
            syntax = Syntax("", self.lexer_name, theme=_THEME, background_color="default")
            text = syntax.highlight(text.plain)
            text.rstrip()
        text.no_wrap = not self.breaks_lines
        text.overflow = "fold" if self.breaks_lines else "ignore"
        yield text


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
    }


class Renderer:
    """Turns Markdown into lines."""

    def __init__(self, *, colours: bool) -> None:
        """Choose whether lines may have colours; bold and the like they have anyhow."""
        self._colours = colours
        self._parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
        # An image or a link's definition would hide text; a line under a line isn't a heading yet.
        self._parser.disable(["reference", "image", "lheading", "html_block", "html_inline"])

    def start_of_last_block(self, text: str) -> int:
        """Where the last top-level block begins: what is before it changes no more.

        Args:
            text: without control characters but newlines and tabs, as for `lines`.
        """
        starts = [
            token.map[0]
            for token in self._parser.parse(text)
            if token.level == 0 and token.map is not None and token.nesting >= 0
        ]
        lines = text.split("\n")
        return sum(len(line) + 1 for line in lines[: starts[-1]]) if starts else 0

    def lines(self, text: str, width: int) -> list[str]:
        """The lines of `text`, with their colours; those of code alone may be wider than `width`.

        Args:
            text: Markdown that begins with a block, without control characters (`visible`).
        """
        shown = _Markdown(text, code_theme=_THEME, hyperlinks=False)
        shown.parsed = _with_line_ends(self._parser.parse(text))
        file = io.StringIO()
        console = Console(
            file=file,
            force_terminal=True,
            color_system="standard",
            no_color=not self._colours,
            width=width,
            highlight=False,
            emoji=False,
            markup=False,
            theme=_STYLES,
            legacy_windows=False,
            _environ={},
        )
        console.print(shown, end="", crop=False)
        return [line.rstrip(" ") for line in file.getvalue().strip("\n").split("\n")]


def _with_line_ends(tokens: list[Token]) -> list[Token]:
    """A line's end in the text is one on the screen: poems and addresses depend on it."""
    for token in tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
    return tokens
