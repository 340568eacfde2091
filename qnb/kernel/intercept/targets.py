"""The walk that finds every method below the base classes of the table, now and whenever a class comes along.

Enters: the classes that the SDKs define, now or later. Leaves: the functions to guard, each once.
Never: imports an SDK. A base class whose module is not loaded yet is met by an import hook when it is.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from qnb.kernel.intercept import trampoline
from qnb.kernel.intercept.table import TARGETS, Target
from qnb.kernel.intercept.trampoline import Hook


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guarded method stands.

    Attributes:
        target: the row of the table.
        base: its base class.
        static: whether the method takes no object.
    """

    target: Target
    base: type
    static: bool


Targets = tuple[Target, ...]
"""Those of one base class."""
Guard = Callable[[Place, Hook, tuple[Any, ...], dict[str, Any]], Any]


def loaded_base(target: Target) -> type | None:
    """The base class, None while its module is not imported."""
    base = getattr(sys.modules.get(target.module), target.base, None)
    return base if isinstance(base, type) else None


def _absent(target: Target) -> bool:
    """Whether a module is loaded that has not got what the table says is in it: another version of the SDK."""
    module = sys.modules.get(target.module)
    if module is None or target.optional or getattr(getattr(module, "__spec__", None), "_initializing", False):
        return False
    base = loaded_base(target)
    return base is None or not any(target.method in vars(owner) for owner in base.__mro__)


def below(base: type) -> Iterator[type]:
    """The class and all its subclasses, each once."""
    seen: set[type] = set()
    waiting = [base]
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            waiting.extend(type.__subclasses__(cls))
            yield cls


class Walker:
    """Puts the guard into every class below the targets.

    Args:
        guard: what a guarded function calls instead.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._finder = _Finder(self.adopt_module)
        self._announced: list[tuple[weakref.ref[type], object]] = []
        self._unguarded: list[str] = []

    def install(self) -> None:
        """Guard what is loaded, and be told of what will be."""
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        self._unguarded.clear()
        for targets in _BY_BASE:
            self._adopt_base(targets)

    def uninstall(self) -> None:
        """Be told of nothing any more; the functions themselves are put back by `trampoline.remove_all`."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for reference, ours in self._announced:
            base = reference()
            if base is not None and vars(base).get("__init_subclass__") is ours:
                del base.__init_subclass__
        self._announced.clear()

    def adopt_module(self, name: str) -> None:
        """A module of the table was imported."""
        for targets in _BY_BASE:
            if targets[0].module == name:
                self._adopt_base(targets)

    def missing(self) -> list[str]:
        """What the last `install` could not guard: no function stands in a class, or nothing at all where it should.

        Returns:
            Qualified names.
        """
        return [*self._unguarded, *(target.name for target in TARGETS if _absent(target))]

    def guarded(self) -> list[tuple[str, bool]]:
        """Qualified name of each method below a loaded target, and whether it is guarded."""
        return sorted({_name(owner, target): _is_guarded(owner, target.method) for target, owner in _places()}.items())

    def _adopt_base(self, targets: Targets) -> None:
        base = loaded_base(targets[0])
        if base is None:
            return
        if not self._hears_of(base):
            self._listen(base, targets)
        classes = list(below(base))
        owners = {owner: None for cls in classes for owner in cls.__mro__}
        for target in targets:
            for owner in owners:
                if _stands_in(owner, target.method) and not self._place(owner, base, target):
                    self._unguarded.append(_name(owner, target))
        for cls in classes:
            if cls is not base and "__init_subclass__" in cls.__dict__:
                self._adopt_announcer(cls, base, targets)

    def _hears_of(self, base: type) -> bool:
        own = base.__dict__.get("__init_subclass__")
        return own is not None and any(reference() is base and mark is own for reference, mark in self._announced)

    def _listen(self, base: type, targets: Targets) -> None:
        if "__init_subclass__" in vars(base):
            self._adopt_announcer(base, base, targets)
            return

        anchor: Any = base

        def announce(cls: type[Any], /, **kwargs: Any) -> None:
            super(anchor, cls).__init_subclass__(**kwargs)
            self._adopt(cls, base, targets)

        greeting: Any = classmethod(announce)
        anchor.__init_subclass__ = greeting
        self._announced.append((weakref.ref(base), vars(base)["__init_subclass__"]))

    def _adopt(self, cls: type, base: type, targets: Targets) -> None:
        """Guard what `cls` brings: methods of its own and of mixins, and its way to greet subclasses."""
        for target in targets:
            for owner in cls.__mro__:
                if _stands_in(owner, target.method):
                    self._place(owner, base, target)
        self._adopt_announcer(cls, base, targets)

    def _place(self, owner: type, base: type, target: Target) -> bool:
        """Guard one method; whether it is guarded now."""
        attribute = owner.__dict__[target.method]
        function = trampoline.function_of(attribute)
        if function is not None and trampoline.hook_of(function) is not None:
            return True
        function = function or trampoline.wrap(owner, target.method)
        if function is None:
            return False
        trampoline.place(function, partial(self._guard, Place(target, base, isinstance(attribute, staticmethod))))
        return trampoline.hook_of(function) is not None

    def _adopt_announcer(self, cls: type, base: type, targets: Targets) -> None:
        """A class that greets subclasses itself may not tell its base: go along with its own greeting."""
        function = trampoline.function_of(vars(cls).get("__init_subclass__"))
        if function is None:
            return

        def enter(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            value = hook.original(*args, **kwargs)
            if args and isinstance(args[0], type):
                self._adopt(args[0], base, targets)
            return value

        trampoline.place(function, enter)


def _by_base() -> list[Targets]:
    groups: dict[tuple[str, str], list[Target]] = {}
    for target in TARGETS:
        groups.setdefault((target.module, target.base), []).append(target)
    return [tuple(group) for group in groups.values()]


_BY_BASE = _by_base()


def _stands_in(owner: type, method: str) -> bool:
    """Whether a concrete method stands in the body of a class: an abstract one executes nothing."""
    attribute = owner.__dict__.get(method)
    return attribute is not None and not getattr(attribute, "__isabstractmethod__", False)


def _places() -> Iterator[tuple[Target, type]]:
    """Every class below a loaded target in whose body the target's method stands, each with its target."""
    for target in TARGETS:
        base = loaded_base(target)
        for owner in {} if base is None else {owner: None for cls in below(base) for owner in cls.__mro__}:
            if _stands_in(owner, target.method):
                yield target, owner


def _is_guarded(owner: type, method: str) -> bool:
    function = trampoline.function_of(owner.__dict__[method])
    return function is not None and trampoline.hook_of(function) is not None


def _name(owner: type, target: Target) -> str:
    return f"{owner.__module__}.{owner.__qualname__}.{target.method}"


class _Finder(MetaPathFinder):
    """Tells when a module of the table has been imported."""

    def __init__(self, imported: Callable[[str], None]) -> None:
        self._imported = imported
        self._names = {target.module for target in TARGETS}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                self._tell(spec)
                return spec
        return None

    def _tell(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        execute: Callable[[ModuleType], None] = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._imported(spec.name)

        loader.exec_module = exec_module
