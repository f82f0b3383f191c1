"""`amulet-local chat`: a conversation in the terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from amulet_local.cli.chat.options import MAX_TOKENS, ChatOptions
from amulet_local.cli.command import add_command
from amulet_local.cli.exit_codes import EXIT_CUT, EXIT_ERROR
from amulet_local.cli.llama_server_flags import LlamaCliChat
from amulet_local.cli.supervised import Uses, the_model, use_given
from amulet_local.cli.terminal import write
from amulet_local.common.errors import AmuletError, ConversationFileError, InvalidRequestError

if TYPE_CHECKING:
    from amulet_local.cli.chat.commands import SlashCommands
    from amulet_local.cli.chat.questions import Questions
    from amulet_local.cli.chat.screen import Screen
    from amulet_local.cli.chat.talk import Chat
    from amulet_local.cli.kept_chats import TypedLines
    from amulet_local.cli.question import Question
    from amulet_local.conversation.conversation_settings import OnFull

HELP = """Talk with a model, following a preference that may change at any time.

Commands begin with a slash: /help lists them. Every finished turn is kept, so that nothing
is lost; --continue goes on with the last chat. Without a terminal each line of standard
input is a question or a command."""

EXAMPLES = """
amulet-local chat --preference concise
amulet-local chat -m model.gguf -c 8192 "What is a black hole?"
amulet-local chat --continue
printf 'Hi!\\n/preference formal\\n/retry\\n' | amulet-local chat"""

GREETING = """\
/help lists commands; Ctrl-C stops an answer, Ctrl-D leaves."""
KEPT = """\
Every finished turn is kept: amulet-local chat --continue goes on with this chat."""
NOT_KEPT = """\
Nothing of this chat is kept (/save NAME does that)."""


def run(options: ChatOptions) -> None:
    """Talk until the user leaves, or the questions end.

    Raises:
        SystemExit: questions came from a file or pipe, and one failed or its answer was cut.
    """
    from amulet_local.cli.chat.commands import SlashCommands, resume, show_place
    from amulet_local.cli.chat.feedback import ChatFeedback
    from amulet_local.cli.chat.screen import Screen
    from amulet_local.cli.chat.talk import Chat
    from amulet_local.cli.kept_chats import (
        Keeper,
        TypedLines,
        model_of,
        read_chat,
        remember_model,
    )
    from amulet_local.cli.loading import loaded
    from amulet_local.cli.named_method import warn_of_no_preference, with_method
    from amulet_local.cli.question import read_settings

    first = _first_question(options)
    path = _chosen_chat(options)
    if path is not None and options.model is None:
        options = dataclasses.replace(options, model=model_of(read_chat(path)))
    method, question = with_method(options, options.method, read_settings(options))
    warn_of_no_preference(method, question)
    options = dataclasses.replace(options, method=method)
    screen = Screen(markdown=options.markdown, verbose="verbose" in options.runtime)
    keeper = Keeper(enabled=not options.no_save, is_typed=screen.is_typed)
    lines = TypedLines(enabled=not options.no_save)
    try:
        with loaded(question.model, question.runtime) as engine:
            engine.check_chat()
            conversation = engine.conversation(
                **_wanted(options, question),
                on_full=cast("OnFull", options.on_full or "drop_oldest"),
            )
            name = Path(question.model).name.removesuffix(".gguf")
            chat = Chat(engine, conversation, screen, keeper, model=name)
            chat.warn(engine.warnings)
            if keeper.keeps:
                remember_model(question.model, engine.model.path.name)
            if path is not None:
                resume(chat, path)
                _set_again(chat, options, question)
            feedback = ChatFeedback(
                chat,
                options.profile,
                keeps_preference=bool(
                    options.preference or options.avoid or options.preference_file
                ),
                keeps_strength=question.amulet is not None
                and question.strength_from != f"profile {options.profile}",
            )
            commands = SlashCommands(chat, feedback)
            _greet(chat, is_kept=not options.no_save)
            if path is not None:
                show_place(chat, path)
                write("\n" if screen.is_typed else "")
            if first:
                chat.waiting.append(first)
            converse(chat, commands, _questions(screen, chat, lines), lines)
    finally:
        keeper.close()
    if not screen.is_typed and (chat.has_failed or chat.was_cut):
        raise SystemExit(EXIT_ERROR if chat.has_failed else EXIT_CUT)


def converse(chat: Chat, commands: SlashCommands, questions: Questions, lines: TypedLines) -> None:
    """Take questions and commands until they end."""
    from amulet_local.cli.chat.commands import Leave
    from amulet_local.cli.chat.settings import in_chat
    from amulet_local.cli.chat.slash import meant, parsed, without_its_slash

    n_interrupted = 0
    while True:
        try:
            text = _next(chat, questions)
            n_interrupted = 0
        except EOFError:
            return
        except AmuletError as error:
            chat.has_failed = True
            chat.screen.complain(f"error: {in_chat(str(error))}")
            continue
        except KeyboardInterrupt:
            if not chat.screen.is_typed:
                raise
            if chat.is_editing:
                chat.is_editing = False
                continue
            if chat.takes("no"):  # to what is asked, if something is
                continue
            n_interrupted += 1
            if n_interrupted > 1:
                return
            chat.screen.remark("Ctrl-C again, or Ctrl-D, leaves")
            continue
        if not text.strip():
            continue
        said = parsed(meant(text) if chat.screen.is_typed else text)
        try:
            with chat.reporting():
                if said is not None:
                    chat.is_editing = False
                    commands.run(said)
                elif not chat.takes(text):
                    if chat.screen.is_typed and (hint := without_its_slash(text)):
                        chat.screen.remark(hint)
                    chat.say(text)
        except Leave:
            return
        except KeyboardInterrupt:
            if not chat.screen.is_typed:
                raise
        if said is None or chat.screen.is_typed:
            write("\n")


def _models(options: ChatOptions) -> Uses:
    """The model, which may be that of the chat that is gone on with."""
    from amulet_local.cli.kept_chats import model_of, read_chat

    path = _chosen_chat(options)
    if path is None or options.model is not None:
        return the_model(options)
    return [(model_of(read_chat(path)), use_given(options.runtime))]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        ChatOptions,
        run,
        name="chat",
        help=HELP,
        examples=EXAMPLES,
        cls=LlamaCliChat,
        models=_models,
    )


def _next(chat: Chat, questions: Questions) -> str:
    if chat.waiting:
        text = chat.waiting.pop(0)
        if chat.screen.is_typed:
            chat.screen.dim(f"> {text}")
        return text
    begun, chat.question = chat.question, ""
    return questions.ask(begun)


def _questions(screen: Screen, chat: Chat, lines: TypedLines) -> Questions:
    if screen.is_full:
        from amulet_local.cli.chat.prompt import ChatInput

        return ChatInput(status=chat.status, lines=lines, colours=screen.has_colours)
    from amulet_local.cli.chat.questions import Lines

    return Lines(shows_prompt=screen.is_typed)


def _first_question(options: ChatOptions) -> str:
    from amulet_local.cli.inputs import read_question

    if options.file is None and options.prompt_option is None and options.prompt is None:
        return ""
    if options.prompt == "-":
        return ""  # standard input it is anyhow, line by line
    return read_question(options)


def _chosen_chat(options: ChatOptions) -> Path | None:
    """The file of the chat to go on with, None for a new one.

    Raises:
        InvalidRequestError: there is none, or --continue is given a name.
        FileAccessError, ConversationFileError: it can't be read or used.
    """
    from amulet_local.cli.kept_chats import chat_path, last_chat, read_chat, saved_chats

    if options.resume is not None:
        path = chat_path(options.resume)
        read_chat(path)
        return path
    if not options.continue_:
        return None
    if options.prompt in [chat.stem for chat in saved_chats()]:
        raise InvalidRequestError(
            f"--continue goes on with the last chat; --resume {options.prompt} does with that one"
        )
    last = last_chat()
    if last is None:
        raise InvalidRequestError("there is no chat to continue yet; leave out --continue")
    try:
        read_chat(last)
    except ConversationFileError as error:
        raise ConversationFileError(
            f"{error}; --resume NAME goes on with another chat, /load in a chat lists them"
        ) from None
    return last


def _wanted(options: ChatOptions, question: Question) -> dict[str, Any]:
    """What a new conversation gets of the options."""
    liked = [item for item in question.preferences if item.weight >= 0]
    disliked = [
        dataclasses.replace(item, weight=-item.weight)
        for item in question.preferences
        if item.weight < 0
    ]
    sampling = question.sampling
    if "max_tokens" not in options.sampling:
        sampling = sampling.replace(max_tokens=MAX_TOKENS)
    return {
        "preference": liked or None,
        "avoid": disliked or None,
        "method": options.method,
        "amulet": question.amulet,
        "preset": question.preset,
        "sampling": sampling,
        "system": question.system,
        "placement": question.placement,
    }


def _set_again(chat: Chat, options: ChatOptions, question: Question) -> None:
    """Of the options those that were given, for a chat that has settings already."""
    wanted = _wanted(options, question)
    given = {
        name: value
        for name, value in wanted.items()
        if value is not None and name not in ("sampling", "preference", "avoid")
    }
    if question.preferences:
        given |= {"preference": wanted["preference"], "avoid": wanted["avoid"]}
    fields = {name: getattr(question.sampling, name) for name in question.sampling.model_fields_set}
    if fields:
        given["sampling"] = chat.conversation.settings.sampling.replace(**fields)
    if options.on_full is not None:
        given["on_full"] = options.on_full
    chat.conversation.set(**given)


def _greet(chat: Chat, *, is_kept: bool) -> None:
    """Say where we are, if a person listens; that nothing can be kept also to a script.

    Args:
        is_kept: whether the chat is to be kept.
    """
    from amulet_local.cli.kept_chats import chats_folder
    from amulet_local.common.user_folders import why_unusable

    is_lost = is_kept and not chat.keeper.keeps
    lost = f"Nothing of this chat is kept: {why_unusable(chats_folder())}." if is_lost else ""
    if chat.screen.is_typed:
        chat.screen.dim(chat.status())
        chat.screen.dim(GREETING)
        chat.screen.dim(lost or (KEPT if is_kept else NOT_KEPT))
        write("\n")
    elif lost:
        chat.screen.remark(lost)
