"""Interception: every outermost execution in this process passes the session. The only package that patches an SDK.

Enters: a session with `begin(call) -> ticket`. Leaves: calls of `session.begin` and `ticket.end`, one of each per
outermost execution. Never: decides, records or seals anything itself; imports an SDK.

    install(session)   guard what is loaded, and what will be; harmless when called again
    check()            before every cell: guard what nobody told us of; names what was tampered with
    sweep()            the first half of `check`
    targets()          every guarded method with whether it is in place, for the posture
    settle(seconds)    record the jobs that have ended and that nobody asked about; at each cell's end
    pending()          how many executions are still under way
    uninstall()        give everything its own code back

`ticket.end(outcome)` is called exactly once per ticket. If it raises, the result is withheld: whoever asks for it gets
the error instead. It is called in a thread that asked for the result, or in the one that calls `settle`.

What this does not see. It is mediation: it stops accidents and keeps evidence; code in the same process can undo it.
- an instance attribute (`backend.run = f`); a duck-typed backend or sampler below none of the base classes;
- a method put into a class (`Class.run = f`) between two sweeps, that is within one cell;
- processes started by `spawn`, cluster workers, other kernels (a forked process keeps the guard);
- simulation without a backend (`Statevector(circuit)`, `Operator`, `AerStatevector`), and the private entry points
  below `run` (`_execute_circuits_job`, Aer's controller, Rust functions);
- what a backend or primitive does inside its own call: the outermost call is judged by its class, and a class that no
  row of the policy lists is in the zone `unknown`;
- a `ThreadPool` of `multiprocessing` used inside a call: its tasks are judged as calls of their own, one too many.
docs/reference/interception.md says for each path what it is and names its test.
"""

from __future__ import annotations

from typing import Any

from qnb.kernel.intercept import jobs, loading, token, trampoline
from qnb.kernel.intercept.guard import Guard, Session
from qnb.kernel.intercept.jobs import pending, settle
from qnb.kernel.intercept.loading import decided
from qnb.kernel.intercept.targets import TARGETS, Walker

__all__ = [
    "TARGETS", "Session", "check", "decided", "install", "pending", "session", "settle", "sweep", "targets",
    "uninstall",
]  # fmt: skip

_guard = Guard()
_walker = Walker(_guard)


def install(session: Session) -> None:
    """Let every outermost execution ask `session` first."""
    _guard.session = session
    token.install()
    loading.install(session)
    _walker.install()


def session() -> Any:
    """The session that is asked, None when nobody is."""
    return _guard.session


def sweep() -> None:
    """Guard what appeared by ways that nobody told us of."""
    if _guard.session is not None:
        token.install()
        loading.place()
        jobs.look_again()
        _walker.install()


def check() -> list[str]:
    """Qualified names of hooks that were taken out since `install`, and of methods that cannot be guarded.

    What was taken out is put back, but stays named: nobody knows what ran in between. All targets are named while
    nothing is installed.
    """
    if _guard.session is None:
        return sorted(f"{target.module}.{target.base}.{target.method}" for target in TARGETS)
    sweep()
    return sorted({*trampoline.lost(), *_walker.missing()})


def targets() -> list[tuple[str, bool]]:
    """Qualified name of every method below the loaded base classes, and whether it is guarded."""
    return _walker.guarded()


def uninstall() -> None:
    """Stop guarding: jobs that have ended are recorded, then every function gets its own code back.

    Raises:
        QnbError: a job that has ended could not be recorded; the guard is gone all the same.
    """
    try:
        settle()
    finally:
        _guard.session = None
        loading.uninstall()
        jobs.look_again()
        _walker.uninstall()
        trampoline.unwrap_all()
        trampoline.remove_all()
