"""Reading a guarded call: who runs what, where, with which options; from copies, which are then what runs.

Enters: the arguments of a guarded method. Leaves: `Judged`: the `Call` to decide on, and the copies to hand on.
Never: touches `AerSimulator.target` (it is rebuilt at each access), asks a backend over the network, or takes a default
for something given.

The one exception to "what is handed on is a copy" is the object whose method is called. A backend or primitive of the
SDK reads its options when its worker starts, so a shallow copy with options of its own stands in for Aer's backends and
the reference primitives. Others keep state that the caller looks for afterwards, and are called themselves.
"""
# ruff: noqa: SLF001 - backends and primitives tell little about themselves in public

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from numbers import Integral, Real
from typing import Any, cast

from qiskit.circuit import Parameter, QuantumCircuit

from qnb.core.circuits import describe_ordered, digest_observables, digest_options, digest_parameters
from qnb.errors import ExecutionError
from qnb.kernel.intercept.copies import Copier, frozen_noise, is_noise_model
from qnb.model import Backend, Call, CircuitInfo

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
    """

    call: Call
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    pins: dict[int, Any]


def read(reader: str, name: str, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    """Read a call of a guarded method.

    Args:
        reader: `backend`, `sampler` or `estimator`.
        name: qualified name of the method.
        subject: the object whose method it is; None for a static method.
        args: the arguments after it.
        kwargs: those by name.

    Raises:
        ExecutionError: something in the call could not be read, so it cannot be judged.
    """
    if reader == "backend":
        return _read_backend(name, subject, args, kwargs)
    return _read_primitive(reader, name, subject, args, kwargs)


# --- backends ---------------------------------------------------------------------------------------------------------


def _read_backend(name: str, backend: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    copier = Copier()
    args = tuple(map(copier.value, args))
    kwargs = {key: copier.value(value) for key, value in kwargs.items()}
    circuits = _circuits(args, kwargs)
    infos, orders = _describe(circuits)
    options = _changed_options(backend) | {key: value for key, value in kwargs.items() if key not in _CIRCUIT_NAMES}
    binds = args[1] if len(args) > 1 and isinstance(args[1], list) else None
    given = options.pop("parameter_binds", None)
    call = Call(
        target=name,
        backend=describe_backend(backend),
        circuits=infos,
        parameters=_binds(binds if given is None else given, orders),
        **_common(options),
    )
    return Judged(call, args if backend is None else (backend, *args), kwargs, {})


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


def _describe(circuits: Iterable[QuantumCircuit]) -> tuple[tuple[CircuitInfo, ...], list[tuple[Parameter, ...]]]:
    known: dict[int, tuple[CircuitInfo, tuple[Parameter, ...]]] = {}
    described = []
    for circuit in circuits:
        if id(circuit) not in known:
            known[id(circuit)] = describe_ordered(circuit)
        described.append(known[id(circuit)])
    return tuple(info for info, _ in described), [order for _, order in described]


def _binds(binds: Any, orders: list[tuple[Parameter, ...]]) -> bytes | None:
    """Digest Aer's `parameter_binds`: one mapping per circuit."""
    if not isinstance(binds, (list, tuple)) or len(binds) != len(orders):
        return None  # none, or not what the backend accepts: it will say so
    return digest_parameters(binds, orders)


# --- primitives -------------------------------------------------------------------------------------------------------


def _read_primitive(reader: str, name: str, primitive: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    copier = Copier()
    kwargs = {key: value if key == "pubs" else copier.value(value) for key, value in kwargs.items()}
    given = args[0] if args else kwargs.pop("pubs", ())
    reference = _is_reference(primitive)
    if not reference:  # a primitive of anybody's may look for what it was given, and not for what that means
        given = copier.value(list(given))
    coerce = copier.sampler_pub if reader == "sampler" else copier.estimator_pub
    pubs = [coerce(pub, kwargs.get("shots" if reader == "sampler" else "precision")) for pub in given]
    infos, orders = _describe(pub.circuit for pub in pubs)
    backend = backend_of(primitive)
    runner, pins = _runner(primitive, backend)
    options = plain_options(getattr(runner, "_options", None))
    common = _common(_flattened(options) | _backend_options(backend))
    shots = [pub.shots for pub in pubs] if reader == "sampler" else []
    precisions = [pub.precision for pub in pubs] if reader == "estimator" else []
    call = Call(
        target=name,
        backend=describe_backend(primitive if backend is None else backend),
        circuits=infos,
        parameters=digest_parameters([pub.parameter_values for pub in pubs], orders),
        observables=digest_observables([pub.observables for pub in pubs]) if reader == "estimator" else None,
        precision=_smallest(precisions, _default(runner, options, "precision")) if reader == "estimator" else None,
        **{
            **common,
            "shots": _largest(shots, _default(runner, options, "shots")) if reader == "sampler" else None,
            "seed": common["seed"] if common["seed"] is not None else _integer(getattr(runner, "_seed", None)),
        },
    )
    handed = (pubs if reference else given, *map(copier.value, args[1:]))
    return Judged(call, handed if runner is None else (runner, *handed), kwargs, pins)


def _is_reference(primitive: Any) -> bool:
    return type(primitive).__module__.startswith(_REFERENCE)


def _runner(primitive: Any, backend: Any) -> tuple[Any, dict[int, Any]]:
    """What runs in place of a reference primitive: the same, with options and a backend of its own."""
    if not _is_reference(primitive):
        return primitive, {}
    runner = _shallow(primitive)
    if hasattr(runner, "_options"):
        runner._options = _own_options(runner._options)
    return runner, ({id(backend): pinned(backend)} if is_aer(backend) else {})


def _own_options(options: Any) -> Any:
    """A copy of an options object of a reference primitive, deep in its mappings and no deeper."""
    if options is None or isinstance(options, Mapping):
        return Copier().value(options)
    clone = _shallow(options)
    copier = Copier()
    for name, value in vars(options).items():
        if isinstance(value, (dict, list)):
            setattr(clone, name, copier.value(value))
    return clone


def _default(primitive: Any, options: Mapping[str, Any], what: str) -> Any:
    attribute = getattr(primitive, f"_default_{what}", None)
    return options.get(f"default_{what}") if attribute is None else attribute


def _largest(shots: list[int | None], default: Any) -> int | None:
    used = [_integer(default if item is None else item) for item in shots]
    return max((item for item in used if item is not None), default=None)


def _smallest(precisions: list[float | None], default: Any) -> float | None:
    used = [default if item is None else item for item in precisions]
    return min((float(item) for item in used if isinstance(item, Real)), default=None)


# --- options ----------------------------------------------------------------------------------------------------------


def plain_options(options: Any) -> dict[str, Any]:
    """An options object (the SDK's, a dataclass or a mapping) as a dictionary; empty for None."""
    if isinstance(options, Mapping):
        return dict(options)
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        return {
            item.name: plain_options(value) if dataclasses.is_dataclass(value) else value
            for item in dataclasses.fields(options)
            if (value := getattr(options, item.name, None)) is not None and not item.name.startswith("_")
        }
    return {}


def _flattened(options: Mapping[str, Any]) -> dict[str, Any]:
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
    options = getattr(backend, "_options", None)
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
    held = getattr(options, "_fields", options)
    return {
        key: value
        for key, value in held.items()
        if value is not (default := defaults.get(key)) and not (type(value) is type(default) and _equal(value, default))
    }


def _equal(value: Any, default: Any) -> bool:
    return bool(value == default) if isinstance(value, (str, int, float, bool)) else False


def _backend_options(backend: Any) -> dict[str, Any]:
    return {} if backend is None else {f"backend.{key}": value for key, value in _changed_options(backend).items()}


def _common(options: dict[str, Any]) -> dict[str, Any]:
    """Take out of the options what has a place of its own in a `Call`; digest the rest."""
    options = {key: value for key, value in options.items() if value is not None}
    noise = _take(options, ("noise_model",))
    shots = _take(options, ("shots",))
    seed = _take(options, _SEEDS)
    environment = options.get("environment")
    private = options.get("private", environment.get("private") if isinstance(environment, Mapping) else None)
    return {
        "noise_model": frozen_noise(noise)[1] if is_noise_model(noise) else None,
        "shots": _integer(shots),
        "seed": _integer(seed),
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


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


# --- where it runs ----------------------------------------------------------------------------------------------------


def backend_of(primitive: Any) -> Any:
    """The backend behind a primitive, None for one that computes by itself."""
    for name in ("_backend", "_mode", "_session"):
        value = getattr(primitive, name, None)
        if hasattr(value, "run"):
            return value
        inner = getattr(value, "_backend", None)
        if hasattr(inner, "run"):
            return inner
    return None


def describe_backend(backend: Any) -> Backend:
    """Name, class, version and calibration time, as far as the object holds them; asks nobody else."""
    cls = type(backend)
    properties = getattr(backend, "_properties", None)
    calibrated = getattr(properties, "last_update_date", None)
    return Backend(
        name=_text(getattr(backend, "_name", None)) or _text(getattr(backend, "name", None)),
        cls=f"{cls.__module__}.{cls.__qualname__}",
        version=_text(getattr(backend, "backend_version", None)),
        calibration_time=calibrated.isoformat() if isinstance(calibrated, datetime) else _text(calibrated),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


# --- Aer --------------------------------------------------------------------------------------------------------------


def is_aer(backend: Any) -> bool:
    """Whether a backend reads its options in a worker, as all of Aer's do."""
    return any(cls.__module__ == "qiskit_aer.backends.aerbackend" for cls in type(backend).__mro__)


def pinned(backend: Any) -> Any:
    """A stand-in for an Aer backend, with options and a noise model of its own."""
    clone = _shallow(backend)
    options = copy.copy(backend._options)
    fields = dict(options._fields)
    noise = fields.get("noise_model")
    if is_noise_model(noise):
        fields["noise_model"] = frozen_noise(noise)[0]
    object.__setattr__(options, "_fields", fields)
    clone._options = options
    return clone


def _shallow(value: Any) -> Any:
    """The same attributes in another object, whatever the class says about copying."""
    clone = object.__new__(type(value))
    cast("dict[str, Any]", clone.__dict__).update(value.__dict__)
    return clone
