"""Reading the user's settings file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.common.errors import (
    AmuletError,
    FileAccessError,
    InvalidParameterError,
    SettingsError,
)
from amulet_local.loading import model_store
from amulet_local.params.amulet import STEEP_SCALE, AmuletParams
from amulet_local.preferences.user_settings import (
    MAX_FILE_BYTES,
    MAX_GUIDANCE_SCALE,
    MAX_KL_BUDGET,
    UserModelSettings,
    UserSettings,
    parse_settings,
    read_settings,
    settings_of_model,
    settings_path,
)

WHOLE = """\
# mine
[preferences]
teacher = "like a patient teacher, with an example"
Poet = '''
in rhyme,
with a "moon"'''

[mixes]
work = [
    "formal:0.7", "CONCISE:0.5",  # both
    "teacher", "in the style of a pirate:-0.5",
]

[models.smollm2]
guidance_scale = 2.5
[models."Qwen2.5-7B.gguf"]
guidance_scale = 4
kl_budget = 0.6
[models.open]
kl_budget = "off"
[models.empty]
"""


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings file is, or will be."""
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    return settings_path()


def test_everything_in_the_file_is_read(settings_file: Path) -> None:
    settings_file.write_text(WHOLE, encoding="utf-8")
    settings = read_settings()
    assert dict(settings.preferences) == {
        "teacher": "like a patient teacher, with an example",
        "Poet": 'in rhyme,\nwith a "moon"',
    }
    assert dict(settings.mixes) == {
        "work": ("formal:0.7", "CONCISE:0.5", "teacher", "in the style of a pirate:-0.5")
    }
    assert dict(settings.models) == {
        "smollm2": UserModelSettings(guidance_scale=2.5),
        "Qwen2.5-7B.gguf": UserModelSettings(guidance_scale=4, kl_budget=0.6),
        "open": UserModelSettings(kl_budget="off"),
        "empty": UserModelSettings(),
    }
    assert settings.names == ("teacher", "Poet", "work")
    assert settings.own_name("POET") == "Poet"
    assert settings.own_name("formal") is None


def test_a_file_may_be_named_where_a_folder_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my own.toml"
    monkeypatch.setenv("AMULET_CONFIG", str(file))
    assert settings_path() == file
    assert read_settings() == UserSettings()
    file.write_text(WHOLE, encoding="utf-8")
    assert read_settings().names == ("teacher", "Poet", "work")
    file.write_text("[preferences]\nteacher = 3\n")
    with pytest.raises(SettingsError, match=r"^my own\.toml, line 2: "):
        read_settings()
    folder = tmp_path / "settings.toml"
    folder.mkdir()
    monkeypatch.setenv("AMULET_CONFIG", str(folder))
    assert settings_path() == folder / "settings.toml"


@pytest.mark.parametrize("change", [str.encode, lambda text: text.encode("utf-8-sig")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_make_no_difference(
    change: Callable[[str], bytes], newline: str
) -> None:
    assert parse_settings(change(WHOLE.replace("\n", newline))) == parse_settings(WHOLE.encode())


@pytest.mark.parametrize("data", [b"", b"\n# nothing\n", b"[preferences]\n[mixes]\n[models]\n"])
def test_nothing_in_the_file_is_nothing(data: bytes) -> None:
    assert parse_settings(data) == UserSettings()


def test_no_file_and_no_folder_are_nothing(settings_file: Path) -> None:
    assert read_settings() == UserSettings()
    settings_file.parent.rmdir()
    assert read_settings() == UserSettings()
    assert not settings_file.parent.exists()


def test_what_is_read_cant_be_changed() -> None:
    settings = parse_settings(WHOLE.encode())
    with pytest.raises(TypeError):
        settings.preferences["new"] = "text"  # type: ignore[index]


BROKEN = {
    # TOML itself
    "[preferences]\nx = \n": (2, "not TOML: invalid value"),
    "[preferences]\n\nx = 'a'\nx = 'b'\n": (4, "overwrite"),
    "[preferences]\n[preferences]\n": (2, "twice"),
    "[mixes]\nx = [\n'concise'\n\n\n": (3, "not TOML: unclosed array"),
    "x": (1, "not TOML"),
    f"\n\nx = {'9' * 5000}\n": (3, "not TOML"),
    f"\n\nx = {'[' * 20_000}{']' * 20_000}\n": (3, "not TOML"),
    '[preferences]\nx = "\\ud800"\n': (2, "not TOML"),
    "[preferences]\nx = 'a\0b'\n": (2, "not TOML"),
    # tables
    "# mine\n[preference]\nx = 'a'\n": (
        2,
        "preference: unknown table; did you mean 'preferences'? there are [preferences], [mixes]",
    ),
    "teacher = 'kind'\n[mixes]\n": (1, "teacher: unknown key; there are [preferences], [mixes]"),
    '\n"\\u001b[2J" = 1\n': (2, '"\\x1b[2J": unknown key'),
    "preferences = 1\n": (1, "preferences: has to be a table, with [preferences] on a line"),
    "\n[[mixes]]\nx = ['concise']\n": (2, "mixes: has to be a table"),
    # names
    "[preferences]\na = 'b'\n'two words' = 'c'\n": (3, 'preferences."two words": a name has 1 to'),
    "[preferences]\n'\\\u202e' = 'c'\n": (2, "a name has 1 to 64 Latin letters"),
    f"[preferences]\n{'x' * 65} = 'c'\n": (2, "a name has 1 to"),
    "[preferences]\nConcise = 'c'\n": (2, "preferences.Concise: a built-in preference is called"),
    "[mixes]\nformal = ['concise']\n": (2, "mixes.formal: a built-in preference is called so"),
    "[preferences]\na = 'b'\nA = 'c'\n": (3, "preferences.A: preferences.a is called so already"),
    "[mixes]\na = ['formal']\n[preferences]\nA = 'c'\n": (2, "preferences.A is called so already"),
    # texts
    "[preferences]\na = 1\n": (2, "preferences.a: has to be a text in quotes"),
    "[preferences]\n\na = ['b']\n": (3, "preferences.a: has to be a text in quotes"),
    "[preferences]\n\na = ' \\t'\nb = ''\n": (4, "preferences.b: there is no text"),
    '[preferences]\na = """\nb\\u0000"""\n': (2, "preferences.a: the text has the control char"),
    '[preferences]\na = "\\u001b[2J"\n': (2, "control character '\\x1b'"),
    f"[preferences]\na = '{'x' * 4001}'\n": (2, "the text has 4001 characters, at most 4000"),
    "[preferences]\n" + "".join(f"a{n} = 'b'\n" for n in range(501)): (1, "has 501 entries"),
    # mixes
    "[mixes]\nwork = ['concise', 'formall:0.7']\n": (
        2,
        "mixes.work: no preference is called 'formall'; did you mean 'formal'?",
    ),
    "[mixes]\nwork = [\n  'concise', # [\n\n  'formall:0.7',\n]\n": (5, "did you mean 'formal'?"),
    "[preferences]\nteacher = 'a'\n[mixes]\nx = ['teachr']\n": (4, "did you mean 'teacher'?"),
    "[mixes]\nx = ['q_q']\n": (2, "mixes.x: no preference is called 'q_q'"),
    "[mixes]\na = ['formal']\nb = ['formal', 'A:0.5']\n": (3, "'A' is a mix; a mix can't be part"),
    "[mixes]\na = ['a']\n": (2, "'a' is a mix"),
    "[mixes]\na = 'formal'\n": (2, 'mixes.a: has to be a list such as ["formal:0.7", "concise"]'),
    "[mixes]\na = []\n": (2, "has to be a list"),
    "[mixes]\na = ['formal', 1]\n": (2, "mixes.a: 1 has to be a text in quotes"),
    f"[mixes]\na = ['formal', {'[' * 90}{']' * 90}]\n": (2, "a list has to be a text in quotes"),
    "[mixes]\na = ['formal',\n'']\n": (3, "mixes.a: there is no text"),
    "[mixes]\na = ['formal:0,5']\n": (2, "the weight of 'formal' must be a number such as"),
    "[mixes]\na = ['formal:9999']\n": (2, "from -1000 to 1000, got 9999"),
    "[mixes]\na = ['formal:0', 'concise:0']\n": (2, "every weight is 0"),
    "[mixes]\na = [" + "'formal'," * 17 + "]\n": (2, "has 17 parts, at most 16"),
    # models
    "[models]\nsmollm2 = 3\n": (2, "models.smollm2: has to be a table, with [models.smollm2] on"),
    "[models.smollm2]\nguidance = 3\n": (
        2,
        "models.smollm2.guidance: unknown key; did you mean 'guidance_scale'? there are gu",
    ),
    "[models.smollm2]\n\nguidance_scale = -0.1\n": (3, "a number from 0 to 20, not -0.1"),
    "[models.a]\nguidance_scale = 20.5\n": (2, "not 20.5"),
    "[models.a]\nguidance_scale = nan\n": (2, "not nan"),
    "[models.a]\nguidance_scale = inf\n": (2, "not inf"),
    "[models.a]\nguidance_scale = true\n": (2, "not true"),
    "[models.a]\nguidance_scale = '3'\n": (2, "not '3'"),
    f"[models.a]\nguidance_scale = {'9' * 4000}\n": (2, "not 999"),
    "[models.a]\nguidance_scale.b = 1\n": (2, "not a table"),
    "[models.a]\nkl_budget = -0.1\n": (2, 'kl_budget: has to be a number from 0 to 1000 or "off"'),
    "[models.a]\nguidance_scale = 2\nkl_budget = 1001\n": (3, "not 1001"),
    "[models.a]\nkl_budget = 'none'\n": (2, "not 'none'"),
    "[models.a]\nkl_budget = nan\n": (2, "not nan"),
    "[models.a]\nkl_budget = false\n": (2, "not false"),
    "[models.a]\nkl_budget = ['off']\n": (2, "not a list"),
    "[models.a]\nkl_budgets = 1\n": (2, "did you mean 'kl_budget'?"),
    "[models.qwen2.5-7b]\nguidance_scale = 3\n": (
        1,
        'a name with a dot in it needs quotes: [models."qwen2.5-7b"]',
    ),
    "[models.a]\n[models.'A.GGUF']\n": (2, 'models."A.GGUF": models.a is the same model'),
    "[models.'']\n": (1, "a model needs a name"),
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_wrong_is_said_with_its_line(text: str) -> None:
    line, words = BROKEN[text]
    with pytest.raises(SettingsError) as error:
        parse_settings(text.encode())
    assert str(error.value).startswith(f"settings.toml, line {line}: ")
    assert error.value.line == line
    assert words.lower() in str(error.value).lower()
    assert re.fullmatch(r"[^\n\x00-\x1f\x7f-\x9f]{1,400}", str(error.value))


def test_bytes_that_are_no_text_have_a_line() -> None:
    with pytest.raises(SettingsError, match=r"^settings.toml, line 3: not UTF-8"):
        parse_settings(b"[preferences]\n# \xc3\xa9\nx = 'caf\xe9'\n")


@given(st.lists(st.sampled_from([*BROKEN, *WHOLE.splitlines(keepends=True)]), max_size=4))
def test_any_jumble_is_read_or_refused(pieces: list[str]) -> None:
    text = "".join(pieces)
    line = 1
    try:
        parse_settings(text.encode())
    except SettingsError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(SettingsError):
        parse_settings(data)


def test_deep_keys_are_refused() -> None:
    for text in (
        f"[preferences]\nx{'.x' * 3_000} = 1\n",
        f"[models.m]\nguidance_scale{'.x' * 3_000} = 1\n",
        f"[{'.'.join('x' * 3_000)}]\n",
    ):
        with pytest.raises(SettingsError):
            parse_settings(text.encode())


@pytest.mark.parametrize("text", [".".join("a" * 20_000) + " = 1", "[" + " . ".join("a" * 9000)])
def test_a_key_of_very_many_parts_is_refused_before_it_is_parsed(text: str) -> None:
    with pytest.raises(SettingsError, match="line 2: a key of more than 64 parts"):
        parse_settings(b"\n" + text.encode())


def test_what_isnt_a_small_file_is_refused(settings_file: Path) -> None:
    settings_file.mkdir()
    with pytest.raises(FileAccessError, match="directory"):
        read_settings()
    settings_file.rmdir()
    settings_file.symlink_to("/dev/zero")
    with pytest.raises(FileAccessError, match="isn't a file"):
        read_settings()
    settings_file.unlink()
    os.mkfifo(settings_file)
    with pytest.raises(FileAccessError, match="isn't a file"):
        read_settings()
    settings_file.unlink()
    settings_file.symlink_to(settings_file)
    with pytest.raises(FileAccessError, match="symbolic links"):
        read_settings()
    settings_file.unlink()
    settings_file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(FileAccessError, match="more than 64 KiB"):
        read_settings()


def test_a_file_that_cant_be_read_is_an_error(settings_file: Path) -> None:
    settings_file.write_text("[preferences]\n")
    settings_file.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(FileAccessError, match="Permission denied"):
            read_settings()
    settings_file.unlink()
    settings_file.parent.rmdir()
    settings_file.parent.write_text("a file where the folder should be")
    with pytest.raises(FileAccessError, match="Not a directory"):
        read_settings()


def test_a_model_is_found_by_any_of_its_names() -> None:
    settings = parse_settings(WHOLE.encode())
    assert settings.of_model(["SmolLM2"]).guidance_scale == 2.5
    assert settings.of_model(["smollm2.gguf"]).guidance_scale == 2.5
    assert settings.of_model(["other", "qwen2.5-7b"]).guidance_scale == 4
    assert settings.of_model(["qwen2.5-7b", "smollm2"]).guidance_scale == 4
    assert settings.of_model(["empty", "smollm2"]).guidance_scale is None
    assert settings.of_model(["other"]) == UserModelSettings()
    assert settings.of_model([]) == UserModelSettings()


def test_names_of_a_model_are_the_given_the_catalogues_and_the_files(tmp_path: Path) -> None:
    file = model_store.catalogue()["smollm2"].file
    path = tmp_path / Path(file).name
    assert model_store.names_of(path, path) == (str(path), "smollm2", path.name)
    assert model_store.names_of("mine", Path("/m/mine.gguf")) == ("mine", "mine.gguf")


def test_a_broken_file_is_a_warning_to_whoever_loads_a_model(settings_file: Path) -> None:
    settings_file.write_text(WHOLE)
    assert settings_of_model(["smollm2"]) == UserModelSettings(guidance_scale=2.5)
    settings_file.write_text("[models.smollm2]\nguidance_scale = 30\n")
    settings = settings_of_model(["smollm2"])
    assert settings.guidance_scale is None
    assert settings.warnings == (
        "your settings aren't used: settings.toml, line 2: models.smollm2.guidance_scale: has to "
        "be a number from 0 to 20, not 30",
    )
    settings_file.unlink()
    settings_file.mkdir()
    assert settings_of_model(["smollm2"]).warnings


def test_the_largest_scale_is_the_one_that_needs_no_warning() -> None:
    assert MAX_GUIDANCE_SCALE == STEEP_SCALE


def test_the_largest_budget_is_the_largest_that_there_can_be() -> None:
    assert AmuletParams(kl_budget=MAX_KL_BUDGET).kl_budget == MAX_KL_BUDGET
    with pytest.raises(InvalidParameterError):
        AmuletParams(kl_budget=MAX_KL_BUDGET + 1)


def test_the_strength_of_a_model_has_what_is_set_only() -> None:
    models = parse_settings(WHOLE.encode()).models
    assert models["smollm2"].strength == {"guidance_scale": 2.5}
    assert models["Qwen2.5-7B.gguf"].strength == {"guidance_scale": 4, "kl_budget": 0.6}
    assert models["open"].strength == {"kl_budget": None}
    assert models["empty"].strength == {}


def test_errors_are_of_the_package() -> None:
    assert issubclass(SettingsError, AmuletError)
