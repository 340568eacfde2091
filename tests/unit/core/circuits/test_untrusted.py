"""Files of circuits are refused by what can be seen of them, and circuits by how large they are."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr, types
from qiskit.qpy.common import QPY_VERSION

from qnb.core.circuits.untrusted import (
    Limits,
    check_bytes,
    check_circuits,
    detect_format,
    parse_circuits,
    parse_limits,
)
from qnb.errors import ConfigError, InputError

LIMITS = Limits()
QASM2 = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;'
QASM3 = b'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'


def written(*circuits: QuantumCircuit, version: int = QPY_VERSION) -> bytes:
    file = io.BytesIO()
    qpy.dump(list(circuits), file, version=version)
    return file.getvalue()


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def refused(data: bytes, format_: str, limits: Limits = LIMITS) -> str:
    with pytest.raises(InputError) as error:
        check_bytes(data, format_, limits)
    return error.value.code


@pytest.mark.parametrize(
    ("data", "format_"),
    [(written(bell()), "qpy"), (QASM2, "qasm2"), (QASM3, "qasm3"), (b"// a\n/* b */ " + QASM3, "qasm3")],
)
def test_file_of_each_format_is_detected_and_parses(data: bytes, format_: str) -> None:
    """What the three formats begin with is enough to tell them apart."""
    assert detect_format(data) == format_
    check_bytes(data, format_, LIMITS)
    (circuit,) = parse_circuits(data, format_)
    check_circuits([circuit], LIMITS)
    assert circuit.num_qubits == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x80\x04\x95.", "pickle"),
        (b"\x1f\x8b\x08\x00", "compressed"),
        (b"", "unknown-format"),
        (b"qubit q;", "unknown-format"),
        (b"OPENQASM 4.0;", "unknown-format"),
        (b"\xff\xfe\x00", "unknown-format"),
    ],
)
def test_file_of_another_kind_is_refused_by_name(data: bytes, code: str) -> None:
    """A pickle and a compressed file are said to be that; anything else is unknown."""
    with pytest.raises(InputError) as error:
        detect_format(data)
    assert error.value.code == code


@pytest.mark.parametrize("version", range(13, QPY_VERSION + 1))
def test_qpy_from_version_13_is_read(version: int) -> None:
    """The versions that carry no code, up to what the installed SDK writes."""
    data = written(bell(), version=version)
    check_bytes(data, "qpy", LIMITS)
    assert parse_circuits(data, "qpy")[0] == bell()


@pytest.mark.parametrize("version", range(13))
def test_qpy_before_version_13_is_refused_unread(version: int) -> None:
    """CVE-2025-2000: the versions whose symbolic expressions are unpickled."""
    data = written(bell())
    assert refused(data[:6] + bytes([version]) + data[7:], "qpy") == "old-qpy"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d[:6] + b"\xff" + d[7:], "new-qpy"),
        (lambda d: d[:10], "malformed"),
        (lambda d: d[:10] + struct.pack("!Q", 0) + d[18:], "no-circuit"),
        (lambda d: d[:10] + struct.pack("!Q", 2**63) + d[18:], "too-large"),
        (lambda d: d[:19] + b"s" + d[20:], "not-a-circuit"),
        (lambda d: b"Q" * len(d), "malformed"),
    ],
)
def test_qpy_header_that_does_not_hold_is_refused(change: Any, code: str) -> None:
    """Version, number of programs and their kind, before the parser sees a byte."""
    assert refused(change(written(bell())), "qpy") == code


@pytest.mark.parametrize(
    ("text", "format_", "code"),
    [
        ('OPENQASM 2.0; include "/etc/passwd"; qreg q[1];', "qasm2", "include"),
        ("OPENQASM 2.0; include 'mine.inc'; qreg q[1];", "qasm2", "include"),
        ('OPENQASM 2.0; include\n"stdgates.inc"; qreg q[1];', "qasm2", "include"),
        ('OPENQASM 3.0; include "qelib1.inc"; qubit q;', "qasm3", "include"),
        ('OPENQASM 3.0; include "../stdgates.inc"; qubit q;', "qasm3", "include"),
        ("OPENQASM 3.0; qubit q;", "qasm2", "other-version"),
        ("OPENQASM 2.0; qreg q[10001];", "qasm2", "too-large"),
        ("OPENQASM 2.0; qreg q[6000]; qreg r[6000];", "qasm2", "too-large"),
        ("OPENQASM 2.0; creg c[99999999999999999999];", "qasm2", "too-large"),
        ("OPENQASM 3.0; qubit[20000] q;", "qasm3", "too-large"),
        ("OPENQASM 3.0; bit[200000] c;", "qasm3", "too-large"),
    ],
)
def test_qasm_that_asks_for_too_much_is_refused_unparsed(text: str, format_: str, code: str) -> None:
    """Includes, versions and sizes that the text itself declares."""
    assert refused(text.encode(), format_) == code


def test_include_in_a_comment_is_none() -> None:
    """What is commented out is not asked for."""
    check_bytes(b'OPENQASM 2.0;\n// include "mine.inc";\nqreg q[1];', "qasm2", LIMITS)


def test_file_beyond_its_bytes_is_refused() -> None:
    """The first limit, and the cheapest."""
    assert refused(QASM2, "qasm2", Limits(bytes=20)) == "too-large"


def expressions() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 2)
    angle = Parameter("a")
    total = angle
    for number in range(60):
        total = (total * (number + 2)).sin()
    circuit.rx(total, 0)
    return circuit


def classical() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 2)
    value = expr.lift(circuit.clbits[0])
    for _ in range(60):
        value = expr.logic_not(value)
    with circuit.if_test(value):
        circuit.x(0)
    return circuit


def stored() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    variable = circuit.add_var("v", expr.lift(1, types.Uint(8)))
    value = variable
    for _ in range(60):
        value = expr.bit_not(value)
    circuit.store(variable, value)
    return circuit


def nested(levels: int) -> QuantumCircuit:
    inner = QuantumCircuit(1, name="g")
    inner.x(0)
    for level in range(levels):
        outer = QuantumCircuit(1, name=f"g{level}")
        outer.append(inner.to_gate(), [0])
        inner = outer
    return inner


def blocks(levels: int) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    if levels == 0:
        circuit.x(0)
        return circuit
    circuit.if_test((circuit.clbits[0], 1), blocks(levels - 1), circuit.qubits, circuit.clbits)
    return circuit


@pytest.mark.parametrize(
    ("make", "limits"),
    [
        (lambda: QuantumCircuit(11), Limits(qubits=10)),
        (lambda: QuantumCircuit(1, 11), Limits(clbits=10)),
        (bell, Limits(instructions=3)),
        (lambda: nested(12), Limits(instructions=12)),
        (lambda: nested(12), Limits(depth=12)),
        (lambda: blocks(12), Limits(depth=12)),
        (expressions, Limits(expression=100)),
        (classical, Limits(expression=50)),
        (stored, Limits(expression=50)),
    ],
)
def test_circuit_beyond_a_limit_is_refused_and_within_it_is_not(make: Any, limits: Limits) -> None:
    """Each limit by itself: what it counts is counted, blocks and definitions included."""
    with pytest.raises(InputError) as error:
        check_circuits([make()], limits)
    assert error.value.code == "too-large"
    check_circuits([make()], LIMITS)


def test_parameters_beyond_their_limit_are_refused() -> None:
    """Free parameters, of one circuit."""
    circuit = QuantumCircuit(1)
    for number in range(5):
        circuit.rx(Parameter(f"a{number}"), 0)
    with pytest.raises(InputError):
        check_circuits([circuit], Limits(parameters=4))


def test_gates_that_double_are_counted_without_being_unrolled() -> None:
    """Forty definitions that each call the one before twice are a trillion operations, told at once."""
    lines = ['OPENQASM 2.0; include "qelib1.inc"; gate g0 a { h a; }']
    lines += [f"gate g{i + 1} a {{ g{i} a; g{i} a; }}" for i in range(40)]
    circuits = parse_circuits("\n".join([*lines, "qreg q[1]; g40 q[0];"]).encode(), "qasm2")
    with pytest.raises(InputError) as error:
        check_circuits(circuits, LIMITS)
    assert "instructions" in error.value.message


@pytest.mark.parametrize("format_", ["qpy", "qasm2", "qasm3"])
def test_malformed_file_gives_one_error_that_quotes_nothing(format_: str) -> None:
    """A parser's own words quote the file; ours do not."""
    data = {"qpy": written(bell())[:-20], "qasm2": QASM2 + b" canary-4711;", "qasm3": QASM3 + b" canary-4711 ++;"}[
        format_
    ]
    with pytest.raises(InputError) as error:
        parse_circuits(data, format_)
    assert error.value.code == "malformed"
    assert "4711" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("given", [{"qubit": 1}, {"qubits": 0}, {"qubits": 1.5}, {"qubits": True}])
def test_limit_that_is_none_is_refused(given: Any) -> None:
    """A misspelt limit that is passed over would be one that is off."""
    with pytest.raises(ConfigError):
        parse_limits(given)


def test_limits_are_set_by_name() -> None:
    """Those that are not named stay as they are."""
    assert parse_limits({"qubits": 5}) == Limits(qubits=5)
    assert parse_limits(None) == LIMITS
