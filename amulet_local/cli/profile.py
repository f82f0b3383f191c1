"""`amulet-local profile`: what was learned of a user, shown, changed, taken along and forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from amulet_local.cli.command import add_command, add_group
from amulet_local.cli.inputs import check_text, chosen_model
from amulet_local.cli.json_format import write_json
from amulet_local.cli.profile_options import (
    CreateOptions,
    ForgetOptions,
    ProfileImportOptions,
    ProfileLearnOptions,
    ProfileListOptions,
    ProfileOptions,
    ProfileShowOptions,
    RememberOptions,
    require_something,
    require_text,
)
from amulet_local.cli.supervised import the_model
from amulet_local.cli.terminal import one_line, visible, write
from amulet_local.common.errors import ProfileError

if TYPE_CHECKING:
    from amulet_local.profile.profile import Profile

HELP = """What you picked, liked and said, and the mix of preferences that was learned from it.

A profile is one file of yours on this machine. `chat --profile NAME` learns from what you say of
its answers, and every command with --profile follows what was learned."""

EXAMPLES = """
amulet-local profile create me
amulet-local chat --profile me
amulet-local profile show me
amulet-local generate "How do I sleep better?" --profile me"""


def list_all(options: ProfileListOptions) -> None:
    """Print the names of the profiles."""
    from amulet_local.profile.profile import listed

    names = listed()
    if options.json:
        write_json({"profiles": list(names)})
    elif names:
        write("\n".join(names) + "\n")
    else:
        write("There is no profile yet; `amulet-local profile create NAME` makes one.\n")


def create(options: CreateOptions) -> None:
    """Make a profile in which nothing is learned yet."""
    from amulet_local.profile.contents import Contents, bank_of

    for text in options.preference or ():
        check_text("--preference", text)
    profile = named(options.name)
    profile.create(Contents(bank=bank_of(options.preference)))
    write(f"{profile.name} is in {one_line(profile.path)}\n")


def show(options: ProfileShowOptions) -> None:
    """Print what was learned."""
    from amulet_local.profile.exchange import learned
    from amulet_local.profile.in_words import described

    contents = named(options.name).contents()
    if options.json:
        write_json(learned(contents))
    else:
        write("".join(f"{visible(line)}\n" for line in described(contents)))


def history(options: ProfileOptions) -> None:
    """Print everything that was said."""
    from amulet_local.cli.columns import cut
    from amulet_local.profile.in_words import entries

    lines = entries(named(options.name).contents())
    write("".join(f"{cut(visible(line), 100)}\n" for line in lines) or "Nothing was said yet.\n")


def export(options: ProfileOptions) -> None:
    """Print all of it as JSON."""
    from amulet_local.profile.exchange import as_json

    write(as_json(named(options.name).contents()))


def import_file(options: ProfileImportOptions) -> None:
    """Make a profile of an export."""
    from amulet_local.common import private_files
    from amulet_local.profile.exchange import MAX_BYTES, from_json

    profile = named(options.name)
    if profile.exists and not options.force:
        raise ProfileError(f"there is a profile {profile.name!r} already; --force replaces it")
    try:
        text = private_files.read(options.file, max_bytes=MAX_BYTES).decode()
    except UnicodeDecodeError:
        raise ProfileError(f"{options.file} isn't UTF-8 text") from None
    profile.restore(from_json(text))
    write(f"{profile.name} is in {one_line(profile.path)}\n")


def edit(options: ProfileOptions) -> None:
    """Change a profile in an editor."""
    from amulet_local.cli.editor import edited
    from amulet_local.profile.exchange import as_json, from_json

    profile = named(options.name)
    before = as_json(profile.contents())
    after = edited(before, ending=".json")
    if after == before:
        write("Nothing was changed.\n")
        return
    profile.replace(from_json(after))
    write(f"{profile.name} is changed\n")


def remember(options: RememberOptions) -> None:
    """Keep a fact."""
    from amulet_local.profile.feedback import Fact

    check_text("TEXT", options.text)
    profile = named(options.name)
    number = profile.add(Fact(at=time.time(), origin="command line", text=options.text))
    write(f"remembered as f{number}\n")


def learn(options: ProfileLearnOptions) -> None:
    """Learn from texts: each counts as a thumb, up or down."""
    from amulet_local.cli.loading import loaded
    from amulet_local.cli.profile_sources import liked_texts
    from amulet_local.cli.question import runtime_params
    from amulet_local.profile.listener import Listener, Said, last_question, measuring

    profile = named(options.name)
    profile.check()
    texts = liked_texts(options.liked, options.form, options.last)
    with loaded(chosen_model(options.model), runtime_params(options)) as engine:
        listener = Listener(
            profile,
            measuring(engine.log_ratios),
            model=engine.model.path.name,
            origin=options.liked,
        )
        for text in texts:
            if isinstance(text.answer, str):
                said = Said(text=text.answer, finished=text.finished is not False)
            else:
                spelled = engine.model.vocabulary.text(text.answer)
                said = Said(text=spelled, token_ids=text.answer, finished=bool(text.finished))
            listener.rated(last_question(text.messages), said, good=text.liked)
    mix = ", ".join(item.label for item in listener.taste().mix)
    write(f"{len(texts)} texts are learned from; answers follow {mix or 'nothing yet'}\n")


def forget(options: ForgetOptions) -> None:
    """Delete entries for good."""
    profile = named(options.name)
    if options.text is not None:
        check_text("--text", options.text)
        n = profile.forget_text(options.text)
    else:
        n = profile.forget(options.items or ())
    write(f"{n} {'entry is' if n == 1 else 'entries are'} deleted for good\n")


def reset(options: ProfileOptions) -> None:
    """Forget everything for good, and keep the preferences that it is about."""
    profile = named(options.name)
    profile.reset()
    write(f"{profile.name} is as new\n")


def delete(options: ProfileOptions) -> None:
    """Delete a profile."""
    profile = named(options.name)
    profile.delete()
    write(f"{profile.name} is deleted\n")


def named(name: str) -> Profile:
    """The profile of this name, there or not.

    Raises:
        InvalidParameterError: a profile can't be called so.
    """
    from amulet_local.profile.profile import Profile

    check_text("NAME", name or "")
    return Profile(name or "")


def add_to(app: typer.Typer) -> None:
    """Add the command and those below it."""
    group = add_group(
        app, ProfileListOptions, list_all, name="profile", help=HELP, examples=EXAMPLES
    )

    def add(
        options: type[Any],
        run: Callable[[Any], None],
        name: str,
        help: str,
        examples: str,
        check: Callable[[Any], None] | None = None,
    ) -> None:
        add_command(
            group,
            options,
            run,
            check=check,
            name=name,
            short_help=help.split("\n")[0],
            help=help,
            examples=f"amulet-local profile {examples}",
            environment=False,
            models=the_model if options is ProfileLearnOptions else None,
        )

    add(ProfileListOptions, list_all, "list", "List your profiles.", "list")
    add(
        CreateOptions,
        create,
        "create",
        "Make a profile in which nothing is learned yet.",
        'create me\namulet-local profile create work --preference formal --preference "with an '
        'example"',
    )
    add(
        ProfileShowOptions,
        show,
        "show",
        "What was learned, from what, how sure that is, and what changed last.",
        "show me",
    )
    add(ProfileOptions, history, "history", "Everything that was said, with numbers.", "history me")
    add(ProfileOptions, export, "export", "All of it as JSON.", "export me > me.json")
    add(
        ProfileOptions,
        edit,
        "edit",
        "Change it in your editor.\n\nWhat `export` prints is opened in $VISUAL or $EDITOR; what "
        "was learned follows from the rest, so changes of that have no effect.",
        "edit me",
    )
    add(
        ProfileImportOptions,
        import_file,
        "import",
        "Make a profile of a file that `export` wrote.",
        "import me me.json",
    )
    add(
        RememberOptions,
        remember,
        "remember",
        "Keep a fact about you.\n\nIt is put into the preference's prompt, and not into the plain "
        "one, for questions that share a telling word with it, or are about a meal, pets or kids "
        "as it is.",
        'remember me "I am a vegetarian, and I cook every evening."',
        require_text,
    )
    add(
        ProfileLearnOptions,
        learn,
        "learn",
        "Learn from texts that you like, or don't: each counts as a thumb.\n\nThe file is that of "
        "`amulet-local learn`. A text is kept once it is learned from, so that a run which is "
        "interrupted has learned from the first ones.",
        "learn me liked.jsonl -m model.gguf\n"
        'amulet-local profile learn me "$(llm logs path)" --from llm',
    )
    add(
        ForgetOptions,
        forget,
        "forget",
        "Delete entries for good: no byte of them stays in the file.\n\nWhat was learned from them "
        "is unlearned. Chats that are kept are files of their own.",
        'forget me p3 e1\namulet-local profile forget me --text "the surprise party"',
        require_something,
    )
    add(ProfileOptions, reset, "reset", "Forget everything for good.", "reset me")
    add(ProfileOptions, delete, "delete", "Delete a profile.", "delete me")
