"""Starting a guarded session: home, authority, interception.

Enters: the account's home. Leaves: a session that decides every execution of this process. Never: an identity, but for
the one that first use makes and writes to its file.
"""

from __future__ import annotations

from qnb.kernel import intercept
from qnb.kernel.session import Session
from qnb.store.authority import Authority
from qnb.store.config import ensure_home, home


def start_session() -> Session:
    """Open the authority and guard the SDK.

    Raises:
        QnbError: the policy or the log cannot be used.
    """
    place = home()
    ensure_home(place)
    session = Session(Authority.open(place), check_guard=intercept.check, settle=intercept.settle)
    intercept.install(session)
    return session
