"""What is guarded: a table of base classes, and the walk that finds every method below them.

Enters: the classes that the SDKs define, now or later. Leaves: the functions to guard, each once.
Never: imports an SDK. A base class whose module is not loaded yet is met by an import hook when it is.

Adding a target is one line in `TARGETS`.
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
from qnb.kernel.intercept.trampoline import Hook


@dataclass(frozen=True, slots=True)
class Target:
    """A method of a base class, guarded in the base and in everything below it.

    Attributes:
        module, base, method: where it is.
        reader: how `calls` reads its arguments: `backend`, `sampler` or `estimator`.
    """

    module: str
    base: str
    method: str
    reader: str


TARGETS = (
    Target("qiskit.providers.backend", "BackendV2", "run", "backend"),
    Target("qiskit.primitives.base.base_sampler", "BaseSamplerV2", "run", "sampler"),
    Target("qiskit.primitives.base.base_estimator", "BaseEstimatorV2", "run", "estimator"),
)


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


Guard = Callable[[Place, Hook, tuple[Any, ...], dict[str, Any]], Any]


def loaded_base(target: Target) -> type | None:
    """The base class, None while its module is not imported."""
    base = getattr(sys.modules.get(target.module), target.base, None)
    return base if isinstance(base, type) else None


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

    def install(self) -> None:
        """Guard what is loaded, and be told of what will be."""
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        for target in TARGETS:
            self._adopt_base(target)

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
        for target in TARGETS:
            if target.module == name:
                self._adopt_base(target)

    def missing(self) -> list[str]:
        """Qualified names of methods that cannot be guarded: what stands in the class is no function."""
        return [name for name, guarded in self.guarded() if not guarded]

    def guarded(self) -> list[tuple[str, bool]]:
        """Qualified name of each method below a loaded target, and whether it is guarded."""
        rows = {}
        for target in TARGETS:
            base = loaded_base(target)
            for owner in [] if base is None else _owners(base, target.method):
                function = trampoline.function_of(vars(owner)[target.method])
                name = f"{owner.__module__}.{owner.__qualname__}.{target.method}"
                rows[name] = function is not None and trampoline.hook_of(function) is not None
        return sorted(rows.items())

    def _adopt_base(self, target: Target) -> None:
        base = loaded_base(target)
        if base is None:
            return
        if not self._hears_of(base):
            self._listen(base, target)
        for cls in below(base):
            self._adopt(cls, base, target)

    def _hears_of(self, base: type) -> bool:
        own = vars(base).get("__init_subclass__")
        return any(reference() is base and mark is own for reference, mark in self._announced)

    def _listen(self, base: type, target: Target) -> None:
        if "__init_subclass__" in vars(base):
            self._adopt_announcer(base, base, target)
            return

        anchor: Any = base

        def announce(cls: type[Any], /, **kwargs: Any) -> None:
            super(anchor, cls).__init_subclass__(**kwargs)
            self._adopt(cls, base, target)

        greeting: Any = classmethod(announce)
        anchor.__init_subclass__ = greeting
        self._announced.append((weakref.ref(base), vars(base)["__init_subclass__"]))

    def _adopt(self, cls: type, base: type, target: Target) -> None:
        """Guard what `cls` brings: methods of its own and of mixins, and its way to greet subclasses."""
        for owner in cls.__mro__:
            if target.method in vars(owner) and _concrete(owner, target.method):
                self._place(owner, base, target)
        if cls is not base:
            self._adopt_announcer(cls, base, target)

    def _place(self, owner: type, base: type, target: Target) -> None:
        attribute = vars(owner)[target.method]
        function = trampoline.function_of(attribute) or trampoline.wrap(owner, target.method)
        if function is None:
            return
        trampoline.place(function, partial(self._guard, Place(target, base, isinstance(attribute, staticmethod))))

    def _adopt_announcer(self, cls: type, base: type, target: Target) -> None:
        """A class that greets subclasses itself may not tell its base: go along with its own greeting."""
        function = trampoline.function_of(vars(cls).get("__init_subclass__"))
        if function is None:
            return

        def enter(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            value = hook.original(*args, **kwargs)
            if args and isinstance(args[0], type):
                self._adopt(args[0], base, target)
            return value

        trampoline.place(function, enter)


def _owners(base: type, method: str) -> list[type]:
    """The classes in whose body a concrete method stands that an instance of something below `base` may run."""
    owners: dict[type, None] = {}
    for cls in below(base):
        for owner in cls.__mro__:
            if method in vars(owner) and _concrete(owner, method):
                owners[owner] = None
    return list(owners)


def _concrete(owner: type, method: str) -> bool:
    """An abstract method executes nothing."""
    return not getattr(vars(owner)[method], "__isabstractmethod__", False)


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
