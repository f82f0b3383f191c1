"""How a command ends: exit codes, and one line on stderr instead of a traceback.

0 done, or nobody reads the output any more; 1 an error; 2 wrong usage (typer's own); 3 an answer
that was cut; 4 some lines of a batch failed; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from amulet_local.cli.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED
from amulet_local.cli.terminal import end_echo, note, silence
from amulet_local.common.errors import (
    AmuletError,
    ContextCreationError,
    InvalidParameterError,
    PromptTooLongError,
)


@contextmanager
def reporting(
    *, verbose: bool = False, variables: Mapping[str, Sequence[str]] | None = None
) -> Iterator[None]:
    """Turn whatever a command raises into a line on stderr and an exit code.

    Args:
        verbose: show the traceback of an unexpected error; so does AMULET_DEBUG.
        variables: of the environment that have set options, each with the flags that would have.
    """
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C during the clean-up
        end_echo()
        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        silence(sys.stdout)
        raise SystemExit(0) from None
    except AmuletError as error:
        from amulet_local.cli.flag_names import in_flags, of_environment, without_python

        is_about_options = (InvalidParameterError, PromptTooLongError, ContextCreationError)
        in_words = in_flags if isinstance(error, is_about_options) else without_python
        message = in_words(str(error))
        note(f"error: {message}{of_environment(message, variables or {})}")
        raise SystemExit(EXIT_ERROR) from None
    except Exception as error:
        if verbose or os.environ.get("AMULET_DEBUG"):
            import traceback

            traceback.print_exc()
            hint = ""
        else:
            hint = " (AMULET_DEBUG=1 shows where; please report it)"
        note(f"error: unexpected {type(error).__name__}: {error}{hint}")
        raise SystemExit(EXIT_ERROR) from None
