"""What a value holds: a bounded walk over objects, and a record of their state that shows later what was changed.

Enters: objects of the notebook. Leaves: which marked objects they reach, which functions they hold, what changed.
Never: calls a method of a user's object, compares or prints one (`__eq__` and `__repr__` are a user's code), or takes
what it cannot see through for clean: an overflow and an object of unknown inside are said, and the caller fails closed.

The walk follows what the garbage collector follows (`gc.get_referents`), which sees closures, slots, partials, caches
and iterators alike; arrays and weak references, which it does not follow, are followed by hand. It ends at modules,
at classes of libraries, and at the notebook's own namespace.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

ATOMS = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice, CodeType,
        WrapperDescriptorType, MethodDescriptorType, GetSetDescriptorType,
        MemberDescriptorType,
    }
)  # fmt: skip
# types whose objects never change, or keep nothing of what passes through them
_FIXED = (
    "re.", "datetime.", "decimal.", "fractions.", "uuid.", "pathlib.", "_thread.", "threading.", "enum.", "numpy.dtype",
    "numpy.ufunc", "numpy._ArrayFunctionDispatcher", "functools.cached_property", "qiskit.transpiler.target.",
    "qiskit._accelerate.", "qiskit.circuit.CircuitData", "qiskit.circuit.Qubit", "qiskit.circuit.Clbit",
    "qiskit.circuit.Parameter", "qiskit.circuit.parameter.",
)  # fmt: skip
# backends keep nothing of what runs on them but their options
_BACKENDS = (
    "qiskit_aer.backends.", "qiskit.providers.fake_provider.", "qiskit.providers.basic_provider.",
    "qiskit_ibm_runtime.fake_provider.",
)  # fmt: skip
_OUTSIDE = ("IPython.", "ipykernel.", "traitlets.", "qnb.", "comm.", "zmq.")
_LOOK = 512  # objects between two looks at the clock


_HANDLES = frozenset(
    map(id, (eval, exec, globals, __import__, sys._getframe, gc.get_objects, gc.get_referrers, inspect.currentframe))  # noqa: SLF001 - who holds it can read any frame
)  # fmt: skip


class Budget:
    """How much may be walked: objects, and seconds.

    Args:
        objects: at most.
        seconds: at most.
        clock: seconds; of this thread alone, so that a busy machine makes nothing look larger than it is.
    """

    def __init__(
        self, objects: int = 500_000, seconds: float = 0.5, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._left = objects
        self._deadline = clock() + seconds
        self._clock = clock

    def spent(self, objects: int) -> bool:
        """Take off so many; True when there is none left."""
        self._left -= objects
        return self._left < 0 or self._clock() > self._deadline


@dataclass
class Found:
    """What a walk came upon.

    Attributes:
        marked: ids of marked objects.
        functions: those of the notebook.
        arrays: of NumPy.
        everything: whether it met a handle on every variable: the namespace, `sys.modules`, the shell.
        overflow: whether it had to stop before its end.
    """

    marked: list[int] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    everything: bool = False
    overflow: bool = False


def is_atom(value: Any) -> bool:
    """Whether a value is a plain one, whose identity says nothing: numbers, texts."""
    return type(value) in ATOMS or _is_scalar(value)


def is_code(value: Any) -> bool:
    """Whether a value is a module, or a class or function of one: no data of the notebook."""
    if isinstance(value, ModuleType):
        return not is_users_module(value)
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType | type)
    if isinstance(value, type | FunctionType):
        return not _is_users(getattr(value, "__module__", None))
    return type(value) is _ufunc()


def is_handle(value: object) -> bool:
    """Whether a value by itself gives access to every variable: `run = exec`, `import __main__ as m`."""
    return id(value) in _HANDLES or value is sys.modules.get("__main__")


def is_users_module(module: ModuleType) -> bool:
    """Whether a module is of the user's own: neither installed nor of the standard library."""
    return _is_users(module.__name__, module) and module.__name__ != "__main__"


def search(
    roots: Iterable[object], marked: Mapping[int, object], namespace: Mapping[str, Any], budget: Budget
) -> Found:
    """Walk from `roots` and tell what is met.

    Args:
        roots: objects.
        marked: ids to look for.
        namespace: of the notebook; not walked into.
        budget: shared by several walks; what is left of it.
    """
    found = Found()
    seen: set[int] = set()
    frontier: list[object] = list(roots)
    while frontier:
        following: list[object] = []
        for value in frontier:
            if type(value) in ATOMS or id(value) in seen:
                continue
            seen.add(id(value))
            if id(value) in marked:
                found.marked.append(id(value))
            if not _notice(value, namespace, found):
                following += children(value)
            if len(seen) % _LOOK == 0 and budget.spent(_LOOK):
                found.overflow = True
                return found
        if budget.spent(1 + len(frontier) // 8):
            found.overflow = True
            return found
        frontier = following
    return found


def _notice(value: Any, namespace: Mapping[str, Any], found: Found) -> bool:
    """Note what a value is; True when the walk goes no further there."""
    kind: Any = type(value)
    if value is namespace or value is sys.modules or is_handle(value) or _is_shell(kind):
        found.everything = True
        return True
    if isinstance(value, FunctionType) and value.__globals__ is namespace:
        found.functions.append(value)
    array = ndarray()
    if array is not None and isinstance(value, array):
        found.arrays.append(value)
    return is_fixed(value)


def children(value: Any) -> list[object]:
    """The objects that a value holds on to; none where all of them are plain."""
    held = held_by(value)
    return [] if len(held) > 64 and ATOMS.issuperset(map(type, held)) else held


def held_by(value: Any) -> list[object]:
    """All that a value holds on to, plain objects too, and nothing of libraries and namespaces."""
    kind = type(value)
    array = ndarray()
    if array is not None and isinstance(value, array):
        held = [value.base, *(value.ravel().tolist() if value.dtype.hasobject else ())]
        return held if kind is array else held + gc.get_referents(value)
    for shape, follow in _FOLLOWED:
        if isinstance(value, shape):
            return follow(value)
    if kind.__module__.startswith(_OUTSIDE) or _is_module_dict(value):
        return []
    if kind.__module__.startswith(_BACKENDS):
        return [getattr(value, "__dict__", {}).get("_options")]
    if kind.__dictoffset__:
        with contextlib.suppress(Exception):
            object.__getattribute__(value, "__dict__")  # made when first asked for, and then there to be found
    return gc.get_referents(value)


def _held_by_function(value: FunctionType) -> list[object]:
    # not its globals: what it reads of them is read from its code
    held: list[object] = [*(value.__closure__ or ()), *(value.__defaults__ or ())]
    return [*held, *(value.__kwdefaults__ or {}).values(), *value.__dict__.values()]


def _held_by_module(value: ModuleType) -> list[object]:
    return list(vars(value).values()) if is_users_module(value) else []


def _held_by_class(value: type) -> list[object]:
    return [*vars(value).values(), *value.__bases__] if _is_users(value.__module__) else []


def _held_by_frame(value: FrameType) -> list[object]:
    return [held for held in gc.get_referents(value) if not _is_module_dict(held)]


# what the collector does not follow, or too far
_FOLLOWED: tuple[tuple[Any, Callable[[Any], list[object]]], ...] = (
    (FunctionType, _held_by_function),
    (ModuleType, _held_by_module),
    (type, _held_by_class),
    (BuiltinFunctionType | MethodWrapperType, lambda value: [value.__self__]),  # `push = stash.append`
    (FrameType, _held_by_frame),
    (weakref.ref, lambda value: [value()]),
    (memoryview, lambda value: [value.obj]),
)


def is_fixed(value: Any) -> bool:
    """Whether a value never changes, or keeps nothing of what passes through it."""
    kind: Any = type(value)
    return _is_fixed_type(kind) or is_code(value)


@cache
def _is_fixed_type(kind: Any) -> bool:
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name.startswith((*_FIXED, *_OUTSIDE)) or _is_scalar_type(kind)


@cache
def _is_shell(kind: Any) -> bool:
    return kind.__module__.startswith(_OUTSIDE) and any(base.__name__ == "InteractiveShell" for base in kind.__mro__)


def _is_module_dict(value: object) -> bool:
    return type(value) is dict and "__name__" in value and ("__spec__" in value or "__builtins__" in value)


def _is_scalar(value: Any) -> bool:
    kind: Any = type(value)
    return _is_scalar_type(kind)


@cache
def _is_scalar_type(kind: Any) -> bool:
    numpy = sys.modules.get("numpy") if kind.__module__ == "numpy" else None
    return numpy is not None and issubclass(kind, numpy.generic) and not issubclass(kind, numpy.void)


def ndarray() -> Any:
    """NumPy's array type, None while nobody has imported NumPy."""
    numpy = sys.modules.get("numpy")
    return None if numpy is None else getattr(numpy, "ndarray", None)


def _ufunc() -> Any:
    return getattr(sys.modules.get("numpy"), "ufunc", None)


def _is_users(name: object, module: ModuleType | None = None) -> bool:
    """Whether code of the module `name` is the user's own."""
    if name == "__main__":
        return True
    if not isinstance(name, str):
        return False
    if module is None:
        module = sys.modules.get(name)
    return module is not None and _is_users_place(name, getattr(module, "__file__", None))


@cache
def _is_users_place(name: str, place: str | None) -> bool:
    if name.partition(".")[0] in sys.stdlib_module_names:
        return False
    if place is None:
        # a module that somebody made up; packages without a file of their own are of the import system
        return getattr(sys.modules.get(name), "__path__", None) is None and name not in sys.builtin_module_names
    return "site-packages" not in place and "dist-packages" not in place and not name.startswith("qnb")
