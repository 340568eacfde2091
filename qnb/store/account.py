"""Observing an account's state for the posture.

Enters: the home folder. Leaves: facts; what could not be observed is None. Never: a change, a key's content.
"""

from __future__ import annotations

import os
from pathlib import Path

from qnb.core.policy import Policy
from qnb.core.posture import AccountFacts
from qnb.core.seal import parse_recipient
from qnb.core.statement import parse_statement
from qnb.errors import QnbError
from qnb.store.config import load_policy, network_filesystem
from qnb.store.datasets import dataset_file
from qnb.store.history import History
from qnb.store.keychain import load_shredded, retired_files
from qnb.store.keys import identity_protection, is_mounted, load_recipient
from qnb.store.log import Log
from qnb.store.recipients import members_of

# where Qiskit's provider packages look for a token
_TOKEN_VARIABLES = ("QISKIT_IBM_TOKEN", "QISKIT_IBM_RUNTIME_API_TOKEN", "IBM_QUANTUM_TOKEN", "IONQ_API_TOKEN")


def observe_account(home: Path) -> AccountFacts:
    """Look at identity, policy, log and credentials without changing any of them."""
    identity, identity_mode = home / "identity", _mode(home / "identity")
    named: bool | None = None
    left: dict[str, int] = {}
    policy_error: str | None = None
    readers: dict[str, int] | None = None
    recovery: bool | None = None
    try:
        policy = load_policy(home)
        readers = {
            level: len(policy.recipients(handling.recipients))
            for level in policy.scheme.levels
            if (handling := policy.handling(policy.scheme.parse(level))).seal
        }
        recovery = "recovery" in policy.recipient_names() and bool(policy.recipients(("recovery",)))
        named = _is_named(policy, identity)
        left = _observe_left(home, policy)
    except QnbError as error:
        policy_error = error.message
    entries, open_executions, log_error = _observe_log(home / "log.db")
    gone = load_shredded(home)
    return AccountFacts(
        home=str(home),
        home_mode=_mode(home),
        identity_mode=None if is_mounted(identity) else identity_mode,
        log_key_mode=_mode(home / "log.key"),
        network_filesystem=network_filesystem(home),
        identity="missing" if identity_mode is None else identity_protection(identity),
        identity_named=named,
        retired_plain=sum(1 for path in retired_files(home) if identity_protection(path) == "plain"),
        left=left,
        shredded={key.name: key.time for key in gone},
        returned=tuple(key.name for key in gone if dataset_file(home, key.name).exists()),
        policy_error=policy_error,
        policy_packaged=policy_error is None and not (home / "policy").is_dir(),
        readers=readers,
        recovery=recovery,
        log_error=log_error,
        entries=entries,
        open_executions=open_executions,
        credentials=_credentials(),
    )


def _is_named(policy: Policy, identity: Path) -> bool | None:
    """Whether the policy names the recipient of an identity; None when there is none, or it cannot be known."""
    try:
        recipient = load_recipient(identity) if identity.exists() else None
    except QnbError:
        return None
    listed = (*policy.data.recipients.values(), *(one for members in policy.data.groups.values() for one in members))
    return None if recipient is None else recipient in listed


def _observe_left(home: Path, policy: Policy) -> dict[str, int]:
    """Dataset keys that were sealed for somebody who is no member any more; one's own old identities do not count."""
    if not policy.data.datasets or not (home / "log.db").exists():
        return {}
    try:
        history, own = History.of(home), {path.name for path in retired_files(home)}
    except QnbError:  # what is wrong with the log is told by itself
        return {}
    left = {}
    for name in policy.data.datasets:
        members = {parse_recipient(text).fingerprint for text in members_of(policy, name)}
        gone = history.members_of(name) - members - own
        if gone:
            left[name] = len(gone)
    return left


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return None


def _observe_log(path: Path) -> tuple[int | None, int | None, str | None]:
    if not path.exists():
        return None, None, None
    try:
        with Log.open(path, readonly=True) as log:
            allowed: set[int] = set()
            for index, data in enumerate(log.entries()):
                view = parse_statement(data)
                if view.kind == "decision" and view.allow and view.action == "execute":
                    allowed.add(index)
                elif view.kind == "execution" and view.decision is not None:
                    allowed.discard(view.decision)
            return log.size, len(allowed), None
    except QnbError as error:
        return None, None, error.message


def _credentials() -> tuple[str, ...]:
    found = [name for name in _TOKEN_VARIABLES if os.environ.get(name)]
    saved = Path.home() / ".qiskit" / "qiskit-ibm.json"
    mode = _mode(saved)
    if mode is not None and mode & 0o077:
        found.append(str(saved))
    return tuple(found)
