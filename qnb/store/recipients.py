"""Changing who the policy names: decided, written whole or not at all, recorded.

Enters: a home, names and recipient strings. Leaves: a `qnb.toml` that holds, its change and the key's as entries.
Never: a policy that does not parse as a whole, a change by somebody who may not share at the highest level, or a level
left with nobody who could open it.
Spec: docs/how-to/share-and-offboard.md.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qnb.core.policy import Policy, parse_policy
from qnb.core.policy_edit import add_recipient, remove_recipient
from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError, PolicyError, StorageError
from qnb.model import Action, Decision, Principal, Request
from qnb.store.authority import Authority
from qnb.store.config import load_policy, locked
from qnb.store.files import write_atomic
from qnb.store.sealing import highest


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What changing the policy gave.

    Attributes:
        decision, entry: indices of the decision and of the entry about the key.
        session: of the run that decided.
        policy: digest of the policy now.
        datasets: dataset keys whose members have changed by it, and which have to be rotated for that to count.
    """

    decision: int | None
    entry: int
    session: str
    policy: str
    datasets: tuple[str, ...] = ()


def name_recipient(home: Path, name: str, recipient: str, groups: Sequence[str]) -> PolicyChange:
    """Name a recipient in the policy.

    Raises:
        DeniedError: the policy lets this account not share at the highest level.
        ConfigError, RecipientError, PolicyError: the name is taken, the recipient is none, the policy would not hold.
        StorageError: the policy cannot be written.
    """
    parse_recipient(recipient)
    return change_policy(
        home,
        lambda toml: add_recipient(toml, name, recipient, groups),
        (name,),
        ("added", recipient, {"name": name}),
        named_after=True,
    )


def forget_recipient(home: Path, name: str) -> PolicyChange:
    """Take a recipient out of everything that the policy names it in.

    Raises:
        DeniedError, ConfigError, PolicyError, StorageError: as `name_recipient`.
    """
    policy = load_policy(home)
    recipients = policy.data.recipients
    text = recipients.get(name, name)
    affected = tuple(key for key in policy.data.datasets if key != name and text in members_of(policy, key))
    facts = {"name": name if name in recipients else None}
    change = change_policy(
        home, lambda toml: remove_recipient(toml, name), (name,), ("removed", text, facts), named_after=False
    )
    return replace(change, datasets=affected)


def members_of(policy: Policy, dataset: str) -> tuple[str, ...]:
    """Recipient strings of those that a dataset's identity is to be sealed for."""
    return policy.recipients(policy.data.datasets[dataset])


def share_request(who: Principal, policy: Policy, names: Sequence[str]) -> Request:
    """The question behind every change of who reads: may this account share at the highest level, with these?"""
    return Request(Action.SHARE, who, highest(policy.scheme), recipients=tuple(names))


def change_policy(
    home: Path,
    edit: Callable[[bytes], bytes],
    names: Sequence[str],
    event: tuple[str, str, dict[str, Any]],
    *,
    named_after: bool,
    prepare: Callable[[Policy, Decision], AbstractContextManager[object]] | None = None,
) -> PolicyChange:
    """Decide a change of who is named, make it, and record it as a change of the policy and of a key.

    Args:
        home: the account's home.
        edit: `qnb.toml` now -> as it shall be.
        names: those whom the change is about.
        event: of the entry about the key: what, the public text, the facts of `key_statement`.
        named_after: whether the policy names them once it is changed; else it does now.
        prepare: what has to be in place before the new policy is; undone by the context when that fails.

    Raises:
        DeniedError, ConfigError, PolicyError, StorageError: as `name_recipient`.
    """
    path = (home / "policy" / "qnb.toml").resolve()
    with locked(home):
        files = _read_policy(home)
        new = edit(files[0])
        try:
            proposed = parse_policy(new, *files[1:])
        except PolicyError as error:
            raise type(error)(error.code, f"the policy would not hold: {error.message}", error.hint) from None
        with Authority.open(home) as authority:
            _check_readers(authority.policy, proposed)
            request = share_request(authority.principal, proposed, names)
            decision = authority.require_change(request, new, files) if named_after else authority.require(request)
            with nullcontext() if prepare is None else prepare(proposed, decision):
                write_atomic(path, new, mode=stat.S_IMODE(path.stat().st_mode))
            session = authority.run
        what, public, facts = event
        # opened anew, which records that the policy changed
        with Authority.open(home) as authority:
            entry = authority.record_key(what, public, session=session, decision=decision.entry, **facts)
    return PolicyChange(decision.entry, entry, session, proposed.digest)


def _check_readers(policy: Policy, proposed: Policy) -> None:
    for level in policy.scheme.levels:
        handling = proposed.handling(proposed.scheme.parse(level))
        before = policy.recipients(policy.handling(policy.scheme.parse(level)).recipients)
        if handling.seal and before and not proposed.recipients(handling.recipients):
            raise ConfigError(
                "last-recipient",
                f"nobody would be left who could open `{level}` outputs",
                "add another recipient to its groups first: `qnb keys add`",
            )


def _read_policy(home: Path) -> tuple[bytes, bytes, bytes]:
    folder = home / "policy"
    if not folder.is_dir():
        raise ConfigError("no-policy", f"there is no policy of your own at `{folder}`", "run `qnb init`")
    try:
        toml, cedar, schema = (
            (folder / name).read_bytes() for name in ("qnb.toml", "policy.cedar", "policy.cedarschema")
        )
    except OSError as error:
        reason = (error.strerror or "input/output error").lower()
        raise StorageError("unreadable", f"`{folder}` cannot be read: {reason}", "check its permissions") from None
    return toml, cedar, schema
