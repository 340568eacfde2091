"""Digests of results: by what came out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import EstimatorResult, SamplerResult, StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers import BitArray, DataBin, PrimitiveResult, PubResult
from qiskit.quantum_info import (
    PTM,
    Chi,
    Choi,
    Clifford,
    DensityMatrix,
    Kraus,
    Operator,
    Pauli,
    PauliList,
    StabilizerState,
    Statevector,
    SuperOp,
)
from qiskit.result import Counts, ProbDistribution, QuasiDistribution, Result
from qiskit_aer import AerSimulator

from qnb.core.circuits import digest_result


def bell(*, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2 if measured else 0)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure([0, 1], [0, 1])
    return circuit


def counts(data: dict[str, Any], **more: Any) -> Result:
    return Result.from_dict(
        {
            "backend_name": "b",
            "backend_version": "1",
            "job_id": more.get("job", "j"),
            "success": more.get("success", True),
            "results": [{"shots": more.get("shots", 3), "success": True, "data": data, "time_taken": more.get("time")}],
        }
    )


DIFFERENT: list[Any] = [
    counts({"counts": {"0x0": 3}}),
    counts({"counts": {"0x1": 3}}),
    counts({"counts": {"0x0": 3}}, shots=4),
    counts({"counts": {"0x0": 3}}, success=False),
    counts({"counts": {"0x0": 3}, "memory": ["0x0", "0x0", "0x0"]}),
    counts({"statevector": np.array([1, 0j])}),
    counts({"statevector": np.array([0j, 1])}),
    BitArray(np.zeros((3, 1), dtype=np.uint8), 2),
    BitArray(np.zeros((3, 1), dtype=np.uint8), 3),
    BitArray(np.ones((3, 1), dtype=np.uint8), 2),
    BitArray(np.zeros((1, 3, 1), dtype=np.uint8), 2),
    DataBin(a=np.zeros(2)),
    DataBin(a=np.zeros(2), shape=(2,)),
    DataBin(b=np.zeros(2)),
    PubResult(DataBin(a=np.zeros(2))),
    PrimitiveResult([PubResult(DataBin(a=np.zeros(2)))]),
    PrimitiveResult([PubResult(DataBin(a=np.zeros(2)))] * 2),
    QuasiDistribution({0: 0.5, 1: 0.5}),
    QuasiDistribution({0: 0.5, 1: 0.5}, shots=3),
    QuasiDistribution({0: 0.25, 1: 0.75}),
    Counts({"0": 1}),
    Statevector([1, 0]),
    DensityMatrix([[1, 0], [0, 0]]),
    Operator(np.eye(2)),
    StabilizerState(QuantumCircuit(1)),
    Clifford(QuantumCircuit(1)),
    Clifford(np.array([[0, 1], [1, 0]], dtype=bool)),
    SuperOp(np.eye(4)),
    Choi(np.eye(4)),
    Chi(np.eye(4)),
    PTM(np.eye(4)),
    Kraus([np.eye(2)]),
    Kraus([np.diag([1, -1])]),
    Kraus(([np.eye(2)], [np.diag([1, -1])])),
    Pauli("X"),
    Pauli("-X"),
    PauliList(["X"]),
    EstimatorResult(np.array([0.5]), [{}]),
    EstimatorResult(np.array([0.25]), [{}]),
    SamplerResult([QuasiDistribution({0: 1.0})], [{}]),
    SamplerResult([QuasiDistribution({1: 1.0})], [{}]),
    np.zeros(3),
    np.zeros((3, 1)),
    np.zeros(3, dtype=np.float32),
    [np.zeros(3)],
    1,
    1.0,
    "1",
]


def test_results_that_differ_have_other_digests():
    """Two results once collided in a digest of their `repr`: not here."""
    digests = [digest_result(item) for item in DIFFERENT]
    assert None not in digests
    assert len(set(digests)) == len(digests)


def test_time_and_job_id_are_not_content():
    """Two runs with one seed agree."""
    assert digest_result(counts({"counts": {"0x0": 3}}, job="a", time=1.0)) == digest_result(
        counts({"counts": {"0x0": 3}}, job="b", time=2.0)
    )
    runs = [AerSimulator().run(bell(), shots=50, seed_simulator=4).result() for _ in range(2)]
    assert digest_result(runs[0]) == digest_result(runs[1]) is not None
    runs = [StatevectorSampler(seed=4).run([bell()]).result() for _ in range(2)]
    assert digest_result(runs[0]) == digest_result(runs[1]) is not None


@pytest.mark.parametrize("save", ["statevector", "density_matrix", "probabilities", "probabilities_dict", "stabilizer"])
def test_saved_data_of_aer_has_a_digest(save):
    """In the types that Aer gives them."""
    circuit = bell(measured=False)
    getattr(circuit, f"save_{save}")()
    digests = {digest_result(AerSimulator().run(circuit).result()) for _ in range(2)}
    assert None not in digests
    assert len(digests) == 1


def test_expectation_values_have_a_digest():
    """Of the estimator."""
    result = StatevectorEstimator().run([(bell(measured=False), ["ZZ", "XX"])]).result()
    assert digest_result(result) is not None


def test_type_without_an_encoding_has_no_digest():
    """None, rather than something that depends on an address; the same for what holds one."""
    assert digest_result(object()) is None
    assert digest_result([1, object()]) is None
    assert digest_result(None) is None
    assert digest_result(ProbDistribution({0: 1.0})) is not None


def test_result_of_an_executor_is_its_arrays():
    """IBM Runtime's own container, whose package is none of ours to import."""
    results = pytest.importorskip("qiskit_ibm_runtime.results.quantum_program")
    given = [
        {"c": np.zeros((2, 1), dtype=bool)},
        {"c": np.ones((2, 1), dtype=bool)},
        {"d": np.zeros((2, 1), dtype=bool)},
    ]
    digests = {digest_result(results.QuantumProgramResult(data=[data])) for data in given}
    assert None not in digests
    assert len(digests) == 3


@pytest.mark.parametrize("item", DIFFERENT, ids=lambda item: type(item).__name__)
def test_digest_is_not_of_an_address(item):
    """A copy has the same: nothing falls back to what an object happens to print."""
    assert digest_result(copy.deepcopy(item)) == digest_result(item)
