"""What each command of a chat does.

Knows the chat and nothing about where a command was typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from amulet_local.cli.answering import applied_in_words
from amulet_local.cli.chat import settings as words
from amulet_local.cli.chat.feedback import ChatFeedback
from amulet_local.cli.chat.screen import AnswerDisplay
from amulet_local.cli.chat.slash import (
    BY_NAME,
    SlashLine,
    help_of,
    help_text,
    keys_text,
    unknown,
)
from amulet_local.cli.chat.talk import Chat
from amulet_local.cli.columns import cut, side_by_side, wrap
from amulet_local.cli.compare import chosen_width
from amulet_local.cli.kept_chats import chat_path, chats_folder, listed_chats, read_chat
from amulet_local.cli.terminal import stdout_is_terminal, visible, write
from amulet_local.common.errors import InvalidRequestError
from amulet_local.common.readable import speed
from amulet_local.params.choices import as_known
from amulet_local.steering.presets import PRESETS

if TYPE_CHECKING:
    from amulet_local.prompts.dialogue import Turn

_WITH_EQUALS = re.compile(r"([\w-]+)=(.+)", re.DOTALL)
"""`/set temp=0.7`."""


class Leave(Exception):
    """The user wants to leave."""


class SlashCommands:
    """Runs commands on a chat."""

    def __init__(self, chat: Chat, feedback: ChatFeedback | None = None) -> None:
        self._chat = chat
        chat.change_live = self.change
        self._run: dict[str, Callable[[str], None]] = {
            "compare": self._compare,
            "explain": self._explain,
            "retry": lambda argument: chat.retry(),
            "undo": self._undo,
            "edit": self._edit,
            "system": self._system,
            "set": self._set,
            "save": self._save,
            "load": self._load,
            "new": self._new,
            "stats": self._stats,
            "help": self._help,
            "exit": self._exit,
            **(feedback or ChatFeedback(chat)).commands,
        }

    def run(self, said: SlashLine) -> None:
        """Do what was said.

        Raises:
            AmuletError: it can't be done; all is as it was.
            Leave: it was to leave.
        """
        if said.command is None:
            raise InvalidRequestError(unknown(said.name))
        if said.command.is_live:
            self._chat.screen.remark(self.change(said))
        else:
            self._run[said.command.name](said.argument)

    def change(self, said: SlashLine) -> str:
        """Change what answers follow, also of the one that is coming; returns what holds then.

        Raises:
            AmuletError: it can't be changed so; all is as it was.
        """
        assert said.command is not None
        conversation, argument = self._chat.conversation, said.argument
        own = self._chat.engine.own_settings
        present = conversation.settings
        if not argument:
            return self._present(said.command.name)
        match said.command.name:
            case "preference":
                wanted = words.changed_preferences(argument, present.preference)
                conversation.set(preference=wanted)
            case "avoid":
                conversation.set(avoid=words.changed_preferences(argument, present.avoid))
            case "strength" if as_known(argument, PRESETS) in PRESETS:
                conversation.set(preset=argument)
            case "strength":
                conversation.set(amulet=words.changed_strength(argument, present, own))
            case _:
                conversation.set(preset=argument)
        changed = conversation.settings
        if changed.amulet is not None:
            self._chat.warn(changed.amulet.warnings)
        wanted_now = words.preferences_in_words(changed)
        if not wanted_now and said.command.name in ("strength", "preset"):
            return f"{words.strength_in_words(changed)}, once there is a /preference"
        if not wanted_now:
            return "no preference: plain answers from here on"
        return f"from here on: {wanted_now} ({words.strength_in_words(changed)})"

    def _present(self, name: str) -> str:
        settings = self._chat.conversation.settings
        strength = words.present_strength(settings, self._chat.engine.own_settings)
        match name:
            case "preference" | "avoid":
                present = words.preferences_in_words(settings) or "none"
                return f"preference: {present}; e.g. /{name} concise, or your own words; off"
            case "strength":
                return f"strength: {strength.in_words}"
        held = words.strength_in_words(settings)
        return f"preset: {held}; there are {', '.join(PRESETS)}"

    def _compare(self, argument: str) -> None:
        chat = self._chat
        settings = chat.conversation.settings
        turn = self._last_turn()
        if not turn.preferences:
            raise InvalidRequestError(
                "the last answer had no preference to compare with: set one with /preference, "
                "then /retry"
            )
        plain = chat.conversation.fork()
        plain.set(preference=None, avoid=None, method=None)
        width = chosen_width(None, 2, total=chat.screen.width, is_terminal=stdout_is_terminal())
        display = AnswerDisplay(chat.screen, lambda line: None)
        stream = plain.stream_regenerate(seed=turn.seed, prompt_progress=display.progress)
        headings = ["without a preference", visible(", ".join(turn.preferences))]
        if not width:
            chat.screen.dim(f"--- {headings[0]} ---")
            chat.show(stream, display)
            return
        most = settings.sampling.max_tokens
        with stream, chat.screen.interrupted_by(stream.cancel):
            generation = display.quietly(stream, "without a preference", most)
        texts = [visible(generation.text.strip()), visible(turn.answer.strip())]
        heads = [" ".join(wrap(cut(heading, width), width)) for heading in headings]
        write(f"{side_by_side(heads, width)}\n{side_by_side(['-' * width] * 2, width)}\n")
        write(side_by_side(texts, width) + "\n")

    def _explain(self, argument: str) -> None:
        from amulet_local.cli.explain import show_answer, show_explanation
        from amulet_local.explanation.explanation import explain

        chat = self._chat
        turn = self._last_turn()
        if not turn.preferences:
            raise InvalidRequestError("the last answer had no preference: nothing moved its tokens")
        if chat.last is None or not chat.last.trace or not chat.last_is_steady:
            raise InvalidRequestError(
                "only an answer that was made in this run, under one preference, can be explained; "
                "/retry makes it anew"
            )
        explanation = explain(
            chat.last,
            chat.engine.model.vocabulary,
            question=turn.question,
            model=chat.engine.model.path.name,
        )
        if chat.screen.has_colours:
            show_answer(explanation)
        show_explanation(
            explanation,
            all_tokens=argument == "all",
            painted=chat.screen.has_colours,
            hint="/explain all shows all",
        )

    def _undo(self, argument: str) -> None:
        turn = self._chat.conversation.undo()
        self._chat.changed()
        self._chat.screen.remark(f"taken back: {_short(turn.question)}")

    def _edit(self, argument: str) -> None:
        chat = self._chat
        turn = self._last_turn()
        chat.is_editing = True
        if argument:
            chat.say(argument)
        elif chat.screen.is_full:
            chat.question = turn.question
            chat.screen.remark("change the question and press Enter; Ctrl-C leaves it as it was")
        else:
            chat.is_editing = False
            raise InvalidRequestError("give the new question: /edit TEXT")

    def _system(self, argument: str) -> None:
        conversation = self._chat.conversation
        if argument:
            text = {"off": "", "none": "", "default": None}.get(argument.lower(), argument)
            conversation.set(system=text)
        held = conversation.settings.system
        shown = {None: "the default one", "": "none"}.get(held) or _short(str(held))
        self._chat.screen.remark(f"system text: {shown}")

    def _set(self, argument: str) -> None:
        chat = self._chat
        conversation = chat.conversation
        equal = _WITH_EQUALS.fullmatch(argument.removeprefix("parameter "))
        name, _, value = argument.removeprefix("parameter ").partition(" ")
        if equal is not None:
            name, value = equal.groups()
        value = value.strip().strip("\"'")
        if name in ("preference", "avoid", "strength", "preset", "system"):
            self.run(SlashLine(name=name, command=BY_NAME[name], argument=value))
            return
        if name:
            words.check_settable(name)
        if name and not value:
            raise InvalidRequestError(f"give a value: /set {name:.40} VALUE")
        key = name.lstrip("-").replace("-", "_").lower()
        if key in words.GUARDS:
            own = chat.engine.own_settings
            changed = words.changed_guard(key, value, conversation.settings, own)
            conversation.set(amulet=changed)
            chat.screen.remark(f"{key} {'on' if getattr(changed, key) else 'off'}")
            return
        if key == "on_full":
            conversation.set(on_full=value.replace("-", "_"))  # type: ignore[arg-type]
        elif name:
            sampling = words.changed_sampling(name, value, conversation.settings.sampling)
            conversation.set(sampling=sampling)
        chat.screen.remark(
            f"{words.sampling_in_words(conversation.settings.sampling)}, on_full "
            f"{conversation.settings.on_full}"
        )

    def _save(self, argument: str) -> None:
        chat = self._chat
        if not argument:
            where = chat.keeper.path
            kept = f"kept in {where}" if where else "not kept yet"
            raise InvalidRequestError(
                f"give a name or a FILE.json: /save NAME; this chat is {kept}"
            )
        path = chat_path(argument)
        if path.parent == chats_folder():
            from amulet_local.common.user_folders import data_folder, private_folder, why_unusable

            if private_folder(data_folder()) is None or private_folder(chats_folder()) is None:
                raise InvalidRequestError(
                    f"{why_unusable(chats_folder())}; /save FILE.json saves it elsewhere"
                )
        if path == chat.keeper.path:
            raise InvalidRequestError("this chat is kept under that name already")
        chat.conversation.save(path)
        chat.screen.remark(f"saved: {path}")

    def _load(self, argument: str) -> None:
        listed = listed_chats() if not argument or argument.isdigit() else []
        if not argument:
            if not listed:
                raise InvalidRequestError("there is no chat yet; they are kept after each turn")
            for number, item in enumerate(listed, 1):
                turns = f"{item.n_turns} turn{'' if item.n_turns == 1 else 's'}"
                line = f"{number:2}  {item.name}  {item.when}  {turns}  {_short(item.question)}"
                write(cut(visible(line), max(20, self._chat.screen.width - 1)) + "\n")
            self._chat.screen.remark("/load NUMBER or /load NAME goes on with one")
            return
        name = argument
        if argument.isdigit() and 1 <= int(argument) <= len(listed):
            name = listed[int(argument) - 1].name
        path = chat_path(name)
        read_chat(path)  # its errors come before anything is changed
        resume(self._chat, path)
        show_place(self._chat, path)

    def _new(self, argument: str) -> None:
        chat = self._chat
        settings = chat.conversation.settings
        conversation = chat.engine.conversation()
        conversation.set(**settings.arguments(), on_full=settings.on_full)
        chat.conversation = conversation
        chat.last = None
        chat.is_editing = False
        chat.keeper.close()
        chat.screen.remark("a new chat, with the same settings")

    def _stats(self, argument: str) -> None:
        chat = self._chat
        settings = chat.conversation.settings
        runtime = chat.engine.plan
        lines = [
            f"model       {chat.engine.model.path.name}, {runtime.schedule}",
            f"preference  {words.preferences_in_words(settings) or 'none'}",
            f"strength    {words.strength_in_words(settings)}",
            f"turns       {len(chat.conversation.turns)}"
            + (
                f", the oldest {chat.conversation.n_dropped} left out of the context"
                if chat.conversation.n_dropped
                else ""
            ),
            f"context     {chat.n_used} of {chat.engine.n_ctx} tokens",
        ]
        last = chat.last
        if last is not None:
            timings, usage = last.timings, last.usage
            lines.append(
                f"last answer {usage.completion_tokens} tokens, "
                f"{speed(timings.tokens_per_second)} tokens/s, the first after "
                f"{timings.time_to_first_token_seconds:.2f} s"
            )
            lines.append(f"            {usage.computed_tokens} tokens computed for it in all rows")
            if last.applied is not None:
                lines.append(f"            {applied_in_words(last.applied)}")
        lines.append(f"sampling    {words.sampling_in_words(settings.sampling)}")
        lines.append(f"kept in     {chat.keeper.path or 'nothing yet'}")
        for line in lines:
            room = max(20, chat.screen.width - 13)
            first, *rest = wrap(visible(line[12:]), room, breaks_words=False)  # a path stays whole
            write(f"{line[:12]}{first}\n" + "".join(f"{'':12}{more}\n" for more in rest))

    def _help(self, argument: str) -> None:
        width = min(self._chat.screen.width - 1, 79)
        name = argument.lstrip("/").lower()
        if not name:
            write(help_text(width))
        elif name in BY_NAME:
            write(help_of(BY_NAME[name], width))
        elif name in ("keys", "keyboard", "shortcuts"):
            write(keys_text(width))
        elif len(name.split()) > 1:
            raise InvalidRequestError("a question has no / before it; /help alone lists commands")
        else:
            raise InvalidRequestError(unknown(name))

    def _exit(self, argument: str) -> None:
        raise Leave

    def _last_turn(self) -> Turn:
        turns = self._chat.conversation.turns
        if not turns:
            raise InvalidRequestError("there is no turn yet")
        return turns[-1]


def resume(chat: Chat, path: Path) -> None:
    """Go on with a chat's file, and show where it was.

    Raises:
        FileAccessError, ConversationFileError: it can't be read or used; all is as it was.
    """
    conversation = chat.engine.load_conversation(path)
    chat.conversation = conversation
    chat.last = None
    chat.is_editing = False
    if not chat.keeper.go_on(path):
        chat.screen.remark("another process goes on with that chat: this one is kept as a copy")
    chat.warn(conversation.warnings)


def show_place(chat: Chat, path: Path) -> None:
    """Show which chat goes on, and its last turn."""
    turns = chat.conversation.turns
    number = f"{len(turns)} turn{'' if len(turns) == 1 else 's'}"
    chat.screen.remark(f"going on with {path.stem}: {number}")
    if turns and chat.screen.is_typed:
        chat.screen.dim(f"\n> {turns[-1].question}")
        chat.screen.text(turns[-1].answer)


def _short(text: str) -> str:
    return cut(" ".join(visible(text).split()), 60)
