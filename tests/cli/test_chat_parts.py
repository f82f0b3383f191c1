"""Parts of the chat: Markdown that grows on a screen, what is typed ahead, what is kept."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.cli.chat import live
from amulet_local.cli.chat.live import LiveText
from amulet_local.cli.chat.markdown import Renderer
from amulet_local.cli.chat.questions import without_quotes
from amulet_local.cli.chat.settings import (
    changed_guard,
    changed_preferences,
    changed_strength,
    in_chat,
)
from amulet_local.cli.chat.slash import help_text, meant, parsed, unknown, without_its_slash
from amulet_local.cli.chat.talk import _fitted
from amulet_local.cli.chat.type_ahead import TypeAhead
from amulet_local.cli.columns import cells
from amulet_local.cli.kept_chats import (
    Keeper,
    TypedLines,
    chat_path,
    listed_chats,
    model_of,
    remember_model,
    saved_chats,
)
from amulet_local.common.errors import FileAccessError, InvalidParameterError, InvalidRequestError
from amulet_local.conversation.conversation_file import SavedConversation
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.steering.guards.loop_watch import Watch
from amulet_local.steering.presets import PRESETS, adjusted_strength

ANSWER = """\
To learn to cook:

1. **Start** with the *basics*: what you need, and what a pan is good for
2. `taste`

3. Learn the rest

# A heading

A rose is a rose,
as every poet knows.

```python
def cook(egg: str) -> str:

    return egg.upper()
```

| dish | minutes |
|------|---------|
| egg  | 4       |

* one
  * two

> said somebody

- 5

12 apples are left: see [this](http://x.y/z), ![that](http://img) <b>and</b> &amp;

[a]: http://hidden
"""


class Terminal:
    """A screen that text is drawn on."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.Stream(self.screen)
        self.n_writes = 0

    def put(self, text: str) -> None:
        self.n_writes += 1
        self._stream.feed(text.replace("\n", "\r\n"))

    @property
    def lines(self) -> list[str]:
        """All lines, those that scrolled away too."""
        columns = self.screen.columns
        above = [
            "".join(line[column].data for column in range(columns))
            for line in self.screen.history.top
        ]
        lines = [line.rstrip() for line in (*above, *self.screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def drawn(
    monkeypatch: pytest.MonkeyPatch, text: str, step: int, *, columns: int = 60, rows: int = 24
) -> list[str]:
    monkeypatch.setattr(live, "REDRAW_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    terminal = Terminal(columns, rows)
    shown = LiveText(Renderer(colours=True), terminal.put)
    for start in range(0, len(text), step):
        shown.push(text[start : start + step], below="> typed" if start % 3 == 0 else "")
    shown.finish()
    return terminal.lines


@pytest.mark.parametrize("columns", [20, 60])
@pytest.mark.parametrize("rows", [12, 24])
@pytest.mark.lengthy
def test_text_that_grows_ends_up_as_text_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int
) -> None:
    whole = drawn(monkeypatch, ANSWER, len(ANSWER), columns=columns, rows=rows)
    for step in (1, 4, 17):
        assert drawn(monkeypatch, ANSWER, step, columns=columns, rows=rows) == whole


def test_nothing_of_a_text_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "\n".join(drawn(monkeypatch, ANSWER, 3))
    for part in ("http://x.y/z", "http://img", "<b>and</b>", "[a]: http://hidden", "& ", "return"):
        assert part.strip() in shown
    assert "A rose is a rose,\nas every poet knows." in shown


LONG_CODE = """\
Run this:

```sh
{} curl -s https://example.org/a/rather/long/address?with=words | tee output.txt
```

1. or
   ```
   echo {} of a list, beside its number, which is broken at blanks
   ```
"""


@pytest.mark.parametrize("word", ["the", "\u8d85\u7ea7\u957f\u7684\u8bcd" * 9])
def test_a_long_line_of_code_is_broken_by_the_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    text = LONG_CODE.format(word, word)
    code = text.split("\n")[3]
    assert [line for line in Renderer(colours=False).lines(text, 40) if line == code] == [code]
    whole = drawn(monkeypatch, text, len(text), columns=40)
    assert code in "".join(whole).replace("\0", ""), "nothing is cut off"
    assert "which is broken" in "\n".join(whole)
    assert drawn(monkeypatch, text, 3, columns=40) == whole


def test_a_wide_character_isnt_divided_between_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REDRAW_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "41")
    written: list[str] = []
    shown = LiveText(Renderer(colours=False), written.append)
    shown.push("```\n" + "\u8d85" * 41)  # twenty a row, and one
    shown.push("\u8d85")
    assert written[1].startswith("\x1b[2A\r\x1b[J")


@given(text=st.text("ab \n*_`#-1.|>[]()!<&\\~", max_size=80), step=st.integers(1, 9))
@pytest.mark.lengthy
def test_any_text_is_drawn_and_every_letter_of_it(text: str, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shown = "\n".join(drawn(patch, text, step, rows=200))
    assert "> typed" not in shown
    assert sum(map(shown.count, "ab")) >= sum(map(text.count, "ab")) - text.count("```") * 80


def test_control_characters_are_visible() -> None:
    terminal = Terminal(60, 24)
    shown = LiveText(Renderer(colours=True), terminal.put)
    shown.push("\x1b]0;title\x07 \x1b[31mred\x9b2J \u202eback")
    shown.finish()
    assert terminal.lines == [r"\x1b]0;title\x07 \x1b[31mred\x9b2J \u202eback"]


def test_only_lines_that_changed_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REDRAW_SECONDS", 0.0)
    written: list[str] = []
    shown = LiveText(Renderer(colours=True), written.append)
    shown.push("first line of a paragraph\nsecond")
    shown.push(" line\nthird")
    assert "first" not in written[1]
    shown.push("")
    assert len(written) == 2


def test_what_is_typed_ahead() -> None:
    typed = TypeAhead()
    typed.feed("/pref formol\x7f\x7fal\r")
    typed.feed("\x1b[A\x1b[3~next\x15ne")
    typed.feed("xt")
    assert typed.take() == ["/pref formal"]
    assert typed.take() == []
    assert typed.line == "next"
    typed.feed("\x15one\rtwo\r")  # pasted
    assert typed.take() == []
    assert typed.line == "one\ntwo\n"
    typed.feed("\x04")
    assert typed.line == "one\ntwo\n"


def test_ctrl_d_during_an_answer_is_a_line_of_its_own() -> None:
    typed = TypeAhead(ending="/exit")
    typed.feed("more\x04")
    assert (typed.take(), typed.line) == ([], "more"), "behind a text it is none, as at the prompt"
    typed.feed("\x15\x04")
    assert (typed.take(), typed.line) == (["/exit"], "")


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("/preference in rhyme", "preference", "in rhyme"),
        (" /pref\tin rhyme ", "preference", "in rhyme"),
        ("/?", "help", ""),
        ("/", "help", ""),
        ("/BYE", "exit", ""),
        ("/comp", "compare", ""),
        ("/preference=in rhyme", "preference", "in rhyme"),
    ],
)
def test_a_command_is_found_by_any_of_its_names(text: str, name: str, argument: str) -> None:
    said = parsed(text)
    assert said is not None
    assert said.command is not None
    assert (said.command.name, said.argument) == (name, argument)


def test_texts_and_unknown_commands() -> None:
    for text in ("", "hello", "/etc/hosts", "/ what", "// comment", "a /help"):
        assert parsed(text) is None
    for text in ("/pr", "/nonsense", "/s", "/no-watch", "/top_p 1", "/temp=1"):
        said = parsed(text)
        assert said is not None
        assert said.command is None


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("run", "amulet-local chat -m MODEL"),
        ("list", "amulet-local models"),
        ("ps", "/stats"),
        ("pull", "amulet-local pull NAME"),
        ("temperature", "/set temp VALUE"),
        ("top-k", "/set top_k VALUE"),
        ("watch", "/set watch on, or off"),
        ("no-watch", "/set watch off"),
        ("context", "/stats"),
        ("history", "/load lists chats"),
        ("prefrence", "did you mean /preference?"),
    ],
)
def test_commands_of_other_programs_are_answered_with_what_does_it(name: str, answer: str) -> None:
    assert answer in unknown(name)
    assert (said := parsed(f"/{name}")) is not None
    assert said.command is None


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("ps", "ps"),
        ("List", "list"),
        ("show", "show"),
        ("?", "help"),
        ("run", "run"),
        ("run llama3.2", "run"),
        ("pull Qwen/Qwen2.5-1.5B-Instruct-GGUF", "pull"),
        ("clear", "cls"),
        *((word, "exit") for word in ("exit", "Quit", "bye", " :q ", "exit()", "quit;")),
    ],
)
def test_a_command_without_its_slash_is_one(typed: str, command: str) -> None:
    said = parsed(meant(typed))
    assert said is not None
    assert said.name == command


@pytest.mark.parametrize(
    "typed",
    [
        "run away",
        "run a marathon in June",
        "list three fruits",
        "show me",
        "pull over",
        "5",
        "ps?",
        "exit strategies",
        "clear my doubts",
    ],
)
def test_a_question_that_begins_with_a_commands_name_stays_one(typed: str) -> None:
    assert meant(typed) == typed


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("preference concise", "/preference concise"),
        ("Pref  funny and short", "/Pref funny and short"),
        ("strength 2", "/strength 2"),
        ("set temp 0.7", "/set temp 0.7"),
        ("set the scene", ""),
        ("preset", ""),
        ("Preference shares or common ones, what is better?", ""),
        ("What is a preference?", ""),
    ],
)
def test_a_question_that_looks_like_a_command_is_told_of_its_slash(
    typed: str, command: str
) -> None:
    told = without_its_slash(typed)
    assert bool(told) is bool(command)
    assert command in told


@pytest.mark.parametrize("width", [40, 59, 79])
def test_the_list_of_commands_fits(width: int) -> None:
    assert max(map(len, help_text(width).splitlines())) <= width


@given(st.lists(st.text("ab |漢", max_size=40), min_size=2, max_size=5), st.integers(20, 90))
def test_names_give_way_to_figures_in_the_line_of_status(texts: list[str], width: int) -> None:
    line = _fitted(list(texts), width)
    assert cells(line) <= width
    rest = " | ".join(texts[2:])
    if rest and cells(rest) + 2 * (12 + 3) <= width:
        assert line.endswith(rest)


def test_three_quotes_are_no_part_of_a_question() -> None:
    assert without_quotes('"""\none\ntwo\n"""') == "one\ntwo"
    assert without_quotes('"""') == '"""'
    assert without_quotes('say "x"') == 'say "x"'


def test_a_strength_is_a_scale_a_budget_or_both() -> None:
    settings = ConversationSettings(preset="strong")
    strong = PRESETS["strong"].amulet
    assert changed_strength("3", settings, None) == strong.replace(guidance_scale=3)
    assert changed_strength("kl 0.2", settings, None) == adjusted_strength(
        "strong", {"kl_budget": 0.2}
    )
    both = changed_strength("2.5 kl_budget=off", settings, None)
    assert (both.guidance_scale, both.kl_budget, both.echo_guard) == (2.5, None, True)
    for wrong in ("a lot", "kl", "1 2", "kl=-1", "2000"):
        with pytest.raises(InvalidParameterError):
            changed_strength(wrong, settings, None)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder."""
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_guard_is_switched_off_as_a_warning_in_a_chat_says() -> None:
    watch = Watch()
    for token in [1, 2, 3, 4] * 40:
        watch.accept(token)
    (warning,) = watch.warnings
    said = re.search(r"/set (\w+) (\w+)", in_chat(warning))
    assert said is not None
    assert "--" not in in_chat(warning)
    assert "watch=" not in in_chat(warning)
    settings = ConversationSettings(preset="strong")
    present = adjusted_strength("strong", {})
    assert present.watch
    assert changed_guard(*said.groups(), settings, None) == present.replace(watch=False)


def test_a_chat_has_no_flags_in_what_it_says() -> None:
    assert in_chat("allow more of them (max_tokens, -n)") == "allow more of them (/set n)"
    said = in_chat("use a larger context (n_ctx, -c 900)")
    assert said == "use a larger context (amulet-local chat -c 900)"
    assert in_chat("the context is full; use a larger one (n_ctx, -c)").endswith(
        "one (amulet-local chat -c)"
    )


def test_what_is_wrong_in_a_chat_is_called_as_it_is_set_there() -> None:
    said = "must be less than or equal to 1000, got 9999"
    assert in_chat(f"guidance_scale: {said}") == f"/strength: {said}"
    assert in_chat(f"temperature: {said}") == f"/set temp: {said}"


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ('"like a sarcastic uncle"', "like a sarcastic uncle"),
        ("'in rhyme'", "in rhyme"),
        ("+ „kurz und herzlich“", "kurz und herzlich"),
        ('say "yes" and "no"', 'say "yes" and "no"'),
        ('"yes" or "no"', '"yes" or "no"'),
        ('""', '""'),
        ('"', '"'),
    ],
)
def test_a_preference_in_quotes_is_what_is_in_them(typed: str, wanted: str) -> None:
    assert changed_preferences(typed, ()) == [wanted]


def test_a_guard_is_on_or_off() -> None:
    with pytest.raises(InvalidParameterError, match="takes on or off, not 'maybe'"):
        changed_guard("watch", "maybe", ConversationSettings(), None)


def test_one_process_at_a_time_goes_on_with_a_chat(data: Path) -> None:
    first, second = Keeper(enabled=True), Keeper(enabled=True)
    first.begin()
    path = first.path
    assert path is not None
    path.touch()
    assert not second.go_on(path)
    assert second.path not in (None, path)
    first.close()
    assert second.go_on(path)
    assert second.path == path
    second.close()
    assert list((data / "chats").glob("*.lock")) == []


def test_a_folder_that_others_may_write_in_is_not_used(data: Path) -> None:
    data.mkdir()
    data.chmod(0o777)
    assert not Keeper(enabled=True).keeps
    TypedLines(enabled=True).add("secret")
    assert list(data.iterdir()) == []


def test_typed_lines_survive_damage_and_stay_bounded(data: Path) -> None:
    lines = TypedLines(enabled=True)
    lines.add("one\ntwo \udcff")
    path = data / "chat-history.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b"\xff\n[1]\nnonsense\n" + b'"x"\n' * 3000)
    kept = lines.read()
    assert len(kept) == 1000
    assert path.stat().st_size < 10_000
    assert TypedLines(enabled=False).read() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "x" * 81, "a\0b"])
def test_names_that_no_chat_can_have(data: Path, name: str) -> None:
    with pytest.raises(InvalidParameterError):
        chat_path(name)


def test_a_chat_goes_on_with_its_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    saved = SavedConversation(model="Mine.gguf", settings=ConversationSettings(), turns=())
    with pytest.raises(InvalidRequestError, match="which can't be found"):
        model_of(saved)
    path = tmp_path / "Mine.gguf"
    path.touch()
    monkeypatch.chdir(tmp_path)
    remember_model("Mine.gguf", "Mine.gguf")
    monkeypatch.chdir("/")
    assert model_of(saved) == str(path)
    remember_model("smollm2", "Mine.gguf")
    assert model_of(saved) == "smollm2"


_ASKS_AGAIN_AFTER_CTRL_C = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from amulet_local.cli.chat.questions import Lines
from amulet_local.cli.terminal import prepare_streams
prepare_streams()
lines = Lines(shows_prompt=True)
while True:
    try:
        lines.ask()
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.lengthy
def test_ctrl_c_is_noticed_however_soon_after_the_prompt_it_comes() -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", _ASKS_AGAIN_AFTER_CTRL_C],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        try:
            for _ in range(1000):
                shown = b""
                while not shown.endswith(b"> "):
                    assert select.select([master], [], [], 20)[0], shown
                    shown += os.read(master, 4096)
                os.write(master, b"\x03")
        finally:
            process.kill()
    os.close(slave)
    os.close(master)


def test_one_chat_that_is_no_file_hides_no_other(data: Path, tmp_path: Path) -> None:
    folder = data / "chats"
    folder.mkdir(parents=True)
    for number, name in enumerate(("first", "last")):
        (folder / f"{name}.json").write_text("{}")
        os.utime(folder / f"{name}.json", (number, number))
    (folder / "gone.json").symlink_to(tmp_path / "nothing")
    (folder / "circle.json").symlink_to(folder / "circle.json")
    os.mkfifo(folder / "pipe.json")
    os.utime(folder / "pipe.json", (2, 2))
    assert [path.stem for path in saved_chats()] == ["pipe", "last", "first"]
    assert listed_chats() == []


def test_where_no_file_can_be_made_that_is_an_error(data: Path) -> None:
    keeper = Keeper(enabled=True)
    (data / "chats").rmdir()
    (data / "chats").write_text("")
    with pytest.raises(FileAccessError, match="no file can be made"):
        keeper.begin()
    assert keeper.path is None
