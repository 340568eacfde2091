"""What a circuit is, whatever it is called: fingerprint, structure and counts.

Enters: a `QuantumCircuit`. Leaves: `CircuitInfo`, and on request the free parameters in canonical order.
Never: reads a name (of the circuit, a register, a parameter, a variable), metadata, or an object's `repr`; changes the
circuit; leaves an operation out: what has no encoding raises.
Spec: docs/spec/fingerprint.md.

The encoding is by columns (operation codes, qubits, clbits, angles) over a table of operation kinds in order of first
appearance, because one pass over the Rust data that appends to lists is what 100k gates in 100 ms leave time for.
"""
# ruff: noqa: SLF001 - the public list of instructions copies each of them

from __future__ import annotations

import hashlib
import sys
from array import array
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit
from qiskit.circuit.controlflow import ControlFlowOp
from qiskit.exceptions import QiskitError

from qnb.core.circuits.classical import Scope
from qnb.core.circuits.encoding import UnencodableError, encode, number, prefixed
from qnb.core.circuits.expressions import AmbiguousOrderError, ParameterTable, SiteCollector
from qnb.core.circuits.operations import FIXED, Kind, Operations
from qnb.errors import ExecutionError
from qnb.model import CircuitInfo

_STRUCTURE = b"qnb-circuit-structure-v1\0"
_FINGERPRINT = b"qnb-circuit-v1\0"
_MASKED = b"M"

Places = tuple[list[int], list[int]]
"""Positions in the outermost circuit of the qubits and of the clbits that an operation stands on, in its order."""

# Standard gates are one kind per name for the life of the process: their name is their whole content.
_STANDARD: dict[str, tuple[Kind, bool]] = {}


class Body:
    """One encoded circuit, block or definition."""

    __slots__ = ("full", "operations", "size", "structure")

    def __init__(self, full: bytes, structure: bytes, operations: dict[str, int], size: int) -> None:
        self.full, self.structure, self.operations, self.size = full, structure, operations, size


class Encoder:
    """Encodes a circuit and what is nested in it, with one table of parameters, and labels as they are spelled."""

    def __init__(self, parameters: ParameterTable, labels: Mapping[str, str] | None = None) -> None:
        self.parameters = parameters
        self._labels = labels or {}

    def label(self, label: str | None) -> str | None:
        """A label as it is spelled: its own, unless another stands for it."""
        return None if label is None else self._labels.get(label, label)

    @cached_property
    def operations(self) -> Operations:
        """Encodes what is not a plain gate; most circuits need none of it."""
        return Operations(self)

    def body(  # noqa: C901 -- one pass over the data: a call per gate would take longer than the work
        self, circuit: QuantumCircuit, outer: Scope | None = None, places: Places | None = None
    ) -> Body:
        """Encode a circuit, a definition, or a block of control flow.

        Args:
            circuit: what to encode.
            outer: for a block, the scope that it stands in.
            places: for a block, where its qubits and clbits are in the outermost circuit. The SDK orders the bits of a
                block by their hashes, so their own positions mean nothing.

        Raises:
            UnencodableError: an operation has no encoding.
            AmbiguousOrderError: the parameters need an order first.
        """
        data = circuit._data
        qubit_at = dict(zip(data.qubits, range(data.num_qubits) if places is None else places[0], strict=True))
        clbit_at = dict(zip(data.clbits, range(data.num_clbits) if places is None else places[1], strict=True))
        scope = Scope(circuit, clbit_at, outer)
        fixed = FIXED
        phase = self._phase(circuit.global_phase)
        table: dict[Kind, int] = {}
        standard: dict[str, tuple[int, bool]] = {}  # name -> code here, and whether it has angles
        codes: list[int] = []
        qubits: list[int] = []
        clbits: list[int] = []
        angles: list[float] = []
        symbolic: list[bytes] = []
        for instruction in data:
            if instruction.is_standard_gate() and instruction.label is None:
                name = instruction.name
                known = standard.get(name)
                if known is None:
                    known = standard[name] = self._standard(instruction, table)
                codes.append(known[0])
                for bit in instruction.qubits:
                    qubits.append(qubit_at[bit])  # noqa: PERF401 - a comprehension is a call per gate
                if known[1]:
                    for angle in instruction.params:
                        number_ = angle if type(angle) is float else self._angle(angle, len(angles), symbolic)
                        angles.append(number_)
                continue
            at = [qubit_at[bit] for bit in instruction.qubits]
            stored_at = [clbit_at[bit] for bit in instruction.clbits]
            if instruction.is_standard_gate():
                kind = self._labelled(instruction, angles, symbolic)
            else:
                operation = instruction.operation
                known_kind = fixed.get(type(operation))
                if known_kind is not None:
                    kind = known_kind
                elif isinstance(operation, ControlFlowOp):
                    kind = self.operations.control_flow(operation, scope, (at, stored_at))
                    at.sort()
                    stored_at.sort()
                else:
                    kind = self.operations.kind(operation, scope)
            code = table.get(kind)
            if code is None:
                code = table[kind] = len(table)
            codes.append(code)
            qubits += at
            clbits += stored_at
        return self._finish(
            b"".join((number(len(qubit_at)), number(len(clbit_at)), prefixed(scope.header))),
            phase,
            table,
            codes,
            _column("I", qubits) + _column("I", clbits),
            _column("d", angles),
            number(len(symbolic)) + b"".join(symbolic),
        )

    def _standard(self, instruction: Any, table: dict[Kind, int]) -> tuple[int, bool]:
        known = _STANDARD.get(instruction.name)
        if known is None:
            name = instruction.name
            content = b"g" + encode(name)
            known = _STANDARD[name] = (Kind(content, content, name), bool(instruction.params))
        return table.setdefault(known[0], len(table)), known[1]

    def _labelled(self, instruction: Any, angles: list[float], symbolic: list[bytes]) -> Kind:
        """A label is content: a noise model picks the gates that it acts on by it."""
        for angle in instruction.params:
            angles.append(angle if type(angle) is float else self._angle(angle, len(angles), symbolic))
        content = b"h" + encode(instruction.name) + encode(self.label(instruction.label))
        return Kind(content, content, instruction.name)

    def _angle(self, angle: Any, position: int, symbolic: list[bytes]) -> float:
        """The number an angle stands for; an expression is put into `symbolic` with its position instead."""
        if isinstance(angle, Parameter):
            symbolic.append(number(position) + self.parameters.alone(angle))
            return 0.0
        if isinstance(angle, ParameterExpression):
            if angle.parameters:
                symbolic.append(number(position) + prefixed(self.parameters.expression(angle)))
                return 0.0
            angle = angle.numeric()
        if isinstance(angle, complex) and angle.imag:
            raise UnencodableError(angle)
        return float(angle.real if isinstance(angle, complex) else angle)

    def _phase(self, phase: Any) -> tuple[bytes, bytes]:
        """The global phase in full and with a number masked."""
        if type(phase) is float:
            return encode(phase), _MASKED
        symbolic: list[bytes] = []
        value = self._angle(phase, 0, symbolic)
        if symbolic:
            return symbolic[0], symbolic[0]
        return encode(value), _MASKED

    @staticmethod
    def _finish(
        head: bytes,
        phase: tuple[bytes, bytes],
        table: dict[Kind, int],
        codes: list[int],
        operands: bytes,
        angles: bytes,
        symbolic: bytes,
    ) -> Body:
        """Hash the structure, and the fingerprint over the structure and what is masked in it."""
        kinds = list(table)
        column = _column("I", codes)
        masked, numbered, exact = kinds, column, number(0)
        if any(kind.full is not kind.structure for kind in kinds):
            # kinds that differ in masked numbers only are one kind of the structure, numbered by appearance again
            merged: dict[bytes, int] = {}
            renumbered = [merged.setdefault(kind.structure, len(merged)) for kind in kinds]
            masked = [kinds[renumbered.index(position)] for position in range(len(merged))]
            numbered = _column("I", [renumbered[code] for code in codes])
            exact = b"".join((number(len(kinds)), *[prefixed(kind.full) for kind in kinds], column))
        tabled = b"".join([prefixed(kind.structure) for kind in masked])
        structure = hashlib.sha256(
            b"".join((_STRUCTURE, head, phase[1], number(len(masked)), tabled, numbered, operands, symbolic))
        ).digest()
        full = hashlib.sha256(b"".join((_FINGERPRINT, structure, phase[0], exact, angles))).digest()
        operations: dict[str, int] = {}
        for code, count in Counter(codes).items():
            name = kinds[code].name
            operations[name] = operations.get(name, 0) + count
        return Body(full, structure, operations, len(codes))


def _column(code: str, values: list[Any]) -> bytes:
    """The count and then the values: unsigned 32-bit (`I`) or IEEE 754 double (`d`), little-endian."""
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return number(len(values)) + column.tobytes()


def describe(circuit: QuantumCircuit, labels: Mapping[str, str] | None = None) -> CircuitInfo:
    """Fingerprint, structure and counts of a circuit.

    Args:
        circuit: any circuit; it is not changed.
        labels: labels of operations -> those that stand for them: what the circuit would be under these.

    Returns:
        `CircuitInfo`; equal fingerprints mean equal contents, whatever names they carry.

    Raises:
        ExecutionError: `unknown-operation`, an operation has neither a known encoding nor a definition; `deep-circuit`.
    """
    return describe_ordered(circuit, labels)[0]


def describe_ordered(
    circuit: QuantumCircuit, labels: Mapping[str, str] | None = None
) -> tuple[CircuitInfo, tuple[Parameter, ...]]:
    """`describe`, and the free parameters in the order of their indices in the fingerprint.

    Raises:
        ExecutionError: as in `describe`.
    """
    try:
        encoder = Encoder(ParameterTable(), labels)
        try:
            body = encoder.body(circuit)
        except AmbiguousOrderError:
            collector = SiteCollector()
            Encoder(collector, labels).body(circuit)
            encoder = Encoder(collector.ordered(), labels)
            body = encoder.body(circuit)
    except UnencodableError as error:
        of_sdk = f" (`{error.kind}`)" if error.kind.startswith("qiskit") else ""  # other names are the caller's text
        raise ExecutionError(
            "unknown-operation",
            f"the circuit holds an operation without a definition{of_sdk}, so it cannot be fingerprinted",
            "give the operation a definition, or transpile the circuit before you run it",
        ) from None
    except QiskitError:
        raise ExecutionError(
            "unreadable-operation",
            "the circuit holds an operation that the SDK itself cannot read back",
            "rebuild the circuit: a delay in seconds does not survive some versions of QPY",
        ) from None
    except RecursionError:
        raise ExecutionError(
            "deep-circuit",
            "the circuit's blocks or definitions are nested too deeply to be fingerprinted",
            "decompose the circuit before you run it",
        ) from None
    data = circuit._data
    info = CircuitInfo(
        fingerprint=body.full,
        structure=body.structure,
        qubits=data.num_qubits,
        clbits=data.num_clbits,
        size=body.size,
        operations=body.operations,
    )
    index = encoder.parameters.index
    if not index:
        return info, ()
    if len(index) == circuit.num_parameters:
        return info, tuple(index)
    free = circuit.parameters  # a loop's own parameter has an index, but is not free
    return info, tuple(parameter for parameter in index if parameter in free)
