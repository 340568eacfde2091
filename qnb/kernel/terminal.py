"""Classified cells in terminal IPython: they show in clear on the terminal, and nowhere else.

Enters: the cells that the session opens. Leaves: the same entries as in a kernel.
Never: writes a classified cell's output into a pipe or a file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from qnb.errors import ConfigError, QnbError
from qnb.kernel.cell import Cell
from qnb.kernel.kept import save_circuits
from qnb.kernel.outputs import Request
from qnb.kernel.session import Session


class TerminalOutputs:
    """The counterpart of KernelOutputs where the front end is a terminal.

    Args:
        session: settles and records.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def install(self) -> None:
        """Nothing stands between a shell and its terminal."""

    def request(self) -> Request | None:
        """A terminal gives neither message nor notebook a name."""
        return Request(None, None)

    def open(self, cell: Cell) -> None:
        """Refuse a classified cell whose output would end up elsewhere."""
        if cell.classified and cell.refused is None and not _is_terminal():
            cell.refused = _elsewhere(cell)
        elif cell.because is not None and cell.refused is None:
            print(cell.because)  # noqa: T201 - a terminal

    def rise(self, cell: Cell) -> None:
        """Say that a cell has become a classified one; what it shows stays on the terminal.

        Raises:
            ConfigError: it ends up elsewhere, so the cell must not go on.
        """
        if not _is_terminal():
            raise _elsewhere(cell)
        print(cell.because)  # noqa: T201 - a terminal

    def ended(self, cell: Cell, result: Any) -> None:
        """Record what the cell's executions came to, and its end. Its output is sealed for the entry alone."""
        try:
            self._session.end_executions(cell)
            if cell.classified and cell.refused is None:
                self._session.seal_output(cell, [], _state(result))
                save_circuits(self._session.authority, cell)
        except QnbError as error:
            print("\n".join(error._render_traceback_()), file=sys.stderr)  # noqa: T201 - a terminal

    def allow(self, error: QnbError) -> None:
        """Everything shows in clear on a terminal."""

    def release(self, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Show the plain text of a MIME bundle."""
        print(bundle.get("text/plain", ""))  # noqa: T201 - a terminal


def _is_terminal() -> bool:
    return sys.stdout.isatty() and sys.stderr.isatty()


def _elsewhere(cell: Cell) -> ConfigError:
    return ConfigError(
        "not-a-terminal",
        f"the output of a `{cell.label}` cell would be written in clear into a file or a pipe",
        "run it on a terminal without redirection, or with `qnb execute`",
    )


def _state(result: Any) -> str:
    error = None if result is None else result.error_before_exec or result.error_in_exec
    if result is not None and error is None:
        return "ok"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
