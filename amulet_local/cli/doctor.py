"""`amulet-local doctor`: is everything there to answer, and what does this machine offer?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from amulet_local.cli.columns import wrap
from amulet_local.cli.command import add_command
from amulet_local.cli.exit_codes import EXIT_ERROR
from amulet_local.cli.flags import json_option, model_option, option
from amulet_local.cli.inputs import chosen_model
from amulet_local.cli.json_format import write_json
from amulet_local.cli.supervised import Uses
from amulet_local.cli.terminal import one_line, stdout_width, write
from amulet_local.common.errors import AmuletError, UnsupportedModelError
from amulet_local.common.version import package_version

HELP = """Check the installation: Python, llama.cpp and its CPU features, GPU, Numba, the model.

Exits with 0 if everything that an answer needs is there, with 1 if not."""

EXAMPLES = """
amulet-local doctor
amulet-local doctor -m model.gguf --measure"""

CUDA_BUILD = (
    'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir --no-binary '
    "llama-cpp-python llama-cpp-python"
)
METAL_BUILD = CUDA_BUILD.replace("CUDA", "METAL")


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Options of `doctor`."""

    model: Annotated[
        str | None, model_option("Check this model. Default: smollm2, the embedded one.")
    ] = None
    measure: Annotated[
        bool,
        option(
            "--measure",
            panel="Model",
            help="Load the model and measure what computing costs here; some 10 seconds.",
        ),
    ] = False
    json: Annotated[bool, json_option("The same as one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        value: what was found.
        ok: False if an answer can't be had like this.
        advice: what to do about it, or for more speed.
    """

    name: str
    value: str
    ok: bool = True
    advice: str = ""


def run(options: DoctorOptions) -> None:
    """Print the findings, and exit with 1 if one of them is bad."""

    model = chosen_model(options.model)
    lines: list[str] = []

    def costs() -> tuple[str, str]:
        finding, picture = _costs(model, measures=options.measure)
        lines.extend(picture)
        return finding

    findings = [
        Finding(name="amulet-local", value=package_version()),
        Finding(name="Python", value=f"{platform.python_version()}, {sys.executable}"),
        Finding(name="Machine", value=f"{platform.system()} {platform.machine()}"),
        _checked("llama.cpp", _llama_cpp, "pip install --force-reinstall llama-cpp-python"),
        _checked("CPU features", _cpu_features, ""),
        _checked("GPU offload", _gpu, ""),
        _checked("Cores", _cores, ""),
        _checked("Memory", _memory, ""),
        _checked("Costs", costs, "amulet-local models"),
        _checked("Cache", _cache, ""),
        _checked("Numba", _numba, "pip install --force-reinstall numba"),
        _compiler(),
        _checked(f"Model {model}", lambda: _model(model), "amulet-local models"),
    ]
    bad = [finding.name for finding in findings if not finding.ok]
    if options.json:
        write_json({"ready": not bad, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(one_line(one.name)) for one in findings if not one.name.startswith("Model"))
        width = max(width, len("Model smollm2"))
        for finding in findings:
            mark = "ok" if finding.ok else "NO"
            _write_row(f"{mark}  {one_line(finding.name):{width}}  ", one_line(finding.value))
            if finding.advice:  # often a command, to be copied: no line of it is ended here
                write(f"    {'':{width}}  -> {one_line(finding.advice)}\n")
        if lines:
            write("\n")
        for line in lines:
            _write_row("  " if line.startswith("  ") else "", line.removeprefix("  "))
        write(f"\nnot ready: see {', '.join(map(one_line, bad))}\n" if bad else "\nready\n")
    if bad:
        raise SystemExit(EXIT_ERROR)


def _write_row(start: str, text: str) -> None:
    """Write a line; on a terminal what doesn't fit goes below the beginning of `text`."""
    width = stdout_width()
    if width is None:
        write(f"{start}{text}\n")
        return
    indent = " " * min(len(start), 19)
    words = wrap(text, max(width - len(indent), 20), breaks_words=False)
    if len(start) > len(indent):
        words = [start.rstrip(), *(indent + line for line in words)]
    else:
        words = [start + words[0], *(indent + line for line in words[1:])]
    write("".join(f"{line}\n" for line in words))


def _checked(name: str, look: Callable[[], tuple[str, str]], advice: str) -> Finding:
    """What `look` finds (a value and advice); whatever it raises is a bad finding."""
    try:
        value, hint = look()
    except AmuletError as error:
        return Finding(name=name, value=str(error), ok=False, advice=advice)
    except Exception as error:
        value = f"{type(error).__name__}: {error}"
        return Finding(name=name, value=value, ok=False, advice=advice)
    return Finding(name=name, value=value, advice=hint)


def _llama_cpp() -> tuple[str, str]:
    from importlib import metadata

    from amulet_local.llama import library

    build = library.build_version()
    return f"{build}, llama-cpp-python {metadata.version('llama-cpp-python')}", ""


def _cpu_features() -> tuple[str, str]:
    from amulet_local.llama import library

    cpu = "CPU: "
    found = [name.removeprefix(cpu) for name in library.build_features() if name.startswith(cpu)]
    return ", ".join(found) or "none reported", ""


def _gpu() -> tuple[str, str]:
    from amulet_local.llama import library

    if library.supports_gpu_offload():
        names = [
            f"{device.name} ({device.description}, {device.free_bytes / 1e9:.1f} of "
            f"{device.total_bytes / 1e9:.1f} GB free)"
            for device in library.devices()
            if device.is_gpu
        ]
        return f"{', '.join(names) or 'yes'}; -ngl says how many layers, all by default", ""
    if sys.platform == "darwin":
        return "no", f"for Metal: {METAL_BUILD}"
    return "no, everything runs on the CPU", f"with an NVIDIA GPU: {CUDA_BUILD}"


def _cores() -> tuple[str, str]:
    from amulet_local.llama import library

    return f"{library.usable_cores()} usable of {os.cpu_count()} logical ones", ""


def _memory() -> tuple[str, str]:
    from amulet_local.llama import memory

    available = memory.available_bytes()
    return "unknown" if available is None else f"{available / 1e9:.1f} GB available", ""


def _costs(model: str, *, measures: bool) -> tuple[tuple[str, str], list[str]]:
    """What decodes cost on this machine: a value and advice, and the picture of it."""
    from amulet_local.llama import library
    from amulet_local.loading import model_store
    from amulet_local.loading.cost_meter import remembered_of
    from amulet_local.loading.runtime_setup import row_plan
    from amulet_local.params.runtime import RuntimeParams

    if library.supports_gpu_offload():
        return ("not measured: with layers on a GPU everything is batched", ""), []
    try:
        name = model_store.find_model(model).name
    except AmuletError:  # reported beside the model
        return ("unknown without a model", ""), []
    if measures:
        _measure(model)
    known = [*remembered_of(name).values()]
    if not known:
        advice = "--measure: now"
        return (f"measured when {name} first follows a preference", advice), []
    from amulet_local.cli.cost_picture import picture

    lines = picture(name, known[-1], row_plan(RuntimeParams(), 0))
    advice = "" if measures else "--measure: better, on a quiet machine"
    return (f"{'measured' if measures else 'known'} of {name}, see below", advice), lines


def _measure(model: str) -> None:
    """Load the model and measure everything that choices rest on."""
    from amulet_local.engine import Engine
    from amulet_local.params.runtime import RuntimeParams

    with Engine(model, RuntimeParams(n_ctx=256)) as engine:
        engine.measure_costs()


def _cache() -> tuple[str, str]:
    from amulet_local.common.user_folders import cache_folder, private_folder

    folder = cache_folder()
    if private_folder(folder) is not None:
        return str(folder), ""
    return (
        "none, so what was measured on this machine is measured again at every start",
        f"{folder} must be writable by you and by nobody else, or name such a folder in "
        f"AMULET_CACHE",
    )


def _numba() -> tuple[str, str]:
    import numba

    from amulet_local.common.jit import kernel_cache_folder
    from amulet_local.optimizer.compiled import ENOUGH_LOGITS

    if kernel_cache_folder() is None:
        return f"{numba.__version__}, not used without a cache: NumPy combines the rows", ""
    return (
        f"{numba.__version__}, combines rows after a process's first "
        f"{ENOUGH_LOGITS // 10**9} billion logits",
        "",
    )


def _compiler() -> Finding:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    return Finding(
        name="C++ compiler",
        value=found or "none; only needed to build llama-cpp-python",
    )


def _model(name: str) -> tuple[str, str]:
    from amulet_local.llama.generative import reason_not_generative
    from amulet_local.llama.gguf import read_header
    from amulet_local.loading import model_store

    path = model_store.find_model(name)
    header = read_header(path)
    reason = reason_not_generative(header)
    if reason:
        raise UnsupportedModelError(f"{path.name} can't generate text: {reason}")
    checked = "header checked"
    for entry in model_store.catalogue().values():
        if path == entry.path():
            model_store.verify_checksum(path, entry.sha256)
            checked = "SHA-256 verified"
    return f"{path} ({path.stat().st_size / 1e6:.0f} MB, {header.architecture}, {checked})", ""


def _models(options: DoctorOptions) -> Uses:
    """The model, if it is loaded."""
    from amulet_local.params.model_use import TEXT

    return [(chosen_model(options.model), TEXT)] if options.measure else []


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        DoctorOptions,
        run,
        name="doctor",
        help=HELP,
        examples=EXAMPLES,
        models=_models,
    )
