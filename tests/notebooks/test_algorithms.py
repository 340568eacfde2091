"""Whole algorithms of other packages: every evaluation is recorded, under one decision for each shape of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes, zz_feature_map
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.primitives import EstimatorV2

from qnb.core.directive import parse_directive
from qnb.core.entry import EntryView, parse_statement
from qnb.kernel import intercept
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import init_home

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::PendingDeprecationWarning",
    "ignore::scipy.sparse.SparseEfficiencyWarning",  # at the evolution of a cost operator
)

HAMILTONIAN = SparsePauliOp(["ZZ", "XI", "IX"], [1.0, 0.5, 0.5])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session with the default policy and a log, in a classified cell."""
    init_home(tmp_path / "home", passphrase=None)
    with Authority.open(tmp_path / "home") as authority:
        session = Session(authority, check_guard=intercept.check, settle=intercept.settle)
        intercept.install(session)
        line = "%%qsecure restricted//ip"
        session.open_cell(line, parse_directive(line))
        yield session
        intercept.uninstall()


def recorded(session: Session) -> tuple[list[EntryView], int]:
    """End the cell; the decisions in it, and how many evaluations were recorded."""
    session.end_executions(session.current_cell())
    views = [view for data in session.authority._log.entries() if (view := parse_statement(data)).kind != "policy"]
    assert {view.label for view in views} == {"restricted//ip"}
    assert all(view.status == "ok" for view in views if view.kind == "execution")
    decisions = [view for view in views if view.kind == "decision"]
    assert {view.zone for view in decisions} == {"local"}
    return decisions, sum(view.evaluations[1] for view in views if view.evaluations is not None)


def test_vqe_runs_under_one_decision(session):
    """Every evaluation of the optimiser is in the record."""
    algorithms = pytest.importorskip("qiskit_algorithms")
    optimizers = pytest.importorskip("qiskit_algorithms.optimizers")
    vqe = algorithms.VQE(EstimatorV2(), real_amplitudes(2, reps=1), optimizers.COBYLA(maxiter=20))
    evaluations = vqe.compute_minimum_eigenvalue(HAMILTONIAN).cost_function_evals
    decisions, count = recorded(session)
    assert len(decisions) == 1
    assert count == evaluations


def test_qaoa_is_judged_by_the_sampler_that_it_hands_on_to(session):
    """One decision for the loop, one for the final sample."""
    algorithms = pytest.importorskip("qiskit_algorithms")
    optimizers = pytest.importorskip("qiskit_algorithms.optimizers")
    qaoa = algorithms.QAOA(StatevectorSampler(), optimizers.COBYLA(maxiter=10), reps=1)
    evaluations = qaoa.compute_minimum_eigenvalue(SparsePauliOp("ZZ")).cost_function_evals
    decisions, count = recorded(session)
    assert len(decisions) == 2
    assert count == evaluations + 1


def test_kernel_of_fidelities_is_recorded(session):
    """The sampler runs in a job of the algorithm's own, which is a thread of this process and no retrieval."""
    kernels = pytest.importorskip("qiskit_machine_learning.kernels")
    fidelities = pytest.importorskip("qiskit_machine_learning.state_fidelities")
    fidelity = fidelities.ComputeUncompute(sampler=StatevectorSampler(seed=1))
    kernel = kernels.FidelityQuantumKernel(feature_map=zz_feature_map(2), fidelity=fidelity)
    assert kernel.evaluate(np.random.default_rng(1).random((4, 2))).shape == (4, 4)
    decisions, count = recorded(session)
    assert [decision.action for decision in decisions] == ["execute"]
    assert count == 1


def test_kernel_of_statevectors_is_recorded(session):
    """It simulates in the process, one circuit a point."""
    kernels = pytest.importorskip("qiskit_machine_learning.kernels")
    kernel = kernels.FidelityStatevectorKernel(feature_map=zz_feature_map(2))
    kernel.evaluate(np.random.default_rng(1).random((5, 2)))
    decisions, count = recorded(session)
    assert len(decisions) == 1
    assert count == 5


def _network() -> Any:
    networks = pytest.importorskip("qiskit_machine_learning.neural_networks")
    features, ansatz = zz_feature_map(2), real_amplitudes(2, reps=1)
    circuit = QuantumCircuit(2)
    circuit.compose(features, inplace=True)
    circuit.compose(ansatz, inplace=True)
    return networks.EstimatorQNN(
        circuit=circuit,
        input_params=features.parameters,
        weight_params=ansatz.parameters,
        estimator=StatevectorEstimator(),
    )


def _train(steps: int) -> Callable[[], None]:
    torch = pytest.importorskip("torch")
    connectors = pytest.importorskip("qiskit_machine_learning.connectors")
    model = connectors.TorchConnector(_network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, wanted = torch.rand(4, 2), torch.rand(4, 1)

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            ((model(inputs) - wanted) ** 2).mean().backward()
            optimizer.step()

    return run


def test_training_with_torch_is_recorded(session):
    """A decision for the forward passes and one for the gradients, whose circuits are others."""
    _train(6)()
    decisions, count = recorded(session)
    assert len(decisions) == 2
    assert count == 12


def test_training_in_a_thread_keeps_the_label(session):
    """The label is the kernel's, not the thread's."""
    thread = threading.Thread(target=_train(2))
    thread.start()
    thread.join()
    decisions, count = recorded(session)
    assert len(decisions) == 2
    assert count == 4
