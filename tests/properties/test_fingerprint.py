"""The fingerprint follows the content and nothing else: circuits are built twice from one recipe, or from two."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy
from qiskit.circuit import (
    AnnotatedOperation,
    ControlModifier,
    InverseModifier,
    Parameter,
    ParameterExpression,
    PowerModifier,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import CXGate, PauliEvolutionGate, RZGate, XGate
from qiskit.quantum_info import SparsePauliOp, random_clifford, random_unitary

from qnb.core.circuits import describe, describe_ordered

QUBITS, CLBITS, PARAMETERS = 3, 3, 4
fixed = settings(derandomize=True, max_examples=40, deadline=None)

qubit = st.integers(0, QUBITS - 1)
clbit = st.integers(0, CLBITS - 1)
pair = st.permutations(range(QUBITS)).map(lambda order: tuple(order[:2]))
number = st.integers(-40, 40).map(lambda value: value / 8)
index = st.integers(0, PARAMETERS - 1)
symbolic = st.one_of(
    st.tuples(st.just("p"), index),
    st.tuples(st.just("scaled"), number.filter(bool), index),
    st.tuples(st.just("sum"), index, index, number),
    st.tuples(st.just("difference"), index, index, number).filter(lambda item: item[1] != item[2]),  # a - a is nothing
    st.tuples(st.just("product"), index, index, index),
    st.tuples(st.just("quotient"), index, index),
    st.tuples(st.just("sine"), index, number.filter(bool)),  # the SDK drops what is multiplied by 0 on loading
)
angle = st.one_of(number.map(lambda value: ("n", value)), symbolic)
simple = st.one_of(
    st.tuples(st.just("gate"), st.sampled_from(["h", "x", "s", "t", "sx"]), qubit),
    st.tuples(st.just("rotation"), st.sampled_from(["rx", "ry", "rz", "p"]), qubit, angle),
    st.tuples(st.just("two"), st.sampled_from(["cx", "cz", "swap", "ecr"]), pair),
    st.tuples(st.just("controlled"), st.sampled_from([0, 1]), pair),
    st.tuples(st.just("unitary"), st.integers(0, 50), qubit),
    st.tuples(st.just("measure"), qubit, clbit),
    st.tuples(st.just("delay"), st.integers(1, 50), qubit),
    st.tuples(st.just("initialize"), st.sampled_from(["0", "1", "+", "-"]), qubit),
    st.tuples(st.just("reset"), qubit),
    st.tuples(st.just("barrier"), pair),
    st.tuples(st.just("evolution"), st.sampled_from(["XX", "ZZ", "XY"]), number, pair, angle),
    st.tuples(st.just("phase"), angle),
    st.tuples(st.just("annotated"), st.sampled_from(["inverse", "control", "power"]), st.integers(1, 3), qubit),
    st.tuples(st.just("clifford"), st.integers(0, 20), pair),
    st.tuples(st.just("labelled"), st.sampled_from(["noisy", "quiet"]), qubit),
    st.tuples(st.just("pauli"), st.sampled_from(["XZ", "ZX", "YY"]), pair),
)
block = st.lists(simple.filter(lambda item: item[0] != "phase"), min_size=1, max_size=3).map(tuple)
nested = st.one_of(
    simple,
    st.tuples(st.just("if"), clbit, st.booleans(), block),
    st.tuples(st.just("if-register"), st.integers(0, 7), block, block),
    st.tuples(st.just("if-expression"), st.sampled_from(["less", "equal", "greater"]), st.integers(0, 7), block),
    st.tuples(st.just("while"), clbit, st.booleans(), block),
    st.tuples(st.just("for"), st.integers(1, 4), qubit, block),
    st.tuples(st.just("switch"), st.integers(0, 3), block, block),
    st.tuples(st.just("while-expression"), st.sampled_from(["bit_and", "bit_or"]), st.integers(1, 7), block),
    st.tuples(st.just("leave"), st.sampled_from(["break_loop", "continue_loop"]), clbit, block),
    st.tuples(st.just("box"), block),
    st.tuples(st.just("store"), st.integers(0, 15)),
    st.tuples(st.just("custom"), st.lists(st.tuples(st.just("rotation"), st.just("rx"), qubit, angle), max_size=3)),
)
recipes = st.lists(nested, min_size=1, max_size=6)


@dataclass
class Names:
    """What one builder calls things; nothing of it is content."""

    circuit: str
    quantum: tuple[str, str]
    classical: str
    parameters: list[str]
    metadata: dict[str, Any]


PLAIN = Names("a", ("q", "r"), "c", ["a", "b", "c", "d"], {})
names = st.builds(
    Names,
    circuit=st.sampled_from(["b", "patient 7"]),
    quantum=st.sampled_from([("alpha", "beta"), ("r", "q")]),
    classical=st.sampled_from(["dose_mg", "z"]),
    parameters=st.permutations(["a", "b", "c", "d"]),
    metadata=st.sampled_from([{}, {"patient": 7}]),
)


class Builder:
    """Builds a circuit from a recipe under given names."""

    def __init__(self, given_names: Names) -> None:
        self.names = given_names
        self.parameters = [Parameter(name) for name in given_names.parameters]

    def build(self, recipe: list[tuple[Any, ...]]) -> QuantumCircuit:
        first, second = self.names.quantum
        circuit = QuantumCircuit(
            QuantumRegister(2, first),
            QuantumRegister(1, second),
            ClassicalRegister(CLBITS, self.names.classical),
            name=self.names.circuit,
            metadata=dict(self.names.metadata),
        )
        for item in recipe:
            self.add(circuit, item)
        return circuit

    def angle(self, spelled: tuple[Any, ...]) -> float | ParameterExpression:
        kind, *rest = spelled
        p = self.parameters
        match kind:
            case "n":
                return rest[0]
            case "p":
                return p[rest[0]]
            case "scaled":
                return rest[0] * p[rest[1]]
            case "sum":
                return p[rest[0]] + p[rest[1]] + rest[2]
            case "difference":
                return (p[rest[0]] - p[rest[1]]) * 2 + rest[2]
            case "product":
                return p[rest[0]] * p[rest[1]] + p[rest[2]]
            case "quotient":
                return p[rest[0]] / (p[rest[1]] + 2)
            case _:
                return p[rest[0]].sin() * rest[1]

    def add(self, circuit: QuantumCircuit, item: tuple[Any, ...]) -> None:  # noqa: C901, PLR0912 -- one case a class
        kind, *rest = item
        match kind:
            case "gate":
                getattr(circuit, rest[0])(rest[1])
            case "rotation":
                getattr(circuit, rest[0])(self.angle(rest[2]), rest[1])
            case "two":
                getattr(circuit, rest[0])(*rest[1])
            case "controlled":
                circuit.append(CXGate(ctrl_state=rest[0]), rest[1])
            case "unitary":
                circuit.unitary(random_unitary(2, seed=rest[0]), rest[1])
            case "measure":
                circuit.measure(*rest)
            case "delay":
                circuit.delay(*rest)
            case "initialize":
                circuit.initialize(*rest)
            case "reset" | "barrier":
                getattr(circuit, kind)(rest[0])
            case "evolution":
                operator = SparsePauliOp([rest[0]], [rest[1]])
                circuit.append(PauliEvolutionGate(operator, time=self.angle(rest[3])), rest[2])
            case "annotated":
                modifiers = {
                    "inverse": [InverseModifier()] * rest[1],
                    "control": [ControlModifier(1, rest[1] % 2)],
                    "power": [PowerModifier(rest[1])],
                }[rest[0]]
                operation = AnnotatedOperation(RZGate(0.25), modifiers)
                where = [(rest[2] + step) % QUBITS for step in range(operation.num_qubits)]
                circuit.append(operation, where)
            case "clifford":
                circuit.append(random_clifford(2, seed=rest[0]), rest[1])
            case "labelled":
                circuit.append(XGate(label=rest[0]), [rest[1]])
            case "pauli":
                circuit.pauli(rest[0], rest[1])
            case "phase":
                circuit.global_phase = self.angle(rest[0])
            case "store":
                variable = circuit.add_var(
                    f"{self.names.circuit} {circuit.num_vars}", expr.lift(rest[0], types.Uint(4))
                )
                circuit.store(variable, expr.bit_not(variable))
            case "custom":
                inner = QuantumCircuit(QUBITS, name=f"secret {self.names.circuit}")
                for step in rest[0]:
                    self.add(inner, step)
                circuit.append(inner.to_gate(), range(QUBITS))
            case _:
                self.control(circuit, kind, rest)

    def control(self, circuit: QuantumCircuit, kind: str, rest: list[Any]) -> None:
        register = circuit.cregs[0]
        match kind:
            case "if":
                with circuit.if_test((circuit.clbits[rest[0]], rest[1])):
                    self.steps(circuit, rest[2])
            case "if-register":
                with circuit.if_test((register, rest[0])) as otherwise:
                    self.steps(circuit, rest[1])
                with otherwise:
                    self.steps(circuit, rest[2])
            case "if-expression":
                with circuit.if_test(getattr(expr, rest[0])(register, rest[1])):
                    self.steps(circuit, rest[2])
            case "while":
                with circuit.while_loop((circuit.clbits[rest[0]], rest[1])):
                    self.steps(circuit, rest[2])
            case "while-expression":
                with circuit.while_loop(expr.less(getattr(expr, rest[0])(register, rest[1]), 4)):
                    self.steps(circuit, rest[2])
            case "leave":
                with circuit.for_loop(range(3)):
                    self.steps(circuit, rest[2])
                    with circuit.if_test((circuit.clbits[rest[1]], True)):
                        getattr(circuit, rest[0])()
            case "for":
                with circuit.for_loop(range(rest[0])) as turn:
                    circuit.rx(turn * 0.5, rest[1])
                    self.steps(circuit, rest[2])
            case "switch":
                with circuit.switch(register) as case:
                    with case(rest[0]):
                        self.steps(circuit, rest[1])
                    with case(case.DEFAULT):
                        self.steps(circuit, rest[2])
            case _:
                with circuit.box():
                    self.steps(circuit, rest[0])

    def steps(self, circuit: QuantumCircuit, steps: tuple[tuple[Any, ...], ...]) -> None:
        for step in steps:
            self.add(circuit, step)


def fingerprint(recipe: list[tuple[Any, ...]], given_names: Names = PLAIN) -> bytes:
    return describe(Builder(given_names).build(recipe)).fingerprint


@fixed
@given(recipes, names)
def test_other_names_leave_fingerprint_and_structure(recipe: list[tuple[Any, ...]], other: Names) -> None:
    """Names of the circuit, of registers, parameters, variables and custom gates, and metadata, are not content."""
    plain = describe(Builder(PLAIN).build(recipe))
    renamed = describe(Builder(other).build(recipe))
    assert plain.fingerprint == renamed.fingerprint
    assert plain.structure == renamed.structure


expressions = st.lists(angle, min_size=1, max_size=2).map(
    lambda angles: [("rotation", "rx", 0, spelled) for spelled in angles]
)


@settings(fixed, max_examples=300)
@given(expressions, expressions, names)
def test_equal_fingerprints_mean_equal_angles_for_all_values(
    one: list[tuple[Any, ...]], two: list[tuple[Any, ...]], other: Names
) -> None:
    """Where two expressions share a fingerprint, the n-th parameters of both mean the same."""
    left, right = Builder(PLAIN).build(one), Builder(other).build(two)
    (first, order), (second, renamed) = describe_ordered(left), describe_ordered(right)
    if one == two:
        assert first.fingerprint == second.fingerprint
    if first.fingerprint == second.fingerprint:
        values = [0.3, 1.1, 2.3, 0.7]
        bound = left.assign_parameters(dict(zip(order, values, strict=False)))
        also = right.assign_parameters(dict(zip(renamed, values, strict=False)))
        for item, match in zip(bound.data, also.data, strict=True):
            assert np.isclose(item.operation.params[0], match.operation.params[0])


def _closed(recipe: Any) -> Any:
    """The recipe with a number of its own for each expression, so that no renaming can make two of them one."""
    if isinstance(recipe, (list, tuple)):
        if recipe and recipe[0] in ("p", "scaled", "sum", "difference", "product", "quotient", "sine"):
            return ("n", sum(ord(letter) for letter in str(recipe)) / 8)
        return type(recipe)(_closed(item) for item in recipe)
    return recipe


@fixed
@given(recipes, recipes)
def test_circuits_that_differ_for_the_sdk_have_other_fingerprints(
    one: list[tuple[Any, ...]], two: list[tuple[Any, ...]]
) -> None:
    """What `==` of the SDK tells apart, the fingerprint does too."""
    one, two = [[step for step in _closed(recipe) if step[0] != "store"] for recipe in (one, two)]
    left, right = Builder(PLAIN).build(one), Builder(PLAIN).build(two)
    assert left == right or describe(left).fingerprint != describe(right).fingerprint


@fixed
@given(recipes, st.data())
def test_one_changed_step_changes_the_fingerprint(recipe: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """Replacing, adding or removing one step is seen."""
    place = data.draw(st.integers(0, len(recipe) - 1))
    step = data.draw(nested)
    assume(step[0] != "phase" and recipe[place][0] != "phase")
    assert fingerprint([*recipe[:place], step, *recipe[place:]]) != fingerprint(recipe)
    assert fingerprint(recipe[:place] + recipe[place + 1 :]) != fingerprint(recipe)


@fixed
@given(recipes, names)
def test_qpy_round_trip_leaves_the_fingerprint(recipe: list[tuple[Any, ...]], given_names: Names) -> None:
    """Saving and loading is no change."""
    circuit = Builder(given_names).build(recipe)
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    buffer.seek(0)
    assert describe(qpy.load(buffer)[0]).fingerprint == describe(circuit).fingerprint


@fixed
@given(recipes)
def test_describing_a_circuit_leaves_it_as_it_was(recipe: list[tuple[Any, ...]]) -> None:
    """Describing twice gives the same, also for a copy taken before."""
    circuit = Builder(PLAIN).build(recipe)
    before = circuit.copy()
    info = describe(circuit)
    assert describe(circuit) == info == describe(before)
    assert info.size == len(circuit.data) == sum(info.operations.values())


@fixed
@given(st.lists(st.tuples(st.sampled_from(["rx", "rz"]), qubit, number), min_size=1, max_size=5), st.data())
def test_bound_angles_change_fingerprint_but_not_structure(steps: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """The iterates of a VQE share a structure, whichever way their circuits are bound."""
    place = data.draw(st.integers(0, len(steps) - 1))
    other = data.draw(number.filter(lambda value: value != steps[place][2]))
    changed = [*steps[:place], (*steps[place][:2], other), *steps[place + 1 :]]

    def build(given_steps: list[tuple[Any, ...]]) -> QuantumCircuit:
        inner = QuantumCircuit(QUBITS)
        for name, where, value in given_steps:
            getattr(inner, name)(value, where)
        circuit = QuantumCircuit(QUBITS, global_phase=given_steps[0][2])
        circuit.append(inner.to_gate(), range(QUBITS))
        circuit.compose(inner, inplace=True)
        circuit.append(RZGate(given_steps[-1][2]).control(2, annotated=True), range(QUBITS))
        return circuit

    one, two = describe(build(steps)), describe(build(changed))
    assert one.fingerprint != two.fingerprint
    assert one.structure == two.structure


@pytest.mark.slow
def test_fingerprint_is_the_same_in_processes_with_other_hash_seeds() -> None:
    """Nothing depends on the order of a set or on an address."""
    code = (
        "from qiskit.circuit.library import efficient_su2, zz_feature_map\n"
        "from qiskit.circuit import Parameter, QuantumCircuit\n"
        "from qnb.core.circuits import describe\n"
        "a, b, c, d = map(Parameter, 'abcd')\n"
        "q = QuantumCircuit(4); q.rx(a * b + c * d, 0); q.rx(d - b, 1); q.compose(efficient_su2(4), inplace=True)\n"
        "q.compose(zz_feature_map(4), inplace=True)\n"
        "print(describe(q).fingerprint.hex())\n"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(seen) == 1


def test_matrix_of_one_bit_apart_is_another_fingerprint() -> None:
    """A matrix is its bytes, not its rounded print."""
    matrix = np.eye(2, dtype=complex)
    moved = matrix.copy()
    moved[0, 0] = np.exp(1j * 1e-12)
    prints = set()
    for content in (matrix, moved):
        circuit = QuantumCircuit(1)
        circuit.unitary(content, 0)
        prints.add(describe(circuit).fingerprint)
    assert len(prints) == 2
