"""What the interceptor holds of a session while something runs: the right to it, and the duty to say how it ended.

Enters: what was decided. Leaves: the session's record of the end. Never: a result, or a second record of one ticket.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnb.errors import QnbError
from qnb.kernel.cell import Cell, Grant
from qnb.kernel.naming import keep_names
from qnb.model import Call, Decision, Outcome, Retrieval

_KEPT = 16  # calls of a cell, and circuits of a call, that are kept

if TYPE_CHECKING:
    from qnb.kernel.session import Session


class Ticket:
    """The right to run one evaluation, and the duty to say how it ended."""

    def __init__(self, session: Session, cell: Cell, grant: Grant, call: Call) -> None:
        self._session, self._cell, self._grant, self._call = session, cell, grant, call

    def end(self, outcome: Outcome) -> None:
        """Record how the evaluation ended.

        Raises:
            QnbError: it could not be recorded; the caller must withhold the result.
        """
        self._session.ended(self._cell, self._grant, self._call, outcome)

    @property
    def hides_names(self) -> bool:
        """Whether the names of what is submitted must not reach the backend."""
        return self._session.authority.policy.hides_names(self._grant.decision.zone)

    def keep_names(self, content: bytes) -> Path | None:
        """Seal the map of the names that were replaced; see `qnb.kernel.naming`."""
        return keep_names(self._session, self._cell, self._grant, content)

    def keep(self, circuits: Sequence[Any]) -> None:
        """Take the judged copies of the first evaluation, to be kept sealed once the cell has replied."""
        cell = self._cell
        if self._grant.begun == 1 and cell.recipients and len(cell.ran) < _KEPT:
            cell.ran.append((self._grant.decision, self._call.circuits, circuits[:_KEPT]))


class RetrievalTicket:
    """The right to fetch the results of one job, and the duty to say what came of it."""

    def __init__(self, session: Session, cell: Cell, decision: Decision, retrieval: Retrieval) -> None:
        self._session, self._cell, self._decision, self._retrieval = session, cell, decision, retrieval

    def end(self, outcome: Outcome) -> None:
        """Record what came of it, durably.

        Raises:
            QnbError: it could not be recorded; the caller must withhold the results.
        """
        context = self._session.context(self._cell)
        try:
            self._session.authority.record_retrieval(context, self._decision, self._retrieval, outcome)
        except QnbError as error:
            self._cell.withheld = error
            raise
