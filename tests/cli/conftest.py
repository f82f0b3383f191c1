"""Fixtures for the tests of the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import OnTerminal, Outcome

CallCli = Callable[..., Outcome]


@pytest.fixture(scope="module")
def tiny_by_default(tiny_path: Path) -> Iterator[None]:
    """Commands that name no model use the tiny one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMULET_MODEL", str(tiny_path))
        yield


@pytest.fixture(scope="module")
def shallow_by_default(shallow_path: Path) -> Iterator[None]:
    """Commands that name no model use the shallow one: for what has to take its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMULET_MODEL", str(shallow_path))
        yield


@pytest.fixture
def whole_by_default(tiny_by_default: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that name no model use the whole one again: for what its words show."""
    monkeypatch.delenv("AMULET_MODEL")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCli:
    """Run `main` in this process: for what ends before a model is loaded."""
    from amulet_local.cli import main

    monkeypatch.setattr(main, "_end_at_once", sys.exit)  # this process goes on
    monkeypatch.setattr(main, "_forget_interrupts", lambda: None)

    def run_main(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["amulet-local", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        captured = capsys.readouterr()
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    return run_main


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., OnTerminal]]:
    """Start a command on a terminal of its own."""
    started: list[OnTerminal] = []

    def start(*arguments: Any, **env: str) -> OnTerminal:
        started.append(OnTerminal(*arguments, **env))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Callable[..., Path]:
    """Write a GGUF file with one small tensor: sound, but no model that could be run."""
    import gguf
    import numpy as np

    def make(file_name: str, architecture: str = "llama", **strings: str) -> Path:
        path = tmp_path / file_name
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_file_type(7)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["a", "b"])
        for key, value in strings.items():
            writer.add_string(f"general.{key}", value)
        writer.add_tensor("token_embd.weight", np.zeros((2, 32), dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make
