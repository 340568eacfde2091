"""What a session keeps of one run of a cell, and of the decisions that its evaluations share.

Enters: what is known when the cell opens. Leaves: the same, with what became of it. Never: an output or a value of the
cell.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qnb.core.directive import Directive
from qnb.core.evaluations import Batch
from qnb.core.seal import Recipient
from qnb.errors import DeniedError, QnbError
from qnb.kernel.flow import Passage
from qnb.model import CircuitInfo, Decision, Label


@dataclass(eq=False)
class Cell:
    """One outermost run of a cell.

    Attributes:
        sequence: ordinal in the session, from 1; 0 is what runs outside any cell.
        label: the effective label; it may rise while the cell runs, and is never lowered.
        carried: the cell whose label this one carries, None when the kernel's high-water mark adds nothing to it.
        because: the line that says why the label is above what the cell declares, None when it is not.
        passage: what is followed of the data that passes through it; None where no variables are followed.
        classified: whether its level's handling seals.
        refused: why nothing of the cell may run, None when it may.
        denials: the denials raised in it, so that an uncaught one is recognised as ours.
        withheld: the failure to record after a run for which the output must not be shown.
        ran: of each decision its circuits, described and as judged, until they are kept (`qnb.kernel.kept`).
    """

    sequence: int
    label: Label
    classified: bool
    msg_id: str | None = None
    cell_id: str | None = None
    notebook_id: str | None = None
    directive: Directive | None = None
    carried: int | None = None
    because: str | None = None
    passage: Passage | None = None
    purpose: str | None = None
    recipients: tuple[Recipient, ...] = ()
    source: bytes | None = None  # SHA-256 of the cell's raw source
    sealed_source: str | None = None  # the raw source, where it is to be sealed with the output
    refused: QnbError | None = None
    withheld: QnbError | None = None
    denials: list[DeniedError] = field(default_factory=list)
    pickles: bool = False  # whether unpickling a circuit in it was decided
    state: str = "running"  # then `ended`, then as sealed: `ok`, `failed`, `interrupted`
    grants: dict[tuple[object, ...], Grant] = field(default_factory=dict)
    ran: list[tuple[Decision, Sequence[CircuitInfo], Sequence[Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Passport:
    """What a child process is told of the session that it belongs to; no key, no decision, nothing of a cell's content.

    Attributes:
        session: id of the session.
        label: the effective label where the child was started.
        notebook, cell: ids of the cell that started it.
        purpose: the cell's.
    """

    session: str
    label: Label
    notebook: str | None
    cell: str | None
    purpose: str | None


class Grant:
    """One decision and the evaluations that share it."""

    def __init__(self, decision: Decision, batch: Batch) -> None:
        self.decision = decision
        self.batch = batch  # of evaluations that have ended and are not recorded yet
        self.begun = 0
        self.names: dict[bytes, Path | None] = {}  # maps of names kept for it, by their digest
        self.flushed_at: float | None = None
