"""What is installed is what the sources say: a wheel that anybody can build again."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_two_builds_of_the_wheel_have_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
        subprocess.run([*command, "-w", tmp_path / name, REPOSITORY], check=True, timeout=200)
        (wheel,) = (tmp_path / name).iterdir()
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1
