"""Checking a whole log: bytes, order, tree, signed heads, and that every act answers a decision.

Enters: the rows, checkpoints and evaluations as they stand in a log that anybody may have edited, and public keys.
Leaves: a `Report` that names each entry at fault and says which entries no checkpoint covers.
Never: stops at the first fault, or holds an unsigned tail for signed.
Spec: RFC 6962 section 2.1, C2SP tlog-checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from qnb.core.checkpoint import VKeys, parse_checkpoint, verify_checkpoint
from qnb.core.entry import EntryView, parse_statement
from qnb.core.merkle import HASH_SIZE, Frontier, leaf_hash, root
from qnb.core.verify import UNAUTHENTICATED, Report
from qnb.errors import (
    CheckpointError,
    ConsistencyError,
    InclusionError,
    QnbError,
    SubjectMismatchError,
    VerificationError,
)

_MAX_FAULTS = 50  # of one step that are named one by one
_PREFIX = 16  # bytes of a leaf hash that are kept to find repeated entries
# kind -> the actions of the decisions that it answers. A seal that answers a share is a rewrap; a key, a change of
# who reads. Some are recorded without one, where the policy's handling or the start of a session is the reason
_ANSWERS = {
    "execution": ("execute",),
    "retrieval": ("retrieve",),
    "unseal": ("unseal",),
    "share": ("share",),
    "declassify": ("declassify",),
    "seal": ("seal", "share"),
    "key": ("share",),
}
_MAY_STAND_ALONE = frozenset({"seal", "policy", "key"})


def audit_log(
    rows: Iterable[tuple[int, bytes, bytes]],
    checkpoints: Iterable[tuple[int, str]],
    evaluations: Callable[[int], list[bytes] | None],
    *,
    vkeys: VKeys | None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check a log from its first entry to its last.

    Args:
        rows: index, stored hashes (perfect subtrees ending there, leaf first) and bytes, by index.
        checkpoints: size and note, by size.
        evaluations: index of an execution entry -> the leaves kept beside it.
        vkeys: the pinned keys, None if there are none.
        progress: called with the number of entries read, now and then.
    """
    heads = _Heads(iter(checkpoints), vkeys)
    tree, story = _Tree(), _Story(evaluations)
    heads.take(tree)
    for index, nodes, body in rows:
        tree.take(index, nodes, body)
        heads.take(tree)
        story.take(index, body)
        if progress is not None and not index & 0xFFF:
            progress(index + 1)
    heads.finish(tree)
    report = Report("log", authenticated=heads.authenticated)
    tree.report(report, heads.covered)
    heads.report(report, tree.size)
    story.report(report)
    return report


class _Faults:
    """The faults of one step; all are counted, the first ones named."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.count = 0
        self._named: list[tuple[QnbError, int | None]] = []

    def add(self, error: QnbError, entry: int | None) -> None:
        self.count += 1
        if len(self._named) < _MAX_FAULTS:
            self._named.append((error, entry))

    def report(self, report: Report, held: str) -> None:
        for error, entry in self._named:
            report.failed(self.step, error, entry)
        more = self.count - len(self._named)
        if more:
            report.failed(self.step, VerificationError("more-faults", f"and {more} more"))
        if not self.count:
            report.passed(self.step, held)


class _Tree:
    """The entries' bytes against their leaves, and the leaves against the stored tree."""

    def __init__(self) -> None:
        self.size = 0
        self.missing: int | None = None  # first missing index: from there on no root can be computed
        self.frontier = Frontier()
        self._entries = _Faults("entries")
        self._tree = _Faults("tree")
        self._altered: dict[int, tuple[bytes, bytes]] = {}  # index -> hash of the bytes, stored leaf
        self._seen: dict[bytes, int] = {}
        self._repeats: list[tuple[int, int]] = []

    def take(self, index: int, nodes: bytes, body: bytes) -> None:
        if index != self.size:
            gap = f"entry {self.size} is" if index == self.size + 1 else f"entries {self.size} to {index - 1} are"
            self._entries.add(InclusionError("entry-missing", f"{gap} missing: deleted from the log"), self.size)
            self.missing = self.size if self.missing is None else self.missing
        self.size = index + 1
        leaf, stored = leaf_hash(body), nodes[:HASH_SIZE]
        if leaf != stored:
            self._altered[index] = leaf, stored
        first = self._seen.setdefault(stored[:_PREFIX], index)
        if first != index:
            self._repeats.append((index, first))
        if self.missing is None and self.frontier.append(stored) != nodes:
            wrong = InclusionError("tree", f"the hashes stored with entry {index} are not those of the tree")
            self._tree.add(wrong, index)

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
        for index, first in self._repeats:
            if index >= covered:  # under a signed head the log itself wrote it twice
                error = InclusionError("entry-repeated", f"entry {index} repeats entry {first}, and nothing signed it")
                self._entries.add(error, index)
        self._entries.report(report, f"{self.size} entries, each with the bytes that were recorded")
        if self.missing is None:
            self._tree.report(report, f"root {self.frontier.root().hex()[:16]}… over {self.size} entries")
        else:
            report.skipped("tree", f"from entry {self.missing} on: it is missing")


class _Heads:
    """The stored checkpoints, against the keys and against the tree as it grows."""

    def __init__(self, checkpoints: Iterator[tuple[int, str]], vkeys: VKeys | None) -> None:
        self.covered = 0  # entries under the last checkpoint that agrees with the tree
        self.count = 0
        self.authenticated = False
        self._checkpoints = checkpoints
        self._vkeys = vkeys
        self._next = next(checkpoints, None)
        self._signatures = _Faults("checkpoints")
        self._consistency = _Faults("consistency")
        self._origins: set[str] = set()

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
        if self.covered < size:
            what = f"entry {size - 1}" if size - self.covered == 1 else f"entries {self.covered} to {size - 1}"
            report.skipped("tail", f"{what}: no checkpoint covers them yet, so that an edit there cannot be told")


@dataclass(slots=True)
class _Decision:
    """What is kept of a decision until its answers are read."""

    allow: bool
    action: str | None
    session: str
    grant: int
    evaluations: int = 0
    answered: bool = False


class _Story:
    """What the entries say: each parses, acts follow decisions, evaluations lead to their root."""

    def __init__(self, evaluations: Callable[[int], list[bytes] | None]) -> None:
        self._load = evaluations
        self._decisions: dict[int, _Decision] = {}
        self._statements = _Faults("statements")
        self._order = _Faults("decisions")
        self._evaluations = _Faults("evaluations")
        self._count = 0
        self._open = 0

    def take(self, index: int, body: bytes) -> None:
        try:
            view = parse_statement(body)
        except VerificationError as error:
            self._statements.add(VerificationError(error.code, f"entry {index}: {error.message}"), index)
            return
        if view.kind == "decision":
            self._decisions[index] = _Decision(bool(view.allow), view.action, view.session, view.grant or 1)
            return
        try:
            self._check_decision(index, view)
        except VerificationError as error:
            self._order.add(error, index)
        if view.evaluations is not None and view.evaluations[2] is not None:
            try:
                self._check_evaluations(index, view.evaluations)
            except QnbError as error:
                self._evaluations.add(error, index)

    def _check_decision(self, index: int, view: EntryView) -> None:
        if view.decision is None and view.kind in _MAY_STAND_ALONE:
            return
        where = f"entry {index} ({view.kind})"
        decision = None if view.decision is None else self._decisions.get(view.decision)
        if decision is None:
            raise VerificationError("no-decision", f"{where} answers no decision before it")
        if not decision.allow:
            raise VerificationError("denied", f"{where} was done although entry {view.decision} denied it")
        if decision.action not in _ANSWERS.get(view.kind, ()) or decision.session != view.session:
            raise VerificationError(
                "other-decision", f"{where} answers entry {view.decision}, which is about another act"
            )
        decision.answered = True
        if view.evaluations is None:
            return
        first, count, _ = view.evaluations
        if first != decision.evaluations or count < 1:
            raise VerificationError(
                "evaluations-order",
                f"{where} starts at evaluation {first} of entry {view.decision}, {decision.evaluations} was next",
            )
        decision.evaluations += count
        if decision.evaluations > decision.grant:
            raise VerificationError(
                "grant-exceeded",
                f"{where} goes beyond the {decision.grant} evaluations that entry {view.decision} allows",
            )

    def _check_evaluations(self, index: int, evaluations: tuple[int, int, str | None]) -> None:
        first, count, expected = evaluations
        lines = self._load(index)
        if lines is None:
            raise InclusionError("evaluations-missing", f"the {count} evaluations of entry {index} are missing")
        self._count += len(lines)
        if root(map(leaf_hash, lines)).hex() != expected or len(lines) != count:
            raise SubjectMismatchError("evaluations-altered", f"the evaluations of entry {index} were altered")
        numbers = [_number_of(line) for line in lines]
        if numbers != list(range(first, first + count)):
            raise SubjectMismatchError("evaluations-order", f"the evaluations of entry {index} are out of order")

    def report(self, report: Report) -> None:
        self._statements.report(report, "every entry is a statement of this format")
        opened = sum(1 for d in self._decisions.values() if d.allow and d.action == "execute" and not d.answered)
        left = f", {opened} not followed by an end" if opened else ""
        self._order.report(report, f"{len(self._decisions)}, each before what it allowed{left}")
        self._evaluations.report(report, f"{self._count} kept beside their entries, each under its root")


def _number_of(evaluation: bytes) -> object:
    """What an evaluation says its number is; None when it says none. Whoever wrote a log anew hashed anything."""
    try:
        value = json.loads(evaluation)
    except (ValueError, RecursionError):
        return None
    return value.get("index") if isinstance(value, dict) else None
