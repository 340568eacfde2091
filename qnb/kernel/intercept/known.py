"""Descriptions of circuits that a loop runs again and again: made once, used as long as the circuit is as it was.

Enters: a circuit that is about to run. Leaves: its description from an earlier run, or None.
Never: trusts an identity. A circuit can change in place, so it is compared with a copy that nobody else holds; and only
circuits of plain gates, measurements, resets and barriers are, because the SDK's comparison is exact for these and for
little else: it passes over labels and idle bits, which are looked at here.

A circuit is remembered when it is seen for the second time, so that one that runs once costs nothing here.
"""
# ruff: noqa: SLF001 - the Rust data compares without building a graph

from __future__ import annotations

import weakref
from dataclasses import dataclass

from qiskit.circuit import Barrier, Measure, Parameter, QuantumCircuit, Reset

from qnb.model import CircuitInfo

Description = tuple[CircuitInfo, tuple[Parameter, ...]]

_MOST = 64  # circuits
_LARGEST = 5000  # operations; above, a copy to compare with is not worth its memory
_PLAIN = frozenset({Barrier, *map(type, (Measure(), Reset()))})


@dataclass(slots=True)
class _Entry:
    """A circuit that was seen; from the second time on with a copy of it and its description."""

    circuit: weakref.ref[QuantumCircuit]
    reference: QuantumCircuit | None = None
    description: Description | None = None


_entries: dict[int, _Entry] = {}


def recall(circuit: QuantumCircuit, clone: QuantumCircuit) -> Description | None:
    """The description of `circuit`, if it is remembered; `clone` is a copy of it that is what it was then."""
    entry = _entries.get(id(circuit))
    if entry is None or entry.reference is None or entry.circuit() is not circuit:
        return None
    if _is_plain(clone) and _size(clone) == _size(entry.reference) and clone._data == entry.reference._data:
        return entry.description
    _entries.pop(id(circuit), None)
    return None


def remember(circuit: QuantumCircuit, clone: QuantumCircuit, description: Description) -> None:
    """Keep the description of `clone`, a copy of `circuit` made just now, if that has been seen before.

    The first time only that it has been seen is kept.
    """
    identity = id(circuit)
    entry = _entries.get(identity)
    if entry is not None and entry.circuit() is not circuit:
        entry = None  # of one that is gone, whose id this one got
    if entry is None:
        if len(_entries) >= _MOST:
            _entries.clear()
        _entries[identity] = _Entry(weakref.ref(circuit, lambda _: _entries.pop(identity, None)))
    elif entry.reference is None and len(clone._data) <= _LARGEST and _is_plain(clone):
        # not of the circuit itself: another thread may have changed it since the copy was described
        entry.reference, entry.description = clone.copy(), description


def _size(circuit: QuantumCircuit) -> tuple[int, int]:
    """The SDK's comparison passes over bits that nothing stands on."""
    return circuit.num_qubits, circuit.num_clbits


def _is_plain(circuit: QuantumCircuit) -> bool:
    for instruction in circuit._data:
        if instruction.label is not None or not (
            instruction.is_standard_gate() or type(instruction.operation) in _PLAIN
        ):
            return False
    return not (circuit.num_vars or circuit.num_stretches)
