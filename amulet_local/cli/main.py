"""The entry of the command `amulet-local`.

Everything is imported inside, so that Ctrl-C ends the program quietly from its first moment on.
"""

from __future__ import annotations

import os
import sys

from amulet_local.cli.exit_codes import EXIT_INTERRUPTED, EXIT_TERMINATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> None:
    """Run the command line of this process and exit."""
    try:
        _run()
    except KeyboardInterrupt:
        _end_at_once(EXIT_INTERRUPTED)


def _run() -> None:
    try:
        is_child = "AMULET_ISOLATED" in os.environ
        if is_child:
            from amulet_local.cli.supervised import begin_as_child

            begin_as_child()
        if sys.argv[1:2] == ["ask"]:
            from amulet_local.cli.quick_ask import ask_at_once

            if ask_at_once(sys.argv[2:]):
                _end_at_once(0)
        from amulet_local.cli import quiet_keyboard, start_line

        quiet_keyboard.begin_chat(sys.argv[1:])
        start_line.begin(at_once=is_child)
        try:
            _run_app(is_child=is_child)
        finally:
            start_line.end()
            quiet_keyboard.end()
    except SystemExit as end:
        if end.code in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            _end_at_once(int(end.code))
        _forget_interrupts()
        raise


def _run_app(*, is_child: bool) -> None:
    from amulet_local.cli import quiet_keyboard
    from amulet_local.cli.app import app
    from amulet_local.cli.terminal import note, prepare_streams
    from amulet_local.cli.variables import unknown_variables, warning_of

    prepare_streams()
    is_asked_by_shell = "_AMULET_LOCAL_COMPLETE" in os.environ  # which completes a word
    if not (is_child or is_asked_by_shell) and (unknown := unknown_variables()):
        note(warning_of(unknown))
    arguments = sys.argv[1:]
    if not arguments:
        arguments = _welcomed()
        sys.argv[1:] = arguments  # a child that runs the command has the same line
        quiet_keyboard.begin_chat(arguments)
    app(arguments, prog_name="amulet-local")


def _forget_interrupts() -> None:
    """Ctrl-C from here on changes nothing: all is done, and Python, which would let it kill the
    process while it takes itself apart, has a status to end with."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _welcomed() -> list[str]:
    """What a person chooses on the first screen; nothing where nobody is there to choose."""
    from amulet_local.cli import welcome
    from amulet_local.cli.reporting import reporting

    if not welcome.is_wanted():
        return []
    with reporting():
        arguments = welcome.choose_command()
    if not arguments:
        raise SystemExit(0)
    return arguments


def _end_at_once(code: int) -> NoReturn:
    """Exit without taking the interpreter apart, for who interrupts it and for whose script waits.

    The engine is closed by now, if there was one, and nothing else needs to be put away.
    """
    import contextlib

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
