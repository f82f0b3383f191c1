"""Makes a typer command out of a dataclass of options and a function that takes one.

Knows nothing about particular options but how those that exclude each other and those from the
environment get along. Help is plain text in sections: it needs no rich, so that it comes at once,
on any terminal.
"""

from __future__ import annotations

import difflib
import inspect
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from amulet_local.cli.derived_options import gathered, group_of, parameters_of, variables_of
from amulet_local.cli.flags import environment_variable, json_option
from amulet_local.cli.inputs import is_model
from amulet_local.cli.meant import MEANT, NEEDLESS, SAME, typography
from amulet_local.cli.options import EXCLUSIVE, SOURCES, TOGETHER
from amulet_local.cli.reporting import reporting
from amulet_local.cli.supervised import Uses, needs_child, run_in_child
from amulet_local.cli.terminal import note
from amulet_local.params.option import PANELS

Options = TypeVar("Options")

WHOLE_VARIABLE = {"variable": "whole"}
"""Metadata of a field with a list whose variable of the environment is one text."""

ENVIRONMENT_NOTE = """\
Every flag can be set by an environment variable as well, AMULET_ and its long
name: AMULET_CTX_SIZE=4096 is --ctx-size 4096. The command line comes first."""

_NO_WISH = "; -p is --prompt, and what an answer should be like is --preference TEXT"
_TAKE_WORDS = frozenset(
    ("--preference", "--avoid", "--system", "--stop", "--reverse-prompt", "-r", "--response-prefix")
)
"""Flags whose value may have been meant to be several words."""


class HelpCommand(TyperCommand):
    """A command whose help has sections, and an epilog that is left as it is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read a command line; the words of a question, or a preference's, are put together.

        Raises:
            typer.BadParameter: words are left over that are no such question.
        """
        ctx.allow_extra_args = True
        try:
            rest: list[str] = super().parse_args(ctx, self._with_known_flags(ctx, args))
        except typer.BadParameter as error:
            if error.param is not None and _is_from_environment(ctx, error.param.name):
                error.param_hint = repr(error.param.envvar)
            raise
        if ctx.resilient_parsing:
            return rest
        self._take_model(ctx)
        text = next((name for name in ("prompt", "text") if self._is_words(ctx, name)), None)
        if text == "prompt" and _takes_model(ctx, ctx.params[text]):
            ctx.params[text] = rest.pop(0) if rest else None
            if ctx.params[text] is None:
                _set_source(ctx, text, "DEFAULT")
        elif text is None and len(rest) == 1 and _takes_model(ctx, rest[0]):
            return []
        if rest and text is not None:
            words = [ctx.params[text], *rest]
            if not _is_one_question(words, args):
                question = shlex.quote(" ".join(words))
                hint = "; so are words of a preference" if ctx.params.get("preference") else ""
                ctx.fail(f"a question of several words is in quotes: {question:.200}{hint}")
            ctx.params[text] = " ".join(words)
            return []
        if rest:
            hint = "; a model is named with -m" if "model" in ctx.params else ""
            ctx.fail(f"more than there is a place for: {shlex.join(rest):.200}{hint}")
        return rest

    def _take_model(self, ctx: Any) -> None:
        """Take the first of several questions or files as the model if it is one.

        Raises:
            typer.BadParameter: it is all that there is, and something else is needed.
        """
        for param in self.params:
            words = ctx.params.get(param.name)
            if param.param_type_name != "argument" or param.nargs != -1 or not words:
                continue
            if _takes_model(ctx, words[0]):
                if param.required and not words[1:]:
                    ctx.fail(f"{words[0]!r:.80} is a model; {param.metavar} is missing")
                ctx.params[param.name] = words[1:] or None

    def _is_words(self, ctx: Any, name: str) -> bool:
        """Whether a text without quotes may stand in the place `name`, and something does."""
        last = [param.name for param in self.params if param.param_type_name == "argument"][-1:]
        return last == [name] and ctx.params.get(name) is not None

    def _with_known_flags(self, ctx: Any, args: list[str]) -> list[str]:
        """The command line with hyphens for underscores in flags; others' words for ours are
        answered with ours.

        Raises:
            typer.BadParameter: there is such a word.
        """
        known = {flag for param in self.params for flag in param.opts}
        if wrong := typography(args, known):
            ctx.fail(wrong)
        found = []
        for place, word in enumerate(args):
            flag, equals, value = word.partition("=")
            ours = flag.replace("_", "-")
            named = value or "".join(args[place + 1 : place + 2])
            if flag == "--mix" and "--preference" in known and ":" in named:
                ctx.fail(f"weights go with a preference: --preference {shlex.quote(named):.80}")
            if flag not in known and ours in known:
                word = f"{ours}{equals}{value}"
            elif flag not in known and MEANT.get(ours, "").split(" ")[0] in known:
                ctx.fail(f"there is no {flag}; it is {MEANT[ours]}")
            elif flag not in known and ours in NEEDLESS and "--preference" in known:
                ctx.fail(f"there is no {flag}: {NEEDLESS[ours]}")
            found.append(word)
        return found

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options under the headings of their panels."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if param.param_type_name == "argument":  # the same in every version of typer
                record = (param.metavar or "", getattr(param, "help", None) or "")
            if record is not None:
                heading = getattr(param, "rich_help_panel", None) or "Output"
                sections.setdefault(heading, []).append(record)
        for heading in sorted(sections, key=_place):
            records = sections[heading]
            with formatter.section(heading):
                formatter.write_dl(records, col_max=28)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the epilog."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")


class HelpGroup(TyperGroup):
    """A group of commands whose help ends in examples."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that the arguments begin with, and the other arguments."""
        text = args[0]
        if text not in self.commands:
            text = next((name for name in SAME.get(text, ()) if name in self.commands), text)
            args = [text, *args[1:]]
        if text not in self.commands and not text.startswith("-"):
            close = difflib.get_close_matches(text.lower(), self.commands, n=1)
            path = ctx.command_path
            hint = f"did you mean {close[0]!r}?" if close else f"`{path} --help` lists them"
            if not close and "show" in self.commands:
                hint = f"`{path} show {shlex.quote(text):.60}` shows one, {hint}"
            note(f"Error: {path} has no command {text!r:.60}; {hint}")
            raise typer.Exit(2)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the epilog as it is."""
        formatter.write(f"\n{self.epilog}\n")


def _takes_model(ctx: Any, word: str) -> bool:
    """Whether a word is the model that no -m names, as in other programs' commands; it is taken."""
    param = next((param for param in ctx.command.params if param.name == "model"), None)
    if param is None or _is_typed(ctx, "model") or not is_model(word):
        return False
    ctx.params["model"] = [word] if param.multiple else word
    _set_source(ctx, "model", "COMMANDLINE")
    return True


def _is_one_question(words: list[str], args: list[str]) -> bool:
    """Whether `words` follow one another in a command line without quotes, none of them perhaps the
    end of a text that an option before them has."""
    start = next((i for i in range(len(args)) if args[i : i + len(words)] == words), None)
    if start is None or any(len(word.split()) != 1 for word in words):
        return False
    before = [word.partition("=")[0] for word in args[max(0, start - 2) : start]]
    return not _TAKE_WORDS.intersection(before)


def _place(heading: str) -> int:
    return PANELS.index(heading) if heading in PANELS else -1


def add_command(
    app: typer.Typer,
    options_type: type[Options],
    run: Callable[[Options], None],
    *,
    check: Callable[[Options], None] | None = None,
    name: str,
    help: str,
    examples: str,
    short_help: str | None = None,
    environment: bool = True,
    cls: type[HelpCommand] = HelpCommand,
    models: Callable[[Options], Uses] | None = None,
    goes_on: bool = False,
) -> None:
    """Add the command `name`, which calls `run` with an instance of `options_type`.

    Args:
        options_type: a frozen dataclass; its annotations carry typer's Option and Argument.
        check: raises typer's usage errors.
        name, help, examples: what it is called, what its help says, and lines of shell for the end.
        short_help: what the help of the group above says, if it isn't app.py's.
        environment: whether its flags can be set by environment variables.
        cls: what reads its command line.
        models: the models that it runs, and what for; all of it is done in a child where one isn't
            approved.
        goes_on: whether it is started again where llama.cpp ends such a child.
    """

    def callback(ctx: typer.Context, **values: Any) -> None:
        variables = _variables(options_type)
        given = _settle(ctx, values, variables)
        options = options_type(**_arguments(options_type, given, _sources(ctx, given)))
        if check is not None:
            check(options)
        used = _variables_used(ctx, given, variables)
        with reporting(verbose=bool(given.get("verbose")), variables=used):
            if models is not None and needs_child(models(options), given.get("isolate")):
                code = run_in_child(goes_on=goes_on)
                if code is not None:
                    raise SystemExit(code)
            run(options)

    parameters = [inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters[0] = parameters[0].replace(annotation=typer.Context)
    parameters += [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=type_)
        for key, (type_, default) in _parameters(options_type).items()
    ]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {item.name: item.annotation for item in parameters}
    if environment:
        callback.whole_variables = _variables(options_type)  # type: ignore[attr-defined]
    app.command(
        name,
        cls=cls,
        help=help,
        short_help=short_help,
        epilog=examples_epilog(examples) + (f"\n\n{ENVIRONMENT_NOTE}" if environment else ""),
    )(callback)


def add_group(
    app: typer.Typer,
    options_type: Callable[..., Options],
    run: Callable[[Options], None],
    *,
    name: str,
    help: str,
    examples: str,
) -> typer.Typer:
    """Add a group of commands that lists what there is where it stands by itself.

    Args:
        options_type, run: what lists, as for `add_command`; its one option is `json`.

    Returns:
        The group, to add commands to.
    """
    group = typer.Typer(
        cls=HelpGroup,
        help=help,
        epilog=examples_epilog(examples),
        invoke_without_command=True,
        rich_markup_mode=None,
    )

    @group.callback()
    def listed(
        context: typer.Context,
        json: Annotated[bool, json_option("The list as one JSON object.")] = False,
    ) -> None:
        if context.invoked_subcommand is None:
            with reporting():
                run(options_type(json=json))

    app.add_typer(group, name=name)
    return group


def examples_epilog(examples: str) -> str:
    """Lines of shell as the end of a help."""
    return "Examples:\n" + "\n".join("  " + line for line in examples.strip().splitlines())


def _parameters(options_type: type[Any]) -> dict[str, tuple[Any, Any]]:
    """The command's parameters: the annotation that typer reads, and the default."""
    hints = get_type_hints(options_type, include_extras=True)
    found: dict[str, tuple[Any, Any]] = {}
    for field in fields(options_type):
        group = group_of(field)
        if field.metadata == SOURCES:
            continue
        if group is not None:
            found |= parameters_of(group)
        else:
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            found[field.name] = (hints[field.name], default)
    return found


def _variables(options_type: type[Any]) -> dict[str, str]:
    """Variables that are one text each, by parameter: typer would split them at spaces."""
    found = {"preference": "AMULET_PREFERENCE", "avoid": "AMULET_AVOID"}
    for field in fields(options_type):
        if field.metadata == WHOLE_VARIABLE:
            found[field.name] = environment_variable(f"--{field.name}")
        found |= variables_of(group_of(field) or {})
    return found


def _arguments(
    options_type: type[Any], values: Mapping[str, Any], sources: Mapping[str, str]
) -> dict[str, Any]:
    """The values as the dataclass takes them."""
    found: dict[str, Any] = {}
    for field in fields(options_type):
        group = group_of(field)
        if field.metadata == SOURCES:
            found[field.name] = sources
        else:
            found[field.name] = values[field.name] if group is None else gathered(group, values)
    return found


def _sources(ctx: typer.Context, values: Mapping[str, Any]) -> dict[str, str]:
    """Where each value that isn't a default came from: "flag" or "environment"."""
    found = {}
    for name, value in values.items():
        if _is_typed(ctx, name):
            found[name.removesuffix("_file")] = "flag"
        elif _is_given(value) and not _is_default(ctx, name, value):
            found[name.removesuffix("_file")] = "environment"
    return found


def _variables_used(
    ctx: typer.Context, values: Mapping[str, Any], variables: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The flags of options that the environment has set, by the variables that did.

    Args:
        variables: as for `_settle`.
    """
    found = {}
    for param in ctx.command.params:
        name = param.name or ""
        variable = variables.get(name)
        is_read = variable is not None and not _is_typed(ctx, name) and _is_given(values.get(name))
        if is_read or _is_from_environment(ctx, name):
            found[variable or str(param.envvar)] = tuple(param.opts)
    return found


def _settle(
    ctx: typer.Context, values: dict[str, Any], variables: Mapping[str, str]
) -> dict[str, Any]:
    """The values, less those of the environment that the command line excludes.

    Args:
        variables: of the environment that are one text each, by parameter.

    Raises:
        typer.BadParameter: two that exclude each other come from the same place.
    """
    values = dict(values)
    for name, variable in variables.items():
        if name in values and not values[name]:
            text = os.environ.get(variable)
            values[name] = [text] if text else None
    for together in TOGETHER:
        if any(_is_typed(ctx, name) for name in together):
            values |= {name: None for name in together if not _is_typed(ctx, name)}
    for group in EXCLUSIVE:
        given = [names for names in group if any(_is_given(values.get(n)) for n in names)]
        typed = [names for names in given if any(_is_typed(ctx, name) for name in names)]
        if typed:
            for name in {n for names in given if names not in typed for n in names}:
                values[name] = None
        if len(typed or given) > 1:
            chosen = [
                tuple(name for name in names if _is_given(values.get(name)))
                for names in typed or given
            ]
            wished = _is_given(values.get("preference"))
            hint = "" if wished or ("prompt_option",) not in chosen else _NO_WISH
            raise typer.BadParameter(f"give only one of {_flags(ctx, chosen)}{hint}")
    return values


def _is_given(value: Any) -> bool:
    return value is not None and value != []


def _is_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _set_source(ctx: Any, name: str, source: str) -> None:
    """Say where a value is from: the class of sources is one of click's, or of typer's own."""
    ctx.set_parameter_source(name, type(ctx.get_parameter_source(name))[source])


def _is_from_environment(ctx: typer.Context, name: str | None) -> bool:
    source = ctx.get_parameter_source(name or "")
    return source is not None and source.name == "ENVIRONMENT"


def _is_default(ctx: typer.Context, name: str, value: Any) -> bool:
    """Whether nobody set it; variables that `_settle` reads have the source of a default."""
    source = ctx.get_parameter_source(name)
    if source is None or source.name != "DEFAULT":
        return False
    return any(param.name == name and param.default == value for param in ctx.command.params)


def _flags(ctx: typer.Context, alternatives: Iterable[tuple[str, ...]]) -> str:
    names = {param.name: param for param in ctx.command.params}

    def shown(param: Any) -> str:
        if _is_from_environment(ctx, param.name):
            return str(param.envvar)
        return str(param.opts[-1] if param.opts[-1][0] == "-" else param.metavar or param.name)

    return ", ".join(
        "/".join(shown(names[name]) for name in alternative if name in names)
        for alternative in alternatives
    )
