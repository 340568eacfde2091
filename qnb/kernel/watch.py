"""Which files the process opens, once anything is labelled.

Enters: audit events. Leaves: a path and whether it is written, told to one listener. Never: reads a file, or raises an
error of its own into the code that opens one.
Spec: PEP 578; the event `open` of `builtins.open`, `io.open` and `os.open`. Native code raises none.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

Opened = Callable[[str, bool], None]


def watch(opened: Opened) -> None:
    """Tell `opened`, a bound method, of files from here on. An audit hook cannot be taken out again."""
    sys.addaudithook(_FileWatch(weakref.WeakMethod(opened)).audit)


class _FileWatch:
    """Tells of files that are opened, in the thread that opens them, and not of its own."""

    def __init__(self, opened: Callable[[], Opened | None]) -> None:
        self._opened = opened
        self._busy = threading.local()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """PEP 578."""
        if event != "open" or getattr(self._busy, "now", False) or sys.is_finalizing():
            return
        self._busy.now = True
        try:
            path, mode, flags = (*arguments, None, None, None)[:3]
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & 3)
            opened = self._opened()
            if opened is not None and isinstance(path, str | bytes) and not _is_of_python(path):
                opened(os.path.abspath(os.fsdecode(path)), writes)  # noqa: PTH100 - resolves no links, reads nothing
        finally:
            self._busy.now = False


def _is_of_python(path: str | bytes) -> bool:
    text = os.fsdecode(path)
    return "__pycache__" in text or text.startswith(("/dev/", "/proc/", "/sys/"))
