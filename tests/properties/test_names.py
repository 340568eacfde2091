"""What is sent under neutral names runs as it would have under its own, and comes back the same."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qpy, transpile
from qiskit.circuit import (
    AnnotatedOperation,
    ClassicalRegister,
    ControlModifier,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    QuantumRegister,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import XGate
from qiskit.primitives import StatevectorSampler
from qiskit_aer import AerSimulator

from qnb.core.circuits import describe
from qnb.core.circuits.names import Renamer, fingerprint_sent
from qnb.core.circuits.restored import restore_result

pytestmark = pytest.mark.slow

CANARIES = (b"dose_mg", b"patient_4711")
SIMULATOR = AerSimulator(max_parallel_threads=1)
VECTOR = ParameterVector("dose_mg_angles", 3)
ANGLES = [Parameter("dose_mg"), Parameter("patient_4711_b"), Parameter("a_dose_mg"), *VECTOR]


def custom(angle: Any) -> Any:
    """A gate of one's own within a gate of one's own."""
    inner = QuantumCircuit(QuantumRegister(2, "patient_4711_inner"), name="dose_mg_inner")
    inner.rx(angle, 0)
    inner.cx(0, 1)
    outer = QuantumCircuit(2, name="patient_4711_gate")
    outer.append(inner.to_gate(label="dose_mg_label"), [0, 1])
    outer.h(0)
    return outer.to_gate()


def annotated(number: float) -> AnnotatedOperation:
    """Modified twice, over three qubits."""
    return AnnotatedOperation(custom(number), [InverseModifier(), PowerModifier(2), ControlModifier(1)])


STRAIGHT: dict[str, Any] = {
    "h": lambda c, a, b, angle, number: c.h(a),
    "cx": lambda c, a, b, angle, number: c.cx(a, b),
    "rx": lambda c, a, b, angle, number: c.rx(angle, a),
    "expression": lambda c, a, b, angle, number: c.rz(2 * angle - ANGLES[a + 1] + number, a),
    "phase": lambda c, a, b, angle, number: setattr(c, "global_phase", c.global_phase + angle),
    "measure": lambda c, a, b, angle, number: c.measure(a, b),
    "reset": lambda c, a, b, angle, number: c.reset(a),
    "barrier": lambda c, a, b, angle, number: c.barrier(a, b, label="dose_mg_barrier"),
    "custom": lambda c, a, b, angle, number: c.append(custom(angle), [a, b]),
    "controlled": lambda c, a, b, angle, number: c.append(
        custom(number).control(1, annotated=False), [a, b, 3 - a - b]
    ),
    "annotated": lambda c, a, b, angle, number: c.append(annotated(number), [a, b, 3 - a - b]),
    "labelled": lambda c, a, b, angle, number: c.append(XGate(label="patient_4711_x"), [a]),
    "delay": lambda c, a, b, angle, number: c.delay(100, a, unit="dt"),
}
BLOCKS = ["if", "if-else", "while", "for", "switch", "variable", "store", "compare"]


def grow(steps: list[tuple[str, int, int, float]], *, blocks: bool) -> QuantumCircuit:
    """A circuit over three qubits and two registers, from steps that each name an operation and its operands."""
    qubits, more = QuantumRegister(2, "dose_mg_q"), QuantumRegister(1, "patient_4711_q")
    first, second = ClassicalRegister(2, "patient_4711_c"), ClassicalRegister(1, "dose_mg_c")
    circuit = QuantumCircuit(qubits, more, first, second, name="patient_4711", metadata={"dose_mg": 4711})
    variable = circuit.add_var("dose_mg_v", expr.lift(1, types.Uint(2))) if blocks else None
    for name, place, other, number in steps:
        a, b = place % 3, (place + 1 + other % 2) % 3
        angle = ANGLES[other % len(ANGLES)]
        if name in STRAIGHT:
            STRAIGHT[name](circuit, a, b, angle, number)
        elif blocks:
            grow_block(circuit, variable, name, a, b, other, angle)
    if not blocks:
        circuit.measure([0, 1, 2], [0, 1, 2])
    return circuit


def grow_block(circuit: QuantumCircuit, variable: Any, name: str, a: int, b: int, other: int, angle: Any) -> None:
    """Control flow and classical data."""
    first, second = circuit.cregs
    if name == "if":
        with circuit.if_test((first, other % 4)):
            circuit.x(a)
    elif name == "if-else":
        with circuit.if_test(
            expr.bit_and(expr.lift(second[0]), expr.equal(first, other % 4)), label="dose_mg_if"
        ) as more:
            circuit.rx(angle, a)
        with more:
            circuit.z(b)
    elif name == "while":
        with circuit.while_loop((second[0], True)):
            circuit.h(a)
            circuit.measure(a, second[0])
            with circuit.if_test((first[1], True)):
                circuit.break_loop()
    elif name == "for":
        with circuit.for_loop(range(1 + other % 3), Parameter("patient_4711_i")) as loop:
            circuit.rx(loop * 0.3 + angle, a)
    elif name == "switch":
        with circuit.switch(first) as case:
            with case(0, 3):
                circuit.x(a)
            with case(case.DEFAULT):
                circuit.y(b)
    elif name == "variable":
        circuit.store(variable, expr.bit_xor(variable, other % 4))
    elif name == "store":
        circuit.store(variable, expr.cast(first, types.Uint(2)))
    elif name == "compare":
        with circuit.if_test(expr.less(variable, 1 + other % 3)):
            circuit.x(b)


steps = st.lists(
    st.tuples(
        st.sampled_from([*STRAIGHT, *BLOCKS]), st.integers(0, 5), st.integers(0, 11), st.floats(-3, 3, allow_nan=False)
    ),
    min_size=1,
    max_size=8,
)
quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a run on Aer costs too much to shrink by
)


def run(circuit: QuantumCircuit, values: dict[Any, float]) -> Any:
    bound = circuit.assign_parameters(values, strict=False)
    bound.name = circuit.name  # binding makes it another one
    level = transpile(bound, SIMULATOR, optimization_level=0, seed_transpiler=1)
    return SIMULATOR.run(level, shots=64, seed_simulator=5, memory=True).result()


@given(steps)
@quick
def test_sent_circuit_holds_no_name_and_has_the_same_fingerprint(drawn: list[tuple[str, int, int, float]]) -> None:
    """No byte of what serialisers write of it says a name, and the fingerprint is the one that was decided on."""
    circuit = grow(drawn, blocks=True)
    renamer = Renamer([circuit])
    sent = renamer.circuit(circuit)
    file = io.BytesIO()
    qpy.dump(sent, file)
    for content in (file.getvalue(), pickle.dumps(sent), sent.draw("text", cregbundle=False).single_string().encode()):
        assert not [canary for canary in CANARIES if canary in content]
    assert describe(sent).fingerprint == fingerprint_sent(circuit, renamer.labels)
    if "expression" not in [step[0] for step in drawn] and "phase" not in [step[0] for step in drawn]:
        assert describe(sent).fingerprint == describe(circuit, renamer.labels).fingerprint
    assert [renamer.by_name[parameter.name] for parameter in circuit.parameters] == [
        parameter.name for parameter in sent.parameters
    ]


@given(steps, st.lists(st.floats(-3, 3, allow_nan=False), min_size=len(ANGLES), max_size=len(ANGLES)))
@quick
def test_restored_result_equals_the_one_of_the_plain_run(
    drawn: list[tuple[str, int, int, float]], numbers: list[float]
) -> None:
    """With a seed, counts, memory and headers are those of a run that kept its names."""
    circuit = grow(drawn, blocks=True)
    circuit.measure([0, 1, 2], [0, 1, 2])
    values = dict(zip(ANGLES, numbers, strict=True))
    renamer = Renamer([circuit])
    plain = run(circuit, values)
    sent = renamer.circuit(circuit)
    came = run(sent, {renamer.parameters[p]: value for p, value in values.items() if p in renamer.parameters})
    back = restore_result(came, renamer.names)
    assert came.success == plain.success
    if not plain.success:  # Aer knows no comparison of variables: it says so of both
        return
    assert back.get_counts() == plain.get_counts()
    assert back.get_memory() == plain.get_memory()
    assert back.results[0].header == plain.results[0].header
    assert "patient_4711" not in str(came.results[0].header)


@given(steps, st.lists(st.floats(-3, 3, allow_nan=False), min_size=len(ANGLES), max_size=len(ANGLES)))
@quick
def test_restored_primitive_result_equals_the_one_of_the_plain_run(
    drawn: list[tuple[str, int, int, float]], numbers: list[float]
) -> None:
    """Values bound by position or by name mean the same parameters, and fields have their registers' names."""
    circuit = grow([step for step in drawn if step[0] not in ("measure", "reset", "delay")], blocks=False)
    values = dict(zip((angle.name for angle in ANGLES), numbers, strict=True))
    by_place = [values[parameter.name] for parameter in circuit.parameters]
    renamer = Renamer([circuit])
    sent = renamer.circuit(circuit)
    renamer.names.order = [sent.name]
    by_name = {renamer.by_name[parameter.name]: values[parameter.name] for parameter in circuit.parameters}
    plain = StatevectorSampler(seed=3).run([(circuit, by_place)], shots=64).result()[0]
    for given_values in (by_place, by_name):
        came = StatevectorSampler(seed=3).run([(sent, given_values)], shots=64).result()
        back = restore_result(came, renamer.names)[0]
        assert list(back.data) == ["patient_4711_c", "dose_mg_c"]
        for field in back.data:
            assert back.data[field].get_counts() == plain.data[field].get_counts()
        assert back.metadata == plain.metadata
        assert "patient" not in str(came)
