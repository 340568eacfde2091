"""Reading calls of the primitives of the first generation, which Aer still ships.

Enters: `run(circuits, …)`. Leaves: `Judged`.
Never: runs on a stand-in: these primitives keep what they transpiled for the next call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qiskit.circuit import QuantumCircuit

from qnb.core.circuits import digest_observables, digest_parameters
from qnb.errors import ExecutionError
from qnb.kernel.intercept.calls import Judged, backend_of, backend_options, common, describe_all, describe_backend, held
from qnb.kernel.intercept.copies import Copier
from qnb.model import Call


def read_sampler_v1(name: str, primitive: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    """`run(circuits, parameter_values=None, **options)`.

    Raises:
        ExecutionError: the circuits could not be read.
    """
    return _read(name, primitive, ("circuits", "parameter_values"), args, kwargs)


def read_estimator_v1(name: str, primitive: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    """`run(circuits, observables, parameter_values=None, **options)`.

    Raises:
        ExecutionError: the circuits could not be read.
    """
    return _read(name, primitive, ("circuits", "observables", "parameter_values"), args, kwargs)


def _read(name: str, primitive: Any, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    copier = Copier()
    handed = {key: copier.value(value) for key, value in {**dict(zip(names, args, strict=False)), **kwargs}.items()}
    circuits = _circuits(handed.get("circuits"))
    infos, orders = describe_all(circuits, copier)
    backend = backend_of(primitive)
    own = held(primitive, "_run_options")
    options = dict(own) if isinstance(own, Mapping) else {}
    options |= {key: value for key, value in handed.items() if key not in names}
    call = Call(
        target=name,
        backend=describe_backend(primitive if backend is None else backend),
        circuits=infos,
        parameters=_parameters(handed.get("parameter_values"), orders),
        observables=digest_observables(handed.get("observables")),
        **common(options | backend_options(backend)),
    )
    return Judged(call, (primitive,), handed, {})


def _circuits(given: Any) -> list[QuantumCircuit]:
    if isinstance(given, QuantumCircuit):
        return [given]
    if isinstance(given, Iterable):
        circuits = list(given)
        if all(isinstance(item, QuantumCircuit) for item in circuits):
            return circuits
    raise ExecutionError(
        "unreadable-input",
        "what was handed to the primitive is not a circuit or a list of circuits, so it cannot be judged",
        "hand over `QuantumCircuit` objects",
    )


def _parameters(values: Any, orders: Sequence[tuple[Any, ...]]) -> bytes | None:
    """One row of values a circuit, or one row alone for a single circuit."""
    if values is None:
        return None
    try:
        rows = [values] if len(orders) == 1 and not isinstance(values[0], Iterable) else list(values)
    except (TypeError, IndexError):
        return None  # not what the primitive accepts: it will say so
    return digest_parameters(rows, orders) if len(rows) == len(orders) else None
