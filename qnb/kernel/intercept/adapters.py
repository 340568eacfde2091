"""Reading a call: what would run where, as a `Call`, and the copies that will run in its place.

Enters: the receiver and arguments of a guarded method. Leaves: a `Call` described from the copies, and those copies.
Never: runs anything; keeps a reference to what the caller can still change. A value that cannot be seen is None.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qnb.core.circuits import (
    describe,
    describe_ordered,
    digest_noise_model,
    digest_observables,
    digest_options,
    digest_parameters,
)
from qnb.errors import ExecutionError
from qnb.model import Backend, Call

Adapted = tuple[Call, tuple[Any, ...], dict[str, Any]]


def backend_run(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Adapted:
    """`BackendV2.run(circuits, …)` of any provider."""
    backend, *rest = args
    kwargs = dict(kwargs)
    first = next((key for key in ("run_input", "circuits", "circuit") if key in kwargs), None)
    given = rest.pop(0) if rest else kwargs.pop(first) if first is not None else None
    circuits = [given] if isinstance(given, QuantumCircuit) else list(given or ())
    if not all(isinstance(circuit, QuantumCircuit) for circuit in circuits):
        raise ExecutionError("not-a-circuit", "what is to be run is not a circuit, so it cannot be judged", "run circuits")
    copies = [copy_circuit(circuit) for circuit in circuits]
    rest = copy.deepcopy(rest)
    options = {key: value if key == "parameter_binds" else copy.deepcopy(value) for key, value in kwargs.items()}
    binds = rest[0] if rest else options.get("parameter_binds")
    parameters = None
    if binds:
        # keys are Parameters, which equal by identity of their uuid: copy the containers, not them
        binds = [{key: np.array(value) for key, value in bind.items()} for bind in binds]
        if rest:
            rest[0] = [{key: value.tolist() for key, value in bind.items()} for bind in binds]
        else:
            options["parameter_binds"] = [{key: value.tolist() for key, value in bind.items()} for bind in binds]
        infos, orders = _ordered(copies)
        if len(binds) == len(orders):
            parameters = digest_parameters(binds, orders)
    else:
        infos = [describe(circuit) for circuit in copies]
    defaults = getattr(backend, "options", None)
    noise = options.get("noise_model", getattr(defaults, "noise_model", None))
    call = Call(
        target=name,
        backend=describe_backend(backend),
        circuits=tuple(infos),
        parameters=parameters,
        noise_model=digest_noise_model(noise),
        options=digest_options(
            {
                key: value
                for key, value in options.items()
                if key not in ("shots", "seed_simulator", "noise_model", "parameter_binds")
            }
        ),
        shots=_integer(options.get("shots", getattr(defaults, "shots", None))),
        seed=_integer(options.get("seed_simulator", getattr(defaults, "seed_simulator", None))),
        private=bool(options.get("private", False)),
    )
    # a list stays a list and one circuit one circuit: some backends shape their results by it
    handed = copies[0] if isinstance(given, QuantumCircuit) else copies
    return call, (backend, handed, *rest), options


def sampler_run(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Adapted:
    """`BaseSamplerV2.run(pubs, *, shots=None)`."""
    primitive, pubs, kwargs = _pubs(args, kwargs)
    copies = []
    for given in pubs:
        pub = SamplerPub.coerce(given)
        copies.append(
            SamplerPub(copy_circuit(pub.circuit), _copy_bindings(pub.parameter_values), pub.shots, validate=False)
        )
    infos, orders = _ordered([pub.circuit for pub in copies])
    default = kwargs.get("shots")
    if default is None:
        default = _option(primitive, "default_shots")
    shots = [_integer(pub.shots if pub.shots is not None else default) for pub in copies]
    call = Call(
        target=name,
        parameters=digest_parameters([pub.parameter_values for pub in copies], orders),
        shots=None if None in shots else max((shot for shot in shots if shot is not None), default=None),
        circuits=tuple(infos),
        **_primitive(primitive),
    )
    return call, (primitive, copies), kwargs


def estimator_run(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Adapted:
    """`BaseEstimatorV2.run(pubs, *, precision=None)`."""
    primitive, pubs, kwargs = _pubs(args, kwargs)
    copies = []
    for given in pubs:
        pub = EstimatorPub.coerce(given)
        observables = copy.deepcopy(pub.observables)
        copies.append(
            EstimatorPub(
                copy_circuit(pub.circuit), observables, _copy_bindings(pub.parameter_values), pub.precision, validate=False
            )
        )
    infos, orders = _ordered([pub.circuit for pub in copies])
    default = kwargs.get("precision")
    if default is None:
        default = _option(primitive, "default_precision")
    precisions = [pub.precision if pub.precision is not None else default for pub in copies]
    call = Call(
        target=name,
        parameters=digest_parameters([pub.parameter_values for pub in copies], orders),
        observables=digest_observables([pub.observables for pub in copies]),
        precision=None if None in precisions else min((float(p) for p in precisions if p is not None), default=None),
        circuits=tuple(infos),
        **_primitive(primitive),
    )
    return call, (primitive, copies), kwargs


def describe_backend(backend: Any) -> Backend:
    """What a backend says of itself, as far as saying it costs nothing."""
    cls = type(backend)
    name = getattr(backend, "name", None)
    name = name() if callable(name) else name
    version = getattr(backend, "backend_version", None)
    calibrated = getattr(getattr(backend, "_properties", None), "last_update_date", None)
    return Backend(
        name=name if isinstance(name, str) else cls.__name__,
        cls=f"{cls.__module__}.{cls.__qualname__}",
        version=version if isinstance(version, str) else None,
        calibration_time=calibrated.isoformat() if hasattr(calibrated, "isoformat") else None,
    )


def copy_circuit(circuit: QuantumCircuit) -> QuantumCircuit:
    """A copy that no later change of the original reaches; blocks of control flow are shared by a shallow one."""
    return copy.deepcopy(circuit) if circuit.has_control_flow_op() else circuit.copy()


def _pubs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Iterable[Any], dict[str, Any]]:
    primitive, *rest = args
    kwargs = dict(kwargs)
    pubs = rest.pop(0) if rest else kwargs.pop("pubs")
    if rest:
        raise TypeError("run() takes one positional argument: the pubs")
    if isinstance(pubs, (QuantumCircuit, SamplerPub, EstimatorPub)):
        pubs = [pubs]
    return primitive, pubs, kwargs


def _copy_bindings(bindings: BindingsArray) -> BindingsArray:
    return BindingsArray({key: np.array(value) for key, value in bindings.data.items()}, shape=bindings.shape)


def _ordered(circuits: list[QuantumCircuit]) -> tuple[list[Any], list[tuple[Any, ...]]]:
    described = [describe_ordered(circuit) for circuit in circuits]
    return [info for info, _ in described], [order for _, order in described]


def _primitive(primitive: Any) -> dict[str, Any]:
    backend = getattr(primitive, "_backend", None)
    defaults = getattr(backend, "options", None)
    seed = _option(primitive, "seed")
    if seed is None:
        seed = _option(primitive, "seed_simulator")
    options = _options(primitive)
    environment = getattr(options, "environment", None)
    return {
        "backend": describe_backend(primitive if backend is None else backend),
        "noise_model": digest_noise_model(getattr(defaults, "noise_model", None)),
        "seed": _integer(seed),
        "private": getattr(environment, "private", False) is True,
    }


def _options(primitive: Any) -> Any:
    options = getattr(primitive, "_options", None)
    return getattr(primitive, "options", None) if options is None else options


def _option(primitive: Any, name: str) -> Any:
    """A default of a primitive: an attribute of its own, or one of its options, which differ from SDK to SDK."""
    for holder in (primitive, _options(primitive)):
        for spelled in (f"_{name}", name):
            value = getattr(holder, spelled, None)
            if value is not None and not callable(value):
                return value
    run = getattr(_options(primitive), "run_options", None)
    return run.get(name) if isinstance(run, Mapping) else None


def _integer(value: object) -> int | None:
    return int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None
