"""Digests of what goes in beside the circuits: parameter values, observables, options, noise models, calibrations.

Enters: the SDK's containers and plain values. Leaves: 32 bytes, or None where there is nothing or no real encoding.
Never: falls back to `repr`; never contains a parameter's name: values stand in the order of the fingerprint's indices.
Spec: docs/spec/fingerprint.md, "Values beside the circuit".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from qiskit.circuit import Parameter
from qiskit.primitives.containers.bindings_array import BindingsArray

from qnb.core.circuits.encoding import UnencodableError, encode, number
from qnb.core.circuits.operators import encode_operator

_RELAXATION = ("qiskit_aer.noise.passes.relaxation_noise_pass", "RelaxationNoisePass")
_RELAXATION_TIMES = ("_t1s", "_t2s", "_p1s", "_dt", "_ops", "_method")


def _digest(tag: bytes, content: bytes) -> bytes:
    return hashlib.sha256(b"qnb-" + tag + b"-v1\0" + content).digest()


def digest_parameters(values: Sequence[object], orders: Sequence[tuple[Parameter, ...]]) -> bytes | None:
    """Digest the values bound to the free parameters of several circuits.

    Args:
        values: per circuit a `BindingsArray`, a mapping `Parameter -> values`, an array with one column per parameter
            in the SDK's order (sorted by name), or None.
        orders: per circuit its free parameters in canonical order (`describe_ordered`).

    Returns:
        32 bytes; None when no circuit has a value bound, or when values do not fit the circuit (the SDK will refuse).
    """
    parts: list[bytes] = []
    for value, order in zip(values, orders, strict=True):
        array = _bound(value, order)
        parts.append(encode(array))
    if all(part == b"N" for part in parts):
        return None
    return _digest(b"parameters", number(len(parts)) + b"".join(parts))


def _bound(value: Any, order: tuple[Parameter, ...]) -> np.ndarray[Any, Any] | None:
    """The values as one array of shape (…, number of parameters), columns in canonical order."""
    if value is None or not order:
        return None
    if isinstance(value, BindingsArray):
        return _columns(value, order)
    if isinstance(value, Mapping):
        given = [value[item] if item in value else value.get(item.name) for item in order]
        if any(column is None for column in given):
            return None
        return np.stack(np.broadcast_arrays(*map(_numbers, given)), axis=-1)
    array = _numbers(value)
    named = sorted(range(len(order)), key=lambda position: order[position].name)
    if array.ndim == 0 or array.shape[-1] != len(order):
        return None
    ordered = np.empty_like(array)
    ordered[..., named] = array
    return ordered


def _columns(bindings: BindingsArray, order: tuple[Parameter, ...]) -> np.ndarray[Any, Any] | None:
    held: dict[tuple[str, ...], Any] = bindings.data
    at = {name: (key, position) for key in held for position, name in enumerate(key)}
    try:
        places = [at[parameter.name] for parameter in order]
    except KeyError:
        return None
    if len(held) == 1:
        return _numbers(next(iter(held.values()))[..., [position for _, position in places]])
    return np.stack([_numbers(held[key][..., position]) for key, position in places], axis=-1)


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    return array if np.iscomplexobj(array) else array.astype(float, copy=False)


def digest_observables(observables: object) -> bytes | None:
    """Digest one observable, an `ObservablesArray`, or a list of either; None for none, or without an encoding."""
    if observables is None or (isinstance(observables, (list, tuple)) and not observables):
        return None
    try:
        return _digest(b"observables", encode_operator(observables))
    except UnencodableError:
        return None


def digest_options(options: Mapping[str, object] | None) -> bytes | None:
    """Digest options by name and value; None for none, or when one has no encoding (an executor, a callback)."""
    if not options:
        return None
    try:
        return _digest(b"options", encode(options))
    except UnencodableError:
        return None


def digest_calibration(properties: Mapping[str, object]) -> bytes | None:
    """Digest a backend's calibration data, as the SDK's dictionary of it; None when something in it has no encoding."""
    try:
        return _digest(b"calibration", encode(properties, _time))
    except UnencodableError:
        return None


def _time(value: object) -> bytes | None:
    return b"I" + encode(value.isoformat()) if isinstance(value, datetime) else None


def digest_noise_model(model: Any) -> bytes | None:
    """Digest a noise model by its errors, their places and probabilities.

    Args:
        model: an Aer `NoiseModel`, or None.

    Returns:
        32 bytes; None for None, or when a noise pass in it is a function.
    """
    if model is None:
        return None
    try:
        return _digest(b"noise", _noise(model))
    except (UnencodableError, AttributeError):
        return None


def _noise(model: Any) -> bytes:
    # The dictionary of the SDK carries a random id per error; all else in it is content. Errors at different places
    # act independently of the order in which they were added.
    errors = sorted(
        encode({key: item for key, item in error.items() if key != "id"}) for error in model.to_dict()["errors"]
    )
    custom = model._custom_noise_passes  # noqa: SLF001 - nothing public tells of them
    return b"".join(
        (number(len(errors)), *errors, encode(set(model.basis_gates)), encode([_pass(item) for item in custom], _type))
    )


def _pass(noise_pass: Any) -> tuple[object, ...]:
    """Aer's relaxation pass by its times; another pass is a function, which has no encoding.

    Raises:
        UnencodableError: a pass of another class.
    """
    cls = type(noise_pass)
    if (cls.__module__, cls.__qualname__) != _RELAXATION:
        raise UnencodableError(noise_pass)
    held = vars(noise_pass)
    times = {name: held.get(name) for name in _RELAXATION_TIMES}
    return (*_RELAXATION, times, _durations(held.get("_target"), held.get("_ops")))


def _durations(target: Any, classes: Any) -> dict[str, object]:
    """How long the operations take that a pass acts on, per place, in seconds."""
    if target is None:
        return {}
    named = {name: target.operation_from_name(name) for name in target.operation_names}
    return {
        name: {place: None if item is None else item.duration for place, item in (target[name] or {}).items()}
        for name, operation in named.items()
        if not classes or isinstance(operation, classes)
    }


def _type(value: object) -> bytes | None:
    """A pass names the operations that it acts on by class."""
    if isinstance(value, type):
        return b"K" + encode((value.__module__, value.__qualname__))
    return None
