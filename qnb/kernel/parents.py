"""Whose output it is when nobody says: threads, subprocesses and timers of a kernel.

Enters: the parent message of the last sealed cell. Leaves: that parent, wherever ipykernel would fall back on the last
one it saw; and a kernel that no longer copies what is written to its file descriptors into the server's log.
Never: changes the parent of code that has one of its own.

ipykernel keeps the parent in context variables, and for threads that inherit none in the last parent of all, so that
the late output of a sealed cell would appear below the public cell that runs by then.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from jupyter_client.session import extract_header

_DRAIN = 0.05  # seconds to wait for what is still on its way through a descriptor
_DESCRIPTORS = {"stdout": 1, "stderr": 2}


class _Pinned:
    """A context variable that knows a value where no context has set one."""

    def __init__(self, variable: ContextVar[Any], fallback: Callable[[], Any]) -> None:
        self._variable = variable
        self._fallback = fallback

    def get(self) -> Any:
        try:
            return self._variable.get()
        except LookupError:
            return self._fallback()

    def set(self, value: Any) -> Token[Any]:
        return self._variable.set(value)

    def reset(self, token: Token[Any]) -> None:
        self._variable.reset(token)


class Parents:
    """The parents of a kernel's output.

    Args:
        kernel: an ipykernel kernel with its shell.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._streams = [kernel._stdout, kernel._stderr]  # noqa: SLF001 - sys.stdout may be a user's own by now
        self._pinned: dict[str, Any] | None = None

    def pin(self, parent: dict[str, Any]) -> None:
        """From here on, what has no parent of its own belongs to `parent` (a whole message)."""
        first = self._pinned is None
        self._pinned = parent
        if not first:
            return
        shell = self._kernel.shell
        for holder in (*self._streams, shell.displayhook, shell.display_pub):
            self._replace(holder, "_parent_header", lambda: extract_header(self._pinned or {}))
        self._replace(shell, "_parent_header", lambda: self._pinned)
        self._replace(self._kernel, "_shell_parent", lambda: self._pinned)

    def silence_log(self) -> None:
        """Stop the copies of descriptor output that go to the server's log.

        Where descriptors are not captured (`IPKernelApp.capture_fd_output=False`), what is written to them is lost.
        """
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            for stream in self._streams:
                stream.echo = None
                copy = getattr(stream, "_original_stdstream_copy", None)
                os.dup2(null, _DESCRIPTORS[stream.name] if copy is None else copy)
        finally:
            os.close(null)

    def flush(self) -> None:
        """Send what is buffered, and what a finished subprocess has left in the descriptors' pipes."""
        deadline = time.monotonic() + _DRAIN
        pipes = [stream._fid for stream in self._streams if getattr(stream, "_fid", None) is not None]  # noqa: SLF001
        waited = False
        while pipes and select.select(pipes, [], [], 0)[0] and time.monotonic() < deadline:
            waited = True
            time.sleep(0.0005)
        if waited or any(stream._buffers for stream in self._streams):  # noqa: SLF001 - a flush waits for a thread
            sys.stdout.flush()
            sys.stderr.flush()
            for stream in self._streams:
                stream.flush()

    @staticmethod
    def _replace(holder: Any, name: str, fallback: Callable[[], Any]) -> None:
        setattr(holder, name, _Pinned(getattr(holder, name), fallback))
