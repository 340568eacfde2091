"""`%load_ext qnb`: the magics, and the events of a shell that open and end a cell.

Enters: an IPython shell, in a kernel or on a terminal. Leaves: the same shell, guarded.
Never: prints what a cell computed, or expands variables into a magic's line.
"""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from IPython.core.magic import no_var_expand

from qnb.core.directive import Directive, directive_line, parse_directive
from qnb.core.source import hidden_source_error, is_hidden
from qnb.errors import PolicyError, QnbError
from qnb.kernel.cell import Cell
from qnb.kernel.commands import Commands
from qnb.kernel.history import History
from qnb.kernel.outputs import KernelOutputs, Request
from qnb.kernel.residue import Residue
from qnb.kernel.session import Session
from qnb.kernel.terminal import TerminalOutputs
from qnb.kernel.transform import LineTransform, Run, TreeCheck, misplaced
from qnb.model import Label

_RUN: contextvars.ContextVar[Run | None] = contextvars.ContextVar("qnb_run", default=None)
_GUARDS: weakref.WeakKeyDictionary[Any, Guard] = weakref.WeakKeyDictionary()


class Outputs(Protocol):
    """Where a shell's output goes: `KernelOutputs` or `TerminalOutputs`."""

    def install(self) -> None:
        """Put everything in place."""

    def request(self) -> Request | None:
        """What asked for the code of this context; None when nothing that could open a cell did."""

    def open(self, cell: Cell) -> None:
        """Take the cell's output from here on."""

    def rise(self, cell: Cell) -> None:
        """Take the output of a cell that has become a classified one while it runs."""

    def ended(self, cell: Cell, result: Any) -> None:
        """Called when the cell's code has ended, with IPython's ExecutionResult (None when it was cut off)."""

    def allow(self, error: QnbError) -> None:
        """Let an error of our own magics, about to be raised, be shown in clear."""

    def release(self, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Show a MIME bundle in clear for the current cell."""


def load(shell: Any, start: Callable[[], Session] | None = None) -> Guard:
    """Guard a shell from here on. A shell that is guarded already stays as it is.

    Args:
        shell: the InteractiveShell.
        start: begins the session; for tests.

    Raises:
        QnbError: the session could not begin; the shell is as it was.
    """
    guard = _GUARDS.get(shell)
    if guard is None:
        if start is None:
            from qnb.kernel.start import start_session

            start = start_session
        session = start()
        kernel = getattr(shell, "kernel", None)
        outputs: Outputs = (
            KernelOutputs(shell, session) if hasattr(kernel, "iopub_thread") else TerminalOutputs(session)
        )
        guard = Guard(shell, session, outputs)
        guard.install()
        _GUARDS[shell] = guard
    return guard


def guard_of(shell: Any) -> Guard | None:
    """The guard of a shell, None when qnb was not loaded into it."""
    return _GUARDS.get(shell)


class Guard:
    """A shell's events, told to the session and to the outputs.

    Args:
        shell: the InteractiveShell.
        session: opens cells.
        outputs: shows what they say.
    """

    def __init__(self, shell: Any, session: Session, outputs: Outputs) -> None:
        self.session = session
        self.outputs = outputs
        self._shell = shell
        self._runs: dict[str | None, Run] = {}
        self._commands = Commands(shell, session)
        self._history = History(shell, _runs_classified)
        self._residue = Residue(shell, _runs_classified, self._fail)

    def install(self) -> None:
        """Put everything in place."""
        self.session.follow(self._shell.user_ns, self._rise)
        self._history.install()
        self._residue.install()
        self.outputs.install()
        self._guard_display()
        self._guard_expressions()
        self._shell.input_transformers_cleanup.insert(0, LineTransform(_RUN.get))
        self._shell.ast_transformers.insert(0, TreeCheck(_RUN.get))
        self._shell.events.register("pre_run_cell", self.pre_run_cell)
        self._shell.events.register("post_run_cell", self.post_run_cell)
        self._shell.register_magic_function(qsecure, "cell", "qsecure")
        self._shell.register_magic_function(self.qnb, "line", "qnb")

    # --- events ------------------------------------------------------------------------------------------------------

    def pre_run_cell(self, info: Any) -> None:
        """Open a cell for an outermost run; nested runs belong to the cell that runs them."""
        if _RUN.get() is not None:
            return
        request = self.outputs.request()
        if request is None:
            return
        marker = directive_line(info.raw_cell)
        try:
            run = self._open(info, request, marker)
        except BaseException:  # noqa: BLE001 - IPython would say so, go on, and run the cell without its label
            failed = PolicyError("cell-not-opened", "the cell could not be opened, so it was not run", "run it again")
            run = Run(info, Cell(0, Label("unknown"), classified=False, refused=failed), marker)
        _RUN.set(run)
        self._runs[request.msg_id] = run

    def _open(self, info: Any, request: Request, marker: str | None) -> Run:
        directive: Directive | None = None
        refused: QnbError | None = None
        if marker is not None:
            try:
                directive = parse_directive(marker)
            except QnbError as error:
                refused = error
        if is_hidden(info.raw_cell):
            refused = hidden_source_error("the cell")
        cell = self.session.open_cell(
            info.raw_cell,
            directive,
            msg_id=request.msg_id,
            cell_id=info.cell_id,
            notebook_id=request.notebook_id,
            code=getattr(info, "transformed_cell", None) or self._shell.transform_cell(info.raw_cell),
            number=self._shell.execution_count - bool(info.store_history),
            flags=self._shell.compile.flags,
        )
        if refused is not None:
            cell.refused = refused
        if request.seal_source or (directive is not None and directive.seal_source):
            cell.sealed_source = info.raw_cell
        if cell.classified:
            self._history.begin_classified()
            self._residue.begin(cell.label)
        self.outputs.open(cell)
        return Run(info, cell, None if directive is None else marker)

    def post_run_cell(self, result: Any) -> None:
        """End the run that `result` is of. A cell that awaits ends in another context than the one it began in."""
        request = self.outputs.request()
        run = _RUN.get() or (None if request is None else self._runs.get(request.msg_id))
        if run is None or (result is not None and result.info is not run.info):
            return
        _RUN.set(None)
        self._runs = {msg_id: open_ for msg_id, open_ in self._runs.items() if open_ is not run}
        self.session.end_cell(run.cell)
        if run.cell.classified:
            self._history.end_classified()
            self._residue.end(run.cell.label, source=run.cell.sealed_source is not None)
        self.outputs.ended(run.cell, result)

    def _rise(self, cell: Cell) -> None:
        self._history.begin_classified()
        self._residue.begin(cell.label)
        self.outputs.rise(cell)

    def _guard_display(self) -> None:
        """Look at what is about to be displayed: what reaches something labelled raises its cell before it is shown."""
        formatter = self._shell.display_formatter
        if formatter is None:
            return
        formats = formatter.format

        def format_(value: Any, include: Any = None, exclude: Any = None) -> Any:
            self.session.labels.shows(value)
            return formats(value, include, exclude)

        formatter.format = format_

    def _guard_expressions(self) -> None:
        """Leave expressions that a front end sends beside a cell unanswered, if they read what is labelled."""
        evaluate = self._shell.user_expressions

        def user_expressions(expressions: Mapping[str, str]) -> dict[str, Any]:
            answers: dict[str, Any] = {}
            for name, expression in expressions.items():
                because = self.session.labels.reads(expression)
                if because is None:
                    answers |= evaluate({name: expression})
                else:
                    answers[name] = {"status": "error", "ename": "SealedError", "evalue": because, "traceback": []}
            return answers

        self._shell.user_expressions = user_expressions

    # --- %qnb --------------------------------------------------------------------------------------------------------

    @no_var_expand
    def qnb(self, line: str) -> None:
        """The state of the guard and of the labels: `%qnb status`, `%qnb labels`, `%qnb why NAME`, and more."""
        try:
            bundle = self._commands.run(line)
        except QnbError as error:
            self._fail(error)
        # in clear below a classified cell too: the mark tells the save guard who said it
        self.outputs.release(bundle, {"qnb": {"answer": self.session.vouch(bundle)}})

    def _fail(self, error: QnbError) -> NoReturn:
        self.outputs.allow(error)
        raise error


def _runs_classified() -> bool:
    run = _RUN.get()
    return run is not None and run.cell.classified


@no_var_expand
def qsecure(line: str, cell: str) -> None:  # noqa: ARG001 - a cell magic's signature
    """Classify the cell: `%%qsecure [LABEL] [--purpose TEXT] [--to GROUP]… [--seal-source]`, as its first line.

    Its outputs are sealed and its circuits decided at that label. Without a label the policy's own for cells is meant.
    This function is only reached where the line does not count.
    """
    run = _RUN.get()
    if run is None:
        raise PolicyError("qsecure-not-opened", "the cell could not be opened, so it was not run", "restart the kernel")
    raise misplaced()
