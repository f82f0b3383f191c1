"""The options of `chat`: those of `generate`, and which chat to go on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from amulet_local.cli import completions
from amulet_local.cli.flags import OUTPUT, SAMPLING, MethodName, numeric, option
from amulet_local.cli.options import AnswerOptions

CHAT = "Which chat"
MAX_TOKENS = 2048


@dataclass(frozen=True, kw_only=True)
class ChatOptions(AnswerOptions):
    """Options of `chat`."""

    continue_: Annotated[
        bool, option("--continue", panel=CHAT, help="Go on with the last chat.")
    ] = False
    resume: Annotated[
        str | None,
        option(
            "--resume",
            panel=CHAT,
            metavar="NAME",
            autocompletion=completions.chats,
            help="Go on with this chat: its name, or a file that /save wrote.",
        ),
    ] = None
    no_save: Annotated[
        bool,
        option("--no-save", panel=CHAT, help="Keep neither this chat nor what is typed."),
    ] = False
    on_full: Annotated[
        str | None,
        option(
            "--on-full",
            panel=CHAT,
            metavar="WHAT",
            help="When the context is full: drop_oldest leaves the oldest turns out of the "
            "prompt, error refuses the question. Default: drop_oldest.",
        ),
    ] = None
    method: MethodName = None
    predict: Annotated[
        int | None,
        numeric(
            *("-n", "--predict", "--n-predict"),
            panel=SAMPLING,
            help=f"Most tokens of an answer. Default: {MAX_TOKENS}.",
        ),
    ] = None
    markdown: Annotated[
        bool | None,
        option(
            "--markdown/--no-markdown",
            panel=OUTPUT,
            help="Show answers as Markdown, or as they come. Default: Markdown on a terminal.",
        ),
    ] = None
