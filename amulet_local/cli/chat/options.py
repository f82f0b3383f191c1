"""The options of `chat`: those of `generate`, and which chat to go on with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from amulet_local.cli import completions
from amulet_local.cli.derived_options import Given, group
from amulet_local.cli.flags import MethodName, option
from amulet_local.cli.options import AnswerOptions
from amulet_local.params.option import OUTPUT, with_help
from amulet_local.params.sampling import SamplingParams

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
    sampling: Given = field(
        default_factory=dict,
        metadata=group(
            with_help(
                SamplingParams.options,
                max_tokens=f"Most tokens of an answer. Default: {MAX_TOKENS}.",
            )
        ),
    )
    markdown: Annotated[
        bool | None,
        option(
            "--markdown/--no-markdown",
            panel=OUTPUT,
            help="Show answers as Markdown, or as they come. Default: Markdown on a terminal.",
        ),
    ] = None
