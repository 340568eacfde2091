"""Circuits that come in past `qnb.load_circuit`: the SDK's loaders, and pickles.

Enters: calls of the SDK's functions that read files, and what Python says while it unpickles. Leaves: calls of
`session.load`, before anything of the file is read. Never: looks at the file; decides inside a call that was decided.

Unpickling is seen by an audit hook (PEP 578), whoever unpickles: `pickle`, joblib, cloudpickle, a queue of processes.
It is told each class by name, so a circuit is seen when its class is. Not seen: a circuit that other code builds while
it is unpickled (a reducer that calls a function), what else the pickle ran before, processes forked from this one, and
formats that are no pickles.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from qnb.kernel.intercept import trampoline
from qnb.kernel.intercept.token import inside
from qnb.kernel.intercept.trampoline import Hook

LOADERS = (
    ("qiskit.qpy.interface", "load", "qpy"),
    ("qiskit.qasm2", "load", "qasm2"),
    ("qiskit.qasm2", "loads", "qasm2"),
    ("qiskit.qasm3", "load", "qasm3"),
    ("qiskit.qasm3", "loads", "qasm3"),
    ("qiskit.qasm3", "load_experimental", "qasm3"),
    ("qiskit.qasm3", "loads_experimental", "qasm3"),
)
_CLASSES = frozenset({"QuantumCircuit", "CircuitData"})  # every subclass of a circuit holds the second

Loads = Callable[[str], None]

_DECIDED: ContextVar[bool] = ContextVar("qnb_load_decided", default=False)
_asked: list[Loads] = []  # who is asked: one at the most
_owner: list[int] = []  # the process that this was installed in
_audited: list[bool] = []


@contextmanager
def decided() -> Iterator[None]:
    """What is loaded inside has been decided."""
    reset = _DECIDED.set(True)
    try:
        yield
    finally:
        _DECIDED.reset(reset)


def install(session: Any) -> None:
    """Let `session` decide what is loaded from here on; one that cannot is not asked."""
    load = getattr(session, "load", None)
    _asked[:] = [] if load is None else [partial(load, hooked=True)]
    _owner[:] = [os.getpid()]
    if _asked and not _audited:
        sys.addaudithook(_audit)  # for the life of the process: Python has no way to take one out
        _audited.append(True)
    place()


def place() -> None:
    """Hook the loaders that are there by now."""
    for module, name, format_ in LOADERS if _asked else ():
        function = trampoline.function_of(getattr(sys.modules.get(module), name, None))
        if function is not None:
            trampoline.place(function, partial(_enter, format_))


def uninstall() -> None:
    """Ask nobody any more; the functions themselves are put back by `trampoline.remove_all`."""
    _asked.clear()


def _enter(format_: str, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not _asked or _DECIDED.get() or inside() is not None:
        return hook.original(*args, **kwargs)
    _asked[0](format_)
    with decided():  # a loader that calls another one
        return hook.original(*args, **kwargs)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event != "pickle.find_class" or not _asked or args[1] not in _CLASSES:
        return
    if str(args[0]).partition(".")[0] != "qiskit" or _DECIDED.get() or inside() is not None or _owner != [os.getpid()]:
        return
    with decided():  # deciding must not be told of itself
        _asked[0]("pickle")
