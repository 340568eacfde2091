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
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from qnb.core.checkpoint import Checkpoint, Signer, parse_checkpoint, sign_checkpoint
from qnb.core.entry import is_key_entry, is_policy_entry
from qnb.core.merkle import Frontier, leaf_hash
from qnb.core.note import add_lines, split_note
from qnb.core.rotation import parse_rotation
from qnb.errors import ConfigError, ConsistencyError
from qnb.model import Receipt
from qnb.store.log.group import Append, Group
from qnb.store.log.reader import VERIFY, Reader

_INSERT = "INSERT INTO entries (idx, nodes, body) VALUES (?, ?, ?)"


class Log(Reader):
    """A log file, open. `Log.open` opens one; close it, or use it in a `with` statement.

    Every method raises StorageError when SQLite does (locked, full, read-only, damaged), with a hint.
    """

    def __init__(self, path: Path, signer: Signer | None, *, readonly: bool) -> None:
        super().__init__(path, signer, readonly=readonly)
        self._pending: bytes | None = None  # `_last` of the transaction under way

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
        if self._signer is None or note is None:
            return
        head, lines = split_note(note)
        if head.origin != self._signer.origin:
            raise ConfigError(
                "foreign-key",
                f"the key beside the log is of `{self._signer.origin}`, not of this log",
                "restore log.key and log.db from the same backup",
            )
        ids = set(self._signer.vkeys.ids.values())
        if ids <= {line[:4] for _, line in lines}:
            return
        handed = parse_rotation(self.entry(head.size - 1)) if head.size else None
        if handed is None or handed[1] != self._signer.vkeys:
            raise ConfigError(
                "foreign-key",
                "the key beside the log is not the one that signed its last checkpoint",
                "the log's keys were rotated, or log.key is of another backup: restore the newest one",
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
        self._own()
        return self._group.append(Append(entries, evaluations))

    def _commit(self, batch: list[Append]) -> None:
        first = batch[0]
        quick = len(batch) == len(first.entries) == 1 and not first.evaluations and not _is_indexed(first.entries[0])

        def act(db: sqlite3.Connection) -> None:
            index = self._append_quickly(db, first.entries[0]) if quick else None
            if index is not None:
                first.indices = [index]
                return
            starts = []
            with self._transaction(db) as frontier:
                for append in batch:
                    starts.append(frontier.size)
                    self._insert(db, frontier, append.entries, append.evaluations)
            for start, append in zip(starts, batch, strict=True):
                append.indices = list(range(start, start + len(append.entries)))

        self._run(act)

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
                            "log-rewritten", "the log is not what its last checkpoint signed", VERIFY
                        )
                    return str(stored[0])
                note = sign_checkpoint(checkpoint, signer, time)
                db.execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", (frontier.size, note))
            return note

        return self._run(act)

    def add_cosignatures(self, note: str) -> bool:
        """Keep the signature lines that a witness added to one of this log's checkpoints, beside the log's own.

        Whether they hold is for a verifier with the witness's keys to say.

        Returns:
            Whether there was anything new.

        Raises:
            ConsistencyError: this log never signed that head.
        """
        head = parse_checkpoint(note)

        def act(db: sqlite3.Connection) -> bool:
            with self._transaction(db):
                stored = db.execute("SELECT note FROM checkpoints WHERE size = ?", (head.size,)).fetchone()
                if stored is None or parse_checkpoint(stored[0]) != head:
                    raise ConsistencyError("unknown-head", "the witness cosigned a head that this log did not sign")
                joined = add_lines(stored[0], note)
                db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (joined, head.size))
            return bool(joined != stored[0])

        return self._run(act)

    def save_circuits(self, decision: int, sealed: Sequence[tuple[int, bytes]]) -> None:
        """Keep circuits of a decision beside it: (place in the call, sealed bytes). What is there already stays."""

        def act(db: sqlite3.Connection) -> None:
            with self._transaction(db):
                db.executemany(
                    "INSERT OR IGNORE INTO circuits (idx, place, sealed) VALUES (?, ?, ?)",
                    [(decision, place, data) for place, data in sealed],
                )

        self._run(act)

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
            if _is_indexed(entry):
                table = "policies" if is_policy_entry(entry) else "keys"
                db.execute(f"INSERT INTO {table} (idx) VALUES (?)", (index,))  # noqa: S608 one of two names
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

    def _connect(self) -> None:
        super()._connect()
        self._group = Group(self._lock, self._commit)


def _is_indexed(entry: bytes) -> bool:
    return is_policy_entry(entry) or is_key_entry(entry)
