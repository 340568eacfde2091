"""Swapping a function's code, so that every reference to it is covered.

Enters: a Python function and a handler. Leaves: the same function object, whose code calls the handler with the original.
Never: replaces a class attribute: bound methods, partials and references taken earlier would keep the old function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _template(*args: Any, **kwargs: Any) -> Any:
    enter: Any = "enter"
    return enter(*args, **kwargs)


class Trampoline:
    """One swapped function.

    Args:
        function: a Python function (not a builtin).
        handler: called with the original, the positional and the keyword arguments.
    """

    def __init__(self, function: FunctionType, handler: Handler) -> None:
        self.function = function
        self._code = function.__code__
        self._defaults, self._kwdefaults = function.__defaults__, function.__kwdefaults__
        original = FunctionType(self._code, function.__globals__, function.__name__, self._defaults, function.__closure__)
        original.__kwdefaults__ = self._kwdefaults
        original.__qualname__ = function.__qualname__

        def enter(*args: Any, **kwargs: Any) -> Any:
            return handler(original, args, kwargs)

        self._swapped = _code_entering(enter, self._code)
        function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        function.__defaults__ = function.__kwdefaults__ = None
        function.__code__ = self._swapped

    @property
    def in_place(self) -> bool:
        """Whether nobody has given the function other code since."""
        return self.function.__code__ is self._swapped

    def restore(self) -> None:
        """Give the function its own code back."""
        self.function.__code__ = self._code
        self.function.__defaults__, self.function.__kwdefaults__ = self._defaults, self._kwdefaults
        del self.function.__signature__  # type: ignore[attr-defined]


def _code_entering(enter: Callable[..., Any], original: CodeType) -> CodeType:
    template = _template.__code__
    return template.replace(
        co_consts=tuple(enter if const == "enter" else const for const in template.co_consts),
        # a function's code must keep the number of its free variables; `super()` needs the closure that carries them
        co_freevars=original.co_freevars,
        co_name=original.co_name,
        co_qualname=original.co_qualname,
        co_filename=original.co_filename,
        co_firstlineno=original.co_firstlineno,
    )
