"""Child processes of a guarded one: the guard goes along, and each child asks and records for itself.

Enters: `multiprocessing` starting a process (also for pools and executors), or a fork. Leaves: a child that is guarded
at the label of the cell that started it.
Never: hands over a key, a decision or a grant; reaches a process that is started by other means (`subprocess`, a worker
of a cluster, another kernel): nothing of `multiprocessing` comes by there.

A forked child is a copy of the process, guard included; what it must not share is the parent's cell, whose evaluations
are the parent's to record. A spawned child begins empty: its process object is pickled, and with it a passport, which
installs the guard when it is unpickled, before the target and its arguments are. What the child asks, it asks an
authority of its own, opened at the first execution: a worker that only sorts numbers opens no log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, NoReturn

from qnb.errors import ExecutionError, QnbError
from qnb.kernel import intercept
from qnb.kernel.cell import Passport
from qnb.model import Call, Retrieval

_parent: _Parent | None = None


class _Parent:
    """What children of this process go on with."""

    def __init__(self, session: Any, heir: Callable[[], Any]) -> None:
        self.session, self.heir = session, heir
        self.passport: Passport | None = None


def follow_children(session: Any, heir: Callable[[], Any]) -> None:
    """Let every child of this process be guarded as this one is.

    Args:
        session: of this process; has `passport` and `adopt`.
        heir: makes what decides in a spawned child; it is pickled on its way there, and has an `heir` of its own.
    """
    global _parent  # noqa: PLW0603 -- a process has one session
    first = _parent is None
    _parent = _Parent(session, heir)
    if first:
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
    intercept.follow_processes(_carry)


# --- fork -------------------------------------------------------------------------------------------------------------


def _before_fork() -> None:
    """The label is that of the moment, and the cell that has it is known in the parent's thread only."""
    if _parent is not None:
        _parent.passport = _parent.session.passport()


def _after_fork() -> None:
    if _parent is not None and _parent.passport is not None:
        _parent.session.adopt(_parent.passport)
        intercept.forget_jobs()


# --- spawn and forkserver ---------------------------------------------------------------------------------------------


class Stowaway:
    """Travels with a pickled process object; installs the guard where it is unpickled."""

    def __init__(self, heir: Any) -> None:
        self._heir, self._parent = heir, os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if os.getpid() != self._parent and _parent is None:
            intercept.install(self._heir)
            follow_children(self._heir, self._heir.heir)
            Finalize(None, intercept.settle, exitpriority=100)  # an exit handler: `atexit` is not run in these


def _carry(process: BaseProcess) -> None:
    """Put a stowaway into a process that is about to start, before everything else that it carries."""
    if _parent is not None:
        own = dict(vars(process))
        vars(process).clear()
        vars(process).update({"_qnb": Stowaway(_parent.heir()), **own})


class Child:
    """Stands for the session of a spawned process until something is executed.

    Args:
        home: the account's home, where the child opens an authority of its own.
        passport: of the session that it belongs to.
    """

    def __init__(self, home: Path, passport: Passport) -> None:
        self._home, self._passport = home, passport
        self._session: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return Child, (self._home, self._passport)

    def begin(self, call: Call) -> Any:
        """As `Session.begin`."""
        return self._opened().begin(call)

    def retrieve(self, retrieval: Retrieval) -> Any:
        """As `Session.retrieve`."""
        return self._opened().retrieve(retrieval)

    def heir(self) -> Child:
        """A child of this child goes on where it stands."""
        return self

    def passport(self) -> Passport:
        """So does a fork of it."""
        return self._passport

    def adopt(self, passport: Passport) -> None:
        """Go on in a fork."""
        self._lock = threading.Lock()
        if self._session is not None:
            self._session.adopt(passport)

    def _opened(self) -> Any:
        with self._lock:
            if self._session is None:
                from qnb.kernel.session import Session
                from qnb.store.authority import Authority

                session = Session(Authority.open(self._home), check_guard=intercept.check, settle=intercept.settle)
                session.adopt(self._passport)
                self._session = session
            return self._session


class Refusing:
    """Stands where the session would: whoever asked to be guarded is not let run unguarded, nor are its children.

    Args:
        error: why there is no session.
    """

    def __init__(self, error: QnbError) -> None:
        self._message, self._hint = error.message, error.hint

    def begin(self, call: Call) -> NoReturn:  # noqa: ARG002 -- nothing about a call could change the answer
        """Refuse."""
        raise ExecutionError("no-authority", f"no circuit runs, because nobody can decide: {self._message}", self._hint)

    def retrieve(self, retrieval: Retrieval) -> NoReturn:  # noqa: ARG002 -- as above
        """Refuse."""
        raise ExecutionError("no-authority", f"no result is fetched: nobody can decide: {self._message}", self._hint)

    def heir(self) -> Refusing:
        """A child is refused for the same reason."""
        return self

    def passport(self) -> None:
        """There is no label to go on with, and none is needed to refuse."""
