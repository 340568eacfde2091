"""What a log's entries say, as one story: each is a statement, acts follow decisions, evaluations lead to their root.

Enters: entries in order, and the evaluations kept beside them. Leaves: steps of a `Report`.
Never: takes an act for allowed that no decision before it, of the same session and action, allows.
Spec: docs/spec/entry.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from qnb.core.merkle import leaf_hash, root
from qnb.core.skim import Skim, skim_statement
from qnb.core.verify import Faults, Report
from qnb.errors import InclusionError, QnbError, SubjectMismatchError, VerificationError

Row = tuple[int, bytes, bytes]
"""Index, stored hashes, bytes."""

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


_TOLERANCE = 300.0  # seconds by which clocks that are kept may differ
_MAX_NOTES = 10


class _Clock:
    """The times that entries and heads give, against each other and against the reader's clock.

    Nobody can decide which clock was wrong, and an honest one is set sometimes: what does not agree is noted.
    """

    def __init__(self, heads: dict[int, int], now: float | None) -> None:
        self._heads = heads
        self._now = now
        self._latest = ""
        self._notes: list[tuple[str, str, int]] = []
        self._count = 0

    def take(self, index: int, time: str) -> None:
        if time < self._latest:
            back = _seconds(self._latest) - _seconds(time)
            if not back <= _TOLERANCE:
                self._note(
                    "clock-went-back", f"entry {index} is dated {_span(back)} before an entry ahead of it", index
                )
        else:
            self._latest = time
        if index + 1 in self._heads:
            ahead = _seconds(time) - self._heads.pop(index + 1)
            if not ahead <= _TOLERANCE:
                self._note("clock-ahead", f"entry {index} is dated {_span(ahead)} after the head over it", index)

    def _note(self, code: str, detail: str, index: int) -> None:
        self._count += 1
        if len(self._notes) < _MAX_NOTES:
            self._notes.append((code, detail, index))

    def report(self, report: Report) -> None:
        ahead = 0.0 if self._now is None or not self._latest else _seconds(self._latest) - self._now
        if not ahead <= _TOLERANCE:
            report.noted("times", "future", f"the log's latest entry is dated {_span(ahead)} in the future")
        for code, detail, index in self._notes:
            report.noted("times", code, f"{detail}: a clock was set, or the times are not to be relied on", index)
        if self._count > len(self._notes):
            report.noted("times", "more", f"and {self._count - len(self._notes)} more")


def _seconds(time: str) -> float:
    """POSIX seconds of an RFC 3339 time; not a number for anything else."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return float("nan")


def _span(seconds: float) -> str:
    if seconds != seconds:  # noqa: PLR0124 not a number
        return "at no time that can be read,"
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"


@dataclass(slots=True)
class _Decision:
    """What is kept of a decision until its answers are read."""

    allow: bool
    action: str | None
    session: str
    grant: int
    evaluations: int = 0
    answered: bool = False


class Story:
    """What the entries say: each parses, acts follow decisions, evaluations lead to their root."""

    def __init__(
        self, evaluations: Callable[[int], list[bytes] | None], heads: dict[int, int], now: float | None
    ) -> None:
        self._load = evaluations
        self._decisions: dict[int, _Decision] = {}
        self._statements = Faults("statements")
        self._order = Faults("decisions")
        self._evaluations = Faults("evaluations")
        self._clock = _Clock(heads, now)
        self._count = 0
        self._open = 0

    def take(self, rows: list[Row]) -> None:
        """Take in entries in order."""
        for index, _, body in rows:
            try:
                skim = skim_statement(body)
            except VerificationError as error:
                self._statements.add(VerificationError(error.code, f"entry {index}: {error.message}"), index)
                continue
            self._clock.take(index, skim.time)
            if skim.kind == "decision":
                self._decisions[index] = _Decision(bool(skim.allow), skim.action, skim.session, skim.grant or 1)
                continue
            if skim.decision is None and skim.kind in _MAY_STAND_ALONE:
                continue
            try:
                self._check_decision(index, skim)
            except VerificationError as error:
                self._order.add(error, index)
            if skim.evaluations is not None and skim.evaluations[2] is not None:
                try:
                    self._check_evaluations(index, skim.evaluations)
                except QnbError as error:
                    self._evaluations.add(error, index)

    def _check_decision(self, index: int, view: Skim) -> None:
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
        """Say how statements, decisions and evaluations stand."""
        self._clock.report(report)
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
