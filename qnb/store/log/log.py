"""The log: entries in an RFC 6962 tree in one SQLite file.

Enters: entry bytes, the leaves of evaluations, a `Signer`, the time.
Leaves: indices, receipts, checkpoints and proofs.
Never: acknowledges what is not on disk (WAL, synchronous=FULL), changes or removes an entry, signs a head over a past
that no longer is what this process saw of it.
Spec: RFC 6962 section 2.1 for the tree, C2SP tlog-checkpoint for the heads.

Each row carries, beside the entry, the hashes of all perfect subtrees that end with it: appending is one INSERT into
one table, and any node of the tree is one look-up by key, so that opening and proving take O(log n).

Several processes and threads may write at once. After a fork the child opens the file anew; the parent's connection is
left alone, as SQLite asks for.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from qnb.core.checkpoint import Checkpoint, Signer, parse_checkpoint, sign_checkpoint
from qnb.core.entry import is_policy_entry, parse_statement
from qnb.core.merkle import HASH_SIZE, Frontier, consistency_proof, inclusion_proof, leaf_hash, range_root
from qnb.errors import ConfigError, ConsistencyError, StorageError
from qnb.model import Receipt
from qnb.store.log.database import connect, patiently

T = TypeVar("T")

_CHUNK = 256  # rows of a scan that are read at once
_INSERT = "INSERT INTO entries (idx, nodes, body) VALUES (?, ?, ?)"
_ABANDONED: list[sqlite3.Connection] = []  # of a parent process: closing them here would drop the parent's file locks


class Log:
    """A log file, open. `Log.open` opens one; close it, or use it in a `with` statement.

    Every method raises StorageError when SQLite does (locked, full, read-only, damaged), with a hint.
    """

    def __init__(self, path: Path, signer: Signer | None, *, readonly: bool) -> None:
        self._path = path
        self._signer = signer
        self._readonly = readonly
        self._frontier = Frontier()
        self._last: bytes | None = None  # `nodes` of the last row that this process knows
        self._pending: bytes | None = None  # the same, of the transaction under way
        self._connect()

    def __repr__(self) -> str:
        return f"Log({str(self._path)!r})"

    @classmethod
    def open(cls, path: Path, signer: Signer | None = None, *, readonly: bool = False) -> Self:
        """Open a log, making an empty one (mode 0600) if there is none and it may be written.

        Args:
            path: of the file.
            signer: the log's keys; without them no checkpoint can be signed.
            readonly: for verifiers; makes and changes nothing.

        Raises:
            StorageError: it cannot be opened, or is not a log.
            ConfigError: the log's checkpoints are of another origin than the signer.
        """
        log = cls(path, signer, readonly=readonly)
        try:
            log._check_keys()
        except BaseException:
            log.close()
            raise
        return log

    def _check_keys(self) -> None:
        note = self.checkpoint()
        if self._signer is not None and note is not None and parse_checkpoint(note).origin != self._signer.origin:
            raise ConfigError(
                "foreign-key",
                f"the key beside the log is of `{self._signer.origin}`, not of this log",
                "restore log.key and log.db from the same backup",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything acknowledged is durable already."""
        if self._pid == os.getpid():
            self._db.close()

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[bytes], *, evaluations: Sequence[bytes] | None = None) -> list[int]:
        """Append entries in one transaction, durable on return.

        Args:
            entries: statements, byte for byte.
            evaluations: leaves that the last entry holds the root of, kept beside it.

        Returns:
            Their indices.

        Raises:
            ConsistencyError: the log is shorter or other than what this process saw of it before.
        """
        if not entries:
            return []
        quick = len(entries) == 1 and not evaluations and not is_policy_entry(entries[0])

        def act(db: sqlite3.Connection) -> list[int]:
            index = self._append_quickly(db, entries[0]) if quick else None
            if index is not None:
                return [index]
            with self._transaction(db) as frontier:
                start = frontier.size
                self._insert(db, frontier, entries, evaluations)
            return list(range(start, start + len(entries)))

        return self._run(act)

    def append_checkpointed(self, entry: bytes, time: int) -> Receipt:
        """Append an entry and sign the head that it makes, in one transaction, durable on return.

        Args:
            entry: a statement, byte for byte.
            time: POSIX seconds, signed with the head.

        Raises:
            ConfigError: the log was opened without its keys.
            ConsistencyError: as `append`.
        """
        signer = self._keys()

        def act(db: sqlite3.Connection) -> Receipt:
            with self._transaction(db) as frontier:
                index = frontier.size
                self._insert(db, frontier, [entry], None)
                note = sign_checkpoint(Checkpoint(signer.origin, frontier.size, frontier.root()), signer, time)
                db.execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", (frontier.size, note))
            statement = entry.decode("utf-8", "surrogatepass")
            return Receipt(signer.origin, index, leaf_hash(entry), frontier.proof_of_last(), note, statement)

        return self._run(act)

    def head(self, time: int) -> str:
        """The checkpoint over everything in the log; signed now if there is none yet.

        Args:
            time: POSIX seconds.

        Raises:
            ConfigError: the log was opened without its keys.
            ConsistencyError: the stored checkpoint of that size has another root, or as `append`.
        """
        signer = self._keys()

        def act(db: sqlite3.Connection) -> str:
            with self._transaction(db) as frontier:
                checkpoint = Checkpoint(signer.origin, frontier.size, frontier.root())
                stored = db.execute("SELECT note FROM checkpoints WHERE size = ?", (frontier.size,)).fetchone()
                if stored is not None:
                    if parse_checkpoint(stored[0]) != checkpoint:
                        raise ConsistencyError(
                            "log-rewritten", "the log is not what its last checkpoint signed", _VERIFY
                        )
                    return str(stored[0])
                note = sign_checkpoint(checkpoint, signer, time)
                db.execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", (frontier.size, note))
            return note

        return self._run(act)

    def _keys(self) -> Signer:
        if self._signer is None:
            raise ConfigError("no-log-key", "the log was opened without its keys", "run `qnb init`")
        return self._signer

    def _append_quickly(self, db: sqlite3.Connection, entry: bytes) -> int | None:
        """Append one entry in one statement if nobody else wrote since; None if somebody did.

        The statement is its own transaction, and the primary key is the check: an index that is taken fails it. Whether
        the log went back is left to the transactions.
        """
        if self._last is None:  # nothing read yet, so the next index is not known
            return None
        frontier = self._frontier.copy()
        index = frontier.size
        nodes = frontier.append(leaf_hash(entry))
        try:
            db.execute(_INSERT, (index, nodes, entry))
        except sqlite3.IntegrityError:
            return None
        self._frontier, self._last = frontier, nodes
        return index

    def _insert(
        self, db: sqlite3.Connection, frontier: Frontier, entries: Sequence[bytes], evaluations: Sequence[bytes] | None
    ) -> None:
        rows = []
        for index, entry in enumerate(entries, frontier.size):
            rows.append((index, frontier.append(leaf_hash(entry)), entry))
            if is_policy_entry(entry):
                db.execute("INSERT INTO policies (idx) VALUES (?)", (index,))
        db.executemany(_INSERT, rows)
        self._pending = rows[-1][1]
        if evaluations:
            packed = zlib.compress(b"\n".join(evaluations), level=1)
            db.execute("INSERT INTO evaluations (idx, lines) VALUES (?, ?)", (frontier.size - 1, packed))

    @contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[Frontier]:
        """The write lock, and a frontier of the log as it is under it, which becomes ours when the block commits."""
        db.execute("BEGIN IMMEDIATE")
        try:
            frontier = self._refresh(db).copy()
            self._pending = self._last
            yield frontier
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._frontier, self._last = frontier, self._pending

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """The log's name: of its keys, else of its last checkpoint; empty if it has neither."""
        if self._signer is not None:
            return self._signer.origin
        note = self.checkpoint()
        return "" if note is None else parse_checkpoint(note).origin

    @property
    def size(self) -> int:
        """Entries in the log, those of other processes included."""
        return self._run(lambda db: self._refresh(db).size)

    def root(self) -> bytes:
        """Root hash over all entries."""
        return self._run(lambda db: self._refresh(db).root())

    def entry(self, index: int) -> bytes:
        """The bytes of one entry.

        Raises:
            StorageError: there is no such entry.
        """
        rows = self._select("SELECT body FROM entries WHERE idx = ?", index)
        if not rows:
            raise StorageError("no-such-entry", f"the log has no entry {index}", "`qnb log list` shows the last ones")
        return _bytes(rows[0][0])

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of the entries start..stop, in order."""
        for _, _, body in self.rows(start, stop):
            yield body

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes, bytes]]:
        """Index, stored hashes and bytes of each row, in order, as they stand; a verifier judges them."""
        end = 2**62 if stop is None else stop
        while True:
            rows = self._select(
                "SELECT idx, nodes, body FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ?",
                start,
                end,
                _CHUNK,
            )
            for index, nodes, body in rows:
                yield index, _bytes(nodes), _bytes(body)
            if len(rows) < _CHUNK:
                return
            start = rows[-1][0] + 1

    def evaluations(self, index: int) -> list[bytes] | None:
        """The leaves kept beside an execution entry; None if there are none.

        Raises:
            StorageError: they cannot be unpacked.
        """
        rows = self._select("SELECT lines FROM evaluations WHERE idx = ?", index)
        if not rows:
            return None
        try:
            return zlib.decompress(rows[0][0]).split(b"\n")
        except (zlib.error, TypeError):
            raise StorageError(
                "evaluations-damaged", f"the evaluations of entry {index} are damaged", "restore the log from a backup"
            ) from None

    def checkpoint(self) -> str | None:
        """The last signed checkpoint, None before the first."""
        rows = self._select("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return str(rows[0][0]) if rows else None

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Size and note of every stored checkpoint, smallest first, as they stand."""
        size = -1
        while True:
            rows = self._select("SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT ?", size, _CHUNK)
            for size, note in rows:
                yield size, str(note)
            if len(rows) < _CHUNK:
                return

    def policy(self) -> str | None:
        """Hex digest of the policy that the last `policy` entry names, None if there is none."""
        ((index,),) = self._select("SELECT max(idx) FROM policies")
        return None if index is None else parse_statement(self.entry(index)).policy

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Audit path of an entry in the tree of the first `size` entries, leaf side first.

        Raises:
            InclusionError: there is no such entry in a tree of that size.
            ConsistencyError: the log has no such tree.
        """
        return self._run(lambda db: inclusion_proof(index, size, lambda level, at: _node(db, level, at)))

    def consistency_proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """Proof that the tree of `old` entries is the beginning of that of `new`.

        Raises:
            ConsistencyError: the log has no such trees, or old is larger than new.
        """
        return self._run(lambda db: consistency_proof(old, new, lambda level, at: _node(db, level, at)))

    def _refresh(self, db: sqlite3.Connection) -> Frontier:
        """Take in what others wrote; gives the frontier of the log as it now is.

        Raises:
            ConsistencyError: the log no longer contains the one that this process knows.
        """
        row = db.execute("SELECT idx, nodes FROM entries ORDER BY idx DESC LIMIT 1").fetchone()
        last = None if row is None else _bytes(row[1])
        if last == self._last:
            return self._frontier
        size, known = 0 if row is None else row[0] + 1, self._frontier
        if size < known.size:
            raise ConsistencyError("log-went-back", f"the log went back from {known.size} to {size} entries", _VERIFY)
        if range_root(0, known.size, lambda level, at: _node(db, level, at)) != known.root():
            raise ConsistencyError("log-rewritten", "the log was rewritten while it was open", _VERIFY)
        peaks, start = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(_node(db, level, start >> level))
                start += 1 << level
        self._frontier, self._last = Frontier(size, peaks), last
        return self._frontier

    # --- the connection ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._db = connect(self._path, readonly=self._readonly)

    def _run(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the connection, in this thread and this process alone; again while others are writing."""
        if self._pid != os.getpid():
            _ABANDONED.append(self._db)
            self._connect()
        with self._lock:
            return patiently(self._path, lambda: act(self._db))

    def _select(self, query: str, *values: object) -> list[Any]:
        return self._run(lambda db: db.execute(query, values).fetchall())


_VERIFY = "keep a copy of the log, then run `qnb verify`"


def _node(db: sqlite3.Connection, level: int, index: int) -> bytes:
    """Hash of the perfect subtree (level, index): in the row of its last entry."""
    row = db.execute(
        "SELECT substr(nodes, ?, ?) FROM entries WHERE idx = ?",
        (HASH_SIZE * level + 1, HASH_SIZE, ((index + 1) << level) - 1),
    ).fetchone()
    node = b"" if row is None else _bytes(row[0])
    if len(node) != HASH_SIZE:
        raise ConsistencyError(
            "missing-hash", f"the log has no entry {((index + 1) << level) - 1}, or not its hashes", _VERIFY
        )
    return node


def _bytes(value: object) -> bytes:
    """A column that an editor may have turned into text is still compared byte for byte."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
