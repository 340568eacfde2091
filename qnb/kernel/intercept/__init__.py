"""Interception: every outermost execution in this process passes the session. The only package that patches an SDK.

Enters: a session with `begin(call) -> ticket` and `retrieve(retrieval) -> ticket`. Leaves: one call of `session.begin`
and one of `ticket.end` per outermost execution; one of `session.retrieve` and one of `ticket.end` per job whose result
is fetched and that nobody saw submitted.
Never: decides, records or seals anything itself; imports an SDK.

    install(session)   guard what is loaded, and what will be; harmless when called again
    check()            before every cell: guard what nobody told us of; names what was tampered with
    sweep()            the first half of `check`
    targets()          every guarded method with whether it is in place, for the posture
    unguarded()        packages that are loaded and that nothing here guards, for the posture
    settle(seconds)    record the jobs that have ended and that nobody asked about; at each cell's end
    pending()          how many executions are still under way
    follow_processes   tell somebody before a process of `multiprocessing` starts
    forget_jobs()      in a forked child: the jobs that the parent follows are the parent's to record
    uninstall()        give everything its own code back

`ticket.end(outcome)` is called exactly once per ticket. If it raises, the result is withheld: whoever asks for it gets
the error instead. It is called in a thread that asked for the result, or in the one that calls `settle`.

It is mediation: it stops accidents and keeps evidence; code in the same process can undo it. What is guarded, what is
found afterwards and what is not reached stands in docs/reference/interception.md, each row with its test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FunctionType
from typing import Any, cast

from qnb.kernel.intercept import jobs, token, trampoline
from qnb.kernel.intercept.guard import Guard, Session
from qnb.kernel.intercept.jobs import forget_jobs, pending, settle
from qnb.kernel.intercept.leaks import shadowed, unguarded
from qnb.kernel.intercept.table import TARGETS
from qnb.kernel.intercept.targets import Walker
from qnb.kernel.intercept.trampoline import Hook

__all__ = [
    "TARGETS",
    "Session",
    "check",
    "follow_processes",
    "forget_jobs",
    "install",
    "pending",
    "settle",
    "sweep",
    "targets",
    "unguarded",
    "uninstall",
]

_guard = Guard()
_walker = Walker(_guard)


def install(session: Session) -> None:
    """Let every outermost execution ask `session` first."""
    _guard.session = session
    token.install()
    _walker.install()


def sweep() -> None:
    """Guard what appeared by ways that nobody told us of."""
    if _guard.session is not None:
        token.install()
        jobs.look_again()
        _walker.install()


def check() -> list[str]:
    """Qualified names of hooks that were taken out since `install`, and of methods that cannot be guarded.

    What was taken out is put back, but stays named: nobody knows what ran in between. An object of the user's namespace
    that hides a guarded method is named as long as it does. All targets are named while nothing is installed.
    """
    if _guard.session is None:
        return sorted(target.name for target in TARGETS)
    sweep()
    return sorted({*trampoline.lost(), *_walker.missing(), *shadowed(vars(sys.modules["__main__"]))})


def targets() -> list[tuple[str, bool]]:
    """Qualified name of every method below the loaded base classes, and whether it is guarded."""
    return _walker.guarded()


def follow_processes(tell: Callable[[BaseProcess], None]) -> None:
    """Call `tell` with each process object that is about to start, as long as something is installed."""

    def enter(hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _guard.session is not None and args:
            tell(args[0])
        return hook.original(*args, **kwargs)

    trampoline.place(cast("FunctionType", BaseProcess.start), enter)


def uninstall() -> None:
    """Stop guarding: jobs that have ended are recorded, then every function gets its own code back.

    Raises:
        QnbError: a job that has ended could not be recorded; the guard is gone all the same.
    """
    try:
        settle()
    finally:
        _guard.session = None
        jobs.look_again()
        jobs.forget_jobs()
        _walker.uninstall()
        trampoline.unwrap_all()
        trampoline.remove_all()
