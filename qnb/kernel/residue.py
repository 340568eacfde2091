"""What IPython and pyplot keep of a classified cell once it has ended, and the magics that would write it to a file.

Enters: that a classified cell begins, and that it has ended. Leaves: no last error, no last result and no open figure
for the next cell; the error comes back for the next cell of the same label, so that `%debug` and `%tb` work there.
Never: touches the user's own variables, `_` and `Out[]` among them: label flow follows those.
"""

from __future__ import annotations

import contextlib
import linecache
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from qnb.errors import ConfigError, QnbError
from qnb.model import Label

_ERRORS = ("last_type", "last_value", "last_traceback", "last_exc")
_WRITING = ("ed", "edit", "pastebin", "save", "store")  # a value or a source, in clear, into a file or further


class Residue:
    """What is left behind in a shell.

    Args:
        shell: an InteractiveShell.
        classified: whether what runs in this context is classified.
        fail: raises an error so that it is told in clear.
    """

    def __init__(self, shell: Any, classified: Callable[[], bool], fail: Callable[[QnbError], NoReturn]) -> None:
        self._shell = shell
        self._classified = classified
        self._fail = fail
        self._find = shell.magics_manager.find
        self._kept: tuple[Label, dict[str, Any]] | None = None

    def install(self) -> None:
        """Take the place of what finds the magics."""
        self._shell.magics_manager.find = self.find

    def begin(self, label: Label) -> None:
        """A classified cell begins: give back the error of the one before it, if that carried the same label."""
        if self._kept is not None and self._kept[0] == label:
            for name, value in self._kept[1].items():
                setattr(sys, name, value)

    def end(self, label: Label, *, source: bool) -> None:
        """A classified cell has ended.

        Args:
            label: it carried.
            source: whether its source is to be forgotten as well: later tracebacks then quote no line of it.
        """
        found = {name: getattr(sys, name) for name in _ERRORS if hasattr(sys, name)}
        for name in found:
            delattr(sys, name)
        self._kept = (label, found) if found else None
        self._shell.InteractiveTB.tb = None
        self._shell.last_execution_result = None
        figures = getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)
        if figures is not None:
            with contextlib.suppress(Exception):  # a handler of the user's, for the closing of a window
                figures.destroy_all()
        if source:
            count = self._shell.execution_count
            for name, number in list(self._shell.compile._filename_map.items()):  # noqa: SLF001 - it has no other index
                if number in (count - 1, count):
                    linecache.cache.pop(name, None)

    def find(self, kind: str, name: str) -> Any:
        """As MagicsManager.find, which every call of a magic goes through."""
        if name in _WRITING and self._classified():
            self._fail(
                ConfigError(
                    "writes-in-clear",
                    f"`%{name}` writes in clear, so a classified cell does not run it",
                    "seal a file instead: `qnb seal FILE --label LABEL`",
                )
            )
        return self._find(kind, name)
