"""The texts that a command gets: the question, a preference, a template.

Reads files and standard input, and knows nothing about what the texts are for. Imports little, as
`ask` begins with it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable

from amulet_local.cli.terminal import note, stderr_is_terminal
from amulet_local.cli.values import check_text as check_text
from amulet_local.common.errors import (
    AmuletError,
    EmptyPromptError,
    FileAccessError,
    InvalidParameterError,
    InvalidTextError,
    UnknownPreferenceError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Protocol

    from amulet_local.params.choices import Placement

    class PromptSource(Protocol):
        """Where the question comes from: cli/options.py says what each is."""

        @property
        def prompt(self) -> str | None: ...
        @property
        def prompt_option(self) -> str | None: ...
        @property
        def file(self) -> str | None: ...


MAX_TEXT_BYTES = 16 * 2**20
"""Far beyond any context; stops at /dev/zero."""

HOW_TO_ASK = "give a question: as PROMPT in quotes, with -f FILE, or '-' and type it in"

PIPE_SECONDS = 2.0
"""So long may a pipe beside a question be silent at first."""


def read_question(options: PromptSource, *, with_pipe: bool = False) -> str:
    """The question, from wherever the options say it is; standard input where they don't.

    What a file has beside a question follows it, as a paragraph of its own, and so does what comes
    through a pipe, with a line that says so: a loop over a pipe's lines may not have meant that.

    Args:
        with_pipe: whether standard input is the question's; a chat reads its commands there.

    Raises:
        EmptyPromptError: it is blank.
        FileAccessError, InvalidTextError: it can't be read, or isn't UTF-8.
    """
    parts: dict[str, str] = {}
    if options.prompt_option is not None:
        _say_if_preference(options.prompt_option)
        parts["--prompt"] = options.prompt_option
    elif options.prompt not in (None, "-"):
        check_is_no_model(options.prompt)
        parts["PROMPT"] = options.prompt
    elif options.prompt == "-" or options.file is None:
        parts["standard input"] = read_stdin()
    if options.file is not None:
        parts[options.file] = read_file(options.file, "the prompt file", FileAccessError)
    elif with_pipe and "standard input" not in parts and _comes_through_pipe():
        note("standard input stands below the question (without it: < /dev/null)")
        piped = read_stdin()
        if piped.strip():
            parts["standard input"] = piped
    for place, text in parts.items():
        if not text.strip():
            raise EmptyPromptError(
                f"nothing to answer: the question from {place} is empty; {HOW_TO_ASK}"
            )
        check_text(place, text)
    return "\n\n".join(parts.values())


def _say_if_preference(question: str) -> None:
    """Say that -p is llama.cpp's, where what it asks is a preference's name."""
    if question.isalpha():
        from amulet_local.preferences.names import BUILT_IN_PREFERENCES

        if question.lower() in BUILT_IN_PREFERENCES:
            note(
                f"-p asks {question!r} as a question, as in llama.cpp; "
                f"--preference {question} is what answers should be like"
            )


def check_is_no_model(text: str) -> None:
    """Refuse a question that is a model's name, beside the model that -m names.

    Raises:
        InvalidParameterError: it is one.
    """
    if is_model(text):
        import shlex

        raise InvalidParameterError(
            f"{text!r:.80} is a model, not a question: -m {shlex.quote(text):.80} names it, "
            f"--prompt {shlex.quote(text):.80} asks it"
        )


def is_model(text: str) -> bool:
    """Whether a text that may be a question is a model's name, or a file's of one."""
    if len(text.split()) != 1:
        return False
    if text.lower().endswith(".gguf"):
        return True
    from amulet_local.loading.model_store import find_model

    if not os.path.lexists(text):
        with contextlib.suppress(AmuletError):
            return find_model(text) is not None
    return False


def placement_named(name: str | None) -> Placement | None:
    """The placement that `--placement` names.

    Raises:
        InvalidParameterError: there is no such placement.
    """
    from typing import cast, get_args

    from amulet_local.params.choices import Placement, as_known

    places = get_args(Placement)
    name = as_known(name, places)
    if name not in (None, *places):
        raise InvalidParameterError(f"--placement must be one of {', '.join(places)}, not {name!r}")
    return cast("Placement | None", name)


def has_question(options: PromptSource) -> bool:
    """Whether a question is given, or standard input may bring one."""
    given = (options.file, options.prompt_option, options.prompt)
    return any(text is not None for text in given) or _stdin_is_fed()


def require_question(options: PromptSource) -> None:
    """Show how to ask, before anything is read or loaded.

    Raises:
        typer.BadParameter: there is no question, and a person at the keyboard.
    """
    import typer

    if not has_question(options):
        raise typer.BadParameter(HOW_TO_ASK)


def read_preference(path: str) -> str:
    """The text of a preference file.

    Raises:
        UnknownPreferenceError, InvalidTextError: it can't be read, or isn't UTF-8.
    """
    text = read_file(path, "the preference file", UnknownPreferenceError)
    if not text.strip():
        raise UnknownPreferenceError(f"the preference file {path!r} is empty")
    return text


def read_file(path: str, what: str, error_type: Callable[[str], AmuletError]) -> str:
    """The text of a file, '-' for standard input, without its last line end.

    Raises:
        AmuletError: of `error_type`, where the system doesn't let us.
        InvalidTextError: it isn't UTF-8.
    """
    if path == "-":
        return read_stdin()
    try:
        with open(path, "rb") as file:
            data = _read_bounded(file)
    except OSError as error:
        raise error_type(f"can't read {what} {path!r}: {error.strerror}") from None
    except ValueError:  # a NUL in the path, from an environment variable
        raise error_type(f"can't read {what} {path!r}: no path has a NUL in it") from None
    return _decode(data, f"{what} {path!r}")


def read_stdin() -> str:
    """The text of standard input without its last line end.

    Raises:
        FileAccessError, InvalidTextError: it can't be read, or isn't UTF-8.
    """
    if sys.stdin is None:
        raise FileAccessError("can't read standard input: it is closed")
    if sys.stdin.isatty() and stderr_is_terminal():
        note("Type the text; Ctrl-D on a line of its own ends it.")
    try:
        data = _read_bounded(sys.stdin.buffer)
    except OSError as error:
        raise FileAccessError(f"can't read standard input: {error.strerror}") from None
    return _decode(data, "standard input")


def _stdin_is_fed() -> bool:
    """Whether standard input is a pipe or file with something in it, not a keyboard."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _comes_through_pipe() -> bool:
    """Whether standard input is a pipe with something in it, at once or within PIPE_SECONDS."""
    try:
        number = sys.stdin.fileno()
        if os.name != "posix" or not stat.S_ISFIFO(os.fstat(number).st_mode):
            return False
        if _n_bytes_in(number):
            return True
        import select

        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        if not waiting.poll(1000 * PIPE_SECONDS):  # neither something nor its end
            note(
                f"warning: standard input isn't read: nothing came within {PIPE_SECONDS:g} s; "
                f"-f - waits for it, < /dev/null leaves it out at once"
            )
        return bool(_n_bytes_in(number))
    except (OSError, ValueError, AttributeError):
        return False


def _n_bytes_in(pipe: int) -> int:
    """How many bytes wait in a pipe."""
    import array
    import fcntl
    import termios

    size = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0]


def _read_bounded(file: BinaryIO) -> bytes:
    return file.read(MAX_TEXT_BYTES + 1)


_NO_TEXTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
"""How files begin that somebody may want to ask about: PNG, JPEG, GIF, WebP and WAV."""


def _decode(data: bytes, place: str) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise InvalidTextError(f"{place} has more than {MAX_TEXT_BYTES} bytes: give a shorter text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith(_NO_TEXTS):
            raise InvalidTextError(f"{place}: pictures and sounds aren't read here") from None
        raise InvalidTextError(
            f"{place} isn't UTF-8 text (byte {error.start}): convert it first"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def given(**values: Any) -> dict[str, Any]:
    """Those that aren't None: what nobody asked for is left to its default."""
    return {name: value for name, value in values.items() if value is not None}


def chosen_model(model: str | None) -> str:
    """The model that -m names, the default one without it."""
    from amulet_local.loading.model_store import DEFAULT_MODEL

    return DEFAULT_MODEL if model is None else model
