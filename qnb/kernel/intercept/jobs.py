"""Following a job to its end, so that nobody gets a result before it is recorded.

Enters: what a guarded call returned. Leaves: exactly one outcome for its ticket.
Never: hands out a result whose record failed; takes a timeout of `result()` for the end of the job.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from types import FunctionType
from typing import Any, Protocol

from qiskit.primitives.containers import BitArray, PrimitiveResult
from qiskit.result import Result

from qnb.core.circuits import digest_result
from qnb.errors import QnbError
from qnb.kernel.intercept.trampoline import Trampoline
from qnb.model import Outcome


class Ticket(Protocol):
    """The session's `Ticket`."""

    def end(self, outcome: Outcome) -> None:
        """Record how the execution ended; raises QnbError when that failed."""


class Pending:
    """One execution that has been handed over and not yet been recorded."""

    def __init__(self, ticket: Ticket, started: float) -> None:
        self._ticket = ticket
        self._started = started
        self._lock = threading.RLock()
        self._ended = False
        self._failure: QnbError | None = None

    @property
    def ended(self) -> bool:
        """Whether the outcome has been taken in."""
        return self._ended

    def returned(self, result: Any) -> None:
        """It came to a result.

        Raises:
            QnbError: that could not be recorded, now or when another thread tried.
        """
        self._end(lambda seconds: observe(result, seconds))

    def raised(self, error: BaseException) -> None:
        """It ended with an exception; errors and text as `returned`."""
        status = "cancelled" if isinstance(error, CancelledError) else "failed"
        cls = type(error)
        self._end(lambda seconds: Outcome(status, error=f"{cls.__module__}.{cls.__qualname__}", seconds=seconds))

    def completed(self, future: Future[Any]) -> None:
        """Its future is done; what cannot be recorded is kept for whoever asks for the result."""
        try:
            if future.cancelled():
                self.raised(CancelledError())
            elif (error := future.exception()) is not None:
                self.raised(error)
            else:
                self.returned(future.result())
        except QnbError:
            return

    def _end(self, outcome: Callable[[float], Outcome]) -> None:
        seconds = time.perf_counter() - self._started
        with self._lock:
            if not self._ended:
                self._ended = True
                try:
                    self._ticket.end(outcome(seconds))
                except QnbError as error:
                    self._failure = error
            if self._failure is not None:
                raise self._failure


_pending: weakref.WeakKeyDictionary[Any, Pending] = weakref.WeakKeyDictionary()
_hooked: dict[FunctionType, Trampoline] = {}


def follow(value: Any, pending: Pending) -> None:
    """Follow what a guarded call returned: a job to its end, anything else is the result."""
    if not callable(getattr(value, "result", None)):
        pending.returned(value)
        return
    _hook_result(type(value))
    _pending[value] = pending
    future = getattr(value, "_future", None)
    if isinstance(future, Future):
        future.add_done_callback(pending.completed)


def settle() -> None:
    """Take in every followed job that has ended by now. One that has not stays open in the log until it ends.

    Raises:
        QnbError: what ended could not be recorded.
    """
    for job, pending in list(_pending.items()):
        future = getattr(job, "_future", None)
        if not pending.ended and isinstance(future, Future) and future.done():
            pending.completed(future)


def hooks() -> Iterator[Trampoline]:
    """The job classes' `result` functions that are hooked."""
    return iter(_hooked.values())


def unhook() -> None:
    """Give the job classes their own `result` back."""
    for trampoline in _hooked.values():
        trampoline.restore()
    _hooked.clear()


def observe(result: Any, seconds: float | None = None) -> Outcome:
    """What a result says of its execution: Aer tells a failure by `success`, not by an exception."""
    shots = seed = None
    status = "ok"
    if isinstance(result, Result):
        status = "ok" if result.success else "failed"
        first = result.results[0] if result.results else None
        shots = _agreed([getattr(item, "shots", None) for item in result.results])
        seed = getattr(first, "seed_simulator", None) if len(result.results) == 1 else None
    elif isinstance(result, PrimitiveResult):
        shots = _agreed(
            [value.num_shots for pub in result for value in pub.data.values() if isinstance(value, BitArray)]
            or [pub.metadata.get("shots") for pub in result]
        )
    return Outcome(
        status,
        result=digest_result(result),
        shots=shots,
        seed=seed if isinstance(seed, int) else None,
        seconds=seconds,
    )


def _agreed(values: list[Any]) -> int | None:
    return values[0] if values and isinstance(values[0], int) and all(v == values[0] for v in values) else None


def _hook_result(cls: type) -> None:
    for base in cls.__mro__:
        function = base.__dict__.get("result")
        if function is not None:
            if isinstance(function, FunctionType) and function not in _hooked:
                _hooked[function] = Trampoline(function, _result)
            return


def _result(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    job = args[0] if args else None
    pending = None if job is None else _pending.get(job)
    if pending is None:
        return original(*args, **kwargs)
    try:
        value = original(*args, **kwargs)
    except BaseException as error:
        future = getattr(job, "_future", None)
        if not isinstance(future, Future) or future.done():
            pending.raised(error)
        raise
    pending.returned(value)
    return value
