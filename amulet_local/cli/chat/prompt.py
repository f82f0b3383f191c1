"""Questions typed at a prompt: lines that can be edited, history, completion, a line of status.

Knows nothing about what becomes of them. Built on prompt_toolkit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.styles import Style

from amulet_local.cli import completions
from amulet_local.cli.chat.questions import MORE, PROMPT, is_open, without_quotes
from amulet_local.cli.chat.settings import GUARDS, SAMPLING
from amulet_local.cli.chat.slash import BY_NAME, COMMANDS, parsed
from amulet_local.cli.kept_chats import TypedLines, saved_chats
from amulet_local.cli.terminal import visible

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

PLACEHOLDER = "Ask something, or /help"

_STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse",
        "bottom-toolbar.text": "noreverse ansibrightblack",
        "placeholder": "ansibrightblack",
        "prompt": "bold",
    }
)


class ChatInput:
    """Asks on a terminal."""

    def __init__(self, *, status: Callable[[int], str], lines: TypedLines, colours: bool) -> None:
        """Get ready.

        Args:
            status: the line at the bottom, for so many cells.
            lines: what was typed before, and where to keep what is typed now.
            colours: whether there may be any.
        """

        def toolbar() -> FormattedText:
            width = get_app().output.get_size().columns - 1
            return FormattedText([("class:bottom-toolbar.text", status(max(width, 8)))])

        self._session: PromptSession[str] = PromptSession(
            FormattedText([("class:prompt", PROMPT)]),
            multiline=True,
            prompt_continuation=MORE,
            placeholder=_placeholder,
            history=_History(lines),
            completer=_Names(),
            complete_while_typing=Condition(_is_command),
            reserve_space_for_menu=6,
            key_bindings=_keys(),
            input_processors=[TabsProcessor(char1=" ", char2=" ")],  # pasted, else ^I is shown
            bottom_toolbar=toolbar,
            enable_suspend=True,  # else Ctrl-Z is a character of the question
            style=_STYLE,
            color_depth=None if colours else ColorDepth.DEPTH_1_BIT,
        )

    def ask(self, begun: str = "") -> str:
        """See Questions."""
        return without_quotes(self._session.prompt(default=begun))


def _placeholder() -> FormattedText:
    """What stands where nothing is typed yet; a line that is left stays empty."""
    shown = "" if get_app().is_done else PLACEHOLDER
    return FormattedText([("class:placeholder", shown)])


class _History(History):
    def __init__(self, lines: TypedLines) -> None:
        super().__init__()
        self._lines = lines

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._lines.read())

    def store_string(self, string: str) -> None:
        self._lines.add(string)


class _Names(Completer):
    """Commands, and what they take."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, blank, begun = text[1:].partition(" ")
        if not blank:
            for item in COMMANDS:
                if item.name.startswith(name.lower()):
                    yield Completion(
                        item.name, -len(name), display=f"/{item.name}", display_meta=item.help
                    )
            return
        said = parsed(text)
        if said is None or said.command is None:
            return
        begun = begun.lstrip("+ ") if said.command.offers == "preferences" else begun.lstrip()
        for offered in _offers(said.command.offers):
            if offered.startswith(begun) and offered != begun:
                yield Completion(visible(offered), -len(begun))


def _offers(kind: str) -> list[str]:
    match kind:
        case "preferences":
            return [*completions.preferences(""), "off"]
        case "presets":
            return completions.presets("")
        case "chats":
            return [path.stem for path in saved_chats()[:20]]
        case "sampling":
            return [*SAMPLING, "stop", "on_full", *GUARDS]
        case "commands":
            return list(BY_NAME)
    return []


def _is_command() -> bool:
    return bool(get_app().current_buffer.text.startswith("/"))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    @keys.add("c-j")  # what a terminal makes of Enter between two prompts
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        chosen = buffer.complete_state is not None and buffer.complete_state.current_completion
        if chosen:
            buffer.complete_state = None
        elif buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        elif is_open(buffer.text):
            buffer.insert_text("\n")
        elif buffer.text.strip():
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("escape", "c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.text:
            buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys
