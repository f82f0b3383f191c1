"""How a command ends: exit codes, and one line on stderr instead of a traceback.

0 done, or nobody reads the output any more; 1 an error; 2 wrong usage (typer's own); 3 an answer
that was cut; 4 some lines of a batch failed; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from amulet_local.cli.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED
from amulet_local.cli.terminal import note, silence
from amulet_local.common.errors import (
    AmuletError,
    ContextCreationError,
    InvalidParameterError,
    PromptTooLongError,
)
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.learn import LearnParams
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams

_FLAGS = {
    **{
        name: option.flag
        for params in (AmuletParams, SamplingParams, RuntimeParams, LearnParams)
        for name, option in params.options.items()
        if option.kind != "off"
    },
    "preference": "--preference",
}
"""What the library calls an option -> what the command line calls it."""
_UNMISTAKABLE = [name for name in _FLAGS if "_" in name]
_WITH_VALUE = re.compile(rf"\b({'|'.join(_FLAGS)})='(\w+)'")
_LEADING = re.compile(rf"(^|; )({'|'.join(_FLAGS)}):")
_ANYWHERE = re.compile(rf"(?<![\w-])({'|'.join(_UNMISTAKABLE)})(?!\w)")


def in_flags(message: str) -> str:
    """A message about options with the command line's names for them."""
    message = _WITH_VALUE.sub(lambda match: f"{_FLAGS[match[1]]} {match[2]}", message)
    message = _LEADING.sub(lambda match: f"{match[1]}{_FLAGS[match[2]]}:", message)
    return _ANYWHERE.sub(lambda match: _FLAGS[match[1]], message)


@contextmanager
def reporting(*, verbose: bool = False) -> Iterator[None]:
    """Turn whatever a command raises into a line on stderr and an exit code.

    Args:
        verbose: show the traceback of an unexpected error; so does AMULET_DEBUG.
    """
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C during the clean-up
        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        silence(sys.stdout)
        raise SystemExit(0) from None
    except (InvalidParameterError, PromptTooLongError, ContextCreationError) as error:
        note(f"error: {in_flags(str(error))}")
        raise SystemExit(EXIT_ERROR) from None
    except AmuletError as error:
        note(f"error: {error}")
        raise SystemExit(EXIT_ERROR) from None
    except Exception as error:
        if verbose or os.environ.get("AMULET_DEBUG"):
            traceback.print_exc()
            hint = ""
        else:
            hint = " (AMULET_DEBUG=1 shows where; please report it)"
        note(f"error: unexpected {type(error).__name__}: {error}{hint}")
        raise SystemExit(EXIT_ERROR) from None
