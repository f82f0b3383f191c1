"""`learn` from its file of texts to a mix that `generate` follows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amulet_local.params.learn import LearnParams
from amulet_local.preferences.user_settings import parse_settings
from tests.cli.conftest import CallCli
from tests.cli.running import OnTerminal, run

pytestmark = pytest.mark.usefixtures("tiny_by_default")

BANK = ("--preference", "concise", "--preference", "in the style of a pirate")
SERIAL = ("--schedule", "serial", "-c", "256")


@pytest.fixture
def liked(tmp_path: Path) -> Path:
    """A file with three texts, one of them disliked."""
    path = tmp_path / "liked.jsonl"
    texts = [
        {"question": "What is yeast?", "answer": "A fungus, matey! It makes bread rise."},
        {"messages": [{"role": "user", "content": "Hi"}], "response": "Ahoy!", "finished": True},
        {"question": "What is tea?", "answer": "I am happy to answer this.", "liked": False},
    ]
    path.write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
    return path


def test_a_learned_mix_can_be_imported_and_generated_with(liked: Path, tmp_path: Path) -> None:
    output = tmp_path / "me.toml"
    config = {"AMULET_CONFIG": str(tmp_path / "config")}
    learned = run("learn", liked, "-o", output, *BANK, *SERIAL, **config)
    assert learned.code == 0, learned
    mix = parse_settings(output.read_bytes()).mixes["me"]
    rows = re.findall(r"^(concise|in the style of a pirate) +(-?\d+\.\d\d) ", learned.out, re.M)
    assert len(rows) == 2
    for (label, shown), member in zip(rows, mix, strict=True):
        text, _, weight = member.rpartition(":")
        assert (text, f"{float(weight):.2f}") == (label, shown)
    for line in ("plain prompt", "best single preference", "fitted weights", "1 of them disliked"):
        assert line in learned.out
    assert "preferences import" in learned.err
    assert "little text" in learned.err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    assert run("preferences", "import", output, **config).code == 0
    answer = run(
        *("generate", "Hi", "--preference", "me", "--guidance-scale", "1", "-n", "2", "--json"),
        *SERIAL,
        **config,
    )
    assert [item.partition(":")[0] for item in json.loads(answer.out)["preferences"]] == [
        "concise",
        "in the style of a pirate",
    ]


def test_json_has_everything(liked: Path, tmp_path: Path) -> None:
    done = run(
        *("learn", liked, "-o", tmp_path / "me.toml", "--name", "mine", "--json", "--fast"),
        *("--preference", "formal", "--holdout", "0.5", "--ridge", "2"),
        *SERIAL,
    )
    assert done.code == 0, done
    values = json.loads(done.out)
    assert (values["name"], values["ridge"], values["log_likelihoods"]["held_out"]) == (
        "mine",
        2,
        True,
    )
    weight = values["preferences"][0]["weight"]
    assert values["z_values"] == [pytest.approx(weight / values["standard_errors"][0])]
    assert list(parse_settings((tmp_path / "me.toml").read_bytes()).mixes) == ["mine"]


def test_ctrl_c_writes_nothing(tmp_path: Path, on_terminal: Callable[..., OnTerminal]) -> None:
    path = tmp_path / "liked.jsonl"
    entry = {"question": "Tell me a story.", "answer": "Once upon a time there was a fox. " * 40}
    path.write_text(json.dumps(entry), encoding="utf-8")
    terminal = on_terminal("learn", path, "-o", tmp_path / "me.toml", "-c", "1024")
    terminal.read_until(r"reading the texts: \d+ of \d+ tokens, \d+ (s|min) left")
    terminal.press(b"\x03")
    assert terminal.finish() == 130
    assert [item.name for item in tmp_path.iterdir()] == ["liked.jsonl"]


# --- what ends before a model is loaded --------------------------------------------------------


def refused(call: CallCli, *arguments: Any) -> str:
    return call("learn", *arguments, "-m", "no-such-model").error_line


def test_without_an_output_there_is_nothing_to_do(call: CallCli, liked: Path) -> None:
    outcome = call("learn", liked)
    assert outcome.code == 2
    assert "-o" in outcome.err


def test_a_bad_line_is_said_with_its_number(call: CallCli, liked: Path, tmp_path: Path) -> None:
    liked.write_text(liked.read_text(encoding="utf-8") + '\n{"question": 1}', encoding="utf-8")
    assert refused(call, liked, "-o", tmp_path / "me.toml").startswith("line 4: ")


def test_a_file_that_is_there_is_kept(call: CallCli, liked: Path, tmp_path: Path) -> None:
    output = tmp_path / "me.toml"
    output.write_text("mine", encoding="utf-8")
    assert "--force" in refused(call, liked, "-o", output)
    assert "no-such-model" in refused(call, liked, "-o", output, "--force")
    assert output.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-o", "missing/me.toml"], "no folder"),
        (["-o", "."], "is there and"),
        (["-o", "x" * 300], "can't be"),
        (["-o", "two words.toml"], "--name"),
        (["-o", "concise.toml"], "--name"),
        (["-o", "me.toml", "--name", "Formal"], "--name"),
        (["-o", "me.toml", "--ridge", "-1"], "--ridge"),
        (["-o", "me.toml", "--ridge", "nan"], "--ridge"),
        (["-o", "me.toml", "--holdout", "1"], "--holdout"),
        (["-o", "me.toml", "--top-tokens", "0"], "--top-tokens"),
        (["-o", "me.toml", "--placement", "top"], "--placement"),
        (["-o", "me.toml", "--preference", "formal:2"], "has a weight"),
        (["-o", "me.toml", "--preference", "no_one"], "no preference is called"),
        (["-o", "me.toml"], "no-such-model"),
    ],
)
def test_what_cannot_work_is_said_before_a_model_is_loaded(
    call: CallCli,
    liked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reason in refused(call, liked, *arguments)
    assert [item.name for item in tmp_path.iterdir()] == ["liked.jsonl"]


def test_help_says_the_defaults_that_hold(call: CallCli) -> None:
    text = " ".join(call("learn", "--help").out.split())
    params = LearnParams()
    for flag, default in {
        "--ridge X": params.ridge,
        "--holdout SHARE": params.holdout,
        "--top-tokens N": params.top_tokens,
    }.items():
        described = text.split(flag, 1)[1].split(" --", 1)[0]
        assert f"Default: {default:g}." in described


# --- preferences import ------------------------------------------------------------------------


def test_import_takes_a_file_over_once(
    call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path / "config"))
    path = tmp_path / "me.toml"
    path.write_text('[mixes]\nme = ["formal:0.5", "concise:1.2000"]\n', encoding="utf-8")
    for _ in range(2):
        outcome = call("preferences", "import", path)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith("me: in ")
    path.write_text('[mixes]\nme = ["formal:0.6"]\n', encoding="utf-8")
    assert "--force" in call("preferences", "import", path).error_line
    assert call("preferences", "import", path, "--force").code == 0
    assert "me  " in call("preferences", "list").out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[mixes]\nme = 3\n", "me.toml, line 2: mixes.me"),
        ("[mixes\n", "me.toml, line 1: not TOML"),
        ("", "no preferences and no mixes"),
        ("[models.m]\nguidance_scale = 2\n", "remove [models]"),
    ],
)
def test_import_refuses_what_it_cannot_use(
    call: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path / "config"))
    path = tmp_path / "me.toml"
    path.write_text(content, encoding="utf-8")
    assert reason in call("preferences", "import", path).error_line
    assert not (tmp_path / "config").exists()
