"""What stands beside the guard: objects with a `run` of their own, and SDKs that no target of the table is about.

Enters: the user's namespace and the names of the modules that are loaded. Leaves: names, for the posture.
Never: changes an object, imports a module, or looks further than a variable and the backend that it holds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from qnb.kernel.intercept.table import TARGETS
from qnb.kernel.intercept.targets import loaded_base

# Packages that execute circuits by ways of their own. Imported by one that is guarded or not: nothing of it is decided.
UNGUARDED = ("braket", "cirq", "cudaq", "pennylane", "projectq", "pulser", "pyquil", "pytket", "qibo", "qutip")

_OBJECTS = frozenset({"backend", "sampler", "estimator", "sampler-v1", "estimator-v1", "program"})


def shadowed(namespace: Mapping[str, object]) -> list[str]:
    """Qualified names of guarded methods that an instance in the namespace hides behind an attribute of its own.

    An instance's attribute wins over its class, so that `backend.run = f` takes the guard out of that one object.
    """
    methods: dict[type, set[str]] = {}
    for target in TARGETS:
        base = loaded_base(target) if target.reader in _OBJECTS else None
        if base is not None:
            methods.setdefault(base, set()).add(target.method)
    if not methods:
        return []
    bases = tuple(methods)
    found = set()
    for held in list(namespace.values()):
        if not issubclass(type(held), bases):  # `isinstance` would ask a proxy what it stands for
            continue
        for value in (held, getattr(held, "__dict__", {}).get("_backend")):
            own = getattr(value, "__dict__", {})
            for base, names in methods.items():
                for name in names & own.keys() if issubclass(type(value), base) else ():
                    found.add(f"{type(value).__module__}.{type(value).__qualname__}.{name} (an instance's own)")
    return sorted(found)


def unguarded() -> list[str]:
    """The loaded packages that can execute circuits and that nothing here guards."""
    return [name for name in UNGUARDED if name in sys.modules]
