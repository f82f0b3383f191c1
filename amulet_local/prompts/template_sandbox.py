"""Runs a chat template that nobody vouches for, inside bounds on steps, memory and output.

Knows Jinja and nothing about messages, tokens or models. A template comes out of a model file, so
it is hostile until shown otherwise. Three mechanisms, all in this process and without threads:

- What a template may touch is listed, not what it may not: node types, filters, tests, methods,
  callables. Jinja's immutable sandbox stays underneath.
- Before Jinja compiles the parsed template, every expression that could make or read something
  large is routed through a `Budget`, and every loop and macro body begins with a statement that
  pays for the body. No value grows past a limit, so no single native call runs for long.
- Budgets are counts, not clocks: the same template fails or passes on every machine.

The budget of the render in progress is a context variable, reset at the end: threads don't meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from amulet_local.common.errors import ChatTemplateError
from amulet_local.prompts import template_functions as functions
from amulet_local.prompts.template_budget import Bounded, Budget, runs_away

MAX_SOURCE_CHARS = 65_536
_MAX_MESSAGE_CHARS = 300
_MAX_CALL_DEPTH = 48

_budget: ContextVar[Budget] = ContextVar("amulet_local_template_budget")

_ALLOWED_NODES = frozenset(
    """Template Output TemplateData If For Break Continue Assign AssignBlock NSRef Macro CallBlock
    FilterBlock With Scope Name Const List Dict Pair Keyword Tuple CondExpr Filter Test Call Getattr
    Getitem Slice Concat Compare Operand Not And Or Neg Pos Add Sub Mul Div FloorDiv Mod
    Pow""".split()  # noqa: SIM905
)
_LOOP_ATTRIBUTES = frozenset(
    "index index0 revindex revindex0 first last length depth depth0 previtem nextitem".split()  # noqa: SIM905
)


class CompiledTemplate:
    """A template that was compiled once and may be rendered by any number of threads.

    Args:
        source: the template's text.

    Raises:
        ChatTemplateError: it is too long, doesn't parse, or uses what templates may not use.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE_CHARS:
            raise ChatTemplateError(
                f"the chat template has {len(source)} characters; {MAX_SOURCE_CHARS} are allowed"
            )
        environment = _Environment()
        try:
            tree = environment.parse(source)
            _BudgetInserter().visit(tree)
            self._template = environment.from_string(tree)
        except ChatTemplateError:
            raise
        except TemplateSyntaxError as error:
            raise ChatTemplateError(
                f"the chat template doesn't parse: line {error.lineno}: {one_line(error.message)}"
            ) from None
        except Exception as error:  # RecursionError, ValueError, SyntaxError of generated code
            raise ChatTemplateError(
                f"the chat template can't be compiled: {_describe(error)}"
            ) from None

    def render(self, variables: Mapping[str, Any], *, now: datetime | None = None) -> str:
        """The rendered text.

        Args:
            variables: plain data (str, int, float, bool, None, lists and dicts of these).
            now: what `strftime_now` formats; None is the present.

        Raises:
            ChatTemplateError: the template refuses, fails, tries to escape or runs away.
        """
        budget = Budget(variables, now=now)
        token = _budget.set(budget)
        try:
            pieces: list[str] = []
            for piece in self._template.generate(**variables):
                budget.output(len(piece))
                pieces.append(piece)
            return "".join(pieces)
        except ChatTemplateError:
            raise
        except Exception as error:  # whatever a template provokes is the template's failure
            raise ChatTemplateError(f"the chat template failed: {_describe(error)}") from None
        finally:
            _budget.reset(token)


def one_line(text: str | None) -> str:
    """`text` as one bounded line: control characters escaped, the end cut off."""
    text = text or "no message"
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: _MAX_MESSAGE_CHARS + 1])
    return shown if len(shown) <= _MAX_MESSAGE_CHARS else shown[: _MAX_MESSAGE_CHARS - 1] + "…"


def _describe(error: Exception) -> str:
    if isinstance(error, TemplateError):
        return one_line(error.message)
    return one_line(f"{type(error).__name__}: {str(error)[: _MAX_MESSAGE_CHARS + 1]}")


class _Namespace(Namespace):
    """Jinja's namespace, without the repr that prints its (possibly cyclic) contents."""

    def __repr__(self) -> str:
        return "<Namespace>"


class _GenerationBlock(Extension):
    """`{% generation %}`: marks what a model wrote, for training; here it only groups."""

    tags = {"generation"}  # noqa: RUF012 (Jinja reads it from the class)

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(lineno)


@pass_context
def _finalize(_context: Context, value: Any) -> str:
    """Every printed expression passes here. A context argument keeps Jinja from folding it."""
    budget = _budget.get()
    return budget.made_text(budget.text(value))


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # the optimizer would evaluate constants outside any budget
            finalize=_finalize,
            extensions=[LoopControlExtension, _GenerationBlock],
        )
        current = _budget.get
        self.filters = functions.filters(current)
        self.tests = functions.tests(current)
        self.globals = {
            "range": Bounded(safe_range),
            "namespace": Bounded(_Namespace),
            "dict": Bounded(lambda *args, **kwargs: current().made(dict(*args, **kwargs))),
            "raise_exception": Bounded(_raise_exception),
            "strftime_now": Bounded(lambda format: current().strftime(format)),
        }

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = _budget.get()
        budget.before_binop(operator, left, right)
        return budget.made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(obj, Bounded):
            kwargs.pop("_loop_vars", None)  # Jinja's own, for functions that take a context
            kwargs.pop("_block_vars", None)
            return obj(*args, **kwargs)
        if isinstance(obj, Undefined):
            return obj(*args, **kwargs)  # raises and names what is undefined
        if not isinstance(obj, Macro | LoopContext):
            raise SecurityError(f"a template may not call a {type(obj).__name__}")
        budget = _budget.get()
        budget.depth += 1
        try:
            if budget.depth > _MAX_CALL_DEPTH:
                runs_away(f"calls nested deeper than {_MAX_CALL_DEPTH}")
            return budget.made(super().call(context, obj, *args, **kwargs))
        finally:
            budget.depth -= 1

    def getattr(self, obj: Any, attribute: str) -> Any:
        method = functions.method(_budget.get(), obj, attribute)
        if method is not None:
            return method
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Undefined):
            return super().getattr(obj, attribute)
        if attribute.startswith("_"):
            raise SecurityError(f"access to the attribute {attribute!r} is not allowed")
        if isinstance(obj, Namespace):
            return super().getattr(obj, attribute)
        if isinstance(obj, LoopContext):
            if attribute in _LOOP_ATTRIBUTES:
                return getattr(obj, attribute)
            if attribute == "cycle":
                return Bounded(obj.cycle)
            if attribute == "changed":
                return Bounded(lambda *values: obj.changed(*_budget.get().read(values)))
        if hasattr(type(obj), attribute):
            raise SecurityError(
                f"access to {attribute!r} of a {type(obj).__name__} is not allowed in a template"
            )
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, str | list | tuple | range | Mapping):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        elif isinstance(obj, Undefined):
            return obj[argument]  # raises and names what is undefined
        if isinstance(argument, str):
            return self.getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def handle_exception(self, source: str | None = None) -> NoReturn:
        raise  # the exception being handled; Jinja would rebuild its traceback


def _raise_exception(message: Any = "") -> NoReturn:
    raise TemplateError(_budget.get().text(message))


class _BudgetInserter(NodeTransformer):
    """Rewrites a parsed template so that running it pays for what it does.

    The functions it calls are filters with names that no template can spell.
    """

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        name = type(node).__name__
        if name not in _ALLOWED_NODES:
            raise ChatTemplateError(f"the chat template uses {name!r}, which is not allowed")
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        payment = _payment(node.body)
        condition_payment = _payment([node]) if node.test is not None else None
        self.generic_visit(node)
        node.body.insert(0, payment)
        if condition_payment is not None and node.test is not None:
            node.test = nodes.And(condition_payment.node, node.test)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        payment = _payment(node.body)
        self.generic_visit(node)
        node.body.insert(0, payment)
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        payment = _payment(node.body)
        self.generic_visit(node)
        node.body.insert(0, payment)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter("concat", node.nodes[0], node.nodes[1:])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        if len(node.ops) == 1 and node.ops[0].op not in ("in", "notin"):
            sides = (node.expr, node.ops[0].expr)
            if any(isinstance(side, nodes.Const) for side in sides):
                return node  # costs no more than the constant is long
        node.expr = _filter("read", node.expr)
        for operand in node.ops:
            if not _is_constant(operand.expr):
                operand.expr = _filter("read", operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _filter("slice", node.node, [b or nodes.Const(None) for b in bounds])

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        self.generic_visit(node)
        if node.dyn_args is not None:
            node.dyn_args = _filter("read", node.dyn_args)
        if node.dyn_kwargs is not None:
            node.dyn_kwargs = _filter("read", node.dyn_kwargs)
        return node

    visit_Filter = visit_Test = visit_Call

    def _visit_literal(self, node: nodes.List | nodes.Dict | nodes.Tuple) -> nodes.Node:
        if (isinstance(node, nodes.Tuple) and node.ctx != "load") or _is_constant(node):
            self.generic_visit(node)
            return node  # a constant was paid for with the body it stands in
        self.generic_visit(node)
        return _filter("made", node)

    visit_List = visit_Dict = visit_Tuple = _visit_literal


def _is_constant(node: nodes.Node) -> bool:
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(isinstance(item, nodes.Const) for item in node.items)
    return isinstance(node, nodes.Const)


def _filter(name: str, value: nodes.Expr, args: Iterable[nodes.Expr] = ()) -> nodes.Filter:
    return nodes.Filter(value, functions.HIDDEN + name, list(args), [], None, None)


def _payment(body: list[Any]) -> nodes.ExprStmt:
    """The statement that pays for one run of `body`, without the loops and macros inside."""
    n_nodes, n_chars, stack = 4, 0, list(body)
    while stack:
        node = stack.pop()
        n_nodes += 1
        if isinstance(node, nodes.TemplateData):
            n_chars += len(node.data)
        skipped = ("body",) if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock) else ()
        stack.extend(node.iter_child_nodes(exclude=skipped))
    return nodes.ExprStmt(_filter("step", nodes.Const(n_nodes), [nodes.Const(n_chars)]))
