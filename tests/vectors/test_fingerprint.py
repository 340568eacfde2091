"""docs/spec/fingerprint.md, written again from its words for a few circuits, and kept as it was."""

from __future__ import annotations

import struct
from hashlib import sha256

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qnb.core.circuits import describe, digest_options, digest_parameters


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def prefixed(data: bytes) -> bytes:
    return u64(len(data)) + data


def text(value: str) -> bytes:
    return b"s" + prefixed(value.encode())


def real(value: float) -> bytes:
    return b"f" + struct.pack("<d", value)


def column(code: str, *values: float) -> bytes:
    return u64(len(values)) + struct.pack(f"<{len(values)}{code}", *values)


def structure_of(
    qubits: int,
    clbits: int,
    kinds: list[bytes],
    codes: list[int],
    places: tuple[list[int], list[int]],
    symbolic: tuple[bytes, ...] = (),
) -> bytes:
    head = u64(qubits) + u64(clbits) + prefixed(b"")
    table = u64(len(kinds)) + b"".join(map(prefixed, kinds))
    operands = column("I", *places[0]) + column("I", *places[1])
    listed = u64(len(symbolic)) + b"".join(symbolic)
    return sha256(
        b"qnb-circuit-structure-v1\0" + head + b"M" + table + column("I", *codes) + operands + listed
    ).digest()


def fingerprint_of(structure: bytes, angles: list[float], exact: bytes = u64(0), phase: float = 0.0) -> bytes:
    return sha256(b"qnb-circuit-v1\0" + structure + real(phase) + exact + column("d", *angles)).digest()


def gate(name: str) -> bytes:
    return b"g" + text(name)


MEASURE = u64(1) + u64(1) + b"N" + b"s" + text("measure")


def test_bell_is_what_the_specification_says():
    """Kinds in order of appearance, columns, no angles."""
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    structure = structure_of(2, 2, [gate("h"), gate("cx"), MEASURE], [0, 1, 2, 2], ([0, 0, 1, 0, 1], [0, 1]))
    info = describe(circuit)
    assert info.structure == structure
    assert info.fingerprint == fingerprint_of(structure, [])


def test_angles_and_parameters_are_what_the_specification_says():
    """A bound angle is in its column only, a free one among the symbolic ones; the phase is masked."""
    circuit = QuantumCircuit(1, global_phase=0.25)
    circuit.rx(0.5, 0)
    circuit.rz(Parameter("anything"), 0)
    circuit.rx(2 * Parameter("else"), 0)
    product = b"*" + b"i" + prefixed(b"1") + u64(2)
    factors = sorted([b"n" + real(2.0), b"p" + u64(1)])
    symbolic = (u64(1) + prefixed(b"p" + u64(0)), u64(2) + prefixed(product + b"".join(factors)))
    structure = structure_of(1, 0, [gate("rx"), gate("rz")], [0, 1, 0], ([0, 0, 0], []), symbolic)
    info = describe(circuit)
    assert info.structure == structure
    assert info.fingerprint == fingerprint_of(structure, [0.5, 0.0, 0.0], phase=0.25)


def test_custom_gates_are_what_the_specification_says():
    """Two gates that differ in a bound angle are one kind of the structure and two of the fingerprint."""
    circuit = QuantumCircuit(1)
    inner, full = [], []
    for angle in (0.5, 0.75):
        step = QuantumCircuit(1, name=f"secret {angle}")
        step.rx(angle, 0)
        circuit.append(step.to_gate(), [0])
        structure = structure_of(1, 0, [gate("rx")], [0], ([0], []))
        head = u64(1) + u64(0) + b"N" + b"d"
        inner.append(head + structure)
        full.append(head + fingerprint_of(structure, [angle]))
    structure = structure_of(1, 0, inner[:1], [0, 0], ([0, 0], []))
    exact = u64(2) + b"".join(map(prefixed, full)) + column("I", 0, 1)
    info = describe(circuit)
    assert info.structure == structure
    assert info.fingerprint == fingerprint_of(structure, [], exact)


def test_values_are_what_the_specification_says():
    """Options as a mapping in the order of its keys' encodings; bound values as an array."""
    content = b"m" + u64(2) + text("a") + b"l" + u64(2) + b"T" + b"N" + text("b") + b"i" + prefixed(b"-3")
    assert digest_options({"b": -3, "a": (True, None)}) == sha256(b"qnb-options-v1\0" + content).digest()
    angle = Parameter("a")
    array = b"a" + text("<f8") + u64(2) + u64(2) + u64(1) + struct.pack("<2d", 0.5, 1.5)
    assert (
        digest_parameters([{angle: [0.5, 1.5]}], [(angle,)]) == sha256(b"qnb-parameters-v1\0" + u64(1) + array).digest()
    )


@pytest.mark.parametrize(
    ("build", "fingerprint"),
    [
        (lambda c: None, "6aa72eb33d3779d076a89236f59fb63b383d8bb79f03e48cd7062dd1c3cde009"),
        (lambda c: c.unitary([[0, 1], [1, 0]], 0), "47941e440425036c4cec38c3fe76f1ac64ab7e7a0a35f6416c515e817d56e5ec"),
        (lambda c: c.delay(100, 1), "753450e5ab21551f4fc55a588ae111264cf9eb87352641ddfa846756231dd716"),
        (lambda c: c.initialize("01", [0, 1]), "8276b1292a4200963b7255c75dfecb782776665dfcd1bea443fb483d899d4a26"),
        (
            lambda c: c.if_else((c.clbits[0], 1), QuantumCircuit(1, 1), None, [1], [0]),
            "9d078073d5d0b8d31e9741e21353b6fdf36ddd244318a6174ac096a0e59853bb",
        ),
    ],
    ids=["empty", "unitary", "delay", "initialize", "if"],
)
def test_fingerprint_is_what_it_was(build, fingerprint):
    """Version 1 never changes; another encoding is another version."""
    circuit = QuantumCircuit(2, 1)
    build(circuit)
    assert describe(circuit).fingerprint.hex() == fingerprint
