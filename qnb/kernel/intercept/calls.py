"""Reading a guarded call: who runs what, where, with which options; from copies, which are then what runs.

Enters: the arguments of a guarded method. Leaves: `Judged`: the `Call` to decide on, and the copies to hand on.
Never: touches `AerSimulator.target` (it is rebuilt at each access), asks a backend over the network (some fetch what an
attribute that they have not got might be: only what an object or its class holds is read), or takes a default for
something given.

The one exception to "what is handed on is a copy" is the object whose method is called. A backend or primitive of the
SDK reads its options when its worker starts, so a shallow copy with options of its own stands in for Aer's backends and
the reference primitives. Others keep state that the caller looks for afterwards, and are called themselves.
"""
# ruff: noqa: SLF001 - backends and primitives tell little about themselves in public

from __future__ import annotations

import copy
import dataclasses
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from numbers import Integral
from typing import Any, cast

from qiskit.circuit import Parameter, QuantumCircuit

from qnb.core.circuits import (
    digest_calibration,
    digest_options,
    digest_parameters,
)
from qnb.errors import ExecutionError
from qnb.kernel.intercept.copies import Copier, frozen_noise, is_noise_model
from qnb.model import Backend, Call, CircuitInfo, Retrieval

_SEEDS = ("seed_simulator", "seed")
_REFERENCE = ("qiskit.primitives.", "qiskit_aer.primitives.")
_CIRCUIT_NAMES = ("circuits", "run_input", "circuit")


@dataclasses.dataclass(slots=True)
class Judged:
    """A call as it was judged.

    Attributes:
        call: what the decision is about.
        args, kwargs: the copies to hand on, the object itself first.
        pins: id of a backend -> the copy that runs in its place inside this call.
        circuits: those among the copies, in the order of `call.circuits`.
    """

    call: Call
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    pins: dict[int, Any]
    circuits: Sequence[QuantumCircuit] = ()


# --- backends ---------------------------------------------------------------------------------------------------------


def read_backend(name: str, backend: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    """`run(circuits, …, **options)` of a backend.

    Raises:
        ExecutionError: something in the call could not be read, so it cannot be judged.
    """
    copier = Copier()
    args = tuple(map(copier.value, args))
    kwargs = {key: copier.value(value) for key, value in kwargs.items()}
    circuits = _circuits(args, kwargs)
    infos, orders = describe_all(circuits, copier)
    options = _changed_options(backend) | {key: value for key, value in kwargs.items() if key not in _CIRCUIT_NAMES}
    binds = args[1] if len(args) > 1 and isinstance(args[1], list) else None
    given = options.pop("parameter_binds", None)
    call = Call(
        target=name,
        backend=describe_backend(backend),
        circuits=infos,
        parameters=_binds(binds if given is None else given, orders),
        **common(options),
    )
    return Judged(call, args if backend is None else (backend, *args), kwargs, {}, circuits)


def _circuits(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[QuantumCircuit]:
    """The circuits of a backend's call, in order."""
    given = args[0] if args else next((kwargs[name] for name in _CIRCUIT_NAMES if name in kwargs), None)
    if isinstance(given, QuantumCircuit):
        return [given]
    if isinstance(given, (list, tuple)) and all(isinstance(item, QuantumCircuit) for item in given):
        return list(given)
    raise ExecutionError(
        "unreadable-input",
        "what was handed to the backend is not a circuit or a list of circuits, so it cannot be judged",
        "hand over `QuantumCircuit` objects",
    )


def describe_all(
    circuits: Iterable[QuantumCircuit], copier: Copier
) -> tuple[tuple[CircuitInfo, ...], list[tuple[Parameter, ...]]]:
    """Descriptions of circuits in order, and the orders of their parameters; each circuit is described once.

    Raises:
        ExecutionError: one of them could not be read.
    """
    described = [copier.describe(circuit) for circuit in circuits]
    return tuple([info for info, _ in described]), [order for _, order in described]


def _binds(binds: Any, orders: list[tuple[Parameter, ...]]) -> bytes | None:
    """Digest Aer's `parameter_binds`: one mapping per circuit."""
    if not isinstance(binds, (list, tuple)) or len(binds) != len(orders):
        return None  # none, or not what the backend accepts: it will say so
    return digest_parameters(binds, orders)


# --- options ----------------------------------------------------------------------------------------------------------


def options_of(primitive: Any) -> Any:
    """The options that a primitive or program holds, in whatever form; None if it holds none."""
    options = held(primitive, "_options")
    return held(primitive, "options") if options is None else options


def plain_options(options: Any) -> dict[str, Any]:
    """An options object (the SDK's, a dataclass, a model or a mapping) as a dictionary; empty for None."""
    if isinstance(options, Mapping):
        return dict(options)
    if hasattr(type(options), "model_dump"):  # pydantic's
        return {key: value for key, value in options.model_dump().items() if value is not None}
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        return {
            item.name: plain_options(value) if dataclasses.is_dataclass(value) else value
            for item in dataclasses.fields(options)
            if _given(value := getattr(options, item.name, None)) and not item.name.startswith("_")
        }
    return {}


def _given(value: Any) -> bool:
    """Whether an option was given; IBM's options say `Unset` where others say None."""
    return value is not None and type(value).__name__ != "UnsetType"


def flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a primitive with those that it hands to its backend; `default_` ones have their own place."""
    flat = {key: value for key, value in options.items() if not key.startswith("default_")}
    for group in ("backend_options", "run_options", "simulator"):
        inner = flat.pop(group, None)
        if isinstance(inner, Mapping):
            flat.update(inner)
    return flat


_defaults: dict[type, dict[str, Any]] = {}


def _changed_options(backend: Any) -> dict[str, Any]:
    """The options of a backend that are not the default of its class."""
    options = held(backend, "_options")
    if not isinstance(options, Mapping):
        return {}
    cls = type(backend)
    if cls not in _defaults:
        try:
            _defaults[cls] = dict(cls._default_options())
        except Exception:  # noqa: BLE001 -- a class of anybody's: without known defaults every option was given
            _defaults[cls] = {}
    defaults = _defaults[cls]
    # the SDK's own options keep a dictionary, which is faster to go through than the mapping that they are
    chosen = getattr(options, "_fields", options)
    return {
        key: value
        for key, value in chosen.items()
        if value is not (default := defaults.get(key)) and not (type(value) is type(default) and _equal(value, default))
    }


def _equal(value: Any, default: Any) -> bool:
    return bool(value == default) if isinstance(value, (str, int, float, bool)) else False


def backend_options(backend: Any) -> dict[str, Any]:
    """The changed options of the backend behind a primitive, under names of their own."""
    return {} if backend is None else {f"backend.{key}": value for key, value in _changed_options(backend).items()}


def common(options: dict[str, Any]) -> dict[str, Any]:
    """Take out of the options what has a place of its own in a `Call`; digest the rest."""
    options = {key: value for key, value in options.items() if value is not None}
    noise = _take(options, ("noise_model",))
    shots = _take(options, ("shots",))
    seed = _take(options, _SEEDS)
    environment = options.get("environment")
    private = options.get("private", environment.get("private") if isinstance(environment, Mapping) else None)
    return {
        "noise_model": frozen_noise(noise)[1] if is_noise_model(noise) else None,
        "shots": integer(shots),
        "seed": integer(seed),
        "private": private is True,
        "options": digest_options(options),
    }


def _take(options: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove an option by any of its names, the caller's before the backend's own."""
    found = None
    for name in names:
        for key in (name, f"backend.{name}"):
            value = options.pop(key, None)
            found = value if found is None else found
    return found


def integer(value: Any) -> int | None:
    """A whole number, None for anything else."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def is_reference(primitive: Any) -> bool:
    """Whether a primitive is one of the reference implementations, which are known to keep no state but options."""
    return type(primitive).__module__.startswith(_REFERENCE)


# --- where it runs ----------------------------------------------------------------------------------------------------


# Primitives that do nothing but hand on to another one -> the attribute that holds it. They run where that one runs.
_HANDS_ON = {"qiskit_algorithms.minimum_eigensolvers.diagonal_estimator._DiagonalEstimator": "sampler"}


def backend_of(primitive: Any) -> Any:
    """The backend behind a primitive (or the primitive that it hands on to), None for one that computes by itself."""
    cls = type(primitive)
    inner = _HANDS_ON.get(f"{cls.__module__}.{cls.__qualname__}")
    if inner is not None:
        other = held(primitive, inner)
        return backend_of(other) or other
    for name in ("_backend", "_mode", "_session"):
        value = held(primitive, name)
        if hasattr(type(value), "run"):
            return value
        inner = held(value, "_backend")
        if hasattr(type(inner), "run"):
            return inner
    return None


def held(value: Any, name: str) -> Any:
    """An attribute that the object or its class holds, else None; never one that would be fetched when asked for."""
    own = getattr(value, "__dict__", None)
    if own is not None and name in own:
        return own[name]
    return getattr(value, name, None) if hasattr(type(value), name) else None


def describe_backend(backend: Any) -> Backend:
    """Name, class, version and calibration time, as far as the object holds them; asks nobody else."""
    cls = type(backend)
    properties = held(backend, "_properties")
    calibrated = None if properties is None else held(properties, "last_update_date")
    return Backend(
        name=text(held(backend, "_name"))
        or text(held(backend, "name"))
        or (cls.__name__ if is_reference(backend) else None),
        cls=f"{cls.__module__}.{cls.__qualname__}",
        version=text(held(backend, "backend_version")),
        calibration_time=calibrated.isoformat() if isinstance(calibrated, datetime) else text(calibrated),
        calibration=None if properties is None else _calibration(properties),
    )


_calibrations: dict[int, tuple[weakref.ref[Any], bytes | None]] = {}


def _calibration(properties: Any) -> bytes | None:
    """The digest of a calibration, made once: the SDK puts another object in its place when it loads a newer one."""
    identity = id(properties)
    known = _calibrations.get(identity)
    if known is not None and known[0]() is properties:
        return known[1]
    try:
        digest = digest_calibration(properties.to_dict())
        _calibrations[identity] = (weakref.ref(properties, lambda _: _calibrations.pop(identity, None)), digest)
    except (AttributeError, TypeError):  # another kind of properties: nothing is known of it
        return None
    return digest


def text(value: Any) -> str | None:
    """A text with something in it, None for anything else."""
    return value if isinstance(value, str) and value else None


def describe_job(job: Any) -> Retrieval:
    """A job that nobody saw submitted, as far as the object says where it ran."""
    backend = held(job, "_backend")
    return Retrieval(
        backend=describe_backend(backend if hasattr(type(backend), "run") else job), job=text(held(job, "_job_id"))
    )


# --- Aer --------------------------------------------------------------------------------------------------------------


def is_aer(backend: Any) -> bool:
    """Whether a backend reads its options in a worker, as all of Aer's do."""
    return any(cls.__module__ == "qiskit_aer.backends.aerbackend" for cls in type(backend).__mro__)


def pinned(backend: Any) -> Any:
    """A stand-in for an Aer backend, with options and a noise model of its own."""
    clone = shallow(backend)
    options = copy.copy(backend._options)
    fields = dict(options._fields)
    noise = fields.get("noise_model")
    if is_noise_model(noise):
        fields["noise_model"] = frozen_noise(noise)[0]
    object.__setattr__(options, "_fields", fields)
    clone._options = options
    return clone


def shallow(value: Any) -> Any:
    """The same attributes in another object, whatever the class says about copying."""
    clone = object.__new__(type(value))
    cast("dict[str, Any]", clone.__dict__).update(value.__dict__)
    return clone
