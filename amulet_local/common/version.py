"""The version of this package, installed or not."""

from __future__ import annotations

import re
from pathlib import Path


def package_version() -> str:
    """As pip knows it; in a checkout that isn't installed, as pyproject.toml says."""
    from importlib import metadata  # 20 ms that help doesn't need

    try:
        return metadata.version("amulet-local")
    except metadata.PackageNotFoundError:
        pass
    try:
        project = Path(__file__).parents[2] / "pyproject.toml"
        found = re.search(r'^version = "(.+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else "unknown"
