"""The commands of a chat: their names, what they take, and the line that has one.

Knows nothing about what they do.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from amulet_local.cli.chat.settings import set_as
from amulet_local.cli.columns import wrap
from amulet_local.cli.inputs import is_model


@dataclass(frozen=True, kw_only=True)
class Slash:
    """A command.

    Attributes:
        name: without the slash.
        takes: its argument in the help; empty for none.
        help: what it does.
        aliases: other names, among them those that llama-cli and Ollama have.
        offers: what its argument may be: "preferences", "presets", "chats", "sampling", "commands",
            or nothing.
        is_live: whether it works while an answer comes.
    """

    name: str
    help: str
    takes: str = ""
    aliases: tuple[str, ...] = ()
    offers: str = ""
    is_live: bool = False


COMMANDS = (
    Slash(
        name="preference",
        takes="TEXT",
        help="what answers should be like: a name or a description; '+ TEXT' adds one, off ends it",
        aliases=("pref", "prefs"),
        offers="preferences",
        is_live=True,
    ),
    Slash(
        name="avoid",
        takes="TEXT",
        help="what they should not be like, likewise",
        offers="preferences",
        is_live=True,
    ),
    Slash(
        name="strength",
        takes="A",
        help="how strong: 0 plain, 1 as in a prompt, 5.65 the paper's; 'kl 0.8' sets the KL budget",
        is_live=True,
    ),
    Slash(
        name="preset",
        takes="NAME",
        help="balanced, strong or paper",
        offers="presets",
        is_live=True,
    ),
    Slash(name="compare", help="the last answer without the preference, beside yours"),
    Slash(name="explain", takes="all", help="what the preference did to each token of the answer"),
    Slash(name="good", help="you like the last answer: the profile learns from it (--profile)"),
    Slash(name="bad", help="you don't"),
    Slash(
        name="better",
        takes="1|2",
        help="another answer, made so that your pick tells most; 1 or 2 picks",
    ),
    Slash(name="like", takes="TEXT", help="a text that you like, the last answer without one"),
    Slash(name="fix", takes="TEXT", help="change the last answer, in $EDITOR without a text"),
    Slash(name="remember", takes="TEXT", help="something about you, for questions it matters for"),
    Slash(name="retry", help="answer the last question anew", aliases=("regen", "regenerate")),
    Slash(name="undo", help="take the last turn back"),
    Slash(name="edit", takes="TEXT", help="another question in the place of the last one"),
    Slash(name="system", takes="TEXT", help="the system text; off for none, default for ours"),
    Slash(
        name="set",
        takes="NAME VALUE",
        help="sampling: temp, top_k, top_p, min_p, seed, n (longest answer), stop, ...",
        offers="sampling",
    ),
    Slash(
        name="save",
        takes="NAME",
        help="keep a copy under a name, or in a FILE.json",
        offers="chats",
    ),
    Slash(
        name="load", takes="NAME", help="go on with a chat; without a name: a list", offers="chats"
    ),
    Slash(name="new", help="a new chat; the old one is kept", aliases=("clear", "reset")),
    Slash(name="stats", help="tokens, speed, context in use, settings", aliases=("show",)),
    Slash(name="help", takes="COMMAND", help="this list", aliases=("?", "h"), offers="commands"),
    Slash(name="exit", help="leave (or Ctrl-D)", aliases=("bye", "quit", "q")),
)

OTHERS = {
    **dict.fromkeys(("read", "glob", "file"), "paste the text, or start with -f FILE"),
    **dict.fromkeys(
        ("run", "model", "switch", "use"),
        "a chat has one model; leave with /exit, then amulet-local chat -m MODEL, with --continue "
        "to go on with this chat",
    ),
    **dict.fromkeys(
        ("list", "ls", "models", "ps"),
        "/stats says which model this is, `amulet-local models` outside lists them all; /load "
        "lists chats",
    ),
    **dict.fromkeys(
        ("pull", "download"), "`amulet-local pull NAME` outside the chat downloads one"
    ),
    **dict.fromkeys(("image", "audio", "video"), "pictures and sounds aren't read here"),
    **dict.fromkeys(("history", "chats"), "/load lists chats"),
    "cls": "Ctrl-L clears the screen, /new begins a new chat",
    **dict.fromkeys(("copy", "export"), "/save FILE.json keeps the chat in a file"),
    **dict.fromkeys(("context", "usage", "info", "tokens"), "/stats says what is in use"),
    "profile": "the chat has one where it was started with --profile NAME",
    "compact": "/undo takes turns back, /new begins afresh",
}
"""Commands of other programs' chats -> what does it here."""

BY_NAME = {name: item for item in COMMANDS for name in (item.name, *item.aliases)}

KEYS = """\
Enter sends. Alt-Enter, or \\ at a line's end, begins another line; so does a
\"\"\" until the next one. Pasted lines stay together.
Ctrl-C stops an answer, or clears what you typed; Ctrl-D leaves.
While an answer comes: type /preference, /avoid, /strength or /preset and Enter,
and the rest of it follows."""

_MODEL = re.compile(r"[A-Za-z][\w.-]*[\d:/]")
"""How names of models begin: `llama3.2`, `qwen2.5:1.5b`, `Qwen/...`; none needs to be there."""
_COMMAND = re.compile(r"/(?:([A-Za-z][\w-]*|\?)(?:(?:\s+|=)(.*))?)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class SlashLine:
    """A line with a command: the command, None if there is none of that name; its argument."""

    name: str
    command: Slash | None
    argument: str


WITHOUT_SLASH = ("help", "?", "list", "ls", "ps", "pull", "run", "show")
"""Words that are commands of this chat or of other programs, and no questions."""
LEAVING = ("exit", "quit", "bye", "exit()", "quit()", "q", ":q", ":q!", ":wq", ":x", "logout")
"""What somebody types who wants to leave, in this or in another program."""


def meant(text: str) -> str:
    """What was typed, as a command where it is one without its slash: `ps`, `run NAME`, `exit`."""
    word, *rest = text.split()
    if word.lower().rstrip(";") in LEAVING and not rest:
        return "/exit"
    if word.lower() in ("clear", "cls") and not rest:
        return "/cls"
    names_a_model = word.lower() in ("pull", "run") and len(rest) == 1 and _is_model(rest[0])
    if word.lower() in WITHOUT_SLASH and (not rest or names_a_model):
        return "/help" if word == "?" else f"/{text.strip()}"
    return text


def without_its_slash(text: str) -> str:
    """What to say beside a question that looks like one of these commands without its slash:
    "preference concise", "set temp 0.7"; empty for any other."""
    word, *rest = text.split()
    named = BY_NAME.get(word.lower())
    if named is None or named.name not in ("preference", "strength", "preset", "set"):
        return ""
    if not 1 <= len(rest) <= 4 or (named.name == "set" and not set_as(rest[0].lower())):
        return ""
    return f"asked as a question; /{' '.join(text.split())} is the command"


def parsed(text: str) -> SlashLine | None:
    """The command of a text; None for a text that is to be answered, "/etc/hosts" say."""
    match = _COMMAND.fullmatch(text.strip())
    if match is None:
        return None
    name = (match[1] or "help").lower()  # a slash alone asks what there is
    return SlashLine(name=name, command=_found(name), argument=(match[2] or "").strip())


def unknown(name: str) -> str:
    """What to say where there is no such command."""
    if name in OTHERS:
        return f"there is no command /{name}: {OTHERS[name]}"
    if setting := set_as(name):
        return f"there is no command /{name}: it is {setting}"
    close = difflib.get_close_matches(name, [item.name for item in COMMANDS], n=1)
    meant = f"did you mean /{close[0]}? " if close else ""
    return f"there is no command /{name}; {meant}/help lists them"


def help_text(width: int) -> str:
    """The list of commands, in lines of at most `width` cells."""
    left = max(len(_usage(item)) for item in COMMANDS) + 4
    lines = []
    for item in COMMANDS:
        first, *rest = wrap(item.help, max(20, width - left))
        lines.append(f"  {_usage(item):{left - 2}}{first}")
        lines += [" " * left + line for line in rest]
    return "\n".join([*lines, "", keys_text(width)])


def keys_text(width: int) -> str:
    """What the keys do, likewise."""
    return "\n".join(wrap(" ".join(KEYS.split("\n")), width)) + "\n"


def help_of(item: Slash, width: int) -> str:
    """One command, with its other names."""
    others = f" (also {', '.join('/' + name for name in item.aliases)})" if item.aliases else ""
    return "\n".join(wrap(f"{_usage(item)}: {item.help}{others}", width)) + "\n"


def _usage(item: Slash) -> str:
    return f"/{item.name} {item.takes}".rstrip()


def _is_model(text: str) -> bool:
    return bool(_MODEL.match(text)) or is_model(text)


def _found(name: str) -> Slash | None:
    """By its name, or the beginning of one that no other has."""
    if name in BY_NAME:
        return BY_NAME[name]
    begun = {item.name: item for item in COMMANDS if item.name.startswith(name)}
    return next(iter(begun.values())) if len(begun) == 1 and len(name) > 2 else None
