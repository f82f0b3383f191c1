"""How a command tells other programs how it ended: 0 is done, 2 wrong usage (typer's own)."""

from __future__ import annotations

EXIT_ERROR = 1
"""One line on stderr says what is wrong."""
EXIT_CUT = 3
"""An answer was cut, by its limit of tokens or by the context."""
EXIT_INTERRUPTED = 130
"""Ctrl-C."""
EXIT_PARTIAL = 4
"""Some lines of a batch have an error in the place of an answer."""
EXIT_TERMINATED = 143
"""SIGTERM, where half a file would have been left behind."""
