"""Which global names a piece of a cell's syntax tree reads, binds and stores into.

Enters: nodes of `ast`. Leaves: `Names`. Never: takes a local name for a global one where Python would not, or the other
way round; where it cannot tell (a class body), the name counts as read.
Spec: Python language reference, 4.2 "Naming and binding".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_UNCONDITIONAL = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Import, ast.ImportFrom, *_FUNCTIONS, ast.ClassDef)


@dataclass
class Names:
    """Global names of a piece of code.

    Attributes:
        reads: loaded before the code itself has bound them for sure.
        binds: bound or deleted, perhaps only on some path.
        stores: the names at the root of what is stored into: `x` of `x.y[0] = …`.
    """

    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    stores: set[str] = field(default_factory=set)


def names_of(body: Iterable[ast.stmt]) -> Names:
    """The names of a module's statements, in order."""
    names = Names()
    _block(body, set(), names)
    return names


def root_of(node: ast.expr) -> str | None:
    """`x` of `x`, `x.y`, `x[0].y`; None when something else than a name is at the root."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def targets_of(node: ast.expr) -> Iterator[ast.expr]:
    """The single targets of an assignment's left side."""
    if isinstance(node, ast.Tuple | ast.List):
        for element in node.elts:
            yield from targets_of(element)
    elif isinstance(node, ast.Starred):
        yield from targets_of(node.value)
    else:
        yield node


def _block(body: Iterable[ast.stmt], bound: set[str], names: Names) -> None:
    """Take in statements one after the other; `bound` grows by what is bound on every path."""
    for statement in body:
        _statement(statement, bound, names)


def _statement(node: ast.stmt, bound: set[str], names: Names) -> None:
    if isinstance(node, ast.For | ast.AsyncFor):
        _expression(node.iter, bound, names)
        _expression(node.target, bound, names)
        _block(node.body, bound | _bound_names(node.target), names)
        _block(node.orelse, set(bound), names)
    elif isinstance(node, ast.If | ast.While):
        _expression(node.test, bound, names)
        one, other = set(bound), set(bound)
        _block(node.body, one, names)
        _block(node.orelse, other, names)
        bound |= one & other if isinstance(node, ast.If) else set()
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            _expression(item.context_expr, bound, names)
            if item.optional_vars is not None:
                _expression(item.optional_vars, bound, names)
                bound |= _bound_names(item.optional_vars)
        _block(node.body, set(bound), names)  # the manager may swallow an error in the middle
    elif isinstance(node, ast.Try | ast.TryStar):
        _try(node, bound, names)
    else:
        _expression(node, bound, names)
        if isinstance(node, _UNCONDITIONAL):
            bound |= _bound_by(node)


def _try(node: ast.Try | ast.TryStar, bound: set[str], names: Names) -> None:
    _block(node.body, set(bound), names)
    for handler in node.handlers:
        if handler.type is not None:
            _expression(handler.type, bound, names)
        caught = set(bound)
        if handler.name is not None:
            names.binds.add(handler.name)
            caught.add(handler.name)
        _block(handler.body, caught, names)
    _block(node.orelse, set(bound), names)
    _block(node.finalbody, bound, names)


def _expression(node: ast.AST, bound: set[str], names: Names) -> None:
    found = Names()
    _Scope(found).visit(node)
    names.reads |= found.reads - bound
    names.binds |= found.binds
    names.stores |= found.stores


def _bound_names(target: ast.expr) -> set[str]:
    return {single.id for single in targets_of(target) if isinstance(single, ast.Name)}


def _bound_by(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Assign):
        return set().union(*(_bound_names(target) for target in node.targets))
    if isinstance(node, ast.AnnAssign):
        return set() if node.value is None else _bound_names(node.target)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {imported_name(alias) for alias in node.names}
    return {node.name} if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) else set()


def imported_name(alias: ast.alias) -> str:
    """The name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


class _Scope(ast.NodeVisitor):
    """Collects the names of one scope that are global there; inner scopes are taken out as Python does."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> None:
        (self.names.reads if isinstance(node.ctx, ast.Load) else self.names.binds).add(node.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.names.reads.add(node.target.id)
            self.names.stores.add(node.target.id)  # `x += …` changes a list in place
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._store(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._store(node)

    def _store(self, node: ast.Attribute | ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load) and (root := root_of(node)) is not None:
            self.names.stores.add(root)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.names.binds |= {imported_name(alias) for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.names.binds |= {imported_name(alias) for alias in node.names}

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._capture(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._capture(node, node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._capture(node, node.rest)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._capture(node, node.name)

    def _capture(self, node: ast.AST, name: str | None) -> None:
        if name is not None:
            self.names.binds.add(name)
        self.generic_visit(node)

    # --- inner scopes ------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        around: list[ast.AST] = [*arguments.defaults, *(value for value in arguments.kw_defaults if value is not None)]
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        around += [parameter.annotation for parameter in parameters if parameter.annotation is not None]
        if isinstance(node, ast.Lambda):
            body: list[ast.AST] = [node.body]
        else:
            self.names.binds.add(node.name)
            around += [*node.decorator_list, *([] if node.returns is None else [node.returns])]
            body = list(node.body)
        for part in around:
            self.visit(part)
        inner = _Scope(Names())
        for part in body:
            inner.visit(part)
        declared = _declared_global(body)
        local = {parameter.arg for parameter in parameters} | (inner.names.binds - declared)
        self.names.reads |= inner.names.reads - local
        self.names.binds |= inner.names.binds & declared
        self.names.stores |= inner.names.stores - local

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.binds.add(node.name)
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(part)
        inner = _Scope(Names())
        for statement in node.body:
            inner.visit(statement)
        self.names.reads |= inner.names.reads
        self.names.stores |= inner.names.stores
        self.names.binds |= inner.names.binds & _declared_global(node.body)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        inner = _Scope(Names())
        local: set[str] = set()
        for generator in node.generators:
            inner.visit(generator)
            local |= _bound_names(generator.target)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            inner.visit(part)
        self.names.reads |= inner.names.reads - local
        self.names.binds |= inner.names.binds - local  # `:=` binds outside
        self.names.stores |= inner.names.stores - local


def _declared_global(body: Iterable[ast.AST]) -> set[str]:
    """Names that a function's body declares `global`; of functions inside it, too, which at worst adds one."""
    found = (node for part in body for node in ast.walk(part) if isinstance(node, ast.Global))
    return {name for node in found for name in node.names}
