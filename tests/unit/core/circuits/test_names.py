"""Circuits under neutral names, and results under their own again."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy, transpile
from qiskit.circuit import AncillaRegister, ClassicalRegister, Gate, Parameter, ParameterVector, QuantumRegister
from qiskit.primitives import StatevectorEstimator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator

from qnb.core.circuits import describe
from qnb.core.circuits.names import Renamer
from qnb.core.circuits.neutral import Names
from qnb.core.circuits.restored import render_names, restore_result


def renamed(*circuits: QuantumCircuit) -> tuple[Renamer, list[QuantumCircuit]]:
    renamer = Renamer(circuits)
    return renamer, [renamer.circuit(circuit) for circuit in circuits]


def turned(*angles: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    for angle in angles:
        circuit.rx(angle, 0)
    return circuit


def test_order_of_parameters_stays_that_of_their_names() -> None:
    """Values come by position, sorted by name: vectors by index, among single ones by the vector's name."""
    vector, other = ParameterVector("b", 12), ParameterVector("b2", 2)
    single = [Parameter(name) for name in ("c", "b1", "a", "B", "b[10]x", "ä", "b3")]
    circuit = turned(*reversed([*vector, *single, *other]))
    renamer, (sent,) = renamed(circuit)
    assert [renamer.by_name[p.name] for p in circuit.parameters] == [p.name for p in sent.parameters]
    assert len({p.name for p in sent.parameters}) == len(circuit.parameters)
    assert all(name[0] == "p" for name in renamer.names.given["parameters"])


def test_circuits_of_one_call_share_their_stand_ins() -> None:
    """A parameter in two circuits stays one; different ones of the same name stay different objects."""
    shared, first, second = Parameter("shared"), Parameter("same"), Parameter("same")
    renamer, (one, two) = renamed(turned(shared, first), turned(shared, second))
    assert set(one.parameters) & set(two.parameters) == {renamer.parameters[shared]}
    assert [p.name for p in one.parameters] == [p.name for p in two.parameters]
    assert (one.name, two.name) == ("circuit0", "circuit1")


def test_circuit_that_occurs_twice_is_renamed_once() -> None:
    """A pub per binding holds the same circuit again and again."""
    circuit = turned(0.1)
    renamer = Renamer([circuit, circuit])
    assert renamer.circuit(circuit) is renamer.circuit(circuit)


def test_given_circuit_is_untouched() -> None:
    """Names are replaced in another circuit."""
    circuit = QuantumCircuit(QuantumRegister(2, "dose"), ClassicalRegister(1, "code"), name="n", metadata={"m": 1})
    circuit.rx(Parameter("a"), 0)
    before = circuit.copy()
    renamed(circuit)
    assert circuit == before
    assert (circuit.name, circuit.metadata) == ("n", {"m": 1})


def test_registers_keep_class_size_and_bits() -> None:
    """Ancillas, overlapping registers and bits of none: what stood where stands there."""
    qubits, ancillas = QuantumRegister(2, "dose"), AncillaRegister(1, "spare")
    clbits = ClassicalRegister(2, "code")
    circuit = QuantumCircuit(qubits, ancillas, clbits)
    circuit.add_register(ClassicalRegister(name="again", bits=[clbits[1], clbits[0]]))
    _, (sent,) = renamed(circuit)
    assert [type(register) for register in sent.qregs] == [QuantumRegister, AncillaRegister]
    assert sent.ancillas == list(sent.qregs[1])
    assert list(sent.cregs[1]) == [sent.clbits[1], sent.clbits[0]]
    assert describe(sent).fingerprint == describe(circuit).fingerprint


def test_layout_of_a_transpiled_circuit_is_kept_under_neutral_names() -> None:
    """Observables are put where the qubits went."""
    circuit = QuantumCircuit(QuantumRegister(3, "dose"))
    circuit.cx(0, 2)
    circuit.cx(1, 2)
    laid = transpile(
        circuit, GenericBackendV2(5, coupling_map=[[0, 1], [1, 2], [2, 3], [3, 4]], seed=2), seed_transpiler=3
    )
    _, (sent,) = renamed(laid)
    assert sent.layout.initial_index_layout() == laid.layout.initial_index_layout()
    assert sent.layout.final_index_layout() == laid.layout.final_index_layout()
    operator = SparsePauliOp(["XYZ"])
    assert operator.apply_layout(sent.layout) == operator.apply_layout(laid.layout)
    file = io.BytesIO()
    qpy.dump(sent, file)
    assert b"dose" not in file.getvalue()


def test_operations_of_the_target_keep_their_names() -> None:
    """The backend is asked only when there is an operation of somebody's own."""
    asked = []

    def known() -> tuple[str, ...]:
        asked.append(True)
        return ("native",)

    plain = turned(0.3)
    Renamer([plain], known).circuit(plain)
    assert asked == []
    inner = turned(0.1)
    circuit = QuantumCircuit(1)
    for name in ("native", "mine"):
        inner.name = name
        circuit.append(inner.to_gate(), [0])
    sent = Renamer([circuit], known).circuit(circuit)
    assert [instruction.operation.name for instruction in sent.data] == ["native", "g0"]


def test_gate_of_ones_own_binds_its_parameters_as_before() -> None:
    """Class, name and texts are not sent; free parameters are found where they were."""

    class Dose(Gate):
        def __init__(self, angle: Parameter) -> None:
            super().__init__("dose", 1, [3, angle])

        def _define(self) -> None:
            self.definition = turned(self.params[1])

    angle = Parameter("a")
    circuit = QuantumCircuit(1)
    circuit.append(Dose(angle), [0])
    renamer, (sent,) = renamed(circuit)
    assert type(sent.data[0].operation) is Gate
    bound = sent.assign_parameters({renamer.parameters[angle]: 0.5})
    assert describe(bound).fingerprint == describe(circuit.assign_parameters({angle: 0.5})).fingerprint


def test_label_of_saved_data_is_the_key_of_the_result_again() -> None:
    """Aer files what it saves under a label: it goes out neutral, and its data come back under the given one."""
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.save_statevector(label="dose_mg")
    renamer, (sent,) = renamed(circuit)
    came = AerSimulator().run(sent).result()
    assert "dose_mg" not in came.data()
    back = restore_result(came, renamer.names)
    assert np.allclose(back.data()["dose_mg"], [2**-0.5, 2**-0.5])
    assert "dose_mg" not in came.data()  # the result given is untouched


def test_result_of_an_estimator_gets_its_metadata_back() -> None:
    """Fields of an estimator have no names of the user's; the metadata of its circuit has."""
    circuit = turned(0.1)
    circuit.metadata = {"code": 1}
    renamer, (sent,) = renamed(circuit)
    renamer.names.order = [sent.name]
    came = StatevectorEstimator().run([(sent, SparsePauliOp("Z"))]).result()
    back = restore_result(came, renamer.names)
    assert back[0].metadata["circuit_metadata"] == {"code": 1}
    assert back[0].data.evs == came[0].data.evs


def test_header_that_is_an_object_is_restored_too() -> None:
    """Providers of the first generation hand out objects with attributes."""
    names = Names()
    names.given["circuits"]["circuit0"] = "dose"
    names.given["registers"]["c0"] = "code"
    names.metadata["circuit0"] = {"a": 1}
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    result = AerSimulator().run(circuit).result()
    result.results[0].header = SimpleNamespace(name="circuit0", creg_sizes=[["c0", 1]], metadata={})
    back = restore_result(result, names)
    assert vars(back.results[0].header) == {"name": "dose", "creg_sizes": [["code", 1]], "metadata": {"a": 1}}
    assert result.results[0].header.name == "circuit0"


class QuantumProgramResult:
    """The shape of the result of IBM's programs, whose packages need not be here."""

    def __init__(self, data: list[Any]) -> None:
        self._data = data


def test_result_of_a_program_is_keyed_by_the_registers_given() -> None:
    """Arrays by register, and the flips that belong to one."""
    names = Names()
    names.given["registers"]["c0"] = "code"
    result = QuantumProgramResult([SimpleNamespace(_result={"c0": 1, "measurement_flips.c0": 2, "other": 3})])
    back = restore_result(result, names)
    assert back._data[0]._result == {"code": 1, "measurement_flips.code": 2, "other": 3}
    assert "c0" in result._data[0]._result


@pytest.mark.parametrize("value", [None, 7, {"c0": 1}, np.zeros(2)])
def test_value_that_is_no_result_comes_back_as_it_is(value: Any) -> None:
    """Nothing is guessed."""
    assert restore_result(value, Names()) is value


def test_map_says_what_json_can_say() -> None:
    """Metadata can hold anything; what has no form in JSON is null, and no `repr` stands for it."""
    names = Names()
    names.metadata["circuit0"] = {"a": 1, "b": object(), 3: "c", "d": {"e": object()}}
    assert b"object" not in render_names(names, {"backend": "acme"})
    assert b'"b": null' in render_names(names, {})
