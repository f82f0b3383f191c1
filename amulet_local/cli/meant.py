"""What somebody may have meant on a command line that can't be read as it stands.

Knows words of other programs, and what word processors and web pages make of quotes and hyphens.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Sequence

MEANT = {
    **dict.fromkeys(
        (
            *("--strength", "--scale", "--guidance", "--cfg", "--cfg-scale"),
            *("--mode", "--level", "--intensity"),
        ),
        "--guidance-scale N (1 is the prompt alone), or --preset balanced, strong or paper",
    ),
    **dict.fromkeys(
        (
            *("--style", "--tone", "--like", "--prefer", "--preferences", "--pref", "--persona"),
            *("--role", "--character", "--voice"),
        ),
        "--preference TEXT, once for each",
    ),
    **dict.fromkeys(("--language", "--lang"), "--preference TEXT, as in --preference 'in Spanish'"),
    **dict.fromkeys(
        ("--weight", "--weights"), "--preference TEXT:WEIGHT, as in --preference concise:0.7"
    ),
    **{f"--{name}": f"--preset {name}" for name in ("balanced", "strong", "paper")},
    **dict.fromkeys(("--dislike", "--without", "--not"), "--avoid TEXT"),
    **dict.fromkeys(("--context", "--ctx", "--n-ctx", "--num-ctx"), "--ctx-size N"),
    **dict.fromkeys(
        (
            *("--tokens", "--length", "--num-predict", "--n-tokens"),
            *("--max-length", "--max-new-tokens", "--limit"),
        ),
        "--predict N",
    ),
    **dict.fromkeys(("--question", "--query"), "--prompt TEXT, or the text alone"),
    **dict.fromkeys(("--model-path", "--model-name", "--gguf"), "--model NAME, or a file"),
    **dict.fromkeys(
        ("--think", "--thinking", "--no-think", "--reasoning"),
        "--chat-template-kwargs JSON, as in '{\"enable_thinking\": false}'",
    ),
    "--format": "--json-schema TEXT, and '{}' for any JSON",
}
"""What somebody may call a flag -> the one that is meant."""

NEEDLESS = {
    **dict.fromkeys(
        ("--output", "--out", "-o"), "an answer goes to standard output: end the line with > FILE"
    ),
    "--stream": "an answer comes word by word without it",
    **dict.fromkeys(
        ("--no-stream", "--nostream"), "an answer comes word by word, with --json at once"
    ),
    **dict.fromkeys(
        ("--quiet", "-q", "--silent"),
        "only an answer is on standard output: 2>/dev/null hides the rest",
    ),
    **dict.fromkeys(("--list-models", "--list"), "`amulet-local models` lists models"),
    **dict.fromkeys(
        ("-m", "--model"),
        "a server has its model loaded, and `amulet-local generate -m MODEL` loads one",
    ),
    "--list-preferences": "`amulet-local preferences` lists preferences",
}
"""What somebody may type where a preference is followed -> what to know or do without a flag."""

SAME = {
    **dict.fromkeys(("delete", "rm", "del"), ("remove", "delete")),
    **dict.fromkeys(("new", "set", "create"), ("create", "add")),
    **dict.fromkeys(("info", "get", "inspect"), ("show",)),
    **dict.fromkeys(("ls", "all"), ("list",)),
    **dict.fromkeys(("download", "install"), ("pull",)),
}
"""What somebody may call a command below another -> what it may be called here."""

_MOST_NEAR = 6
_DASHES = "\u2013\u2014\u2212"
_OPENING = "\u201c\u201d\u201e\u2018\u00ab"
_CLOSING = "\u201c\u201d\u2019\u00bb"


def typography(words: Sequence[str], flags: Collection[str]) -> str:
    """What is wrong with quotes or hyphens that aren't those of a keyboard; empty for nothing.

    Args:
        words: of a command line.
        flags: those that there are.
    """
    for place, word in enumerate(words):
        name = word.lstrip(_DASHES + "-")
        flag = next((f for f in (f"--{name}", f"-{name}") if f.partition("=")[0] in flags), None)
        if flag is not None and word[0] in _DASHES:
            return f"{word:.60} begins with a dash that is no hyphen: write {flag:.60}"
        before = words[place - 1] if place else ""
        if word[:1] in _OPENING and word[-1:] not in _CLOSING and before.startswith("-"):
            ends = [i for i in range(place, len(words)) if words[i][-1:] in _CLOSING]
            text = " ".join(words[place : ends[0] + 1 if ends else None]).strip(_OPENING + _CLOSING)
            return f"a shell knows straight quotes only: write {before} {shlex.quote(text):.200}"
    return ""


def near_flags(typed: str, flags: Collection[str]) -> list[str]:
    """The flags that somebody may mean who typed another: but for hyphens the same, else those that
    begin or end with it, else those like it.

    Args:
        flags: those that there are, without short ones.
    """
    same = [flag for flag in flags if _letters(flag) == _letters(typed)]
    begin = [flag for flag in flags if flag.startswith(typed)]
    end = [flag for flag in flags if typed[:2] == "--" and flag.endswith(typed[1:])]
    names = {_letters(flag): flag for flag in flags}
    close = [names[name] for name in difflib.get_close_matches(_letters(typed)[:64], names)]
    return (same or begin or end or close)[:_MOST_NEAR]


def _letters(flag: str) -> str:
    return flag.replace("-", "").lower()


def unquoted(text: str) -> str:
    """A text without the quotes around it that a shell would have taken off."""
    ends = text[:1] + text[-1:]
    inside = text[1:-1].strip()
    is_quoted = ends in ('""', "''", "“”", "„“", "«»") and not any(end in inside for end in ends)
    return inside if is_quoted and inside else text
