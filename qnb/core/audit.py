"""Checking a whole log: bytes, order, tree, signed heads, and that every act answers a decision.

Enters: the rows, checkpoints and evaluations as they stand in a log that anybody may have edited, and public keys.
Leaves: a `Report` that names each entry at fault and says which entries no checkpoint covers.
Never: stops at the first fault, or holds an unsigned tail for signed.
Spec: RFC 6962 section 2.1, C2SP tlog-checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import islice, pairwise

from qnb.core.checkpoint import Checkpoint, KeyRing, VKeys, parse_checkpoint, verify_checkpoint
from qnb.core.merkle import HASH_SIZE, Frontier
from qnb.core.note import split_note
from qnb.core.story import Row, Story
from qnb.core.verify import UNAUTHENTICATED, Faults, Report
from qnb.core.witness import WitnessVKeys, verify_cosignature
from qnb.errors import (
    CheckpointError,
    ConsistencyError,
    InclusionError,
    QnbError,
)

_CHUNK = 1024  # entries that are hashed at once
_WRONG_HASHES = "the hashes stored with entry {} are not those of the tree"


def audit_log(
    rows: Iterable[Row],
    checkpoints: Iterable[tuple[int, str]],
    evaluations: Callable[[int], list[bytes] | None],
    *,
    vkeys: VKeys | KeyRing | None,
    witnesses: Sequence[WitnessVKeys] = (),
    now: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check a log from its first entry to its last.

    Args:
        rows: index, stored hashes (perfect subtrees ending there, leaf first) and bytes, by index.
        checkpoints: size and note, by size.
        evaluations: index of an execution entry -> the leaves kept beside it.
        vkeys: the pinned keys, None if there are none.
        witnesses: pinned keys of witnesses.
        now: POSIX seconds of the reader's clock, to tell what is dated later; None to leave that out.
        progress: called with the number of entries read, now and then.
    """
    heads = _Heads(iter(checkpoints), vkeys, witnesses)
    tree, story = _Tree(), Story(evaluations, heads.times, now)
    heads.take(tree)
    source = iter(rows)
    while True:
        chunk = list(islice(source, _CHUNK))
        if not chunk:
            break
        for stretch in _stretches(chunk, tree, heads):
            tree.take(stretch)
            heads.take(tree)
        story.take(chunk)
        if progress is not None:
            progress(tree.size)
    heads.finish(tree)
    report = Report("log", authenticated=heads.authenticated)
    tree.report(report, heads.covered)
    heads.report(report, tree.size)
    story.report(report)
    return report


def _stretches(chunk: list[Row], tree: _Tree, heads: _Heads) -> Iterator[list[Row]]:
    """Split rows where an index is missing and where a head is to be compared with the tree."""
    start = 0
    while start < len(chunk):
        first = chunk[start][0]
        stop = len(chunk)
        if heads.next_size is not None and tree.size == first < heads.next_size:
            stop = min(stop, start + heads.next_size - first)
        if chunk[stop - 1][0] != first + stop - 1 - start:  # a gap, or rows that are not by index
            stop = start + 1
        yield chunk[start:stop]
        start = stop


class _Tree:
    """The entries' bytes against their leaves, and the leaves against the stored tree."""

    def __init__(self) -> None:
        self.size = 0
        self.missing: int | None = None  # first missing index: from there on no root can be computed
        self.frontier = Frontier()
        self._entries = Faults("entries")
        self._tree = Faults("tree")
        self._altered: dict[int, tuple[bytes, bytes]] = {}  # index -> hash of the bytes, stored leaf
        self._leaves = bytearray()
        self._places: list[tuple[int, int]] = []  # (leaves before, index) of each stretch that follows a gap

    def take(self, rows: list[Row]) -> None:
        """Take in rows of adjoining indices."""
        first = rows[0][0]
        if first != self.size or not self._places:
            self._places.append((len(self._leaves) // HASH_SIZE, first))
        if first != self.size:
            gap = f"entry {self.size} is" if first == self.size + 1 else f"entries {self.size} to {first - 1} are"
            self._entries.add(InclusionError("entry-missing", f"{gap} missing: deleted from the log"), self.size)
            self.missing = self.size if self.missing is None else self.missing
        self.size = rows[-1][0] + 1
        computed = [sha256(b"\x00" + body).digest() for _, _, body in rows]
        stored = [nodes[:HASH_SIZE] for _, nodes, _ in rows]
        if computed != stored:
            for (index, _, _), leaf, claimed in zip(rows, computed, stored, strict=True):
                if leaf != claimed:
                    self._altered[index] = leaf, claimed
        self._leaves += b"".join(leaf.ljust(HASH_SIZE, b"\0") for leaf in stored)
        if self.missing is None:
            expected = self.frontier.extend(stored)
            if expected != [nodes for _, nodes, _ in rows]:
                for (index, nodes, _), right in zip(rows, expected, strict=True):
                    if nodes != right:
                        wrong = InclusionError(
                            "tree", f"the hashes stored with entry {index} are not those of the tree"
                        )
                        self._tree.add(wrong, index)

    def _repeats(self, covered: int) -> Iterator[tuple[int, int]]:
        """Entries under no signed head that equal an earlier one; under a head the log itself wrote it twice."""
        if covered >= self.size:
            return
        first: dict[bytes, int] = {}
        bounds = [*self._places, (len(self._leaves) // HASH_SIZE, 0)]
        for (start, index), (stop, _) in pairwise(bounds):
            for place in range(start, stop):
                leaf = bytes(self._leaves[place * HASH_SIZE : (place + 1) * HASH_SIZE])
                here = index + place - start
                earlier = first.setdefault(leaf, here)
                if earlier != here and here >= covered:
                    yield here, earlier

    def report(self, report: Report, covered: int) -> None:
        places = {stored: index for index, (_, stored) in self._altered.items()}
        for index, (leaf, _) in self._altered.items():
            other = places.get(leaf)
            if other is None:
                error = InclusionError("entry-altered", f"entry {index} was altered: its bytes are not those recorded")
            else:
                error = InclusionError(
                    "entry-moved", f"entry {index} holds the bytes of entry {other}: the order was changed"
                )
            self._entries.add(error, index)
        for index, first in self._repeats(covered):
            error = InclusionError("entry-repeated", f"entry {index} repeats entry {first}, and nothing signed it")
            self._entries.add(error, index)
        self._entries.report(report, f"{self.size} entries, each with the bytes that were recorded")
        if self.missing is None:
            self._tree.report(report, f"root {self.frontier.root().hex()[:16]}… over {self.size} entries")
        else:
            report.skipped("tree", f"from entry {self.missing} on: it is missing")


class _Heads:
    """The stored checkpoints, against the keys and against the tree as it grows."""

    def __init__(
        self, checkpoints: Iterator[tuple[int, str]], vkeys: VKeys | KeyRing | None, witnesses: Sequence[WitnessVKeys]
    ) -> None:
        self.covered = 0  # entries under the last checkpoint that agrees with the tree
        self.count = 0
        self.authenticated = False
        self.times: dict[int, int] = {}  # size -> POSIX seconds that a head vouches for
        self._checkpoints = checkpoints
        self._vkeys = vkeys
        self._witnesses = witnesses
        self._cosigned: dict[str, int] = {}  # name of a pinned witness -> entries under the last head it cosigned
        self._cosignatures = Faults("witness")
        self._strangers = False  # lines of somebody whose key is not pinned
        self._next = next(checkpoints, None)
        self._signatures = Faults("checkpoints")
        self._consistency = Faults("consistency")
        self._origins: set[str] = set()

    @property
    def next_size(self) -> int | None:
        """Size of the next head to compare."""
        return None if self._next is None else self._next[0]

    def take(self, tree: _Tree) -> None:
        """Compare the checkpoints of the tree's present size."""
        while self._next is not None and self._next[0] <= tree.size:
            size, note = self._next
            self._next = next(self._checkpoints, None)
            self._check(size, note, tree)

    def finish(self, tree: _Tree) -> None:
        """Check the signatures of those that the log no longer reaches."""
        while self._next is not None:
            size, note = self._next
            self._next = next(self._checkpoints, None)
            self._check(size, note, tree)

    def _check(self, size: int, note: str, tree: _Tree) -> None:
        self.count += 1
        try:
            checkpoint = parse_checkpoint(note) if self._vkeys is None else verify_checkpoint(note, self._vkeys)
        except QnbError as error:
            self._signatures.add(type(error)(error.code, f"checkpoint {size}: {error.message}"), None)
            return
        self._origins.add(checkpoint.origin)
        if checkpoint.time is not None:
            self.times[checkpoint.size] = checkpoint.time
        if checkpoint.size != size:
            self._signatures.add(CheckpointError("moved", f"checkpoint {size} signs {checkpoint.size} entries"), None)
        elif size > tree.size:
            gone = f"entry {tree.size} is" if size == tree.size + 1 else f"entries {tree.size} to {size - 1} are"
            short = ConsistencyError("truncated", f"{gone} missing at the end: checkpoint {size} signed more")
            self._consistency.add(short, tree.size)
        elif tree.missing is None and checkpoint.root != tree.frontier.root():
            what = f"entries {self.covered} to {size - 1}" if size - self.covered > 1 else f"entry {size - 1}"
            other = ConsistencyError("rewritten", f"{what}: the log is not what checkpoint {size} signed")
            self._consistency.add(other, self.covered)
        elif tree.missing is None:
            self.covered = size
            self.authenticated = self._vkeys is not None
            self._check_witnesses(checkpoint, note)

    def _check_witnesses(self, checkpoint: Checkpoint, note: str) -> None:
        if note.count("\n\u2014 ") <= 2:  # the log's own lines
            return
        if not self._witnesses:
            self._strangers |= any(name != checkpoint.origin for name, _ in split_note(note)[1])
        for witness in self._witnesses:
            try:
                if verify_cosignature(note, witness) is not None:
                    self._cosigned[witness.name] = checkpoint.size
            except QnbError as error:
                self._cosignatures.add(type(error)(error.code, f"checkpoint {checkpoint.size}: {error.message}"), None)

    def report(self, report: Report, size: int) -> None:
        """Signatures, consistency, and what no head covers."""
        if len(self._origins) > 1:
            error = CheckpointError("origins", f"checkpoints of {len(self._origins)} logs in one")
            self._signatures.add(error, None)
        if not self.count:
            report.skipped("checkpoints", "none was signed yet")
        elif self._vkeys is None and not self._signatures.count:
            report.skipped("checkpoints", UNAUTHENTICATED)
        else:
            self._signatures.report(report, f"{self.count} signed with Ed25519 and ML-DSA-44")
        if self.count:
            self._consistency.report(report, f"{self.count} checkpoints, each the beginning of the next and of the log")
        self._report_witnesses(report, size)
        if self.covered < size:
            what = f"entry {size - 1}" if size - self.covered == 1 else f"entries {self.covered} to {size - 1}"
            report.skipped("tail", f"{what}: no checkpoint covers them yet, so that an edit there cannot be told")

    def _report_witnesses(self, report: Report, size: int) -> None:
        if self._strangers:
            report.skipped("witness", "heads are cosigned, but no witness's key is pinned")
        for witness in self._witnesses:
            cosigned = self._cosigned.get(witness.name)
            if cosigned is None:
                missing = CheckpointError("not-cosigned", f"no head of this log is cosigned by `{witness.name}`")
                self._cosignatures.add(missing, None)
            else:
                behind = "all of them" if cosigned == size else f"{size - cosigned} came after"
                report.passed("witness", f"cosigned by `{witness.name}` up to {cosigned} entries, {behind}")
        if self._cosignatures.count:
            self._cosignatures.report(report, "")
