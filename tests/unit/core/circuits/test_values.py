"""Digests of what goes in beside the circuits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives.containers import BindingsArray, ObservablesArray
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

from qnb.core.circuits import digest_noise_model, digest_observables, digest_options, digest_parameters

A, Z = Parameter("a"), Parameter("z")


def test_bindings_are_the_same_in_every_container():
    """An array in the SDK's order, a mapping and a `BindingsArray` say the same."""
    order = ((Z, A),)  # z appears first in the circuit
    plain = digest_parameters([np.array([[1.0, 2.0]])], order)
    assert plain == digest_parameters([{A: [1.0], Z: [2.0]}], order)
    assert plain == digest_parameters([BindingsArray({(A, Z): np.array([[1.0, 2.0]])})], order)
    assert plain == digest_parameters([BindingsArray({"z": [[2.0]], "a": [[1.0]]})], order)
    assert plain != digest_parameters([{A: [2.0], Z: [1.0]}], order)


def test_shape_of_bindings_is_content():
    """Four values in a row are not two rows of two."""
    assert digest_parameters([{A: [1.0, 2.0, 3.0, 4.0]}], [(A,)]) != digest_parameters(
        [{A: [[1.0, 2.0], [3.0, 4.0]]}], [(A,)]
    )


def test_values_of_one_circuit_are_not_those_of_the_next():
    """Position among the circuits counts."""
    assert digest_parameters([{A: [1.0]}, None], [(A,), ()]) != digest_parameters([None, {A: [1.0]}], [(), (A,)])


def test_nothing_bound_has_no_digest():
    """None, not the digest of an empty list."""
    assert digest_parameters([None, BindingsArray()], [(), ()]) is None
    assert digest_parameters([{}], [(A,)]) is None


OBSERVABLES: list[Any] = [
    "ZZ",
    "XZ",
    Pauli("ZZ"),
    Pauli("-ZZ"),
    PauliList(["ZZ", "XX"]),
    SparsePauliOp("ZZ"),
    SparsePauliOp("ZZ", [2]),
    SparsePauliOp(["ZZ", "XX"], [1, 2]),
    SparsePauliOp(["ZZ", "XX"], [1, 2 + 1e-12]),
    SparseObservable("ZZ"),
    SparseObservable("0Z"),
    SparseObservable.from_list([("ZZ", 2)]),
    Operator(np.eye(2)),
    Operator(np.eye(4)),
    ObservablesArray(["ZZ"]),
    ObservablesArray(["ZZ", "XX"]),
    ObservablesArray([["ZZ", "XX"]]),
    {"ZZ": 1.0},
    {"ZZ": 2.0},
    ["ZZ"],
    [["ZZ"], ["XX"]],
    SparsePauliOp(["ZZ"], np.array([A])),
]


def test_observables_that_differ_have_other_digests():
    """None collides, and all that the SDK knows are covered, but for coefficients that are not numbers."""
    digests = [digest_observables(item) for item in OBSERVABLES]
    assert digests[-1] is None
    assert None not in digests[:-1]
    assert len(set(digests)) == len(digests)
    assert digests[:-1] == [digest_observables(item) for item in OBSERVABLES[:-1]]


def test_no_observables_have_no_digest():
    """Nor has what is none."""
    assert digest_observables(None) is None
    assert digest_observables([]) is None
    assert digest_observables(object()) is None


def test_options_do_not_depend_on_their_order_or_their_numbers_type():
    """JSON-like values, numpy's among them."""
    one = {"b": [1, 2.0, None, True], "a": {"x": np.int64(3), "y": np.float64(0.5)}}
    two = {"a": {"y": 0.5, "x": 3}, "b": (1, 2.0, None, True)}
    assert digest_options(one) == digest_options(two)
    assert digest_options({"a": 1}) != digest_options({"a": 1.0}) != digest_options({"a": True})
    assert digest_options({"a": "1"}) != digest_options({"a": b"1"})
    assert digest_options({"a": np.zeros(2)}) != digest_options({"a": np.zeros((2, 1))})
    assert digest_options({"a": np.zeros(2)}) != digest_options({"a": np.zeros(2, dtype=np.float32)})
    assert digest_options({"a": {1, 2}}) == digest_options({"a": {2, 1}}) != digest_options({"a": [1, 2]})


@pytest.mark.parametrize("value", [object(), len, lambda: None])
def test_option_without_an_encoding_gives_no_digest(value):
    """Never its `repr`, which would differ between two runs, or not differ between two values."""
    assert digest_options({"a": value}) is None
    assert digest_options({}) is None
    assert digest_options(None) is None


def noise(probability: float, gates: list[str], readout: float | None = None) -> NoiseModel:
    model = NoiseModel()
    for gate in gates:
        model.add_all_qubit_quantum_error(depolarizing_error(probability, 1), [gate])
    if readout is not None:
        model.add_readout_error(ReadoutError([[1 - readout, readout], [readout, 1 - readout]]), [0])
    return model


def test_noise_model_is_its_errors():
    """Random ids and the order of adding are not content; probabilities, gates and places are."""
    assert digest_noise_model(noise(0.1, ["x", "h"])) == digest_noise_model(noise(0.1, ["h", "x"]))
    models = [noise(0.1, ["h"]), noise(0.2, ["h"]), noise(0.1, ["x"]), noise(0.1, ["h"], 0.1), noise(0.1, ["h"], 0.2)]
    assert len({digest_noise_model(model) for model in models}) == len(models)
    assert digest_noise_model(None) is None


def test_noise_model_of_a_device_has_a_digest():
    """Its relaxation pass included."""
    one, same, other = (NoiseModel.from_backend(GenericBackendV2(2, seed=seed)) for seed in (1, 1, 2))
    assert digest_noise_model(one) == digest_noise_model(same) != digest_noise_model(other)
    assert digest_noise_model(one) is not None
    circuit = QuantumCircuit(1)
    circuit.delay(10, 0)
    one._custom_noise_passes.append(object())
    assert digest_noise_model(one) is None
