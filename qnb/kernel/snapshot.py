"""The state of objects at one time, to tell later which of them were changed.

Enters: names and their values. Leaves: the names and objects whose state is another one now. Never: takes an object for
unchanged that it cannot see through; keeps a copy of data: arrays are remembered by a checksum.
"""

from __future__ import annotations

import weakref
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping
from functools import cache, partial
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from qnb.kernel.reach import ATOMS, Budget, children, held_by, is_fixed, ndarray

_CONTAINERS = frozenset(
    {
        object, list, dict, tuple, set, frozenset, deque, OrderedDict, defaultdict, Counter, partial, MethodType,
        CellType, MappingProxyType, SimpleNamespace, FunctionType, BuiltinFunctionType, MethodWrapperType,
        property, staticmethod, classmethod, super,
        BaseException, Exception, type({}.keys()), type({}.values()), type({}.items()),
    }
)  # fmt: skip
_SEE_THROUGH = ("pandas",)  # packages whose C classes show all they hold to the collector, or as arrays
_HASHED = 64 * 1024 * 1024  # bytes of an array that are looked at to see whether it changed


class Snapshot:
    """The state of objects at one time.

    Args:
        roots: names and their values.
        namespace: of the notebook; not walked into.
        budget: what may be spent on it.
    """

    def __init__(self, roots: Mapping[str, Any], namespace: Mapping[str, Any], budget: Budget) -> None:
        self._states: dict[int, tuple[object, object]] = {}
        self._members: dict[str, list[int] | None] = {}  # None: too large to be looked at
        for name, value in roots.items():
            self._members[name] = self._walk(value, namespace, budget)

    def holds(self, value: object) -> bool:
        """Whether an object was there already."""
        return id(value) in self._states

    def changed(self) -> tuple[set[str], list[object]]:
        """The names whose value is no longer as it was, and the objects that changed."""
        objects = {
            key: value for key, (value, state) in self._states.items() if state is None or _state(value) != state
        }
        names = {
            name
            for name, members in self._members.items()
            if members is None or any(member in objects for member in members)
        }
        return names, list(objects.values())

    def _walk(self, root: object, namespace: Mapping[str, Any], budget: Budget) -> list[int] | None:
        members: list[int] = []
        seen = {id(namespace)}
        todo = [root]
        while todo:
            value = todo.pop()
            if type(value) in ATOMS or id(value) in seen:
                continue
            seen.add(id(value))
            kind: Any = type(value)
            if is_fixed(value) or _only_caches(kind):
                continue
            following = children(value)
            if budget.spent(1 + len(following) // 8):
                return None
            members.append(id(value))
            if id(value) not in self._states:
                self._states[id(value)] = (value, _state(value))
            todo += following
        return members


def _state(value: Any) -> object:
    """Something that differs when a value was changed; None when that cannot be told."""
    array = ndarray()
    if array is not None and isinstance(value, array):
        if value.nbytes > _HASHED:
            return None
        if value.dtype.hasobject:
            return (value.shape, value.dtype, _fold(value.ravel().tolist()))
        return (value.shape, value.dtype, zlib.crc32(value.tobytes()))
    kind: Any = type(value)
    if isinstance(value, bytearray):
        return zlib.crc32(value)
    if kind.__name__ == "QuantumCircuit" and kind.__module__.startswith("qiskit."):
        return _circuit_state(value)
    if isinstance(value, weakref.ref):
        return id(value())
    if kind.__name__ == "BlockManager" and kind.__module__.partition(".")[0] == "pandas":
        return _fold([*value.axes, *value.blocks])
    return _fold(held_by(value)) if _is_transparent(kind) else None


def _fold(held: Iterable[Any]) -> int:
    # what is plain counts by its value: another number may take the place of one that is gone
    return hash(tuple((type(one), one) if type(one) in _HASHABLE else id(one) for one in held))


_HASHABLE = frozenset({type(None), bool, int, float, complex, str, bytes})


def _circuit_state(circuit: Any) -> object:
    from qnb.core.circuits import describe

    try:
        return describe(circuit).fingerprint, _fold(held_by(circuit))
    except Exception:  # noqa: BLE001 - what has no fingerprint cannot be told to be unchanged
        return None


@cache
def _is_transparent(kind: Any) -> bool:
    """Whether the collector sees all that an object of this type holds.

    A class written in Python is allocated by `object` or by a container; a C class that keeps something out of sight
    allocates itself.
    """
    if kind in _CONTAINERS or kind.__module__.partition(".")[0] in _SEE_THROUGH or issubclass(kind, type | ModuleType):
        return True
    for base in kind.__mro__:
        made_by = base.__dict__.get("__new__")
        if made_by is not None and not isinstance(made_by, staticmethod):
            return base in _CONTAINERS and (base is not object or kind.__dictoffset__ != 0 or "__slots__" in vars(kind))
    return False


@cache
def _only_caches(kind: Any) -> bool:
    """Whether objects of a type hold data, and never other data, but change all the same: caches come and go."""
    names = {base.__name__ for base in kind.__mro__ if base.__module__.partition(".")[0] == "pandas"}
    return not names.isdisjoint({"Index", "BlockValuesRefs", "BlockPlacement"})
