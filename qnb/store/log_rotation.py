"""Rotating the log's signing keys: new ones are made, the old ones sign the entry that names them, then they take over.

Enters: a home of which nobody else signs just now. Leaves: a log whose last head hands over, and the new keys in place.
Never: a log without the keys that may sign it, see `qnb.store.log_key`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from qnb.core.checkpoint import Signer, parse_checkpoint, sign_checkpoint
from qnb.store.authority import Authority
from qnb.store.config import load_policy, principal
from qnb.store.leases import take_key
from qnb.store.log import Log
from qnb.store.log_key import begin, finish, load_signer


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did: index of its entry, and the new public keys, as `log.vkey` has them."""

    entry: int
    vkeys: str


def _countersign(home: Path, new: Signer, entry: int, seconds: int) -> None:
    """Let the new keys sign the head that hands over, too: who pins them finds the old ones vouched for at once."""
    with Log.open(home / "log.db", new) as log:
        note = log.checkpoint_of(entry + 1)
        if note is not None:
            log.add_cosignatures(sign_checkpoint(parse_checkpoint(note), new, seconds))


def rotate_key(home: Path) -> Rotation:
    """Rotate the signing keys of an account's log.

    Raises:
        StorageError: `key-in-use`, a kernel or a command signs with them; or something cannot be written.
        ConfigError: there are no keys.
    """
    lease = take_key(home)
    try:
        old = load_signer(home)
        with Authority(load_policy(home), Log.open(home / "log.db", old), old, principal()) as authority:
            new = begin(home, old)
            entry = authority.rotate_key(new)
        finish(home)
        _countersign(home, new, entry, int(time.time()))
    finally:
        if lease is not None:
            lease.release()
    return Rotation(entry, new.vkeys.format())
