"""Classified cells leave no trace in IPython's history: not their source, not what they showed.

Enters: what IPython is about to store. Leaves: a placeholder in its place.
Never: touches what is stored of other cells, nor `Out[]` and `_`, which are the user's own variables.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from qnb.core.directive import mentions_directive

PLACEHOLDER = "# the source of a classified cell is kept out of the history"


class _Closed(dict[int, list[Any]]):
    """The outputs gathered so far; what is added later is forgotten."""

    def __missing__(self, key: int) -> list[Any]:
        return []


def _stop_gathering(stream: Any) -> None:
    """Take IPython's gathering out of a stream's `write`, until it does so itself at the end of the cell.

    What it gathers is forgotten anyway, and that costs as much as the printing.
    """
    write = getattr(stream, "__dict__", {}).get("write")
    if write is not None and getattr(write, "__qualname__", None) == "InteractiveShell._tee.<locals>.write":
        stream.write = inspect.getclosurevars(write).nonlocals["original_write"]


class History:
    """Stands before a shell's history manager and its `%logstart` log.

    Args:
        shell: an InteractiveShell.
        classified: whether what runs in this context is classified.
    """

    def __init__(self, shell: Any, classified: Callable[[], bool]) -> None:
        self._shell = shell
        self._classified = classified
        self._manager = shell.history_manager
        self._store_inputs = self._manager.store_inputs
        self._store_output = self._manager.store_output
        self._quiet = shell.displayhook.quiet
        self._ends_quietly = False
        self._logs_classified = False  # whether the log stands behind the source of a classified cell
        self._log = shell.logger.log
        self._log_write = shell.logger.log_write

    def install(self) -> None:
        """Take the place of the methods that store."""
        self._manager.store_inputs = self.store_inputs
        self._manager.store_output = self.store_output
        self._shell.displayhook.quiet = self.quiet
        self._shell.logger.log = self.log
        self._shell.logger.log_write = self.log_write

    def store_inputs(self, line_num: int, source: str, source_raw: str | None = None) -> None:
        """As HistoryManager.store_inputs: `history.sqlite`, `In` and `_i`."""
        if self._withheld(source if source_raw is None else source_raw):
            self._ends_quietly = self._shell.displayhook.semicolon_at_end_of_expression(source)
            source = source_raw = PLACEHOLDER
        self._store_inputs(line_num, source, source_raw)

    def quiet(self) -> bool:
        """As DisplayHook.quiet, which looks for the `;` of this cell in the history."""
        return bool(self._ends_quietly if self._classified() else self._quiet())

    def store_output(self, line_num: int) -> None:
        """As HistoryManager.store_output: `history.sqlite`, where outputs are kept there."""
        if not self._classified():
            self._store_output(line_num)

    def log(self, line_mod: str, line_ori: str) -> None:
        """As Logger.log: `%logstart`."""
        if self._withheld(line_ori):
            line_mod = line_ori = f"{PLACEHOLDER}\n"
        self._log(line_mod, line_ori)

    def log_write(self, data: str, kind: str = "input") -> None:
        """As Logger.log_write: `%logstart -o`, which begins with what is in `In` and `Out` by then."""
        if kind != "output":
            self._logs_classified = data.strip() == PLACEHOLDER
        elif self._logs_classified or self._classified():
            return
        self._log_write(data, kind)

    def begin_classified(self) -> None:
        """Gather no output in memory from here on.

        IPython does so for `%notebook`, by whatever cell runs at the moment: threads of a classified cell that write
        while a later one runs would end up in the file, below that one.
        """
        if not isinstance(self._manager.outputs, _Closed):
            self._manager.outputs = _Closed(self._manager.outputs)
        for stream in (sys.stdout, sys.stderr):
            _stop_gathering(stream)

    def end_classified(self) -> None:
        """Drop the result and the error that were kept of the cell that has ended, for history requests."""
        count = self._shell.execution_count
        for gathered in (self._manager.output_hist_reprs, self._manager.exceptions):
            for line in (count - 1, count):  # the latter when the cell was run without history
                gathered.pop(line, None)

    def _withheld(self, source: str) -> bool:
        return self._classified() or mentions_directive(source)
