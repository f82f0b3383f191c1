"""The llama.cpp library itself: start-up, its log, and what this build and machine can do.

Knows nothing about a particular model. Nothing here runs on import; `start()` is called before the
first native call and does its work once.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amulet_local.common.errors import BackendError
from amulet_local.llama import native

_MAX_REASON_CHARS = 300
"""Of what llama.cpp says of an error: it repeats names of any length out of files."""
_SPIN_COUNT = "1000"
"""Turns of GNU OpenMP's waiting loop before a thread sleeps; a few microseconds."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt."""
_LARGE_BYTES = 4 << 20
"""Pieces of this size are mapped by themselves, and as much free memory stays at a heap's end."""
_MAX_HEAPS = 4

_NO_REASON = "failed to load model"


class NativeLog:
    """Keeps the last lines that llama.cpp logs, and shows them on stderr when asked to.

    Attributes:
        verbose: whether lines go to stderr as they come.
    """

    def __init__(self) -> None:
        self.verbose = False
        self._lines: deque[tuple[int, str]] = deque(maxlen=400)
        self._level = 0

    def write(self, level: int, text: bytes, _user_data: object) -> None:
        """Called by llama.cpp, from any thread. Debugging output is left out."""
        if level != native.LOG_CONTINUE:
            self._level = level
        if self._level == native.LOG_DEBUG:
            return
        decoded = text.decode("utf-8", "replace")
        self._lines.append((self._level, decoded))
        if self.verbose:
            sys.stderr.write(decoded)
            sys.stderr.flush()

    def mark(self) -> None:
        """Forget what was logged so far."""
        self._lines.clear()

    def has(self, text: str) -> bool:
        """Whether a line since `mark` has this in it."""
        return any(text in line for _, line in self._lines)

    def last_error(self) -> str:
        """The last error or warning since `mark`, one line, empty if there was none.

        After an error with a reason comes one that says that there was an error.
        """
        for wanted in (native.LOG_ERROR, native.LOG_WARN):
            for level, text in reversed(self._lines):
                if level == wanted and text.strip() and not text.rstrip().endswith(_NO_REASON):
                    return " ".join(text.split())[:_MAX_REASON_CHARS]
        return ""


log = NativeLog()
_start_lock = threading.Lock()
_log_callback: object = None
_abort_callback: object = None
on_abort: Callable[[str], None] | None = None
"""Is told llama.cpp's reason when it ends the process, which otherwise goes to stderr with a
trace; set before `start`."""


def start() -> None:
    """Load llama.cpp, capture its log and initialise its backends, once a process."""
    global _log_callback
    with _start_lock:
        if _log_callback is not None:
            return
        _bound_free_memory()
        with _short_spinning():
            try:
                import llama_cpp
            except (ImportError, OSError, RuntimeError) as error:
                raise BackendError(
                    f"llama-cpp-python can't be loaded: {' '.join(str(error).split())}; "
                    f"install it again (pip install --force-reinstall llama-cpp-python)"
                ) from error

        callback = llama_cpp.llama_log_callback(log.write)
        llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
        if on_abort is not None:
            _tell_of_aborts(on_abort)
        llama_cpp.llama_backend_init()
        _log_callback = callback


def _tell_of_aborts(tell: Callable[[str], None]) -> None:
    global _abort_callback
    from llama_cpp import _ggml

    os.environ["GGML_NO_BACKTRACE"] = "1"  # else it starts a debugger, where there is one
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
    _abort_callback = kind(lambda reason: tell((reason or b"").decode("utf-8", "replace")))
    library = _ggml.libggml
    library.ggml_set_abort_callback.argtypes = [kind]
    library.ggml_set_abort_callback.restype = ctypes.c_void_p
    library.ggml_set_abort_callback(_abort_callback)


@contextmanager
def _short_spinning() -> Iterator[None]:
    """Have GNU OpenMP, which reads its settings when it is loaded, wait mostly asleep.

    Its threads meet at a barrier after every operation, some 600 times a token. By default those
    that are early spin for milliseconds; while another program holds a core, they spin its time
    away and a decode takes 50 times as long. Whoever sets a policy of their own keeps it.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}.isdisjoint(os.environ):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _bound_free_memory() -> None:
    """Bound what freed memory the C library keeps, where it lets us (glibc).

    By itself it makes a heap for each thread, up to eight for a core, and raises the limit from
    which on pieces are mapped, and so go back when they are freed, to the largest that ever was:
    up to 32 MiB, and a heap keeps twice that. Of models that come and go in many threads 60 MiB
    more stayed than are used. Whoever set a limit keeps it.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if adjust is not None:
        adjust(_M_ARENA_MAX, _MAX_HEAPS)
        adjust(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        adjust(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def build_features() -> list[str]:
    """What llama.cpp was compiled with, e.g. ["CPU: AVX2", ...], as it reports it."""
    start()
    import llama_cpp

    features = []
    backend = ""
    for part in llama_cpp.llama_print_system_info().decode("utf-8", "replace").split("|"):
        name, _, value = part.strip().partition(" = ")
        if " : " in name:
            backend, name = name.split(" : ")
        if value == "1":
            features.append(f"{backend.strip()}: {name.strip()}")
    return features


def build_version() -> str:
    """The version of llama.cpp, e.g. "0.5.0"."""
    start()
    import llama_cpp

    return str(llama_cpp.llama_version().decode("utf-8", "replace"))


def binding_version() -> str:
    """The version of llama-cpp-python, e.g. "0.3.36"."""
    start()
    import llama_cpp

    return str(llama_cpp.__version__)


def supports_gpu_offload() -> bool:
    """Whether this build can put layers on a GPU, and has found one."""
    start()
    import llama_cpp

    return bool(llama_cpp.llama_supports_gpu_offload())


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that llama.cpp found.

    Attributes:
        name, description: as its backend says, e.g. "CUDA0", "NVIDIA H200".
        free_bytes, total_bytes: its memory.
        is_gpu: whether layers can be put on it.
    """

    name: str
    description: str
    free_bytes: int
    total_bytes: int
    is_gpu: bool


def devices() -> list[Device]:
    """The devices that this build of llama.cpp can use, the CPU among them."""
    start()
    from llama_cpp import _ggml

    library = _ggml.libggml
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    size_pointer = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_get.restype = pointer
    for function, result in (
        (library.ggml_backend_dev_name, text),
        (library.ggml_backend_dev_description, text),
        (library.ggml_backend_dev_type, ctypes.c_int),
    ):
        function.argtypes, function.restype = [pointer], result
    library.ggml_backend_dev_memory.argtypes = [pointer, size_pointer, size_pointer]
    library.ggml_backend_dev_memory.restype = None
    found = []
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(
            Device(
                name=library.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                description=library.ggml_backend_dev_description(device).decode("utf-8", "replace"),
                free_bytes=free.value,
                total_bytes=total.value,
                is_gpu=library.ggml_backend_dev_type(device) in native.GPU_DEVICES,
            )
        )
    return found


def return_free_memory() -> None:
    """Hand freed memory back to the system, where the C library keeps it (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def usable_cores() -> int:
    """Physical cores that this process may use, at least 1 (Linux: affinity and cgroup quota)."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, os.cpu_count() or 1)
    usable = os.sched_getaffinity(0)
    siblings = set()
    for cpu in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, min(len(siblings), _cgroup_cores()))


def _cgroup_cores() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        return sys.maxsize
