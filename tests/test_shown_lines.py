"""What the documents tell users to type runs as it stands, on models small enough for it.

Each page's lines run in their order in a folder of their own, with a home of its own, where the
programs of this checkout are found as the page has them, and the files are that it speaks of: what
ends in `.gguf` is a real model of four layers. Answers are short (AMULET_PREDICT), measurements
have one round, and port 8080 is another one, so that it doesn't matter what else is there.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.help_in_docs import REPOSITORY
from tests.shown_lines import LEFT_OUT, RUN_ON_ONE_ENGINE, Shown, pages, shown_lines, why_not

MODEL_FILE = re.compile(r"(?<![\w/~.-])(?:~/|/)?[\w.~/-]+\.gguf\b")
"""A name of a model's file that somebody has, in lines and programs."""
SERVES = re.compile(r"(?:\.venv/bin/)?amulet-local serve\b[^&]*")
MADE = ("pirate.gguf",)
"""Files that a page makes itself."""
TYPED = b"What is yeast?\nexit\n"
F16 = 1
"""In llama.cpp's list of file types."""
ENOUGH_SECONDS = 900
CUT = 3
"""How a command ends whose answer was cut, as those here are."""


def json_block(page: str) -> str:
    """The first block of JSON of a document."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return text.partition("```json\n")[2].partition("```")[0]


def files_of_a_user() -> dict[str, str]:
    """What users have in a folder, by the documents: their texts by name."""
    return {
        "questions.json": '[{"question": "What is yeast?"}, {"question": "What is tea?"}]\n',
        "question.txt": "What is yeast?\n",
        "mine.txt": "What is yeast?\nWhat is tea?\n",
        "news.jsonl": '{"title": "What is yeast?"}\n',
        "openai.jsonl": '{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", '
        '"body": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}}\n',
        "how-i-write.txt": "Short words. No adverbs.\n",
        "keys.txt": "a-key-of-at-least-sixteen-characters\n",
        "more.csv": "question\nHow do I sleep better?\nWhy is the sky blue?\n",
        "questions.jsonl": json_block("batch.md"),
        "liked.jsonl": json_block("learn.md") * 3,  # `--holdout 0.2` needs five and more
    }


class Page:
    """A document's lines, and the folder where they run.

    Attributes:
        log: what was typed, and what came of it.
    """

    def __init__(self, path: Path, folder: Path, model: Callable[[bool], Path]) -> None:
        self.lines = shown_lines(path)
        self.folder = folder / "work"
        self.home = folder / "home"
        self.log: list[str] = []
        self._model = model
        self._running: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._lay_out()

    def _lay_out(self) -> None:
        python = f'"{sys.executable}"'
        self._program(".venv/bin/python", python)
        self._program(".venv/bin/amulet-local", f"{python} -m amulet_local")
        self._program(".venv/bin/llm", f"{python} -m llm")
        for script in (REPOSITORY / "scripts").glob("[!.]*"):
            self._program(f"scripts/{script.name}", f'"{script}"')
        for name, text in files_of_a_user().items():
            (self.folder / name).write_text(text, encoding="utf-8")
        (self.folder / "in").mkdir()
        (self.folder / "in" / "a.jsonl.gz").write_bytes(gzip.compress(b'"What is yeast?"\n'))
        for command in (["init", "-q"], ["add", "more.csv"]):  # for `git diff |`
            subprocess.run(["git", "-C", self.folder, *command], check=True)
        with (self.folder / "more.csv").open("a", encoding="utf-8") as file:
            file.write("Who was Ada Lovelace?\n")
        (self.folder / "models").mkdir()
        (self.home / "run").mkdir(parents=True, mode=0o700)
        for shown in self.lines:
            for name in MODEL_FILE.findall(shown.text) if not shown.reason else ():
                place = self.folder / name.replace("~", str(self.home))
                if name not in MADE and not place.exists():
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(self._model("F16" in name), place)

    def _program(self, name: str, started: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec {started} "$@"\n')
        path.chmod(0o755)

    def _environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("AMULET_")}
        return {
            **kept,
            "PATH": f"{self.folder}/.venv/bin{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "AMULET_MODELS": str(self.folder / "models"),
            "EDITOR": "true",
            "AMULET_PREDICT": "8",
            "AMULET_ROUNDS": "1",
            "AMULET_PORT": str(self._port),
        }

    def run(self, shown: Shown) -> str:
        """Type a line; returns what was wrong, empty if nothing was."""
        text = shown.text.replace("127.0.0.1:8080", f"127.0.0.1:{self._port}")
        self.log.append(f"{shown.line} $ {text}")
        if shown.language == "python":
            program = self.folder / "block.py"
            program.write_text(text, encoding="utf-8")
            return self._to_its_end("python block.py", b"")
        if SERVES.fullmatch(text.partition(" #")[0].rstrip()):
            return self._serve(text)
        return self._to_its_end(text, TYPED if " chat" in text else b"")

    def _start(self, text: str) -> tuple[subprocess.Popen[bytes], Path]:
        written = self.folder.parent / f"out-{len(self.log)}"
        with written.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"set -o pipefail\n{text}"],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._running.append(process)
        return process, written

    def _to_its_end(self, text: str, typed: bytes) -> str:
        process, written = self._start(text)
        began = time.monotonic()
        try:
            process.communicate(typed, timeout=ENOUGH_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what comes next has the machine
            return f"{text}: not done after {ENOUGH_SECONDS} s"
        said = written.read_text(encoding="utf-8", errors="replace")
        self.log.append(f"{said}[{process.returncode}, {time.monotonic() - began:.1f} s]\n")
        is_right = process.returncode in (0, CUT) and "Traceback" not in said
        return "" if is_right and '"error"' not in said else f"{text}: {process.returncode}, {said}"

    def _serve(self, text: str) -> str:
        """Start a server as in another terminal, in the place of the one at the same address."""
        _, _, socket = text.partition(" --socket ")
        if not socket:
            self.stop()
        process, written = self._start(f"exec {text}")
        for _ in range(120):
            if self._answers(socket.split(" ")[0]):
                self.log.append(written.read_text(encoding="utf-8"))
                return ""
            if process.poll() is not None:
                break
            time.sleep(0.5)
        return f"{text}: {process.poll()}, {written.read_text(encoding='utf-8')}"

    def _answers(self, at_path: str) -> bool:
        if at_path:
            return (self.folder / at_path).is_socket()
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5).close()
            return True
        return False

    def stop(self) -> None:
        """End what lines have left running."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
            if process.stdin is not None:
                process.stdin.close()
        self._running.clear()


@pytest.fixture
def page(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    shallow_path: Path,
    requantized: Callable[[Path, int], Path],
) -> Iterator[Page]:
    """The document that the test names."""

    def model(is_f16: bool) -> Path:
        return requantized(shallow_path, F16) if is_f16 else shallow_path

    made = Page(request.param, tmp_path, model)
    yield made
    made.stop()


def is_run_here(path: Path, shown: Shown) -> bool:
    """Whether a line is one of these tests'."""
    in_docs = shown.language == "python" and path.name in RUN_ON_ONE_ENGINE
    return not shown.reason and not in_docs


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name, indirect=True)
def test_what_is_to_be_typed_runs_as_it_stands(page: Page, request: pytest.FixtureRequest) -> None:
    path = request.node.callspec.params["page"]
    wrong = [page.run(shown) for shown in page.lines if is_run_here(path, shown)]
    print("\n".join(page.log))
    assert [one for one in wrong if one] == []


def test_every_line_that_is_not_run_has_a_reason() -> None:
    left = [shown for path in pages() for shown in shown_lines(path) if shown.reason]
    assert [shown for shown in left if len(shown.reason.split()) < 3] == []


def test_every_pattern_of_what_is_left_out_is_of_use() -> None:
    lines = [
        shown.text.partition(" #")[0].rstrip() for path in pages() for shown in shown_lines(path)
    ]
    unused = [name for name in LEFT_OUT if not any(fnmatchcase(line, name) for line in lines)]
    assert unused == []


def test_as_many_lines_are_run_as_the_documents_have() -> None:
    lines = [shown for path in pages() for shown in shown_lines(path) if shown.language == "sh"]
    assert sum(not shown.reason for shown in lines) > 80


def test_lines_are_found_as_a_shell_would_read_them(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        'Say `amulet-local\ngenerate "Hi"`, no `amulet-local generate`; `chat -n 3` too.\n\n'
        "```console\n$ printf 'a\nb' |\n    amulet-local chat  # asks\nan answer\n"
        "$ amulet-local \\\n      doctor\n```\n\n"
        "```sh no-test: needs the moon\n# a remark\ncurl x\n```\n\n```python\nprint(1)\n```\n"
    )
    assert [(shown.line, shown.language, shown.text) for shown in shown_lines(path)] == [
        (1, "sh", 'amulet-local generate "Hi"'),
        (2, "sh", "amulet-local chat -n 3"),
        (5, "sh", "printf 'a\nb' |\n    amulet-local chat  # asks"),
        (9, "sh", "amulet-local \\\n      doctor"),
        (15, "sh", "curl x"),
        (19, "python", "print(1)\n"),
    ]
    assert [shown.reason for shown in shown_lines(path)] == ["", "", "", "", "needs the moon", ""]


@pytest.mark.parametrize(
    "line",
    [
        "amulet-local models show FILE",
        "amulet-local models get ORG/REPOSITORY:TYPE",
        'amulet-local ask http://127.0.0.1:8080 "..."',
        "scripts/fuzzy [TARGET]",
    ],
)
def test_a_line_with_a_gap_is_not_run(line: str) -> None:
    assert why_not(line)
