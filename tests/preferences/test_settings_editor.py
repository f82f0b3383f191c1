"""Changing the user's settings file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amulet_local.common.errors import (
    AmuletError,
    FileAccessError,
    InvalidParameterError,
    SettingsError,
    UnknownPreferenceError,
)
from amulet_local.preferences import settings_editor
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.settings_editor import (
    remove,
    set_mix,
    set_model_strength,
    set_preference,
)
from amulet_local.preferences.user_settings import (
    MAX_FILE_BYTES,
    UserModelSettings,
    read_settings,
    settings_path,
    text_problem,
)

REPOSITORY = Path(__file__).parent.parent.parent

COMMENTED = """\
# At the top.

[models.smollm2] # small
guidance_scale = 2.5

# What I like:
[preferences]
second = 'b'   # the second
# about the first
first = '''
a
"b"'''

[mixes]
work = [ # for letters
    "formal:0.7",
    "second",
]
# At the end.
"""


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings file will be; its folder doesn't exist yet."""
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path / "config" / "amulet"))
    return settings_path()


@pytest.fixture
def commented(settings_file: Path) -> Path:
    """A settings file that somebody wrote."""
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text(COMMENTED, encoding="utf-8")
    return settings_file


def leftovers(file: Path) -> list[str]:
    return [path.name for path in file.parent.iterdir() if path != file]


def test_a_new_file_is_the_users_alone(settings_file: Path) -> None:
    assert set_preference("teacher", "like a teacher") == settings_file
    assert settings_file.read_text() == '[preferences]\nteacher = "like a teacher"\n'
    assert stat.S_IMODE(settings_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings_file.parent.stat().st_mode) == 0o700
    assert leftovers(settings_file) == []


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (lambda: set_preference("new", "c"), "\"b\"'''\n", '"b"\'\'\'\nnew = "c"\n'),
        (
            lambda: set_preference("SECOND", "c", force=True),
            "second = 'b'   # the second",
            'second = "c"   # the second',
        ),
        (
            lambda: set_mix("play", ["creative:0.5", "First"]),
            "# At the end.\n",
            '# At the end.\nplay = ["creative:0.5", "First"]\n',
        ),
        (lambda: remove("FIRST"), "first = '''\na\n\"b\"'''\n", ""),
        (
            lambda: set_model_strength(["SMOLLM2.gguf"], UserModelSettings(guidance_scale=3)),
            "guidance_scale = 2.5\n",
            "guidance_scale = 3\n",
        ),
        (
            lambda: set_model_strength(["smollm2"], UserModelSettings(kl_budget=0.5)),
            "guidance_scale = 2.5\n",
            "kl_budget = 0.5\n",
        ),
        (
            lambda: set_model_strength(["smollm2"], UserModelSettings()),
            "guidance_scale = 2.5\n",
            "",
        ),
    ],
)
def test_a_change_leaves_the_rest_as_it_is(
    commented: Path, change: Callable[[], Path], old: str, new: str
) -> None:
    change()
    text = commented.read_text(encoding="utf-8")
    whole = COMMENTED.replace(old, new)
    assert sorted(text.splitlines()) == sorted(whole.splitlines())
    assert [line for line in text.splitlines() if line in COMMENTED.splitlines()] == [
        line for line in COMMENTED.splitlines() if line in text.splitlines()
    ]


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("smollm2", "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"), "smollm2"),
        (("/models/Qwen2.5-7B.Q4_K_M.gguf", "Qwen2.5-7B.Q4_K_M.gguf"), "Qwen2.5-7B.Q4_K_M"),
        (("./My model.GGUF", "My model.GGUF"), "My model"),
    ],
)
@pytest.mark.parametrize(
    "strength",
    [
        UserModelSettings(kl_budget=0.6),
        UserModelSettings(guidance_scale=3, kl_budget="off"),
        UserModelSettings(guidance_scale=3),
    ],
)
def test_a_models_strength_is_found_again_and_taken_out(
    settings_file: Path, names: tuple[str, ...], own: str, strength: UserModelSettings
) -> None:
    assert set_model_strength(names, strength) == settings_file
    assert dict(read_settings().models) == {own: strength}
    assert read_settings().of_model(names) == strength
    assert stat.S_IMODE(settings_file.stat().st_mode) == 0o600
    set_model_strength(names, UserModelSettings())
    assert read_settings().of_model(names) == UserModelSettings()


def test_a_strength_goes_to_the_entry_that_counts(commented: Path) -> None:
    names = ("/models/a.gguf", "smollm2", "a.gguf")
    set_model_strength(names, UserModelSettings(kl_budget=0.3))
    assert dict(read_settings().models) == {"smollm2": UserModelSettings(kl_budget=0.3)}
    other = ("/models/b.gguf", "b.gguf")
    set_model_strength(other, UserModelSettings())
    assert "b" not in read_settings().models


def test_a_mix_may_take_the_place_of_a_preference_and_back(commented: Path) -> None:
    set_mix("first", ["concise"], force=True)
    assert read_settings().mixes["first"] == ("concise",)
    assert "first" not in read_settings().preferences
    set_preference("work", "x", force=True)
    assert read_settings().preferences["work"] == "x"
    assert "work" not in read_settings().mixes
    assert "# about the first" in commented.read_text()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda: set_preference("first", "c"), InvalidParameterError, "already; --force"),
        (lambda: set_mix("FIRST", ["formal"]), InvalidParameterError, "preference 'first' alr"),
        (lambda: set_preference("work", "c"), InvalidParameterError, "a mix 'work' already"),
        (lambda: set_preference("Formal", "c", force=True), InvalidParameterError, "built-in"),
        (lambda: set_preference("two words", "c"), InvalidParameterError, "digits"),
        (lambda: set_preference("\x1b[2J", "c"), InvalidParameterError, r"'\x1b[2J'"),
        (lambda: set_preference("x", " \n"), InvalidParameterError, "no text"),
        (lambda: set_preference("x", "a\0b"), InvalidParameterError, r"'\x00'"),
        (lambda: set_preference("x", "a\x1b[2J"), InvalidParameterError, r"'\x1b'"),
        (lambda: set_preference("x", "a\rb"), InvalidParameterError, r"'\r'"),
        (lambda: set_preference("x", "\udc80"), InvalidParameterError, "UTF-8"),
        (lambda: set_preference("x", "y" * 5000), InvalidParameterError, "at most 4000"),
        (lambda: set_mix("x", ["no_one:0.5"]), InvalidParameterError, "no preference is called"),
        (lambda: set_mix("x", ["work"]), InvalidParameterError, "can't be part of a mix"),
        (lambda: set_mix("x", ["x"]), InvalidParameterError, "a mix"),
        (lambda: set_mix("x", ["formal:0"]), InvalidParameterError, "every weight is 0"),
        (lambda: set_mix("x", ["formal:1,5"]), InvalidParameterError, "must be a number"),
        (lambda: set_mix("x", ["formal"] * 17), InvalidParameterError, "at most 16"),
        (lambda: set_mix("x", ["\udc80 a"]), InvalidParameterError, "UTF-8"),
        (lambda: set_mix("x", []), InvalidParameterError, "list"),
        (lambda: set_mix("second", ["formal"], force=True), InvalidParameterError, "is a mix"),
        (lambda: remove("second"), InvalidParameterError, "part of the mix 'work'"),
        (lambda: remove("concise"), InvalidParameterError, "built in"),
        (lambda: remove("frist"), UnknownPreferenceError, "did you mean 'first'?"),
        (lambda: remove("\x1b"), UnknownPreferenceError, r"'\x1b'"),
    ],
)
def test_a_change_that_cant_be_leaves_the_file_alone(
    commented: Path, change: Callable[[], Path], error: type[AmuletError], words: str
) -> None:
    with pytest.raises(error) as raised:
        change()
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300
    assert commented.read_text(encoding="utf-8") == COMMENTED
    assert leftovers(commented) == []


@pytest.mark.parametrize(
    "broken", ["[preferences\n", "[preferences]\nx = 1\n", "[other]\n", "[mixes]\nx = ['y_']\n"]
)
def test_a_broken_file_stays_untouched(settings_file: Path, broken: str) -> None:
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text(broken)
    for change in (lambda: set_preference("a", "b"), lambda: remove("x")):
        with pytest.raises(SettingsError, match=r"^settings\.toml, line \d"):
            change()
    assert settings_file.read_text() == broken
    assert leftovers(settings_file) == []


def test_a_file_that_would_be_too_large_isnt_written(settings_file: Path) -> None:
    set_preference("a", "b")
    settings_file.write_text("#" * (MAX_FILE_BYTES - 20) + '\n[preferences]\na="b"')
    before = settings_file.read_bytes()
    with pytest.raises(InvalidParameterError, match="KiB"):
        set_preference("new", "x" * 100)
    assert settings_file.read_bytes() == before


names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in BUILT_IN_PREFERENCES
)
texts = (
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
            st.sampled_from(["\n", "\t", '"', '"""', "'''", "\\", "#", "[x]", "=", " ", "a"]),
        ),
        max_size=8,
    )
    .map("".join)
    .filter(lambda text: text_problem(text) is None)
)
changes = st.one_of(
    st.tuples(st.just("set"), names, texts),
    st.tuples(
        st.just("mix"), names, st.lists(st.sampled_from(["formal:0.5", "in rhyme"]), max_size=3)
    ),
    st.tuples(st.just("remove"), names, st.none()),
    st.tuples(
        st.just("model"),
        st.sampled_from(["a", "b", "x.y", "smollm2", "new", "'\"\\ [x]"]),
        st.builds(
            UserModelSettings,
            guidance_scale=st.sampled_from([None, 0.0, 2.5]),
            kl_budget=st.sampled_from([None, "off", 0.0, 0.3]),
        ),
    ),
)
ODD_FILES = (
    "",
    "# only a comment",
    COMMENTED,
    COMMENTED.replace("\n", "\r\n"),
    "\ufeff[preferences]\na = 'b'",
    "preferences.a = 'b' # dotted\nmixes = { c = ['a'] }\n",
    "[models]\n'x.y' = { guidance_scale = 1 }\n[preferences]\n[mixes]\n\n\n",
    "[models.a]\n[preferences]\na = 'b'\n[models.b]\nguidance_scale = 0x3\n",
    "preferences = { a = 'b', b = \"c\" }\n",
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ODD_FILES), st.lists(changes, min_size=1, max_size=5))
@pytest.mark.lengthy
def test_every_change_is_made_whole_or_not_at_all(
    settings_file: Path, start: str, todo: list[tuple[str, str, object]]
) -> None:
    settings_file.parent.mkdir(parents=True, exist_ok=True)
    settings_file.write_bytes(start.encode())
    for kind, name, value in todo:
        before = read_settings()
        preferences, mixes = dict(before.preferences), dict(before.mixes)
        models = dict(before.models)
        if kind == "model":
            assert isinstance(value, UserModelSettings)
            set_model_strength([name], value)
            if name in models or value != UserModelSettings():
                models[name] = value
            assert dict(read_settings().models) == models
            continue
        own = before.own_name(name) or name
        preferences.pop(own, None)
        mixes.pop(own, None)
        try:
            if kind == "set":
                assert isinstance(value, str)
                preferences[own] = value
                set_preference(name, value, force=True)
            elif kind == "mix":
                assert isinstance(value, list)
                mixes[own] = tuple(value)
                set_mix(name, value, force=True)
            else:
                remove(name)
        except InvalidParameterError:
            assert kind != "set" or before.own_name(name)  # it is a part of a mix
            preferences, mixes = dict(before.preferences), dict(before.mixes)
        except UnknownPreferenceError:
            preferences, mixes = dict(before.preferences), dict(before.mixes)
        after = read_settings()
        assert dict(after.preferences) == preferences
        assert dict(after.mixes) == mixes
        assert dict(after.models) == models
        for comment in [line for line in start.splitlines() if line.startswith("# ")]:
            assert comment in settings_file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", [*BUILT_IN_PREFERENCES.values(), "\n\nlike this:0.5\n", "a\n\\b\n", "'''\"\"\""]
)
def test_texts_come_back_as_they_were(settings_file: Path, text: str) -> None:
    set_preference("mine", text)
    assert read_settings().preferences["mine"] == text


def test_a_link_stays_a_link(settings_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "mine.toml"
    target.parent.mkdir()
    target.write_text("# kept\n")
    settings_file.parent.mkdir(parents=True)
    settings_file.symlink_to(os.path.relpath(target, settings_file.parent))
    set_preference("a", "b")
    assert settings_file.is_symlink()
    assert target.read_text() == '# kept\n\n[preferences]\na = "b"\n'
    assert not target.is_symlink()
    assert leftovers(target) == []
    target.unlink()
    set_preference("a", "b")  # the link dangles, its folder is there
    assert target.is_file()
    target.unlink()
    target.parent.rmdir()
    with pytest.raises(FileAccessError, match=r"No such file.*AMULET_CONFIG"):
        set_preference("a", "b")


def test_folders_that_cant_be_written_are_errors(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file.parent.mkdir(parents=True)
    settings_file.parent.chmod(0o500)
    if os.geteuid() != 0:
        with pytest.raises(FileAccessError, match="Permission denied"):
            set_preference("a", "b")
    settings_file.parent.chmod(0o700)
    for folder in ("/proc/nowhere", "/dev/null"):
        monkeypatch.setenv("AMULET_CONFIG", folder)
        with pytest.raises(
            FileAccessError, match=r"can't be written: .*AMULET_CONFIG names another"
        ):
            set_preference("a", "b")


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failing_disk_leaves_the_old_file(
    commented: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FileAccessError, match="No space left"):
        set_preference("a", "b")
    assert commented.read_text(encoding="utf-8") == COMMENTED
    assert leftovers(commented) == []


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_kill_9_leaves_the_old_file_and_no_lock(commented: Path, call: str) -> None:
    script = (
        "import os, signal\n"
        "from amulet_local.preferences.settings_editor import set_preference\n"
        f"os.{call} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "set_preference('a', 'b')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False)
    assert done.returncode == -9
    assert commented.read_text(encoding="utf-8") == COMMENTED
    set_preference("a", "b")
    assert read_settings().preferences["a"] == "b"


def test_an_interrupt_leaves_nothing_behind(
    commented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        set_preference("a", "b")
    assert commented.read_text(encoding="utf-8") == COMMENTED
    assert leftovers(commented) == []


def test_writers_at_once_lose_nothing(settings_file: Path) -> None:
    wanted = {f"a{writer}-{number}" for writer in range(6) for number in range(4)}

    def write(writer: int) -> None:
        for number in range(4):
            set_preference(f"a{writer}-{number}", "b")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_settings().preferences) == wanted


def test_an_editors_change_meanwhile_is_kept(
    commented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    todo = ["[models.other]\nguidance_scale = 1\n"]

    def fsync(descriptor: int) -> None:
        real(descriptor)
        if todo:
            commented.write_text(COMMENTED + todo.pop(), encoding="utf-8")

    monkeypatch.setattr(os, "fsync", fsync)
    set_preference("a", "b")
    assert read_settings().preferences["a"] == "b"
    assert "other" in read_settings().models
    assert leftovers(commented) == []


def test_a_file_that_keeps_changing_is_an_error(
    commented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        commented.write_text(commented.read_text() + "#\n")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(FileAccessError, match="keeps changing"):
        set_preference("a", "b")
    assert leftovers(commented) == []


def test_a_writer_that_hangs_isnt_waited_for_forever(
    commented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(settings_editor, "LOCK_SECONDS", 0.05)
    descriptor = os.open(commented.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(FileAccessError, match="another program is changing"):
            set_preference("a", "b")
    finally:
        os.close(descriptor)
    set_preference("a", "b")


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), PermissionError(13, "no")])
def test_without_locks_it_is_written_all_the_same(
    commented: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    import fcntl

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(fcntl, "flock", fail)
    set_preference("a", "b")
    assert read_settings().preferences["a"] == "b"
