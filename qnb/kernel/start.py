"""Starting a guarded session: home, authority, interception.

Enters: the account's home. Leaves: a session that decides every execution of this process; when it cannot be opened, a
process in which no circuit runs.
Never: an identity, but for the one that first use makes and writes to its file.
"""

from __future__ import annotations

import atexit

from qnb.errors import QnbError
from qnb.kernel import intercept
from qnb.kernel.children import Child, Refusing, follow_children
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import HomeReport, ensure_home, home


def start_session() -> Session:
    """Open the authority and guard the SDK.

    Raises:
        QnbError: the policy or the log cannot be used. From then on no circuit runs; plain Python does.
    """
    try:
        place = home()
        report: HomeReport = ensure_home(place)
        session = Session(
            Authority.open(place),
            check_guard=intercept.check,
            settle=intercept.settle,
            unguarded=intercept.unguarded,
        )
    except QnbError as error:
        refusing = Refusing(error)
        intercept.install(refusing)
        follow_children(refusing, refusing.heir)
        raise
    intercept.install(session)
    follow_children(session, lambda: Child(place, session.passport()))
    atexit.register(intercept.settle)  # a job that ended after the last cell, and that nobody asked about
    if report.recipient is not None:
        # said once, at first use: nobody reads the documentation of a key that they do not know they have
        print(f"qnb made an identity for you: {report.identity}")  # noqa: T201 -- a notebook's way to tell its user
        print(f"Back it up; without it nobody can open what is sealed for you: {report.backup}")  # noqa: T201
    return session


class _Refusing:
    """Stands where the session would: whoever asked to be guarded is not let run unguarded."""

    def __init__(self, error: QnbError) -> None:
        self._message, self._hint = error.message, error.hint

    def begin(self, call: Call) -> NoReturn:  # noqa: ARG002 -- nothing about a call could change the answer
        """Refuse."""
        raise ExecutionError("no-authority", f"no circuit runs, because nobody can decide: {self._message}", self._hint)

    def load(self, format_: str, content: bytes | None = None, *, hooked: bool = False) -> None:  # noqa: ARG002
        """Refuse what is loaded through us; past us, what is loaded cannot run."""
        if not hooked:
            raise ExecutionError(
                "no-authority", f"no circuit is loaded, because nobody can decide: {self._message}", self._hint
            )

