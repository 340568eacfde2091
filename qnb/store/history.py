"""What the log says of ciphertexts and keys: read once, from beginning to end.

Enters: a log. Leaves: for whom and at which label a ciphertext was sealed, and what keys there were.
Never: writes, or vouches for what it read: that is `qnb verify`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qnb.core.entry import EntryView, parse_statement
from qnb.errors import VerificationError
from qnb.store.log import Log

_MARKS = (b"predicate:seal:v1", b"predicate:share:v1", b"predicate:key:v1")


@dataclass(frozen=True, slots=True)
class Record:
    """What was recorded of a ciphertext: its entry, the label, the fingerprints that it is sealed to."""

    entry: int
    label: str
    recipients: tuple[str, ...]


class History:
    """The sealings and keys of a log."""

    def __init__(self, log: Log) -> None:
        self._records: dict[str, Record] = {}
        self._keys: dict[str, list[str]] = {}
        self._members: dict[str, set[str]] = {}
        for index, _, body in log.rows():
            if any(mark in body for mark in _MARKS):
                try:
                    self._take(index, parse_statement(body))
                except (VerificationError, KeyError, TypeError, AttributeError):  # `qnb verify` names it
                    continue

    @classmethod
    def of(cls, home: Path) -> History:
        """Of the log of an account.

        Raises:
            StorageError: it cannot be read.
        """
        with Log.open(home / "log.db", readonly=True) as log:
            return cls(log)

    def record_of(self, digest: bytes) -> Record | None:
        """What was recorded of a ciphertext (its SHA-256), None if nothing was."""
        return self._records.get(digest.hex())

    def fingerprints_of(self, name: str) -> tuple[str, ...]:
        """Fingerprints of the recipients that a key made here under that name has had."""
        return tuple(dict.fromkeys(self._keys.get(name, ())))

    def members_of(self, name: str) -> frozenset[str]:
        """Fingerprints of all that a key was sealed for since it was made or rotated: they may have its file."""
        return frozenset(self._members.get(name, ()))

    def count_sealed_to(self, fingerprints: Iterable[str]) -> int:
        """How many ciphertexts were sealed to any of these."""
        wanted = set(fingerprints)
        return sum(1 for record in self._records.values() if wanted & set(record.recipients))

    def _take(self, index: int, view: EntryView) -> None:
        if view.kind == "key":
            self._take_key(view)
            return
        if view.ciphertext is None:
            return
        recipients = view.predicate["recipients"]
        if isinstance(recipients, list):
            self._records[view.ciphertext] = Record(index, view.label, tuple(map(str, recipients)))

    def _take_key(self, view: EntryView) -> None:
        said = view.predicate
        name, event, members = str(said["name"]), said["event"], said["members"]
        found = {str(one) for one in members} if isinstance(members, list) else set()
        if event in ("created", "rotated"):
            known = (said["fingerprint"], said["previous"])
            self._keys.setdefault(name, []).extend(str(one) for one in known if one is not None)
            self._members[name] = found
        elif event == "resealed":
            self._members.setdefault(name, set()).update(found)
