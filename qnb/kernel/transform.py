"""The way of the `%%qsecure` line through IPython: out of the source, past the parser, out of the tree.

Enters: the lines and the syntax tree of whatever IPython is about to run. Leaves: the same without the directive, or
`Refusal`, before anything of it runs.
Never: opens, runs or changes anything: IPython transforms a cell several times, and also to ask whether it is complete.

The line counts only as the first line of the outermost raw cell. There a marker takes its place, a string literal that
keeps line numbers and `from __future__` imports where they were; the tree's check takes the marker out, and refuses
when no cell was opened with it. Everywhere else the line stays, and IPython makes a call of our cell magic of it, which
the tree's check refuses as well; when it cannot see it, the magic itself does.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from IPython.core.error import InputRejected
from IPython.core.inputtransformer2 import cell_magic, leading_indent

from qnb.core.directive import directive_line, parse_directive
from qnb.errors import ConfigError, PolicyError, QnbError
from qnb.kernel.cell import Cell

_MAGICS = ("run_cell_magic", "run_line_magic")


@dataclass(eq=False, slots=True)
class Run:
    """One outermost run of a cell, from `pre_run_cell` to `post_run_cell`.

    Attributes:
        info: IPython's ExecutionInfo; its identity tells this run from nested ones.
        cell: what the session opened for it.
        marker: the directive line that it was opened with, None without one.
        checked: whether its own tree has been checked; later ones belong to what it runs.
    """

    info: Any
    cell: Cell
    marker: str | None
    checked: bool = False


class Refusal(InputRejected):
    """A cell of which nothing runs; shows like the error that speaks against it."""

    def __init__(self, error: QnbError) -> None:
        super().__init__(str(error))
        self.error = error

    def _render_traceback_(self) -> list[str]:
        return self.error._render_traceback_()


def refusal(error: QnbError) -> Refusal:
    """The refusal for an error, under the error's own name: front ends show the class."""
    kind: type[Refusal] = type(type(error).__name__, (Refusal,), {})
    return kind(error)


def misplaced() -> QnbError:
    """The error for a `%%qsecure` that is not where it counts."""
    return ConfigError(
        "qsecure-not-first",
        "`%%qsecure` must be the first line of the cell",
        "put it above everything else; other cell magics may follow on the next line. nothing of the cell was run",
    )


class LineTransform:
    """Replaces the directive line by its marker. Goes before IPython's own cleanup transforms.

    Args:
        running: the run of this context, None outside one.
    """

    # IPython leaves those out when it asks whether what was typed so far is a whole cell: it must see a cell magic,
    # which goes on to a blank line, or a terminal would run the directive alone
    has_side_effects = True

    def __init__(self, running: Callable[[], Run | None]) -> None:
        self._running = running

    def __call__(self, lines: list[str]) -> list[str]:
        """Transform the lines of one cell (with their line ends)."""
        line = directive_line(lines[0]) if lines else None
        if line is None or self._running() is not None:
            return lines
        try:
            parse_directive(line)
        except QnbError:
            return lines
        body: list[str] = leading_indent(lines[1:])
        blank = 0
        while blank < len(body) and not body[blank].strip():
            blank += 1
        # our marker is the first line from here on, so that IPython would no longer see a cell magic below it
        return [f"{line!r}\n", *body[:blank], *cell_magic(body[blank:])]


class TreeCheck:
    """Takes the marker out and refuses what must not run. An AST transformer, as IPython calls them.

    Args:
        running: the run of this context, None outside one.
    """

    def __init__(self, running: Callable[[], Run | None]) -> None:
        self._running = running

    def visit(self, tree: Any) -> Any:
        """Check one module.

        Raises:
            Refusal: nothing of it may run. Any other exception would have IPython go on without this check.
        """
        try:
            self._check(tree)
        except Refusal:
            raise
        except Exception:  # noqa: BLE001 - see above
            raise refusal(PolicyError("check-failed", "the cell could not be checked, so it was not run")) from None
        return tree

    def _check(self, tree: Any) -> None:
        run = self._running()
        own = run is not None and not run.checked
        if run is not None:
            run.checked = True
        marker = _marker(tree)
        if marker is not None:
            if run is None or run.marker != marker:
                raise refusal(
                    ConfigError(
                        "qsecure-not-opened",
                        "a `%%qsecure` cell must be run as a cell of its own",
                        "run it from the notebook: not silently, not from a callback",
                    )
                )
            del tree.body[0]
        if run is not None and run.cell.refused is not None:
            raise refusal(run.cell.refused)
        # what a cell makes up while it runs meets the magic itself
        seen = run is None or "qsecure" in run.info.raw_cell[len(run.marker or "") :]
        alone = isinstance(tree, ast.Module) and len(tree.body) == 1
        if seen and any(_calls_qsecure(node, alone=alone) for node in ast.walk(tree)):
            error = misplaced()
            if run is not None and own:
                run.cell.refused = error
            raise refusal(error)


def _marker(tree: Any) -> str | None:
    first = tree.body[0] if isinstance(tree, ast.Module) and tree.body else None
    if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
        return None
    value = first.value.value
    return value if isinstance(value, str) and directive_line(value) == value else None


def _calls_qsecure(node: ast.AST, *, alone: bool) -> bool:
    """Whether a node is what IPython makes of a `%%qsecure` line that does not count."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _MAGICS:
        return False
    arguments = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
    names = [argument.lstrip("%") for argument in arguments if isinstance(argument, str)]
    if names[:1] == ["qsecure"]:
        return True
    if names in (["pinfo", "qsecure"], ["pinfo2", "qsecure"]):
        return not alone  # `%%qsecure?` asks for help; above a body it was meant to classify that
    body = arguments[2] if len(arguments) > 2 else None
    return isinstance(body, str) and _begins_with_directive(body)


def _begins_with_directive(body: str) -> bool:
    """Whether a `%%qsecure` line is among the cell magics at the top of a cell magic's body."""
    for line in dedent(body).splitlines():
        if directive_line(line) is not None:
            return True
        if line.strip() and not line.startswith("%%"):
            return False
    return False
