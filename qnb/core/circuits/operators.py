"""Operators and observables as bytes: Pauli sums in their arrays, whatever container they come in.

Enters: `SparsePauliOp`, `SparseObservable`, `Pauli`, `PauliList`, `ObservablesArray`, Pauli strings, mappings
`Pauli string -> coefficient`, and lists of these. Leaves: bytes.
Never: simplifies, sorts terms or multiplies matrices: two spellings of one operator stay two.
Spec: docs/spec/fingerprint.md, "Operators".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp

from qnb.core.circuits.encoding import Fallback, encode


def encode_operator(value: Any, special: Fallback | None = None) -> bytes:
    """The bytes of one operator or of a nested list of them.

    Args:
        value: the operator.
        special: encodes coefficients that are expressions; None where there can be none.

    Raises:
        UnencodableError: a type that is not named above.
    """

    def fallback(item: object) -> bytes | None:
        if isinstance(item, SparseObservable):
            parts = (item.bit_terms, item.indices, item.boundaries, item.coeffs)
            return b"O" + encode((item.num_qubits, *map(np.asarray, parts)))
        if isinstance(item, SparsePauliOp):
            paulis = item.paulis
            return b"S" + encode((paulis.z, paulis.x, paulis.phase)) + encode(item.coeffs, special)
        if isinstance(item, (Pauli, PauliList)):
            return b"L" + encode((item.z, item.x, item.phase))
        if isinstance(item, Operator):
            return b"D" + encode((item.input_dims(), item.output_dims(), item.data))
        if isinstance(item, ObservablesArray):
            return b"A" + encode(item.sparse_observables_array(), fallback)
        return None if special is None else special(item)

    return encode(value, fallback)
