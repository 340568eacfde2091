"""Swapping the code of a function, so that everybody who already holds the function is covered too.

Enters: a Python function and what to call instead. Leaves: the same function object with other code, and a clone of the
original that only the new code reaches.
Never: touches the class attribute of a function that has code; changes its signature, name, defaults or source lines.

A bound method, a partial or an object captured before load all end in the function object, and a function runs the code
it has at the moment of the call. The trampoline keeps the original's free variables: Python demands their number, and
the clone keeps the cells, so that `super()` works. What to call is a constant of the trampoline's code: no name that
somebody could rebind.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from types import CodeType, FunctionType
from typing import Any

Enter = Callable[["Hook", tuple[Any, ...], dict[str, Any]], Any]
_SLOT = "qnb: what to call instead"


class Hook:
    """What stands behind a swapped function.

    Attributes:
        original: does what the function did before.
        name: the function's qualified name.
    """

    __slots__ = ("__weakref__", "_enter", "_signed", "name", "original")

    def __init__(self, function: FunctionType, enter: Enter) -> None:
        self.name = function.__qualname__
        self._enter = enter
        self._signed = False
        self.original = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        self.original.__kwdefaults__ = function.__kwdefaults__
        self.original.__qualname__ = function.__qualname__

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the trampoline calls."""
        return self._enter(self, args, kwargs)

    def place(self, function: FunctionType) -> None:
        """Put the trampoline into `function`."""
        if "__signature__" not in function.__dict__:
            try:
                function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
                self._signed = True
            except (TypeError, ValueError):
                self._signed = False
        function.__code__ = _trampoline(function.__code__, self)

    def remove(self, function: FunctionType) -> None:
        """Give `function` its own code back."""
        function.__code__ = self.original.__code__
        if self._signed:
            function.__dict__.pop("__signature__", None)


@cache
def _template(free: int) -> CodeType:
    """Code that calls its hook, in a function with `free` free variables.

    Python must compile it with that number: the cells are copied into the frame by the code itself, and a frame without
    them crashes the interpreter when a traceback or a debugger looks at its locals. The names stand behind the return,
    so that no cell is read: the original's may still be empty.
    """
    names = ", ".join(f"x{position}" for position in range(free)) or "None"
    source = (
        f"def outer({names if free else ''}):\n"
        "    def inner(*args, **kwargs):\n"
        f"        hook = {_SLOT!r}\n"
        "        return hook(args, kwargs)\n"
        f"        {names}\n"
    )
    module = compile(source, "<qnb>", "exec")
    outer = next(item for item in module.co_consts if isinstance(item, CodeType))
    return next(item for item in outer.co_consts if isinstance(item, CodeType))


def _trampoline(code: CodeType, hook: Hook) -> CodeType:
    template = _template(len(code.co_freevars))
    return template.replace(
        co_consts=tuple(hook if item == _SLOT else item for item in template.co_consts),
        co_freevars=code.co_freevars,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_filename=code.co_filename,  # `inspect.getsource` goes on to show the original
        co_firstlineno=code.co_firstlineno,
    )


def hook_of(function: FunctionType) -> Hook | None:
    """The hook in the function's code, None when the code is not ours."""
    for item in function.__code__.co_consts:
        if type(item) is Hook:
            return item
    return None


_hooked: weakref.WeakSet[FunctionType] = weakref.WeakSet()
_tampered: set[str] = set()


def place(function: FunctionType, enter: Enter) -> None:
    """Swap the code of `function`, unless it was swapped before."""
    if function not in _hooked:
        Hook(function, enter).place(function)
        _hooked.add(function)
        _enters[function] = enter


_enters: weakref.WeakKeyDictionary[FunctionType, Enter] = weakref.WeakKeyDictionary()


def lost() -> list[str]:
    """Qualified names of the functions whose trampoline was taken out since `place`.

    It is put back, but the name stays: nobody knows what ran in between.
    """
    for function in list(_hooked):
        if hook_of(function) is None:
            _tampered.add(f"{function.__module__}.{function.__qualname__}")
            Hook(function, _enters[function]).place(function)
    return sorted(_tampered)


def remove_all() -> None:
    """Give every function its own code back."""
    for function in list(_hooked):
        hook = hook_of(function)
        if hook is not None:
            hook.remove(function)
    _hooked.clear()
    _enters.clear()
    _tampered.clear()


def function_of(attribute: object) -> FunctionType | None:
    """The function with code behind a class attribute, None when there is none."""
    if isinstance(attribute, (classmethod, staticmethod)):
        attribute = attribute.__func__
    return attribute if isinstance(attribute, FunctionType) else None


def wrap(owner: type, name: str) -> FunctionType | None:
    """Replace a callable class attribute without code of its own by a function that calls it.

    Returns:
        The function that now stands in the class, or None when the attribute is no callable.
    """
    attribute = vars(owner)[name]
    if isinstance(attribute, property) or not (callable(attribute) or hasattr(attribute, "__get__")):
        return None

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = attribute.__get__(self, type(self)) if hasattr(attribute, "__get__") else attribute
        return bound(*args, **kwargs)

    run.__name__, run.__qualname__, run.__module__ = name, f"{owner.__qualname__}.{name}", owner.__module__
    setattr(owner, name, run)
    _wrapped.append((weakref.ref(owner), name, attribute, run))
    return function_of(run)


_wrapped: list[tuple[weakref.ref[type], str, object, object]] = []


def unwrap_all() -> None:
    """Put the attributes back that `wrap` replaced, where our function is still the one in place."""
    for reference, name, attribute, ours in _wrapped:
        owner = reference()
        if owner is not None and _own(owner).get(name) is ours:
            setattr(owner, name, attribute)
    _wrapped.clear()


def _own(owner: type) -> Mapping[str, object]:
    return vars(owner)
