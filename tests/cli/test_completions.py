"""What the shell offers when Tab is pressed, as the installed scripts ask for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from amulet_local.preferences.preference import BUILT_IN_PREFERENCES
from amulet_local.steering.methods import METHODS
from amulet_local.steering.presets import PRESETS
from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, environment

pytestmark = pytest.mark.lengthy


def offered(line: str, **env: str) -> list[str]:
    """What bash is given for the last word of a line."""
    asked = {
        "_AMULET_LOCAL_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        **env,
    }
    done = subprocess.run(COMMAND, env=environment(**asked), capture_output=True, timeout=60)
    assert done.stderr == b""
    return done.stdout.decode().split()


@pytest.mark.lengthy
def test_commands_and_flags_are_offered() -> None:
    assert offered("amulet-local ex") == ["explain"]
    assert offered("amulet-local ch") == ["chat"]
    assert {"--resume", "--reproducible", "--repeat-penalty"} <= set(
        offered("amulet-local chat --re")
    )
    assert {"--preference", "--preset", "--predict"} <= set(offered("amulet-local generate --pre"))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("amulet-local generate --preset ", PRESETS),
        ("amulet-local generate --method ", METHODS),
        ("amulet-local compare --preference ", BUILT_IN_PREFERENCES),
        ("amulet-local learn x.jsonl --preference ", BUILT_IN_PREFERENCES),
    ],
)
@pytest.mark.lengthy
def test_names_are_offered(line: str, names: object) -> None:
    assert set(offered(line)) == set(names)  # type: ignore[call-overload]


def test_the_users_own_names_and_models_are_offered(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('[preferences]\nteacher = "like a teacher"\n[mixes]\nteam = ["formal"]\n')
    (tmp_path / "Mine.gguf").touch()
    own = {"AMULET_CONFIG": str(tmp_path), "AMULET_MODELS": str(tmp_path)}
    assert offered("amulet-local explain --avoid te", **own) == ["teacher", "team"]
    assert offered("amulet-local tune -m Mi", **own) == ["Mine"]
    settings.write_text("[broken")
    assert offered("amulet-local explain --avoid con", **own) == ["concise"]


def test_chats_that_are_kept_are_offered(tmp_path: Path) -> None:
    (tmp_path / "chats").mkdir()
    for name in ("yeast", "yoga", "bread"):
        (tmp_path / "chats" / f"{name}.json").touch()
    own = {"AMULET_DATA": str(tmp_path)}
    assert set(offered("amulet-local chat --resume y", **own)) == {"yeast", "yoga"}


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o default"),
        ("zsh", "#compdef amulet-local"),
        ("fish", "complete --command amulet-local"),
    ],
)
def test_scripts_for_shells(
    call: CallCli, monkeypatch: pytest.MonkeyPatch, shell: str, words: str
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert words in call("--show-completion", shell).out
