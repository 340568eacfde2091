"""Reading calls of IBM Runtime that have no common base: programs, noise learning, calibration, and what submits them.

Enters: `run(…)` of a program, `_run(program_id, inputs, options, …)` of a session or service. Leaves: `Judged`.
Never: asks the service anything; reads circuits out of the text that a program was encoded to: that is digested whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qiskit.circuit import CircuitInstruction, QuantumCircuit

from qnb.core.circuits import digest_options, digest_parameters
from qnb.kernel.intercept.calls import (
    Judged,
    backend_of,
    common,
    describe_all,
    describe_backend,
    flattened,
    held,
    integer,
    options_of,
    plain_options,
    shallow,
)
from qnb.kernel.intercept.copies import Copier
from qnb.model import Backend, Call


def read_program(name: str, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged:
    """A call with circuits somewhere in its arguments, or with none.

    Raises:
        ExecutionError: a circuit in it could not be read, so the call cannot be judged.
    """
    copier = Copier()
    args = tuple(_copy(value, copier) for value in args)
    kwargs = {key: _copy(value, copier) for key, value in kwargs.items()}
    given = (*args, *kwargs.values())
    found = list(_circuits(given))
    infos, orders = describe_all((circuit for circuit, _ in found), copier)
    runtime = next((value for value in given[1:] if held(value, "backend") is not None or _names_backend(value)), None)
    runtime_options = plain_options(runtime) or (dict(vars(runtime)) if hasattr(runtime, "__dict__") else {})
    backend = runtime_options.pop("backend", None)
    options = flattened(plain_options(options_of(subject)))
    options |= {key: value for key, value in runtime_options.items() if value is not None}
    inputs = [value for value in given if isinstance(value, Mapping) and value is not runtime]
    facts = common(options)
    if not found and inputs:
        facts["options"] = digest_options({"inputs": inputs, "options": None if not options else _plain(options)})
    if facts["shots"] is None:
        facts["shots"] = _shots(given, options)
    call = Call(
        target=name,
        backend=_backend(subject, backend),
        circuits=infos,
        parameters=digest_parameters([values for _, values in found], orders),
        **facts,
    )
    return Judged(call, (subject, *args), kwargs, {})


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without objects, whose place in the digest is the backend's or nobody's."""
    return {key: value for key, value in options.items() if isinstance(value, (str, int, float, bool, list, dict))}


def _names_backend(value: Any) -> bool:
    return isinstance(value, Mapping) and "backend" in value


def _backend(subject: Any, named: Any) -> Backend:
    """The backend that the options name, else the one that the object is for."""
    if isinstance(named, str):  # the service looks it up; until then its class is all that is known
        return Backend(named, f"{type(subject).__module__}.{type(subject).__qualname__}")
    backend = backend_of(subject) if named is None else named
    return describe_backend(subject if backend is None else backend)


def _shots(given: tuple[Any, ...], options: Mapping[str, Any]) -> int | None:
    for value in given:
        shots = integer(value.get("shots") if isinstance(value, Mapping) else held(value, "shots"))
        if shots is not None:
            return shots
    return integer(options.get("default_shots"))


# --- circuits, wherever they are --------------------------------------------------------------------------------------


def _circuits(value: Any) -> Iterator[tuple[QuantumCircuit, Any]]:
    """Every circuit below `value` in order, each with the parameter values that stand beside it."""
    if isinstance(value, QuantumCircuit):
        yield value, None
    elif isinstance(value, CircuitInstruction):
        circuit = QuantumCircuit(list(value.qubits), list(value.clbits))
        circuit.append(value)
        yield circuit, None
    elif isinstance(circuit := held(value, "circuit"), QuantumCircuit):  # a pub, or an item of a program
        values = held(value, "parameter_values")
        yield circuit, held(value, "circuit_arguments") if values is None else values
    else:
        for item in _below(value):
            yield from _circuits(item)


def _below(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (list, tuple)):
        return value
    items = held(value, "items")  # of a program
    return items if isinstance(items, list) else ()


def _copy(value: Any, copier: Copier) -> Any:
    """As `Copier.value`; programs with items of their own, instructions with operations of their own."""
    if isinstance(value, CircuitInstruction):
        return value.replace(operation=copy.deepcopy(value.operation))
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], CircuitInstruction):
        return [_copy(item, copier) for item in value]
    items = held(value, "items")
    if isinstance(items, list) and items and all(hasattr(item, "circuit") for item in items):
        clone = shallow(value)
        clone.items = [_item(item, copier) for item in items]
        return clone
    return copier.value(value)


def _item(item: Any, copier: Copier) -> Any:
    clone = shallow(item)
    for name, value in vars(item).items():
        setattr(clone, name, copier.value(value))
    return clone
