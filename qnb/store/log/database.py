"""The log's SQLite file: made whole, opened with the durability that the log promises, its errors in plain words.

Enters: a path. Leaves: a connection in autocommit mode.
Never: leaves a half-made file, or one that others can read.
"""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from qnb.errors import StorageError

_APPLICATION = 0x716E626C  # `qnbl`
_SCHEMA_VERSION = 2
_BUSY_SECONDS = 20.0
_BUSY_PAUSE = (0.0001, 0.001)  # seconds; a transaction takes about as long
_SCHEMA = """
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY,
    nodes BLOB NOT NULL, -- hashes of the perfect subtrees that end with this entry, the leaf's own first
    body BLOB NOT NULL   -- the statement, byte for byte
);
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
-- leaves of an execution entry, a line each, zlib
CREATE TABLE evaluations (idx INTEGER PRIMARY KEY, lines BLOB NOT NULL);
-- entries that say a change of policy, for the look-up alone
CREATE TABLE policies (idx INTEGER PRIMARY KEY);
"""
# version -> what makes the next one of it; a new log takes the same steps, so that there is one way to each version
_MIGRATIONS = {
    1: """
-- entries that say a change of keys, for the look-up alone
CREATE TABLE keys (idx INTEGER PRIMARY KEY);
-- circuits of a decision, sealed: best effort, and no part of the tree
CREATE TABLE circuits (
    idx INTEGER NOT NULL, place INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (idx, place)
);
""",
}

_HINTS: dict[int, tuple[str, str, str]] = {
    sqlite3.SQLITE_BUSY: (
        "log-locked",
        "is locked by another program",
        "close the program that holds it, then run the cell or command again",
    ),
    sqlite3.SQLITE_FULL: ("disk-full", "cannot grow: the disk is full", "free space; nothing acknowledged was lost"),
    sqlite3.SQLITE_READONLY: (
        "log-read-only",
        "cannot be written",
        "check the permissions of the file and its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "log-not-opened",
        "cannot be opened",
        "check the permissions of the file and its folder",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "log-damaged",
        "is damaged",
        "keep a copy of it and of its -wal file, then restore the log from a backup",
    ),
    sqlite3.SQLITE_NOTADB: ("log-foreign", "is not a log", "point QNB_HOME at a folder that `qnb init` made"),
    sqlite3.SQLITE_IOERR: ("log-io", "could not be read or written", "check the disk; nothing acknowledged was lost"),
}
_HINTS[sqlite3.SQLITE_LOCKED] = _HINTS[sqlite3.SQLITE_BUSY]
_HINTS[sqlite3.SQLITE_PERM] = _HINTS[sqlite3.SQLITE_READONLY]
_HINTS[sqlite3.SQLITE_AUTH] = _HINTS[sqlite3.SQLITE_CANTOPEN]


T = TypeVar("T")


def patiently(path: Path, act: Callable[[], T]) -> T:
    """Do something with the file, waiting for its turn while others write.

    SQLite's own wait grows to 100 ms and so starves beside a busy writer; this one does not grow.

    Raises:
        StorageError: SQLite failed, or it was nobody's turn but others' for 20 s.
    """
    deadline = None
    while True:
        try:
            return act()
        except sqlite3.Error as error:
            now = time.monotonic()
            deadline = deadline or now + _BUSY_SECONDS
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or now >= deadline:
                raise storage_error(path, error) from None
        time.sleep(random.uniform(*_BUSY_PAUSE))  # noqa: S311 no secret


def storage_error(path: Path, error: sqlite3.Error) -> StorageError:
    """What SQLite said, in our words; its own text can quote a path or a schema and stays out."""
    code = getattr(error, "sqlite_errorcode", None)
    known = None if code is None else _HINTS.get(code & 0xFF)
    if known is None:
        name = getattr(error, "sqlite_errorname", None) or "closed or misused"
        return StorageError("log-failed", f"the log `{path}` could not be used ({name})", "run `qnb doctor`")
    return StorageError(known[0], f"the log `{path}` {known[1]}", known[2])


def create(path: Path) -> None:
    """Make an empty log, mode 0600, in one step; one that another process just made is left as it is.

    Raises:
        StorageError: the folder is missing or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the start
        os.close(handle)
        try:
            db = sqlite3.connect(name, isolation_level=None)
            try:
                db.executescript(
                    f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA application_id={_APPLICATION};"
                    f" BEGIN; {_SCHEMA} {''.join(_MIGRATIONS.values())} PRAGMA user_version={_SCHEMA_VERSION}; COMMIT"
                )
            finally:
                db.close()  # the last to close takes the WAL back into the file
            try:
                os.link(name, path)
            except FileExistsError:
                return
        finally:
            for leftover in (name, f"{name}-wal", f"{name}-shm"):
                Path(leftover).unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except sqlite3.Error as error:
        raise storage_error(path, error) from None
    except OSError as error:
        raise StorageError(
            "log-not-made",
            f"the log `{path}` cannot be made: {(error.strerror or 'input/output error').lower()}",
            "check the folder's permissions and free space, or name another with QNB_HOME",
        ) from None


def connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Open a log.

    Args:
        path: of the file; made if it is missing and not `readonly`.
        readonly: for verifiers; works on a log in a folder that cannot be written, too.

    Raises:
        StorageError: there is none, it is not a log, of a newer version, or cannot be opened.
    """
    if not path.exists():
        if readonly:
            raise StorageError("no-log", f"there is no log at `{path}`", "run `qnb init`, or check QNB_HOME")
        create(path)
    if readonly and _frozen(path):
        # WAL wants an index beside the file; a file that nobody can write does not need one
        return patiently(path, lambda: _open(path, "ro&immutable=1"))
    return patiently(path, lambda: _open(path, "ro" if readonly else "rw"))


def _frozen(path: Path) -> bool:
    wal = Path(f"{path}-wal")
    return not os.access(path.parent, os.W_OK) and not (wal.exists() and wal.stat().st_size)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=0,  # see `patiently`
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _check(db, path, writable=mode == "rw")
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path, *, writable: bool) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        code, message, hint = _HINTS[sqlite3.SQLITE_NOTADB]
        raise StorageError(code, f"the log `{path}` {message}", hint)
    if version > _SCHEMA_VERSION:
        raise StorageError("log-newer", f"the log `{path}` was made by a newer qnb", "update qnb")
    if writable:
        db.execute("PRAGMA synchronous=FULL")
        if version < _SCHEMA_VERSION:
            _migrate(db)
        (journal,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
        if journal != "wal":
            raise StorageError(
                "no-wal",
                f"the file system of `{path}` does not support the log's write-ahead journal",
                "set QNB_HOME to a folder on a local disk",
            )


def _migrate(db: sqlite3.Connection) -> None:
    """Bring an older log to this version, in one transaction. Entries stay as they are."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()  # again: another process may have been quicker
        for step in range(version, _SCHEMA_VERSION):
            for statement in filter(str.strip, _MIGRATIONS[step].split(";")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
