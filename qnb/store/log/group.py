"""Joining the appends of several threads of one process into one commit.

Enters: appends, from any thread. Leaves: their indices, once the commit that took them is durable.
Never: makes a lone append wait for others; acknowledges one whose commit failed.

Whoever gets the turn commits for all that wait: while one commit goes to the disk, the next one gathers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from qnb.errors import QnbError, StorageError


class Append:
    """One caller's entries, and what became of them."""

    __slots__ = ("entries", "error", "evaluations", "indices")

    def __init__(self, entries: Sequence[bytes], evaluations: Sequence[bytes] | None) -> None:
        self.entries = entries
        self.evaluations = evaluations
        self.indices: list[int] | None = None
        self.error: QnbError | None = None


class Group:
    """The appends that wait for their turn.

    Args:
        turn: held while a commit is made, and while anything else is done with the connection.
        commit: writes several appends in one transaction and sets `indices` of each.
    """

    def __init__(self, turn: threading.RLock, commit: Callable[[list[Append]], None]) -> None:
        self._turn = turn
        self._commit = commit
        self._waiting: deque[Append] = deque()

    def append(self, append: Append) -> list[int]:
        """Append, with others or alone.

        Raises:
            QnbError: the commit failed; nothing of it is in the log.
        """
        self._waiting.append(append)
        with self._turn:
            if append.indices is None and append.error is None:
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
        if append.error is not None:
            raise append.error
        return append.indices or []

    def _write(self, batch: list[Append]) -> None:
        try:
            self._commit(batch)
        except QnbError as error:
            for append in batch:
                append.error = error
        except BaseException:
            for append in batch:  # an interrupt is for this thread; the others only learn that they are not recorded
                append.error = StorageError("log-interrupted", "the append was interrupted", "run it again")
            raise
