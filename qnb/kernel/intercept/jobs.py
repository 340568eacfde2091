"""Following a result to its end: exactly one outcome per ticket, and nothing for the caller before it is recorded.

Enters: what a guarded call returned. Leaves: `ticket.end(outcome)`, once; then the result.
Never: records in a worker thread, waits for a job that nobody asked for, or hands out a result whose record failed.

A job is followed in three ways. Its `result` and `cancel` are hooked in its class, so that the caller gets the result
through us. Its future, where it has one, tells when it ended (the time counts, not the moment of asking). And `settle`
asks after the jobs that nobody asked for: the session calls it at each cell's end.

A job whose submission nobody saw (in another kernel, before qnb was loaded, on a backend that is not guarded) is
followed from the moment somebody asks for its result: that is a retrieval, a decision of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

from qnb.errors import ExecutionError, QnbError
from qnb.kernel.intercept import trampoline
from qnb.kernel.intercept.token import Token
from qnb.kernel.intercept.trampoline import Hook
from qnb.model import Outcome


class Ticket(Protocol):
    """The session's right to run one evaluation."""

    def end(self, outcome: Outcome) -> None:
        """Record how it ended."""


class Follower:
    """Owes one ticket its outcome.

    Args:
        ticket: what `session.begin` gave.
        token: closed when the outcome is known.
    """

    def __init__(self, ticket: Ticket, token: Token) -> None:
        self._ticket = ticket
        self._token = token
        self._started = time.perf_counter()
        self._stopped: float | None = None
        self._lock = threading.RLock()
        self._ended = False
        self._failure: BaseException | None = None
        self._readers: set[int] = set()
        self._job: Any = None  # held while it runs: a job that its caller drops is followed all the same

    @property
    def ended(self) -> bool:
        """Whether the ticket has its outcome."""
        return self._ended

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def returned(self, value: Any) -> None:
        """The execution gave `value`.

        Raises:
            QnbError: it could not be recorded; `value` must be withheld.
        """
        self._end(lambda: _outcome(value, self._seconds()))

    def failed(self, error: BaseException, *, cancelled: bool = False) -> None:
        """The execution raised; `cancelled`: because it was given up.

        Raises:
            QnbError: it could not be recorded.
        """
        status = "cancelled" if cancelled or isinstance(error, CancelledError) else "failed"
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        self._end(lambda: Outcome(status, error=name, seconds=self._seconds()))

    def cancelled(self) -> None:
        """The execution was given up before it ended.

        Raises:
            QnbError: it could not be recorded.
        """
        self._end(lambda: Outcome("cancelled", seconds=self._seconds()))

    def _end(self, make: Callable[[], Outcome]) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                self._token.open = False
                self._job = None
                _pending.pop(id(self), None)
                # Whoever asks again must be refused too, also when the record itself was interrupted.
                self._failure = ExecutionError(
                    "unrecorded-result",
                    "the execution ran but its outcome was not recorded, so its result is withheld",
                    "run the cell again",
                )
                try:
                    self._ticket.end(make())
                except QnbError as error:
                    self._failure = error
                    raise
                self._failure = None
            elif self._failure is not None:
                raise self._failure

    def _seconds(self) -> float:
        stopped = time.perf_counter() if self._stopped is None else self._stopped
        return stopped - self._started

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def watch(self, job: Any) -> None:
        """Follow `job` from here on."""
        future = _future(job)
        if _ends_here(job):
            self._job = job
        _pending[id(self)] = self
        if future is not None:
            # holds the follower weakly: a future in a queue outlives what its caller keeps
            mark = weakref.WeakMethod(self._mark_end)
            future.add_done_callback(lambda _: (mark() or _ignore)())

    def _mark_end(self) -> None:
        """In a worker thread: note the time and close the token; recording is for the threads that ask."""
        self._stopped = time.perf_counter()
        self._token.open = False

    def read(self, job: Any, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the job's own `result`, and hand out what it gives once that is recorded.

        Raises:
            QnbError: it could not be recorded.
        """
        thread = threading.get_ident()
        if thread in self._readers:  # `result` of a subclass calling that of its base
            return original(*args, **kwargs)
        self._readers.add(thread)
        try:
            value = original(*args, **kwargs)
        except BaseException as error:
            if _is_over(job, error):
                self.failed(error, cancelled=_is_cancelled(job, ask=False))
            raise
        finally:
            self._readers.discard(thread)
        self.returned(value)
        return value

    def settle(self, seconds: float) -> None:
        """Record the job's outcome if it is known here that it has ended, or if it ends within `seconds`.

        A job that runs elsewhere is not asked after: that would be the provider's answer to a question that nobody put,
        at every cell. It is recorded when its result is asked for, also later and from another kernel.

        Raises:
            QnbError: it could not be recorded.
        """
        job = self._job
        if job is None:
            return
        future = _future(job)
        if future is not None and not future.done() and seconds > 0:
            with contextlib.suppress(CancelledError, TimeoutError):
                future.exception(timeout=seconds)
        if not _is_over(job, None):
            return
        try:
            job.result()
        except Exception:  # noqa: BLE001 -- the job's own failure is in its outcome; ours is raised below
            if self._failure is not None:
                raise self._failure from None


_pending: dict[int, Follower] = {}
_local: weakref.WeakSet[Any] = weakref.WeakSet()
_hooked: weakref.WeakSet[type] = weakref.WeakSet()
_followers: weakref.WeakKeyDictionary[Any, Follower] = weakref.WeakKeyDictionary()


def follow(value: Any, follower: Follower) -> Any:
    """Follow what a guarded call returned: a result is recorded now, a job when it ends.

    Raises:
        QnbError: it could not be recorded; nothing is returned.
    """
    if not callable(getattr(value, "result", None)):
        follower.returned(value)
        return value
    try:
        _followers[value] = follower
    except TypeError:  # neither hashable nor weakly referable: nothing to hang a follower on, so wait for it here
        follower.read(value, value.result, (), {})
        return value
    _hook(type(value))
    follower.watch(value)
    if getattr(value, "_async", True) is False:
        follower.settle(0)
    return value


def note_submission(job: Any) -> None:
    """A local job starts: what it executes is decided where it does."""
    with contextlib.suppress(TypeError):
        _local.add(job)


def was_submitted_here(job: Any) -> bool:
    """Whether a job is a local one that started under the guard."""
    try:
        return job in _local
    except TypeError:
        return False


def retrieved(job: Any, ticket: Ticket) -> Follower:
    """Follow a job whose results may be fetched: they are recorded once, when they are."""
    follower = Follower(ticket, Token({}))
    with contextlib.suppress(TypeError):  # neither hashable nor weakly referable: whoever asks again asks anew
        _followers[job] = follower
    return follower


def pending() -> int:
    """How many executions have not been recorded as ended."""
    return len(_pending)


def settle(seconds: float = 0.0) -> None:
    """Record every job that has ended, waiting at most `seconds` in all for those that have not.

    Raises:
        QnbError: one could not be recorded; the others were tried all the same.
    """
    deadline = time.perf_counter() + seconds
    failure: QnbError | None = None
    for follower in list(_pending.values()):
        try:
            follower.settle(max(0.0, deadline - time.perf_counter()))
        except QnbError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def forget_jobs() -> None:
    """Follow none of the jobs so far: in a forked child they are the parent's to record."""
    _pending.clear()
    _followers.clear()


def look_again() -> None:
    """Hook the classes of jobs again as they come along: somebody may have put other methods into them."""
    _hooked.clear()


def _hook(cls: type) -> None:
    if cls in _hooked:
        return
    _hooked.add(cls)
    for name, enter in (("result", _enter_result), ("cancel", _enter_cancel)):
        for owner in cls.__mro__:
            if name not in vars(owner) or getattr(vars(owner)[name], "__isabstractmethod__", False):
                continue
            function = trampoline.function_of(vars(owner)[name]) or trampoline.wrap(owner, name)
            if function is not None:
                trampoline.place(function, enter)


def _enter_result(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    follower = follower_of(args)
    if follower is None:
        return hook.original(*args, **kwargs)
    return follower.read(args[0], hook.original, args, kwargs)


def _enter_cancel(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = hook.original(*args, **kwargs)
    follower = follower_of(args)
    if follower is not None and _is_cancelled(args[0]):
        follower.cancelled()
    return value


def follower_of(args: tuple[Any, ...]) -> Follower | None:
    """Who follows the job that is the first of these arguments."""
    try:
        return _followers.get(args[0]) if args else None
    except TypeError:
        return None


def _future(job: Any) -> Future[Any] | None:
    future = getattr(job, "_future", None)
    return future if isinstance(future, Future) else None


def _ends_here(job: Any) -> bool:
    """Whether it is known in this process when a job has ended; else only the provider knows."""
    return _future(job) is not None or getattr(job, "_async", True) is False


def _is_over(job: Any, error: BaseException | None) -> bool:
    """Whether the job has ended; `error` is what asking for its result raised."""
    future = _future(job)
    if future is not None:
        return future.done()
    asked = getattr(job, "in_final_state", None)
    if callable(asked):
        with contextlib.suppress(Exception):  # the provider could not be asked: then nothing is known
            return bool(asked())
        return False
    return error is not None and not isinstance(error, (TimeoutError, KeyboardInterrupt))


def _is_cancelled(job: Any, *, ask: bool = True) -> bool:
    """Whether the job was given up: as it says itself, or when asked."""
    future = _future(job)
    if future is not None:
        return future.cancelled()
    if getattr(getattr(job, "_status", None), "name", getattr(job, "_status", None)) == "CANCELLED":
        return True
    if not ask:
        return False
    asked = getattr(job, "cancelled", None)
    with contextlib.suppress(Exception):  # as above
        return bool(asked()) if callable(asked) else getattr(job.status(), "name", None) == "CANCELLED"
    return False


def _ignore() -> None:
    return None


def _outcome(value: Any, seconds: float) -> Outcome:
    from qnb.kernel.intercept.outcomes import outcome_of  # imports the SDK, which a guarded call has loaded by now

    return outcome_of(value, seconds)
