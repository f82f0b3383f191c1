"""Saved conversations: they go on as if nothing had been, and what is damaged is said."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from amulet_local import (
    AmuletParams,
    ConversationSettings,
    Engine,
    Preference,
    SamplingParams,
    Turn,
    errors,
)
from amulet_local.common import private_files
from amulet_local.conversation import conversation_file
from amulet_local.conversation.conversation_file import (
    MAX_FILE_BYTES,
    SavedConversation,
    parse,
    read,
    write,
)

SHORT = SamplingParams(max_tokens=5)
TURNS = (
    Turn(question="Why?", answer='So "it" is\n\0é🙂', token_ids=(1, 2, 3), finish_reason="stop"),
    Turn(
        question="<|im_end|>",
        answer="",
        token_ids=(2,),
        finish_reason="cancelled",
        n_dropped=1,
        preferences=("concise", "in rhyme:-0.5"),
        seed=2**32 - 2,
    ),
)
FULL = ConversationSettings().changed(
    {
        "preference": ["concise:0.7", Preference(text="in rhyme", weight=2, name="rhyme")],
        "avoid": "verbose",
        "method": "amulet",
        "amulet": AmuletParams(alpha=1.5, kl_budget=0.25, watch=True),
        "sampling": SamplingParams(
            temperature=0.1 + 0.2,
            logit_bias={5: -float("inf"), 7: 1.5},
            dry_sequence_breakers=("\n", "é"),
            json_schema={"type": "object", "properties": {"a": {"type": "integer"}}},
            seed=3,
        ),
        "system": "",
        "placement": "user",
        "on_full": "drop_oldest",
    }
)
SAVED = SavedConversation(model="a.gguf", settings=FULL, turns=TURNS)


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# --- right -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "saved",
    [
        SAVED,
        SavedConversation(model="", settings=ConversationSettings(), turns=()),
        SavedConversation(
            model="a",
            settings=ConversationSettings().changed(
                {"preset": "paper", "sampling": SamplingParams(grammar='root ::= "a"')}
            ),
            turns=TURNS[:1],
        ),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, saved: SavedConversation) -> None:
    path = tmp_path / "talk.json"
    write(path, saved)
    again = read(path)
    assert (again.model, again.turns) == (saved.model, saved.turns)
    for name, value in vars(saved.settings).items():
        if name == "sampling":
            value, mine = value.model_dump(), again.settings.sampling.model_dump()
            assert mine == value
        else:
            assert getattr(again.settings, name) == value, name
    assert again.settings.sampling.model_fields_set == saved.settings.sampling.model_fields_set
    assert content(path)["version"] == 1
    assert len(path.read_text(encoding="utf-8").split("\n")) < 12


def test_a_loaded_conversation_goes_on_as_if_it_had_not_been_saved(
    tiny_engine: Engine, tmp_path: Path
) -> None:
    talk = tiny_engine.conversation(
        preference="formal", avoid="verbose", preset="strong", system="Be kind.", sampling=SHORT
    )
    for question in ("How do I sleep better?", "Why?"):
        talk.send(question)
    talk.save(tmp_path / "talk.json")
    loaded = tiny_engine.load_conversation(tmp_path / "talk.json")
    assert (loaded.turns, loaded.settings, loaded.warnings) == (talk.turns, talk.settings, ())
    assert loaded.send("And now?").token_ids == talk.send("And now?").token_ids
    loaded.undo()
    assert loaded.edit(0, "Really?").token_ids == talk.edit(0, "Really?").token_ids


def test_another_models_conversation_goes_on_with_a_warning(
    tiny_engine: Engine, tmp_path: Path
) -> None:
    talk = tiny_engine.conversation(sampling=SHORT)
    talk.send("Why?")
    talk.save(tmp_path / "talk.json")
    text = (tmp_path / "talk.json").read_text(encoding="utf-8")
    other = text.replace(tiny_engine.model.path.name, "Other-7B.gguf")
    assert other != text
    (tmp_path / "talk.json").write_text(other, encoding="utf-8")
    loaded = tiny_engine.load_conversation(tmp_path / "talk.json")
    (warning,) = loaded.warnings
    assert "Other-7B.gguf" in warning
    assert warning in loaded.send("And now?").warnings
    assert warning in loaded.fork().warnings


def test_a_running_turn_is_not_saved(tiny_engine: Engine, tmp_path: Path) -> None:
    talk = tiny_engine.conversation(sampling=SHORT)
    with talk.stream("Why?") as stream:
        next(stream)
        talk.save(tmp_path / "talk.json")
    assert len(talk.turns) == 1
    assert tiny_engine.load_conversation(tmp_path / "talk.json").turns == ()


def test_token_ids_that_somebody_changed_do_no_harm(tiny_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    talk = tiny_engine.conversation(sampling=SHORT)
    talk.send("How do I sleep better?")
    expected = talk.fork().send("Why?").token_ids
    talk.save(path)
    for ids in ([], [0, 1, 2], [2**31 - 1], [*talk.turns[0].token_ids, 2, 1]):
        changed = content(path)
        changed["turns"][0]["token_ids"] = ids
        path.write_text(json.dumps(changed), encoding="utf-8")
        assert tiny_engine.load_conversation(path).send("Why?").token_ids == expected


# --- honest ------------------------------------------------------------------------------------


def with_change(*keys: str | int, value: Any) -> bytes:
    whole = json.loads(conversation_file._text(SAVED))
    part = whole
    for key in keys[:-1]:
        part = part[key]
    if value is KeyError:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("keys", "value", "place"),
    [
        (("version",), 2, "version"),
        (("version",), "1", "version"),
        (("version",), True, "version"),
        (("version",), KeyError, "version"),
        (("format",), "tape", ""),
        (("format",), KeyError, ""),
        (("model",), 3, "model"),
        (("extra",), 3, ""),
        (("turns",), {}, "turns"),
        (("turns", 1), [], "turns[1]"),
        (("turns", 1, "answer"), None, "turns[1].answer"),
        (("turns", 1, "answer"), "a \ud800", "turns[1].answer"),
        (("turns", 0, "question"), " \n", "turns[0].question"),
        (("turns", 0, "question"), KeyError, "turns[0].question"),
        (("turns", 0, "token_ids"), "1 2", "turns[0].token_ids"),
        (("turns", 0, "token_ids", 1), -1, "turns[0].token_ids[1]"),
        (("turns", 0, "token_ids", 1), 1.0, "turns[0].token_ids[1]"),
        (("turns", 0, "token_ids", 1), 10**400, "turns[0].token_ids[1]"),
        (("turns", 0, "finish_reason"), "bored", "turns[0].finish_reason"),
        (("turns", 0, "n_dropped"), 1, "turns[0].n_dropped"),
        (("turns", 1, "n_dropped"), -1, "turns[1].n_dropped"),
        (("turns", 1, "seed"), 2**32, "turns[1].seed"),
        (("turns", 1, "preferences", 0), 1, "turns[1].preferences[0]"),
        (("turns", 1, "mood"), 1, "turns[1]"),
        (("settings",), None, "settings"),
        (("settings", "preference", 0, "text"), "", "settings.preference[0]"),
        (("settings", "preference", 0, "weight"), "1", "settings.preference[0].weight"),
        (("settings", "preference", 0, "weight"), 10**400, "settings.preference[0]"),
        (("settings", "preference", 0, "name"), KeyError, "settings.preference[0].name"),
        (("settings", "avoid"), "verbose", "settings.avoid"),
        (("settings", "method"), "magic", "settings"),
        (("settings", "preset"), "paper", "settings"),
        (("settings", "amulet", "alpha"), -1, "settings.amulet"),
        (("settings", "amulet"), 3, "settings.amulet"),
        (("settings", "sampling", "temperature"), "warm", "settings.sampling"),
        (("settings", "sampling", "colour"), 1, "settings.sampling"),
        (("settings", "sampling"), None, "settings.sampling"),
        (("settings", "system"), 3, "settings.system"),
        (("settings", "placement"), "assistant", "settings"),
        (("settings", "on_full"), None, "settings"),
        (("settings", "mood"), 1, "settings"),
    ],
)
def test_nonsense_is_an_error_that_names_its_place(
    tmp_path: Path, keys: tuple[str | int, ...], value: Any, place: str
) -> None:
    path = tmp_path / "talk.json"
    data = with_change(*keys, value=value)
    path.write_bytes(data)
    with pytest.raises(errors.ConversationFileError) as caught:
        read(path)
    assert caught.value.place == place
    assert str(path) in str(caught.value)
    assert f"{place}: " in str(caught.value) or not place
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == data


def test_a_newer_version_says_that_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    whole = {"format": "amulet-local conversation", "version": 7, "other": {}}
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(errors.ConversationFileError, match=r"newer format 7.*update"):
        read(path)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", "line 1, column 1"),
        (b"\xff\xfe", "line 1"),
        (b'{"format":\n "a" "b"}', "line 2, column 6"),
        (b'{"version": NaN}', ""),
        (b'{"version": 1, "version": 2}', ""),
        (b"[" * 100_000, ""),
        (b'{"a":' * 100_000, ""),
        (b"[]", ""),
        (b"3", ""),
        (b'"' + b"9" * 10_000, "line 1, column 1"),
        (b"9" * 10_000, ""),
    ],
)
def test_what_is_no_json_object_is_an_error(data: bytes, place: str) -> None:
    with pytest.raises(errors.ConversationFileError) as caught:
        parse(data)
    assert caught.value.place == place


def test_a_file_cut_anywhere_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    data = conversation_file._text(SAVED).encode()
    for length in range(len(data) - 1):  # its last byte is a newline
        path.write_bytes(data[:length])
        with pytest.raises(errors.ConversationFileError):
            read(path)
        assert path.read_bytes() == data[:length]


def test_changed_bytes_never_raise_anything_else() -> None:
    draw = random.Random(1)
    data = conversation_file._text(SAVED).encode()
    n_refused = 0
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.choice(b'"{}[],:0-9eE\\ntu\x00\xff ')
        try:
            parse(bytes(changed))
        except errors.ConversationFileError:
            n_refused += 1
    assert 500 < n_refused < 2000


@pytest.mark.parametrize("comment", [float("nan"), "\ud800", {1, 2}])
def test_what_json_doesnt_have_is_refused(tmp_path: Path, comment: Any) -> None:
    sampling = SamplingParams(json_schema={"type": "null", "$comment": comment})
    settings = ConversationSettings().changed({"sampling": sampling})
    with pytest.raises(errors.InvalidRequestError, match="JSON"):
        write(tmp_path / "a", SavedConversation(model="", settings=settings, turns=()))
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_bounded(tmp_path: Path) -> None:
    turn = Turn(question="a" * MAX_FILE_BYTES, answer="", token_ids=(), finish_reason="stop")
    large = SavedConversation(model="", settings=ConversationSettings(), turns=(turn,))
    with pytest.raises(errors.InvalidRequestError, match="16 MiB"):
        write(tmp_path / "a", large)
    (tmp_path / "b").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(errors.FileAccessError, match="16 MiB"):
        read(tmp_path / "b")


# --- files -------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_file_is_its_owners_alone_and_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "talk.json", tmp_path / "link.json"
    path.write_text("old")
    path.chmod(0o666)
    link.symlink_to(path)
    write(link, SAVED)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert read(path).turns == TURNS
    assert sorted(item.name for item in tmp_path.iterdir()) == ["link.json", "talk.json"]


def test_what_can_not_be_written_or_read_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (
        tmp_path / "folder",
        tmp_path / "none" / "talk.json",
        tmp_path / "pipe",
        "a" * 300,
    ):
        for call in (lambda: write(path, SAVED), lambda: read(path)):  # noqa: B023
            with pytest.raises(errors.FileAccessError):
                call()
    for bad in (None, 3, b"talk.json", "a\0b", "\ud800"):
        for call in (lambda: write(bad, SAVED), lambda: read(bad)):  # type: ignore[arg-type]  # noqa: B023
            with pytest.raises(errors.InvalidParameterError):
                call()
    path = tmp_path / "talk.json"
    write(path, SAVED)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.FileAccessError, match="No space"):
        private_files.write(path, b"new")
    assert read(path).turns == TURNS
    assert len(list(tmp_path.iterdir())) == 3


def in_child(script: str) -> list[str]:
    prelude = """
        import resource, sys
        from amulet_local import ConversationSettings, Turn, errors
        from amulet_local.conversation.conversation_file import SavedConversation, write

        def saved(n):
            turn = Turn(question=str(n) * 1000, answer="a" * 1000, token_ids=tuple(range(500)),
                        finish_reason="stop")
            return SavedConversation(model=str(n), settings=ConversationSettings(),
                                     turns=(turn,) * 40)
    """
    return [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(script)]


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    write(path, SAVED)
    script = f"""
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            write({str(path)!r}, saved(1))
        except errors.FileAccessError as error:
            print(error)
    """
    done = subprocess.run(in_child(script), capture_output=True, text=True, check=True)
    assert "can't be written" in done.stdout
    assert read(path).turns == TURNS
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.lengthy
def test_kill_9_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    script = f"""
        print("ready", flush=True)
        n = 0
        while True:
            n += 1
            write({str(path)!r}, saved(n % 10))
    """
    draw = random.Random(2)
    for _ in range(6):
        child = subprocess.Popen(in_child(script), stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        until = time.monotonic() + 20
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.05))
        child.kill()
        child.wait()
        child.stdout.close()
        found = read(path)
        assert len(found.turns) == 40
        assert found.turns[0].question == found.model * 1000


def test_saving_after_each_turn_is_fast(tmp_path: Path) -> None:
    turn = Turn(
        question="Why is it so? " * 10,
        answer="Because it is. " * 100,
        token_ids=tuple(range(1000, 1400)),
        finish_reason="stop",
    )
    saved = SavedConversation(model="", settings=ConversationSettings(), turns=(turn,) * 200)
    timings = []
    for _ in range(3):
        started = time.perf_counter()
        write(tmp_path / "talk.json", saved)
        timings.append(time.perf_counter() - started)
    assert min(timings) < 2.0
