"""Giving an account a new identity, the old one kept for reading.

Enters: a home, how the new identity is protected. Leaves: `identity`, new; `identities/FINGERPRINT`, the one before, as
it was protected; the policy with the new recipient where the old one stood.
Never: a moment at which something is sealed for a recipient whose identity is not on disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qnb.core.policy_edit import replace_recipient
from qnb.core.seal import parse_recipient
from qnb.errors import ConfigError, NoIdentityMatchError, StorageError
from qnb.store.authority import Authority
from qnb.store.config import load_policy, locked
from qnb.store.datasets import dataset_file, reseal_dataset
from qnb.store.files import read_private, write_atomic
from qnb.store.keychain import Keychain
from qnb.store.keys import (
    create_identity,
    identity_protection,
    load_recipient,
    public_file,
    save_recipient,
)
from qnb.store.recipients import change_policy, share_request


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation gave.

    Attributes:
        recipient, previous: now and before.
        kept: where the old identity is.
        names: what the policy calls the recipient; empty if it does not name it, and then nothing there was changed.
        datasets: dataset keys that were sealed anew.
        entry: of the rotation.
    """

    recipient: str
    previous: str
    kept: Path
    names: tuple[str, ...]
    datasets: tuple[str, ...]
    entry: int


def rotate_identity(home: Path, keychain: Keychain, passphrase: str | None, *, keyring: bool = False) -> Rotation:
    """Make a new identity, and let the policy name it in the place of the old one.

    Args:
        home: the account's home.
        keychain: opens the old identity where dataset keys have to be sealed anew.
        passphrase: protects the new identity.
        keyring: keep the new identity in the operating system's keyring.

    Raises:
        DeniedError: the policy names the old one, and this account may not share at the highest level.
        ConfigError: there is no identity, or it is mounted by a platform.
        PolicyError, StorageError: as `change_policy`.
    """
    path = home / "identity"
    protection = identity_protection(path)
    if protection is None:
        raise ConfigError("no-identity", f"there is no identity at `{path}` to rotate", "run `qnb init`")
    if protection == "mounted":
        raise ConfigError(
            "identity-mounted", f"`{path}` is mounted by the platform", "have whoever mounts it replace it"
        )
    old = own_recipient(home, keychain)
    policy = load_policy(home)
    names = tuple(name for name, text in policy.data.recipients.items() if text == old)
    if names:
        # asked before anything is made; `change_policy` asks again, about what it does
        with Authority.open(home) as authority:
            authority.require(share_request(authority.principal, policy, names))
    waiting = home / ".identity.next"
    kept = home / "identities" / parse_recipient(old).fingerprint
    with locked(home):
        waiting.unlink(missing_ok=True)  # of a rotation that stopped here: nothing was sealed for it
        new = create_identity(waiting, passphrase, keyring=keyring)
        _keep(path, kept)
        try:
            waiting.replace(path)
        except OSError as error:
            reason = (error.strerror or "input/output error").lower()
            raise StorageError("not-written", f"`{path}` cannot be replaced: {reason}", "check the home") from None
        save_recipient(path, new)
    # from here on both are on disk, and the policy may name either
    if names:
        facts = ("rotated", new, {"name": names[0], "previous": old})
        entry = change_policy(
            home, lambda toml: replace_recipient(toml, old, new), names, facts, named_after=True
        ).entry
    else:
        with Authority.open(home) as authority:
            entry = authority.record_key("rotated", new, previous=old)
    return Rotation(new, old, kept, names, _reseal(home, keychain) if names else (), entry)


def _reseal(home: Path, keychain: Keychain) -> tuple[str, ...]:
    """Seal the dataset keys that the old identity opens for the new one, too."""
    done = []
    for name in load_policy(home).data.datasets:
        if dataset_file(home, name).exists():
            with suppress(NoIdentityMatchError):  # a key of which this account is no member
                reseal_dataset(home, name, keychain)
                done.append(name)
    return tuple(done)


def own_recipient(home: Path, keychain: Keychain) -> str:
    """The recipient of the account's identity; asks for the passphrase only where the file does not tell.

    Raises:
        ConfigError, StorageError, SealError: it cannot be known.
    """
    known = load_recipient(home / "identity")
    return next(iter(keychain())).recipient.text if known is None else known


def _keep(path: Path, kept: Path) -> None:
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    if not os.path.lexists(kept):
        write_atomic(kept, read_private(path), replace=False)
        public = public_file(path)
        if public.is_file():
            write_atomic(public_file(kept), public.read_bytes(), mode=0o644)
