"""What a chat template may call: methods, filters and tests, each bounded before it acts.

Knows nothing about how a template is compiled (template_sandbox.py does). A function here checks
the size of its result before making it and charges it to the budget of the render in progress, so
that no native call runs long or grows large.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from string import Formatter
from typing import Any

from jinja2 import filters as jinja_filters
from jinja2 import tests as jinja_tests
from jinja2.exceptions import SecurityError
from jinja2.runtime import Undefined
from markupsafe import escape

from amulet_local.prompts.template_budget import (
    MAX_ARGUMENT_CHARS,
    NODE_VOLUME,
    Bounded,
    Budget,
    runs_away,
)

HIDDEN = "!"  # begins the names of filters that only template_sandbox.py can write
_MAX_NUMBER_CHARS = 1000
_MAX_INDENT = 64

# ----------------------------------------------------------------------------------- methods

_PLAIN_METHODS = frozenset(
    """strip lstrip rstrip upper lower title capitalize swapcase casefold startswith endswith find
    rfind index rindex count isalnum isalpha isascii isdecimal isdigit isidentifier islower
    isnumeric isprintable isspace istitle isupper partition rpartition removeprefix
    removesuffix""".split()  # noqa: SIM905
)
_OF_CHARACTERS = frozenset(["strip", "lstrip", "rstrip"])
_LIST_METHODS = frozenset(["index", "count"])


def method(budget: Budget, value: Any, name: str) -> Bounded | None:
    """The method `name` of a text, list or dict; None if templates have no such method."""
    if isinstance(value, str):
        if name in _PLAIN_METHODS:
            return Bounded(lambda *args: _plain(budget, name, value, *args))
        special = _STR_METHODS.get(name)
        if special is not None:
            return Bounded(lambda *args, **kwargs: special(budget, value, *args, **kwargs))
    elif isinstance(value, Mapping):
        if name == "get":
            return Bounded(value.get)
        if name in ("items", "keys", "values"):
            return Bounded(lambda: budget.made(list(getattr(value, name)())))
    elif isinstance(value, list | tuple) and name in _LIST_METHODS:
        return Bounded(lambda *args: getattr(budget.read(value), name)(*budget.read(args)))
    return None


def _plain(budget: Budget, name: str, text: str, *args: Any) -> Any:
    budget.read(text)
    for argument in args:
        budget.read(argument)
        if name in _OF_CHARACTERS and len(argument or "") > MAX_ARGUMENT_CHARS:
            runs_away("characters to strip without end")  # each is looked for at each place
    return budget.made(getattr(text, name)(*args), fresh_text=True)


def _split(budget: Budget, text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    return _bounded_split(budget, text.split, sep, maxsplit)


def _rsplit(budget: Budget, text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    return _bounded_split(budget, text.rsplit, sep, maxsplit)


def _bounded_split(
    budget: Budget, split: Callable[..., list[str]], sep: str | None, maxsplit: int
) -> list[str]:
    limit = budget.max_value_nodes
    parts: list[str] = split(sep, limit if maxsplit < 0 else min(maxsplit, limit))
    return budget.made(parts, fresh_text=True)  # type: ignore[no-any-return]


def _splitlines(budget: Budget, text: str, keepends: bool = False) -> list[str]:
    if len(re.findall("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", budget.read(text))) >= (
        budget.max_value_nodes
    ):
        runs_away("a text with too many lines")
    return budget.made(text.splitlines(keepends), fresh_text=True)  # type: ignore[no-any-return]


def _join_method(budget: Budget, text: str, values: Any) -> str:
    return _join_texts(budget, text, budget.items(values))


def _join_texts(budget: Budget, separator: str, texts: list[str]) -> str:
    budget.fits(sum(map(len, texts)) + len(separator) * len(texts))
    return budget.made_text(separator.join(texts))


def _replace(budget: Budget, text: str, old: str, new: str, count: int = -1) -> str:
    n_found = budget.read(text).count(old)
    n_replaced = n_found if count < 0 else min(n_found, count)
    budget.fits(len(text) + n_replaced * len(new))
    return budget.made_text(text.replace(old, new, count))


def _justify(name: str) -> Callable[..., str]:
    def justify(budget: Budget, text: str, width: int, *args: str) -> str:
        budget.fits(width)
        return budget.made_text(getattr(text, name)(width, *args))

    return justify


def _format(budget: Budget, text: str, *args: Any, **kwargs: Any) -> str:
    budget.read(text)
    n_fields = 0
    for _, field, spec, _ in Formatter().parse(text):
        if field is None:
            continue
        n_fields += 1
        if not re.fullmatch(r"\w*", field) or re.search(r"[{}]|[0-9]{4}", spec or ""):
            raise SecurityError("a format field may only name an argument and a small width")
    n_chars = budget.size(args)[1] + budget.size(kwargs)[1]
    budget.fits(len(text) + n_fields * (1000 + n_chars))
    return budget.made_text(text.format(*args, **kwargs))


_STR_METHODS: dict[str, Callable[..., Any]] = {
    "split": _split,
    "rsplit": _rsplit,
    "splitlines": _splitlines,
    "join": _join_method,
    "replace": _replace,
    "center": _justify("center"),
    "ljust": _justify("ljust"),
    "rjust": _justify("rjust"),
    "zfill": _justify("zfill"),
    "format": _format,
}


# ----------------------------------------------------------------------------------- filters


def _tojson(
    budget: Budget,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As Hugging Face's: no HTML escapes, characters outside ASCII as they are."""
    if (indent if isinstance(indent, int) else len(indent or "")) > _MAX_INDENT:
        runs_away("JSON with a huge indent")
    n_nodes, n_chars = budget.size(budget.read(value))
    budget.fits(n_chars + n_nodes * (2 + len("".join(separators or ""))))
    encoder = json.JSONEncoder(
        ensure_ascii=bool(ensure_ascii), indent=indent, separators=separators, sort_keys=sort_keys
    )
    if indent is None:
        return budget.made_text(encoder.encode(value))
    pieces = []
    for piece in encoder.iterencode(value):  # nested and indented, it may grow quadratically
        budget.made_text(piece)
        pieces.append(piece)
    return "".join(pieces)


def _indent(
    budget: Budget, value: Any, width: int | str = 4, first: bool = False, blank: bool = False
) -> str:
    text = budget.text(value)
    n_indent = len(width) if isinstance(width, str) else width
    if n_indent > MAX_ARGUMENT_CHARS:
        runs_away("a huge indent")
    budget.fits(len(text) + n_indent * (1 + len(_splitlines(budget, text))))
    return budget.made_text(jinja_filters.do_indent(text, width, first, blank))


def _join(budget: Budget, value: Any, d: Any = "", attribute: Any = None) -> str:
    items = budget.items(value)
    if attribute is not None:
        items = [item[attribute] for item in items]
    return _join_texts(budget, budget.text(d), [budget.text(item) for item in items])


def _list(budget: Budget, value: Any) -> list[Any]:
    return budget.made(budget.items(value), fresh_text=True)  # type: ignore[no-any-return]


def _reverse(budget: Budget, value: Any) -> Any:
    if isinstance(value, str):
        return budget.made_text(value[::-1])
    return iter(budget.items(value)[::-1])


def _concat(budget: Budget, *values: Any) -> str:
    return _join_texts(budget, "", [budget.text(value) for value in values])


def _slice(budget: Budget, value: Any, *bounds: Any) -> Any:
    if isinstance(value, Undefined):
        return value[0]  # raises and names what is undefined
    if not isinstance(value, str | list | tuple | range):
        raise TypeError(f"a {type(value).__name__} has no slices")
    part = value[slice(*bounds)]
    if isinstance(part, str):
        return budget.made_text(part)
    budget.step(len(part), 0 if isinstance(part, range) else NODE_VOLUME * len(part))
    return part


def _number(value: Any) -> Any:
    if not isinstance(value, int | float | Undefined):
        raise TypeError(f"a number is needed, not a {type(value).__name__}")
    return value


def _sum(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    items = budget.items(value)
    if attribute is not None:
        items = [item[attribute] for item in items]
    return budget.made(sum((_number(item) for item in items), _number(start)))


def _round(_budget: Budget, value: Any, precision: int = 0, method: Any = "common") -> float:
    if not -20 <= precision <= 20:
        runs_away("a huge precision")
    return jinja_filters.do_round(_number(value), precision, method)


def _short(function: Callable[..., Any]) -> Callable[..., Any]:
    def convert(_budget: Budget, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, str) and len(value) > _MAX_NUMBER_CHARS:
            runs_away("a huge number")
        return function(value, *args, **kwargs)

    return convert


def _on_text(function: Callable[..., str], growth: int = 3) -> Callable[..., str]:
    def apply(budget: Budget, value: Any, *args: Any) -> str:
        text = budget.text(value)
        budget.fits(growth * len(text) if growth > 3 else len(text))
        return budget.made_text(str(function(text, *args)))

    return apply


def _escape(text: str) -> str:
    return str(escape(text))


_FILTERS: dict[str, Callable[..., Any]] = {
    "abs": lambda _budget, value: abs(_number(value)),
    "capitalize": _on_text(str.capitalize),
    "e": _on_text(_escape, growth=6),
    "escape": _on_text(_escape, growth=6),
    "float": _short(jinja_filters.do_float),
    "indent": _indent,
    "int": _short(jinja_filters.do_int),
    "join": _join,
    "list": _list,
    "lower": _on_text(str.lower),
    "replace": lambda budget, value, *args: _replace(budget, budget.text(value), *args),
    "reverse": _reverse,
    "round": _round,
    "safe": _on_text(str),
    "string": _on_text(str),
    "sum": _sum,
    "title": _on_text(jinja_filters.do_title),
    "tojson": _tojson,
    "trim": _on_text(str.strip),
    "upper": _on_text(str.upper),
    HIDDEN + "concat": _concat,
    HIDDEN + "made": Budget.made,
    HIDDEN + "read": Budget.read,
    HIDDEN + "slice": _slice,
    HIDDEN + "step": lambda budget, n_steps, n_chars: budget.step(n_steps, n_chars),
}
_CONSTANT_COST = ("count", "d", "default", "first", "last", "length")
_READING = {  # Jinja's own filter -> how often it reads its input
    "dictsort": 16,
    "items": 1,
    "map": 3,
    "max": 3,
    "min": 3,
    "reject": 3,
    "rejectattr": 3,
    "select": 3,
    "selectattr": 3,
    "sort": 16,
    "unique": 3,
}


def filters(current: Callable[[], Budget]) -> dict[str, Callable[..., Any]]:
    """Every filter a template may use; `current` gives the budget of the render in progress."""

    def bound(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: function(current(), *args, **kwargs)

    table = {name: bound(function) for name, function in _FILTERS.items()}
    for name in _CONSTANT_COST:
        table[name] = jinja_filters.FILTERS[name]
    for name, n_reads in _READING.items():
        table[name] = _reading(current, jinja_filters.FILTERS[name], n_reads)
    return table


def _reading(
    current: Callable[[], Budget], function: Callable[..., Any], n_reads: int
) -> Callable[..., Any]:
    n_leading = 1 if hasattr(function, "jinja_pass_arg") else 0  # context or environment

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget = current()
        value, options = args[n_leading], args[n_leading + 1 :]
        for option in (*options, *kwargs.values()):
            if isinstance(option, str) and len(option) > MAX_ARGUMENT_CHARS:
                runs_away("a filter with a huge argument")
        if isinstance(value, Iterator):
            value = budget.items(value)
        n_nodes, n_chars = budget.size(value)
        budget.step(n_reads * (n_nodes + (n_chars >> 5)))
        result = function(*args[:n_leading], value, *options, **kwargs)
        if isinstance(result, Iterator):
            return iter(budget.made(budget.items(result)))
        return budget.made(result)

    return bounded


def tests(current: Callable[[], Budget]) -> dict[str, Any]:
    """Every test a template may use; those that compare pay for both sides."""

    def comparing(function: Any) -> Callable[..., bool]:
        @wraps(function)
        def compare(*values: Any) -> bool:
            for value in values:
                current().read(value)
            return bool(function(*values))

        return compare

    def numeric(function: Any) -> Callable[..., bool]:
        return lambda *values: bool(function(*map(_number, values)))

    table: dict[str, Any] = dict(jinja_tests.TESTS)
    for name in ("in", "lower", "upper", "==", "eq", "equalto", "!=", "ne", ">", "gt", "ge", ">="):
        table[name] = comparing(table[name])
    for name in ("greaterthan", "<", "lt", "lessthan", "<=", "le"):
        table[name] = comparing(table[name])
    for name in ("odd", "even", "divisibleby"):
        table[name] = numeric(table[name])
    return table
