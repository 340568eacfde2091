"""What the source of a cell says about the way of data: names, and the constructs that nobody can follow.

Enters: the source that IPython made of a cell. Leaves: `CellFacts`.
Never: runs anything, or takes a construct for harmless because it is not known: a magic that is not on the list of
harmless ones counts as one that can read everything.
Spec: docs/explanation/label-flow.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeGuard

from qnb.core.flow.constructs import (
    CODE_MAGICS,
    DYNAMIC,
    HARMLESS_MAGICS,
    HIDING,
    HIDING_MODULES,
    HIDING_PLACES,
    LIBRARIES,
    MAGIC_CALLS,
    PROCESSES,
    QUERIES,
    READ_ALL,
    READ_ALL_ATTRIBUTES,
    READ_ALL_IMPORTS,
    SEEDS,
    SHELL_CALLS,
)
from qnb.core.flow.names import imported_name, names_of, root_of, targets_of

_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class CellFacts:
    """What is known of a cell before it runs.

    Attributes:
        reads: global names loaded before the cell binds them for sure; words of magics and queries among them.
        binds: global names that it may bind or delete.
        stores: names at the root of what it stores into.
        literal: those of them into which it stores only what is spelled out, whatever the data is.
        plain: names that it binds by imports and plain definitions at its top level: code, no data.
        released: names that it hands to `qnb.declassify`, or binds to what that gives back.
        modules: full names of the modules that it imports.
        dynamic: roots of what `getattr` and its like are used on with a name made up at run time; "" where it is no
            name.
        opaque: constructs that can read every variable, as they are spelled.
        hiding: constructs that can carry what it computes past every variable, as they are spelled.
        processes: whether it starts programs.
        stars: whether it imports `*`.
        parsed: False when it is no Python, and then nothing of it runs.
    """

    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    literal: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    dynamic: frozenset[str] = frozenset()
    opaque: tuple[str, ...] = ()
    hiding: tuple[str, ...] = ()
    processes: bool = False
    stars: bool = False
    parsed: bool = True


@lru_cache(maxsize=256)  # a cell is run again and again
def cell_facts(source: str, flags: int = 0) -> CellFacts:
    """Read the source of a cell, as IPython's transformers left it.

    Args:
        source: Python.
        flags: of the compiler, for what `from __future__` earlier cells imported.
    """
    try:
        tree = compile(source, "<cell>", "exec", flags | ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return CellFacts(parsed=False)
    if not isinstance(tree, ast.Module):
        return CellFacts(parsed=False)
    names = names_of(tree.body)
    scan = _Scan()
    scan.visit(tree)
    return CellFacts(
        reads=frozenset((names.reads | scan.words) - {"get_ipython"}),
        binds=frozenset(names.binds | scan.bodies),
        stores=frozenset(names.stores | scan.stores),
        literal=frozenset(_literal_stores(tree)),
        plain=frozenset(_plain(tree.body)),
        released=frozenset(_released(tree.body)),
        modules=frozenset(scan.modules),
        dynamic=frozenset(scan.dynamic),
        opaque=tuple(sorted(scan.opaque)),
        hiding=scan.hiding(),
        processes=scan.processes,
        stars=scan.stars,
    )


class _Scan(ast.NodeVisitor):
    """Looks for constructs, wherever they stand."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.bodies: set[str] = set()
        self.stores: set[str] = set()
        self.modules: set[str] = set()
        self.dynamic: set[str] = set()
        self.opaque: set[str] = set()
        self.hidden: set[str] = set()
        self.processes = False
        self.submits = False
        self.stars = False
        self.joined = False  # a pool that is left through `with` has done its work

    def hiding(self) -> tuple[str, ...]:
        """The constructs that hide, as they are spelled."""
        return tuple(sorted(self.hidden | ({"submit"} if self.submits and not self.joined else set())))

    def _uses(self, name: str, root: str | None = None) -> None:
        """A name that is called, imported or fetched from a library."""
        self.hidden |= {name} & (HIDING | HIDING_PLACES)
        if root in HIDING_MODULES and root is not None:
            self.hidden.add(root)
        self.processes |= name in PROCESSES or root == "subprocess"
        self.submits |= name == "submit"

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            made = item.context_expr.func if isinstance(item.context_expr, ast.Call) else None
            name = made.id if isinstance(made, ast.Name) else made.attr if isinstance(made, ast.Attribute) else ""
            self.joined |= name.endswith(("Executor", "Pool"))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in READ_ALL | {"get_ipython"}:
            self.opaque.add(node.id)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.hidden |= {node.name} & {"__del__"}
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        root = root_of(node)
        if root in LIBRARIES or node.attr in HIDING_PLACES:
            self._uses(node.attr, root)
        if node.attr in READ_ALL_ATTRIBUTES:
            self.opaque.add(node.attr)
        elif node.attr == "__dict__" or (node.attr == "modules" and root is not None):
            self.dynamic.add(root or "")  # of a module, that is every variable
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imports(alias.name)
            self.modules.add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module is not None:
            self._imports(node.module)
            self.modules.add(node.module)
        for alias in node.names:
            self.stars |= alias.name == "*"
            if alias.name in READ_ALL_ATTRIBUTES | READ_ALL or (node.module, alias.name) == ("sys", "modules"):
                self.opaque.add(alias.name)
            elif node.module is not None:
                self.modules.add(f"{node.module}.{alias.name}")

    def _imports(self, name: str) -> None:
        if name.partition(".")[0] in READ_ALL_IMPORTS:
            self.opaque.add(name)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if _of_ipython(called) and isinstance(called, ast.Attribute):
            self._ipython(called.attr, node.args)
            return
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        spelled = all(_is_literal(given) for given in (*node.args, *(keyword.value for keyword in node.keywords)))
        if not (name in SEEDS and spelled):
            self._uses(name, root_of(called))
        if name in ("locals", "vars") and not node.args:
            self.opaque.add(name)
        elif name in DYNAMIC:
            self._reflection(name, node.args)
        elif name in ("import_module", "reload"):
            self._import_call(name, node.args)
        elif isinstance(called, ast.Attribute) and name in QUERIES:
            self._query(name, node)
        if name in SEEDS:
            return  # nothing to look for in what it is called with that is not looked at as a name
        self.generic_visit(node)

    def _import_call(self, name: str, arguments: list[ast.expr]) -> None:
        constant = arguments[0].value if arguments and isinstance(arguments[0], ast.Constant) else None
        if isinstance(constant, str):
            self._imports(constant)
            self.modules.add(constant)
        elif name == "import_module":
            self.opaque.add(name)

    def _reflection(self, name: str, arguments: list[ast.expr]) -> None:
        """`getattr(x, n)`: as good as `x.y` while `n` is spelled out, or `x` is a value and no module."""
        asked = [argument.value if isinstance(argument, ast.Constant) else None for argument in arguments]
        for value in asked:
            if isinstance(value, str):
                self._uses(value)
        if name in ("attrgetter", "methodcaller"):
            spelled = all(isinstance(value, str) for value in asked[:1])
            if not spelled or any(part in READ_ALL_ATTRIBUTES | {"modules"} for part in str(asked[0]).split(".")):
                self.opaque.add(name)
            return
        root = root_of(arguments[0]) if arguments else None
        if name in ("setattr", "delattr") and root is not None:
            self.stores.add(root)
        if len(asked) > 1 and isinstance(asked[1], str):
            if asked[1] in READ_ALL_ATTRIBUTES | READ_ALL:
                self.opaque.add(asked[1])
            elif asked[1] == "modules":
                self.dynamic.add(root or "")
            return
        self.dynamic.add(root or "")

    def _query(self, name: str, node: ast.Call) -> None:
        """`df.query("a > @x")` reads variables by name."""
        texts = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
        for text in texts:
            if isinstance(text, str):
                self.words |= set(_WORD.findall(text))
            else:
                self.opaque.add(name)

    def _ipython(self, name: str, arguments: list[ast.expr]) -> None:
        """What IPython makes of `%magic`, `%%magic` and `!command`; variables in their text are read by name."""
        texts = [argument.value if isinstance(argument, ast.Constant) else None for argument in arguments]
        spelled = [text for text in texts if isinstance(text, str)]
        if len(spelled) != len(texts):
            self.opaque.add(name)
        if name in SHELL_CALLS:
            self._uses("system")
            self.words |= {word for text in spelled for word in _WORD.findall(text)}
            return
        if name not in MAGIC_CALLS:
            self.opaque.add(f"get_ipython().{name}")
            return
        magic = spelled[0].lstrip("%") if spelled else ""
        if magic in ("qnb", "qsecure"):
            return
        if magic not in HARMLESS_MAGICS:
            self.opaque.add(f"%{magic}")
        for text in spelled[1:]:
            words = set(_WORD.findall(text))
            body = cell_facts(text)  # `%time x = …` and `%%time`: code again
            self.words |= body.reads if body.parsed and magic in CODE_MAGICS else words
            self.bodies |= body.binds if body.parsed else words
            self.stores |= body.stores
            self.opaque |= set(body.opaque)
            self.hidden |= set(body.hiding)
            self.processes |= body.processes
            self.dynamic |= body.dynamic
            self.modules |= body.modules
            if not body.parsed:
                self.opaque |= words & (READ_ALL | READ_ALL_ATTRIBUTES)
                self.hidden |= words & HIDING


def _of_ipython(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Call)
        and isinstance(called.value.func, ast.Name)
        and called.value.func.id == "get_ipython"
    )


def _plain(body: list[ast.stmt]) -> set[str]:
    """Names that the top level binds to code, whatever the data is, and that nothing else in the cell binds."""
    plain: set[str] = set()
    others: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            plain |= {imported_name(alias) for alias in node.names}
        elif _is_plain_function(node) or _is_plain_class(node):
            plain.add(node.name)
            others += [part for part in node.body if any(isinstance(inner, ast.Global) for inner in ast.walk(part))]
        else:
            others.append(node)
    declared = {
        name for node in others for part in ast.walk(node) if isinstance(part, ast.Global) for name in part.names
    }
    return plain - names_of(others).binds - declared


def _is_plain_function(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    defaults = [*node.args.defaults, *(value for value in node.args.kw_defaults if value is not None)]
    return not node.decorator_list and all(isinstance(value, ast.Constant) for value in defaults)


def _is_plain_class(node: ast.stmt) -> TypeGuard[ast.ClassDef]:
    if not isinstance(node, ast.ClassDef) or node.decorator_list or node.keywords:
        return False
    for part in node.body:
        plain = (
            _is_plain_function(part)
            or isinstance(part, ast.Pass)
            or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            or (isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant))
        )
        if not plain:
            return False
    return True


def _literal_stores(tree: ast.Module) -> set[str]:
    """Roots that are only stored into at the top level, and only literals: `plt.rcParams["figure.dpi"] = 150`."""
    literal: set[str] = set()
    other: set[str] = set()
    plain = {id(node): node for node in tree.body if isinstance(node, ast.Assign) and _is_literal(node.value)}
    spelled = {id(target) for node in plain.values() for target in node.targets if _is_spelled(target)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            (literal if id(node) in spelled else other).add(root_of(node) or "")
    return literal - other


def _is_literal(node: ast.expr) -> bool:
    allowed = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.UnaryOp, ast.unaryop, ast.expr_context)
    return all(isinstance(part, allowed) for part in ast.walk(node))


def _is_spelled(target: ast.expr) -> bool:
    while isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Subscript) and not _is_literal(target.slice):
            return False
        target = target.value
    return isinstance(target, ast.Name)


def _released(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        call = node.value if isinstance(node, ast.Assign | ast.Expr) else None
        called = call.func if isinstance(call, ast.Call) else None
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name == "declassify" and isinstance(call, ast.Call):
            yield from (given.id for given in call.args[:1] if isinstance(given, ast.Name))
            for target in node.targets if isinstance(node, ast.Assign) else ():
                yield from (single.id for single in targets_of(target) if isinstance(single, ast.Name))
