"""Fields of another class of pydantic's that are options of a class in params.

They have the type and no limits: None is not given, and limits are checked once, where the option
is a field. Knows no particular option.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Field

from amulet_local.params.base import StrictParams


def derived_fields(
    params: type[StrictParams],
    names: Iterable[str],
    *,
    types: Mapping[str, Any] | None = None,
    descriptions: bool = False,
) -> dict[str, Any]:
    """Fields for pydantic's `create_model`.

    Args:
        params: the class that has the options.
        names: of options of it.
        types: other types than the class has, by name.
        descriptions: whether they are described as in the plugin for `llm`.
    """
    by_name = {field.alias or name: field for name, field in params.model_fields.items()}
    found: dict[str, Any] = {}
    for name in names:
        type_ = (types or {}).get(name) or plain_type(by_name[name].annotation)
        text = params.options[name].plugin if descriptions else None
        found[name] = (type_ | None, Field(default=None, description=text))
    return found


def plain_type(annotation: Any) -> Any:
    """A type without pydantic's limits, at any depth of it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return plain_type(parts[0])
    if origin in (Union, UnionType):
        return Union[tuple(map(plain_type, parts))]  # noqa: UP007
    if origin is tuple:
        return tuple[tuple(part if part is ... else plain_type(part) for part in parts)]  # type: ignore[misc]
    return annotation
