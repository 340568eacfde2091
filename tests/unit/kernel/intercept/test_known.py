"""A description is used again only for a circuit that is what it was."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Parameter
from qiskit.circuit.library import CXGate, RXGate, UnitaryGate, XGate
from qiskit.primitives import StatevectorSampler
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2

from qnb.core.circuits import describe
from qnb.kernel.intercept import known

A, B = Parameter("a"), Parameter("b")


@pytest.fixture(autouse=True)
def _forget() -> None:
    known._entries.clear()


def circuit() -> QuantumCircuit:
    made = QuantumCircuit(2, 2, global_phase=0.5)
    made.x(0)
    made.rx(0.25, 0)
    made.ry(A, 1)
    made.cx(0, 1)
    made.measure([0, 1], [0, 1])
    return made


def replaced(made: QuantumCircuit, at: int, operation: Any) -> None:
    old = made.data[at]
    made.data[at] = CircuitInstruction(operation, old.qubits, old.clbits)


CHANGES: dict[str, Callable[[QuantumCircuit], Any]] = {
    "a gate more": lambda made: made.h(0),
    "a gate less": lambda made: made.data.pop(),
    "another gate": lambda made: replaced(made, 0, RXGate(math.pi)),
    "a label": lambda made: replaced(made, 0, XGate(label="noisy")),
    "the next angle": lambda made: replaced(made, 1, RXGate(float(np.nextafter(0.25, 1)))),
    "another parameter": lambda made: made.assign_parameters({A: B}, inplace=True),
    "a bound parameter": lambda made: made.assign_parameters({A: 0.5}, inplace=True),
    "an expression": lambda made: made.assign_parameters({A: 2 * B}, inplace=True),
    "a state of the control": lambda made: replaced(made, 3, CXGate(ctrl_state=0)),
    "a phase": lambda made: setattr(made, "global_phase", float(np.nextafter(0.5, 1))),
    "places": lambda made: made.data.__setitem__(0, CircuitInstruction(XGate(), [made.qubits[1]])),
    "a clbit": lambda made: made.data.__setitem__(
        5, CircuitInstruction(made.data[5].operation, [made.qubits[1]], [made.clbits[0]])
    ),
    "a matrix": lambda made: replaced(made, 0, UnitaryGate(np.array([[0, 1], [1, 0]]))),
    "a clbit more": lambda made: made.add_bits([QuantumCircuit(0, 1).clbits[0]]),
    "a qubit more": lambda made: made.add_bits([QuantumCircuit(1).qubits[0]]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_in_place_is_described_anew(session, change):
    """Whatever the fingerprint is made of is compared; a copy with the change has the same description."""
    made = circuit()
    for _ in range(3):
        copied = made.copy()
        known_before = describe(copied)
        known.remember(made, copied, (known_before, ()))
    assert known.recall(made, made.copy()) is not None
    CHANGES[change](made)
    assert describe(made).fingerprint != describe(copied).fingerprint or change == "another parameter"
    assert known.recall(made, made.copy()) is None


def test_circuit_that_runs_again_is_described_once(session, monkeypatch):
    """From the third time on; a change in place between two runs is in the record."""
    described = []
    from qnb.kernel.intercept import copies

    original = copies.describe_ordered
    monkeypatch.setattr(copies, "describe_ordered", lambda clone: described.append(1) or original(clone))
    bell = QuantumCircuit(1, 1)
    bell.h(0)
    bell.measure(0, 0)
    for _ in range(5):
        AerSimulator().run(bell, shots=5).result()
    assert len(described) == 2
    bell.data.insert(0, CircuitInstruction(XGate(), [bell.qubits[0]]))
    StatevectorSampler().run([bell]).result()
    assert session.calls[-1].circuits[0] == describe(bell) != session.calls[0].circuits[0]


def test_circuit_with_content_that_the_sdk_rounds_is_described_each_time(session):
    """Matrices are compared by the SDK up to a tolerance, and not remembered here."""
    made = QuantumCircuit(1)
    made.unitary(np.eye(2), 0)
    for _ in range(3):
        known.remember(made, made.copy(), (describe(made), ()))
    assert known.recall(made, made.copy()) is None


def test_circuit_that_is_gone_leaves_nothing(session):
    """A new object under the same address is a new circuit."""
    made = circuit()
    for _ in range(2):
        known.remember(made, made.copy(), (describe(made), ()))
    assert len(known._entries) == 1
    del made
    gc.collect()
    assert known._entries == {}


def test_options_changed_between_two_runs_are_told(session):
    """The settings of a primitive are worked out once, and again when one of them changes."""
    estimator = EstimatorV2()
    one = QuantumCircuit(1)
    one.x(0)
    for seed in (1, 1, 2):
        estimator.options.run_options["seed_simulator"] = seed
        estimator.run([(one, "Z")]).result()
    estimator._backend.set_options(method="density_matrix")
    estimator.run([(one, "Z")]).result()
    assert [call.seed for call in session.calls] == [1, 1, 2, 2]
    assert session.calls[2].options != session.calls[3].options
