"""Simulation without a backend: whoever has a circuit computed in the process is decided, whichever class does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import AnnotatedOperation, InverseModifier
from qiskit.circuit.library import HGate, Isometry, PauliEvolutionGate, UnitaryGate, XGate
from qiskit.circuit.random import random_circuit
from qiskit.dagcircuit import DAGCircuit
from qiskit.passmanager import BasePassManager
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import (
    PTM,
    Chi,
    Choi,
    Clifford,
    CNOTDihedral,
    DensityMatrix,
    Kraus,
    Operator,
    Pauli,
    PauliList,
    SparsePauliOp,
    StabilizerState,
    Statevector,
    Stinespring,
    SuperOp,
    average_gate_fidelity,
    random_clifford,
    random_unitary,
)
from qiskit.quantum_info.operators.symplectic import clifford as clifford_module
from qiskit.transpiler import PassManager, TransformationPass
from qiskit_aer.noise import depolarizing_error
from qiskit_aer.quantum_info import AerDensityMatrix, AerStatevector
from qiskit_aer.quantum_info.states.aer_state import AerState

from qnb.errors import DeniedError
from qnb.kernel import intercept
from qnb.model import Action, Call, Decision, Label, Outcome, Reason

ENTERED: list[str] = []


class Session:
    """Says no, or yes, and keeps what it hears."""

    def __init__(self) -> None:
        self.deny = True
        self.calls: list[Call] = []
        self.outcomes: list[Outcome] = []

    def begin(self, call: Call) -> Session:
        self.calls.append(call)
        if self.deny:
            decision = Decision(False, Action.EXECUTE, Label("restricted"), (Reason("p", "no"),), "0" * 64)
            raise DeniedError("denied", "not here", decision=decision)
        return self

    def end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Denies until told otherwise; and tells when one of the methods that compute is entered."""
    ENTERED.clear()

    def tell(owner: Any, name: str) -> None:
        original = getattr(owner, name)
        static = isinstance(vars(owner)[name], staticmethod)

        def entered(*args: Any, **kwargs: Any) -> Any:
            ENTERED.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, staticmethod(entered) if static else entered)

    tell(Statevector, "_evolve_instruction")
    for owner in (Operator, SuperOp, DensityMatrix):
        tell(owner, "_append_instruction")
    tell(clifford_module, "_append_circuit")
    tell(clifford_module, "_append_operation")
    tell(AerState, "_allocated")
    recorder = Session()
    intercept.install(recorder)
    yield recorder
    intercept.uninstall()


def pair() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def flipped() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    return circuit


def aer_state() -> Any:
    state = AerState(method="statevector")
    state.allocate_qubits(1)
    state.initialize()
    return state


def annotated() -> AnnotatedOperation:
    return AnnotatedOperation(pair().to_gate(), InverseModifier())


STATE, MATRIX, IDENTITY = Statevector([1, 0, 0, 0]), DensityMatrix(np.diag([1, 0, 0, 0])), Operator(np.eye(4))
CLIFFORD = random_clifford(2, seed=1)
AER_STATE = AerStatevector([1, 0, 0, 0])
BOUND = STATE.evolve  # taken before the guard is installed

SIMULATED: dict[str, Callable[[], Any]] = {
    "Statevector": lambda: Statevector(pair()),
    "Statevector of a gate": lambda: Statevector(pair().to_gate()),
    "Statevector.from_instruction": lambda: Statevector.from_instruction(pair()),
    "Statevector.from_circuit": lambda: Statevector.from_circuit(pair()),
    "Statevector.evolve": lambda: STATE.evolve(pair()),
    "Statevector.evolve by keyword": lambda: STATE.evolve(other=pair()),
    "Statevector.evolve taken before": lambda: BOUND(pair()),
    "Statevector in a partial": partial(Statevector, pair()),
    "DensityMatrix": lambda: DensityMatrix(pair()),
    "DensityMatrix.from_instruction": lambda: DensityMatrix.from_instruction(pair()),
    "DensityMatrix.evolve": lambda: MATRIX.evolve(pair()),
    "Operator": lambda: Operator(pair()),
    "Operator of a gate": lambda: Operator(pair().to_gate()),
    "Operator of an annotated gate": lambda: Operator(annotated()),
    "Operator.from_circuit": lambda: Operator.from_circuit(pair()),
    "Operator.compose": lambda: IDENTITY.compose(pair()),
    "Operator @": lambda: IDENTITY @ pair(),
    "Operator.tensor": lambda: IDENTITY.tensor(pair()),
    "SuperOp": lambda: SuperOp(pair()),
    "SuperOp.compose": lambda: SuperOp(np.eye(16)).compose(pair()),
    "Choi": lambda: Choi(pair()),
    "Chi": lambda: Chi(pair()),
    "Kraus": lambda: Kraus(pair()),
    "PTM": lambda: PTM(pair()),
    "Stinespring": lambda: Stinespring(pair()),
    "Clifford": lambda: Clifford(pair()),
    "Clifford.from_circuit": lambda: Clifford.from_circuit(pair()),
    "Clifford.compose": lambda: CLIFFORD.compose(pair()),
    "Clifford.dot": lambda: CLIFFORD.dot(pair()),
    "StabilizerState": lambda: StabilizerState(pair()),
    "StabilizerState.evolve": lambda: StabilizerState(CLIFFORD).evolve(pair()),
    "Pauli": lambda: Pauli(flipped()),
    "Pauli.evolve": lambda: Pauli("XX").evolve(pair()),
    "Pauli.evolve by a gate": lambda: Pauli("XX").evolve(pair().to_gate()),
    "PauliList.evolve": lambda: PauliList(["XX", "ZZ"]).evolve(pair()),
    "CNOTDihedral": lambda: CNOTDihedral(flipped()),
    "AerStatevector": lambda: AerStatevector(pair()),
    "AerStatevector.from_instruction": lambda: AerStatevector.from_instruction(pair()),
    "AerStatevector.evolve": lambda: AER_STATE.evolve(pair()),
    "AerDensityMatrix": lambda: AerDensityMatrix(pair()),
    "AerDensityMatrix.from_instruction": lambda: AerDensityMatrix.from_instruction(pair()),
    "AerState": aer_state,
    "a gate asked for its matrix": lambda: AnnotatedOperation(pair().to_gate(), []).to_matrix(),
    "a gate raised to a power": lambda: pair().to_gate().power(0.5),
    "a circuit raised to a power": lambda: pair().power(2, matrix_power=True),
    "a measure of fidelity": lambda: average_gate_fidelity(Operator(pair())),
}


@pytest.mark.parametrize("path", SIMULATED)
def test_simulation_in_the_process_is_decided_once(session, path):
    """Denied, nothing computes; allowed, there is one decision and one record."""
    with pytest.raises(DeniedError):
        SIMULATED[path]()
    assert len(session.calls) == 1
    assert ENTERED == []
    session.calls.clear()
    session.deny = False
    SIMULATED[path]()
    assert [call.backend.cls.partition(".")[0] for call in session.calls] in (["qiskit"], ["qiskit_aer"])
    assert [outcome.status for outcome in session.outcomes] == ["ok"]
    assert session.outcomes[0].result is not None or path in ("AerState", "CNOTDihedral")


def compiled() -> QuantumCircuit:
    return transpile(random_circuit(4, 6, seed=2), GenericBackendV2(5, seed=1), optimization_level=3, seed_transpiler=1)


def prepared() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.initialize(np.array([1, 0, 0, 1]) / np.sqrt(2), [0, 1])
    circuit.append(Isometry(np.eye(4)[:, :2], 0, 0), [0, 1])
    return circuit.decompose(reps=4)


NOT_SIMULATED: dict[str, Callable[[], Any]] = {
    "a matrix": lambda: Operator(np.eye(2)),
    "a gate with a matrix": lambda: Operator(XGate()),
    "an annotated gate with a matrix": lambda: Operator(AnnotatedOperation(XGate(), InverseModifier())),
    "a matrix as a gate": lambda: Operator(UnitaryGate(np.eye(4))),
    "a Clifford gate": lambda: Clifford(HGate()),
    "amplitudes": lambda: AerStatevector([1, 0]),
    "a sample of a state": lambda: AER_STATE.sample_memory(5),
    "evolution by a matrix": lambda: STATE.evolve(IDENTITY),
    "a transpiler": compiled,
    "a synthesis": lambda: random_clifford(3, seed=2).to_circuit(),
    "the definition of a unitary": lambda: UnitaryGate(random_unitary(8, seed=1)).definition,
    "the control of a unitary": lambda: UnitaryGate(np.eye(2)).control(1).definition,
    "the preparation of a state": prepared,
    "the definition of an evolution": lambda: PauliEvolutionGate(SparsePauliOp(["XX", "ZZ"])).definition,
    "a noise model": lambda: depolarizing_error(0.1, 1),
    "a drawing": lambda: str(pair().draw()),
    "an inverse": lambda: pair().inverse(),
}


@pytest.mark.parametrize("work", NOT_SIMULATED)
def test_matrices_and_the_work_of_the_sdk_are_no_execution(session, work):
    """Nothing of it is decided, and nothing of it is denied."""
    NOT_SIMULATED[work]()
    assert session.calls == []


class Curious(TransformationPass):
    """A pass of somebody's own that simulates what it is given to rewrite."""

    def run(self, dag: DAGCircuit) -> DAGCircuit:
        Statevector(pair())
        return dag


def test_pass_of_somebody_that_simulates_is_decided(session):
    """Being called by the transpiler does not make it the transpiler's work."""
    manager: BasePassManager = PassManager([Curious()])
    with pytest.raises(DeniedError):
        manager.run(pair())
    assert [call.target for call in session.calls] == ["Statevector.from_instruction"]


def test_simulated_circuit_is_described_as_it_runs(session):
    """One that is changed by its caller afterwards was copied, a gate as well."""
    session.deny = False
    circuit = pair()
    Statevector(circuit)
    Statevector(circuit.to_gate())
    assert [call.circuits[0].qubits for call in session.calls] == [2, 2]
    assert session.calls[0].backend.cls == "qiskit.quantum_info.states.statevector.Statevector"
    assert session.calls[0].circuits[0].operations == {"h": 1, "cx": 1}
