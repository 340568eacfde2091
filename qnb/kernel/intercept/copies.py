"""Copies of everything a call brings along: what was judged is what runs, whatever its caller does later.

Enters: arguments as the caller holds them. Leaves: copies that nobody else holds, and the circuits among them.
Never: copies what only lends its services (backends, executors, sessions): such objects pass as they are.
"""
# ruff: noqa: SLF001 - the containers of the SDK give no other way to copy them without validating them again

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers import BindingsArray, EstimatorPubLike, ObservablesArray, SamplerPubLike
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparseObservable
from qiskit.quantum_info.operators.base_operator import BaseOperator
from qiskit.quantum_info.states.quantum_state import QuantumState

from qnb.core.circuits import describe_ordered, digest_noise_model
from qnb.kernel.intercept.known import Description, recall, remember


class Copier:
    """Copies the arguments of one call; an object that occurs twice is copied once."""

    def __init__(self) -> None:
        self._circuits: dict[int, tuple[QuantumCircuit, QuantumCircuit]] = {}
        self._originals: dict[int, QuantumCircuit] = {}  # by the id of the copy
        self._described: dict[int, Description] = {}  # as well

    def circuit(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """A copy down to the operations."""
        known = self._circuits.get(id(circuit))
        if known is None:
            # the blocks of control flow are shared by a shallow copy
            clone = copy.deepcopy(circuit) if circuit.has_control_flow_op() else circuit.copy()
            known = self._circuits[id(circuit)] = (circuit, clone)
            self._originals[id(clone)] = circuit
        return known[1]

    def describe(self, clone: QuantumCircuit) -> Description:
        """The description of a copy made here, and its parameters in order; each is described once.

        Raises:
            ExecutionError: it could not be read.
        """
        found = self._described.get(id(clone))
        if found is None:
            original = self._originals.get(id(clone), clone)
            found = recall(original, clone)
            if found is None:
                found = describe_ordered(clone)
                remember(original, clone, found)
            self._described[id(clone)] = found
        return found

    def value(self, value: Any) -> Any:
        """A copy of a circuit, array, operator, noise model, or of a container of these; anything else as it is."""
        if isinstance(value, (str, bytes, int, float, complex, type(None))):
            return value
        if isinstance(value, QuantumCircuit):
            return self.circuit(value)
        if isinstance(value, np.ndarray):
            return value.copy()
        if type(value) in (list, tuple, set):
            return type(value)(self.value(item) for item in value)
        if type(value) is dict:
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, Iterator):  # it can be read once only, and it was for us to read
            return [self.value(item) for item in value]
        return self._content(value)

    def _content(self, value: Any) -> Any:
        if isinstance(value, (BaseOperator, QuantumState, SparseObservable)):
            return copy.deepcopy(value)
        if isinstance(value, BindingsArray):
            return _bindings(value)
        if isinstance(value, ObservablesArray):
            return _observables(value)
        if isinstance(value, SamplerPub):
            return self.sampler_pub(value, None)
        if isinstance(value, EstimatorPub):
            return self.estimator_pub(value, None)
        if is_noise_model(value):
            return frozen_noise(value)[0]
        return value

    def sampler_pub(self, pub: SamplerPubLike, shots: int | None) -> SamplerPub:
        """The pub as the primitive will understand it, of copies."""
        given = SamplerPub.coerce(pub, shots)
        clone = _blank(given)
        clone._circuit = self.circuit(given._circuit)
        clone._parameter_values = _bindings(given._parameter_values)
        return clone

    def estimator_pub(self, pub: EstimatorPubLike, precision: float | None) -> EstimatorPub:
        """The pub as the primitive will understand it, of copies."""
        given = EstimatorPub.coerce(pub, precision)
        clone = _blank(given)
        clone._circuit = self.circuit(given._circuit)
        clone._observables = _observables(given._observables)
        clone._parameter_values = _bindings(given._parameter_values)
        return clone


def _blank(pub: Any) -> Any:
    """Another pub with the same attributes; its constructor would work out again what they are."""
    cls = type(pub)
    names = _slots.get(cls)
    if names is None:
        names = _slots[cls] = [name for base in cls.__mro__ for name in base.__dict__.get("__slots__", ())]
    clone = object.__new__(cls)
    for name in names:
        setattr(clone, name, getattr(pub, name))
    if hasattr(pub, "__dict__"):
        clone.__dict__.update(pub.__dict__)
    return clone


_slots: dict[type, list[str]] = {}


def _bindings(values: BindingsArray) -> BindingsArray:
    clone = copy.copy(values)
    clone._data = {key: np.array(array) for key, array in values._data.items()}
    return clone


def _observables(observables: ObservablesArray) -> ObservablesArray:
    clone = copy.copy(observables)
    items = observables._array
    clone._array = np.empty(items.shape, dtype=object)
    for index in np.ndindex(items.shape):
        clone._array[index] = copy.copy(items[index])
    return clone


# --- noise models ---------------------------------------------------------------------------------------------------
# A deep copy and a digest take milliseconds to seconds, and a loop hands over the same model each time. Both are kept
# as long as the model holds the same parts, which the stamp tells. The parts are held too: their ids stay theirs.

_frozen: dict[int, tuple[weakref.ref[Any], tuple[Any, ...], list[Any], Any, bytes | None]] = {}


def is_noise_model(value: object) -> bool:
    """Whether `value` is Aer's noise model, without importing Aer."""
    module = sys.modules.get("qiskit_aer.noise.noise_model")
    return module is not None and isinstance(value, module.NoiseModel)


def frozen_noise(model: Any) -> tuple[Any, bytes | None]:
    """A copy of the noise model that its holder cannot change, and its digest."""
    stamp, parts = _stamp(model)
    known = _frozen.get(id(model))
    if known is not None and known[0]() is model and known[1] == stamp:
        return known[3], known[4]
    clone = copy.deepcopy(model)
    digest = digest_noise_model(clone)
    identity = id(model)
    _frozen[identity] = (weakref.ref(model, lambda _: _frozen.pop(identity, None)), stamp, parts, clone, digest)
    return clone, digest


def _stamp(model: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """What changes when the model does, cheaply; and the parts whose ids it names."""
    parts: list[Any] = []
    marks: list[Any] = [tuple(sorted(model.basis_gates))]
    errors = [
        *model._default_quantum_errors.items(),
        *(
            ((name, place), error)
            for name, local in model._local_quantum_errors.items()
            for place, error in local.items()
        ),
    ]
    for place, error in errors:
        circuits = error.circuits
        parts += [error, *circuits]
        marks.append((place, id(error), tuple(error.probabilities), tuple((id(c), c.size()) for c in circuits)))
    readout = [(None, model._default_readout_error), *model._local_readout_errors.items()]
    for place, error in readout:
        if error is not None:
            parts.append(error)
            marks.append((place, id(error), np.asarray(error.probabilities).tobytes()))
    passes = list(model._custom_noise_passes)
    marks.append(tuple(map(id, passes)))
    return tuple(marks), [*parts, *passes]
