"""What a session keeps of one run of a cell, and of the decisions that its evaluations share.

Enters: what is known when the cell opens. Leaves: the same, with what became of it. Never: an output or a value of the
cell.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from qnb.core.directive import Directive
from qnb.core.evaluations import Batch
from qnb.core.seal import Recipient
from qnb.errors import DeniedError, QnbError
from qnb.model import Decision, Label


@dataclass(eq=False)
class Cell:
    """One outermost run of a cell.

    Attributes:
        sequence: ordinal in the session, from 1; 0 is what runs outside any cell.
        label: the effective label; never lowered afterwards.
        carried: the cell whose label this one carries, None when it declared that label itself.
        classified: whether its level's handling seals.
        refused: why nothing of the cell may run, None when it may.
        denials: the denials raised in it, so that an uncaught one is recognised as ours.
        withheld: the failure to record after a run for which the output must not be shown.
    """

    sequence: int
    label: Label
    classified: bool
    msg_id: str | None = None
    cell_id: str | None = None
    notebook_id: str | None = None
    directive: Directive | None = None
    carried: int | None = None
    purpose: str | None = None
    recipients: tuple[Recipient, ...] = ()
    source: bytes | None = None  # SHA-256 of the cell's raw source
    sealed_source: str | None = None  # the raw source, where it is to be sealed with the output
    refused: QnbError | None = None
    withheld: QnbError | None = None
    denials: list[DeniedError] = field(default_factory=list)
    state: str = "running"  # then `ended`, then as sealed: `ok`, `failed`, `interrupted`
    grants: dict[tuple[object, ...], Grant] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Grant:
    """One decision and the evaluations that share it."""

    def __init__(self, decision: Decision, batch: Batch) -> None:
        self.decision = decision
        self.batch = batch  # of evaluations that have ended and are not recorded yet
        self.begun = 0
        self.flushed_at: float | None = None
