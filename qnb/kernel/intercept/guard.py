"""What is guarded, and the one decision for each outermost call.

Enters: the session. Leaves: guarded SDK classes. Adding a target is one line of `TARGETS`.
Never: a second decision inside a first: a token in a context variable marks the inside, carried into the worker threads
that an execution starts.
"""

from __future__ import annotations

import contextvars
import importlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import _worker  # type: ignore[attr-defined]
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol

from qnb.kernel.intercept.adapters import Adapted, backend_run, estimator_run, sampler_run
from qnb.kernel.intercept.jobs import Pending, Ticket, follow, hooks, settle, unhook
from qnb.kernel.intercept.trampoline import Trampoline
from qnb.model import Call

__all__ = ["Guarded", "check", "install", "settle", "sweep", "targets", "uninstall"]

Adapter = Callable[[str, tuple[Any, ...], dict[str, Any]], Adapted]


class Decider(Protocol):
    """The session, as far as an execution needs it."""

    def begin(self, call: Call) -> Ticket:
        """Decide; raises when the answer is no or there is none."""


@dataclass(frozen=True, slots=True)
class Target:
    """A method to guard on a class and everything derived from it."""

    module: str
    cls: str
    method: str
    adapt: Adapter


TARGETS = (
    Target("qiskit.providers.backend", "BackendV2", "run", backend_run),
    Target("qiskit.primitives.base", "BaseSamplerV2", "run", sampler_run),
    Target("qiskit.primitives.base", "BaseEstimatorV2", "run", estimator_run),
)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guarded method: `cls` is the class that defines it."""

    cls: type
    method: str
    trampoline: Trampoline

    @property
    def name(self) -> str:
        """`AerBackend.run`"""
        return f"{self.cls.__name__}.{self.method}"

    @property
    def in_place(self) -> bool:
        """Whether the class still has the function and the function our code."""
        return self.trampoline.in_place and self.cls.__dict__.get(self.method) is self.trampoline.function


_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("qnb_inside", default=False)
_session: Decider | None = None
_guarded: dict[type, Guarded] = {}
_carriers: list[Trampoline] = []
_lock = threading.Lock()


def install(session: Decider) -> None:
    """Guard everything that is there and everything that will be derived from it; `session` decides from here on."""
    global _session  # noqa: PLW0603 -- one process has one guard, as it has one set of SDK classes
    _session = session
    with _lock:
        if not _carriers:
            _carriers.append(Trampoline(_function(ThreadPoolExecutor, "submit"), _carry_submit))
            _carriers.append(Trampoline(_function(threading.Thread, "start"), _carry_start))
    sweep()


def sweep() -> None:
    """Guard what has been derived since: classes of providers imported or defined later."""
    with _lock:
        for target in TARGETS:
            base = getattr(importlib.import_module(target.module), target.cls)
            for cls in _family(base):
                function = cls.__dict__.get(target.method)
                known = _guarded.get(cls)
                if known is not None or not isinstance(function, FunctionType):
                    continue
                if not getattr(function, "__isabstractmethod__", False):
                    name = f"{cls.__name__}.{target.method}"
                    _guarded[cls] = Guarded(cls, target.method, Trampoline(function, _enforce(name, target.adapt)))
            _watch(base)


def check() -> list[str]:
    """Names of guarded methods whose guard is no longer in place; classes derived since are guarded first."""
    sweep()
    missing = [guarded.name for guarded in _guarded.values() if not guarded.in_place]
    missing += [trampoline.function.__qualname__ for trampoline in (*_carriers, *hooks()) if not trampoline.in_place]
    return missing


def targets() -> list[Guarded]:
    """The guarded methods."""
    return list(_guarded.values())


def uninstall() -> None:
    """Give every function its own code back."""
    global _session  # noqa: PLW0603
    with _lock:
        for trampoline in (*(guarded.trampoline for guarded in _guarded.values()), *_carriers):
            trampoline.restore()
        _guarded.clear()
        _carriers.clear()
        unhook()
        for base in _watched:
            delattr(base, "__init_subclass__")
        _watched.clear()
        _session = None


# --- classes defined later -------------------------------------------------------------------------------------------

_watched: set[type] = set()


def _watch(base: type) -> None:
    """Guard subclasses of `base` as they are defined. One that does not call `super` is met by the next sweep."""
    if base in _watched or "__init_subclass__" in base.__dict__:
        return

    def hook(cls: type, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        sweep()

    base.__init_subclass__ = classmethod(hook)  # type: ignore[assignment]
    _watched.add(base)


def _family(base: type) -> Iterator[type]:
    seen, left = {base}, [base]
    while left:
        cls = left.pop()
        yield cls
        for sub in cls.__subclasses__():
            if sub not in seen:
                seen.add(sub)
                left.append(sub)


def _function(cls: type, name: str) -> FunctionType:
    function = cls.__dict__[name]
    assert isinstance(function, FunctionType)  # noqa: S101 -- the standard library's
    return function


# --- the decision ----------------------------------------------------------------------------------------------------


def _enforce(name: str, adapt: Adapter) -> Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]:
    def handle(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        session = _session
        if session is None or _inside.get():
            return original(*args, **kwargs)
        call, args, kwargs = adapt(name, args, kwargs)
        pending = Pending(session.begin(call), time.perf_counter())
        token = _inside.set(True)
        try:
            value = original(*args, **kwargs)
        except BaseException as error:
            pending.raised(error)
            raise
        finally:
            _inside.reset(token)
        follow(value, pending)
        return value

    return handle


def _carry_submit(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not _inside.get():
        return original(*args, **kwargs)
    executor, function, *rest = args
    return original(executor, contextvars.copy_context().run, function, *rest, **kwargs)


def _carry_start(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    thread = args[0]
    # a pool's worker lives on and would carry the token into what anybody submits later
    if _inside.get() and getattr(thread, "_target", None) is not _worker:
        context, run = contextvars.copy_context(), thread.run
        thread.run = lambda: context.run(run)
    return original(*args, **kwargs)
