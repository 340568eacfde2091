"""Reading simulation in the process: circuits that `quantum_info` and Aer's states compute without any backend.

Enters: what such a method was given. Leaves: `Judged` for a circuit that user code has simulated, else None.
Never: counts a matrix, an operator or a gate that has a matrix: nothing is executed that was not computed before.

The SDK computes with the same methods for itself: a transpiler compares matrices, a gate builds its definition. Such a
call belongs to the rewriting of a circuit. It is told by who called: from the method upwards all frames are the SDK's,
and one of them is of the packages that build and rewrite circuits and noise models. So a pass of somebody else's that
simulates is seen, and so is a gate that is asked for its matrix. Why, and what else was thought of:
docs/adr/0013-simulation-in-the-process.md.
"""

from __future__ import annotations

import copy
import sys
from types import FrameType
from typing import Any

from qiskit.circuit import AnnotatedOperation, Instruction, QuantumCircuit

from qnb.kernel.intercept.calls import Judged, describe_all
from qnb.kernel.intercept.copies import Copier
from qnb.kernel.intercept.trampoline import Hook
from qnb.model import Backend, Call

_AER = ("qiskit_aer.",)
_SDK = ("qiskit.", "qiskit_aer.", "qiskit_ibm_runtime.")
_REWRITING = (
    "qiskit.transpiler.",
    "qiskit.passmanager.",
    "qiskit.compiler.",
    "qiskit.synthesis.",
    "qiskit.circuit.library.",
    "qiskit_aer.noise.",
    "qiskit_ibm_runtime.transpiler.",
)
_NEAREST = 4  # frames above the readers here: `read`, the guard, the hook, and then the swapped method's own


def read_simulation(hook: Hook, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged | None:
    """A method that was given a circuit, among other things that it may be given.

    Raises:
        ExecutionError: the circuit could not be read, so the call cannot be judged.
    """
    place, given = _find(args, kwargs)
    if given is None or _is_rewriting(sys._getframe(_NEAREST)):  # noqa: SLF001 - who calls is the question
        return None
    circuit = _as_circuit(given)
    if circuit is None:
        return None
    copier = Copier()
    if isinstance(given, QuantumCircuit):
        handed: Any = copier.circuit(given)
        infos, _ = describe_all([handed], copier)
    else:
        handed = copy.deepcopy(given)
        infos, _ = describe_all([circuit], copier)
    if isinstance(place, int):
        args = (*args[:place], handed, *args[place + 1 :])
    else:
        kwargs = {**kwargs, place: handed}
    call = Call(target=hook.name, backend=_computed_by(hook), circuits=infos)
    return Judged(call, args if subject is None else (subject, *args), kwargs, {})


def read_state(hook: Hook, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Judged | None:
    """The opening of a state that gates are then applied to one by one: no circuit is known, none is described."""
    frame = sys._getframe(_NEAREST).f_back  # noqa: SLF001 - as above
    if frame is None or _package(frame, _AER):
        return None  # Aer's own states, which have rows of their own
    call = Call(target=hook.name, backend=_computed_by(hook), circuits=())
    return Judged(call, (subject, *args), kwargs, {})


def _find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | str, Any]:
    """Where the circuit is among the arguments, and itself; None for none."""
    if args and _may_be_circuit(args[0]):
        return 0, args[0]
    for name, value in kwargs.items():
        if _may_be_circuit(value):
            return name, value
    return 0, None


def _may_be_circuit(value: Any) -> bool:
    if isinstance(value, (QuantumCircuit, AnnotatedOperation)):
        return True
    return isinstance(value, Instruction) and not hasattr(value, "__array__")


def _as_circuit(given: Any) -> QuantumCircuit | None:
    """The circuit that `given` is or holds; None for an operation that is not made of others."""
    inner = given
    while isinstance(inner, AnnotatedOperation):
        inner = inner.base_op
    if isinstance(inner, QuantumCircuit):
        return inner
    if not _may_be_circuit(inner) or inner.definition is None:
        return None
    circuit = QuantumCircuit(given.num_qubits, given.num_clbits)
    circuit.append(given, circuit.qubits, circuit.clbits)
    return circuit


def _is_rewriting(frame: FrameType | None) -> bool:
    """Whether the SDK called for the sake of rewriting a circuit; `frame` is that of the method itself."""
    while frame is not None and _package(frame, _SDK):
        if _package(frame, _REWRITING):
            return True
        frame = frame.f_back
    return False


def _package(frame: FrameType, names: tuple[str, ...]) -> bool:
    module = frame.f_globals.get("__name__")
    return isinstance(module, str) and f"{module}.".startswith(names)


def _computed_by(hook: Hook) -> Backend:
    """The class that computes stands where the backend would."""
    owner = hook.name.rpartition(".")[0]
    return Backend(owner, f"{hook.original.__module__}.{owner}")
