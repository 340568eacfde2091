"""Starting a guarded session: home, authority, interception.

Enters: the account's home. Leaves: a session that decides every execution of this process; when it cannot be opened, a
process in which no circuit runs.
Never: an identity, but for the one that first use makes and writes to its file.
"""

from __future__ import annotations

import atexit
from pathlib import Path

from qnb.errors import QnbError
from qnb.kernel import intercept
from qnb.kernel.children import Child, Refusing, follow_children
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import HomeReport, ensure_home, home
from qnb.store.leases import Lease, announce, dead_sessions

_SHOWN = 5
_LEASES: list[Lease | None] = []  # this process's sessions, announced until it ends


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
        left = _left_open(place)
        _LEASES.append(announce(place, session.id, session.authority.size))
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
    if left:
        shown = ", ".join(map(str, left[:_SHOWN])) + (", …" if len(left) > _SHOWN else "")
        many = "s" if len(left) > 1 else ""
        print(f"qnb: a kernel that died left {len(left)} execution{many} open (entry {shown}).")  # noqa: T201 -- as above
        print(f"Nobody recorded whether they ran to their end: `qnb log show {left[0]}`")  # noqa: T201
    return session


def _left_open(place: Path) -> list[int]:
    if not dead_sessions(place):
        return []
    from qnb.store.account import observe_left_open  # only then: a start is measured

    return observe_left_open(place)
