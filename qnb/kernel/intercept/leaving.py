"""Names stay here: what a call hands to a backend outside goes under neutral names, and what comes back gets its own.

Enters: a judged call whose backend the policy says is somebody else's. Leaves: copies under neutral names to hand on,
and a `Restorer` for the result. Never: hands on a circuit whose fingerprint is another than the one that was decided
on; submits anything whose map of names could not be kept; opens a map that was sealed.

In the kernel that submitted a job the names are in memory, also for a job that is fetched again by its id. Another
kernel can open nothing: names stay neutral there, and the user is told where the sealed map is.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import shlex
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qnb.errors import ExecutionError, QnbError
from qnb.kernel.intercept.token import inside

if TYPE_CHECKING:
    from qnb.core.circuits.names import Renamer
    from qnb.core.circuits.neutral import Names
    from qnb.kernel.intercept.calls import Judged

_BINDINGS = frozenset({"pubs", "parameter_binds", "parameter_values", "circuits", "run_input", "circuit", "program"})
_REMEMBERED = 4096
_HIDES = "names leave this machine only where the policy says so: `names` of the zone in qnb.toml"


class Keeper(Protocol):
    """What a ticket of a session with a policy says and does about names."""

    @property
    def hides_names(self) -> bool:
        """Whether the backend is one that names must not reach."""

    def keep_names(self, content: bytes) -> Path | None:
        """Seal the map of names and keep it; where, or None when there is nobody to seal it for.

        Raises:
            QnbError: it could not be kept; nothing may be submitted.
        """


class Restorer:
    """Gives results their names back: the same restored object for the same result."""

    def __init__(self, names: Names, path: Path | None) -> None:
        self.path = path
        self._names = names
        self._last: tuple[Any, Any] = (None, None)

    def __call__(self, value: Any) -> Any:
        """The result under the names as given."""
        if value is not self._last[0]:
            from qnb.core.circuits.restored import restore_result

            self._last = (value, restore_result(value, self._names))
        return self._last[1]

    def fresh(self) -> Restorer:
        """One that holds no result."""
        return Restorer(self._names, self.path)


def neutralise(judged: Judged, ticket: Any) -> tuple[Judged, Restorer | None]:
    """Put neutral names into what will be handed on, where the policy wants it.

    Args:
        judged: the call.
        ticket: a `Keeper`, or one of a session without a policy, which has nothing to say about names.

    Raises:
        ExecutionError: the names cannot be replaced without changing what runs.
        QnbError: the map could not be kept.
    """
    if not getattr(ticket, "hides_names", False):
        return judged, None
    keeper: Keeper = ticket
    from qnb.core.circuits.names import Renamer
    from qnb.core.circuits.restored import render_names
    from qnb.kernel.intercept.calls import is_aer

    circuits = list(_circuits((judged.args, judged.kwargs)))
    if not circuits:
        return judged, None
    subject = judged.args[0] if judged.args else None
    renamer = Renamer(circuits, lambda: () if is_aer(subject) else _operation_names(subject))
    sent = [renamer.circuit(circuit) for circuit in circuits]
    renamer.names.order = [circuit.name for circuit in sent]
    _check(judged, circuits, sent, renamer)
    writer = _Writer(renamer)
    args = tuple(writer.value(value, bindings=True) for value in judged.args)
    kwargs = {key: writer.value(value, bindings=key in _BINDINGS) for key, value in judged.kwargs.items()}
    path = keeper.keep_names(render_names(renamer.names, {"backend": judged.call.backend.name}))
    return dataclasses.replace(judged, args=args, kwargs=kwargs), Restorer(renamer.names, path)


def _operation_names(subject: Any) -> tuple[str, ...]:
    """The operations that a backend says it understands; it may ask its provider, as it does when it runs them."""
    from qnb.kernel.intercept.calls import backend_of

    backend = backend_of(subject) or subject
    try:
        return tuple(backend.target.operation_names)
    except Exception:  # noqa: BLE001 -- a backend of anybody's: one that does not tell understands nothing of ours
        return ()


def _check(judged: Judged, given: list[Any], replaced: list[Any], renamer: Renamer) -> None:
    """What is sent is what was decided on: the same fingerprint, with labels spelled as they are sent."""
    from qnb.core.circuits import describe
    from qnb.core.circuits.names import fingerprint_sent
    from qnb.kernel.intercept.copies import is_noise_model

    infos = judged.call.circuits
    decided = not renamer.labels and len(infos) == len(given)
    seen: set[int] = set()
    for position, (circuit, neutral) in enumerate(zip(given, replaced, strict=True)):
        if id(circuit) in seen:
            continue
        seen.add(id(circuit))
        wanted = infos[position].fingerprint if decided else describe(circuit, renamer.labels).fingerprint
        sent = describe(neutral).fingerprint
        if sent != wanted and sent != fingerprint_sent(circuit, renamer.labels):
            raise ExecutionError(
                "names-not-replaced",
                "the circuit would be another one under neutral names, so nothing was sent",
                _HIDES,
            )
    chosen = {*renamer.labels, *renamer.names.given["gates"].values()}
    for value in judged.kwargs.values():
        if is_noise_model(value) and chosen & set(value.noise_instructions):
            raise ExecutionError(
                "names-not-replaced", "the noise model picks gates by a name of your own, so nothing was sent", _HIDES
            )


def _circuits(value: Any) -> Iterator[Any]:
    """Every circuit below `value`, in order."""
    from qiskit.circuit import QuantumCircuit
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    if isinstance(value, QuantumCircuit):
        yield value
    elif type(value) in (list, tuple, set):
        for item in value:
            yield from _circuits(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _circuits(item)
    elif isinstance(value, (SamplerPub, EstimatorPub)):
        yield value.circuit
    elif (items := _program_items(value)) is not None:
        for item in items:
            if hasattr(item, "samplex"):
                raise ExecutionError(
                    "names-not-replaced", "a samplex refers to its circuit by name, so nothing was sent", _HIDES
                )
            yield from _circuits(item.circuit)


def _program_items(value: Any) -> list[Any] | None:
    """The items of a program of IBM's: objects that hold a circuit each."""
    items = getattr(value, "items", None)
    return items if isinstance(items, list) and items and all(hasattr(item, "circuit") for item in items) else None


class _Writer:
    """Writes the arguments again with neutral circuits and keys."""

    def __init__(self, renamer: Renamer) -> None:
        self._renamer = renamer

    def value(self, value: Any, *, bindings: bool) -> Any:
        """A value under neutral names.

        Args:
            value: an argument, or something in one.
            bindings: whether keys of mappings in it can be parameters.
        """
        from qiskit.circuit import Parameter, QuantumCircuit
        from qiskit.primitives.containers import BindingsArray
        from qiskit.primitives.containers.estimator_pub import EstimatorPub
        from qiskit.primitives.containers.sampler_pub import SamplerPub

        renamer = self._renamer
        if isinstance(value, QuantumCircuit):
            return renamer.circuit(value)
        if type(value) in (list, tuple, set):
            return type(value)(self.value(item, bindings=bindings) for item in value)
        if type(value) is dict:
            return {
                self._key(key) if bindings else key: self.value(item, bindings=bindings) for key, item in value.items()
            }
        if isinstance(value, Parameter):
            return renamer.parameters.get(value, value)
        if isinstance(value, BindingsArray):
            return self._bindings(value)
        if isinstance(value, SamplerPub):
            values = self._bindings(value.parameter_values)
            return SamplerPub(renamer.circuit(value.circuit), values, value.shots, validate=False)
        if isinstance(value, EstimatorPub):
            values = self._bindings(value.parameter_values)
            circuit = renamer.circuit(value.circuit)
            return EstimatorPub(circuit, value.observables, values, value.precision, validate=False)
        if (items := _program_items(value)) is not None:
            clone = copy.copy(value)
            clone.items = [self._item(item) for item in items]
            return clone
        return value

    def _item(self, item: Any) -> Any:
        clone = copy.copy(item)
        clone.circuit = self._renamer.circuit(item.circuit)
        return clone

    def _key(self, key: Any) -> Any:
        from qiskit.circuit import Parameter

        if isinstance(key, tuple):
            return tuple(map(self._key, key))
        if isinstance(key, str):
            return self._renamer.by_name.get(key, key)
        return self._renamer.parameters.get(key, key) if isinstance(key, Parameter) else key

    def _bindings(self, values: Any) -> Any:
        clone = copy.copy(values)
        clone._data = {self._key(key): array for key, array in values._data.items()}  # noqa: SLF001
        return clone


# --- jobs that are fetched again --------------------------------------------------------------------------------------

_submitted: OrderedDict[str, Restorer] = OrderedDict()
_told: set[str] = set()


def remember(value: Any, restorer: Restorer) -> None:
    """Keep the names of a job that was submitted by its id, and the place of its sealed map on disk."""
    name = job_id(value)
    if name is None:
        return
    _submitted[name] = restorer.fresh()
    while len(_submitted) > _REMEMBERED:
        _submitted.popitem(last=False)
    if restorer.path is not None:
        from qnb.store.names import link_job

        with contextlib.suppress(QnbError):  # the map itself is kept: it is found by its entry too
            link_job(restorer.path, name)


def restorer_of(job: Any) -> Restorer | None:
    """What gives the result of a job that nobody here follows its names back.

    Returns:
        None where this kernel did not submit it under neutral names. If another one did, the user is told, once, where
        the sealed map is.
    """
    name = None if inside() is not None else job_id(job)  # what a guarded call fetches inside is that call's own
    if name is None:
        return None
    if name in _submitted:
        return _submitted[name].fresh()
    if name not in _told:
        from qnb.store.config import home
        from qnb.store.names import find_job

        path = find_job(home(), name)
        if path is not None:
            _told.add(name)
            warnings.warn(
                "this job was submitted under neutral names, which its result keeps here; "
                f"`qnb unseal {shlex.quote(str(path))} -o names.json` says what they stand for",
                stacklevel=3,
            )
    return None


def job_id(job: Any) -> str | None:
    """The provider's id of a job; None where it has none."""
    asked = getattr(job, "job_id", None)
    try:
        name = asked() if callable(asked) else asked
    except Exception:  # noqa: BLE001 -- a job of anybody's
        return None
    return name if isinstance(name, str) and name else None
