"""Keeping the map of the names that were replaced: sealed, on the record, before the job is submitted.

Enters: the map, and the cell and decision it belongs to. Leaves: an age file below `QNB_HOME/names`, a `seal` entry.
Never: keeps a map in clear, or one that cannot be opened by anybody; opens one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from qnb.core.seal import seal
from qnb.core.seal.output import padme
from qnb.kernel.cell import Cell, Grant

if TYPE_CHECKING:
    from qnb.kernel.session import Session


def keep_names(session: Session, cell: Cell, grant: Grant, content: bytes) -> Path | None:
    """Seal a map of names for the recipients of the cell's label.

    The evaluations of a loop send the same names: one map is kept for them.

    Args:
        session: whose cell it is.
        cell: where the job is submitted.
        grant: the decision that the job runs under.
        content: the map, a JSON object.

    Returns:
        The sealed file; None when the policy names nobody, at a label that is not sealed: it is in memory only.

    Raises:
        QnbError: it could not be sealed, written or recorded; nothing may be submitted.
    """
    digest = hashlib.sha256(content).digest()
    if digest not in grant.names:
        recipients = cell.recipients or session.recipients(session.authority.policy.handling(cell.label).recipients)
        path = None
        if recipients:
            facts = {"label": str(cell.label), "session": session.id, "decision": grant.decision.entry}
            plaintext = json.dumps({**facts, **json.loads(content)}, indent=1).encode("ascii") + b"\n"
            plaintext = plaintext.ljust(padme(len(plaintext)))  # how long the names are is not told by the file's size
            path = session.authority.keep_names(
                session.context(cell),
                grant.decision,
                seal(plaintext, recipients),
                [recipient.fingerprint for recipient in recipients],
            )
        grant.names[digest] = path
    return grant.names[digest]
