"""Observing an account's state for the posture.

Enters: the home folder. Leaves: facts; what could not be observed is None. Never: a change, a key's content.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from qnb.core.checkpoint import Checkpoint, parse_vkeys
from qnb.core.policy import Policy
from qnb.core.posture import AccountFacts, WitnessFacts
from qnb.core.rotation import key_ring
from qnb.core.seal import parse_recipient
from qnb.core.skim import skim_statement
from qnb.errors import QnbError, VerificationError
from qnb.store.config import load_policy, network_filesystem
from qnb.store.datasets import dataset_file
from qnb.store.history import History
from qnb.store.keychain import load_shredded, retired_files
from qnb.store.keys import identity_protection, is_mounted, load_recipient
from qnb.store.leases import dead_sessions, forget, live_sessions
from qnb.store.log import Log
from qnb.store.recipients import members_of
from qnb.store.witness import check_published, last_published, noted_witness

_LOOKED_AT = 20_000  # entries, at a start; `qnb doctor` looks at all

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
    log = _observe_log(home)
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
        log_error=log.error,
        log_hint=log.hint,
        log_writable=_writable(home / "log.db"),
        disk_free=_free(home),
        entries=log.entries,
        open_executions=log.open,
        left_open=log.left,
        witness=log.witness,
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


@dataclass(frozen=True, slots=True)
class _LogFacts:
    entries: int | None = None
    open: int | None = None
    left: int | None = None
    witness: WitnessFacts | None = None
    error: str | None = None
    hint: str | None = None


def _observe_log(home: Path) -> _LogFacts:
    if not (home / "log.db").exists():
        return _LogFacts()
    try:
        with Log.open(home / "log.db", readonly=True) as log:
            allowed = _open_executions(log, 0)
            live = live_sessions(home)
            left = None if live is None else sum(session not in live for session in allowed.values())
            return _LogFacts(log.size, len(allowed), left, _observe_witness(home, log))
    except QnbError as error:
        return _LogFacts(error=error.message, hint=error.hint)


def _open_executions(log: Log, start: int) -> dict[int, str]:
    """Index -> session of the allowed executions from entry `start` on that no entry answers."""
    allowed: dict[int, str] = {}
    for index, _, body in log.rows(start):
        skim = skim_statement(body)
        if skim.kind == "decision" and skim.allow and skim.action == "execute":
            allowed[index] = skim.session
        elif skim.kind == "execution" and skim.decision is not None:
            allowed.pop(skim.decision, None)
    return allowed


def observe_left_open(home: Path) -> list[int]:
    """Executions that kernels left open which have died since the last start; each is reported once.

    Looks at the entries that those kernels can have written, of a very long log at the last ones only.
    """
    dead = dead_sessions(home)
    if not dead:
        return []
    gone = {session.session for session in dead}
    with Log.open(home / "log.db", readonly=True) as log:
        start = max(min(session.start for session in dead), log.size - _LOOKED_AT)
        found = [index for index, session in _open_executions(log, start).items() if session in gone]
    forget(home, dead)
    return found


def _observe_witness(home: Path, log: Log) -> WitnessFacts:
    noted = noted_witness(home)
    if noted is None:
        return WitnessFacts()
    behind = None if noted.cosigned is None else max(0, log.size - noted.cosigned)
    facts = WitnessFacts(str(noted.folder), noted.names, behind)
    try:
        vkeys = parse_vkeys((home / "log.vkey").read_text("utf-8"))
        published = last_published(noted.folder, key_ring(vkeys, log.rotations()))
        if published is not None:
            check_published(log, Checkpoint(log.origin, log.size, log.root()), published)
    except VerificationError as error:
        return replace(facts, error=error.message)
    except (QnbError, OSError, UnicodeDecodeError) as error:
        return replace(facts, unreachable=getattr(error, "message", "log.vkey is gone"))
    return facts


def _writable(database: Path) -> bool | None:
    if not database.exists():
        return None
    return os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)


def _free(home: Path) -> int | None:
    try:
        return shutil.disk_usage(home).free
    except OSError:
        return None


def _credentials() -> tuple[str, ...]:
    found = [name for name in _TOKEN_VARIABLES if os.environ.get(name)]
    saved = Path.home() / ".qiskit" / "qiskit-ibm.json"
    mode = _mode(saved)
    if mode is not None and mode & 0o077:
        found.append(str(saved))
    return tuple(found)
