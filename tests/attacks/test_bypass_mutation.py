"""Time of check to time of use: what is changed after the decision changes nothing of what runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import UnitaryGate
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparseObservable
from qiskit_aer import AerSimulator
from qiskit_aer.jobs import utils
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_aer.primitives import SamplerV2

from qnb.core.circuits import describe, digest_noise_model
from qnb.kernel import intercept
from qnb.model import Call, Outcome


class Allowing:
    """A session that says yes, and does something else at the moment of saying it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.outcomes: list[Outcome] = []
        self.then: Any = None

    def begin(self, call: Call) -> Any:
        self.calls.append(call)
        if self.then is not None:
            self.then()
        return self

    def end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def session() -> Iterator[Allowing]:
    allow = Allowing()
    intercept.install(allow)
    yield allow
    intercept.uninstall()


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Aer's one worker, kept busy until the event is set: what is submitted waits."""
    event = threading.Event()
    utils.DEFAULT_EXECUTOR.submit(event.wait, 60)
    yield event
    event.set()


def zero() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.id(0)
    circuit.measure(0, 0)
    return circuit


def turn(circuit: QuantumCircuit) -> None:
    """Make it count ones."""
    data = list(circuit.data)
    circuit.clear()
    circuit.x(0)
    for item in data:
        circuit.append(item)


def test_circuit_changed_after_run_does_not_change_what_runs(session, held):
    """Aer's worker reads the circuit later: it reads the copy."""
    circuit = zero()
    job = AerSimulator().run(circuit, shots=10)
    turn(circuit)
    held.set()
    assert job.result().get_counts() == {"0": 10}
    assert session.calls[0].circuits[0].fingerprint == describe(zero()).fingerprint != describe(circuit).fingerprint


def test_circuit_changed_by_the_decision_does_not_change_what_runs(session):
    """Also between description and hand-over, by another thread for instance."""
    circuit = zero()
    session.then = lambda: turn(circuit)
    assert AerSimulator().run(circuit, shots=10).result().get_counts() == {"0": 10}


def test_list_of_circuits_changed_after_run_does_not_change_what_runs(session, held):
    """The list is a copy too."""
    circuits = [zero()]
    job = AerSimulator().run(circuits, shots=10)
    other = zero()
    turn(other)
    circuits[0] = other
    held.set()
    assert job.result().get_counts() == {"0": 10}


def test_matrix_changed_after_run_does_not_change_what_runs(session, held):
    """The copy goes down to the arrays of the operations."""
    matrix = np.eye(2, dtype=complex)
    gate = UnitaryGate(matrix)
    circuit = QuantumCircuit(1, 1)
    circuit.append(gate, [0])
    circuit.measure(0, 0)
    job = AerSimulator().run(circuit, shots=10)
    flipped = np.array([[0, 1], [1, 0]], dtype=complex)
    matrix[:] = flipped
    circuit.data[0].operation.params[0][:] = flipped
    gate.params[0][:] = flipped
    held.set()
    assert job.result().get_counts() == {"0": 10}


def test_block_changed_after_run_does_not_change_what_runs(session, held):
    """The blocks of control flow are copied with it."""
    circuit = QuantumCircuit(1, 1)
    block = QuantumCircuit(1, 1)
    block.id(0)
    circuit.if_else((circuit.clbits[0], 0), block, None, [0], [0])
    circuit.measure(0, 0)
    job = AerSimulator().run(circuit, shots=10)
    for item in circuit.data:
        for inner in getattr(item.operation, "blocks", ()):
            inner.x(0)
    block.x(0)
    held.set()
    assert job.result().get_counts() == {"0": 10}


def test_definition_changed_after_run_does_not_change_what_runs(session):
    """A gate of one's own is its definition, and the copy's is its own."""
    inner = QuantumCircuit(1)
    inner.id(0)
    gate = inner.to_gate()
    circuit = QuantumCircuit(1, 1)
    circuit.append(gate, [0])
    circuit.measure(0, 0)

    def change() -> None:
        gate.definition.x(0)
        circuit.data[0].operation.definition.x(0)

    session.then = change
    assert StatevectorSampler().run([circuit], shots=10).result()[0].data.c.get_counts() == {"0": 10}


def test_bindings_changed_after_run_do_not_change_what_runs(session, held):
    """Arrays of values are copies."""
    angle = Parameter("a")
    circuit = QuantumCircuit(1, 1)
    circuit.rx(angle, 0)
    circuit.measure(0, 0)
    values = np.zeros((1, 1))
    job = SamplerV2().run([(circuit, values)], shots=10)
    values[:] = np.pi
    held.set()
    assert job.result()[0].data.c.get_counts(0) == {"0": 10}
    held.clear()
    utils.DEFAULT_EXECUTOR.submit(held.wait, 60)
    binds = [{angle: [0.0]}]
    job = AerSimulator().run(circuit, parameter_binds=binds, shots=10)
    binds[0][angle][0] = np.pi
    binds[0][angle] = [np.pi]
    held.set()
    assert job.result().get_counts() == {"0": 10}


def test_observable_changed_after_run_does_not_change_what_runs(session):
    """Observables are copies."""
    observable = SparseObservable("Z")
    circuit = QuantumCircuit(1)

    def change() -> None:
        observable.coeffs[0] = -5.0

    session.then = change
    assert StatevectorEstimator().run([(circuit, observable)]).result()[0].data.evs == 1.0


def always_one() -> NoiseModel:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0.0, 1.0], [1.0, 0.0]]))
    return noise


@pytest.mark.parametrize("how", ["argument", "option", "primitive"])
def test_noise_model_changed_after_run_does_not_change_what_runs(session, held, how):
    """Given with the call, with the backend, or with the backend of a primitive."""
    noise = NoiseModel()
    before = digest_noise_model(noise)
    plain, noisy = AerSimulator(), AerSimulator(noise_model=noise)
    if how == "argument":
        job = plain.run(zero(), shots=10, noise_model=noise)
    elif how == "option":
        job = noisy.run(zero(), shots=10)
    else:
        job = SamplerV2.from_backend(noisy).run([zero()], shots=10)
    noise.add_all_qubit_readout_error(ReadoutError([[0.0, 1.0], [1.0, 0.0]]))
    held.set()
    result = job.result()
    counts = result[0].data.c.get_counts() if how == "primitive" else result.get_counts()
    assert counts == {"0": 10}
    assert session.calls[0].noise_model == before != digest_noise_model(noise)


@pytest.mark.parametrize("how", ["backend", "primitive"])
def test_options_changed_after_run_do_not_change_what_runs(session, held, how):
    """A backend's options are read in its worker: from the stand-in."""
    backend = AerSimulator(shots=7)
    if how == "backend":
        job = backend.run(zero())
    else:
        sampler = SamplerV2.from_backend(backend)
        job = sampler.run([zero()], shots=7)
        sampler.options.run_options["noise_model"] = always_one()
    backend.set_options(shots=5000, noise_model=always_one())
    held.set()
    result = job.result()
    counts = result[0].data.c.get_counts() if how == "primitive" else result.get_counts()
    assert counts == {"0": 7}


def test_noise_model_changed_between_runs_is_the_one_that_runs(session):
    """The kept copy is not an old one."""
    noise = NoiseModel()
    backend = AerSimulator(noise_model=noise)
    assert backend.run(zero(), shots=10).result().get_counts() == {"0": 10}
    noise.add_all_qubit_readout_error(ReadoutError([[0.0, 1.0], [1.0, 0.0]]))
    assert backend.run(zero(), shots=10).result().get_counts() == {"1": 10}
    first, second = (call.noise_model for call in session.calls)
    assert first != second
