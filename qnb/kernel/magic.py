"""`%load_ext qnb`: the magics, and the events of a shell that open and end a cell.

Enters: an IPython shell, in a kernel or on a terminal. Leaves: the same shell, guarded.
Never: prints what a cell computed, or expands variables into a magic's line.
"""

from __future__ import annotations

import contextvars
import shlex
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from IPython.core.magic import no_var_expand

from qnb.core.directive import Directive, directive_line, parse_directive
from qnb.core.source import hidden_source_error, is_hidden
from qnb.errors import ConfigError, PolicyError, QnbError
from qnb.kernel.cell import Cell
from qnb.kernel.history import History
from qnb.kernel.outputs import KernelOutputs, Request
from qnb.kernel.residue import Residue
from qnb.kernel.session import Session
from qnb.kernel.terminal import TerminalOutputs
from qnb.kernel.transform import LineTransform, Run, TreeCheck, misplaced

_RUN: contextvars.ContextVar[Run | None] = contextvars.ContextVar("qnb_run", default=None)
_GUARDS: weakref.WeakKeyDictionary[Any, Guard] = weakref.WeakKeyDictionary()

_UNSEAL = (
    "plaintext is never printed into an output: open the card in JupyterLab, or run `qnb unseal FILE` in a terminal"
)


class Outputs(Protocol):
    """Where a shell's output goes: `KernelOutputs` or `TerminalOutputs`."""

    def install(self) -> None:
        """Put everything in place."""

    def request(self) -> Request | None:
        """What asked for the code of this context; None when nothing that could open a cell did."""

    def open(self, cell: Cell) -> None:
        """Take the cell's output from here on."""

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
        self._history = History(shell, _runs_classified)
        self._residue = Residue(shell, _runs_classified, self._fail)

    def install(self) -> None:
        """Put everything in place."""
        self._history.install()
        self._residue.install()
        self.outputs.install()
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
        )
        if refused is not None:
            cell.refused = refused
        if request.seal_source or (directive is not None and directive.seal_source):
            cell.sealed_source = info.raw_cell
        run = Run(info, cell, None if directive is None else marker)
        if cell.classified:
            self._history.begin_classified()
            self._residue.begin(cell.label)
        # on a failure from here on the tree's check finds no run and refuses the marker
        self.outputs.open(cell)
        _RUN.set(run)
        self._runs[request.msg_id] = run

    def post_run_cell(self, result: Any) -> None:
        """End the run that `result` is of. A cell that awaits ends in another context than the one it began in."""
        request = self.outputs.request()
        run = _RUN.get() or (None if request is None else self._runs.get(request.msg_id))
        if run is None or (result is not None and result.info is not run.info):
            return
        _RUN.set(None)
        self._runs = {msg_id: open_ for msg_id, open_ in self._runs.items() if open_ is not run}
        if run.cell.classified:
            self._history.end_classified()
            self._residue.end(run.cell.label, source=run.cell.sealed_source is not None)
        self.outputs.ended(run.cell, result)

    # --- %qnb --------------------------------------------------------------------------------------------------------

    @no_var_expand
    def qnb(self, line: str) -> None:
        """The state of the guard: `%qnb status`; how to open sealed outputs: `%qnb unseal`."""
        commands: dict[str, Callable[[], str]] = {"status": self._status, "unseal": lambda: _UNSEAL}
        try:
            words = shlex.split(line)
        except ValueError:
            words = [line]
        if len(words) != 1 or words[0] not in commands:
            known = ", ".join(f"`%qnb {name}`" for name in commands)
            self._fail(ConfigError("unknown-subcommand", "`%qnb` needs one of its subcommands", f"there are: {known}"))
        try:
            text = commands[words[0]]()
        except QnbError as error:
            self._fail(error)
        shown = {"text/plain": text}
        # in clear below a classified cell too: the mark tells the save guard who said it
        self.outputs.release(shown, {"qnb": {"answer": self.session.vouch(shown)}})

    def _fail(self, error: QnbError) -> NoReturn:
        self.outputs.allow(error)
        raise error

    def _status(self) -> str:
        facts = self.session.status()
        width = max(len(name) for name in facts)
        return "\n".join(f"{name.replace('_', ' '):<{width}}  {_spell(value)}" for name, value in facts.items())


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


def _spell(value: object) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
