"""Opening the circuits that are kept beside the log, on the record.

Enters: an authority, an entry, identities. Leaves: circuits, each the one that the entry names.
Never: a circuit that was not recorded to be opened; QPY that the log's key does not vouch for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from qnb.core.digester import DigestSet
from qnb.core.entry import EntryView
from qnb.core.kept import verify_vouched
from qnb.core.seal import Identity, open_
from qnb.errors import QnbError, SubjectMismatchError
from qnb.model import Action, Request
from qnb.store.authority import Authority
from qnb.store.log import Log

_MAX_SEALED = (1 << 20) + (1 << 18)  # bytes: the QPY of a cell at most, and recipients


@dataclass(frozen=True, slots=True)
class KeptCircuit:
    """A circuit that opened: its place in the call, the circuit (of the SDK), the entry that says so."""

    place: int
    circuit: Any
    entry: int


def open_circuits(
    authority: Authority, log: Log, decision: int, view: EntryView, keys: Callable[[], Sequence[Identity]]
) -> list[KeptCircuit]:
    """Open the circuits that are kept beside a decision.

    Args:
        authority: decides and records.
        log: where they are.
        decision: index of the decision entry.
        view: what it says.
        keys: identities; called only after the decision, so that a denied request unlocks no key.

    Raises:
        DeniedError: the policy says no.
        SealError: none of the identities opens them; the attempt is recorded.
        SubjectMismatchError: what is there is not what was recorded.
    """
    from qnb.core.circuits.kept import load_circuit  # the SDK

    label = authority.policy.scheme.parse(view.label)
    context = authority.context(label, notebook=view.notebook, cell=view.cell)
    opened: list[KeptCircuit] = []
    identities: Sequence[Identity] | None = None
    for place, sealed in log.circuits(decision):
        digest = sha256(sealed).digest()
        allowed = authority.require(Request(Action.UNSEAL, authority.principal, label), context, subject=digest)
        try:
            if len(sealed) > _MAX_SEALED:
                raise SubjectMismatchError("circuit-foreign", "the kept circuit is larger than the log keeps any")
            identities = keys() if identities is None else identities
            data = verify_vouched(open_(sealed, identities), authority.digester(label))
            circuit = load_circuit(data, _recorded(view, decision, place), authority.digester(label))
        except QnbError:
            authority.record_unseal(context, digest, decision=allowed, status="failed", path=None)
            raise
        entry = authority.record_unseal(context, digest, decision=allowed, status="ok", path=None)
        opened.append(KeptCircuit(place, circuit, entry))
    return opened


def _recorded(view: EntryView, decision: int, place: int) -> DigestSet:
    for name, digest in view.subjects:
        if name == f"circuit/{place}":
            return cast("DigestSet", {"hmac-sha256": digest})
    raise SubjectMismatchError("circuit-other", f"entry {decision} names no circuit {place}")
