"""Who of this account is alive: sessions that announce themselves, and commands that use the log's key.

Enters: the home folder, ids of sessions. Leaves: locks that the operating system releases when their process dies,
however it dies.
Never: takes a file that is there for a process that lives: only a lock that is held counts.

A lock of `flock` belongs to the open file. A forked child closes its copy at once, so that a child that outlives its
kernel does not stand for it.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qnb.errors import StorageError

_FOLDER = "sessions"
_KEY_LOCK = ".key.lock"
_ID = re.compile(r"[0-9a-f]{32}")
_HELD: weakref.WeakSet[Lease] = weakref.WeakSet()


class Lease:
    """A lock held by this process until it ends or `release` is called."""

    def __init__(self, handle: int, path: Path | None = None) -> None:
        self._handle: int | None = handle
        self._path = path
        _HELD.add(self)

    def release(self) -> None:
        """Give it back, and remove the file of a session."""
        if self._handle is None:
            return
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Close the file; in a forked child this leaves the parent's lock as it is."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.drop()


def _after_fork() -> None:
    for lease in list(_HELD):
        lease.drop()


if sys.platform != "win32":
    import fcntl

    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True, slots=True)
class DeadSession:
    """A session whose process is gone: its id, and the size of the log when it began."""

    session: str
    start: int


def announce(home: Path, session: str, start: int) -> Lease | None:
    """Say that a session lives, until this process ends.

    Args:
        home: the account's.
        session: its id, as entries name it.
        start: entries in the log now: all of its own come after.

    Returns:
        The lease, which must be kept; None where the platform has no such locks.

    Raises:
        StorageError: the home cannot be written.
    """
    if sys.platform == "win32":
        return None
    folder = home / _FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / session
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, f"{start}\n".encode())
    except OSError as error:
        raise _unusable(folder, error) from None
    return Lease(handle, path)


def live_sessions(home: Path) -> frozenset[str] | None:
    """Ids of the sessions whose process lives; None where that cannot be told."""
    if sys.platform == "win32":
        return None
    return frozenset(path.name for path in _announced(home) if not _is_free(path))


def dead_sessions(home: Path) -> list[DeadSession]:
    """Sessions that were announced and whose process is gone."""
    if sys.platform == "win32":
        return []
    found = []
    for path in _announced(home):
        if _is_free(path):
            with suppress(OSError, ValueError):
                found.append(DeadSession(path.name, int(path.read_text("ascii") or 0)))
    return found


def forget(home: Path, sessions: list[DeadSession]) -> None:
    """Remove what dead sessions left."""
    for dead in sessions:
        with suppress(OSError):
            (home / _FOLDER / dead.session).unlink()


def hold_key(home: Path) -> Lease | None:
    """Say that this process signs with the log's key, so that it is not rotated meanwhile.

    Returns:
        The lease, to be kept; None where there is nothing to hold: whoever opens the log then says what is missing.

    Raises:
        StorageError: it is being rotated now.
    """
    return _lock_key(home, shared=True, busy="the log's key is being rotated")


def take_key(home: Path) -> Lease | None:
    """The log's key for this process alone.

    Raises:
        StorageError: `key-in-use`, others sign with it.
    """
    return _lock_key(home, shared=False, busy="a kernel or a command is using the log's key")


def _lock_key(home: Path, *, shared: bool, busy: str) -> Lease | None:
    if sys.platform == "win32":
        return None
    try:
        handle = os.open(home / _KEY_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if shared:
            return None
        raise _unusable(home, error) from None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StorageError("key-in-use", busy, "shut down the kernels of this account, then try again") from None
    return Lease(handle)


def _announced(home: Path) -> Iterator[Path]:
    with suppress(OSError):
        for path in sorted((home / _FOLDER).iterdir()):
            if _ID.fullmatch(path.name):
                yield path


def _is_free(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return not path.exists()  # one that cannot be opened is not known to be dead
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        "home-unusable",
        f"`{path}` cannot be used: {(error.strerror or 'input/output error').lower()}",
        "set QNB_HOME to a folder that this account can write to",
    )
