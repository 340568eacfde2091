"""Per class of operation: what is content and what is not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy, transpile
from qiskit.circuit import (
    AnnotatedOperation,
    Annotation,
    Clbit,
    Gate,
    Instruction,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    Qubit,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import (
    CUGate,
    DiagonalGate,
    HGate,
    Initialize,
    LinearFunction,
    MCXGate,
    PauliEvolutionGate,
    PauliGate,
    PermutationGate,
    QFTGate,
    RXGate,
    RYGate,
    StatePreparation,
    UnitaryGate,
    XGate,
    ZGate,
    efficient_su2,
    real_amplitudes,
    zz_feature_map,
)
from qiskit.quantum_info import Clifford, Kraus, SparseObservable, SparsePauliOp
from qiskit.synthesis import LieTrotter, SuzukiTrotter
from qiskit_aer.noise import depolarizing_error

from qnb.core.circuits import describe, describe_ordered
from qnb.errors import ExecutionError


def one(operation: Any, qubits: int = 3, clbits: int = 2) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, clbits)
    circuit.append(operation, range(operation.num_qubits), range(operation.num_clbits))
    return circuit


def control(build: Callable[[QuantumCircuit], None]) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2), ClassicalRegister(2))
    build(circuit)
    return circuit


def defined(name: str, *angles: float) -> Gate:
    inner = QuantumCircuit(2, name=name)
    for angle in angles:
        inner.rx(angle, 0)
    inner.cx(0, 1)
    return inner.to_gate()


def _if(test: Any, block: Callable[[QuantumCircuit], None]) -> QuantumCircuit:
    def build(circuit: QuantumCircuit) -> None:
        with circuit.if_test(test(circuit)):
            block(circuit)

    return control(build)


def _else(circuit: QuantumCircuit) -> None:
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(0)
    with otherwise:
        circuit.y(0)


def _for(indices: Any, use: bool) -> QuantumCircuit:
    def build(circuit: QuantumCircuit) -> None:
        with circuit.for_loop(indices) as turn:
            circuit.rx(turn if use else 1.0, 0)

    return control(build)


def _switch(target: Any, label: Any) -> QuantumCircuit:
    def build(circuit: QuantumCircuit) -> None:
        with circuit.switch(target(circuit)) as case:
            with case(label):
                circuit.x(0)
            with case(case.DEFAULT):
                circuit.y(0)

    return control(build)


def _while(test: Any, leave: str) -> QuantumCircuit:
    def build(circuit: QuantumCircuit) -> None:
        with circuit.while_loop(test(circuit)):
            getattr(circuit, leave)()

    return control(build)


def _box(**options: Any) -> QuantumCircuit:
    def build(circuit: QuantumCircuit) -> None:
        with circuit.box(**options):
            circuit.x(0)

    return control(build)


def _stored(value: int, width: int, operation: Callable[[Any], Any]) -> QuantumCircuit:
    def build(circuit: QuantumCircuit) -> None:
        first = circuit.add_var("a", expr.lift(value, types.Uint(width)))
        second = circuit.add_var("b", expr.lift(value, types.Uint(width)))
        circuit.store(first, operation(second))

    return control(build)


def _stretched(operation: Callable[[Any], Any]) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.delay(operation(circuit.add_stretch("s")), 0)
    circuit.delay(circuit.add_stretch("t"), 1)
    return circuit


def x(circuit: QuantumCircuit) -> None:
    circuit.x(0)


class Twirled(Annotation):
    """An annotation with content."""

    namespace = "test.twirl"

    def __init__(self, group: str) -> None:
        self.group = group


T = Parameter("t")
ONE, TWO = SparsePauliOp(["XX", "ZZ"], [1, 2]), SparsePauliOp(["XX", "ZZ"], [1, 3])

# every circuit here is another one: no two of them share a fingerprint
DIFFERENT: dict[str, QuantumCircuit] = {
    "empty": QuantumCircuit(3, 2),
    "more qubits": QuantumCircuit(4, 2),
    "more clbits": QuantumCircuit(3, 3),
    "phase": QuantumCircuit(3, 2, global_phase=0.5),
    "free phase": QuantumCircuit(3, 2, global_phase=T),
    "h": one(HGate()),
    "labelled h": one(HGate(label="noisy")),
    "rx": one(RXGate(0.5)),
    "labelled rx": one(RXGate(0.5, label="noisy")),
    "rx other": one(RXGate(0.5000000001)),
    "ry": one(RYGate(0.5)),
    "rx free": one(RXGate(T)),
    "rx 2t": one(RXGate(2 * T)),
    "rx t+1": one(RXGate(T + 1)),
    "cx open": one(XGate().control(1, ctrl_state=0)),
    "cx": one(XGate().control(1)),
    "ccx 01": one(XGate().control(2, ctrl_state=1)),
    "ccx 10": one(XGate().control(2, ctrl_state=2)),
    "mcx": one(MCXGate(4), 5),
    "mcx open": one(MCXGate(4, ctrl_state=7), 5),
    "cu": one(CUGate(1, 2, 3, 4)),
    "controlled custom": one(defined("a", 0.5).control(1)),
    "controlled custom open": one(defined("a", 0.5).control(1, ctrl_state=0)),
    "controlled custom other": one(defined("a", 0.6).control(1)),
    "annotated control": one(AnnotatedOperation(HGate(), [PowerModifier(2)])),
    "annotated power": one(AnnotatedOperation(HGate(), [PowerModifier(3)])),
    "annotated inverse": one(AnnotatedOperation(HGate(), [InverseModifier()])),
    "annotated base": one(AnnotatedOperation(ZGate(), [InverseModifier()])),
    "annotated open": one(HGate().control(2, ctrl_state=1, annotated=True)),
    "unitary": one(UnitaryGate(np.eye(2))),
    "unitary z": one(UnitaryGate(np.diag([1, -1]))),
    "initialize label": one(Initialize("01")),
    "initialize integer": one(Initialize(1, 2)),
    "initialize vector": one(Initialize([1, 0, 0, 0])),
    "initialize other vector": one(Initialize([0, 0, 1, 0])),
    "prepare label": one(StatePreparation("01")),
    "prepare inverse": one(StatePreparation("01", inverse=True)),
    "permutation": one(PermutationGate([1, 0, 2])),
    "permutation other": one(PermutationGate([2, 0, 1])),
    "diagonal": one(DiagonalGate([1, -1])),
    "diagonal other": one(DiagonalGate([1, 1j])),
    "linear": one(LinearFunction([[1, 1], [0, 1]])),
    "linear other": one(LinearFunction([[1, 0], [1, 1]])),
    "pauli": one(PauliGate("XYZ")),
    "pauli other": one(PauliGate("XZY")),
    "qft": one(QFTGate(3)),
    "qft small": one(QFTGate(2)),
    "clifford": one(Clifford(HGate())),
    "clifford other": one(Clifford(XGate())),
    "kraus": one(Kraus([np.eye(2) * 0.6, np.diag([1, -1]) * 0.8]).to_instruction()),
    "kraus other": one(Kraus([np.eye(2) * 0.8, np.diag([1, -1]) * 0.6]).to_instruction()),
    "error": one(depolarizing_error(0.1, 1).to_instruction()),
    "error other": one(depolarizing_error(0.2, 1).to_instruction()),
    "evolution": one(PauliEvolutionGate(ONE, time=1)),
    "evolution operator": one(PauliEvolutionGate(TWO, time=1)),
    "evolution list": one(PauliEvolutionGate([ONE, TWO], time=1)),
    "evolution sparse": one(PauliEvolutionGate(SparseObservable("XX"), time=1)),
    "evolution time": one(PauliEvolutionGate(ONE, time=2)),
    "evolution free": one(PauliEvolutionGate(ONE, time=T)),
    "evolution steps": one(PauliEvolutionGate(ONE, time=1, synthesis=LieTrotter(reps=2))),
    "evolution order": one(PauliEvolutionGate(ONE, time=1, synthesis=SuzukiTrotter(order=4))),
    "custom": one(defined("a", 0.5)),
    "custom other": one(defined("a", 0.6)),
    "custom longer": one(defined("a", 0.5, 0.5)),
    "if": _if(lambda c: (c.clbits[0], 1), x),
    "if value": _if(lambda c: (c.clbits[0], 0), x),
    "if bit": _if(lambda c: (c.clbits[1], 1), x),
    "if block": _if(lambda c: (c.clbits[0], 1), lambda c: c.y(0)),
    "if block qubit": _if(lambda c: (c.clbits[0], 1), lambda c: c.x(1)),
    "if register": _if(lambda c: (c.cregs[0], 1), x),
    "if other register": _if(lambda c: (c.cregs[1], 1), x),
    "if register value": _if(lambda c: (c.cregs[0], 2), x),
    "if expression": _if(lambda c: expr.less(c.cregs[0], 2), x),
    "if expression other": _if(lambda c: expr.less_equal(c.cregs[0], 2), x),
    "if expression swapped": _if(lambda c: expr.less(2, c.cregs[0]), x),
    "if expression value": _if(lambda c: expr.less(c.cregs[0], 3), x),
    "if and": _if(lambda c: expr.logic_and(c.clbits[0], c.clbits[1]), x),
    "if or": _if(lambda c: expr.logic_or(c.clbits[0], c.clbits[1]), x),
    "if not": _if(lambda c: expr.logic_not(c.clbits[0]), x),
    "if lifted": _if(lambda c: expr.lift(c.clbits[0]), x),
    "if index": _if(lambda c: expr.index(c.cregs[0], 1), x),
    "if cast": _if(lambda c: expr.cast(c.cregs[0], types.Bool()), x),
    "if else": control(_else),
    "for": _for(range(3), True),
    "for other": _for(range(4), True),
    "for step": _for(range(0, 3, 2), True),
    "for tuple": _for((0, 1, 5), True),
    "for unused": _for(range(3), False),
    "switch": _switch(lambda c: c.cregs[0], 1),
    "switch label": _switch(lambda c: c.cregs[0], 2),
    "switch register": _switch(lambda c: c.cregs[1], 1),
    "switch bit": _switch(lambda c: c.clbits[0], 1),
    "switch expression": _switch(lambda c: expr.bit_xor(c.cregs[0], c.cregs[1]), 1),
    "while break": _while(lambda c: (c.clbits[0], 1), "break_loop"),
    "while continue": _while(lambda c: (c.clbits[0], 1), "continue_loop"),
    "while value": _while(lambda c: (c.clbits[0], 0), "break_loop"),
    "box": _box(),
    "box duration": _box(duration=100, unit="dt"),
    "box unit": _box(duration=100.0, unit="ns"),
    "box label": _box(label="a"),
    "box annotation": _box(annotations=[Twirled("pauli")]),
    "box annotation other": _box(annotations=[Twirled("clifford")]),
    "store": _stored(1, 4, lambda v: v),
    "store value": _stored(2, 4, lambda v: v),
    "store width": _stored(1, 5, lambda v: v),
    "store not": _stored(1, 4, expr.bit_not),
    "store shift": _stored(1, 4, lambda v: expr.shift_left(v, 1)),
    "stretch": _stretched(lambda s: s),
    "stretch twice": _stretched(lambda s: expr.mul(s, 2.0)),
}


def delayed(duration: float, unit: str) -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    circuit.delay(duration, 0, unit)
    return circuit


def moved(name: str, *places: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    getattr(circuit, name)(*places)
    return circuit


DIFFERENT |= {
    "delay": delayed(100, "dt"),
    "delay longer": delayed(101, "dt"),
    "delay unit": delayed(100.0, "ns"),
    "measure": moved("measure", 0, 0),
    "measure qubit": moved("measure", 1, 0),
    "measure clbit": moved("measure", 0, 1),
    "cx moved": moved("cx", 1, 0),
    "cx elsewhere": moved("cx", 1, 2),
    "barrier": moved("barrier", 0),
    "barrier wide": moved("barrier", 0, 1),
    "reset": moved("reset", 0),
}


def test_no_two_of_the_catalogue_share_a_fingerprint():
    """Each differs from the others in one thing that an execution could show."""
    seen: dict[bytes, str] = {}
    for name, circuit in DIFFERENT.items():
        fingerprint = describe(circuit).fingerprint
        assert fingerprint not in seen, (name, seen[fingerprint])
        seen[fingerprint] = name


# what QPY itself does not keep: annotations without a serialiser, floating delays, that a preparation is an inverse
UNKEPT = {"box annotation", "box annotation other", "box unit", "delay unit", "prepare inverse"}


@pytest.mark.parametrize("name", sorted(DIFFERENT.keys() - UNKEPT))
def test_saved_and_loaded_circuit_has_the_same_fingerprint(name):
    """QPY is no change."""
    buffer = io.BytesIO()
    qpy.dump(DIFFERENT[name], buffer)
    buffer.seek(0)
    loaded, kept = describe(qpy.load(buffer)[0]), describe(DIFFERENT[name])
    assert (loaded.fingerprint, loaded.structure) == (kept.fingerprint, kept.structure)


@pytest.mark.parametrize("name", DIFFERENT)
def test_copied_circuit_has_the_same_fingerprint(name):
    """So has one that was copied."""
    assert describe(DIFFERENT[name].copy()) == describe(DIFFERENT[name])


SAME: dict[str, tuple[QuantumCircuit, QuantumCircuit]] = {
    "custom gate's name": (one(defined("a", 0.5)), one(defined("b", 0.5))),
    "parameter's name": (one(RXGate(Parameter("a"))), one(RXGate(Parameter("b")))),
    "vector's name": (
        real_amplitudes(3, parameter_prefix="a").decompose(),
        real_amplitudes(3, parameter_prefix="zz").decompose(),
    ),
    "feature map's name": (zz_feature_map(4, parameter_prefix="x"), zz_feature_map(4, parameter_prefix="a")),
    "integer angle": (one(RXGate(1)), one(RXGate(1.0))),
    "numpy angle": (one(RXGate(np.float64(0.5))), one(RXGate(0.5))),
    "bound expression": (one(RXGate(2 * T)).assign_parameters([0.25]), one(RXGate(0.5))),
    "commuted expression": (one(RXGate(T * 2 + 1)), one(RXGate(1 + 2 * T))),
    "registers": (
        QuantumCircuit(QuantumRegister(1, "a"), QuantumRegister(2, "b"), ClassicalRegister(2, "c")),
        QuantumCircuit([Qubit() for _ in range(3)], [Clbit(), Clbit()]),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_name_is_not_content(name):
    """Two spellings of one circuit."""
    left, right = SAME[name]
    assert describe(left).fingerprint == describe(right).fingerprint


def test_parameters_are_ordered_by_appearance_not_by_name():
    """Where the SDK sorts by name, the fingerprint does not."""
    first, second = Parameter("z"), Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.rx(first, 0)
    circuit.ry(second, 0)
    assert describe_ordered(circuit)[1] == (first, second)
    assert list(circuit.parameters) == [second, first]


def test_swapped_roles_of_parameters_are_another_circuit():
    """Renaming is free, but a parameter used in another place is not a rename."""
    a, b = Parameter("a"), Parameter("b")
    circuits = []
    for angles in ((a, b, a), (a, b, b)):
        circuit = QuantumCircuit(1)
        for angle in angles:
            circuit.rx(angle, 0)
        circuits.append(describe(circuit).fingerprint)
    assert circuits[0] != circuits[1]


def test_interchangeable_parameters_of_one_expression_are_told_apart_by_their_other_uses():
    """`rx(a*b), rx(a)` is `rx(a*b), rx(b)` with other names; with the uses of both it is not."""

    def build(name_one: str, name_two: str, *uses: int) -> bytes:
        pair = Parameter(name_one), Parameter(name_two)
        circuit = QuantumCircuit(1)
        circuit.rx(pair[0] * pair[1], 0)
        for use in uses:
            circuit.ry(pair[use], 0)
        return describe(circuit).fingerprint

    assert build("a", "b", 0) == build("a", "b", 1) == build("b", "a", 0)
    assert build("a", "b", 0, 0) == build("b", "a", 1, 1) != build("a", "b", 0, 1)


def test_loop_parameter_is_not_free():
    """It has an index in the encoding, but nobody binds it."""
    circuit = _for(range(3), True)
    circuit.rx(T, 0)
    assert describe_ordered(circuit)[1] == (T,)


def test_structure_is_shared_by_all_bindings_of_a_circuit():
    """Of the ansatz, of its transpiled form, and of an evolution's time; free and bound differ."""
    ansatz = efficient_su2(3, reps=1)
    ansatz.append(PauliEvolutionGate(ONE, time=Parameter("zz")), [0, 1])
    seen = set()
    free = describe(ansatz).structure
    compiled = transpile(ansatz, basis_gates=["rz", "sx", "x", "cx"], optimization_level=1)
    compiled_seen = set()
    for value in (0.1, 0.7):
        values = np.full(ansatz.num_parameters, value) + np.arange(ansatz.num_parameters) / 10
        seen.add(describe(ansatz.assign_parameters(values)).structure)
        compiled_seen.add(describe(compiled.assign_parameters(values)).structure)
    assert len(seen) == len(compiled_seen) == 1
    assert free not in seen


def test_structure_keeps_matrices_and_durations():
    """Only angles are masked: a matrix may be the data itself."""
    assert describe(DIFFERENT["unitary"]).structure != describe(DIFFERENT["unitary z"]).structure
    assert describe(DIFFERENT["delay"]).structure != describe(DIFFERENT["delay longer"]).structure


def test_counts_say_nothing_of_custom_names():
    """A gate of one's own is `custom`, whatever its class."""

    class PatientGate(Gate):
        def __init__(self) -> None:
            super().__init__("patient_7", 1, [])

        def _define(self) -> None:
            self.definition = QuantumCircuit(1)
            self.definition.h(0)

    circuit = QuantumCircuit(2, 1)
    circuit.append(PatientGate(), [0])
    circuit.append(defined("secret", 0.5), [0, 1])
    circuit.h([0, 1])
    circuit.measure(0, 0)
    info = describe(circuit)
    assert info.operations == {"custom": 2, "h": 2, "measure": 1}
    assert (info.qubits, info.clbits, info.size) == (2, 1, 5)


@pytest.mark.parametrize(
    "operation",
    [Gate("opaque", 1, []), Instruction("opaque", 1, 0, []), type("Mine", (Gate,), {})("opaque", 1, [0.5])],
)
def test_operation_without_content_is_refused(operation):
    """A name is not a content; nor is it told."""
    with pytest.raises(ExecutionError) as caught:
        describe(one(operation))
    assert caught.value.code == "unknown-operation"
    assert "opaque" not in str(caught.value)


def test_gate_that_only_bears_a_standard_name_is_another_one():
    """A custom gate called `h` is its definition."""
    inner = QuantumCircuit(1, name="h")
    inner.x(0)
    circuit = QuantumCircuit(3, 2)
    circuit.append(inner.to_gate(), [0])
    assert describe(circuit).fingerprint != describe(DIFFERENT["h"]).fingerprint
    assert describe(circuit).operations == {"custom": 1}


def test_deeply_nested_circuit_is_refused_in_words():
    """Not with a recursion error."""
    inner = QuantumCircuit(1)
    inner.x(0)
    for _ in range(2000):
        step = Instruction("step", 1, 0, [])
        step.definition = inner
        inner = QuantumCircuit(1)
        inner._append(step, inner.qubits, ())
    with pytest.raises(ExecutionError, match="nested too deeply"):
        describe(inner)


def test_many_parameters_at_once_are_ordered_in_reasonable_time():
    """An expression over a whole vector needs the long way."""
    vector = ParameterVector("v", 24)
    circuit = QuantumCircuit(1)
    circuit.rx(sum((position + 1) * item for position, item in enumerate(vector)), 0)
    info, order = describe_ordered(circuit)
    assert sorted(item.index for item in order) == list(range(24))
    assert info == describe(circuit)
