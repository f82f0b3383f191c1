"""`chat` through a real terminal: each command, Ctrl-C, and what is left after kill -9."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams
from amulet_local.cli.chat.prompt import PLACEHOLDER
from amulet_local.cli.chat.slash import COMMANDS
from tests.cli.running import COMMAND, OnTerminal, environment, run

pytestmark = pytest.mark.usefixtures("tiny_by_default")

QUESTION = "What is yeast?"
SHORT = ("-c", "512", "-n", "12", "--reproducible")
ENTER, ALT_ENTER, CTRL_C, CTRL_D = b"\r", b"\x1b\r", b"\x03", b"\x04"


class ChatTerminal(OnTerminal):
    """A chat on a terminal."""

    def __init__(self, *arguments: str | Path, **env: str) -> None:
        super().__init__("chat", *arguments, **env)

    @property
    def is_ready(self) -> bool:
        """Whether it waits for a question, and nothing of one is there."""
        return self.line == f"> {PLACEHOLDER}"

    def type(self, text: str) -> None:
        """Type a text and wait for it to be there."""
        self.press(text.encode())
        end = text.split("\n")[-1][-20:].strip()
        self.wait(lambda: end in self.line)

    def say(self, text: str) -> str:
        """Type a text and Enter; returns what it is answered, when it is."""
        self.wait(lambda: self.is_ready)
        start = self.screen.cursor.y
        self.type(text)
        self.press(ENTER)
        self.wait(lambda: self.is_ready and self.screen.cursor.y > start)
        return "\n".join(self.lines[start + 1 : self.screen.cursor.y]).strip()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Callable[..., ChatTerminal]]:
    """Start a chat with a user folder of its own."""
    started: list[ChatTerminal] = []

    def start(*arguments: str | Path, **env: str) -> ChatTerminal:
        started.append(ChatTerminal(*arguments, **{"AMULET_DATA": str(tmp_path / "data"), **env}))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder of the chat that tests share."""
    return tmp_path_factory.mktemp("shared-chat")


@pytest.fixture(scope="module")
def _running(folder: Path) -> Iterator[ChatTerminal]:
    terminal = ChatTerminal(*SHORT, AMULET_DATA=str(folder))
    yield terminal
    terminal.close()


@pytest.fixture
def shared(_running: ChatTerminal) -> ChatTerminal:
    """The chat that tests share, as new."""
    _running.wait(lambda: _running.is_ready)
    _running.press(b"\x0c")  # clears the screen, which has only so many lines
    _running.wait(lambda: _running.is_ready and _running.screen.cursor.y == 0)
    for line in ("/new", "/preference off", "/avoid off", "/preset balanced", "/set temp 0"):
        _running.say(line)
    return _running


def saved(folder: Path) -> dict[str, Any]:
    """What was written last."""
    chats = sorted((folder / "chats").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    content: dict[str, Any] = json.loads(chats[-1].read_text(encoding="utf-8"))
    return content


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_ctrl_z_is_no_part_of_a_question(shared: ChatTerminal) -> None:
    shared.type("Hel")
    shared.press(b"\x1a")  # here nobody could wake it, and the system doesn't stop it
    shared.wait(lambda: shared.is_ready or "Hel" in shared.line)
    shared.type("lo")
    shared.wait(lambda: shared.line.endswith("> Hello"))
    shared.press(b"\x03")


def test_a_preference_holds_from_the_next_turn_on(
    shared: ChatTerminal, tiny_engine: Engine
) -> None:
    expected = tiny_engine.conversation(sampling=SamplingParams(max_tokens=12))
    answer = words(expected.send(QUESTION).text)
    assert words(shared.say(QUESTION))[: len(answer)] == answer
    assert "from here on: formal (balanced)" in shared.say("/preference formal")
    expected.set(preference="formal")
    answer = words(expected.send("And wine?").text)
    assert words(shared.say("And wine?"))[: len(answer)] == answer
    assert "formal, in rhyme:0.5" in shared.say("/pref + in rhyme:0.5")
    assert "did you mean 'formal'" in shared.say("/preference formol")
    assert "preference: formal, in rhyme:0.5;" in shared.say("/preference")


def test_avoid(shared: ChatTerminal) -> None:
    assert "not sycophantic" in shared.say("/avoid sycophantic")
    assert "plain answers" in shared.say("/avoid off")


def test_strength_and_preset(shared: ChatTerminal) -> None:
    assert "once there is a /preference" in shared.say("/preset strong")
    shared.say("/preference concise")
    assert "concise (scale 3)" in shared.say("/strength 3")
    assert "concise (scale 3, KL 0.8)" in shared.say("/strength 3 kl 0.8")
    assert "guidance scale up to 3, at most 0.8 nats a token" in shared.say("/strength")
    assert "concise (scale 3)" in shared.say("/strength kl off")
    assert "concise (paper)" in shared.say("/preset paper")
    assert "preset: paper; there are" in shared.say("/preset")
    assert "concise (strong)" in shared.say("/strength Strong")
    assert "is a number" in shared.say("/strength much")
    assert "no preset 'loud'" in shared.say("/preset loud")


def test_compare_shows_the_plain_answer_and_keeps_the_other(
    shared: ChatTerminal, tiny_engine: Engine, folder: Path
) -> None:
    shared.say("/preference uplifting")
    answer = shared.say(QUESTION)
    shown = shared.say("/compare")
    plain = tiny_engine.generate(QUESTION, sampling=SamplingParams(max_tokens=12)).text
    assert "without a preference" in shown
    columns = [line[:39] for line in shown.splitlines()[2:]]
    assert words(" ".join(columns)) == words(plain)
    assert words(saved(folder)["turns"][-1]["answer"])[:3] == words(answer)[:3]


def test_explain_paints_and_lists_tokens(shared: ChatTerminal) -> None:
    assert "no turn yet" in shared.say("/explain")
    shared.say(QUESTION)
    assert "nothing moved its tokens" in shared.say("/explain")
    shared.say("/preference uplifting")
    shared.say("/retry")
    shown = shared.say("/explain all")
    assert "likelier than plain by" in shown
    assert len(re.findall(r"^ *\d+  \S", shown, re.MULTILINE)) == 12
    assert "mean scale" in shown


def test_retry_of_a_greedy_answer_draws_another_one(shared: ChatTerminal, folder: Path) -> None:
    shared.say(QUESTION)
    first = saved(folder)["turns"][0]
    assert "drawn at temperature 0.7" in shared.say("/regen")
    (second,) = saved(folder)["turns"]
    assert first["seed"] is None
    assert second["seed"] is not None
    assert second["question"] == QUESTION
    assert saved(folder)["settings"]["sampling"]["temperature"] == 0


def test_undo_takes_the_last_turn_back_in_the_file_too(shared: ChatTerminal, folder: Path) -> None:
    assert "has no turn yet" in shared.say("/undo")
    shared.say(QUESTION)
    shared.say("And wine?")
    assert "taken back: And wine?" in shared.say("/undo")
    assert [turn["question"] for turn in saved(folder)["turns"]] == [QUESTION]


def test_edit_offers_the_last_question(shared: ChatTerminal, folder: Path) -> None:
    shared.say(QUESTION)
    shared.type("/edit")
    shared.press(ENTER)
    shared.wait(lambda: shared.line == f"> {QUESTION}")
    shared.type(" Briefly.")
    shared.press(ENTER)
    shared.wait(lambda: shared.is_ready)
    assert [turn["question"] for turn in saved(folder)["turns"]] == [f"{QUESTION} Briefly."]
    shared.say("/edit What is rye?")
    assert [turn["question"] for turn in saved(folder)["turns"]] == ["What is rye?"]


def test_system(shared: ChatTerminal, folder: Path) -> None:
    assert "system text: Talk like a pirate." in shared.say("/system Talk like a pirate.")
    shared.say(QUESTION)
    assert saved(folder)["settings"]["system"] == "Talk like a pirate."
    assert "system text: none" in shared.say("/set system off")
    assert "system text: the default one" in shared.say("/system default")


def test_set_takes_ollamas_names_and_llama_cpps(shared: ChatTerminal) -> None:
    assert "top_k 7" in shared.say("/set parameter top_k 7")
    assert "top_k 5" in shared.say("/set Top_K=5")
    assert "n 9" in shared.say("/set num_predict 9")
    assert "n 8" in shared.say("/set max_tokens 8")
    assert "n 12" in shared.say("/set n-predict 12")
    assert "start the chat with -c" in shared.say("/set num_ctx 9")
    assert "did you mean 'min_p'" in shared.say("/set minp 1")
    assert "top_p: " in shared.say("/set top_p 7")


def test_save_and_load(shared: ChatTerminal, folder: Path, tmp_path: Path) -> None:
    shared.say("/preference formal")
    shared.say(QUESTION)
    assert "saved: " in shared.say("/save yeast")
    assert (folder / "chats" / "yeast.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o77 == 0
    shared.say(f"/save {tmp_path}/copy.json")
    shared.say("/new")
    shared.say("/preference off")
    assert "yeast" in shared.say("/load")
    shown = shared.say("/load yeast")
    assert f"> {QUESTION}" in shown
    assert "formal" in shared.say("/preference")
    assert "there is no chat 'nothing'" in shared.say("/load nothing")
    assert "going on with copy: 1 turn" in shared.say(f"/load {tmp_path}/copy.json")
    assert "can't be a chat's name" in shared.say("/save .hidden")


def test_new_keeps_the_old_chat_and_the_settings(shared: ChatTerminal, folder: Path) -> None:
    shared.say("/preference formal")
    shared.say(QUESTION)
    n_chats = len(list((folder / "chats").glob("*.json")))
    shared.say("/clear")
    assert "turns       0" in shared.say("/stats")
    shared.say("And wine?")
    assert len(list((folder / "chats").glob("*.json"))) == n_chats + 1
    assert [turn["question"] for turn in saved(folder)["turns"]] == ["And wine?"]
    assert saved(folder)["turns"][0]["preferences"] == ["formal"]


def test_stats(shared: ChatTerminal) -> None:
    shared.say(QUESTION)
    shown = shared.say("/stats")
    assert "turns       1" in shown
    assert re.search(r"context     \d+ of 512 tokens", shown)
    assert "last answer 12 tokens" in shown


def test_help_lists_every_command_and_a_slip_gets_a_hint(shared: ChatTerminal) -> None:
    shown = shared.say("/?")
    for item in COMMANDS:
        assert f"/{item.name}" in shown
    assert "also /bye" in shared.say("/help exit")
    assert "did you mean /compare?" in shared.say("/compere")
    assert "paste the text" in shared.say("/read notes.txt")
    assert "Ctrl-C stops an answer" in shared.say("/? shortcuts")
    assert "a question has no / before it" in shared.say("/help me write a letter")
    for word in ("help", "?"):
        assert "/preference TEXT" in shared.say(word)
    assert "no command /ps: /stats says which model" in shared.say("ps")
    assert "context" in shared.say("show")


def test_a_tab_that_is_pasted_is_shown_as_space_and_stays_a_tab(
    shared: ChatTerminal, folder: Path
) -> None:
    shared.wait(lambda: shared.is_ready)
    shared.press(b"\x1b[200~One\ttwo\x1b[201~")
    shared.wait(lambda: "two" in shared.line)
    assert re.search(r"One +two", shared.line)
    shared.press(ENTER)
    shared.wait(lambda: shared.is_ready)
    assert saved(folder)["turns"][0]["question"] == "One\ttwo"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/set verbose", "/stats has the figures"),
        ("/set nothink", "--chat-template-kwargs"),
        ("/set format json", "--json-schema"),
        ("/set nonsense", "known: n, temp"),
        ("/set temp", "give a value"),
    ],
)
def test_what_set_doesnt_set_is_answered_with_what_does(
    shared: ChatTerminal, line: str, told: str
) -> None:
    assert told in " ".join(shared.say(line).split())


def test_what_only_looks_like_a_command_is_a_question(shared: ChatTerminal, folder: Path) -> None:
    shared.say("/etc/hosts is what?")
    assert saved(folder)["turns"][0]["question"] == "/etc/hosts is what?"


@pytest.mark.parametrize(
    "keys",
    [b"One\\\rtwo", b"One" + ALT_ENTER + b"two", b'"""One\rtwo"""', b"\x1b[200~One\ntwo\x1b[201~"],
    ids=["backslash", "alt-enter", "quotes", "paste"],
)
def test_a_question_of_several_lines(shared: ChatTerminal, folder: Path, keys: bytes) -> None:
    shared.wait(lambda: shared.is_ready)
    shared.press(keys)
    shared.wait(lambda: "two" in shared.line)
    shared.press(ENTER)
    shared.wait(lambda: shared.is_ready)
    assert saved(folder)["turns"][0]["question"] == "One\ntwo"


def test_tab_completes_commands_and_names(shared: ChatTerminal) -> None:
    shared.wait(lambda: shared.is_ready)
    shared.type("/prefe")
    shared.press(b"\t")
    shared.wait(lambda: shared.line == "> /preference")
    shared.type(" upl")
    shared.press(b"\t")
    shared.wait(lambda: shared.line == "> /preference uplifting")
    shared.press(CTRL_C)
    shared.wait(lambda: shared.is_ready)


@pytest.mark.parametrize("leave", ["/bye", "exit"])
def test_exit_and_what_was_typed_comes_back(
    leave: str, chat: Callable[..., ChatTerminal], tmp_path: Path
) -> None:
    first = chat(*SHORT)
    first.wait(lambda: first.is_ready)
    assert "--continue" in "\n".join(first.lines)
    first.say("/stats")
    first.type(leave)
    first.press(ENTER)
    assert first.finish() == 0
    history = tmp_path / "data" / "chat-history.jsonl"
    assert history.stat().st_mode & 0o777 == 0o600
    second = chat(*SHORT, "--no-save")
    second.wait(lambda: second.is_ready)
    second.press(CTRL_D)
    assert second.finish() == 0
    assert history.read_text(encoding="utf-8").splitlines() == ['"/stats"', f'"{leave}"']


def test_a_chat_that_cant_be_kept_says_why_and_what_helps(
    chat: Callable[..., ChatTerminal], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    terminal = chat(*SHORT, AMULET_DATA=str(tmp_path / "file"))
    terminal.wait(lambda: terminal.is_ready)
    greeting = "".join("".join(terminal.lines).split())
    assert "Nothingofthischatiskept:" in greeting
    assert "afilewhereafoldershouldbe;AMULET_DATAnamesanotherfolder." in greeting
    assert "/save FILE.json" in terminal.say("/save mine")
    terminal.press(CTRL_D)
    assert terminal.finish() == 0


@pytest.mark.parametrize("isolate", ["never", "always"])
def test_what_is_typed_before_there_is_a_prompt_is_shown_once(
    isolate: str, chat: Callable[..., ChatTerminal]
) -> None:
    terminal = chat(*SHORT, "--isolate", isolate)
    terminal.wait(lambda: not terminal.echoes)
    terminal.press(b"What is ")
    terminal.press(b"yeats\x7f\x7fst?")
    terminal.wait(lambda: terminal.line == f"> {QUESTION}")
    terminal.press(ENTER)
    terminal.wait(lambda: terminal.is_ready)
    assert "\n".join(terminal.lines).count("What is") == 1
    terminal.press(CTRL_D)
    assert terminal.finish() == 0
    assert terminal.echoes


def test_a_chat_that_is_ended_leaves_a_terminal_that_echoes(
    chat: Callable[..., ChatTerminal],
) -> None:
    for arguments in (["-m", "no-such-model"], ["--no-such-flag"], ["--help"]):
        terminal = chat(*arguments)
        terminal.finish()
        assert terminal.echoes
    terminal = chat(*SHORT, "--isolate", "always")
    terminal.wait(lambda: terminal.is_ready)
    terminal.terminate()
    assert terminal.finish() == -signal.SIGTERM
    assert terminal.echoes


def test_a_killed_chat_loses_no_finished_turn(chat: Callable[..., ChatTerminal]) -> None:
    first = chat(*SHORT, "--preference", "formal")
    answer = first.say(QUESTION)
    first.say("/set n 400")
    first.type("Write a long story about the sea.")
    first.press(ENTER)
    first.see(r"sea\.\n(?:\S+ ?){4}")
    first.kill()
    second = chat(*SHORT, "--continue")
    second.wait(lambda: second.is_ready)
    shown = "\n".join(second.lines)
    assert "1 turn" in shown
    assert f"> {QUESTION}" in shown
    assert words(answer)[:4] == words(shown.split(f"> {QUESTION}")[1])[:4]
    assert "turns       1" in second.say("/stats")
    assert "formal" in second.say("/preference")
    second.press(b"\x1b[A" * 3)  # the question that had no answer is in the history
    second.see("> Write a long story")
    other = chat(*SHORT, "--continue", "--no-markdown")
    other.see("another process goes on with that chat")


def test_ctrl_d_during_an_answer_leaves_when_it_is_there(
    chat: Callable[..., ChatTerminal],
) -> None:
    terminal = chat("-c", "512", "-n", "60", "--reproducible", "--ignore-eos")
    terminal.wait(lambda: terminal.is_ready)
    terminal.type(QUESTION)
    terminal.press(ENTER)
    terminal.wait(lambda: not terminal.line.startswith(">"))
    terminal.press(CTRL_D)
    assert terminal.finish() == 0
    assert "(cut off at 60 tokens" in terminal.text


def test_a_damaged_last_chat_and_a_name_are_answered_with_resume(tmp_path: Path) -> None:
    done = run("chat", "-n", "2", stdin=b"Hi\n", AMULET_DATA=str(tmp_path))
    assert done.code == 3
    (kept,) = (tmp_path / "chats").iterdir()
    named = run("chat", "--continue", kept.stem, AMULET_DATA=str(tmp_path))
    assert f"--resume {kept.stem} does with that one" in named.error_line
    (tmp_path / "chats" / "last.json").write_text('{"broken', encoding="utf-8")
    damaged = run("chat", "--continue", AMULET_DATA=str(tmp_path))
    assert "last.json can't be used" in damaged.error_line
    assert "--resume NAME goes on with another chat" in damaged.error_line


@pytest.mark.usefixtures("whole_by_default")
def test_ctrl_c_stops_an_answer_and_not_the_program(
    chat: Callable[..., ChatTerminal], tmp_path: Path
) -> None:
    terminal = chat("-c", "2200", "-n", "1000", COLUMNS="60")
    terminal.wait(lambda: terminal.is_ready)
    terminal.type("Write a long story about the sea.")
    terminal.press(ENTER)
    terminal.see(r"sea\.\n(?:\S+\s){4}")
    terminal.press(b"/preference formal\r")
    terminal.see("from here on: formal")
    terminal.press(b"And what else?")
    terminal.see(r"\n> And what else\?")
    terminal.press(CTRL_C)
    terminal.see(r"\(stopped\)")
    terminal.wait(lambda: terminal.line == "> And what else?")
    terminal.press(CTRL_C)
    terminal.wait(lambda: terminal.is_ready)
    assert saved(tmp_path / "data")["turns"][0]["finish_reason"] == "cancelled"
    assert "under one preference" in terminal.say("/explain").replace("\n", " ")

    long = "word " * 1500
    terminal.press(f"\x1b[200~{long}\x1b[201~\r".encode())
    terminal.see(r"reading the prompt: \d+ of")
    terminal.press(CTRL_C)
    terminal.see("stopped before the answer began")
    terminal.wait(lambda: terminal.line.startswith("  ") and "word" in terminal.line)
    terminal.press(CTRL_C)
    terminal.wait(lambda: terminal.is_ready)
    assert len(saved(tmp_path / "data")["turns"]) == 1
    terminal.press(CTRL_C)
    terminal.see("Ctrl-C again")
    terminal.wait(lambda: terminal.is_ready)
    terminal.press(CTRL_C)
    assert terminal.finish() == 0
    assert PLACEHOLDER not in "\n".join(terminal.lines)
    assert max(map(len, terminal.lines)) <= 60


def test_without_colours_there_are_none(chat: Callable[..., ChatTerminal]) -> None:
    terminal = chat("-c", "512", "--grammar", 'root ::= "**a** `b` [c](http://d)"', NO_COLOR="1")
    assert terminal.say(QUESTION) == "a b c (http://d)"
    terminal.press(CTRL_D)
    terminal.finish()
    styles = re.findall(r"\x1b\[([\d;]*)m", terminal.text)
    assert not [style for style in styles if re.search(r"(^|;)([349]\d|10\d)", style)]


def test_a_dumb_terminal_gets_no_control_sequence(chat: Callable[..., ChatTerminal]) -> None:
    terminal = chat(*SHORT, TERM="dumb")
    terminal.read_until(r"\n> $")
    terminal.press(b"What is \\\nyeast?\n")
    terminal.read_until(r"yeast\?\n[^\n]{20}[^>]*> $")
    terminal.press(CTRL_C)
    terminal.read_until("Ctrl-C again")
    terminal.press(CTRL_D)
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.text


def test_reasoning_is_dimmed_and_no_part_of_the_answer(
    chat: Callable[..., ChatTerminal], tmp_path: Path
) -> None:
    terminal = chat("-c", "512", "--grammar", 'root ::= "<think>" [a-z]{5} "</think>" "Yes."')
    assert re.fullmatch(r"Thinking: [a-z]{5}\n\nYes\.", terminal.say(QUESTION))
    assert "\x1b[2m" in terminal.text.split("Thinking:")[0][-20:]
    (turn,) = saved(tmp_path / "data")["turns"]
    assert turn["answer"] == "Yes."
    assert len(turn["reasoning"]) == 5


HOSTILE = "\x1b]0;owned\x07\x1b[31m<b>x</b>\u202e"


def test_control_characters_of_a_model_or_a_file_do_nothing(
    chat: Callable[..., ChatTerminal], tmp_path: Path
) -> None:
    grammar = tmp_path / "hostile.gbnf"
    grammar.write_text(
        f"root ::= {json.dumps(HOSTILE).replace('u001b', 'x1b').replace('u0007', 'x07')}"
    )
    terminal = chat("-c", "512", "-n", "60", "--grammar-file", grammar, "--preference", HOSTILE)
    shown = r"\x1b]0;owned\x07\x1b[31m<b>x</b>\u202e"
    assert terminal.say(QUESTION).split("\n")[0] == shown
    assert shown in terminal.say("/preference")
    terminal.press(CTRL_D)
    terminal.finish()
    assert "\x1b]" not in terminal.text
    assert "\x1b[31m" not in terminal.text
    assert "\u202e" not in terminal.text
    again = chat("-c", "512", "--continue")
    again.wait(lambda: again.is_ready)
    assert shown in "\n".join(again.lines)
    assert "\x1b]" not in again.text


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "not for reading"])
@pytest.mark.lengthy
def test_where_nothing_can_be_typed_the_first_question_is_answered(
    tmp_path: Path, is_closed: bool
) -> None:
    command = shlex.join([*COMMAND, "chat", QUESTION, "-n", "12"])
    done = subprocess.run(
        f"{command} {'<&-' if is_closed else '0>/dev/null'}",
        shell=True,
        env=environment(AMULET_DATA=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip()
    if is_closed:
        assert done.returncode == 3, done
    else:
        assert done.returncode == 1, done
        assert done.stderr.count("error: can't read standard input: Bad file descriptor") == 1


def test_lines_go_in_and_answers_come_out(tiny_engine: Engine, tmp_path: Path) -> None:
    lines = f"{QUESTION}\n/preference formal\nAnd\\\nwine?\n/nonsense\n"
    done = run("chat", *SHORT, stdin=lines.encode(), AMULET_DATA=str(tmp_path / "data"))
    expected = tiny_engine.conversation(sampling=SamplingParams(max_tokens=12))
    first = expected.send(QUESTION).text
    expected.set(preference="formal")
    second = expected.send("And\nwine?").text
    assert done.out == f"{first}\n\n{second}\n\n"
    assert "there is no command /nonsense" in done.err
    assert done.code == 1  # and not 3, for answers that were cut


def test_a_full_context_is_said_in_words(tmp_path: Path) -> None:
    lines = f"{QUESTION}\n{'Go on and on. ' * 8}\n{'Go on and on. ' * 8}\n/stats\n".encode()
    options = ("-c", "160", "-n", "8", "--no-save")
    dropped = run("chat", *options, stdin=lines)
    assert "were left out" in dropped.err
    assert dropped.code == 3  # answers were cut
    refused = run("chat", *options, "--on-full", "error", stdin=lines)
    assert "error: the context is full" in refused.err
    assert "/undo" in refused.err
    assert "turns       2" in refused.out
    assert refused.code == 1


def test_another_model_is_said_once_and_not_after_every_answer(tmp_path: Path) -> None:
    there = {"AMULET_DATA": str(tmp_path / "data")}
    run("chat", "-n", "2", stdin=f"Hi\n/save {tmp_path}/mine.json\n".encode(), **there)
    text = (tmp_path / "mine.json").read_text(encoding="utf-8")
    told = json.loads(text)
    (tmp_path / "mine.json").write_text(text.replace(told["model"], "other.gguf"), encoding="utf-8")
    lines = f"/load {tmp_path}/mine.json\nWhy?\nHow?\n".encode()
    done = run("chat", "-n", "2", stdin=lines, **there)
    assert len(done.out.splitlines()) > 3
    assert done.err.count("was had with other.gguf") == 1


def test_a_script_is_told_that_its_chat_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    where = {"AMULET_DATA": str(tmp_path / "file")}
    said = run("chat", "-n", "2", stdin=b"Hi\n", **where).err
    assert "Nothing of this chat is kept" in said
    assert "a file where a folder should be" in " ".join(said.split())
    unwanted = run("chat", "-n", "2", "--no-save", stdin=b"Hi\n", **where).err
    assert "is kept" not in unwanted


def test_a_program_that_asks_has_no_chat_to_continue(tmp_path: Path) -> None:
    done = run("chat", "-n", "2", stdin=b"Hi\n", AMULET_DATA=str(tmp_path))
    assert done.code == 3
    (kept,) = (tmp_path / "chats").iterdir()
    assert kept.stem.endswith("-piped")
    nothing = run("chat", "--continue", AMULET_DATA=str(tmp_path))
    assert "no chat to continue" in nothing.error_line


def test_nothing_to_continue_is_an_error(tmp_path: Path) -> None:
    nothing = run("chat", "--continue", AMULET_DATA=str(tmp_path))
    assert "no chat to continue" in nothing.error_line
    missing = run("chat", "--resume", "nothing", AMULET_DATA=str(tmp_path))
    assert "there is no chat 'nothing'" in missing.error_line
