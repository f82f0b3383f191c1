"""Names of the package: private ones are their owner's alone, and each class has its own."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.test_layers import MODULES

PUBLIC = {"_exit", "_replace"}
"""Of the module os and of named tuples: documented for everybody, in spite of the underscore."""

TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def is_owner(value: ast.expr) -> bool:
    """Whether it is `self`, `cls` or `super()`."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def trespasses(tree: ast.AST) -> Iterator[str]:
    """Private names of other objects, and of this package's other modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_owner(node.value):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("amulet_local"):
            yield from (item.name for item in node.names if is_private(item.name))


def test_trespasses_are_found() -> None:
    lines = (
        *("from amulet_local.a import _b, c", "self._d = other._e", "c._f()"),
        *("self.g._h", "type(self)._i", "other.__dict__"),
    )
    found = list(trespasses(ast.parse("\n".join(lines))))
    assert sorted(found) == ["_b", "c._f", "other._e", "self.g._h", "type(self)._i"]


def test_nobody_reaches_into_the_private_names_of_another() -> None:
    found = {module: list(trespasses(tree)) for module, tree in TREES.items()}
    assert {module: names for module, names in found.items() if names} == {}


def test_no_two_classes_have_the_same_name() -> None:
    """Nor one that differs in the underscore only."""
    places = defaultdict(list)
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
