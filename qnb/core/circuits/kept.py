"""A circuit as it is kept for those who may open it, and drawn for them.

Enters: a judged circuit, or bytes that come back from where anybody may have put them. Leaves: QPY, or a circuit whose
fingerprint is the one that was recorded, and its drawing.
Never: reads QPY larger than it is ever written, or of another version than this SDK reads without evaluating a text.
Spec: QPY (Qiskit's `qiskit.qpy`), from version 13, where parameter expressions are data and no text to evaluate;
docs/spec/entry.md, "Circuits beside the log".
"""

from __future__ import annotations

import io

from qiskit import qpy
from qiskit.circuit import QuantumCircuit

from qnb.core.circuits.fingerprint import describe
from qnb.core.digester import Digester, DigestSet
from qnb.errors import SubjectMismatchError

MAX_CELL = 1 << 20  # bytes of QPY that one cell's circuits take
MAX_CIRCUITS = 16  # of one cell
_MAX_OPERATIONS = 20_000  # writing QPY of more would be felt, even in the background
_MAGIC = b"QISKIT"
_OLDEST = 13


def save_circuit(circuit: QuantumCircuit, fingerprint: bytes) -> bytes | None:
    """QPY of a circuit that has run; None when it is too large, or no longer the one that was judged."""
    if len(circuit.data) > _MAX_OPERATIONS:
        return None
    try:
        if describe(circuit).fingerprint != fingerprint:
            return None
        file = io.BytesIO()
        qpy.dump(circuit, file)
    except Exception:  # noqa: BLE001 - whatever an operation of the user's own does when it is written
        return None
    data = file.getvalue()
    return data if len(data) <= MAX_CELL else None


def load_circuit(data: bytes, recorded: DigestSet, digester: Digester) -> QuantumCircuit:
    """Read a circuit back.

    Args:
        data: QPY for which the log's key vouches (`qnb.core.kept.verify_vouched`).
        recorded: digest set of the circuit in the entry.
        digester: of the log, keyed.

    Raises:
        SubjectMismatchError: it cannot be read, or is not the recorded circuit.
    """
    if not 6 < len(data) <= MAX_CELL or data[:6] != _MAGIC or not _OLDEST <= data[6] <= qpy.QPY_VERSION:
        raise SubjectMismatchError(
            "circuit-version", "the kept circuit is of a version that this Qiskit does not read", "update Qiskit"
        )
    try:
        (circuit,) = qpy.load(io.BytesIO(data))
        fingerprint = describe(circuit).fingerprint
    except Exception:  # noqa: BLE001 - whatever a reader of a binary format meets
        raise SubjectMismatchError("circuit-unread", "the kept circuit cannot be read back") from None
    if digester.digest_set("circuit", fingerprint) != recorded:
        raise SubjectMismatchError("circuit-other", "the kept circuit is not the one that the entry names")
    return circuit


def draw_circuit(circuit: QuantumCircuit, width: int | None = None) -> str:
    """A drawing in text, `width` columns wide before it is folded."""
    return str(circuit.draw("text", fold=width or -1, cregbundle=False))
