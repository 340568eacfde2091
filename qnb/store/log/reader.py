"""Reading a log file, its connection, and what this process knows of the tree.

Enters: a path. Leaves: entries, checkpoints, proofs and what is kept beside them, as they stand; a verifier judges.
Never: changes the file; that is `qnb.store.log.log`.
Spec: RFC 6962 section 2.1.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from qnb.core.checkpoint import Signer, parse_checkpoint
from qnb.core.entry import parse_statement
from qnb.core.merkle import HASH_SIZE, Frontier, consistency_proof, inclusion_proof, leaf_hash, range_root
from qnb.errors import ConsistencyError, QnbError, StorageError
from qnb.model import Receipt
from qnb.store.log.database import connect, patiently

T = TypeVar("T")

_CHUNK = 256  # rows of a scan that are read at once
_ABANDONED: list[sqlite3.Connection] = []  # of a parent process: closing them here would drop the parent's file locks
VERIFY = "keep a copy of the log, then run `qnb verify`"


class Reader:
    """An open log file, as far as it is read. See `qnb.store.log.log.Log`."""

    def __init__(self, path: Path, signer: Signer | None, *, readonly: bool) -> None:
        self._path = path
        self._signer = signer
        self._readonly = readonly
        self._frontier = Frontier()
        self._last: bytes | None = None  # `nodes` of the last row that this process knows
        self._connect()

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

    def checkpoint_of(self, size: int) -> str | None:
        """The signed checkpoint of a size, None if none was signed."""
        rows = self._select("SELECT note FROM checkpoints WHERE size = ?", size)
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

    def root_at(self, size: int) -> bytes:
        """Root hash over the first `size` entries.

        Raises:
            ConsistencyError: the log has no such tree.
        """
        return self._run(lambda db: range_root(0, size, lambda level, at: _node(db, level, at)))

    def receipt(self, index: int, note: str) -> Receipt:
        """What proves an entry under a checkpoint of this log, its statement included.

        Raises:
            StorageError: there is no such entry.
            InclusionError: the checkpoint does not reach it.
            ConsistencyError: the log has no such tree.
        """
        entry, head = self.entry(index), parse_checkpoint(note)
        proof = self.inclusion_proof(index, head.size)
        return Receipt(head.origin, index, leaf_hash(entry), proof, note, entry.decode("utf-8", "surrogatepass"))

    def rotations(self) -> list[Receipt]:
        """Receipts of entries that may change the log's keys: each under the head that ends with it, and the next one.

        The first is signed by the keys before, the second by those after. A verifier judges them.
        """
        found = []
        for (index,) in self._beside("keys", "SELECT idx FROM keys ORDER BY idx"):
            notes = self._select("SELECT note FROM checkpoints WHERE size > ? ORDER BY size LIMIT 2", index)
            for (note,) in notes:
                try:
                    found.append(self.receipt(index, str(note)))
                except (QnbError, UnicodeDecodeError):  # it vouches for nothing then
                    continue
        return found

    def circuits(self, decision: int) -> list[tuple[int, bytes]]:
        """Place and sealed bytes of the circuits that are kept beside a decision, by place."""
        rows = self._beside("circuits", "SELECT place, sealed FROM circuits WHERE idx = ? ORDER BY place", decision)
        return [(place, _bytes(sealed)) for place, sealed in rows]

    def _beside(self, table: str, query: str, *values: object) -> list[Any]:
        """Rows of a table that a log of version 1 has not."""
        known = self._select("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table)
        return self._select(query, *values) if known else []

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
            raise ConsistencyError("log-went-back", f"the log went back from {known.size} to {size} entries", VERIFY)
        if range_root(0, known.size, lambda level, at: _node(db, level, at)) != known.root():
            raise ConsistencyError("log-rewritten", "the log was rewritten while it was open", VERIFY)
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

    def _own(self) -> None:
        """In a forked child: a connection and locks of its own."""
        if self._pid != os.getpid():
            _ABANDONED.append(self._db)
            self._connect()

    def _run(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the connection, in this thread and this process alone; again while others are writing."""
        self._own()
        with self._lock:
            return patiently(self._path, lambda: act(self._db))

    def _select(self, query: str, *values: object) -> list[Any]:
        return self._run(lambda db: db.execute(query, values).fetchall())


def _node(db: sqlite3.Connection, level: int, index: int) -> bytes:
    """Hash of the perfect subtree (level, index): in the row of its last entry."""
    row = db.execute(
        "SELECT substr(nodes, ?, ?) FROM entries WHERE idx = ?",
        (HASH_SIZE * level + 1, HASH_SIZE, ((index + 1) << level) - 1),
    ).fetchone()
    node = b"" if row is None else _bytes(row[0])
    if len(node) != HASH_SIZE:
        raise ConsistencyError(
            "missing-hash", f"the log has no entry {((index + 1) << level) - 1}, or not its hashes", VERIFY
        )
    return node


def _bytes(value: object) -> bytes:
    """A column that an editor may have turned into text is still compared byte for byte."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
