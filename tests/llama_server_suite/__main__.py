"""Runs llama.cpp's tests of llama-server against a server; see scripts/llama_server_suite.

Knows nothing about what the tests ask.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
import xml.etree.ElementTree as xml
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.llama_cpp_source import models_folder, server_tests_folder
from tests.llama_server_suite.adapting import adapt
from tests.llama_server_suite.standins import write_all

WORK = Path(__file__).parents[2] / "build" / "llama_server_suite"
OUTCOMES = ("passed", "failed", "skipped")
ONE_THREAD = dict.fromkeys(
    ("AMULET_THREADS", "AMULET_THREADS_BATCH", "LLAMA_ARG_THREADS", "LLAMA_ARG_THREADS_BATCH"), "1"
)
"""In the servers' environment: models this small are slowed down by more."""
APART = {
    "test_compat_gcp": "Vertex",
    "test_mcp_servers": "MCP servers",
    "test_proxy": "MCP's proxy",
    "test_router": "the router's internals",
    "test_speculative": "speculative decoding with a second model",
    "test_stream": "the router's streams",
    "test_tools_builtin": "built-in tools",
    "test_vision_api": "pictures",
}
"""What isn't done here, by the files of its tests."""


def main() -> None:
    """The script."""
    options, rest = _parser().parse_known_args()
    WORK.mkdir(parents=True, exist_ok=True)
    standins = WORK / "standins"
    standins.mkdir(exist_ok=True)
    models = models_folder()
    tests = adapt(server_tests_folder(), WORK, models, write_all(standins, models))
    server = Path(options.server).resolve() if options.server else _server()
    results = (Path(options.results) if options.results else WORK / "results.xml").resolve()
    python = _python(tests / "requirements.txt")
    subprocess.run(
        [
            *(
                python,
                "-m",
                "pytest",
                "-m",
                "not slow",
                "-q",
                "--tb=short",
                "-p",
                "no:cacheprovider",
            ),
            *(f"--junitxml={results}", "-o", "junit_logging=system-out"),
            *("-o", "junit_log_passing_tests=false", *rest),
        ],
        cwd=tests,
        env={**ONE_THREAD, **os.environ, "LLAMA_SERVER_BIN_PATH": str(server)},
        check=False,
    )
    _show(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llama_server_suite",
        description="Run llama.cpp's own tests of llama-server. Further arguments are pytest's, "
        "such as unit/test_basic.py or -k slots.",
    )
    parser.add_argument("--server", help="program that is tested. Default: amulet-local serve")
    parser.add_argument("--results", help="JUnit file of the results. Default: in build/")
    return parser


def _server() -> Path:
    """A program that is started as llama-server is, and starts `amulet-local serve`."""
    path = WORK / "llama-server"
    command = Path(sys.executable).parent / "amulet-local"
    path.write_text(f'#!/bin/sh\nexec "{command}" serve "$@"\n')
    path.chmod(0o755)
    return path


def _python(requirements: Path) -> Path:
    """An interpreter with what the tests need."""
    folder = WORK / "venv"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(command, check=True)
        (folder / "complete").touch()
    return python


def _cases(results: Path) -> Iterator[tuple[str, str, str]]:
    """File, name and outcome of each test."""
    for case in xml.parse(results).iter("testcase"):
        outcome = "passed"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
        elif case.find("skipped") is not None:
            outcome = "skipped"
        yield case.get("classname", "").removeprefix("unit."), case.get("name", ""), outcome


def _show(results: Path) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failed = []
    for file, name, outcome in _cases(results):
        counts[file][outcome] += 1
        if outcome == "failed" and file not in APART:
            failed.append(f"{file}::{name}")
    print(f"\n{'':26}{''.join(f'{outcome:>9}' for outcome in OUTCOMES)}")
    for file, count in sorted(counts.items()):
        numbers = "".join(f"{count[outcome]:9}" for outcome in OUTCOMES)
        print(f"{file:26}{numbers}{'  ' + APART[file] if file in APART else ''}")
    total = sum(counts.values(), Counter())
    print(f"{'all':26}{''.join(f'{total[outcome]:9}' for outcome in OUTCOMES)}")
    print("\nFailed, of what is done here:", *failed, sep="\n  ")


if __name__ == "__main__":
    main()
