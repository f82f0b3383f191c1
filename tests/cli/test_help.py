"""Help, version and wrong usage."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from amulet_local import AmuletParams, RuntimeParams, SamplingParams
from amulet_local.cli.flags import environment_variable
from amulet_local.preferences.preference import BUILT_IN_PREFERENCES
from amulet_local.steering.methods import METHODS
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS
from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, environment, run

COMMANDS = (
    "generate",
    "chat",
    "compare",
    "explain",
    "serve",
    "tune",
    "learn",
    "eval",
    "preferences",
    "models",
    "doctor",
    "bench",
)
RESERVED = {
    "AMULET_MODELS",
    "AMULET_CACHE",
    "AMULET_CONFIG",
    "AMULET_DATA",
    "AMULET_DEBUG",
    "AMULET_GOLDEN",
}


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_help_fits_80_columns_of_ascii(call: CallCli, arguments: list[str]) -> None:
    outcome = call(*arguments, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.isascii()
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_and_has_an_example(call: CallCli, name: str) -> None:
    assert f"  {name} " in call("--help").out
    assert f"Examples:\n  amulet-local {name}" in call(name, "-h").out


def test_help_says_the_defaults_that_hold(call: CallCli) -> None:
    text = words(call("generate", "--help").out)
    amulet, sampling, runtime = AmuletParams(), SamplingParams(), RuntimeParams()
    for flag, default in {
        "--guidance-scale": f"{PRESETS[DEFAULT_PRESET].amulet.guidance_scale:.3g}",
        "--alpha": f"{amulet.alpha:g}",
        "--lambda": f"{amulet.lambda_:g}",
        "--eta": f"{amulet.eta:g}",
        "--iterations": amulet.num_iterations,
        "--predict": sampling.max_tokens,
        "--temp": f"{sampling.temperature:g}",
        "--top-k": sampling.top_k,
        "--top-p": sampling.top_p,
        "--min-p": sampling.min_p,
        "--repeat-penalty": f"{sampling.repeat_penalty:g}",
        "--presence-penalty": f"{sampling.presence_penalty:g}",
        "--frequency-penalty": f"{sampling.frequency_penalty:g}",
        "--repeat-last-n": sampling.repeat_last_n,
        "--typical": f"{sampling.typical_p:g}",
        "--xtc-probability": f"{sampling.xtc_probability:g}",
        "--xtc-threshold": f"{sampling.xtc_threshold:g}",
        "--dry-multiplier": f"{sampling.dry_multiplier:g}",
        "--dry-base": f"{sampling.dry_base:g}",
        "--dry-allowed-length": sampling.dry_allowed_length,
        "--dry-penalty-last-n": sampling.dry_penalty_last_n,
        "--dry-sequence-breaker": r'\n, :, " and *',
        "--mirostat": sampling.mirostat,
        "--mirostat-lr": f"{sampling.mirostat_eta:g}",
        "--mirostat-ent": f"{sampling.mirostat_tau:g}",
        "--ctx-size": runtime.n_ctx,
        "--batch-size": runtime.n_batch,
        "--gpu-layers": runtime.n_gpu_layers,
        "--cache-type-k": runtime.cache_type_k,
        "--cache-type-v": runtime.cache_type_v,
        "--flash-attn": runtime.flash_attention,
        "--load-mode": runtime.load_mode,
        "--schedule": runtime.schedule,
    }.items():
        described = re.split(rf"{flag}(?:, --[\w-]+)? [A-Z]", text, maxsplit=1)[1].split(" --", 1)[
            0
        ]
        assert re.search(rf"Default: {re.escape(str(default))}[.,]", described), flag


def test_help_of_chat_says_the_defaults_that_hold(call: CallCli) -> None:
    from amulet_local.cli.chat.options import MAX_TOKENS

    text = words(call("chat", "--help").out)
    assert f"Most tokens of an answer. Default: {MAX_TOKENS}." in text
    assert "Default: drop_oldest." in text


def test_help_names_every_method_and_preference(call: CallCli) -> None:
    text = call("generate", "--help").out
    for name in (*METHODS, *BUILT_IN_PREFERENCES):
        assert name in text


def test_help_of_compare_names_what_can_be_compared(call: CallCli) -> None:
    text = call("compare", "--help").out
    for name in (*METHODS, *PRESETS):
        assert name in text


@pytest.mark.parametrize("name", COMMANDS)
def test_no_variable_means_two_things(call: CallCli, name: str) -> None:
    flags = re.findall(r"(?<![\w-])--[a-z][\w-]*", call(name, "--help").out)
    assert not RESERVED & {environment_variable(flag) for flag in flags}


def test_version(call: CallCli) -> None:
    outcome = call("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"amulet-local \d+\.\d+\.\d+\n", outcome.out)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from amulet_local.cli.main import main\n"
        "sys.argv = ['amulet-local', 'generate', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=True, text=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & {"llama_cpp", "numba", "numpy", "jinja2", "rich", "prompt_toolkit"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["generate", "--nonsense"],
        ["generate", "Hi", "there"],
        ["generate", "Hi", "-n", "many"],
        ["generate", "Hi", "-ngl", "most"],
        ["generate", "Hi", "--temp"],
        ["generate", "Hi", "-p", "Hi"],
        ["generate", "Hi", "-f", "file.txt"],
        ["generate", "Hi", "--guidance-scale", "2", "--eta", "1"],
        ["generate", "Hi", "--preference", "concise", "--preference-file", "file.txt"],
        ["generate", "Hi", "--chat-template", "chatml", "--chat-template-file", "file.txt"],
        ["generate", "Hi", "--grammar", "root ::= .", "--json-schema", "{}"],
        ["generate", "Hi", "--grammar-file", "a.gbnf", "--json-schema-file", "b.json"],
        ["generate", "Hi", "-l", "15043"],
        ["generate", "Hi", "-l", "Hello+1"],
        ["generate", "Hi", "-l", "15043+much"],
        ["generate"],
        ["compare"],
        ["explain"],
        ["explain", "Hi", "--alternatives", "many"],
        ["explain", "Hi", "--html"],
    ],
)
def test_wrong_usage_ends_with_2(
    call: CallCli, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        outcome = call(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert re.search("^Error: ", outcome.err, re.MULTILINE)


def test_the_module_can_be_run() -> None:
    assert COMMAND[1:] == ["-m", "amulet_local"]
    assert run("--version").out.startswith("amulet-local ")
