"""What the log says of cells: their label of record, their last seal, what was released of them.

Enters: an open log. Leaves: answers from an index in memory, which grows with the log and is never built twice.
Never: believes a notebook; lowers a label because a later entry of another notebook says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from qnb.core.entry import EntryView, parse_statement
from qnb.errors import StorageError, VerificationError
from qnb.store.log import Log

# canonical JSON has these bytes nowhere else: inside a string the quotes would be escaped
_SEAL = b'"predicateType":"urn:qnb:predicate:seal:v1"'
_DECLASSIFY = b'"predicateType":"urn:qnb:predicate:declassify:v1"'


@dataclass(slots=True)
class _Cell:
    """What is known of one cell of one notebook: its last seal, and the digests of what was released."""

    seal: int | None = None
    label: str | None = None
    released: set[str] = field(default_factory=set)


class Record:
    """An index over the `seal` and `declassify` entries of a log.

    Args:
        log: open; read only is enough.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self._read = 0
        self._cells: dict[str, dict[str | None, _Cell]] = {}
        self._notebooks: set[str | None] = set()
        self._origins: dict[str, int] = {}  # ciphertext -> entry of its first wrapping

    def refresh(self) -> int:
        """Take in what was appended since the last time, and give the log's size.

        Raises:
            ConsistencyError: the log is shorter or other than it was.
            StorageError: it cannot be read.
        """
        size = self.log.size
        if size > self._read:
            for index, _, body in self.log.rows(self._read, size):
                if _SEAL in body or _DECLASSIFY in body:
                    try:
                        view = parse_statement(body)
                    except VerificationError:  # `qnb verify` names it
                        continue
                    self._take(index, view, body)
            self._read = size
        return size

    def latest_seal(self, notebook: str | None, cell: str) -> int | None:
        """Entry of the first wrapping of the last output of a cell, None if there is none."""
        self.refresh()
        found = self._cells.get(cell, {}).get(notebook)
        return None if found is None else found.seal

    def labels(self, notebook: str | None, cell: str) -> frozenset[str]:
        """The labels of record of a cell, as last refreshed: what it was last sealed at.

        More than one where it is not sure which cell is meant: entries without a notebook id count for every notebook,
        and a notebook without an id, or with one that no entry names, may be any.
        """
        return frozenset(found.label for found in self._meant(notebook, cell) if found.label is not None)

    def released(self, notebook: str | None, cell: str) -> frozenset[str]:
        """Hex digests of what was released of a cell, as the entries name it."""
        return frozenset(digest for found in self._meant(notebook, cell) for digest in found.released)

    def _meant(self, notebook: str | None, cell: str) -> list[_Cell]:
        known = self._cells.get(cell)
        if known is None:
            return []
        if notebook is None or notebook not in self._notebooks:
            return list(known.values())
        return [known[name] for name in (notebook, None) if name in known]

    def _take(self, index: int, view: EntryView, body: bytes) -> None:
        if view.cell is None:
            return
        self._notebooks.add(view.notebook)
        found = self._cells.setdefault(view.cell, {}).setdefault(view.notebook, _Cell())
        if view.kind == "seal":
            origin = self._origin(index, view)
            if found.seal is None or origin >= found.seal:
                found.seal, found.label = origin, view.label
        elif view.kind == "declassify":
            for subject in json.loads(body)["subject"]:
                if subject.get("name") == "content":
                    found.released |= {str(value) for value in subject["digest"].values()}

    def _origin(self, index: int, view: EntryView) -> int:
        """Entry of the first wrapping: a rewrap is a `seal` that answers a decision to `share` another ciphertext."""
        before: str | None = None
        if view.decision is not None:
            try:
                decision = parse_statement(self.log.entry(view.decision))
                before = decision.ciphertext if decision.action == "share" else None
            except (VerificationError, StorageError):  # `qnb verify` names it
                before = None
        origin = index if before is None else self._origins.get(before, index)
        if view.ciphertext is not None:
            self._origins[view.ciphertext] = origin
        return origin
